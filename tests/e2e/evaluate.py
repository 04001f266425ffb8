"""Evaluating, and loading weights and checkpoints: the right data, and no
figures from a file that cannot give them.

    evaluate.py VOCDIST MAKE_SHARDS EDIT_CHECKPOINT "MPIRUN -np"   ("" no MPI)
"""
import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

VOCDIST, MAKE_SHARDS, EDIT_CHECKPOINT = sys.argv[1:4]
MPIRUN = sys.argv[4].split()
NETWORK = "--model.width 8 --model.blocks 1,1,1,1".split()
SMALL = NETWORK + ("--train.global_batch 8 --train.replicas 2 --eval.batch 4 "
                   "--cpu.threads 1 --data.loader_threads 1").split()


class Weights:
    """A safetensors file that can be edited."""

    def __init__(self, path):
        with open(path, "rb") as f:
            n = int.from_bytes(f.read(8), "little")
            self.header, self.data = json.loads(f.read(n)), bytearray(f.read())

    def values(self, name):
        a, b = self.header[name]["data_offsets"]
        return list(struct.unpack(f"<{(b - a) // 4}f", self.data[a:b]))

    def set(self, name, values):
        a, b = self.header[name]["data_offsets"]
        self.data[a:b] = struct.pack(f"<{len(values)}f", *values)

    def write(self, path):
        text = json.dumps(self.header).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + self.data)


class Case(unittest.TestCase):
    def setUp(self):
        self.old = os.getcwd()
        self.folder = tempfile.mkdtemp(prefix="vocdist-e2e-")
        os.chdir(self.folder)
        for name, n, first in ("train", 22, 0), ("val", 10, 100):
            self.shards("data/" + name, n, first)

    def tearDown(self):
        os.chdir(self.old)
        shutil.rmtree(self.folder)

    def shards(self, folder, n, first):
        subprocess.run([MAKE_SHARDS, folder, str(n), "32", str(first)],
                       check=True)

    def call(self, code, *words, ranks=0, says=(), folder=".", env=None,
             **options):
        """Runs vocdist to its end; what it says. An error is said once, and
        with a remedy."""
        start = MPIRUN + [str(ranks)] if ranks and MPIRUN else []
        p = subprocess.run(start + [VOCDIST] + " ".join(words).split(),
                           capture_output=True, text=True, timeout=120,
                           cwd=folder, env={**os.environ, **(env or {})},
                           **options)
        text = p.stdout + p.stderr
        self.assertEqual(p.returncode, code, text)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, text)
        if code not in (0, 75):
            self.assertEqual(text.count("error: "), 1, text)
            self.assertIn("--->", text)
        return text

    def train(self, code, *words, **options):
        return self.call(code, *SMALL, *words, **options)


class Data(Case):
    """Which data are evaluated."""

    def setUp(self):
        super().setUp()
        self.shards("own/val", 7, 200)
        self.shards("third", 5, 300)

    def evaluated(self, *words, other=False, **options):
        """The line of the data; `other`: not what the run validated on."""
        text = self.call(0, "eval --eval.batch 4", *words, **options)
        line, = [x for x in text.splitlines() if x.startswith("data  ")]
        self.assertEqual(other, "not the data that the run validated" in line)
        images, = [x for x in text.splitlines() if x.startswith("images  ")]
        self.assertEqual(line.split(",")[1].split()[0], images.split()[1])
        return line.split()[1].rstrip(",")

    def test_a_checkpoints_run_says_which(self):
        self.train(0, "--train.steps 1 --data.val own/val")
        run = "--checkpoint runs/default"
        self.assertEqual(self.evaluated(run, ranks=2), "own/val")
        with open("settings.yaml", "w") as f:
            f.write("data: {val: third}\n")
        for words, env in (("--data.val third", {}), ("-c settings.yaml", {}),
                           ("", {"VOCDIST_DATA_VAL": "third"}),
                           ("--data third --data.val data/val", {})):
            self.assertEqual(self.evaluated(run, words, other=True, env=env),
                             "third")
        self.assertEqual(self.evaluated(run, "--data.val="), "own/val")
        # the same pictures in another folder are the same data
        shutil.copytree("own/val", "copy")
        self.assertEqual(self.evaluated(run, "--data copy"), "copy")

    def test_the_figures_are_the_runs_own(self):
        self.train(0, "--train.epochs 1 --data.val own/val")
        with open("runs/default/metrics.csv") as f:
            names, *_, last = [x.rstrip("\n").split(",") for x in f]
        own = 100 * float(dict(zip(names, last))["val_accuracy"])
        for network in ("--checkpoint runs/default",
                        "--weights runs/default/weights/last.safetensors"):
            self.call(0, "eval", network, says=f"accuracy      {own:.2f} %")

    def test_weights_in_a_runs_folder_are_the_runs(self):
        self.train(0, "--train.steps 1 --data.val own/val")
        weights = "runs/default/weights/last.safetensors"
        self.assertEqual(self.evaluated("--weights", weights), "own/val")
        self.assertEqual(self.evaluated("--weights", weights, "--data third",
                                        other=True), "third")
        os.symlink(weights, "link.safetensors")
        self.assertEqual(self.evaluated("--weights link.safetensors"),
                         "own/val")
        shutil.copy(weights, "copy.safetensors")  # of no run any more
        self.assertEqual(self.evaluated("--weights copy.safetensors"),
                         "data/val")

    def test_a_run_without_validation_has_no_data(self):
        self.train(0, "--train.steps 1 --data.val=")
        for network in ("--checkpoint runs/default",
                        "--weights runs/default/weights/last.safetensors"):
            self.call(64, "eval", network, ranks=2, says="give --data DIR")
            self.assertEqual(self.evaluated(network, "--data data/val"),
                             "data/val")

    def test_a_relative_folder_elsewhere(self):
        self.train(0, "--train.steps 1 --data.val own/val")
        os.mkdir("away")
        run = os.path.abspath("runs/default")
        self.call(66, "eval --checkpoint", run, folder="away",
                  says="own/val: validation data of the run")
        shutil.copytree("third", "away/own/val")
        self.assertEqual(self.evaluated("--checkpoint", run, folder="away",
                                        other=True), "own/val")

    def test_the_checkpoint_is_named(self):
        self.train(75, "--train.epochs 1 --train.stop_at 2 "
                   "--checkpoint.every 1")
        folder = "runs/default/checkpoints/"
        for path, step in (("runs/default", 2), (folder + "last", 2),
                           (folder + "step-00000001.h5", 1)):
            self.call(0, "eval --checkpoint", path, says="network       "
                      f"{folder}step-{step:08d}.h5, step {step}\n")


class Values(Case):
    """Values that no network may have."""

    def test_weights_with_them_are_not_loaded(self):
        self.train(0, "--train.steps 1 --data.val=")
        for tensor, value, said in (
                ("conv1.weight", float("nan"), "nan"),
                ("bn1.running_mean", float("nan"), "nan"),
                ("bn1.running_var", -1, "-1"),
                ("layer4.0.bn2.running_var", float("inf"), "inf"),
                ("head.fc2.weight", float("nan"), "nan")):
            weights = Weights("runs/default/weights/last.safetensors")
            values = weights.values(tensor)
            values[3] = value
            weights.set(tensor, values)
            weights.write("bad.safetensors")
            says = f"bad.safetensors: tensor {tensor}: value 3 is {said}"
            self.call(65, "eval --weights bad.safetensors --data data/val",
                      ranks=2, says=says)
            self.train(65, "--model.weights bad.safetensors --train.name bad",
                       says=says)
        self.assertFalse(os.path.exists("runs/bad/weights"))
        self.assertEqual(os.listdir("runs/bad/checkpoints"), [])

    def test_checkpoints_with_them_are_not_loaded(self):
        for array, value, kind in (("param", "nan", "parameter"),
                                   ("m", "inf", "first moment"),
                                   ("v", "-1", "second moment"),
                                   ("stats", "nan", "running statistic")):
            shutil.rmtree("runs", ignore_errors=True)
            self.train(75, "--train.epochs 2 --train.stop_at 2")
            file = "runs/default/checkpoints/step-00000002.h5"
            subprocess.run([EDIT_CHECKPOINT, file, array, "0", value],
                           check=True)
            says = ["step-00000002.h5: tensor ", f"{kind} 0 is {value}"]
            self.call(65, "eval --checkpoint", file, says=says)
            self.call(65, "eval --checkpoint runs/default", says=says[1:])
            self.call(65, "export --checkpoint", file, "-o out.safetensors",
                      says=says)
            self.assertFalse(os.path.exists("out.safetensors"))
            self.train(65, "--train.epochs 2", ranks=2, says=says)
            self.train(65, "--train.epochs 2 --train.name branch --resume",
                       file, says=says)

    def test_they_are_not_saved(self):
        """Adam's second moment overflows where gradients are finite."""
        self.train(0, "--train.steps 1 --data.val=")
        weights = Weights("runs/default/weights/last.safetensors")
        weights.set("head.bn.weight",
                    [1e22 * x for x in weights.values("head.bn.weight")])
        weights.write("steep.safetensors")
        for stop in "--train.steps 1", "--train.stop_at 1":
            self.train(76, "--model.weights steep.safetensors --data.val= "
                       "--model.freeze none --train.name steep", stop,
                       ranks=2, says=["after step 1: tensor head.fc2.",
                                      "second moment"])
            self.assertEqual(os.listdir("runs/steep/checkpoints"), [])
            self.assertFalse(os.path.exists("runs/steep/weights"))

    def test_outputs_that_are_not_finite_are_no_result(self):
        """Finite weights whose products overflow."""
        self.train(0, "--train.steps 1 --data.val=")
        weights = Weights("runs/default/weights/last.safetensors")
        for name in "head.bn.weight", "head.fc2.weight":
            weights.set(name, [3e38] * len(weights.values(name)))
        weights.write("huge.safetensors")
        self.call(76, "eval --weights huge.safetensors --data data/val "
                  "--per-image rows.csv --picture sheet.png", ranks=2,
                  says="image tiny_0100: the network's outputs are not finite")
        self.assertFalse(os.path.exists("rows.csv"))
        self.assertFalse(os.path.exists("sheet.png"))
        self.train(76, "--model.weights huge.safetensors --model.freeze none "
                   "--train.name huge", ranks=2, says="image tiny_0100")


class Boxes(Case):
    def test_swapped_corners_share_nothing(self):
        self.train(0, "--train.steps 1 --data.val=")
        weights = Weights("runs/default/weights/last.safetensors")
        weights.set("head.fc2.weight",
                    [0] * len(weights.values("head.fc2.weight")))
        rest = len(weights.values("head.fc2.bias")) - 4
        for edges in ((3, 3, -3, -3), (3, -3, -3, 3), (-3, 0, 3, 0)):
            weights.set("head.fc2.bias", [*edges, *[0] * rest])
            weights.write("swapped.safetensors")
            self.call(0, "eval --weights swapped.safetensors --data data/val "
                      "--per-image rows.csv --picture sheet.png",
                      says=["mean IoU      0.0000", "LOC@0.5       0.00 %"])
            with open("rows.csv") as f:
                rows = list(csv.DictReader(f))
            self.assertEqual([r["iou"] for r in rows], ["0.000000"] * 10)
            self.assertTrue(os.path.getsize("sheet.png"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:], verbosity=1)
