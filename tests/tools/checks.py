"""What scripts that stop at the first failure share."""
import subprocess
import sys


def check(ok, *what):
    if not ok:
        print('FAILED:', *what)
        sys.exit(1)


def check_output(*command):
    """Its standard output; it must succeed."""
    done = subprocess.run([str(c) for c in command], capture_output=True,
                          text=True)
    check(done.returncode == 0, command, done.stderr)
    return done.stdout
