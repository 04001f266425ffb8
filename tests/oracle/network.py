"""vocdist's network in PyTorch, and the random numbers of its dropout.

Used by oracle.py, export_check.py and ../bench/torch_step.py.
"""
import json

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

RNG_DROPOUT = 3
LEVELS = ['conv1 bn1', 'layer1', 'layer2', 'layer3', 'layer4']  # freeze counts from the first


def philox(counter, key):
    """Philox4x32-10; counter [n, 4], key (2 words)."""
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    k0, k1, low = key[0], key[1], np.uint64(0xffffffff)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xd2511f53), c[2] * np.uint64(0xcd9e8d57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9e3779b9) & 0xffffffff, (k1 + 0xbb67ae85) & 0xffffffff
    return np.stack(c, 1)


def dropout_mask(seed, positions, ordinal, rate, n):
    """Scaled mask [images, n], as defined in src/model/dropout.h."""
    rows = []
    for p in positions:
        blocks = np.arange((n + 3) // 4, dtype=np.uint64)
        counter = np.zeros((len(blocks), 4), np.uint64)
        counter[:, 0], counter[:, 1] = p & 0xffffffff, p >> 32
        counter[:, 2] = (ordinal << 24) + blocks
        counter[:, 3] = RNG_DROPOUT
        words = philox(counter, (seed & 0xffffffff, seed >> 32)).reshape(-1)[:n]
        rows.append((words >= rate * 2.0 ** 32) / (1 - rate))
    return torch.from_numpy(np.stack(rows))


class Head(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.fc1 = nn.Linear(features, 256)
        self.bn = nn.BatchNorm1d(256)
        self.fc2 = nn.Linear(256, 4 + classes)

    def forward(self, x, masks):
        x = F.relu(torch.flatten(x, 1))
        x = x * masks[0] if masks else x
        x = self.bn(F.relu(self.fc1(x)))
        x = x * masks[1] if masks else x
        return self.fc2(x)


class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class Net(nn.Module):
    """torchvision's names; freeze: number of LEVELS that are not trained."""

    def __init__(self, width, blocks, size, freeze=0, bn_eval=False, classes=20):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        at = width
        for i, n in enumerate(blocks):
            out, layer = width << i, []
            for k in range(n):
                layer.append(Block(at, out, 2 if i and not k else 1))
                at = out
            setattr(self, f'layer{i + 1}', nn.Sequential(*layer))
        self.head = Head(at * (size // 32) ** 2, classes)
        self.frozen = [getattr(self, n) for level in LEVELS[:freeze] for n in level.split()]
        self.bn_eval = bn_eval
        for m in self.frozen:
            m.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        if mode and self.bn_eval:
            for m in self.frozen:
                m.eval()
        return self

    def forward(self, x, masks=None):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(4):
            x = getattr(self, f'layer{i + 1}')(x)
        return self.head(x, masks)


def losses(y, size, box, cls):
    """L1 in pixels and cross entropy, per image."""
    l1 = (torch.sigmoid(y[:, :4]) * size - box).abs().mean(1)
    return l1, F.cross_entropy(y[:, 4:], cls, reduction='none')


def write_weights(net, path):
    """Writes a safetensors file."""
    tensors = {k: t.contiguous() for k, t in net.state_dict().items() if 'num_batches' not in k}
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {'dtype': 'F32', 'shape': list(t.shape), 'data_offsets': [at, at + 4 * t.numel()]}
        at += 4 * t.numel()
    text = json.dumps(header).encode()
    with open(path, 'wb') as f:
        f.write(len(text).to_bytes(8, 'little') + text)
        for t in tensors.values():
            f.write(t.numpy().tobytes())
