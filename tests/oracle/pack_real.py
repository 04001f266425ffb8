"""vocpack on real data, against an independent implementation in Python.

    pack_real.py VOCPACK [MPIRUN OPTION...]

The data are in $VOCDIST_TEST_DATA/data:

voc-real: every image, class and box of its lists; pixels against torchvision's
antialiased resize. voc2007-labels: the largest-object rule, with and without
difficult marks, against published tables. messy: three data sets as their
authors published them.
"""
import csv
import filecmp
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
from checks import check  # noqa: E402

SKIP = 77
try:
    import h5py
    import numpy as np
    from PIL import Image
    import torch
    import torchvision.transforms.functional as TF
except ImportError as e:
    print('skipped:', e)
    sys.exit(SKIP)

SIZE = 224
VOC = ('aeroplane bicycle bird boat bottle bus car cat chair cow diningtable '
       'dog horse motorbike person pottedplant sheep sofa train '
       'tvmonitor').split()


def pack(*args):
    command = [sys.argv[1], *map(str, args), '--log.level', 'warn']
    done = subprocess.run(command, capture_output=True, text=True)
    check(done.returncode == 0, command, done.stderr)
    return done.stderr


def read(folder):
    """All arrays of a data set, in the order of the shards."""
    with open(os.path.join(folder, 'pack.json')) as f:
        manifest = json.load(f)
    parts = []
    for shard in manifest['shards']:
        with h5py.File(os.path.join(folder, shard['file']), 'r') as f:
            parts.append({k: f[k][:] for k in
                          ('images', 'class', 'box', 'size', 'id')})
    out = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    out['id'] = [s.rstrip(b'\0').decode() for s in out['id']]
    out['manifest'] = manifest
    return out


def near(a, b, tolerance):
    return bool(np.all(np.abs(np.asarray(a, float) - b) <= tolerance))


def resized(path):
    im = Image.open(path).convert('RGB')
    x = torch.from_numpy(np.array(im)).permute(2, 0, 1)
    return TF.resize(x, [SIZE, SIZE], antialias=True).permute(1, 2, 0).numpy()


def voc_real(data, out):
    root = os.path.join(data, 'voc-real')
    pack(root, '-o', out, '--split', 'train,val')
    with open(os.path.join(root, 'largest.csv')) as f:
        largest = {r['file_name'][:-4]: r for r in csv.DictReader(f)}
    worst = 0
    for split, n in (('train', 894), ('val', 239)):
        d = read(os.path.join(out, split))
        names = d['manifest']['classes']
        with open(os.path.join(root, 'ImageSets/Main', split + '.txt')) as f:
            check(d['id'] == f.read().split(), split, 'other images')
        check(len(d['id']) == n and names == VOC, split, len(d['id']))
        for i, name in enumerate(d['id']):
            row, (w, h) = largest[name], d['size'][i]
            x1, y1, x2, y2 = (float(row[k])
                              for k in ('xmin', 'ymin', 'xmax', 'ymax'))
            box = [(x1 - 1) * SIZE / w, (y1 - 1) * SIZE / h,
                   x2 * SIZE / w, y2 * SIZE / h]
            check(names[d['class'][i]] == row['class'], name, 'class')
            check(near(d['box'][i], box, 1e-4), name, d['box'][i], box)
        for i in range(0, n, n // 25):
            path = os.path.join(root, 'JPEGImages', d['id'][i] + '.jpg')
            difference = np.abs(d['images'][i].astype(int) - resized(path))
            worst = max(worst, difference.max())
            check(difference.max() <= 1, path, 'pixels', difference.max())
    print('voc-real: 894 + 239 images as listed; pixels within', worst)


def read_boxes(path):
    """name -> [(xmin, ymin, xmax, ymax, class name)]"""
    boxes = {}
    for line in open(path):
        name, *v = line.split()
        v = [int(x) for x in v]
        boxes[name[:-4]] = [(*v[i:i + 4], VOC[v[i + 4]])
                            for i in range(0, len(v), 5)]
    return boxes


def write_root(root, boxes, difficult):
    """A VOC folder with these boxes; all images are one 500 x 500 image."""
    for sub in ('Annotations', 'JPEGImages'):
        os.makedirs(os.path.join(root, sub))
    image = os.path.join(root, 'image.jpg')
    Image.new('RGB', (500, 500), (90, 120, 150)).save(image)
    for name, objects in boxes.items():
        os.link(image, os.path.join(root, 'JPEGImages', name + '.jpg'))
        with open(os.path.join(root, 'Annotations', name + '.xml'), 'w') as f:
            f.write('<annotation><source><database>The VOC2007 Database'
                    '</database></source>')
            for k, (x1, y1, x2, y2, c) in enumerate(objects):
                f.write(f'<object><name>{c}</name><difficult>'
                        f'{difficult[name][k]}</difficult><bndbox>'
                        f'<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>'
                        f'<ymax>{y2}</ymax></bndbox></object>')
            f.write('</annotation>')


def pack_boxes(root, out, boxes, difficult):
    """name -> (x1 y1 x2 y2 as edges of the original, class name)"""
    write_root(root, boxes, difficult)
    pack(root, '-o', out, '--size', 32)
    d = read(out)
    check(len(d['id']) == len(boxes), 'images', len(d['id']), len(boxes))
    names = d['manifest']['classes']
    return {n: (d['box'][i] * 500 / 32, names[d['class'][i]])
            for i, n in enumerate(d['id'])}


def voc2007_tables(data, tmp):
    """2501 published rows. 2395 have the largest of all objects; the others
    exclude difficult objects, which this list does not mark."""
    labels = os.path.join(data, 'voc2007-labels')
    boxes = read_boxes(os.path.join(labels, 'voc07_trainval.txt'))
    with open(os.path.join(labels, 'largest_item_bbox.csv')) as f:
        table = {r['fn'][:-4]: [int(v) for v in r['bbox'].split()]
                 for r in csv.DictReader(f)}
    with open(os.path.join(labels, 'largest_item_classifier.csv')) as f:
        kinds = {r['file_name'][:-4]: r['category']
                 for r in csv.DictReader(f)}
    boxes = {n: boxes[n] for n in table}
    none = {n: [0] * len(b) for n, b in boxes.items()}
    got = pack_boxes(os.path.join(tmp, 'a'), os.path.join(tmp, 'a-out'), boxes,
                     none)
    same = sum(near(box, [table[n][k] for k in (1, 0, 3, 2)], 1e-3) and
               kind == kinds[n] for n, (box, kind) in got.items())
    check(len(table) == 2501 and same == 2395, 'tables', len(table), same)
    print('voc2007: 2395 of 2501 published rows, as expected')


def voc2007_difficult(data, tmp):
    """4952 images with difficult marks, against the rule in Python."""
    labels = os.path.join(data, 'voc2007-labels')
    boxes = read_boxes(os.path.join(labels, 'voc07_test.txt'))
    marks = {}
    for line in open(os.path.join(labels, 'voc07_test_difficult.txt')):
        name, *v = line.split()
        marks[name[:-4]] = [int(x) for x in v]
    got = pack_boxes(os.path.join(tmp, 'b'), os.path.join(tmp, 'b-out'), boxes,
                     marks)
    changed = 0
    for name, objects in boxes.items():
        area = [(x2 - x1 + 1) * (y2 - y1 + 1) for x1, y1, x2, y2, _ in objects]
        easy = [k for k in range(len(area)) if not marks[name][k]]
        rest = easy or range(len(area))
        best = max(rest, key=lambda k: (area[k], -k))
        changed += best != max(range(len(area)), key=lambda k: (area[k], -k))
        x1, y1, x2, y2, c = objects[best]
        box, kind = got[name]
        check(kind == c and near(box, [x1 - 1, y1 - 1, x2, y2], 1e-3), name)
    check(changed > 100, 'difficult marks change few labels', changed)
    print('voc2007: 4952 images, difficult marks change', changed, 'labels')


def messy(data, tmp):
    data = os.path.join(data, 'messy')
    out = os.path.join(tmp, 'bccd')
    pack(os.path.join(data, 'BCCD_Dataset/BCCD'), '-o', out)
    report = read(out)['manifest']['report']
    check(report['packed'] == 100 and report['found']['no_area'] == 2, report)
    check([f['file'].split('/')[-1] for f in report['findings']] ==
          ['BloodImage_00338.xml', 'BloodImage_00343.xml'], report)

    out = os.path.join(tmp, 'raccoon')
    pack(os.path.join(data, 'raccoon_dataset'), '-o', out)
    check(len(read(out)['id']) == 200, 'raccoon')

    coco, root = os.path.join(data, 'Le0v1n-coco128'), os.path.join(tmp, 'coco')
    os.makedirs(os.path.join(root, 'JPEGImages'))
    os.symlink(os.path.join(coco, 'train/annotations-xml'),
               os.path.join(root, 'Annotations'))
    for part in ('train', 'val'):
        folder = os.path.join(coco, part, 'images')
        for name in os.listdir(folder):
            os.symlink(os.path.join(folder, name),
                       os.path.join(root, 'JPEGImages', name))
    out = os.path.join(tmp, 'coco-out')
    pack(root, '-o', out)
    d = read(out)
    b = d['box']
    check(len(d['id']) == 126 and len(d['manifest']['classes']) == 71, 'coco')
    check((b >= 0).all() and (b <= SIZE).all() and (b[:, 2] > b[:, 0]).all()
          and (b[:, 3] > b[:, 1]).all(), 'coco boxes')
    print('messy: 100 + 200 + 126 images; coco:',
          {k: v for k, v in d['manifest']['report']['found'].items() if v})


def ranks(data, tmp):
    """Three ranks write the same bytes as one."""
    root = os.path.join(data, 'messy/BCCD_Dataset/BCCD')
    one, three = os.path.join(tmp, 'one'), os.path.join(tmp, 'three')
    pack(root, '-o', one, '--shard-size', 2)
    command = [*sys.argv[2:], sys.argv[1], root, '-o', three, '--shard-size',
               '2', '--log.level', 'error']
    done = subprocess.run(command, capture_output=True, text=True)
    check(done.returncode == 0, command, done.stderr)
    names = sorted(os.listdir(one))
    check(names == sorted(os.listdir(three)) and len(names) == 10, names)
    same, other, bad = filecmp.cmpfiles(one, three, names, shallow=False)
    check(not other and not bad, 'differ:', other, bad)
    print('ranks: 3 ranks write the same', len(same), 'files as 1')


def main():
    data = os.environ.get('VOCDIST_TEST_DATA')
    if not data:
        print('skipped: VOCDIST_TEST_DATA is not set')
        sys.exit(SKIP)
    data = os.path.join(data, 'data')
    with tempfile.TemporaryDirectory() as tmp:
        voc_real(data, os.path.join(tmp, 'voc'))
        voc2007_tables(data, tmp)
        voc2007_difficult(data, tmp)
        messy(data, tmp)
        if len(sys.argv) > 2:
            ranks(data, tmp)


main()
