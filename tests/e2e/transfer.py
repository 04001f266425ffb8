"""Packs and trains on data sets that the recipe was not tuned for, and
compares the metrics with those of a constant prediction.

    transfer.py quick|full

Three small public data sets as published ($VOCDIST_TEST_DATA, in data/messy):
blood cells (VOC's layout and lists), raccoons (other folder names, no lists,
one class) and the first COCO images (71 classes, images in two folders).
Missing lists or folders are provided by a VOC tree of links.

Each is checked, packed and trained with the recipe's settings (ResNet34 from
weights, frozen), and compared with the best constant prediction: the most
common class and the median box of the training images. full: 224 pixels, 280
steps of 16, like tests/oracle/parity.py; the metrics must be better. quick: 64
pixels and 20 steps; the metrics are not compared.
"""
import csv
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
from checks import check, check_output  # noqa: E402

SKIP = 77
try:
    import h5py
    import numpy as np
except ImportError as e:
    print('skipped:', e)
    sys.exit(SKIP)

BATCH = 16
KEYS = 'val_accuracy', 'val_l1_px', 'val_miou', 'val_loc50'


# ---- VOC trees of links ----

def make_voc_links(root, annotations, images):
    """A VOC folder of links; every fifth image is for validation."""
    os.makedirs(os.path.join(root, 'JPEGImages'))
    os.makedirs(os.path.join(root, 'ImageSets/Main'))
    os.symlink(annotations, os.path.join(root, 'Annotations'))
    for folder in images:
        for name in os.listdir(folder):
            os.symlink(os.path.join(folder, name),
                       os.path.join(root, 'JPEGImages', name))
    names = sorted(n[:-4] for n in os.listdir(annotations))
    for split, part in (('train', [n for i, n in enumerate(names) if i % 5]),
                        ('val', names[::5])):
        with open(os.path.join(root, 'ImageSets/Main', split + '.txt'),
                  'w') as f:
            f.writelines(n + '\n' for n in part)
    return root, 'train', 'val'


def data_sets(messy, tmp):
    """name -> VOC folder, training list, validation list"""
    raccoon = os.path.join(messy, 'raccoon_dataset')
    coco = os.path.join(messy, 'Le0v1n-coco128')
    return {
        'BCCD': (os.path.join(messy, 'BCCD_Dataset/BCCD'), 'trainval', 'test'),
        'raccoon': make_voc_links(os.path.join(tmp, 'raccoon-voc'),
                                  os.path.join(raccoon, 'annotations'),
                                  [os.path.join(raccoon, 'images')]),
        'coco128': make_voc_links(os.path.join(tmp, 'coco128-voc'),
                                  os.path.join(coco, 'train/annotations-xml'),
                                  [os.path.join(coco, part, 'images')
                                   for part in ('train', 'val')]),
    }


# ---- the constant prediction ----

def labels(folder):
    with h5py.File(os.path.join(folder, 'shard-00000.h5'), 'r') as f:
        return f['class'][:], f['box'][:].astype(float)


def constant_baseline(train, val):
    kinds, boxes = labels(train)
    kind, box = np.bincount(kinds).argmax(), np.median(boxes, 0)
    kinds, boxes = labels(val)
    both = np.clip(np.minimum(boxes[:, 2:], box[2:]) -
                   np.maximum(boxes[:, :2], box[:2]), 0, None).prod(1)
    iou = both / ((boxes[:, 2:] - boxes[:, :2]).prod(1) +
                  (box[2:] - box[:2]).prod() - both)
    right = kinds == kind
    return dict(zip(KEYS, (right.mean(), np.abs(boxes - box).mean(),
                           iou.mean(), (right & (iou >= .5)).mean())))


# ---- one data set ----

def train_on(tmp, name, source, weights, size, steps):
    """Numbers of training and validation images, metrics of the last epoch,
    metrics of the constant prediction."""
    root, train, val = source
    out = os.path.join(tmp, name)
    check_output(os.environ['PACKER'], 'check', root)
    check_output(os.environ['PACKER'], 'pack', root, '--split', f'{train},{val}',
                 '--size', size, '-o', out)
    train, val = os.path.join(out, train), os.path.join(out, val)
    n = [len(labels(folder)[0]) for folder in (train, val)]
    epochs = -(-steps * BATCH // n[0])
    check_output(os.environ['PROGRAM'], '--data.train', train, '--data.val', val,
                 '--model.weights', weights, '--train.global_batch', BATCH,
                 '--train.replicas', 1, '--train.epochs', epochs, '--eval.every',
                 epochs, '--train.dir', os.path.join(tmp, 'runs'), '--train.name',
                 name)
    with open(os.path.join(tmp, 'runs', name, 'metrics.csv')) as f:
        row = list(csv.DictReader(f))[-1]
    check(int(row['epoch']) == epochs, name, row)
    evaluate(tmp, name, val, n[1])
    return n, {k: float(row[k]) for k in KEYS}, constant_baseline(train, val)


def evaluate(tmp, name, val, n):
    """Evaluates the trained run: one row per image."""
    path = os.path.join(tmp, name + '.csv')
    check_output(os.environ['PROGRAM'], 'eval', '--checkpoint',
                 os.path.join(tmp, 'runs', name), '--data', val, '--per-image', path)
    with open(path) as f:
        rows = list(csv.DictReader(f))
    check(len(rows) == n, name, len(rows), 'rows')
    for row in rows:
        check(0 <= float(row['iou']) <= 1 and float(row['l1_px']) >= 0, row)


def print_row(name, n, who, v):
    print('| {} | {} | {} | {:.1f} | {:.1f} | {:.3f} | {:.1f} |'.format(
        name, n, who, 100 * v['val_accuracy'], v['val_l1_px'], v['val_miou'],
        100 * v['val_loc50']), flush=True)


def campaign(data, tmp, full):
    weights = os.path.join(data, 'weights/resnet34-warm.safetensors')
    size, steps = (224, 280) if full else (64, 20)
    worse = []
    for name, source in data_sets(os.path.join(data, 'data/messy'),
                                  tmp).items():
        n, ours, best = train_on(tmp, name, source, weights, size, steps)
        print_row(name, '{} / {}'.format(*n), 'vocdist', ours)
        print_row('', '', 'constant', best)
        # >= for accuracy: 92 of 100 blood cell images have the same class, and
        # raccoons have one class.
        if not (ours['val_accuracy'] >= best['val_accuracy'] and
                ours['val_l1_px'] < best['val_l1_px'] and
                ours['val_miou'] > best['val_miou'] and
                ours['val_loc50'] > best['val_loc50']):
            worse.append(name)
    check(not full or not worse, 'not better than a constant:', worse)


def main():
    data = os.environ.get('VOCDIST_TEST_DATA')
    if not data:
        print('skipped: VOCDIST_TEST_DATA is not set')
        sys.exit(SKIP)
    with tempfile.TemporaryDirectory() as tmp:
        campaign(os.path.abspath(data), tmp, sys.argv[1] == 'full')


main()
