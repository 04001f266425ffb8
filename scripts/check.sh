#!/usr/bin/env bash
# The mechanical part of the style guide (CONTRIBUTING.md): layout, lengths,
# the order of the rooms, one place per third-party header, banned calls.
# Prints what breaks a rule and fails; silence is good.
set -euo pipefail
cd "$(dirname "$0")/.."

fail=0
complain() {
  echo "check: $*" >&2
  fail=1
}

mapfile -t sources < <(git ls-files -co --exclude-standard \
  'src/*.[ch]' 'preprocess/*.[ch]' 'kernels/*.[ch]' 'tests/*.[ch]')
mapfile -t code < <(printf '%s\n' "${sources[@]}" | grep -v '^tests/')

# Layout, by one version of clang-format: others lay out some lines otherwise.
version=14 formatter=''
for name in "clang-format-$version" clang-format; do
  [[ $("$name" --version 2>/dev/null) != *" version $version."* ]] ||
    formatter=$name
done
if [ -n "$formatter" ]; then
  "$formatter" --dry-run -Werror "${sources[@]}" ||
    complain "run $formatter -i"
else
  echo "check: no clang-format $version: layout is not checked"
fi

# Lengths: functions up to 80 lines, files up to 600.
while read -r lines file; do
  [ "$lines" -le 600 ] || complain "$file: $lines lines, 600 at most"
done < <(wc -l "${code[@]}" | grep -v ' total$')
while IFS=$'\t' read -r name file length; do
  complain "$file: function $name has $length lines, 80 at most"
done < <(ctags -f - --kinds-C=f --fields=+ne --languages=C "${code[@]}" |
  awk -F'\t' '{ l = e = 0
    for (i = 4; i <= NF; i++) {
      if ($i ~ /^line:/) l = substr($i, 6)
      if ($i ~ /^end:/) e = substr($i, 5) }
    if (e - l + 1 > 80) print $1 "\t" $2 "\t" e - l + 1 }')

# A room uses rooms above it in this list, never below.
rooms=(base config comm store image data model backend exchange eval report
  train bench cli)
rank() {
  for i in "${!rooms[@]}"; do
    [ "${rooms[$i]}" != "$1" ] || { echo "$i"; return; }
  done
  echo 99
}
while IFS=: read -r file include; do
  from=$(echo "$file" | cut -d/ -f2)
  to=$(echo "$include" | sed 's/.*"\(.*\)\/.*".*/\1/')
  # the plugin's and the oracle's folders below backend/ are part of it
  to=${to%%/*}
  if [ "$(rank "$to")" -gt "$(rank "$from")" ]; then
    complain "$file: room $from may not use room $to"
  fi
done < <(grep -HoE '^#include "[a-z]+/[^"]*"' "${code[@]}" | grep '^src/')

# One third-party header, one place.
place() { # header regex, allowed path regex
  grep -lE "^#include <($1)" "${code[@]}" | grep -vE "^($2)" |
    while read -r file; do echo "$file includes <$1>, allowed in $2"; done
}
while read -r line; do
  [ -z "$line" ] || complain "$line"
done < <(
  place 'mpi\.h' 'src/comm/|src/exchange/exchange_mpi\.c'
  place 'hdf5' 'src/store/h5_private\.h'
  place 'jansson' 'src/store/json\.c'
  place 'libxml/' 'preprocess/annotation\.c'
  place '(oneapi/dnnl/)?dnnl' 'src/backend/cpu/'
  place 'cuda|cudnn|nccl' 'src/backend/cuda/|kernels/'
  place 'cairo' 'src/image/draw\.c'
  place 'jpeglib' 'src/image/'
  place 'png' 'src/image/'
  place 'libexif/' 'src/image/'
  place 'yaml' 'src/config/'
  place 'xxhash' 'src/base/hash\.c'
  place 'Random123/' 'src/base/rng\.c|kernels/'
)

# No ifdef for a device or MPI outside the two registries, no exit outside
# the few files that may end the process.
grep -nE '^#if.*(CUDA|MPI|ONEDNN)' "${code[@]}" |
  grep -vE '^src/(backend/backend|exchange/exchange)\.c|#ifndef [A-Z_]+_H$' &&
  complain "#ifdef for a part: let CMake pick files"
grep -nE '\b(exit|_exit|abort|assert|printf)\(' "${code[@]}" |
  grep -vE '^(src/base/(err|log|fault|memory|watchdog)\.c|src/train/stop\.c|src/comm/|src/cli/|preprocess/main\.c)' |
  grep -vE '^[^:]*:[0-9]+: *(\*|//|/\*)' &&
  complain "ending or printing outside err.c, log.c, comm, cli and main"

# Shell scripts.
mapfile -t scripts < <(git ls-files -co --exclude-standard '*.sh' '.ci/run')
shellcheck "${scripts[@]}" || complain "shellcheck"

exit "$fail"
