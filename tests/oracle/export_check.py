"""Exported weights in PyTorch give the same outputs as vocdist's evaluation.

    export_check.py VOCDIST VOCPACK generated|real

Trains for some steps, exports, and evaluates the same shards with independent
PyTorch networks. generated: two small networks, and ResNet34 with
load_vocdist() below, which docs/pytorch.md prints. real: ResNet34 from the
weights in $VOCDIST_TEST_DATA on its data set, with both loaders.
"""
import csv
import filecmp
import inspect
import json
import os
import sys
import tempfile
from collections import OrderedDict

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
from checks import check, check_output  # noqa: E402

SKIP = 77
try:
    import h5py
    import numpy as np
    import torch
    import torchvision
    from torch import nn
    from network import Net
except ImportError as e:
    print('skipped:', e)
    sys.exit(SKIP)

BOX_PX = 1e-2       # at 224 pixels
SCORE = 1e-4
TIE = 1e-3          # outputs that differ by less may change their order


# ---- the loader of docs/pytorch.md; check_guide() compares them ----
def load_vocdist(path):
    """Loads a file of `vocdist export` into torchvision's ResNet34."""
    with open(path, 'rb') as f:
        tensors = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
        data = f.read()
    notes = tensors.pop('__metadata__')
    state = {name.replace('head.', 'fc.'): torch.from_numpy(
        np.frombuffer(data[slice(*t['data_offsets'])], '<f4').copy()
    ).reshape(t['shape']) for name, t in tensors.items()}
    net = torchvision.models.resnet34()
    net.avgpool = nn.Identity()
    net.fc = nn.Sequential(OrderedDict(
        relu0=nn.ReLU(), drop0=nn.Dropout(.5),
        fc1=nn.Linear(state['fc.fc1.weight'].shape[1], 256),
        relu1=nn.ReLU(), bn=nn.BatchNorm1d(256), drop1=nn.Dropout(.5),
        fc2=nn.Linear(256, state['fc.fc2.weight'].shape[0])))
    net.load_state_dict(state)
    return net.eval(), notes


# ---- a loader for any width and number of blocks ----
def load_net(path):
    with open(path, 'rb') as f:
        tensors = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
        data = f.read()
    notes = tensors.pop('__metadata__')
    state = {}
    for name, t in tensors.items():
        check(t['dtype'] == 'F32', name, t['dtype'])
        at, end = t['data_offsets']
        values = np.frombuffer(data[at:end], '<f4').copy()
        state[name] = torch.from_numpy(values).reshape(t['shape'])
    net = Net(int(notes['width']), [int(n) for n in notes['blocks'].split(',')],
              int(notes['size']), classes=len(json.loads(notes['classes'])))
    net.load_state_dict(state)
    return net.eval(), notes


# ---- the check ----
def read_shards(folder):
    with open(os.path.join(folder, 'pack.json')) as f:
        manifest = json.load(f)
    parts = []
    for shard in manifest['shards']:
        with h5py.File(os.path.join(folder, shard['file']), 'r') as f:
            names = [c.decode() for c in f.attrs['classes']]
            parts.append({k: f[k][:] for k in
                          ('images', 'class', 'box', 'size', 'id')})
    data = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    data['id'] = [i.rstrip(b'\0').decode() for i in data['id']]
    data['classes'] = names
    return data


def check_labels(folder, data):
    """labels.csv agrees with the shards."""
    with open(os.path.join(folder, 'labels.csv')) as f:
        rows = list(csv.DictReader(f))
    check([r['id'] for r in rows] == data['id'], folder, 'other images')
    check([r['class'] for r in rows] ==
          [data['classes'][c] for c in data['class']], folder, 'classes')
    box = np.array([[float(r[k]) for k in ('x1', 'y1', 'x2', 'y2')]
                    for r in rows])
    check(np.abs(box - data['box']).max() <= 1e-2, folder, 'boxes')
    check([(int(r['width']), int(r['height'])) for r in rows] ==
          [tuple(s) for s in data['size']], folder, 'sizes')


def predict(net, notes, data):
    """Boxes in pixels and class logits of every image, float64."""
    mean, std = (torch.tensor([float(v) for v in notes[k].split(',')])
                 .view(3, 1, 1) for k in ('mean', 'std'))
    out = []
    with torch.no_grad():
        for at in range(0, len(data['images']), 16):
            x = torch.from_numpy(data['images'][at:at + 16])
            x = x.permute(0, 3, 1, 2).float() / 255
            out.append(net((x - mean) / std).double())
    out = torch.cat(out)
    return (out[:, :4].sigmoid() * int(notes['size'])).numpy(), out[:, 4:]


def check_guide():
    """docs/pytorch.md contains the source of load_vocdist()."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
    with open(os.path.join(root, 'docs/pytorch.md')) as f:
        check(inspect.getsource(load_vocdist) in f.read(), 'docs/pytorch.md')


def compare(what, per_image, data, boxes, outputs, n_kinds):
    with open(per_image) as f:
        rows = list(csv.DictReader(f))
    names = data['classes']
    check([r['id'] for r in rows] == data['id'], what, 'other images')
    check([r['class'] for r in rows] == [names[c] for c in data['class']],
          what, 'other classes')
    got = np.array([[float(r[k]) for k in ('px1', 'py1', 'px2', 'py2')]
                    for r in rows])
    box = np.abs(got - boxes).max()
    check(box <= BOX_PX * data['images'].shape[1] / 224, what, 'box', box)
    pred = torch.tensor([names.index(r['pred']) for r in rows])
    check(len(set(pred.tolist())) >= n_kinds and
          boxes.std(0).min() >= 20 * BOX_PX, what, 'outputs hardly differ')
    gap = outputs.max(1)[0] - outputs.gather(1, pred[:, None])[:, 0]
    check(float(gap.max()) <= TIE, what, 'class', float(gap.max()))
    score = outputs.softmax(1).gather(1, pred[:, None])[:, 0].numpy()
    score = np.abs(score - [float(r['score']) for r in rows]).max()
    check(score <= SCORE, what, 'score', score)
    l1 = np.abs(boxes - data['box']).mean(1)
    l1 = np.abs(l1 - [float(r['l1_px']) for r in rows]).max()
    check(l1 <= BOX_PX, what, 'l1_px', l1)
    swapped = int((outputs.argmax(1) != pred).sum())
    print(f'{what}: {len(rows)} images, {len(set(pred.tolist()))} classes '
          f'predicted; box within {box:.1e} px, score within {score:.1e}, '
          f'{swapped} near ties')


def case(programs, tmp, name, data, loaders, *options, n_kinds=3):
    """Trains, exports, and compares the outputs of every loader."""
    vocdist, _ = programs
    common = ['--train.dir', tmp, '--backend', 'cpu', '--log.level', 'error']
    folder, run_folder = os.path.join(data, 'val'), os.path.join(tmp, name)
    check_output(vocdist, *common, '--train.name', name, '--data.train',
        os.path.join(data, 'train'), '--data.val', '', '--train.replicas', 1,
        *options)
    csv_file, weights = (os.path.join(tmp, name + end)
                         for end in ('.csv', '.safetensors'))
    check_output(vocdist, 'eval', *common[2:], '--checkpoint', run_folder, '--data',
        folder, '--per-image', csv_file)
    for out in (weights, weights + '.again'):
        check_output(vocdist, 'export', '--checkpoint', run_folder, '-o', out)
    check(filecmp.cmp(weights, weights + '.again', shallow=False), 'bytes')
    shards = read_shards(folder)
    check_labels(folder, shards)
    for load in loaders:
        net, notes = load(weights)
        check(json.loads(notes['classes']) == shards['classes'], 'classes')
        boxes, outputs = predict(net, notes, shards)
        compare(f'{name}, {load.__name__}', csv_file, shards, boxes, outputs,
                n_kinds)


def generated(programs, tmp):
    root = os.path.join(tmp, 'demo')
    check_output(programs[1], 'demo', root, '--images', 320, '--size', 112)
    for size in (64, 96):
        check_output(programs[1], root, '--split', 'train,val', '--size', size, '-o',
            f'{tmp}/{size}')
    case(programs, tmp, 'tiny', f'{tmp}/64', [load_net], '--model.width', 8,
         '--model.blocks', '1,1,1,1', '--train.steps', 40,
         '--train.global_batch', 16)
    case(programs, tmp, 'uneven', f'{tmp}/96', [load_net], '--model.width', 16,
         '--model.blocks', '2,1,3,1', '--train.steps', 20,
         '--train.global_batch', 16, '--data.normalize', 'imagenet')
    case(programs, tmp, 'resnet34', f'{tmp}/96', [load_vocdist],
         '--train.steps', 4, '--train.global_batch', 8, n_kinds=1)


def real(programs, tmp):
    shared = os.environ.get('VOCDIST_TEST_DATA')
    if not shared:
        print('skipped: VOCDIST_TEST_DATA is not set')
        sys.exit(SKIP)
    check_output(programs[1], os.path.join(shared, 'data/voc-real'), '--split',
        'train,val', '-o', f'{tmp}/voc')
    case(programs, tmp, 'voc-real', f'{tmp}/voc', [load_net, load_vocdist],
         '--train.steps', 8, '--train.global_batch', 16, '--model.weights',
         os.path.join(shared, 'weights/resnet34-warm.safetensors'), n_kinds=10)


def main():
    torch.set_num_threads(1)
    check_guide()
    with tempfile.TemporaryDirectory() as tmp:
        {'generated': generated, 'real': real}[sys.argv[3]](sys.argv[1:3], tmp)


main()
