"""Scratch sessions: --dry-run finds errors that would stop the run later and
estimates its time, memory and disk space; --overfit-batch checks that the
network can learn. Neither leaves any files.

    dry_run.py VOCDIST MAKE_SHARDS VOCPACK "MPIRUN -np"     ("" without MPI)
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

import h5py
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
import pace  # noqa: E402
from pace import wait_for  # noqa: E402
from scratch_case import ScratchCase  # noqa: E402

VOCDIST, MAKE_SHARDS, VOCPACK = sys.argv[1:4]
MPIRUN = sys.argv[4].split()
SMALL = ("--backend ref --model.width 8 --model.blocks 1,1,1,1 "
         "--train.global_batch 12 --train.replicas 3 --eval.batch 4 "
         "--cpu.threads 1").split()
RANKS = (0, 3) if MPIRUN else (0,)
OTHER = (0, 2) if MPIRUN else (0, 0)
CLEANUP_S = 300  # for the shell that removes a scratch session's folder
TIME = r"(?:[\d.e-]+ s|\d+ min \d\d s|\d+ h \d\d min)"
SIZE = r"[\d.]+ [MG]B"
REPORT = {
    "start": r"would (?:start runs/\w+ from step 0, \d+ steps"
             r"|resume after step \d+ of \d+, from \S+\.h5)"
             r"|runs/\w+ ended after step \d+ of \d+: nothing left to train",
    "step": rf"{TIME}, [\d.]+ images/s \(mean of \d+; the first took {TIME}\)",
    "waiting": r"[\d.]+ % of that time for data \(rank \d+, \S+\)",
    "epoch": rf"{TIME} of \d+ images \(estimate\)",
    "validation": rf"{TIME} of \d+ images "
                  r"\(estimate; \d+ of \d+ batches timed\)"
                  r"|none: data.val is empty",
    "checkpoint": rf"{SIZE}, written and read back in {TIME}: bit-identical",
    "disk": rf"{SIZE} for the run \(checkpoint.keep \d+\), {SIZE} of it "
            rf"in use now; {SIZE} free in \S+",
    "memory": rf"{SIZE} at most \(rank \d+, \S+\)",
    "whole run": rf"{TIME} for \d+ steps and their validations \(estimate\)",
}


def snapshot():
    """Every file with size and modification time, and every folder."""
    found = {}
    for folder, folders, files in os.walk("."):
        for name in folders + files:
            path = os.path.join(folder, name)
            try:
                info = os.lstat(path)
            except FileNotFoundError:  # it was just removed
                continue
            found[path] = (info.st_mtime_ns, info.st_size)
            if name in folders:
                found[path] = None
    return found


def corrupt_images(first):
    """Flips a bit of four stored images and keeps their digests."""
    with h5py.File("data/train/shard-00000.h5", "r+") as f:
        f["images"][first:first + 4] = f["images"][first:first + 4] ^ 1


class DryRun(ScratchCase):
    make_shards = MAKE_SHARDS

    def start(self, code, words, ranks=0, env=None):
        """Runs vocdist; returns stdout and stderr. `code` is the expected exit
        code."""
        start = MPIRUN + [str(ranks)] if ranks else []
        p = subprocess.run(start + [VOCDIST] + SMALL + words.split(),
                           capture_output=True, text=True,
                           timeout=pace.limit_s(),
                           env={**os.environ, **(env or {})})
        self.assertEqual(p.returncode, code, p.stdout + p.stderr)
        return p.stdout, p.stderr

    def wait_for_snapshot(self, before, text=""):
        """A shell removes the folder of a scratch session after its end."""
        try:
            wait_for(lambda: snapshot() == before, lambda: text, CLEANUP_S)
        except AssertionError:
            self.assertEqual(snapshot(), before, text)

    def wait_for_path(self, path, process):
        """Waits until `path` exists; the process must still run then."""
        wait_for(lambda: os.path.exists(path) or process.poll() is not None,
                 lambda: path)
        self.assertIsNone(process.poll())

    def check_leaves_nothing(self, code, words, expect=(), errors=1, **more):
        before = snapshot()
        out, log = self.start(code, words, **more)
        self.wait_for_snapshot(before, log)
        for part in [expect] if isinstance(expect, str) else expect:
            self.assertIn(part, log)
        if code and errors:
            self.assertEqual(log.count("error: "), errors, log)
        return out

    def parse_report(self, text):
        """The fields of the report; every line must match REPORT."""
        fields = {line[:13].strip(): line[13:] for line in text.splitlines()}
        self.assertEqual(list(fields), list(REPORT), text)
        for name, value in fields.items():
            self.assertIsNotNone(re.fullmatch(REPORT[name], value),
                                 f"{name}: {value}")
        return fields

    # ---- dry run

    def test_a_dry_run_reports_the_costs_of_a_run(self):
        for ranks in RANKS:
            out = self.check_leaves_nothing(0, "--dry-run", ranks=ranks)
            fields = self.parse_report(out)
            self.assertIn("from step 0, 10 steps", fields["start"])
            tried = min(3, max(1, ranks))
            self.assertIn(f"{tried} of 3 batches", fields["validation"])
            self.assertIn(" 10 steps", fields["whole run"])
        self.assertEqual(os.listdir("."), ["data"])
        out = self.check_leaves_nothing(0, "--dry-run --data.val=")
        self.assertIn("none", self.parse_report(out)["validation"])
        # the reported size is that of a run's first checkpoint
        self.start(75, "--train.stop_at 1")
        size = os.path.getsize("runs/default/checkpoints/step-00000001.h5")
        self.assertIn(f"{size / 1e6:.1f} MB, written", out)

    def test_a_dry_run_lists_the_implementation_of_each_layer(self):
        log = self.start(0, "--dry-run --log.level debug")[1]
        if "computing ref" in log:
            self.skipTest("backend ref has one implementation")
        for layer in ("conv1.weight: forward ", "layer4.0.conv2.weight: forward ",
                      "head.fc1.weight: forward ", "maxpool: forward "):
            self.assertIn(f"cpu net (train): {layer}", log)
            self.assertIn(f"cpu net (eval): {layer}", log)

    def test_a_dry_run_does_not_change_an_existing_run(self):
        self.start(75, "--train.epochs 3 --train.stop_at 3")
        for ranks in RANKS:
            expect = "changed   ranks: 1 -> 3" if ranks else ()
            out = self.check_leaves_nothing(0, "--dry-run --train.epochs 3", expect,
                                            ranks=ranks)
            fields = self.parse_report(out)
            self.assertIn("after step 3 of 6, from runs/default/checkpoints/"
                          "step-00000003.h5", fields["start"])
            self.assertIn(" 3 steps", fields["whole run"])
        self.start(0, "--train.epochs 3")
        out = self.check_leaves_nothing(0, "--dry-run --train.epochs 3")
        self.assertIn("ended after step 6 of 6", self.parse_report(out)["start"])

    def test_a_dry_run_does_not_disturb_a_run_in_progress(self):
        run = subprocess.Popen(
            [VOCDIST] + SMALL + ["--train.epochs", "100000"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: run.poll() is None and run.kill())
        self.wait_for_path("runs/default/steps.jsonl", run)
        self.parse_report(self.start(0, "--dry-run --train.epochs 100000")[0])
        run.send_signal(signal.SIGUSR1)
        self.assertEqual(run.wait(timeout=pace.limit_s()), 75)
        with open("runs/default/log.txt") as f:
            self.assertNotIn("scratch session", f.read())
        self.assertEqual(os.listdir("runs"), ["default"])

    # ---- errors that a dry run finds

    def test_invalid_settings_are_reported(self):
        check = self.check_leaves_nothing
        check(64, "--dry-run --optim.lrr 1", "optim.lr")
        check(64, "--dry-run --overfit-batch 5", "one after the other")
        check(64, "--overfit-batch 5 --resume a.h5", "leave --resume out")
        check(78, "--dry-run --train.global_batch 13", "--train.micro_batch",
              ranks=OTHER[1])
        check(69, "--dry-run --backend cuda", "cuda")
        check(69, "--dry-run --train.precision bf16", "fp32 only")
        check(66, "--dry-run --model.weights none.safetensors",
              "none.safetensors", ranks=OTHER[1])
        self.start(75, "--train.stop_at 1")
        check(78, "--dry-run --optim.lr 0.5", "optim.lr: 0.5 here")
        check(73, "--dry-run --resume none", "resume is none")

    def test_missing_or_damaged_data_are_reported(self):
        check = self.check_leaves_nothing
        check(66, "--dry-run --data.train nowhere", "nowhere",
              ranks=OTHER[1])
        corrupt_images(4)  # with three ranks they are those of rank 1
        for ranks in RANKS:
            check(65, "--dry-run --data.shuffle false", "shard-00000.h5",
                  ranks=ranks)
        shutil.rmtree("data/train")
        self.shards("data/train", 22, 0, size=48)
        check(65, "--dry-run", "differ in classes or size")
        shutil.rmtree("data/val")
        check(66, "--dry-run", "data/val")

    def test_damaged_validation_images_are_reported(self):
        with h5py.File("data/val/shard-00000.h5", "r+") as f:
            f["images"][...] = f["images"][...] ^ 1
        for ranks in RANKS:
            self.check_leaves_nothing(65, "--dry-run", "shard-00000.h5", ranks=ranks,
                                      errors=max(1, ranks))

    def test_a_run_that_cannot_be_resumed_is_reported(self):
        self.start(75, "--train.stop_at 1")
        with open("runs/default/steps.jsonl", "w"):
            pass
        self.check_leaves_nothing(65, "--dry-run", "steps.jsonl: 0 bytes")
        path = "runs/default/checkpoints/step-00000001.h5"
        os.truncate(path, 2000)
        self.check_leaves_nothing(65, "--dry-run", "no intact checkpoint here")

    def test_a_diverging_learning_rate_is_reported(self):
        for ranks in RANKS:
            self.check_leaves_nothing(76, "--dry-run --optim.lr 100 "
                                      "--loss.box_scale 1e6 --optim.name sgd",
                                      "--optim.clip_norm", ranks=ranks)

    def test_an_unwritable_folder_is_reported(self):
        with open("file", "w"):
            pass
        check = self.check_leaves_nothing
        check(73, "--dry-run --train.dir file", "file: File exists",
              ranks=OTHER[1])
        check(73, "--dry-run --train.dir . --train.name file",
              "file: Not a directory")
        if os.geteuid():
            os.mkdir("shut", 0o500)
            check(73, "--dry-run --train.dir shut/a", "shut")

    def test_a_full_disk_is_reported(self):
        os.mkdir("small")
        if os.geteuid() or subprocess.run(
                "mount -t tmpfs -o size=3m none small".split(),
                capture_output=True).returncode:
            if os.environ.get("CI") == "true":
                self.fail("cannot mount a small disk")
            self.skipTest("needs a small disk, which only root can mount")
        try:
            words = "--dry-run --train.dir small/runs "
            self.check_leaves_nothing(74, words + "--model.width 16",
                                      ["small/runs/", "No space left"])
            # enough space for one checkpoint, not for four
            self.check_leaves_nothing(0, words, ["warning: small/runs: 3.1 MB free",
                                                 "checkpoint.keep"])
        finally:
            subprocess.run(["umount", "small"], check=True)

    def test_a_fault_at_any_site_leaves_no_files(self):
        for site in ("run-folder cores device plan weights eval checkpoint "
                     "report").split():
            self.check_leaves_nothing(70, "--dry-run", "injected fault at",
                                      env={"VOCDIST_FAULT": f"{site}:0"})
        self.check_leaves_nothing(76, "--dry-run", "not finite", ranks=OTHER[1],
                                  env={"VOCDIST_FAULT": f"step:{OTHER[1] // 2}:nan"})
        if MPIRUN:
            for site in "exchange", "checkpoint", "step":
                self.check_leaves_nothing(70, "--dry-run", "injected fault",
                                          ranks=2,
                                          env={"VOCDIST_FAULT": f"{site}:1"})
            # killed without a message, like by the kernel's OOM killer
            before = snapshot()
            self.start(137, "--dry-run", ranks=2,
                       env={"VOCDIST_FAULT": "step:1:kill"})
            self.wait_for_snapshot(before)

    def test_a_hanging_rank_is_named_and_leaves_no_files(self):
        if MPIRUN:
            begin = time.monotonic()
            self.start(0, "--dry-run", ranks=2)
            late_s = max(2, time.monotonic() - begin)  # no rank is so late
            self.check_leaves_nothing(
                69, f"--dry-run --timeout.step {late_s}", "rank 1", ranks=2,
                env={"VOCDIST_FAULT": "reduce:1:hang"})

    def test_a_session_stopped_by_a_signal_leaves_no_files(self):
        for ranks in RANKS:
            before = snapshot()
            start = MPIRUN + [str(ranks)] if ranks else []
            p = subprocess.Popen(
                start + [VOCDIST, "--overfit-batch", "1000000", "--optim.lr",
                         "1e-9"] + SMALL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.addCleanup(lambda p=p: p.poll() is None and p.kill())
            self.wait_for_path("runs", p)
            time.sleep(0.5)
            p.send_signal(signal.SIGTERM)
            text = p.communicate(timeout=pace.limit_s())[0]
            self.assertNotEqual(p.returncode, 0, text)
            if not ranks:
                self.assertEqual(p.returncode, 75, text)
                self.assertIn("stopped by a signal; the scratch outputs are", text)
            self.wait_for_snapshot(before, text)

    # ---- overfitting a single batch

    def test_overfit_batch_passes_if_the_network_learns(self):
        outs = set()
        for ranks in RANKS:
            out = self.check_leaves_nothing(
                0, "--overfit-batch 400 --optim.lr 5e-3 --loss.weights "
                "balanced --optim.warmup 1000",
                "with augment.enable false, model.head_dropout 0, "
                "optim.schedule constant, optim.milestones empty, "
                "optim.warmup 0, data.val empty", ranks=ranks)
            outs.add(out)
        self.assertEqual(len(outs), 1, outs)  # the same at any rank count
        m = re.search(r"remaining +box ([\d.]+) %, class ([\d.]+) % after (\d+) "
                      r"steps at learning rate 0.005\npassed", out)
        self.assertIsNotNone(m, out)
        self.assertTrue(float(m[1]) <= 25 and float(m[2]) <= 25, out)
        self.assertLess(int(m[3]), 400)
        for line in "first step", "last step":
            m = re.search(rf"{line} +loss (\S+) = box 1 x (\S+) px \+ class "
                          r"25 x (\S+) nats", out)
            self.assertIsNotNone(m, out)

    def test_overfit_batch_fails_if_the_network_does_not_learn(self):
        for ranks in RANKS:
            out = self.check_leaves_nothing(
                76, "--overfit-batch 10 --optim.lr 1e-9",
                ["10 steps at learning rate 1e-09", "--optim.lr"],
                ranks=ranks)
            self.assertNotIn("passed", out)
            # without learning the loss of the batch does not change
            first, last = re.findall(r"loss (\S+) =", out)
            self.assertAlmostEqual(float(first), float(last),
                                   delta=1e-3 * float(first))

    def test_overfit_batch_fails_for_contradictory_labels(self):
        # A network can overfit wrong labels, but not different labels of one
        # image. Digests cover the labels, so new data are packed.
        self.write_one_image_with_many_labels("voc")
        subprocess.run([VOCPACK, "pack", "voc", "--size", "32", "-o", "odd"],
                       check=True, capture_output=True)
        self.check_leaves_nothing(76, "--overfit-batch 60 --optim.lr 5e-3 "
                                  "--data.train odd", "check the labels")

    def write_one_image_with_many_labels(self, root):
        for name in "JPEGImages", "Annotations":
            os.makedirs(os.path.join(root, name))
        for i in range(16):
            Image.new("RGB", (32, 32), (90, 120, 150)).save(
                f"{root}/JPEGImages/p{i:02}.png")
            x, y = 16 * (i // 2 % 2), 16 * (i // 4 % 2)
            box = (f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + 15}</xmax>"
                   f"<ymax>{y + 15}</ymax>")
            with open(f"{root}/Annotations/p{i:02}.xml", "w") as f:
                f.write(f"<annotation><filename>p{i:02}.png</filename>"
                        "<size><width>32</width><height>32</height>"
                        f"<depth>3</depth></size><object><name>c{i % 4}"
                        f"</name><bndbox>{box}</bndbox></object>"
                        "</annotation>")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:], verbosity=1)
