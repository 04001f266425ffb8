"""Packing with any number of ranks gives the same files as with one, also if
one rank is slow: the others take its work, and it is not reported as hanging.

Shards are assigned to ranks as they become free, so the assignment differs
between starts; the files must not.
"""
import filecmp
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
from checks import check, check_output  # noqa: E402

PACKER = os.environ['PACKER']
MPIEXEC = shlex.split(os.environ['MPIEXEC'])
IMAGES = 400
SHARD_IMAGES = 7


def command(tmp, name):
    return [PACKER, 'pack', f'{tmp}/voc', '--split', 'train,val', '--size', 224,
            '--shard-size', SHARD_IMAGES * 224 * 224 * 3 // 1000000 + 1, '-j', 1,
            '-o', f'{tmp}/{name}']


def compare_folders(one, other):
    """Two folders contain the same files; returns their number."""
    compared = filecmp.dircmp(one, other)
    names = compared.common_files
    _, differ, odd = filecmp.cmpfiles(one, other, names, shallow=False)
    check(not compared.left_only and not compared.right_only and not differ and
          not odd, one, other, compared.left_only, compared.right_only, differ)
    return len(names) + sum(compare_folders(f'{one}/{d}', f'{other}/{d}')
                            for d in compared.common_dirs)


def slow_down(pid, done):
    """Suspends the process 90 % of the time."""
    while not done.is_set():
        for what, seconds in ((signal.SIGSTOP, 0.09), (signal.SIGCONT, 0.01)):
            try:
                os.kill(pid, what)
            except ProcessLookupError:
                return
            done.wait(seconds)


def find_rank_1(process):
    """Waits for rank 1; returns its process id, None if the job ends."""
    while process.poll() is None:
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/environ', 'rb') as f:
                    mine = f.read().split(b'\0')
                with open(f'/proc/{pid}/comm') as f:
                    name = f.read().strip()
            except OSError:
                continue
            if (name == 'vocpack' and b'OMPI_COMM_WORLD_RANK=1' in mine and
                    b'PACK_RANKS=%d' % os.getpid() in mine):
                return int(pid)
    return None


def pack_with_a_slow_rank(tmp):
    words = [*MPIEXEC, 3, *command(tmp, 'slow')]
    process = subprocess.Popen(list(map(str, words)), env={
        **os.environ, 'PACK_RANKS': str(os.getpid())})
    pid, done = find_rank_1(process), threading.Event()
    check(pid, 'rank 1 was not found')
    thread = threading.Thread(target=slow_down, args=(pid, done))
    thread.start()
    status = process.wait()
    done.set()
    thread.join()
    check(status == 0, 'exit code', status)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        check_output(PACKER, 'demo', f'{tmp}/voc', '--images', IMAGES, '--size', 224)
        check_output(*command(tmp, '1'))
        for ranks in (2, 3, 5):
            check_output(*MPIEXEC, ranks, *command(tmp, ranks))
            n = compare_folders(f'{tmp}/1', f'{tmp}/{ranks}')
        pack_with_a_slow_rank(tmp)
        compare_folders(f'{tmp}/1', f'{tmp}/slow')
        check(n > 20, n, 'files')
        print('the same', n, 'files with 1, 2, 3, 5 ranks and a slow rank')


main()
