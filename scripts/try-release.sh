#!/usr/bin/env bash
# Runs scripts/demo.sh and scripts/test.sh of HEAD on a minimal Debian (minbase)
# that debootstrap creates, in a chroot. Needs root and debootstrap.
#   scripts/try-release.sh bookworm|trixie [demo|test|both] [FOLDER]
# Without FOLDER a new system is created and removed at the end. With FOLDER it
# is kept in FOLDER/RELEASE, with its packages, and the next call reuses it;
# remove that folder to start from a new system.
# Environment, passed on: CI, VOCDIST_TEST_DATA, ONEDNN_MAX_CPU_ISA, proxies.
set -euo pipefail
cd "$(dirname "$0")/.."

release=${1:-} folder=${3:-}
case "$#:$release:${2:-both}" in
[123]:bookworm:both | [123]:trixie:both) names=(demo test) ;;
[23]:bookworm:demo | [23]:trixie:demo) names=(demo) ;;
[23]:bookworm:test | [23]:trixie:test) names=(test) ;;
*)
  echo "usage: scripts/try-release.sh bookworm|trixie [demo|test|both] [FOLDER]" >&2
  exit 64
  ;;
esac
if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null; then
  echo "try-release: needs root and debootstrap" >&2
  exit 69
fi
if [ -n "$folder" ]; then
  mkdir -p "$folder"
  folder=$(realpath "$folder")
else
  folder=$(mktemp -d /var/tmp/vocdist-XXXXXX)
  trap 'rm -rf --one-file-system "$folder"' EXIT
fi
root=$folder/$release

# Runs a command in its own mount namespace: its mounts are not visible outside,
# and the kernel removes them when its last process ends.
in_mount_namespace() { unshare --mount --propagation private "$@"; }

# Creates a minbase system with this machine's name resolution and apt settings.
make_system() {
  rm -rf --one-file-system "$root.part"
  if ! in_mount_namespace debootstrap --variant=minbase "$release" "$root.part" \
    >"$root.debootstrap.log" 2>&1; then
    tail "$root.debootstrap.log" >&2
    exit 1
  fi
  cp -L /etc/resolv.conf /etc/hosts "$root.part/etc/"
  apt-config dump 2>/dev/null | grep -iE '^Acquire::(.*Proxy|Check-)' \
    >"$root.part/etc/apt/apt.conf.d/90host" || true
  mv "$root.part" "$root"
}

# Copies the files of HEAD and adds them to a git index: scripts/check.sh lists
# files with git.
copy_tree() {
  rm -rf --one-file-system "$root/vocdist"
  mkdir "$root/vocdist"
  git archive HEAD | tar -x -C "$root/vocdist"
  git -C "$root/vocdist" init -q
  git -C "$root/vocdist" add -A
}

# run_in_chroot ROOT COMMAND...: to be called in an inner shell, through
# in_mount_namespace(), because it mounts file systems below ROOT.
# shellcheck disable=SC2317,SC2329 # the inner shell calls it
run_in_chroot() {
  local root=$1 name
  local variables=(HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}"
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/dev/shm"
  for name in CI ONEDNN_MAX_CPU_ISA http_proxy https_proxy; do
    [ -z "${!name:-}" ] || variables+=("$name=${!name}")
  done
  if [ -n "${VOCDIST_TEST_DATA:-}" ]; then
    mkdir -p "$root/data"
    mount --bind -o ro "$VOCDIST_TEST_DATA" "$root/data"
    variables+=(VOCDIST_TEST_DATA=/data)
  fi
  exec env -i "${variables[@]}" chroot "$root" "${@:2}"
}
export -f run_in_chroot

[ -e "$root" ] || make_system
copy_tree
summary='' status=0
for name in "${names[@]}"; do
  start=$SECONDS verdict=passed log=$root.$name.log
  printf '\n== %s: scripts/%s.sh\n' "$release" "$name"
  # shellcheck disable=SC2016 # expanded by the inner shell
  in_mount_namespace bash -c 'set -e; run_in_chroot "$@"' - "$root" "/vocdist/scripts/$name.sh" 2>&1 |
    tee "$log" || verdict=FAILED status=1
  summary+="$release $name.sh: $verdict, $((SECONDS - start)) s"
  [ "$name" = demo ] || summary+=", $(tail -n 1 "$log")"
  summary+=$'\n'
done
printf '\n%s' "$summary"
exit "$status"
