"""Checks for scripts that stop at the first failure."""
import subprocess
import sys


def check(ok, *what):
    if not ok:
        print('FAILED:', *what)
        sys.exit(1)


def check_output(*command):
    """Runs a command that must succeed; returns its standard output."""
    done = subprocess.run([str(c) for c in command], capture_output=True,
                          text=True)
    check(done.returncode == 0, command, done.stderr)
    return done.stdout
