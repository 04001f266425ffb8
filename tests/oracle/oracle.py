#!/usr/bin/python3
"""Compares a backend with PyTorch: for the same inputs the same outputs.

    oracle.py DRIVER BACKEND CASE [--factor F] [--update-tolerance T]

Cases: pixels, small, steps, optim, full (224 pixels), full96, trajectory (96 pixels, 20 steps), real (224 pixels, 20 steps
from the weights and images in $VOCDIST_TEST_DATA). Exit code 0: they agree, 1: they differ, 77: no PyTorch or no
data. Every comparison is written so that NaN fails.
"""
import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    from PIL import Image
    import torch
    import torch.nn.functional as F
    import torchvision
    import torchvision.transforms.functional as TF
    from network import Net, dropout_mask, losses, write_weights
except ImportError as e:
    print('skipped:', e)
    sys.exit(77)

CLASSES = 20
failures = 0


def check(what, error, tolerance):
    global failures
    ok = error <= tolerance
    if not ok:
        failures += 1
        print(f'FAILED {what}: {error:.3g} > {tolerance:.3g}')
    return ok


# ---- a case and its driver ----------------------------------------------------------------------

class Case:
    """Writes the inputs, runs the driver, reads the outputs."""

    def __init__(self, args, **kw):
        self.o = dict(size=64, width=8, blocks='1,1,1,1', classes=CLASSES, dropout=0, freeze=0, bn_eval=0, batch=4,
                      steps=1, every=1, mode='train', update=1, seed=5)
        self.o.update(kw)
        self.args = args
        self.dir = tempfile.mkdtemp(prefix='vocdist-oracle-')
        rng = np.random.default_rng(1)
        n, s = self.o['steps'] * self.o['batch'], self.o['size']
        self.pixels = self.random_images(rng, n, s)
        self.cls = rng.integers(0, CLASSES, n)
        self.box = rng.uniform(0, s, (n, 4)).astype(np.float32)
        self.batch_items = [[1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 2, 3] for _ in range(n)]

    @staticmethod
    def random_images(rng, n, s):
        """Smooth colors with some noise, so that channels differ."""
        coarse = torch.from_numpy(rng.uniform(0, 255, (n, 3, 5, 5)))
        x = F.interpolate(coarse, size=(s, s), mode='bilinear').numpy() + rng.normal(0, 12, (n, 3, s, s))
        return np.ascontiguousarray(np.clip(x, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1))

    def positions(self, step):
        b = self.o['batch']
        return [7 * (1 << 33) + step * b + i for i in range(b)]

    def run(self):
        b = self.o['batch']
        self.pixels.tofile(f'{self.dir}/pixels.u8')
        with open(f'{self.dir}/batch_items.txt', 'w') as f:
            for i, item in enumerate(self.batch_items):
                row = [self.positions(1 + i // b)[i % b], self.cls[i], *self.box[i], *item]
                f.write(' '.join(repr(v.item() if hasattr(v, 'item') else v) for v in row) + '\n')
        t0 = time.time()
        subprocess.run([self.args.driver, f'dir={self.dir}', f'backend={self.args.backend}']
                       + [f'{k}={v}' for k, v in self.o.items()], check=True)
        self.seconds = time.time() - t0
        self.table = []
        for line in open(f'{self.dir}/table.txt'):
            kind, name, trainable, offset, *dims = line.split()
            self.table.append((kind, name, trainable == '1', int(offset), tuple(map(int, dims))))
        return self

    def read(self, what, step):
        return np.fromfile(f'{self.dir}/{what}-{step}.f32', np.float32)

    def tensors(self, what, step, kind='param', trainable=False):
        flat, out = self.read(what, step), {}
        for k, name, t, offset, dims in self.table:
            if k == kind and (t or not trainable):
                out[name] = torch.from_numpy(flat[offset:offset + int(np.prod(dims))].reshape(dims).copy())
        return out

    def net(self, step, dtype):
        o = self.o
        net = Net(o['width'], list(map(int, o['blocks'].split(','))), o['size'], o['freeze'], o['bn_eval'])
        state = {**self.tensors('params', step), **self.tensors('stats', step, 'stats')}
        mine = {k: v.shape for k, v in net.state_dict().items() if 'num_batches' not in k}
        assert mine == {k: v.shape for k, v in state.items()}, 'names or shapes differ'
        net.load_state_dict(state, strict=False)
        return net.to(dtype).train(o['mode'] == 'train')

    def batch(self, step, dtype):
        b = self.o['batch']
        part = slice((step - 1) * b, step * b)
        x = torch.from_numpy(self.pixels[part]).permute(0, 3, 1, 2).to(dtype) / 255
        return x, torch.from_numpy(self.box[part]).to(dtype), torch.from_numpy(self.cls[part])

    def masks(self, step, net, dtype):
        o = self.o
        if not o['dropout'] or o['mode'] != 'train':
            return None
        return [dropout_mask(o['seed'], self.positions(step), k, o['dropout'], n).to(dtype)
                for k, n in enumerate((net.head.fc1.in_features, 256))]

    def torch_step(self, net, step, dtype, order=slice(None)):
        """Outputs, l1, ce, mean loss; gradients stay in the net. order: permutation of the images in the batch."""
        x, box, cls = (t[order] for t in self.batch(step, dtype))
        masks = self.masks(step, net, dtype)
        y = net(x, masks and [m[order] for m in masks])
        l1, ce = losses(y, self.o['size'], box, cls)
        loss = (l1 + 25 * ce).mean()
        if self.o['mode'] == 'train':
            net.zero_grad()
            loss.backward()
        return y.detach(), l1.detach(), ce.detach(), float(loss)

    def close(self):
        shutil.rmtree(self.dir)


def grads(net):
    return {k: p.grad.double() for k, p in net.named_parameters() if p.requires_grad}


def norm(t):
    return float(t.double().norm())


# ---- (a) the small network ----------------------------------------------------------------------

def small_case(args, **kw):
    c = Case(args, update=0, **kw).run()
    what = ' '.join(f'{k} {v}' for k, v in kw.items())
    net = c.net(0, torch.float32)
    y, l1, ce, _ = c.torch_step(net, 1, torch.float32)
    mine = torch.from_numpy(c.read('y', 1)).view(y.shape)
    check(f'{what}: outputs', norm(mine - y) / norm(y), 1e-4)
    r = torch.from_numpy(c.read('results', 1)).view(-1, 2)
    check(f'{what}: l1', norm(r[:, 0] - l1) / norm(l1), 1e-4)
    check(f'{what}: ce', norm(r[:, 1] - ce) / norm(ce), 1e-4)
    if c.o['mode'] == 'train':
        # In float64: float32 has errors up to 1e-3 where rounding changes the
        # branch of a ReLU or of a maximum.
        net = c.net(0, torch.float64)
        c.torch_step(net, 1, torch.float64)
        want, got = grads(net), c.tensors('grad', 1, trainable=True)
        assert set(want) == set(got), 'different sets of trained tensors'
        largest = max(norm(g) for g in want.values())
        worst = 0
        for k, g in want.items():
            error = norm(got[k] - g) / max(norm(g), 1e-6 * largest)
            worst = max(worst, error)
            check(f'{what}: gradient of {k}', error, 1e-6 if args.backend == 'ref' else 1e-3)
        print(f'{what}: worst gradient {worst:.2g}')
    c.close()


def small(args):
    for dropout in (0, .5, .3):
        small_case(args, dropout=dropout)
    for freeze in range(1, 6):
        small_case(args, dropout=.5, freeze=freeze, bn_eval=freeze % 2)
    small_case(args, dropout=.5, mode='eval')
    small_case(args, size=96, batch=3)


# ---- (b) steps ----------------------------------------------------------------------------------

def optimizer(net, o):
    groups = [{'params': [p for k, p in net.named_parameters() if k.startswith('head.')], 'lr': o['lr']}]
    rest = [p for k, p in net.named_parameters() if not k.startswith('head.') and p.requires_grad]
    if rest:
        groups.append({'params': rest, 'lr': o['backbone_lr']})
    decay = o.get('weight_decay', 0)
    if o['rule'] == 'sgd':
        return torch.optim.SGD(groups, lr=o['lr'], momentum=o['momentum'], weight_decay=decay)
    kind = torch.optim.AdamW if o['rule'] == 'adamw' else torch.optim.Adam
    return kind(groups, lr=o['lr'], weight_decay=decay)


def load_optimizer_state(opt, net, c, step):
    """The backend's moments before this step."""
    m, v = (c.tensors(k, step - 1, trainable=True) for k in 'mv')
    for k, p in net.named_parameters():
        if p.requires_grad and c.o['rule'] == 'sgd':
            opt.state[p] = {'momentum_buffer': m[k].double()}
        elif p.requires_grad:
            opt.state[p] = {'step': torch.tensor(float(step - 1)), 'exp_avg': m[k].double(),
                            'exp_avg_sq': v[k].double()}


def apply_step(net, opt, o):
    if o.get('clip'):
        trainable = [p for p in net.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(trainable, o['clip'])
    opt.step()


def check_update(args, c, what, step):
    """One step in float64 from the backend's float32 state."""
    net = c.net(step - 1, torch.float64)
    before = {k: p.detach().clone() for k, p in net.named_parameters()}
    opt = optimizer(net, c.o)
    load_optimizer_state(opt, net, c, step)
    c.torch_step(net, step, torch.float64)
    apply_step(net, opt, c.o)
    got, worst = c.tensors('params', step), 0
    for k, p in net.named_parameters():
        want = p.detach() - before[k]
        # The backend rounds the weight to float32; what remains is the error of the update.
        tolerance = 2.0 ** -24 * p.detach().abs()
        error = ((got[k].double() - p.detach()).abs() - tolerance).clamp(min=0).max()
        error = float(error) / max(float(want.abs().max()), 1e-30)
        worst = max(worst, error)
        check(f'{what}: step {step}: update of {k}', error, args.update_tolerance)
    stats = c.tensors('stats', step, 'stats')
    for k, b in net.named_buffers():
        if 'num_batches' not in k:
            check(f'{what}: step {step}: {k}', norm(stats[k] - b), (1e-7 + args.update_tolerance) * norm(b))
    return worst


def check_steps(args, steps=20, each=1, **kw):
    o = dict(rule='adam', lr=1e-3, backbone_lr=1e-4, batch=8, dropout=.5, steps=steps)
    o.update(kw)
    c = Case(args, **o).run()
    what = ' '.join(f'{k} {v}' for k, v in kw.items()) or 'adam'
    worst = max(check_update(args, c, what, step) for step in range(1, steps + 1, each))
    # All steps in float64 from the same start. Adam makes full steps even of the
    # smallest gradients, so rounding grows; with batches of 4 it reaches 1e-2 here.
    net = c.net(0, torch.float64)
    opt, drift = optimizer(net, c.o), 0
    for step in range(1, steps + 1):
        loss = c.torch_step(net, step, torch.float64)[3]
        apply_step(net, opt, c.o)
        r = c.read('results', step).astype(np.float64).reshape(-1, 2)
        error = abs((r[:, 0] + 25 * r[:, 1]).mean() - loss) / loss
        drift = max(drift, error)
        check(f'{what}: loss {step} of the float64 run', error, 1e-4)
    print(f'{what}: worst update {worst:.2g}, losses of the float64 run within {drift:.2g}, last loss {loss:.4g}')
    c.close()


def steps(args):
    check_steps(args)
    check_steps(args, freeze=5)
    check_steps(args, freeze=2, bn_eval=1)


def optim(args):
    check_steps(args, steps=6, weight_decay=.1)
    check_steps(args, steps=6, rule='adamw', weight_decay=.1)
    check_steps(args, steps=6, rule='sgd', lr=1e-4, backbone_lr=2e-5, momentum=.9, weight_decay=.01)
    check_steps(args, steps=6, rule='sgd', lr=1e-3, backbone_lr=1e-3, momentum=.9, clip=5)
    check_steps(args, steps=6, clip=5, freeze=5)


# ---- (c) the whole network ----------------------------------------------------------------------

def torch_tensors(c, step, dtype, order):
    """Outputs, gradients and statistics of one step, by name."""
    net = c.net(step - 1, dtype)
    y = c.torch_step(net, step, dtype, order)[0]
    found = {**grads(net), 'outputs': y[np.argsort(order)]}
    if c.o['update']:
        found.update((k, b) for k, b in net.named_buffers() if 'num_batches' not in k)
    return found


def float32_errors(c, step, want):
    """PyTorch's float32 errors: the largest over a few orders of the batch. Most of a tensor's error comes from rounding
    that changes the branch of one ReLU, which happens in some orders only."""
    largest = dict.fromkeys(want, 0)
    for shift in range(min(c.o['batch'], 5)):
        found = torch_tensors(c, step, torch.float32, np.roll(np.arange(c.o['batch']), shift))
        for k, x in want.items():
            largest[k] = max(largest[k], norm(found[k] - x))
    return largest


def compare(args, c, what, step):
    """Outputs, gradients and statistics of one step against float64, relative to float32's own error."""
    t0 = time.time()
    want = torch_tensors(c, step, torch.float64, np.arange(c.o['batch']))
    own, got = float32_errors(c, step, want), c.tensors('grad', step, trainable=True)
    got['outputs'] = torch.from_numpy(c.read('y', step)).view(want['outputs'].shape)
    if c.o['update']:
        got.update(c.tensors('stats', step, 'stats'))
    assert set(want) == set(got), 'different sets of trained tensors'
    worst, along, tolerance = (0, ''), {}, {}
    for k, x in want.items():
        float32_error, error = own[k], norm(got[k] - x)
        if float32_error:
            worst = max(worst, (error / float32_error, k, error / norm(x)))
        # 1e-7: the backend's result is rounded to float32.
        check(f'{what}: {k}', error, args.factor * float32_error + 1e-7 * norm(x))
        if x.numel() >= 10000 and float32_error:
            along[k] = float((got[k] * x).sum() / (x * x).sum()) - 1
            tolerance[k] = .1 * args.factor * float32_error / norm(x) + 1e-6
    # The error of rounding has a random direction, so little of it is along the
    # tensor, except for the rounding of the loss, which scales all tensors alike. The
    # error of a wrong factor is along the tensor.
    common = statistics.median(along.values()) if along else 0
    longest = max(((abs(a - common), k) for k, a in along.items()), default=(0, 'none'))
    for k, a in along.items():
        check(f'{what}: length of {k}', abs(a - common), tolerance[k])
    print(f"{what}: worst {worst[1]}: {worst[0]:.2g} of float32's own error, {worst[2]:.2g} of the tensor's norm; "
          f'lengths within {longest[0]:.2g} ({longest[1]}) of a common {common:.2g} '
          f'({time.time() - t0:.1f} s)', flush=True)


def full(args, size=224):
    c = Case(args, size=size, width=64, blocks='3,4,6,3', batch=2, dropout=.5, update=0).run()
    backbone = {k: tuple(v.shape) for k, v in torchvision.models.resnet34().state_dict().items()
                if 'num_batches' not in k and not k.startswith('fc.')}
    assert backbone == {t[1]: t[4] for t in c.table if not t[1].startswith('head.')}, 'names or shapes are not those of torchvision'
    compare(args, c, f'{size} pixels', 1)
    c.close()


def full96(args):
    full(args, 96)


def trajectory(args, size=96, **kw):
    """Losses of 20 steps against float32; all tensors of the first step and of step 21 against float64."""
    # Adam amplifies rounding: at 1e-4 PyTorch's float32 and float64 losses differ by 1 % after 20 steps.
    lr = 5e-5
    c = Case(args, size=size, width=64, blocks='3,4,6,3', batch=8, steps=21, every=20, rule='adam', lr=lr,
             backbone_lr=lr / 10, **kw)
    if 'weights' in kw:
        load_real_images(c)
    else:
        c.o['weights'] = near_identity_weights(c)
    c.run()
    for step in 1, 21:
        compare(args, c, f'after {step - 1} steps', step)
    net = c.net(0, torch.float32)
    opt, worst = optimizer(net, c.o), 0
    for step in range(1, 21):
        loss = c.torch_step(net, step, torch.float32)[3]
        apply_step(net, opt, c.o)
        r = c.read('results', step).astype(np.float64).reshape(-1, 2)
        mine = (r[:, 0] + 25 * r[:, 1]).mean()
        error = abs(mine - loss) / loss
        worst = max(worst, error)
        check(f'loss of step {step}', error, 1e-2)
    print(f'20 losses within {worst:.2g}, the last {loss:.4g}')
    c.close()


def near_identity_weights(c):
    """Blocks near the identity, like trained ones: 34 random layers would amplify rounding chaotically."""
    torch.manual_seed(1)
    net = Net(64, (3, 4, 6, 3), c.o['size'])
    for name, p in net.named_parameters():
        if name.endswith('bn2.weight'):
            torch.nn.init.constant_(p, .2)
    write_weights(net, f'{c.dir}/weights.safetensors')
    return f'{c.dir}/weights.safetensors'


def real(args):
    if not args.data:
        print('skipped: no VOCDIST_TEST_DATA')
        sys.exit(77)
    trajectory(args, 224, weights=f'{args.data}/weights/resnet34-warm.safetensors')


def load_real_images(c):
    """Images of voc-real, resized; boxes and classes from its table."""
    folder = f'{c.args.data}/data/voc-real'
    with open(f'{folder}/largest.csv') as f:
        rows = list(csv.DictReader(f))
    names, size = sorted({r['class'] for r in rows}), c.o['size']
    for i in range(len(c.pixels)):
        # evenly spread: neighbors are similar
        row = rows[i * (len(rows) // len(c.pixels))]
        image = Image.open(f"{folder}/JPEGImages/{row['file_name']}")
        scale = [size / n for n in image.size * 2]
        c.pixels[i] = np.asarray(image.convert('RGB').resize((size, size), Image.BILINEAR))
        c.box[i] = [(int(row[k]) - (k < 'xmin')) * s for k, s in zip(('xmin', 'ymin', 'xmax', 'ymax'), scale)]
        c.cls[i] = names.index(row['class'])


# ---- (d) pixels ---------------------------------------------------------------------------------

def warp_matrix(size, degrees, flip):
    """TF.hflip, then TF.rotate, as one affine map from output to stored pixels."""
    a, m = np.deg2rad(degrees), (size - 1) / 2
    c, s = np.cos(a), np.sin(a)
    u = [c, -s, m - c * m + s * m]
    v = [s, c, m - s * m - c * m]
    if flip:
        u = [-u[0], -u[1], size - 1 - u[2]]
    return u + v


def torch_pixels(x, degrees, flip, color, order):
    x = torch.from_numpy(x).permute(2, 0, 1).double() / 255
    x = TF.hflip(x) if flip else x
    x = TF.rotate(x, degrees, TF.InterpolationMode.BILINEAR) if degrees else x
    change = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    for k in order:
        x = change[k](x, float(color[k]))
    return x


def pixels(args):
    c = Case(args, mode='eval', batch=8, steps=12)
    rng, want = np.random.default_rng(3), []
    for i in range(len(c.batch_items)):
        degrees = 0 if i < 4 else float(rng.uniform(-10, 10)) if i < 80 else float(rng.uniform(-180, 180))
        flip = i % 2 == 1
        jitter = 0 if i % 4 < 2 and i < 8 else .1 if i < 60 else .45
        color = np.float32(np.append(rng.uniform(1 - jitter, 1 + jitter, 3), rng.uniform(-jitter, jitter)))
        order = list(map(int, rng.permutation(4)))
        if i == 20:
            c.pixels[i] = 128  # all gray: hue is undefined
        c.batch_items[i] = warp_matrix(64, degrees, flip) + [float(v) for v in color] + order
        want.append(torch_pixels(c.pixels[i], degrees, flip, color, order))
    c.run()
    worst = 0
    for step in range(1, 13):
        got = torch.from_numpy(c.read('input', step)).view(8, 3, 64, 64)
        for i in range(8):
            error = float((got[i] - want[8 * (step - 1) + i]).abs().max())
            worst = max(worst, error)
            check(f'image {8 * (step - 1) + i}', error, 1 / 255)
    print(f'pixels: worst {worst:.2g}')
    c.close()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('driver')
    ap.add_argument('backend')
    ap.add_argument('case', choices=('pixels', 'small', 'steps', 'optim', 'full', 'full96', 'trajectory', 'real'))
    ap.add_argument('--factor', type=float, default=3, help="allowed multiple of float32's own error")
    ap.add_argument('--update-tolerance', type=float, default=1e-6, help='relative to the largest update of a tensor')
    args = ap.parse_args()
    args.data = os.environ.get('VOCDIST_TEST_DATA')
    torch.set_num_threads(1)  # with 2, torch 1.13 of Debian corrupts its heap in case small
    globals()[args.case](args)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
