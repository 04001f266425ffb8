#!/usr/bin/env python3
"""The README's Python example reads what `vocdist export` wrote, and PyTorch
computes what `vocdist eval` reports for the same pictures.

    readme_export.py README.md VOCPACK VOCDIST
"""
import csv
import os
import re
import subprocess
import sys
import tempfile

try:
    import h5py  # noqa: F401 (the example needs it)
    import torch  # noqa: F401
    import torchvision  # noqa: F401
except ImportError as missing:
    print(f'skipped: {missing}')
    sys.exit(77)


def example(readme):
    """The one block of Python in the README."""
    with open(readme) as f:
        blocks = re.findall(r'^```python\n(.*?)^```', f.read(), re.M | re.S)
    assert len(blocks) == 1, f'{len(blocks)} blocks of Python in {readme}'
    return blocks[0]


def main(readme, vocpack, vocdist):
    code = example(readme)
    with tempfile.TemporaryDirectory(prefix='vocdist-readme-') as folder:
        os.chdir(folder)

        def run(*command):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        run(vocpack, 'demo', 'voc', '--images', '60')
        run(vocpack, 'pack', 'voc', '--split', 'train,val', '--size', '64',
            '-o', 'data')
        # Whatever it learned in 3 steps: some numbers, not all alike.
        run(vocdist, '--train.name', 'mine', '--train.steps', '3',
            '--train.global_batch', '16')
        run(vocdist, 'export', '--checkpoint', 'runs/mine', '-o',
            'net.safetensors')
        run(vocdist, 'eval', '--checkpoint', 'runs/mine', '--data', 'data/val',
            '--per-image', 'rows.csv')
        names = {}
        exec(compile(code, readme, 'exec'), names)
        with open('rows.csv') as f:
            rows = list(csv.DictReader(f))

    classes, box, best = names['classes'], names['box'], names['best']
    n = len(box)
    assert 0 < n <= len(rows)
    worst = 0.0
    for i, row in enumerate(rows[:n]):
        for k, column in enumerate(('px1', 'py1', 'px2', 'py2')):
            error = abs(float(row[column]) - float(box[i, k]))
            assert error <= 0.02, (row['id'], column, row[column], box[i, k])
            worst = max(worst, error)
        assert classes[best[i]] == row['pred'], (row, classes[best[i]])
    print(f'{n} pictures, boxes within {worst:.4f} px')


if __name__ == '__main__':
    main(*map(os.path.abspath, sys.argv[1:]))
