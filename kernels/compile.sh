#!/bin/sh
# compile.sh REPORT NVCC ARGUMENTS...: runs nvcc, writes its messages to REPORT,
# and prints them if it fails.
report=$1
shift
"$@" >"$report" 2>&1 || {
  status=$?
  cat "$report" >&2
  exit "$status"
}
