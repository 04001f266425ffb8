#!/usr/bin/env bash
# Checks the rules of CONTRIBUTING.md that a program can check: layout, lengths,
# structure (check_structure.py), one place per third-party header, banned calls.
# Prints each violation and fails; prints nothing if there are none.
set -euo pipefail
cd "$(dirname "$0")/.."

fail=0
report_violation() {
  echo "check: $*" >&2
  fail=1
}

mapfile -t sources < <(git ls-files -co --exclude-standard \
  'src/*.[ch]' 'preprocess/*.[ch]' 'tools/*.[ch]' 'kernels/*.[ch]' 'kernels/*.cu' \
  'tests/*.[ch]')
mapfile -t code < <(printf '%s\n' "${sources[@]}" | grep -v '^tests/')

# Layout, by one version of clang-format: versions differ in some lines.
version=14 formatter=''
for name in "clang-format-$version" clang-format; do
  [[ $("$name" --version 2>/dev/null) != *" version $version."* ]] ||
    formatter=$name
done
if [ -n "$formatter" ]; then
  "$formatter" --dry-run -Werror "${sources[@]}" ||
    report_violation "run $formatter -i"
else
  echo "check: no clang-format $version: layout is not checked"
fi

# Lengths: functions up to 80 lines, files up to 600.
while read -r lines file; do
  [ "$lines" -le 600 ] || report_violation "$file: $lines lines, 600 at most"
done < <(wc -l "${code[@]}" | grep -v ' total$')
while IFS=$'\t' read -r name file length; do
  report_violation "$file: function $name has $length lines, 80 at most"
done < <(ctags -f - --kinds-C=f --fields=+ne --languages=C --map-C=+.cu "${code[@]}" |
  awk -F'\t' '{ l = e = 0
    for (i = 4; i <= NF; i++) {
      if ($i ~ /^line:/) l = substr($i, 6)
      if ($i ~ /^end:/) e = substr($i, 5) }
    if (e - l + 1 > 80) print $1 "\t" $2 "\t" e - l + 1 }')

# Order of the modules, dependency cycles, headers and their sources, head
# comments, banned words.
python3 scripts/check_structure.py "${code[@]}" >&2 || fail=1

# Each third-party header is included in one place only.
allow_header_in() { # header regex, allowed path regex
  grep -lE "^#include <($1)" "${code[@]}" | grep -vE "^($2)" |
    while read -r file; do echo "$file includes <$1>, allowed in $2"; done
}
while read -r line; do
  [ -z "$line" ] || report_violation "$line"
done < <(
  allow_header_in 'mpi\.h' 'src/comm/|src/exchange/exchange_mpi\.c'
  allow_header_in 'hdf5' 'src/store/h5_internal\.h'
  allow_header_in 'jansson' 'src/store/json\.c'
  allow_header_in 'libxml/' 'preprocess/annotation\.c'
  allow_header_in '(oneapi/dnnl/)?dnnl' 'src/backend/cpu/'
  allow_header_in 'cuda|cudnn|nccl' 'src/backend/cuda/|kernels/'
  allow_header_in 'cairo' 'src/image/draw\.c'
  allow_header_in 'jpeglib' 'src/image/'
  allow_header_in 'png' 'src/image/'
  allow_header_in 'libexif/' 'src/image/'
  allow_header_in 'yaml' 'src/config/'
  allow_header_in 'xxhash' 'src/base/hash\.c'
  allow_header_in 'Random123/' 'src/base/rng\.c|kernels/'
)

# No #ifdef for a device or MPI outside the two registries; no exit(), abort()
# or printf() outside the few files that may call them.
grep -nE '^#if.*(CUDA|MPI|ONEDNN)' "${code[@]}" |
  grep -vE '^src/(backend/backend_registry|exchange/exchange)\.c|#ifndef [A-Z_]+_H$' &&
  report_violation "#ifdef for a part: let CMake pick files"
grep -nE '\b(exit|_exit|abort|assert|printf)\(' "${code[@]}" |
  grep -vE '^(src/base/(err|log|fault|memory|watchdog)\.c|src/train/stop\.c|src/comm/|src/cli/|preprocess/main\.c)' |
  grep -vE '^[^:]*:[0-9]+: *(\*|//|/\*)' &&
  report_violation "ending or printing outside err.c, log.c, comm, cli and main"

# Shell scripts.
mapfile -t scripts < <(git ls-files -co --exclude-standard '*.sh' '.ci/run')
shellcheck "${scripts[@]}" || report_violation "shellcheck"

exit "$fail"
