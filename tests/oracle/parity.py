"""Compares the training of vocdist and PyTorch on photographs.

    parity.py [WORKDIR [--torch]]

Trains ResNet34 on data/voc-real of $VOCDIST_TEST_DATA from its weights, with
three seeds with a frozen and three with a trained backbone, compares the
losses of every epoch and the validation with PyTorch's (torch_trainer.py), and
prints the tables of docs/measured.md. PyTorch's results are those recorded in
pytorch/ (frozen: by an earlier program of the same recipe that read the JPEGs
itself; full: by torch_trainer.py); with --torch they are computed in
WORKDIR/torch.

Complete runs in WORKDIR are reused, incomplete ones resume: the script can be
stopped and started again. Without WORKDIR everything is computed. PROGRAM and
PACKER in the environment are vocdist and vocpack.
"""
import csv
import glob
import json
import os
import subprocess
import sys
import tempfile

SKIP = 77
SEEDS = 1, 2, 3
EPOCHS = {'frozen': 5, 'full': 4}
LOSS_WITHIN = {'frozen': .04, 'full': .05}  # relative, in every epoch
LAST_LOSS_WITHIN = {'frozen': .03, 'full': .05}
# Frozen backbone; mean over the seeds, each at the better of its last two
# epochs: single epochs vary because the head's running statistics lag. For
# comparison: unflipped boxes cost 1.6 px and 0.02 mIoU, and almost nothing in
# the losses.
AT_LEAST = {'val_accuracy': .62, 'val_miou': .48, 'val_loc50': .32}
AT_MOST = {'val_l1_px': 25.5}
# Digests of the images of the recorded runs.
DIGESTS = {'train': 'e2c35bc354594fea', 'val': '7ef36b04b232649b'}

# PyTorch's fastest settings here, except that idle threads do not spin.
FAST = {'OMP_WAIT_POLICY': 'passive',
        'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
        'MALLOC_MMAP_THRESHOLD_': '4294967296',
        'MALLOC_TRIM_THRESHOLD_': '4294967296'}

HERE = os.path.dirname(os.path.abspath(__file__))
SHOWN = [('train_loss', 'train loss', 1, 2), ('train_box', 'box px', 1, 2),
         ('train_class', 'class', 1, 3), ('val_loss', 'val loss', 1, 1),
         ('val_l1_px', 'L1 px', 1, 1), ('val_accuracy', 'accuracy', 100, 1),
         ('val_miou', 'mIoU', 1, 3), ('val_loc50', 'LOC@0.5', 100, 1)]
failures = []


def check(ok, what):
    print('ok      ' if ok else 'FAILED  ', what)
    if not ok:
        failures.append(what)


# ---- runs ----

def read(path):
    """Rows of a CSV file, one per epoch; [] if there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, newline='') as f:
        return [{k: float(v) for k, v in row.items() if v}
                for row in csv.DictReader(f)]


def call(workdir, *command, **environment):
    command = [str(c) for c in command]
    print('$', ' '.join(command), flush=True)
    subprocess.run(command, cwd=workdir, check=True,
                   env=dict(os.environ, **environment))


def pack(workdir, data):
    if not os.path.exists(os.path.join(workdir, 'data/val/pack.json')):
        call(workdir, os.environ['PACKER'], 'pack',
             os.path.join(data, 'data/voc-real'), '--split', 'train,val',
             '-o', 'data')
    for split, digest in DIGESTS.items():
        with open(os.path.join(workdir, 'data', split, 'pack.json')) as f:
            check(json.load(f)['digest'] == digest, f'{split}: same images')


def vocdist(workdir, weights, kind, seed):
    name = f'{kind}-{seed}'
    path = os.path.join(workdir, 'runs', name, 'metrics.csv')
    if len(read(path)) <= EPOCHS[kind]:
        options = ['--train.epochs', EPOCHS[kind]]
        if kind == 'full':
            options += ['--model.freeze', 'none',
                        '--optim.backbone_lr_mult', '0.1']
        call(workdir, os.environ['PROGRAM'], '--data.train', 'data/train',
             '--data.val', 'data/val', '--model.weights', weights,
             '--train.global_batch', 16, '--train.replicas', 1,
             '--cpu.threads', 2, '--train.seed', seed,
             '--train.dir', 'runs', '--train.name', name, *options)
    return read(path)


def pytorch(workdir, weights, kind, seed):
    path = os.path.join(workdir, 'torch', f'{kind}-{seed}.csv')
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        options = ['--epochs', EPOCHS[kind]]
        if kind == 'full':
            options += ['--unfrozen', '--backbone-lr', '1e-4']
        call(workdir, sys.executable, '-B',
             os.path.join(HERE, 'torch_trainer.py'), '--train', 'data/train',
             '--val', 'data/val', '--weights', weights, '--batch', 16,
             '--threads', 2, '--seed', seed, '--out', path, *options, **FAST)
    return read(path)


# ---- comparison ----

def mean(rows, key):
    return sum(row[key] for row in rows) / len(rows)


def better(run):
    """The better of the last two epochs, by validation loss."""
    return min(run[-2:], key=lambda row: row['val_loss'])


def cells(rows):
    out = []
    for key, _, factor, digits in SHOWN:
        known = all(key in row for row in rows)
        out.append(f'{factor * mean(rows, key):.{digits}f}' if known else '')
    return out


def print_row(*row):
    print('| ' + ' | '.join(str(c) for c in row) + ' |')


def print_tables(kind, ours, theirs):
    names = [name for _, name, _, _ in SHOWN]
    print(f'\n{kind}, mean of seeds {", ".join(map(str, SEEDS))}:\n')
    print_row('epoch', '', *names)
    print_row('---:', '---', *['---:' for _ in names])
    for epoch in range(EPOCHS[kind] + 1):
        print_row(epoch, 'vocdist', *cells([run[epoch] for run in ours]))
        print_row('', 'PyTorch', *cells([run[epoch] for run in theirs]))
    print(f'\n{kind}, better of the last two epochs:\n')
    print_row('', 'seed', *names)
    print_row('---', '---', *['---:' for _ in names])
    for who, runs in (('vocdist', ours), ('PyTorch', theirs)):
        for seed, run in zip(SEEDS, runs):
            print_row(who, seed, *cells([better(run)]))
        print_row(who, 'mean', *cells([better(run) for run in runs]))
    print()


def compare(kind, ours, theirs):
    if not theirs:
        raise SystemExit(f'{kind}: no run of PyTorch')
    for run in ours + theirs:
        if len(run) != EPOCHS[kind] + 1:
            raise SystemExit(f'{kind}: {len(run)} rows in a run')
    print_tables(kind, ours, theirs)
    for epoch in range(1, EPOCHS[kind] + 1):
        a, b = (mean([run[epoch] for run in runs], 'train_loss')
                for runs in (ours, theirs))
        last = epoch == EPOCHS[kind]
        limit = (LAST_LOSS_WITHIN if last else LOSS_WITHIN)[kind]
        check(abs(a / b - 1) <= limit,
              f'{kind}: epoch {epoch}: training loss {a:.2f}, PyTorch '
              f'{b:.2f}: {100 * (a / b - 1):+.1f} % (limit {100 * limit:.0f})')


def check_validation(ours):
    rows = [better(run) for run in ours]
    for key, least in AT_LEAST.items():
        check(mean(rows, key) >= least,
              f'{key} {mean(rows, key):.3f}, at least {least}')
    for key, most in AT_MOST.items():
        check(mean(rows, key) <= most,
              f'{key} {mean(rows, key):.2f}, at most {most}')


def campaign(workdir, data, with_torch):
    weights = os.path.join(data, 'weights/resnet34-warm.safetensors')
    pack(workdir, data)
    for kind in EPOCHS:
        ours = [vocdist(workdir, weights, kind, s) for s in SEEDS]
        if with_torch:
            theirs = [pytorch(workdir, weights, kind, s) for s in SEEDS]
        else:
            theirs = [read(p) for p in sorted(
                glob.glob(os.path.join(HERE, 'pytorch', f'{kind}-*.csv')))]
        compare(kind, ours, theirs)
        if kind == 'frozen':
            check_validation(ours)


def main():
    data = os.environ.get('VOCDIST_TEST_DATA')
    if not data:
        print('skipped: VOCDIST_TEST_DATA is not set')
        sys.exit(SKIP)
    data, given = os.path.abspath(data), sys.argv[1:]
    if given:
        campaign(os.path.abspath(given[0]), data, '--torch' in given)
    else:
        with tempfile.TemporaryDirectory() as workdir:
            campaign(workdir, data, False)
    sys.exit(f'{len(failures)} comparisons failed' if failures else 0)


main()
