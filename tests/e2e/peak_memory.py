"""Validation must not raise the peak memory of a training run: its networks
need less memory than the training network releases in the meantime.

    peak_memory.py VOCDIST MAKE_SHARDS
"""
import os
import subprocess
import sys
import tempfile

VOCDIST, MAKE_SHARDS = sys.argv[1:3]
TRAIN = ("--backend cpu --model.blocks 1,1,1,1 --train.global_batch 64 "
         "--train.replicas 1 --eval.batch 64 --cpu.threads 2 "
         "--train.epochs 1 --log.level error").split()


def peak_mb(name, *words):
    """Peak memory of a whole run, with its start and its checkpoint."""
    p = subprocess.Popen([VOCDIST, *TRAIN, "--train.name", name, *words])
    _, status, usage = os.wait4(p.pid, 0)
    if status != 0:
        sys.exit(f"{name}: wait status {status}")
    return usage.ru_maxrss / 1024


def main():
    with tempfile.TemporaryDirectory(prefix="vocdist-memory-") as folder:
        os.chdir(folder)
        for name, n, first in ("train", 128, 0), ("val", 128, 500):
            subprocess.run([MAKE_SHARDS, "data/" + name, str(n), "64",
                            str(first)], check=True)
        without = peak_mb("without", "--data.val=")
        with_val = peak_mb("with")
        print(f"peak {without:.0f} MiB without, {with_val:.0f} MiB with "
              "validation")
        if not with_val <= 1.05 * without:
            sys.exit("validation raises the peak memory")


main()
