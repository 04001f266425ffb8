#!/usr/bin/python3
"""The recipe of configs/voc2007.yaml in PyTorch and torchvision alone.

    torch_trainer.py --train SHARDS --val SHARDS --weights FILE --out FILE.csv

It reads vocpack's shards, so that both programs see the same pixels.
Everything else is independent: torchvision's augmentation and ResNet34,
PyTorch's Adam and losses. The backbone is frozen, with its batch norm in
training mode, unless --unfrozen. The CSV has the columns of
runs/NAME/metrics.csv; it gets its name after the last epoch, so it is always
complete.
"""
import argparse
import csv
import json
import math
import os
import sys
import time
from collections import OrderedDict

try:
    import h5py
    import numpy as np
    import torch
    import torchvision
    import torchvision.transforms as T
    import torchvision.transforms.functional as TF
    from torch import nn
    from torch.nn import functional as F
except ImportError as e:
    print('skipped:', e)
    sys.exit(77)

COLUMNS = ('epoch step train_loss train_box train_class val_loss val_l1_px '
           'val_accuracy val_miou val_loc50 images_per_s lr seconds').split()


# ---- data ----

class Shards:
    """Images [N, 3, size, size] as uint8, boxes in their pixels, classes."""

    def __init__(self, folder):
        with open(os.path.join(folder, 'pack.json')) as f:
            manifest = json.load(f)
        parts = []
        for shard in manifest['shards']:
            with h5py.File(os.path.join(folder, shard['file']), 'r') as f:
                parts.append([f[k][:] for k in ('images', 'box', 'class')])
        images, box, label = (np.concatenate(p) for p in zip(*parts))
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        self.box = torch.from_numpy(box)
        self.label = torch.from_numpy(label).long()
        self.classes = manifest['classes']
        self.size = manifest['width']

    def __len__(self):
        return len(self.label)


def rotated_box(box, degrees, size):
    """Bounding box of `box` rotated counterclockwise about the image center."""
    a, middle = math.radians(degrees), size / 2
    x = box[[0, 2, 2, 0]] - middle
    y = box[[1, 1, 3, 3]] - middle  # down
    u = x * math.cos(a) + y * math.sin(a) + middle
    v = y * math.cos(a) - x * math.sin(a) + middle
    return torch.stack([u.min(), v.min(), u.max(), v.max()]).clamp(0, size)


def augment(x, box, jitter, args):
    size = x.shape[-1]
    if torch.rand(()) < args.flip:
        x = TF.hflip(x)
        box = torch.stack([size - box[2], box[1], size - box[0], box[3]])
    degrees = float(torch.empty(()).uniform_(-args.rotate, args.rotate))
    # affine() rotates clockwise.
    x = TF.affine(x, -degrees, [0, 0], 1, [0, 0],
                  interpolation=TF.InterpolationMode.BILINEAR)
    return jitter(x), rotated_box(box, degrees, size)


def train_batches(data, args):
    jitter = T.ColorJitter(args.jitter, args.jitter, args.jitter, args.jitter)
    for index in torch.randperm(len(data)).split(args.batch):
        if len(index) == 1:
            return  # the head's batch norm needs two images
        x, box = data.images[index].float() / 255, data.box[index]
        for k in range(len(index)):
            x[k], box[k] = augment(x[k], box[k], jitter, args)
        yield x, box, data.label[index]


def val_batches(data, args):
    for index in torch.arange(len(data)).split(args.batch):
        yield (data.images[index].float() / 255, data.box[index],
               data.label[index])


# ---- network ----

def read_safetensors(path):
    kinds = {'F16': '<f2', 'F32': '<f4', 'I64': '<i8'}
    with open(path, 'rb') as f:
        tensors = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
        data = f.read()
    tensors.pop('__metadata__', None)
    state = {}
    for name, t in tensors.items():
        values = np.frombuffer(data[slice(*t['data_offsets'])],
                               kinds[t['dtype']])
        state[name] = torch.from_numpy(
            values.astype('f4' if t['dtype'] == 'F16' else values.dtype)
        ).reshape(t['shape'])
    return state


class Net(nn.Module):
    def __init__(self, classes, size, weights, frozen):
        super().__init__()
        resnet = torchvision.models.resnet34()
        resnet.load_state_dict(read_safetensors(weights))
        self.backbone = nn.Sequential(*list(resnet.children())[:-2])
        self.head = nn.Sequential(OrderedDict(
            flatten=nn.Flatten(), relu0=nn.ReLU(), drop0=nn.Dropout(.5),
            fc1=nn.Linear(512 * (size // 32)**2, 256), relu1=nn.ReLU(),
            bn=nn.BatchNorm1d(256), drop1=nn.Dropout(.5),
            fc2=nn.Linear(256, 4 + classes)))
        self.size = size
        self.backbone.requires_grad_(not frozen)

    def forward(self, x):
        y = self.head(self.backbone(x))
        return y[:, :4].sigmoid() * self.size, y[:, 4:]


# ---- an epoch ----

def iou(a, b):
    low, high = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    one, other = ((t[:, 2:] - t[:, :2]).clamp(min=0).prod(1) for t in (a, b))
    return both / (one + other - both)


class Sums:
    """Means over images: box loss, class loss, accuracy, IoU, LOC@0.5."""

    def __init__(self):
        self.sums, self.n = torch.zeros(5, dtype=torch.double), 0

    def add(self, box, logits, true_box, label):
        right = logits.argmax(1) == label
        overlap = iou(box, true_box)
        rows = [(box - true_box).abs().mean(1),
                F.cross_entropy(logits, label, reduction='none'),
                right, overlap, right & (overlap >= .5)]
        self.sums += torch.stack([r.double().sum() for r in rows])
        self.n += len(label)

    def means(self, class_scale):
        box, kind, *rest = (self.sums / self.n).tolist()
        return [box + class_scale * kind, box, kind, *rest]


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def validate(net, data, args):
    net.eval()
    sums = Sums()
    with torch.no_grad():
        for x, box, label in val_batches(data, args):
            sums.add(*net(channels_last(x)), box, label)
    loss, l1, _, *rest = sums.means(args.class_scale)
    return dict(zip(COLUMNS[5:10], [loss, l1, *rest]))


def train(net, data, optimizer, args):
    net.train()
    sums, steps = Sums(), 0
    for x, true_box, label in train_batches(data, args):
        box, logits = net(channels_last(x))
        loss = (F.l1_loss(box, true_box) +
                args.class_scale * F.cross_entropy(logits, label))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        sums.add(box.detach(), logits.detach(), true_box, label)
        steps += 1
    return dict(zip(COLUMNS[2:5], sums.means(args.class_scale))), steps


# ---- main ----

def options():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--train', required=True, help='folder of shards')
    p.add_argument('--val', required=True)
    p.add_argument('--weights', required=True, help='safetensors, ResNet34')
    p.add_argument('--out', required=True, help='CSV to write')
    p.add_argument('--batch', type=int, default=64)
    p.add_argument('--epochs', type=int, default=5)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--lr', type=float, default=1e-3)
    p.add_argument('--unfrozen', action='store_true')
    p.add_argument('--backbone-lr', type=float, help='default: that of --lr')
    p.add_argument('--class-scale', type=float, default=25)
    p.add_argument('--flip', type=float, default=.5)
    p.add_argument('--rotate', type=float, default=10)
    p.add_argument('--jitter', type=float, default=.1)
    p.add_argument('--threads', type=int, default=2)
    return p.parse_args()


def main():
    args = options()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    data, val = Shards(args.train), Shards(args.val)
    net = Net(len(data.classes), data.size, args.weights, not args.unfrozen)
    net = net.to(memory_format=torch.channels_last)
    groups = [{'params': net.head.parameters()}]
    if args.unfrozen:
        groups.append({'params': net.backbone.parameters(),
                       'lr': args.backbone_lr or args.lr})
    optimizer = torch.optim.Adam(groups, lr=args.lr)
    part, step = args.out + '.part', 0
    with open(part, 'w', newline='') as f:
        table = csv.DictWriter(f, COLUMNS, lineterminator='\n')
        table.writeheader()
        for epoch in range(args.epochs + 1):
            row = {}
            if epoch:
                start = time.monotonic()
                row, steps = train(net, data, optimizer, args)
                step += steps
                row['seconds'] = time.monotonic() - start
                row['images_per_s'] = len(data) / row['seconds']
                row['lr'] = args.lr
            row.update(validate(net, val, args), epoch=epoch, step=step)
            table.writerow({k: f'{v:.6f}' if isinstance(v, float) else v
                            for k, v in row.items()})
            f.flush()
            print(f'epoch {epoch}:', {k: round(v, 3) for k, v in row.items()},
                  flush=True)
    os.rename(part, args.out)


if __name__ == '__main__':
    main()
