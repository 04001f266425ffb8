"""compare.py from end to end on a tiny network: its gate refuses a peer that
computes something else, a failed part does not lose the results of the others, and
missing requirements are reported before anything is measured.

    smoke.py VOCDIST MAKE_SHARDS "MPIRUN -np"      ("" without MPI)
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


def compare(out, *options, mpirun=MPIRUN, **environment):
    """Runs compare.py without the variables that let root use Open MPI: it sets them."""
    environment = {k: v for k, v in {**os.environ, **environment}.items() if 'ALLOW_RUN_AS_ROOT' not in k}
    command = [sys.executable, '-B', HERE / 'compare.py', '--python', sys.executable, '--vocdist', VOCDIST, '--make-shards',
               MAKE_SHARDS, '--mpirun', mpirun, '--out', out, '--size', '64', '--width', '8', '--blocks', '1,1,1,1', '--batch', '16',
               '--threads', '1', '--rounds', '1', '--steps', '2', '--search-steps', '1', *options]
    return subprocess.run([str(w) for w in command], text=True, capture_output=True, env=environment)


def check_refuses(folder, old, new):
    """A peer with a different computation is never timed."""
    script = (HERE / 'torch_step.py').read_text()
    assert old in script, old
    peer = Path(folder, 'peer.py')
    peer.write_text(script.replace(old, new))
    done = compare(folder, '--peer', peer)
    assert done.returncode == 1 and 'refused: loss of step' in done.stderr, (new, done.returncode, done.stderr)
    assert 'ms' not in done.stdout, done.stdout


def check_partial_results_are_kept(folder):
    """mpirun fails, after the rounds."""
    done = compare(folder, mpirun='/bin/false')
    result = json.loads(Path(folder, 'result.json').read_text())
    assert done.returncode == 1 and 'failed: ranks; the other parts are in ' in done.stderr, done.stderr
    assert list(result['failed']) == ['ranks'] and 'exit code 1' in result['failed']['ranks'], result['failed']
    assert len(result['ours']) == len(result['peers'][0]['rounds']) == len(result['start']) == 1
    assert result['ranks'] == {} and 'Not measured: ranks: ' in done.stdout, done.stdout
    assert Path(folder, 'rows.md').read_text() == done.stdout


def check_missing_requirements(folder):
    modules = Path(folder, 'modules')
    modules.mkdir()
    (modules / 'h5py.py').write_text('raise ImportError("No module named \'h5py\'")\n')
    cases = ((compare(folder, PYTHONPATH=str(modules)), 'install python3-h5py'),
             (compare(folder, '--python', '/bin/false'), 'a --python that has torch'),
             (compare(folder, mpirun='no-mpirun -np'), 'no-mpirun: no such program'))
    for done, remedy in cases:
        assert done.returncode == 1 and remedy in done.stderr and '--->' in done.stderr, (remedy, done.stderr)
        assert 'losses' not in done.stderr and done.stdout == '', done.stderr


def main():
    with tempfile.TemporaryDirectory() as folder:
        check_refuses(folder, "o['lr']), (False", "2 * o['lr']), (False")  # step 2
        check_refuses(folder, '25 * ce', '24 * ce')  # step 1
        check_missing_requirements(folder)
        check_partial_results_are_kept(folder)
        done = compare(folder)
        assert done.returncode == 0, done.stderr
        result = json.loads(Path(folder, 'result.json').read_text())
    assert result['failed'] == {}, result['failed']
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
