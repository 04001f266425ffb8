#!/usr/bin/env bash
# Installs the packages for building and running on Debian or Ubuntu, with
# --test also those for the tests. Does nothing if all of them are installed.
#   scripts/install-deps.sh [--test]
set -euo pipefail

build="build-essential cmake ninja-build libopenmpi-dev openmpi-bin
  libhdf5-dev libdnnl-dev libxml2-dev libjpeg-dev libpng-dev libexif-dev
  libcairo2-dev libyaml-dev libjansson-dev libxxhash-dev librandom123-dev"
test="git clang-format libcmocka-dev munge python3 python3-numpy python3-pil
  python3-h5py python3-torch python3-torchvision python3-yaml shellcheck
  slurm-client slurmctld slurmd strace universal-ctags"

packages=$build
case "${1:-}" in
'') ;;
--test) packages="$packages $test" ;;
*)
  echo "usage: scripts/install-deps.sh [--test]" >&2
  exit 64
  ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "install-deps: not a Debian or Ubuntu system; install these packages:" >&2
  echo "$packages" >&2
  exit 69
fi
missing=()
for p in $packages; do
  state=$(dpkg-query -W -f='${Status}' "$p" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: run as root: apt-get install ${missing[*]}" >&2
    exit 69
  fi
  sudo=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
