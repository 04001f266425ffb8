"""vocdist bench: properties of its results that hold on any machine, idle or
busy; an injected delay appears in the right phase.

    bench.py VOCDIST MAKE_SHARDS SLOW_READ_LIBRARY "MPIRUN -np"

"MPIRUN -np" is "" in a build without MPI.
"""
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
import pace  # noqa: E402
from scratch_case import ScratchCase  # noqa: E402

VOCDIST, MAKE_SHARDS, SLOW_READ = sys.argv[1:4]
MPIRUN = sys.argv[4].split()
SMALL = ("--backend ref --model.width 8 --model.blocks 1,1,1,1 "
         "--train.micro_batch 4 --cpu.threads 1 --data.loader_threads 1 "
         "--eval.batch 4 --log.level warn").split()
CLEANUP_S = 300  # for the shell that removes a scratch folder
DISTRIBUTION = {"median", "min", "q1", "q3", "max", "least_rank", "most_rank"}
PHASES = ["wait", "forward", "backward", "exchange", "update", "other"]
STEPS = {"phases_ms": dict.fromkeys(PHASES + ["stage", "total"], "ms"),
         "processor_ms": "ms", "images_per_s": 0.0,
         "images_per_s_per_rank": 0.0, "wait_share": 0.0,
         "slowest": {"rank": 0, "host": ""}}
SCHEMA = {  # a value of the right type; "ms": a distribution
    "program": "", "steps": 0, "warmup": 0,
    "machine": {"processor": "", "instruction_set": "", "load": 0.0},
    "setup": {"ranks": 0, "hosts": 0, "backend": "", "backend_details": "",
              "exchange": "", "precision": "", "compute_threads": 0,
              "loader_threads": 0, "replicas": 0, "micro_batch": 0,
              "global_batch": 0},
    "network": {"blocks": "", "width": 0, "size": 0, "classes": 0,
                "freeze": "", "parameters": 0, "trained_parameters": 0},
    "data": {"folder": "", "images": 0, "generated": False},
    "step": {"synthetic": STEPS, "shards": STEPS, "peak_memory_bytes": 0,
             "peak_memory_rank": 0, "validation_nets": False},
    "loader": {"threads": 0, "images_per_s": 0.0, "bytes_per_s": 0.0,
               "batch_ms": "ms", "stage_ms": "ms"},
    "exchange": {"bytes": 0, "sent_bytes": 0, "messages": 0,
                 "exchange_ms": "ms", "gb_per_s": 0.0, "step_ms": 0.0,
                 "step_share": 0.0},
    "checkpoint": {"bytes": 0, "stall_ms": "ms", "write_ms": "ms",
                   "write_mb_per_s": 0.0, "read_ms": "ms", "folder": ""},
}


class Bench(ScratchCase):
    make_shards = MAKE_SHARDS
    n_train = 40

    def setUp(self):
        super().setUp()
        os.mkdir("tmp")

    def start(self, words, ranks=0, env=None):
        start = MPIRUN + [str(ranks)] if ranks else []
        tmp = os.path.join(self.folder, "tmp")
        return subprocess.Popen(start + [VOCDIST, "bench", *SMALL,
                                         *words.split()],
                                stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.PIPE,
                                env={**os.environ, "TMPDIR": tmp,
                                     **(env or {})})

    def wait_exit(self, process, code):
        out, err = process.communicate(timeout=pace.limit_s())
        self.assertEqual(process.returncode, code, out + err)
        return out, err

    def bench(self, words, ranks=0, env=None):
        before = self.files()
        out, err = self.wait_exit(self.start(words + " --json", ranks, env), 0)
        self.assertEqual(self.files(), before)
        return json.loads(out)

    def files(self):
        return sorted(os.path.join(folder, name)
                      for folder, folders, names in os.walk(".")
                      if not folder.startswith("./tmp/ompi")
                      for name in folders + names
                      if not name.startswith("ompi"))

    def check_left_nothing(self, before):
        """A shell removes the scratch folder of a job after its end."""
        pace.wait_for(lambda: self.files() == before, self.files, CLEANUP_S)

    def check_schema(self, value, like, where):
        """Structure and types of SCHEMA; numbers are finite and >= 0."""
        if like == "ms":
            like = dict.fromkeys(DISTRIBUTION, 0.0)
            order = [value[k] for k in ("min", "q1", "median", "q3", "max")]
            self.assertEqual(order, sorted(order), where)
            self.assertLessEqual(value["least_rank"], value["median"], where)
            self.assertGreaterEqual(value["most_rank"], value["median"], where)
        self.assertIs(type(value), type(like), where)
        if isinstance(like, dict):
            self.assertEqual(set(value), set(like), where)
            for key in like:
                self.check_schema(value[key], like[key], where + "." + key)
        elif isinstance(like, (int, float)):
            self.assertTrue(math.isfinite(value) and value >= 0, where)

    def check_steps(self, s, setup):
        total = s["phases_ms"]["total"]
        parts = [s["phases_ms"][p] for p in PHASES]
        # in every step the phases add up to total, and other is a small part
        self.assertLessEqual(sum(p["min"] for p in parts),
                             total["min"] * 1.000001)
        self.assertGreaterEqual(sum(p["max"] for p in parts),
                                total["max"] * 0.999999)
        # on a busy machine a step may be interrupted between two phases
        self.assertLess(parts[-1]["min"], 0.05 * total["median"])
        for phase in "forward", "backward", "update", "stage":
            self.assertGreater(s["phases_ms"][phase]["min"], 0, phase)
        self.assertAlmostEqual(s["images_per_s"] * total["median"] / 1e3,
                               setup["global_batch"], places=6)
        self.assertAlmostEqual(s["images_per_s_per_rank"] * setup["ranks"],
                               s["images_per_s"], places=6)
        self.assertLessEqual(s["wait_share"], 1)
        self.assertGreater(s["processor_ms"]["min"], 0)
        self.assertLess(s["slowest"]["rank"], setup["ranks"])

    # ---- results

    def check_all(self, ranks):
        r = self.bench("--steps 3", ranks)
        setup, steps = r["setup"], r["step"]
        self.check_schema(r, SCHEMA, "")
        self.assertEqual((setup["ranks"], setup["replicas"],
                          setup["global_batch"], r["steps"]),
                         (max(ranks, 1), max(ranks, 1), 4 * max(ranks, 1), 3))
        self.assertEqual(r["network"]["size"], 32)
        self.check_steps(steps["synthetic"], setup)
        self.check_steps(steps["shards"], setup)
        self.assertEqual(steps["synthetic"]["wait_share"], 0)
        self.assertTrue(1e6 < steps["peak_memory_bytes"] < 1e9)
        self.assertTrue(steps["validation_nets"])
        loader = r["loader"]
        self.assertGreater(loader["images_per_s"], 0)
        self.assertAlmostEqual(
            loader["bytes_per_s"] / loader["images_per_s"], 32 * 32 * 3)
        c = r["checkpoint"]
        values = 12 * r["network"]["parameters"]
        self.assertTrue(values < c["bytes"] < 1.5 * values + 1e5, c)
        for key in "stall_ms", "write_ms", "read_ms":
            self.assertGreater(c[key]["min"], 0, key)
        return r["exchange"]

    def test_one_rank_exchanges_nothing(self):
        x = self.check_all(0)
        self.assertEqual((x["sent_bytes"], x["messages"], x["step_share"]),
                         (0, 0, 0))

    @unittest.skipUnless(MPIRUN, "one rank only")
    def test_two_ranks_exchange_the_whole_buffer(self):
        x = self.check_all(2)
        self.assertEqual(x["sent_bytes"], x["bytes"] // 2 * 2)
        self.assertGreater(x["messages"], 1)
        self.assertGreater(x["exchange_ms"]["min"], 0)
        self.assertAlmostEqual(
            x["sent_bytes"] / x["exchange_ms"]["median"] / 1e6, x["gb_per_s"])
        self.assertAlmostEqual(
            x["exchange_ms"]["median"] / x["step_ms"], x["step_share"])

    def test_only_the_requested_parts_are_measured(self):
        r = self.bench("checkpoint --data.val=")
        self.assertEqual(set(r) & {"step", "loader", "exchange", "checkpoint"},
                         {"checkpoint"})

    def test_text_output_matches_json(self):
        out, _ = self.wait_exit(self.start("--steps 1"), 0)
        for part in ("backend ref", "1 on 1 host", "step, from memory",
                     "step, from shards", "images/s", "slowest rank 0",
                     "peak memory", "loader", "checkpoint", "MB/s"):
            self.assertIn(part, out)

    def test_without_shards_images_are_synthetic(self):
        shutil.rmtree("data")
        r = self.bench("checkpoint")
        self.assertEqual(r["data"], {"folder": "", "images": 256,
                                     "generated": True})
        self.assertEqual(r["network"]["classes"], 20)

    # ---- injected delays

    def slow_ms(self, ranks=0):
        """Delay per image, so that reading the 4 images of a step takes 10
        times as long as computing it, also on a slow or busy machine."""
        step = self.bench("step --steps 2", ranks)["step"]["synthetic"]
        return max(300, round(10 / 4 * step["phases_ms"]["total"]["max"]))

    def slow(self, ms, **env):
        """Environment in which reading an image takes `ms` longer."""
        return {"LD_PRELOAD": SLOW_READ, "SLOW_READ_MS": str(ms),
                "SLOW_READ_BYTES": str(32 * 32 * 3), **env}

    def test_a_slow_disk_is_a_wait_for_data(self):
        ms = self.slow_ms()
        s = self.bench("step --steps 3", env=self.slow(ms))["step"]
        self.assertGreater(s["shards"]["wait_share"], 0.5)
        # 0.75: a loader reads ahead while a busy machine delays a step.
        least = 0.75 * 4 * ms
        self.assertGreater(s["shards"]["phases_ms"]["total"]["median"], least)
        self.assertEqual(s["synthetic"]["wait_share"], 0)
        self.assertLess(s["synthetic"]["phases_ms"]["total"]["median"], least)

    def test_a_slow_disk_limits_the_loader(self):
        r = self.bench("loader --steps 2", env=self.slow(5))["loader"]
        self.assertLess(r["images_per_s"], 200)
        self.assertGreater(r["batch_ms"]["min"], 20)

    @unittest.skipUnless(MPIRUN, "one rank only")
    def test_the_slow_rank_is_named(self):
        env = self.slow(self.slow_ms(2), SLOW_READ_RANK="1")
        s = self.bench("step --steps 3", 2, env)["step"]["shards"]
        self.assertEqual(s["slowest"]["rank"], 1)
        # the other rank waits for it in the exchange
        exchange = s["phases_ms"]["exchange"]
        self.assertLess(exchange["median"], exchange["most_rank"])

    # ---- errors and stops

    def test_bad_arguments_and_missing_data_are_errors(self):
        for words, code, message in (("steps", 64, "give step, loader"),
                                  ("step --steps 0", 64, "steps"),
                                  ("--data.train none", 66, "none: no such")):
            before = self.files()
            _, err = self.wait_exit(self.start(words), code)
            self.assertIn(message, err)
            self.assertEqual(self.files(), before)

    def test_a_stopped_or_failed_bench_leaves_no_files(self):
        before = self.files()
        p = self.start("step --steps 100000 --log.level info")
        while "from shards" not in p.stderr.readline():
            self.assertIsNone(p.poll())
        p.send_signal(signal.SIGUSR1)
        self.wait_exit(p, 75)
        self.assertEqual(self.files(), before)
        fault = {"VOCDIST_FAULT": "step:0:error:2"}
        self.wait_exit(self.start("step --steps 2", env=fault), 70)
        self.check_left_nothing(before)
        shutil.rmtree("data")
        before = self.files()
        fault = {"VOCDIST_FAULT": "model:0:kill"}
        p = self.start("step --steps 2", env=fault)
        self.wait_exit(p, -signal.SIGKILL)
        self.check_left_nothing(before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
