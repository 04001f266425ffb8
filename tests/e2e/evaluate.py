"""Evaluation, and loading of weights and checkpoints: the right data are used,
and an unsuitable file gives an error instead of metrics.

    evaluate.py VOCDIST MAKE_SHARDS EDIT_CHECKPOINT "MPIRUN -np"

"MPIRUN -np" is "" in a build without MPI.
"""
import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
from scratch_case import ScratchCase  # noqa: E402

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


class Case(ScratchCase):
    make_shards = MAKE_SHARDS

    def call(self, code, *words, ranks=0, expect=(), folder=".", env=None,
             **options):
        """Runs vocdist; returns its output. An error must be printed once and
        with a remedy."""
        start = MPIRUN + [str(ranks)] if ranks and MPIRUN else []
        p = subprocess.run(start + [VOCDIST] + " ".join(words).split(),
                           capture_output=True, text=True, timeout=120,
                           cwd=folder, env={**os.environ, **(env or {})},
                           **options)
        text = p.stdout + p.stderr
        self.assertEqual(p.returncode, code, text)
        for part in [expect] if isinstance(expect, str) else expect:
            self.assertIn(part, text)
        if code not in (0, 75):
            self.assertEqual(text.count("error: "), 1, text)
            self.assertIn("--->", text)
        return text

    def train(self, code, *words, **options):
        return self.call(code, *SMALL, *words, **options)


class Data(Case):
    """The data that eval uses."""

    def setUp(self):
        super().setUp()
        self.shards("own/val", 7, 200)
        self.shards("third", 5, 300)

    def evaluated(self, *words, other=False, **options):
        """The data folder of the report; `other`: not that of the run."""
        text = self.call(0, "eval --eval.batch 4", *words, **options)
        line, = [x for x in text.splitlines() if x.startswith("data  ")]
        self.assertEqual(other, "not the data that the run validated" in line)
        images, = [x for x in text.splitlines() if x.startswith("images  ")]
        self.assertEqual(line.split(",")[1].split()[0], images.split()[1])
        return line.split()[1].rstrip(",")

    def test_eval_uses_the_data_that_the_run_validated_on(self):
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
        # the same images in another folder are the same data
        shutil.copytree("own/val", "copy")
        self.assertEqual(self.evaluated(run, "--data copy"), "copy")

    def test_metrics_match_the_run(self):
        self.train(0, "--train.epochs 1 --data.val own/val")
        with open("runs/default/metrics.csv") as f:
            names, *_, last = [x.rstrip("\n").split(",") for x in f]
        own = 100 * float(dict(zip(names, last))["val_accuracy"])
        for network in ("--checkpoint runs/default",
                        "--weights runs/default/weights/last.safetensors"):
            self.call(0, "eval", network, expect=f"accuracy      {own:.2f} %")

    def test_weights_in_a_run_folder_use_its_data(self):
        self.train(0, "--train.steps 1 --data.val own/val")
        weights = "runs/default/weights/last.safetensors"
        self.assertEqual(self.evaluated("--weights", weights), "own/val")
        self.assertEqual(self.evaluated("--weights", weights, "--data third",
                                        other=True), "third")
        os.symlink(weights, "link.safetensors")
        self.assertEqual(self.evaluated("--weights link.safetensors"),
                         "own/val")
        shutil.copy(weights, "copy.safetensors")  # not in a run folder
        self.assertEqual(self.evaluated("--weights copy.safetensors"),
                         "data/val")

    def test_a_run_without_validation_has_no_data(self):
        self.train(0, "--train.steps 1 --data.val=")
        for network in ("--checkpoint runs/default",
                        "--weights runs/default/weights/last.safetensors"):
            self.call(64, "eval", network, ranks=2, expect="give --data DIR")
            self.assertEqual(self.evaluated(network, "--data data/val"),
                             "data/val")

    def test_a_relative_data_folder_starts_in_the_current_folder(self):
        self.train(0, "--train.steps 1 --data.val own/val")
        os.mkdir("away")
        run = os.path.abspath("runs/default")
        self.call(66, "eval --checkpoint", run, folder="away",
                  expect="own/val: validation data of the run")
        shutil.copytree("third", "away/own/val")
        self.assertEqual(self.evaluated("--checkpoint", run, folder="away",
                                        other=True), "own/val")

    def test_eval_names_the_checkpoint(self):
        self.train(75, "--train.epochs 1 --train.stop_at 2 "
                   "--checkpoint.every 1")
        folder = "runs/default/checkpoints/"
        for path, step in (("runs/default", 2), (folder + "last", 2),
                           (folder + "step-00000001.h5", 1)):
            self.call(0, "eval --checkpoint", path, expect="network       "
                      f"{folder}step-{step:08d}.h5, step {step}\n")


class Values(Case):
    """Values that a network must not have."""

    def test_weights_with_non_finite_values_are_rejected(self):
        self.train(0, "--train.steps 1 --data.val=")
        for tensor, value, shown in (
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
            expect = f"bad.safetensors: tensor {tensor}: value 3 is {shown}"
            self.call(65, "eval --weights bad.safetensors --data data/val",
                      ranks=2, expect=expect)
            self.train(65, "--model.weights bad.safetensors --train.name bad",
                       expect=expect)
        self.assertFalse(os.path.exists("runs/bad/weights"))
        self.assertEqual(os.listdir("runs/bad/checkpoints"), [])

    def test_checkpoints_with_non_finite_values_are_rejected(self):
        for array, value, kind in (("param", "nan", "parameter"),
                                   ("m", "inf", "first moment"),
                                   ("v", "-1", "second moment"),
                                   ("stats", "nan", "running statistic")):
            shutil.rmtree("runs", ignore_errors=True)
            self.train(75, "--train.epochs 2 --train.stop_at 2")
            file = "runs/default/checkpoints/step-00000002.h5"
            subprocess.run([EDIT_CHECKPOINT, file, array, "0", value],
                           check=True)
            expect = ["step-00000002.h5: tensor ", f"{kind} 0 is {value}"]
            self.call(65, "eval --checkpoint", file, expect=expect)
            self.call(65, "eval --checkpoint runs/default", expect=expect[1:])
            self.call(65, "export --checkpoint", file, "-o out.safetensors",
                      expect=expect)
            self.assertFalse(os.path.exists("out.safetensors"))
            self.train(65, "--train.epochs 2", ranks=2, expect=expect)
            self.train(65, "--train.epochs 2 --train.name branch --resume",
                       file, expect=expect)

    def test_non_finite_values_are_not_saved(self):
        """Gradients are finite, but Adam's second moment overflows."""
        self.train(0, "--train.steps 1 --data.val=")
        weights = Weights("runs/default/weights/last.safetensors")
        weights.set("head.bn.weight",
                    [1e22 * x for x in weights.values("head.bn.weight")])
        weights.write("steep.safetensors")
        for stop in "--train.steps 1", "--train.stop_at 1":
            self.train(76, "--model.weights steep.safetensors --data.val= "
                       "--model.freeze none --train.name steep", stop,
                       ranks=2, expect=["after step 1: tensor head.fc2.",
                                        "second moment"])
            self.assertEqual(os.listdir("runs/steep/checkpoints"), [])
            self.assertFalse(os.path.exists("runs/steep/weights"))

    def test_non_finite_outputs_are_an_error(self):
        """The weights are finite, but their products overflow."""
        self.train(0, "--train.steps 1 --data.val=")
        weights = Weights("runs/default/weights/last.safetensors")
        for name in "head.bn.weight", "head.fc2.weight":
            weights.set(name, [3e38] * len(weights.values(name)))
        weights.write("huge.safetensors")
        self.call(76, "eval --weights huge.safetensors --data data/val "
                  "--per-image rows.csv --picture sheet.png", ranks=2,
                  expect="image tiny_0100: the network's outputs are not finite")
        self.assertFalse(os.path.exists("rows.csv"))
        self.assertFalse(os.path.exists("sheet.png"))
        self.train(76, "--model.weights huge.safetensors --model.freeze none "
                   "--train.name huge", ranks=2, expect="image tiny_0100")

    def test_an_overflow_in_an_inner_layer_is_an_error(self):
        """Later ReLUs and norms could turn it into finite outputs."""
        self.train(0, "--train.steps 1 --data.val=")
        for names in (("conv1.weight", "bn1.weight"),
                      ("bn1.weight", "layer1.0.conv1.weight"),
                      ("layer2.0.bn1.weight", "layer2.0.conv2.weight")):
            weights = Weights("runs/default/weights/last.safetensors")
            for name in names:
                weights.set(name, [1e21 * x for x in weights.values(name)])
            weights.write("huge.safetensors")
            self.call(76, "eval --weights huge.safetensors --data data/val",
                      expect="outputs are not finite")
            shutil.rmtree("runs/huge", ignore_errors=True)
            self.train(76, "--model.weights huge.safetensors --model.freeze "
                       "backbone --model.freeze_bn eval --train.name huge "
                       "--data.val=", expect="is not finite")


class Kinds(Case):
    """Files of another kind than the option expects."""

    ZIP = b"PK\3\4\0\0\10\10archive/data.pkl" + bytes(4096)
    PICKLES = (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",  # old torch
               b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94." + bytes(64))
    INDEX = b'{"metadata": {}, "weight_map": {"conv1.weight": "a-00001"}}'
    POINTER = (b"version https://git-lfs.github.com/spec/v1\n"
               b"oid sha256:00\nsize 87\n")

    def setUp(self):
        super().setUp()
        self.train(0, "--train.steps 1 --train.name r --data.val=")
        self.weights = "runs/r/weights/last.safetensors"
        self.checkpoint = "runs/r/checkpoints/step-00000001.h5"

    def file(self, content):
        with open("given", "wb") as f:
            f.write(content)
        return "given"

    def test_a_wrong_file_given_as_weights_is_identified(self):
        with open(self.weights, "rb") as f:
            half = f.read()[:200]
        pickle = ["a Python pickle", "save_file(torch.load('given'"]
        for path, expect in (
                (lambda: self.file(self.ZIP), ["a zip archive", "torch.load('given'"]),
                (lambda: self.file(self.PICKLES[0]), pickle),
                (lambda: self.file(self.PICKLES[1]), pickle),
                (lambda: self.file(self.INDEX), ["JSON text"]),
                (lambda: self.file(self.POINTER), ["git lfs pull"]),
                (lambda: self.file(b""), ["an empty file"]),
                (lambda: self.file(half), ["not a safetensors file: a header"]),
                (lambda: self.file(b"x"), ["too short"]),
                ("runs/r", ["a folder", "weights/last.safetensors"]),
                ("runs/r/checkpoints/last", [
                    "an HDF5 file", "vocdist export --checkpoint runs/r/"]),
                ("data/val/shard-00000.h5", ["an HDF5 file"])):
            path = path() if callable(path) else path
            expect = [f"{path}: ", *expect]
            self.call(65, "eval --data data/val --weights", path, expect=expect)
            self.train(65, "--train.name w --model.weights", path, expect=expect)
        self.call(66, "eval --data data/val --weights nowhere",
                  expect="nowhere: No such file")

    def test_a_wrong_file_given_as_checkpoint_is_identified(self):
        weights = f"vocdist eval --weights {self.weights}"
        for path, expect in (
                (self.weights, ["a safetensors file", weights]),
                ("data/val/shard-00000.h5", ["a shard of images", "--data"]),
                (lambda: self.file(self.ZIP), ["a zip archive", "convert it"]),
                (lambda: self.file(self.PICKLES[0]), ["a Python pickle"]),
                ("data/val/pack.json", ["JSON text", "runs/NAME"]),
                (lambda: self.file(b""), ["an empty file"])):
            path = path() if callable(path) else path
            expect = [f"{path}: ", *expect]
            self.call(65, "eval --data data/val --checkpoint", path, expect=expect)
            self.call(65, "export -o out --checkpoint", path, expect=expect)
            self.train(65, "--train.name other --train.epochs 2 --resume",
                       path, expect=expect)
        self.call(66, "eval --data data/val --checkpoint data/val",
                  expect="data/val: no checkpoint here")

    def test_a_file_given_as_data_folder_is_an_error(self):
        for path in "data/val/shard-00000.h5", self.weights:
            self.call(66, "eval --checkpoint runs/r --data", path,
                      expect=f"{path}: a file, not a folder of shards")
        self.train(66, "--data.val data/val/pack.json --train.name d",
                   expect="data/val/pack.json: a file")

    def test_weights_of_a_bottleneck_network_are_rejected(self):
        names = ["conv1.weight"] + [f"layer1.0.conv{k}.weight"
                                    for k in (1, 2, 3)]
        for prefix in "", "module.":
            weights = Weights(self.weights)
            weights.header = {
                prefix + name: {"dtype": "F32", "shape": [1],
                                "data_offsets": [4 * k, 4 * k + 4]}
                for k, name in enumerate(names)}
            weights.data = bytes(4 * len(names))
            weights.write("resnet50.safetensors")
            text = self.train(65, "--model.weights resnet50.safetensors "
                              "--train.name w", expect="bottleneck blocks")
            self.assertNotIn("model.width", text)

    def test_names_of_wrapped_modules_are_accepted(self):
        sound = Weights(self.weights)
        for prefix in ("_orig_mod.", "_orig_mod.module.", "module._orig_mod.",
                       "model._orig_mod.backbone."):
            weights = Weights(self.weights)
            weights.header = {
                k if k == "__metadata__" else prefix + k: v
                for k, v in sound.header.items()}
            weights.write("wrapped.safetensors")
            self.call(0, "eval --data data/val --weights wrapped.safetensors")
            shutil.rmtree("runs/w", ignore_errors=True)
            self.train(0, "--train.steps 1 --train.name w --model.weights "
                       "wrapped.safetensors", expect="tensors loaded; head incl")

    def test_half_precision_weights_are_converted(self):
        """Half precision is converted to float32; infinities are found."""
        for kind, pack in (("F16", "<e"), ("BF16", "<f")):
            weights, data = Weights(self.weights), b""
            for name, tensor in weights.header.items():
                if name == "__metadata__":
                    continue
                values = weights.values(name)
                half = b"".join(struct.pack(pack, x)[-2:] for x in values)
                tensor["dtype"] = kind
                tensor["data_offsets"] = [len(data), len(data) + len(half)]
                data += half
            weights.data = bytearray(data)
            weights.write("half.safetensors")
            self.call(0, "eval --data data/val --weights half.safetensors")
            a, _ = weights.header["conv1.weight"]["data_offsets"]
            weights.data[a:a + 2] = (b"\0\x7c" if kind == "F16" else
                                     b"\x80\x7f")  # infinity
            weights.write("half.safetensors")
            self.call(65, "eval --data data/val --weights half.safetensors",
                      expect="tensor conv1.weight: value 0 is inf")


class Permissions(Case):
    """An unreadable file is not reported as damaged or missing."""

    def setUp(self):
        super().setUp()
        self.train(75, "--train.epochs 2 --train.stop_at 2 "
                   "--checkpoint.every 1")
        # root may read everything, so use another user
        self.user = {"user": 65534} if os.geteuid() == 0 else {}
        os.chmod(".", 0o777)
        try:
            self.call(0, "info", **self.user)
        except PermissionError:
            self.skipTest("only root can read the program")
        for folder, _, files in os.walk("."):
            for path in [folder, *(os.path.join(folder, f) for f in files)]:
                if not os.path.islink(path):
                    os.chmod(path, 0o777 if path == folder else 0o666)

    def check_denied(self, path, code, *words, **options):
        """Without permission for `path` the message has reason and path."""
        mode = os.stat(path).st_mode & 0o777
        os.chmod(path, 0)
        try:
            text = self.call(code, *words, expect="Permission denied",
                             **self.user, **options)
        finally:
            os.chmod(path, mode)
        for word in "damaged", "no checkpoint here", "no such", "no pack.json":
            self.assertNotIn(word, text)
        self.assertRegex(text, os.path.basename(path) + "|checkpoints/last: ")

    def test_an_unreadable_checkpoint_is_reported(self):
        evaluate = "eval --data data/val --checkpoint"
        folder = "runs/default/checkpoints"
        last = f"{folder}/step-00000002.h5"
        self.check_denied(last, 66, evaluate, last)
        self.check_denied(last, 66, evaluate, "runs/default")
        self.check_denied(folder, 66, evaluate, "runs/default")
        self.check_denied("runs/default", 66, evaluate, "runs/default")
        self.check_denied("runs", 66, evaluate, "runs/default")
        # training does not resume from the one before, as if this were damaged
        self.check_denied(last, 66, *SMALL, "--train.epochs 2")

    def test_unreadable_data_and_weights_are_reported(self):
        evaluate = "eval --checkpoint runs/default --data"
        self.check_denied("data/val/shard-00000.h5", 66, evaluate, "data/val")
        self.check_denied("data/val/pack.json", 66, evaluate, "data/val")
        self.check_denied("data/val", 66, evaluate, "data/val")
        self.check_denied("data", 66, evaluate, "data/val")
        self.call(0, "export --checkpoint runs/default -o w.safetensors")
        self.check_denied("w.safetensors", 66,
                    "eval --data data/val --weights w.safetensors")


class Boxes(Case):
    def test_a_box_with_swapped_corners_has_iou_0(self):
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
                      expect=["mean IoU      0.0000", "LOC@0.5       0.00 %"])
            with open("rows.csv") as f:
                rows = list(csv.DictReader(f))
            self.assertEqual([r["iou"] for r in rows], ["0.000000"] * 10)
            self.assertTrue(os.path.getsize("sheet.png"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:], verbosity=1)
