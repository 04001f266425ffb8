"""The other ranks wait beyond the time limit for a rank that evaluates slowly
but makes progress; the results equal those of an undisturbed evaluation.

Rank 1 reads each of its six images for a quarter of the limit, so rank 0 waits
for one and a half limits. If one image takes three limits, the evaluation ends
with exit code 69 and names rank 1.

    slow_rank.py SLOW_READ_LIBRARY
"""
import os
import shlex
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
from checks import check  # noqa: E402


def evaluate(f, limit_s, slow_s=0.0):
    command = [*shlex.split(os.environ['MPIEXEC']), '2', os.environ['PROGRAM'],
               'eval', '--checkpoint', 'runs/net', '--data', 'val',
               '--eval.batch', '1', '--cpu.threads', '1', '--timeout.setup',
               str(limit_s)]
    slow = {'LD_PRELOAD': sys.argv[1], 'SLOW_READ_RANK': '1',
            'SLOW_READ_MS': str(int(slow_s * 1000)),
            'SLOW_READ_BYTES': str(32 * 32 * 3)} if slow_s else {}
    return subprocess.run(command, cwd=f.path, capture_output=True, text=True,
                          env={**os.environ, **slow})


def main():
    f = jobs.ScratchFolder()
    f.train(1, 'net', train__steps=2)
    start = time.monotonic()
    good = evaluate(f, 600)
    check(good.returncode == 0, good)
    limit_s = max(4.0, 10 * (time.monotonic() - start))
    start = time.monotonic()
    slow = evaluate(f, limit_s, limit_s / 4)
    check(slow.returncode == 0 and slow.stdout == good.stdout, slow)
    check(time.monotonic() - start > 1.4 * limit_s, 'was not slow')
    stuck = evaluate(f, limit_s, 3 * limit_s)
    check(stuck.returncode == 69 and 'while evaluating: rank 1 (' in
          stuck.stderr, stuck)
    print('limit %.0f s: passed with a slow rank; a hanging one is named' %
          limit_s)
    f.remove()


main()
