"""Evaluation and training give the same bits for any number of ranks and
threads.

    rank_invariance.py VOCDIST VOCPACK generated|real [-- MPIRUN OPTION...]

eval: per-image files are byte-equal for 1, 2, 3 and 5 ranks, for 1, 2 and 3
compute threads, and with the exported weights. train: parameters, moments and
statistics of the last checkpoint are equal for 1 to 4 ranks with 4 replicas,
and for 1 and 4 loader threads. Ranks on two kinds of processors, whose bits
would differ, are refused; a processor without AVX2 computes with ref.
generated: a tiny network; real: ResNet34 on the data and weights in
$VOCDIST_TEST_DATA.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
from checks import check, check_output  # noqa: E402

SKIP = 77
try:
    import h5py
except ImportError as e:
    print('skipped:', e)
    sys.exit(SKIP)

QUIET = ['--backend', 'cpu', '--log.level', 'error']


def values(checkpoint):
    """Every numeric array of a checkpoint: name -> bytes."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in 'fiu':
            found[name] = item[()].tobytes()
    with h5py.File(checkpoint, 'r') as f:
        f.visititems(visit)
    check(sum(map(len, found.values())) > 10000, checkpoint, sorted(found))
    return found


class TestBed:
    def __init__(self, tmp, programs, mpirun):
        self.tmp, self.mpirun = tmp, mpirun
        self.vocdist, self.vocpack = programs

    def ranks(self, n):
        return [*self.mpirun, n, self.vocdist] if n > 1 else [self.vocdist]

    def settings(self, name, *options):
        return [*QUIET, '--train.dir', self.tmp, '--train.name', name,
                '--data.train', f'{self.tmp}/data/train', '--data.val', '',
                '--train.replicas', 4, '--train.micro_batch', 4,
                '--train.steps', 4, '--cpu.threads', 1, *options]

    def train(self, name, ranks, *options):
        check_output(*self.ranks(ranks), *self.settings(name, *options))
        return values(f'{self.tmp}/{name}/checkpoints/last')

    def evaluate(self, ranks, threads, *network):
        out = f'{self.tmp}/{ranks}-{threads}.csv'
        check_output(*self.ranks(ranks), 'eval', *QUIET, *network, '--data',
                     f'{self.tmp}/data/val', '--per-image', out, '--cpu.threads',
                     threads)
        with open(out, 'rb') as f:
            return f.read()


def check_train(bed, ranks, *options):
    first = bed.train('np1', 1, *options)
    other = bed.train('seed', 1, *options, '--train.seed', 2)
    check(first != other, 'another seed gives the same weights')
    for n in ranks:
        again = bed.train(f'np{n}', n, *options)
        differ = [k for k in first if first[k] != again.get(k)]
        check(not differ and len(again) == len(first), n, 'ranks', differ)
    for n in (1, 4):
        again = bed.train(f'loader{n}', 1, *options, '--data.loader_threads', n)
        check(first == again, n, 'loader threads')
    print('train: the same at ranks', (1, *ranks), 'and loader threads 1, 4:',
          len(first), 'arrays,', sum(map(len, first.values())), 'bytes')


def check_mixed_processors(bed, *options):
    """Ranks with different processors have different gradient layouts."""
    program = f'{bed.tmp}/older-where-rank-is-1'
    with open(program, 'w') as f:
        f.write('#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" != 1 ] || '
                'export ONEDNN_MAX_CPU_ISA=SSE41\n'
                f'exec {bed.vocdist} "$@"\n')
    os.chmod(program, 0o755)
    command = [*bed.mpirun, 3, program,
               *bed.settings('two', *options, '--backend', 'auto')]
    p = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    check(p.returncode == 78 and p.stderr.count('error: ') == 1 and
          ', but rank 1 (' in p.stderr and ' on ref (' in p.stderr, p)
    print('train: processors of two kinds are refused')


def check_without_avx2(bed, *options):
    """Without AVX2 backend cpu is an error; auto warns and uses ref."""
    environment = {**os.environ, 'ONEDNN_MAX_CPU_ISA': 'SSE41'}
    for backend, code, text in (('cpu', 69, 'error: backend cpu: needs AVX2'),
                                ('auto', 0, 'warning: backend auto: ref (')):
        command = [bed.vocdist, *bed.settings('old', *options, '--backend',
                                              backend, '--log.level', 'warn'),
                   '--dry-run']
        p = subprocess.run(list(map(str, command)), capture_output=True,
                           text=True, env=environment)
        check(p.returncode == code and text in p.stderr, p)
    print('train: without AVX2, ref computes')


def check_evaluate(bed, cases):
    run, exported = f'{bed.tmp}/np1', f'{bed.tmp}/net.safetensors'
    first = bed.evaluate(1, 1, '--checkpoint', run)
    for ranks, threads in cases:
        check(bed.evaluate(ranks, threads, '--checkpoint', run) == first,
              ranks, 'ranks', threads, 'threads')
    check_output(bed.vocdist, 'export', '--checkpoint', run, '-o', exported)
    for ranks, threads in ((1, 1), cases[-1]):
        check(bed.evaluate(ranks, threads, '--weights', exported) == first,
              ranks, 'ranks', threads, 'threads, with the exported weights')
    print('eval: the same', first.count(b'\n') - 1, 'rows for ranks, threads',
          (1, 1), *cases)


def main():
    arguments, mpirun = sys.argv[1:], []
    if '--' in arguments:
        at = arguments.index('--')
        arguments, mpirun = arguments[:at], arguments[at + 1:]
    cases = [(1, 2), (1, 3)]
    ranks = []
    if mpirun:
        cases, ranks = [*cases, (2, 1), (3, 2), (5, 1)], [2, 3, 4]
    with tempfile.TemporaryDirectory() as tmp:
        bed = TestBed(tmp, arguments[:2], mpirun)
        if arguments[2] == 'real':
            shared = os.environ.get('VOCDIST_TEST_DATA')
            if not shared:
                print('skipped: VOCDIST_TEST_DATA is not set')
                sys.exit(SKIP)
            check_output(bed.vocpack, f'{shared}/data/voc-real', '--split', 'train,val',
                '-o', f'{tmp}/data')
            options = ['--model.weights',
                       f'{shared}/weights/resnet34-warm.safetensors',
                       '--model.freeze', 'none']
        else:
            check_output(bed.vocpack, 'demo', f'{tmp}/demo', '--images', 2400, '--size',
                64)
            check_output(bed.vocpack, f'{tmp}/demo', '--split', 'train,val', '--size',
                64, '-o', f'{tmp}/data')
            options = ['--model.width', 8, '--model.blocks', '1,1,1,1']
        check_train(bed, ranks, *options)
        if mpirun:
            check_mixed_processors(bed, *options)
            check_without_avx2(bed, *options)
        check_evaluate(bed, cases)


main()
