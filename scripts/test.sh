#!/usr/bin/env bash
# Installs what is needed, builds, and runs the tests.
#   scripts/test.sh            what every change must pass
#   scripts/test.sh --full     also the campaigns (label slow)
# Environment: VOCDIST_TEST_DATA, a folder with real VOC data and weights
# (tests that need it are skipped without it); CI=true forbids other skips.
set -euo pipefail
cd "$(dirname "$0")/.."

exclude=slow
case "${1:-}" in
'') ;;
--full) exclude='^$' ;;
*)
  echo "usage: scripts/test.sh [--full]" >&2
  exit 64
  ;;
esac

scripts/install-deps.sh --test
jobs=$(nproc)
# shellcheck source=scripts/open-mpi.sh
. scripts/open-mpi.sh

say() { printf '\n== %s\n' "$*"; }

build() {
  say "build: $1"
  { cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs"; } \
    >"build/$1.log" 2>&1 || {
    cat "build/$1.log"
    exit 1
  }
  tail -n 1 "build/$1.log"
}

# run PRESET CTEST-ARGUMENTS...: results go to build/PRESET/results.xml
run() {
  local preset=$1
  shift
  say "tests: $preset"
  ctest --preset "$preset" -j "$jobs" "$@" \
    --output-junit "$PWD/build/$preset/results.xml" || true
}

mkdir -p build
rm -f build/*/results.xml
say "style"
scripts/check.sh
build dev
run dev -LE "$exclude"
build asan
run asan -L 'unit|backend|mpi' -LE "nosan|$exclude"

say "sum"
strict=()
[ "${CI:-}" != true ] || strict=(--strict)
/usr/bin/python3 tests/tools/tally.py "${strict[@]}" \
  build/{dev,asan}/results.xml
