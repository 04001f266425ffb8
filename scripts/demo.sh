#!/usr/bin/env bash
# Installs the dependencies, builds, generates and packs a small data set,
# trains with two ranks and evaluates. All files are written below this folder
# (build/, demo/, runs/demo/). If interrupted, run it again to resume.
#   scripts/demo.sh
set -euo pipefail
cd "$(dirname "$0")/.."

print_heading() { printf '\n== %s\n' "$*"; }
trap 'print_heading "interrupted: run scripts/demo.sh again to resume"; exit 130' INT

scripts/install-deps.sh
print_heading "build"
mkdir -p build
{ cmake --preset release && cmake --build --preset release; } \
  >build/release.log 2>&1 || {
  cat build/release.log
  exit 1
}
tail -n 1 build/release.log
bin=build/release

mpi=(mpirun -np 2)
[ "$(nproc)" -ge 2 ] || mpi+=(--oversubscribe)
# shellcheck source=scripts/open-mpi.sh
. scripts/open-mpi.sh

if [ ! -e demo/shards/val/pack.json ]; then
  print_heading "generate and pack a data set"
  "$bin/preprocess/vocpack" demo demo/voc
  "$bin/preprocess/vocpack" pack demo/voc --split train,val --size 64 \
    --overwrite -o demo/shards
fi

print_heading "train with two ranks"
"${mpi[@]}" "$bin/src/cli/vocdist" -c configs/demo.yaml

print_heading "evaluate"
"${mpi[@]}" "$bin/src/cli/vocdist" eval --checkpoint runs/demo \
  --data demo/shards/val --picture runs/demo/val.png \
  --per-image runs/demo/val.csv
printf '\nmetrics per epoch   runs/demo/metrics.csv\n'
printf 'results per image   runs/demo/val.csv\n'
printf 'drawn examples      runs/demo/val.png\n'
