"""Runs the program like users do: files, exit codes, messages, stops.

    train.py VOCDIST MAKE_SHARDS "MPIRUN -np"     ("" without MPI)
"""
import csv
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
import pace  # noqa: E402
from scratch_case import ScratchCase  # noqa: E402

VOCDIST, MAKE_SHARDS, MPIRUN = sys.argv[1], sys.argv[2], sys.argv[3].split()
SMALL = ("--backend ref --model.width 8 --model.blocks 1,1,1,1 "
         "--train.global_batch 8 --train.replicas 2 --eval.batch 4 "
         "--cpu.threads 1").split()
HEADER = ("epoch,step,train_loss,train_box,train_class,val_loss,val_l1_px,"
          "val_accuracy,val_miou,val_loc50,images_per_s,lr,seconds")
TIMES = {"images_per_s", "seconds"}
NO_END = "--train.epochs 100000"
END_LIMIT_S = 120  # least time limit for the end of a failed job


def command(ranks, words):
    start = MPIRUN + [str(ranks)] if ranks else []
    return start + [VOCDIST] + words


class Train(ScratchCase):
    make_shards = MAKE_SHARDS

    def start(self, code, *words, ranks=0, expect=None, small=True, causes=None,
              env=None, folder="."):
        """Runs vocdist; checks exit code and output; returns the output."""
        if ranks and not MPIRUN:
            ranks = 0
        words = (SMALL if small else []) + " ".join(words).split()
        p = subprocess.run(command(ranks, words), capture_output=True,
                           text=True, timeout=pace.limit_s(), cwd=folder,
                           env={**os.environ, **(env or {})})
        text = p.stdout + p.stderr
        self.assertEqual(p.returncode, code, text)
        for part in [expect] if isinstance(expect, str) else expect or []:
            self.assertIn(part, text)
        if code not in (0, 75):
            self.assertEqual(text.count("error: "), causes or 1, text)
        return text

    def steps(self, name="default"):
        with open(f"runs/{name}/steps.jsonl") as f:
            return [json.loads(line) for line in f]

    def metrics(self, name="default"):
        with open(f"runs/{name}/metrics.csv") as f:
            self.assertEqual(f.readline(), HEADER + "\n")
            f.seek(0)
            return list(csv.DictReader(f))

    def weights(self, name="default"):
        """The exported weights of the last checkpoint, as bytes."""
        out = "w.safetensors"
        subprocess.run([VOCDIST, "export", "--checkpoint", f"runs/{name}",
                        "-o", out], check=True, capture_output=True)
        with open(out, "rb") as f:
            return f.read()

    def assert_same_run(self, a, b):
        """Equal weights and equal rows, except for times."""
        self.assertEqual(self.weights(a), self.weights(b))
        for rows in zip(self.metrics(a), self.metrics(b), strict=True):
            x, y = ({k: v for k, v in r.items() if k not in TIMES}
                    for r in rows)
            self.assertEqual(x, y)
        for x, y in zip(self.steps(a), self.steps(b), strict=True):
            self.assertEqual([x[k] for k in ("step", "loss", "box", "class")],
                             [y[k] for k in ("step", "loss", "box", "class")])

    # ---- files

    def test_a_run_writes_its_files(self):
        self.start(0, "--train.epochs 2", ranks=2)
        rows = self.metrics()
        self.assertEqual([r["epoch"] for r in rows], ["0", "1", "2"])
        self.assertEqual([r["step"] for r in rows], ["0", "3", "6"])
        self.assertEqual(rows[0]["train_loss"], "")
        self.assertTrue(all(float(r["val_loss"]) > 0 for r in rows))
        steps = self.steps()
        self.assertEqual([s["step"] for s in steps], [1, 2, 3, 4, 5, 6])
        best = os.readlink("runs/default/checkpoints/best")
        lowest = min(rows[1:], key=lambda r: float(r["val_loss"]))
        self.assertEqual(best, f"step-{int(lowest['step']):08d}.h5")
        self.assertEqual(os.readlink("runs/default/checkpoints/last"),
                         "step-00000006.h5")
        with open("runs/default/run.json") as f:
            facts = json.load(f)
        ranks = 2 if MPIRUN else 1
        self.assertEqual((facts["ranks"], len(facts["hosts"])), (ranks, ranks))
        self.assertEqual(facts["train"]["images"], 22)
        self.assertIn("--train.epochs", facts["command"])
        self.assertTrue(os.path.getsize("runs/default/log.txt"))
        left = [n for n in os.listdir("runs/default/checkpoints")
                if ".tmp" in n]
        self.assertEqual(left, [])

    def test_the_saved_config_is_bitwise_reproducible_at_any_rank_count(self):
        self.start(75, "--train.epochs 2 --train.stop_at 4", ranks=2)
        self.start(0, "--train.epochs 2", ranks=1)
        with open("runs/default/config.yaml") as f:
            text = f.read()
        self.assertNotIn("backend: auto", text)
        self.start(0, "-c runs/default/config.yaml --train.name again",
                   small=False)
        self.assert_same_run("default", "again")

    # ---- resuming

    def test_a_resumed_run_is_bit_identical(self):
        self.start(0, "--train.epochs 3 --train.name whole", ranks=2)
        for stop in (2, 5, 7):
            self.start(75, f"--train.epochs 3 --train.stop_at {stop}",
                       ranks=2 if stop == 5 else 0,
                       expect="run the same command again")
        self.start(0, "--train.epochs 3 --train.stop_at 7", ranks=2)
        self.assert_same_run("whole", "default")

    def test_a_finished_run_can_be_extended(self):
        schedule = "--optim.schedule onecycle"
        self.start(0, schedule, "--train.epochs 2", ranks=2)
        self.start(0, schedule, "--train.epochs 2", ranks=2,
                   expect="has all its 6 steps")
        self.start(0, schedule, "--train.epochs 4")
        self.assertEqual([r["epoch"] for r in self.metrics()],
                         ["0", "1", "2", "3", "4"])
        steps = self.steps()
        self.assertEqual([s["step"] for s in steps], list(range(1, 12)))
        self.assertTrue(all(s["lr"] == steps[5]["lr"] for s in steps[6:]),
                        "the learning rate must stay at its last value")
        self.start(78, "--train.epochs 3", expect="may only grow")
        # the result is that of one run over all epochs
        self.start(0, schedule, "--train.epochs 4 --train.name whole "
                   "--optim.schedule_steps 6")
        self.assert_same_run("whole", "default")

    def warnings(self, text):
        """The warnings, without that of the small micro-batch."""
        return [line for line in text.splitlines()
                if "warning: " in line and "micro-batch" not in line]

    def test_a_schedule_that_does_not_fit_the_run_gives_a_warning(self):
        cosine = "--optim.schedule cosine --train.epochs "
        self.assertEqual(self.warnings(self.start(0, cosine, "2")), [])
        text = self.start(75, cosine, "4 --train.stop_at 8", ranks=2,
                          expect="--> give --optim.schedule_steps 11")
        warning, = self.warnings(text)
        self.assertIn("optim.schedule: cosine ends at step 6", warning)
        # the remedy of the message works
        text = self.start(0, cosine, "4 --optim.schedule_steps 11")
        self.assertEqual(self.warnings(text), [])
        rates = [s["lr"] for s in self.steps()]
        self.assertEqual(rates[6], rates[5])
        self.assertGreater(rates[8], rates[7])
        self.assertEqual(self.warnings(self.start(0, cosine, "4")), [])

        warmup = "--train.steps 3 --optim.warmup 30 --train.name warm"
        warning, = self.warnings(self.start(0, warmup))
        self.assertIn("optim.warmup: 30 steps, but the run ends at step 3",
                      warning)
        step = ("--optim.schedule step --optim.milestones 2,9 --train.name m "
                "--train.steps")
        warning, = self.warnings(self.start(0, step, "3"))
        self.assertIn("optim.milestones: 9 is not reached", warning)
        self.assertEqual(self.warnings(self.start(
            0, step, "10 --optim.schedule_steps 10")), [])

    def test_a_stop_step_in_the_past_gives_a_warning(self):
        run = "--train.epochs 4 --train.stop_at"
        self.start(75, run, "4")
        for stop in "4", "3":
            text = self.start(75, run, stop, "--train.max_time 1e-9")
            warning, = self.warnings(text)
            self.assertIn(f"train.stop_at: {stop} is not after step ", warning)
        self.assertEqual(self.warnings(self.start(75, run, "10")), [])
        self.start(0, "--train.epochs 4")
        self.assertEqual(self.warnings(self.start(0, run, "4")), [])

    def test_steps_and_epochs_replace_each_other(self):
        self.start(0, "--train.steps 4")
        self.assertEqual(self.steps()[-1]["step"], 4)
        self.start(0, expect="has all its 4 steps")
        self.start(78, "--train.steps 3", expect="may only grow")
        self.start(0, "--train.epochs 6")
        self.assertEqual(self.steps()[-1]["step"], 17)
        self.start(78, "--train.steps 16", expect="may only grow")

    def logged_diff(self, text):
        """The logged differences from the run that is resumed."""
        return [line.split("changed   ")[1] for line in text.splitlines()
                if ": changed   " in line]

    def test_changes_since_the_last_start_are_logged(self):
        same = "--train.epochs 2 --eval.every 2"
        text = self.start(75, same, "--train.stop_at 1", ranks=2)
        self.assertEqual(self.logged_diff(text), [])
        text = self.start(75, same, "--train.stop_at 2", ranks=2)
        self.assertEqual(self.logged_diff(text), [])
        text = self.start(75, "--train.epochs 3 --train.stop_at 3",
                          env={"VOCDIST_LOG_EVERY": "5"})
        expected = ["train.epochs: 2 -> 3 (command line)",
                    "eval.every: 2 -> 1 (default)",
                    "log.every: 10 -> 5 (environment VOCDIST_LOG_EVERY)"]
        if MPIRUN:
            expected.append("ranks: 2 -> 1")
        self.assertEqual(self.logged_diff(text), expected)
        with open("runs/default/run.json") as f:
            facts = json.load(f)
        mpi, program, host = facts["mpi"], facts["program"], facts["hosts"][0]
        self.assertIn("Open MPI v" if MPIRUN else "none", mpi)
        facts.update(mpi="MPI 0", program="vocdist 0", ranks=40,
                     hosts=["a"] * 4 + [f"b{i}" for i in range(36)])
        with open("runs/default/run.json", "w") as f:
            json.dump(facts, f)
        again = "--train.epochs 3 --log.every 5 --train.stop_at"
        text = self.start(75, again, "4")
        self.assertEqual(self.logged_diff(text), [
            f"program: vocdist 0 -> {program}", f"mpi: MPI 0 -> {mpi}",
            "ranks: 40 -> 1",
            f"hosts: a, b0, b1, b2, b3, b4, b5, b6 and 29 more -> {host}"])
        for damage in "{", "[]", '{"ranks": "x"}':
            with open("runs/default/run.json", "w") as f:
                f.write(damage)
            text = self.start(75 if damage == "{" else 0, again, "5",
                              expect="run.json: cannot be read")
            self.assertEqual(self.logged_diff(text), [])
            self.assertNotIn("error", text)
        os.unlink("runs/default/run.json")
        self.assertNotIn("run.json", self.start(0, again, "5"))

    def test_changed_identity_keys_are_rejected(self):
        self.start(75, "--train.stop_at 2")
        self.start(78, "--optim.lr 0.5 --train.seed 9", ranks=2,
                   expect=["optim.lr: 0.5 here", "0.001 in the run",
                           "train.seed: 9 here"])
        os.rename("data/train", "data/old")
        os.rename("data/val", "data/train")
        self.start(78, "--data.val data/old", expect="on other data than")

    def test_resume_none_and_resume_path(self):
        self.start(75, "--train.epochs 2 --train.stop_at 2")
        self.start(73, "--train.epochs 2 --resume none",
                   expect="has checkpoints, but resume is none")
        path = "runs/default/checkpoints/step-00000002.h5"
        self.start(0, "--train.epochs 2")
        self.start(73, "--train.epochs 2 --resume", path,
                   expect="start another run from it with --train.name")
        branch = f"--train.epochs 2 --train.name branch --resume {path}"
        self.start(75, branch, "--train.stop_at 4", ranks=2)
        self.start(0, branch, ranks=2, expect="run's own")
        self.assertEqual(self.weights("branch"), self.weights())
        self.assertEqual([s["step"] for s in self.steps("branch")],
                         [3, 4, 5, 6])
        # the remedy of the message works
        self.start(78, branch, "--train.name other --optim.lr 1e-4",
                   expect="vocdist export, then --model.weights")
        self.weights()
        self.start(0, "--train.epochs 1 --train.name other --optim.lr 1e-4 "
                   "--model.weights w.safetensors --model.freeze none")
        last = "--train.name nothing --resume runs/default --train.epochs "
        self.start(78, last, "2", expect="has all its 6 steps")
        self.start(78, last, "1", expect="may only grow")
        self.start(0, last, "3")
        self.start(66, "--train.name none --resume nowhere.h5",
                   expect="nowhere.h5")

    def test_files_are_truncated_to_the_checkpoint(self):
        self.start(0, "--train.epochs 2 --train.name whole")
        p = "--train.epochs 2 --checkpoint.every 2 --log.every 1"
        env = {"VOCDIST_FAULT": "step:0:kill:6"}
        words = SMALL + p.split()
        killed = subprocess.run([VOCDIST] + words, capture_output=True,
                                env={**os.environ, **env})
        self.assertNotEqual(killed.returncode, 0)
        with open("runs/default/checkpoints/step-00000009.h5.tmp-1-0",
                  "w") as f:
            f.write("half")
        self.start(0, p)
        self.assert_same_run("whole", "default")
        self.assertFalse([n for n in os.listdir("runs/default/checkpoints")
                          if ".tmp" in n])

    def test_a_damaged_newest_checkpoint_is_skipped(self):
        self.start(0, "--train.epochs 2 --train.name whole")
        self.start(75, "--train.epochs 2 --train.stop_at 2")
        self.start(75, "--train.epochs 2 --train.stop_at 4")
        newest = "runs/default/checkpoints/step-00000004.h5"
        with open(newest, "r+b") as f:
            f.seek(os.path.getsize(newest) // 2)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 1]))
        text = self.start(0, "--train.epochs 2", expect="warning: runs/")
        self.assertIn("trying the checkpoint before", text)
        self.assertIn("going on after step 3", text)
        self.assert_same_run("whole", "default")
        for name in os.listdir("runs/whole/checkpoints"):
            if name.startswith("step"):
                os.truncate("runs/whole/checkpoints/" + name, 2000)
        self.start(65, "--train.epochs 3 --train.name whole",
                   expect="no intact checkpoint here")

    # ---- early stopping

    def check_early_stop(self, name, column, patience):
        """The epoch in which a run must stop, by its losses."""
        best, stale = float("inf"), 0
        for row in self.metrics(name):
            if row["epoch"] != "0" and row[column]:
                value = float(row[column])
                stale = 0 if value < best else stale + 1
                best = min(best, value)
            if stale == patience:
                return int(row["epoch"])
        self.fail(f"{name} does not stop with patience {patience}")

    def test_new_validation_data_reset_patience(self):
        run = "--train.patience 1 --optim.lr 1e-9 --train.epochs 9"
        self.start(0, run, "--data.val=", expect="a lower train_loss than")
        ended = int(self.metrics()[-1]["epoch"])
        self.start(0, run, expect="the count of train.patience are reset")
        self.assertGreaterEqual(int(self.metrics()[-1]["epoch"]), ended + 2)
        best = os.readlink("runs/default/checkpoints/best")
        self.assertNotIn(self.metrics()[ended - 1]["step"], best)

    def test_a_run_stopped_by_patience_resumes_with_more_patience(self):
        run = "--train.epochs 12 --optim.lr 0.02 "
        self.start(0, run, "--train.name whole", ranks=2)
        first, second = (self.check_early_stop("whole", "val_loss", p) for p in (1, 3))
        self.assertLess(0, first)
        self.assertLess(first, second)
        self.assertLess(second, 12)
        expect = "epochs without a lower val_loss than "
        self.start(75, run, "--train.patience 1 --train.stop_at 2")
        text = self.start(0, run, "--train.patience 1", ranks=2, expect=expect)
        self.assertEqual(text.count(expect), 1)
        for _ in range(2):
            self.assertEqual(self.metrics()[-1]["epoch"], str(first))
            for name in "last", "best":
                self.assertTrue(os.path.exists(
                    f"runs/default/weights/{name}.safetensors"))
            self.start(0, run, "--train.patience 1", expect=expect)
        # resumed in two parts, which continue the count
        step = self.metrics("whole")[second]["step"]
        self.start(75, run, "--train.patience 3 --train.stop_at",
                   str(int(step) - 1))
        self.start(0, run, "--train.patience 3", ranks=2, expect=expect)
        self.assertEqual(self.metrics()[-1]["step"], step)
        self.start(78, run, "--train.patience 2", expect="may only grow")
        self.start(0, run, "--train.patience 0", ranks=2)
        self.assert_same_run("whole", "default")
        best = [os.readlink(f"runs/{name}/checkpoints/best")
                for name in ("whole", "default")]
        self.assertEqual(*best)

    def test_patience_counts_validated_epochs_only(self):
        run = "--train.epochs 16 --optim.lr 0.02 --eval.every 2 "
        self.start(0, run, "--train.name whole")
        self.start(0, run, "--train.patience 1", ranks=2)
        self.assertEqual(int(self.metrics()[-1]["epoch"]),
                         self.check_early_stop("whole", "val_loss", 1))
        # without validation data patience uses the training loss
        run = "--train.epochs 16 --optim.lr 0.3 --data.val= "
        self.start(0, run, "--train.name alone")
        self.start(0, run, "--train.patience 1 --train.name alone1", ranks=2,
                   expect="without a lower train_loss than")
        self.assertEqual(int(self.metrics("alone1")[-1]["epoch"]),
                         self.check_early_stop("alone", "train_loss", 1))

    # ---- signals

    def begin(self, ranks, *words):
        """Starts a run in the background; returns after its first step."""
        run = SMALL + NO_END.split() + ["--log.every", "1"]
        path = "runs/default/steps.jsonl"
        before = os.path.getsize(path) if os.path.exists(path) else 0
        p = subprocess.Popen(command(ranks if MPIRUN else 0, run +
                                     " ".join(words).split()),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
        self.addCleanup(lambda: p.poll() is None and p.kill())
        pace.wait_for(lambda: p.poll() is not None or (
            os.path.exists(path) and os.path.getsize(path) > before),
            lambda: "a step in " + path)
        if p.poll() is not None:
            self.fail("no step: " + p.communicate()[0])
        return p

    def stop(self, p, number, code):
        p.send_signal(number)
        text = p.communicate(timeout=pace.limit_s())[0]
        self.assertEqual(p.returncode, code, text)
        return text

    def test_signals_stop_cleanly_and_the_run_resumes(self):
        p = self.begin(2)
        text = self.stop(p, signal.SIGUSR1, 75)
        self.assertNotIn("error", text)
        done = self.steps()[-1]["step"]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            self.stop(self.begin(0), number, 75)
            steps = self.steps()
            self.assertEqual([s["step"] for s in steps],
                             list(range(1, len(steps) + 1)))
            self.assertGreater(len(steps), done)
            done = len(steps)

    def test_a_second_signal_ends_the_process_at_once(self):
        # Suspended, it cannot handle the first signal before the second.
        p = self.begin(0)
        p.send_signal(signal.SIGSTOP)
        p.send_signal(signal.SIGINT)
        p.send_signal(signal.SIGTERM)
        p.send_signal(signal.SIGCONT)
        text = p.communicate(timeout=pace.limit_s())[0]
        self.assertIn(p.returncode, (128 + signal.SIGTERM,
                                     128 + signal.SIGINT), text)
        # USR1 and USR2 together are one request to stop.
        p = self.begin(0)
        p.send_signal(signal.SIGSTOP)
        p.send_signal(signal.SIGUSR1)
        p.send_signal(signal.SIGUSR2)
        p.send_signal(signal.SIGCONT)
        self.assertEqual(p.wait(timeout=pace.limit_s()), 75,
                         p.communicate()[0])

    def test_a_run_in_use_is_refused(self):
        p = self.begin(0)
        self.start(73, expect=f"in use by process {p.pid} on ")
        p.kill()
        p.communicate()
        self.start(75, NO_END, "--train.max_time 0.001")

    def test_max_time_stops_cleanly(self):
        run = NO_END + " --train.max_time 0.005"  # 0.3 s
        done = 0
        for ranks in (2, 1, 0):
            begin = time.monotonic()
            self.start(75, run, ranks=ranks, expect="stopped after step")
            self.assertGreater(time.monotonic() - begin, 0.3)
            self.assertGreater(len(self.steps()), done)
            done = len(self.steps())
        self.assertEqual([s["step"] for s in self.steps()],
                         list(range(1, done + 1)))

    def test_a_second_stage_starts_from_the_best_checkpoint(self):
        self.start(0, "--train.epochs 2")
        best = min(self.metrics()[1:], key=lambda r: float(r["val_loss"]))
        self.start(0, "--model.weights runs/default/weights/best.safetensors",
                   "--model.freeze none --optim.backbone_lr_mult 0.1",
                   "--train.epochs 1 --train.name second",
                   expect="tensors loaded; head included")
        first = self.metrics("second")[0]
        for key in HEADER.split(","):
            if key.startswith("val_"):
                self.assertEqual(first[key], best[key])

    # ---- errors

    def test_missing_data_are_an_error_with_a_remedy(self):
        os.mkdir("empty")
        self.start(66, expect="vocpack pack VOCROOT --split train,val -o data;",
                   folder="empty", ranks=2)
        self.assertEqual(os.listdir("empty"), [])

    def test_images_in_both_data_sets_give_one_warning(self):
        message = "images are in data/train as well"
        text = self.start(0, "--train.steps 1", ranks=2)
        self.assertNotIn(message, text)
        for first, n, shared in ((0, 22, 22), (20, 10, 2)):
            shutil.rmtree("data/val")
            self.shards("data/val", n, first)
            text = self.start(0, "--train.steps 1 --train.name", f"b{first}",
                              ranks=2)
            self.assertEqual(text.count(message), 1, text)
            self.assertIn(
                f"data/val: {shared} of its {n} {message}, such as ", text)
            self.assertIn("--split train,val", text)

    def test_damaged_data_are_refused(self):
        shard = "data/train/shard-00000.h5"
        with open(shard, "rb") as f:
            bytes_ = bytearray(f.read())
        at = bytes_.index(bytes([90 + 7, 90 + 7, 90 + 7]))
        bytes_[at] ^= 255
        with open(shard, "wb") as f:
            f.write(bytes_)
        self.start(65, expect="shard-00000.h5")
        self.assertEqual(os.listdir("runs/default/checkpoints"), [])
        with open(shard, "r+b") as f:
            f.truncate(5000)
        self.start(65, ranks=2, expect="shard-00000.h5")

    def test_invalid_settings_are_rejected(self):
        self.start(78, "--train.replicas 1", ranks=3 if MPIRUN else 0,
                   expect="every rank needs one") if MPIRUN else None
        self.start(78, "--train.global_batch 9", ranks=2,
                   expect="--train.micro_batch 4")
        self.start(78, "--train.global_batch 64", expect="22 training images")
        self.start(69, "--train.precision bf16", expect="fp32 only")

    def test_a_non_finite_loss_is_one_error(self):
        self.start(75, "--train.epochs 2 --train.stop_at 2", ranks=2)
        files = sorted(os.listdir("runs/default/checkpoints"))
        for rank in (0, 1) if MPIRUN else (0,):
            self.start(76, "--train.epochs 2 --checkpoint.every 1", ranks=2,
                       env={"VOCDIST_FAULT": f"step:{rank}:nan:1"},
                       expect=["error: step 3: the loss is not finite",
                               "--optim.lr"])
            self.assertEqual(sorted(os.listdir("runs/default/checkpoints")),
                             files)
        self.start(0, "--train.epochs 2", ranks=2)
        text = self.start(76, "--train.epochs 9 --optim.lr 100 "
                          "--loss.box_scale 1e6 --optim.name sgd "
                          "--train.name wild", ranks=2,
                          expect="error: step ")
        if "the loss is not finite" in text:
            self.assertIn("tiny_", text)
        weights = bytearray(self.weights())
        first = 8 + int.from_bytes(weights[:8], "little")
        header = json.loads(weights[8:first])
        for name, tensor in header.items():  # make the frozen norms overflow
            if re.match(r"(layer.*)?bn\d.weight", name):
                a, b = (first + at for at in tensor["data_offsets"])
                weights[a:b] = struct.pack("<f", 3e38) * ((b - a) // 4)
        with open("huge.safetensors", "wb") as f:
            f.write(weights)
        text = self.start(76, "--model.weights huge.safetensors --model.freeze "
                          "backbone --model.freeze_bn eval --data.val= "
                          "--train.global_batch 20 --train.replicas 1 "
                          "--train.name all", expect="--->")
        self.assertRegex(text, r"(tiny_\d+, ){7}tiny_\d+ and 12 more\n")

    def test_an_error_of_one_rank_ends_the_job(self):
        """The job ends well before the time limits of ranks that wait."""
        begin = time.monotonic()
        self.start(0, "--train.epochs 2 --train.name good", ranks=2)
        end_limit_s = max(END_LIMIT_S, 10 * (time.monotonic() - begin))
        limits = " ".join(f"--timeout.{what} {3 * end_limit_s}"
                          for what in ("setup", "step", "checkpoint"))
        for site in ("step", "checkpoint", "eval", "epoch", "flags"):
            begin = time.monotonic()
            self.start(70, limits, "--train.epochs 2 --train.name", site,
                       ranks=2, env={"VOCDIST_FAULT": f"{site}:0:error:1"},
                       expect="injected fault")
            self.assertLess(time.monotonic() - begin, end_limit_s)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[4:], verbosity=1)
