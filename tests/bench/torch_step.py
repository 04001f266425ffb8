"""A PyTorch process that trains on one batch, for compare.py.

    torch_step.py FOLDER init                   writes FOLDER/weights.safetensors
    torch_step.py FOLDER time LAYOUT ADAM STEPS [compile]

FOLDER contains setting.json and batch.npz of compare.py. LAYOUT is contiguous or
channels_last; ADAM is loop, foreach or fused. Prints one JSON object: the losses of
the first two steps, the times of STEPS more steps, peak memory, start times. Does
not need torchvision; PYTHONPATH must name the folder of network.py.
"""
import json
import os
import sys
import time


def process_age_s():
    """Seconds since this process was started."""
    with open('/proc/self/stat') as f:
        ticks = int(f.read().rsplit(')', 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')


def peak_bytes():
    with open('/proc/self/status') as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith('VmHWM'))


def make_net(o):
    from network import Net
    return Net(o['width'], o['blocks'], o['size'], 5 if o['freeze'] == 'backbone' else 0, classes=o['classes'])


def read_weights(folder):
    import numpy as np
    import torch
    with open(f'{folder}/weights.safetensors', 'rb') as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
        data = f.read()
    return {name: torch.from_numpy(np.frombuffer(data[slice(*t['data_offsets'])], '<f4').copy()).view(t['shape'])
            for name, t in header.items()}


def make_adam(net, o, kind):
    import torch
    named = [(k, p) for k, p in net.named_parameters() if p.requires_grad]
    groups = [{'params': [p for k, p in named if k.startswith('head.') == head], 'lr': lr}
              for head, lr in ((True, o['lr']), (False, o['backbone_lr']))]
    how = {'loop': {'foreach': False}}.get(kind, {kind: True})
    return torch.optim.Adam([g for g in groups if g['params']], **how)


def measure(folder, o, layout, adam, steps, compiled):
    import numpy as np
    import torch
    from network import losses
    imported_s = process_age_s()
    torch.set_num_threads(o['threads'])
    net = make_net(o)
    net.load_state_dict(read_weights(folder), strict=False)
    net.train()
    batch = np.load(f'{folder}/batch.npz')
    x = torch.from_numpy(batch['images']).permute(0, 3, 1, 2).float().div(255)
    form = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}[layout]
    x, net = x.contiguous(memory_format=form), net.to(memory_format=form)
    box, cls = torch.from_numpy(batch['box']), torch.from_numpy(batch['class']).long()
    opt = make_adam(net, o, adam)
    run = torch.compile(net) if compiled else net
    first, seconds, begun_s = [], [], process_age_s()
    for step in range(2 + steps):
        start = time.perf_counter()
        opt.zero_grad(set_to_none=True)
        l1, ce = losses(run(x), o['size'], box, cls)
        loss = (l1 + 25 * ce).mean()
        loss.backward()
        opt.step()
        seconds.append(time.perf_counter() - start)
        first.append(loss.item())
    return {'torch': torch.__version__, 'losses': first[:2], 'step_ms': [1e3 * s for s in seconds[2:]],
            'import_s': imported_s, 'start_s': begun_s, 'first_step_s': seconds[0], 'peak_bytes': peak_bytes()}


def main():
    folder, what, *how = sys.argv[1:]
    with open(f'{folder}/setting.json') as f:
        o = json.load(f)
    if what == 'init':
        import torch
        from network import write_weights
        torch.manual_seed(1)
        write_weights(make_net(o), f'{folder}/weights.safetensors')
    else:
        print(json.dumps(measure(folder, o, how[0], how[1], int(how[2]), 'compile' in how)))


if __name__ == '__main__':
    main()
