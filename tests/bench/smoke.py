"""compare.py from end to end on a tiny network, and that its gate refuses.

    smoke.py VOCDIST MAKE_SHARDS "MPIRUN -np"      ("" without)
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import h5py  # noqa: F401
    import numpy  # noqa: F401
    import torch  # noqa: F401
except ImportError as e:
    print('skipped:', e)
    sys.exit(77)

HERE = Path(__file__).resolve().parent
VOCDIST, MAKE_SHARDS, MPIRUN = sys.argv[1:4]


def compare(*options):
    command = [sys.executable, '-B', HERE / 'compare.py', '--python', sys.executable, '--vocdist', VOCDIST, '--make-shards',
               MAKE_SHARDS, '--mpirun', MPIRUN, '--size', '64', '--width', '8', '--blocks', '1,1,1,1', '--batch', '16',
               '--threads', '1', '--rounds', '1', '--steps', '2', '--search-steps', '1', *options]
    return subprocess.run([str(w) for w in command], text=True, capture_output=True)


def refuses(folder, old, new):
    """A peer that computes something else is never timed."""
    script = (HERE / 'torch_step.py').read_text()
    assert old in script, old
    peer = Path(folder, 'peer.py')
    peer.write_text(script.replace(old, new))
    done = compare('--peer', peer)
    assert done.returncode == 1 and 'refused: loss of step' in done.stderr, (new, done.returncode, done.stderr)
    assert 'ms' not in done.stdout, done.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        refuses(folder, "o['lr']), (False", "2 * o['lr']), (False")  # step 2
        refuses(folder, '25 * ce', '24 * ce')  # step 1
        done = compare('--out', folder)
        assert done.returncode == 0, done.stderr
        result = json.loads(Path(folder, 'result.json').read_text())
    peer, = result['peers']
    assert all(ms > 0 for ms in peer['search_ms'].values()) and 'channels_last loop' in peer['search_ms'], peer
    assert len(result['ours']) == len(peer['rounds']) == len(result['start']) == 1
    begin, end = result['start'][0]
    assert 0 < begin < end, result['start']
    assert peer['rounds'][0]['peak_bytes'] > 2**20 and peer['rounds'][0]['start_s'] > peer['rounds'][0]['import_s'] > 0
    assert 'oneDNN v' in peer['library'], peer['library']
    assert bool(MPIRUN) == bool(result['ranks'])
    assert done.stdout.count('\n| ') == 4, done.stdout  # header, rule, two rows
    print(done.stdout)


if __name__ == '__main__':
    main()
