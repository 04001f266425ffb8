#!/usr/bin/env bash
# Installs the dependencies, builds and runs the tests.
#   scripts/test.sh            the tests that every change must pass
#   scripts/test.sh --full     also the campaigns (label slow)
# Environment: VOCDIST_TEST_DATA, a folder with real VOC data and weights (tests
# that need it are skipped without it); with CI=true all other skips are
# failures.
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

print_heading() { printf '\n== %s\n' "$*"; }

build_preset() {
  print_heading "build: $1"
  { cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs"; } \
    >"build/$1.log" 2>&1 || {
    cat "build/$1.log"
    exit 1
  }
  tail -n 1 "build/$1.log"
}

# run_tests PRESET CTEST-ARGUMENTS...: results go to build/PRESET/results.xml
run_tests() {
  local preset=$1
  shift
  print_heading "tests: $preset"
  ctest --preset "$preset" -j "$jobs" "$@" \
    --output-junit "$PWD/build/$preset/results.xml" || true
}

mkdir -p build
rm -f build/*/results.xml
print_heading "style"
scripts/check.sh
build_preset dev
run_tests dev -LE "$exclude"
build_preset asan
run_tests asan -L 'unit|backend|mpi' -LE "nosan|$exclude"

print_heading "summary"
strict=()
[ "${CI:-}" != true ] || strict=(--strict)
/usr/bin/python3 tests/tools/summarize_junit.py "${strict[@]}" \
  build/{dev,asan}/results.xml
