"""Compares vocdist with PyTorch on this machine: step time, memory, start time.

    compare.py --python PYTHON [--python ANOTHER]... [options]

Every PYTHON must have torch; the peer is the fastest mode of all of them. This
script itself needs h5py and numpy, a build with tests, and an idle machine.

1. Gate: with the same weights and batch, every mode must compute the same losses
   in its first two steps (so forward, backward and optimizer agree); otherwise
   nothing is timed and the exit code is 1.
2. Search: memory formats, implementations of Adam and torch.compile of each
   PyTorch, all with huge pages and a malloc that keeps freed memory.
3. Rounds: vocdist and the fastest mode of each PyTorch, alternating.
4. Ranks: one job of several one-core ranks against as many independent jobs at
   the same time.
5. Start: from exec to the first step.

Images are generated; dropout and augmentation are off in both; input is in memory.
Prints tables for docs/measured.md. They and result.json are written to --out
FOLDER after each measurement. If a part fails, the results of the others are kept;
the failure is recorded there and printed at the end, with exit code 1.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import h5py
    import numpy as np
except ImportError as e:
    sys.exit(f'compare.py: {sys.executable} runs this script and has no such module: {e}\n  ---> install python3-h5py and '
             'python3-numpy (scripts/install-deps.sh --test), or run it with a Python that has h5py and numpy')

HERE = Path(__file__).resolve().parent
TUNED = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1', 'MALLOC_TRIM_THRESHOLD_': '8000000000', 'MALLOC_MMAP_MAX_': '0',
         'MALLOC_TOP_PAD_': '500000000'}
LR = 1e-3
# Open MPI 4 and 5 do not run as root without these.
ROOT = [f'{name}_ALLOW_RUN_AS_ROOT{confirm}' for name in ('OMPI', 'PRTE') for confirm in ('', '_CONFIRM')]
# Relative tolerances. The first losses differ by rounding. Adam's first step
# amplifies rounding where a gradient is nearly 0, so the second tolerance is larger.
SAME_LOSS = (1e-3, 2e-2)


def log(*words):
    print(f'{time.strftime("%H:%M:%S")}', *words, file=sys.stderr, flush=True)


def fail(*words):
    print('compare.py:', *words, file=sys.stderr)
    sys.exit(1)


def wait_output(process, what, limit_s=None):
    """Waits for the process; returns its standard output."""
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f'{what}: more than {limit_s} s') from None
    if process.returncode:
        raise RuntimeError(f'{what}: exit code {process.returncode}\n{err[-2000:]}')
    return out


class Vocdist:
    """vocdist with one network and one batch."""

    def __init__(self, args, folder):
        self.args, self.folder, self.runs = args, folder, 0

    def options(self, batch, threads):
        a = self.args
        pairs = {'data.train': f'{self.folder}/data', 'data.val': '', 'model.weights': f'{self.folder}/weights.safetensors',
                 'model.freeze': a.freeze, 'model.width': a.width, 'model.blocks': a.blocks, 'model.head_dropout': 0,
                 'augment.enable': 'false', 'optim.lr': LR, 'optim.backbone_lr_mult': .1, 'train.micro_batch': batch,
                 'cpu.threads': threads, 'backend': 'cpu'}
        return [str(w) for k, v in pairs.items() for w in ('--' + k, v)]

    def bench(self, batch, threads, steps, before=(), replicas=1):
        """Starts `vocdist bench step`; returns the process."""
        command = [*before, self.args.vocdist, 'bench', 'step', '--json', '--steps', steps, '--log.level', 'error',
                   '--train.replicas', replicas, *self.options(batch, threads)]
        return subprocess.Popen([str(w) for w in command], cwd=self.folder, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def time(self):
        a = self.args
        return json.loads(wait_output(self.bench(a.batch, a.threads, a.steps), 'vocdist bench'))

    def train(self, steps):
        """Losses, and seconds from exec to the begin and the end of the first step."""
        self.runs += 1
        rows = Path(self.folder, 'runs', f'r{self.runs}', 'steps.jsonl')
        command = [self.args.vocdist, '--train.dir', f'{self.folder}/runs', '--train.name', f'r{self.runs}', '--train.steps',
                   steps, '--log.every', 1, '--log.level', 'warn', '--train.replicas', 1,
                   *self.options(self.args.batch, self.args.threads)]
        start = time.monotonic()
        p = subprocess.Popen([str(w) for w in command], cwd=self.folder, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        while p.poll() is None and not (rows.exists() and rows.read_text().endswith('\n')):
            time.sleep(.005)
        end_s = time.monotonic() - start
        wait_output(p, 'vocdist')
        rows = [json.loads(line) for line in rows.read_text().splitlines()]
        shutil.rmtree(f'{self.folder}/runs')
        return [r['loss'] for r in rows], end_s - self.args.batch / rows[0]['images_per_s'], end_s


class Torch:
    """One Python's PyTorch, and the fastest mode found so far."""

    def __init__(self, args, folder, python):
        self.args, self.folder, self.python = args, folder, python
        self.environment = dict(os.environ, PYTHONPATH=str(HERE.parent / 'oracle'), PYTHONDONTWRITEBYTECODE='1', **TUNED)
        self.tried, self.mode, self.name = {}, None, python
        self.rounds, self.library, self.slowest_s = [], '', 0

    def check_modules(self):
        done = subprocess.run([self.python, '-c', 'import numpy, torch'], env=self.environment, text=True,
                              capture_output=True)
        if done.returncode:
            reason = (done.stderr.strip() or f'exit code {done.returncode}').splitlines()[-1]
            fail(f'{self.python}: {reason}\n  ---> give a --python that has torch and numpy')

    def start(self, *words):
        command = [self.python, self.args.peer, self.folder, *map(str, words)]
        begin = time.monotonic()
        out = wait_output(subprocess.Popen(command, env=self.environment, text=True, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE), f'{self.python} {" ".join(map(str, words))}',
                          max(self.args.limit, 10 * self.slowest_s))
        self.slowest_s = max(self.slowest_s, time.monotonic() - begin)
        return out

    def time(self, mode, steps):
        layout, adam, *compiled = mode
        return json.loads(self.start('time', layout, adam, steps, *compiled).splitlines()[-1])

    def find_library(self):
        """Version and instruction set of its oneDNN, from ONEDNN_VERBOSE."""
        code = 'import torch; torch.conv2d(torch.ones(16, 32, 56, 56), torch.ones(32, 32, 3, 3))'
        out = subprocess.run([self.python, '-c', code], env=dict(self.environment, ONEDNN_VERBOSE='1'), text=True,
                             capture_output=True).stdout
        found = [re.search(pattern, out) for pattern in (r'oneDNN v[0-9.]+', r'isa:([^\n]*)')]
        self.library = ', '.join(m[m.lastindex or 0] for m in found if m)

    def attempt(self, mode, losses):
        """Times a mode. A mode that this PyTorch does not have is skipped; a wrong loss ends the script."""
        try:
            r = self.time(mode, self.args.search_steps)
        except RuntimeError as e:
            reason = str(e).strip().splitlines()[-1]
            log(f'{self.name} {" ".join(mode)}: not available ({reason[:120]})')
            return
        self.name = f'PyTorch {r["torch"]}'
        check_losses(losses, r['losses'], f'{self.name} {" ".join(mode)}')
        r['ms'] = statistics.median(r['step_ms'])
        self.tried[mode] = r
        self.mode = min(self.tried, key=lambda m: self.tried[m]['ms'])
        log(f'{self.name} {" ".join(mode)}: {r["ms"]:.1f} ms; losses {r["losses"]}')

    def search(self, losses):
        for layout in 'channels_last', 'contiguous':
            self.attempt((layout, 'loop'), losses)
        if not self.tried:
            raise RuntimeError(f'{self.python}: no mode of PyTorch works')
        layout = self.mode[0]
        for adam in 'foreach', 'fused':
            self.attempt((layout, adam), losses)
        if not self.name.startswith('PyTorch 1.'):
            self.attempt((layout, self.mode[1], 'compile'), losses)
        self.find_library()

    def result(self):
        return {'name': self.name, 'library': self.library, 'mode': self.mode, 'rounds': self.rounds,
                'search_ms': {' '.join(m): t['ms'] for m, t in self.tried.items()}}


def check_losses(ours, theirs, who):
    for step, (a, b, tolerance) in enumerate(zip(ours, theirs, SAME_LOSS), 1):
        if not abs(a - b) <= tolerance * abs(a):
            fail(f'refused: loss of step {step} is {a:.6g} in vocdist and {b:.6g} in {who}: '
                 f'not the same computation, so not comparable')


def prepare(args, folder):
    """setting.json, data/ for vocdist, batch.npz of the same images."""
    subprocess.run([args.make_shards, f'{folder}/data', str(args.batch), str(args.size), '0'], check=True)
    with h5py.File(next(Path(folder, 'data').glob('*.h5')), 'r') as f:
        batch = {k: f[k][:] for k in ('images', 'box', 'class')}
        classes = len(f.attrs['classes'])
    np.savez(f'{folder}/batch.npz', **batch)
    setting = dict(batch=args.batch, size=args.size, threads=args.threads, width=args.width, freeze=args.freeze,
                   blocks=[int(n) for n in args.blocks.split(',')], classes=classes, lr=LR, backbone_lr=LR / 10)
    Path(folder, 'setting.json').write_text(json.dumps(setting))


class Results:
    """The results so far, always saved on disk, and the failed parts."""

    def __init__(self, args, peers):
        self.args, self.peers = args, peers
        self.folder = Path(args.out)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.values = {'load': [], 'losses': [], 'ours': [], 'ranks': {}, 'start': [], 'failed': {}}

    def save(self):
        result = dict(self.values, peers=[p.result() for p in self.peers])
        text = json.dumps(result, indent=1)
        temporary = self.folder / 'result.json.tmp'
        temporary.write_text(text)
        temporary.replace(self.folder / 'result.json')
        return json.loads(text)

    def measure_part(self, name, measure, *arguments):
        """Runs one part; if it fails, the other parts still run."""
        try:
            measure(*arguments)
        except (RuntimeError, OSError, ValueError, LookupError) as e:
            self.values['failed'][name] = f'{type(e).__name__}: {e}'
            log(f'FAILED: {name}: {e}')
        self.save()


def measure_rounds(args, ours, peers, record):
    for i in range(args.rounds):
        record.values['ours'].append(ours.time())
        record.save()
        for p in peers:
            p.rounds.append(p.time(p.mode, args.steps))
            record.save()
        log(f'round {i + 1}: vocdist {step_ms(record.values["ours"][-1]):.1f} ms, '
            + ', '.join(f'{p.name} {statistics.median(p.rounds[-1]["step_ms"]):.1f} ms' for p in peers))


def step_ms(bench):
    return bench['step']['synthetic']['phases_ms']['total']['median']


def images_per_s(bench, of):
    return bench['step'][of]['images_per_s']


def measure_ranks(args, ours, record):
    """Ratios of one job's images per second to independent jobs', by input."""
    n, batch = args.ranks, max(args.batch // args.ranks, 1)
    cores = sorted(os.sched_getaffinity(0))[:n]
    ratios = record.values['ranks']
    for i in range(args.rounds):
        alone = [ours.bench(batch, 1, args.steps, ('taskset', '-c', c)) for c in cores]
        alone = [json.loads(wait_output(p, 'vocdist bench')) for p in alone]
        job = ours.bench(batch, 1, args.steps, (*shlex.split(args.mpirun), n), n)
        job = json.loads(wait_output(job, f'{args.mpirun} {n} vocdist bench'))
        for of in 'synthetic', 'shards':
            ratio = images_per_s(job, of) / sum(images_per_s(b, of) for b in alone)
            ratios.setdefault(of, []).append(ratio)
        record.save()
        log(f'{n} ranks, round {i + 1}: {ratios["synthetic"][-1]:.3f} from memory, {ratios["shards"][-1]:.3f} from shards')


def measure_starts(args, ours, record):
    for _ in range(args.rounds):
        record.values['start'].append(ours.train(1)[1:])
        record.save()


def median_range(values, digits=2):
    return f'{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})'


def setting_rows(args, r):
    o = r['ours'][0]
    return [f'{time.strftime("%Y-%m-%d")}, {o["machine"]["processor"]}, {os.cpu_count()} cores, load '
            f'{r["load"][0]:.1f} before and {r["load"][-1]:.1f} after; {o["machine"]["instruction_set"]}, ONEDNN_MAX_CPU_ISA '
            f'{os.environ.get("ONEDNN_MAX_CPU_ISA", "not set")}. vocdist {o["setup"]["backend_details"]}; '
            + '; '.join(f'{p["name"]} {p["library"]}' for p in r['peers']) + '.',
            f'ResNet {args.blocks}, width {args.width}, {args.size} pixels, head included, freeze {args.freeze}, batch '
            f'{args.batch}, {args.threads} threads, float32, Adam; {len(r["ours"])} alternating rounds of {args.steps} steps.',
            '']


def own_row(r):
    start = [median_range([b for b, _ in r['start']]), median_range([e - b for b, e in r['start']])] if r['start'] else ['', '']
    return (f'| vocdist | | {median_range([step_ms(b) for b in r["ours"]], 0)} | '
            f'| {max(b["step"]["peak_memory_bytes"] for b in r["ours"]) / 2**20:.0f} | {start[0]} | {start[1]} |')


def peer_row(r, p):
    ms = [statistics.median(x['step_ms']) for x in p['rounds']]
    faster = [t / v for t, v in zip(ms, [step_ms(b) for b in r['ours']])]
    return (f'| {p["name"]} | {" ".join(p["mode"])} | {median_range(ms, 0)} | {median_range(faster)} '
            f'| {max(x["peak_bytes"] for x in p["rounds"]) / 2**20:.0f} '
            f'| {median_range([x["start_s"] for x in p["rounds"]])} | {median_range([x["first_step_s"] for x in p["rounds"]])} |')


def report(args, r):
    """Markdown for docs/measured.md, of the parts with results."""
    out, timed = [], [p for p in r['peers'] if p['rounds']]
    if r['ours']:
        out += setting_rows(args, r)
        out += ['| program | fastest mode | step, ms | vocdist is faster by | peak MiB | exec to first step, s | first step, s |',
                '| --- | --- | ---: | ---: | ---: | ---: | ---: |', own_row(r)]
        out += [peer_row(r, p) for p in timed]
    if timed:
        peer = min(timed, key=lambda p: statistics.median(statistics.median(x['step_ms']) for x in p['rounds']))
        out += ['', f'The peer is {peer["name"]}, {" ".join(peer["mode"])}. Losses of steps 1 and 2: vocdist '
                f'{r["losses"][0]:.6g}, {r["losses"][1]:.6g}; peer {peer["rounds"][0]["losses"][0]:.6g}, '
                f'{peer["rounds"][0]["losses"][1]:.6g}.']
    if r['ranks']:
        out.append(f'{args.ranks} ranks of one core against as many independent jobs at the same time: '
                   f'{median_range(r["ranks"]["synthetic"], 3)} from memory, {median_range(r["ranks"]["shards"], 3)} from shards.')
    out += [f'Not measured: {name}: {reason.splitlines()[0]}' for name, reason in r['failed'].items()]
    return '\n'.join(out) + '\n'


def check_requirements(args, peers):
    """Finds missing programs and modules before anything is measured."""
    for program in args.vocdist, args.make_shards:
        if not os.access(program, os.X_OK):
            fail(f'{program}: no such program\n  ---> cmake --preset dev && cmake --build --preset dev')
    for program in shlex.split(args.mpirun)[:1] + ['taskset'] * bool(args.mpirun):
        if not shutil.which(program):
            fail(f"{program}: no such program\n  ---> install it, or skip the ranks: --mpirun ''")
    for p in peers:
        p.check_modules()


def compare(args, folder, peers, record):
    ours = Vocdist(args, folder)
    record.values['load'].append(os.getloadavg()[0])
    prepare(args, folder)
    peers[0].start('init')
    record.values['losses'] = losses = ours.train(2)[0]
    log(f'vocdist: losses {losses}')
    for p in peers:
        record.measure_part(f'search of {p.python}', p.search, losses)
    record.measure_part('rounds', measure_rounds, args, ours, [p for p in peers if p.mode], record)
    if args.mpirun:
        record.measure_part('ranks', measure_ranks, args, ours, record)
    record.measure_part('start', measure_starts, args, ours, record)
    record.values['load'].append(os.getloadavg()[0])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = HERE.parent.parent / 'build' / 'dev'
    ap.add_argument('--python', action='append', required=True, help='a Python that has torch; may be given several times')
    ap.add_argument('--vocdist', default=build / 'src/cli/vocdist')
    ap.add_argument('--make-shards', default=build / 'tests/make_shards')
    ap.add_argument('--mpirun', default='mpirun -np', help="the number of ranks is appended; '' skips the ranks")
    ap.add_argument('--batch', type=int, default=32)
    ap.add_argument('--threads', type=int, default=2)
    ap.add_argument('--ranks', type=int, default=2)
    ap.add_argument('--freeze', choices=('none', 'backbone'), default='none')
    ap.add_argument('--size', type=int, default=224)
    ap.add_argument('--width', type=int, default=64)
    ap.add_argument('--blocks', default='3,4,6,3')
    ap.add_argument('--rounds', type=int, default=3)
    ap.add_argument('--steps', type=int, default=4, help='timed steps per round')
    ap.add_argument('--search-steps', type=int, default=2)
    ap.add_argument('--limit', type=int, default=600, help='time limit of one PyTorch process in seconds, including '
                    'compilation; at least 10 times the slowest so far')
    ap.add_argument('--out', default=build.parent / 'compare', help='folder for rows.md and result.json')
    ap.add_argument('--peer', default=HERE / 'torch_step.py', help=argparse.SUPPRESS)
    args = ap.parse_args()
    for program in 'vocdist', 'make_shards', 'peer':
        setattr(args, program, os.path.abspath(getattr(args, program)))
    os.environ.update(dict.fromkeys(ROOT, '1'))
    with tempfile.TemporaryDirectory(prefix='vocdist-compare-') as folder:
        peers = [Torch(args, folder, p) for p in args.python]
        check_requirements(args, peers)
        record = Results(args, peers)
        log(f'results: {record.folder}/result.json')
        compare(args, folder, peers, record)
    result = record.save()
    rows = report(args, result)
    print(rows, end='')
    (record.folder / 'rows.md').write_text(rows)
    if result['failed']:
        fail('failed: ' + ', '.join(result['failed']) + f'; the other parts are in {record.folder}')


if __name__ == '__main__':
    main()
