#!/usr/bin/env python3
"""Checks that simple baselines do not solve the generated data set.

    demo_baselines.py DIR               an existing data set
    demo_baselines.py --vocpack PROGRAM [--images N] [--seed S]   generates one

(a) Colors do not determine the class: the better of logistic regression and
    nearest neighbors on 8 x 8 x 8 RGB histograms is right for at most half of
    the validation images.
(b) The box varies: the median box of the training images, with the class from
    (a), scores LOC@0.5 below 0.10.
(c) "Largest" matters: in at least half of the images the second largest object
    (the rival) has another class and 50 to 80 % of the largest object's area.

Exit code 1 if one of the three does not hold.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

import numpy as np
from PIL import Image

BINS = 8


def read_objects(path):
    """Names, boxes [n, 4] and areas [n] of all objects, as written."""
    root = ET.parse(path).getroot()
    objects = root.findall("object")
    names = [o.findtext("name") for o in objects]
    keys = ("xmin", "ymin", "xmax", "ymax")
    boxes = np.array([[int(o.find("bndbox").findtext(k)) for k in keys]
                      for o in objects], float)
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    return names, boxes, areas


def read_histogram(pixels):
    level = pixels.reshape(-1, 3).astype(np.int64) * BINS // 256
    index = (level[:, 0] * BINS + level[:, 1]) * BINS + level[:, 2]
    return np.bincount(index, minlength=BINS**3) / len(index)


class Split:
    """Per image: class of the largest object, its box relative to the image's
    width and height, the histogram, and whether there is a rival."""

    def __init__(self, root, name):
        with open(os.path.join(root, "ImageSets", "Main", name + ".txt")) as f:
            ids = f.read().split()
        labels, boxes, histograms, rivals = [], [], [], []
        for i in ids:
            names, corners, areas = read_objects(
                os.path.join(root, "Annotations", i + ".xml"))
            with Image.open(os.path.join(root, "JPEGImages", i + ".jpg")) as f:
                pixels = np.asarray(f.convert("RGB"))
            height, width = pixels.shape[:2]
            order = np.argsort(-areas, kind="stable")
            first, second = order[0], order[1]
            labels.append(names[first])
            boxes.append(corners[first] / [width, height, width, height])
            histograms.append(read_histogram(pixels))
            rivals.append(names[first] != names[second] and
                          0.5 <= areas[second] / areas[first] <= 0.8)
        self.labels = np.array(labels)
        self.boxes = np.array(boxes)
        self.histograms = np.array(histograms)
        self.rivals = np.array(rivals)


def nearest_neighbours(train, labels, val, n_classes, k):
    """Votes of the k images with the most similar colors. The similarity is
    the Bhattacharyya coefficient: rows are square roots of histograms."""
    near = np.argpartition(-(val @ train.T), k, axis=1)[:, :k]
    votes = [np.bincount(labels[n], minlength=n_classes) for n in near]
    return np.argmax(votes, axis=1)


def logistic_regression(train, labels, val, n_classes, steps=400):
    """Multinomial, trained with full-batch Adam and weight decay."""
    mean, std = train.mean(0), train.std(0) + 1e-3
    x, y = (train - mean) / std, np.eye(n_classes, dtype=train.dtype)[labels]
    x = np.hstack([x, np.ones((len(x), 1), train.dtype)])
    w = np.zeros((x.shape[1], n_classes), train.dtype)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in range(1, steps + 1):
        z = x @ w
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        g = x.T @ (p - y) / len(x) + 1e-3 * w
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w -= 0.02 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
    z = np.hstack([(val - mean) / std, np.ones((len(val), 1), w.dtype)]) @ w
    return z.argmax(1)


def iou(a, b):
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:],
                                                               b[..., 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    area = lambda t: (t[..., 2:] - t[..., :2]).prod(-1)
    return both / (area(a) + area(b) - both)


def measure(root):
    train, val = Split(root, "train"), Split(root, "val")
    names = sorted(set(train.labels) | set(val.labels))
    y, truth = (np.searchsorted(names, s.labels) for s in (train, val))
    # Square roots spread the many small bins: all three classifiers are
    # better.
    x, x_val = (np.sqrt(s.histograms).astype(np.float32) for s in (train, val))
    guesses = {"logistic": logistic_regression(x, y, x_val, len(names))}
    for k in (1, 15):
        guesses[f"nearest_{k}"] = nearest_neighbours(x, y, x_val, len(names), k)
    right = {k: float((g == truth).mean()) for k, g in guesses.items()}
    best = max(right, key=right.get)
    hit = iou(np.median(train.boxes, axis=0), val.boxes) >= 0.5
    return {
        "train": len(y), "val": len(truth), "classes": len(names),
        "commonest_accuracy": float((truth == np.bincount(y).argmax()).mean()),
        "histogram_accuracy": right,
        "median_box_iou50": float(hit.mean()),
        "median_box_loc50": float((hit & (guesses[best] == truth)).mean()),
        "rivals": float(np.concatenate([train.rivals, val.rivals]).mean()),
    }


def check_conditions(m):
    checks = {
        "(a) a color histogram is right for at most half of the images":
            max(m["histogram_accuracy"].values()) <= 0.50,
        "(b) a constant box scores LOC@0.5 below 0.10":
            m["median_box_loc50"] < 0.10,
        "(c) at least half of the images have a rival": m["rivals"] >= 0.5,
    }
    for text, holds in checks.items():
        print(("ok      " if holds else "FAILED  ") + text)
    return all(checks.values())


def main():
    ap = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir", nargs="?")
    ap.add_argument("--vocpack")
    ap.add_argument("--images", type=int, default=1600)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    if (args.dir is None) == (args.vocpack is None):
        ap.error("give a folder or --vocpack")
    with tempfile.TemporaryDirectory() as scratch:
        root = args.dir
        if root is None:
            root = os.path.join(scratch, "demo")
            subprocess.run([args.vocpack, "demo", root, "--images",
                            str(args.images), "--seed", str(args.seed)],
                           check=True)
        m = measure(root)
    print(json.dumps(m, indent=2))
    return 0 if check_conditions(m) else 1


if __name__ == "__main__":
    sys.exit(main())
