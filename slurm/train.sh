#!/usr/bin/env bash
#SBATCH --job-name=vocdist-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#
# Trains; the job is requeued and resumed until the run is complete:
#   sbatch [OPTIONS OF SBATCH] slurm/train.sh [OPTIONS OF vocdist train]
#   sbatch --nodes 2 --ntasks-per-node 8 slurm/train.sh -c configs/voc2007.yaml
#   slurm/train.sh --dry-run [...]      prints the command
#   sbatch slurm/train.sh -- --dry-run  the program's own --dry-run, in a job
# Options of sbatch override the lines above. See docs/slurm.md.

# The job fails after so many starts in a row without a new checkpoint.
max_starts=3

# Slurm runs a copy of this file in its spool folder: find common.sh.
script=train.sh here=$(dirname "$0")
[ -e "$here/common.sh" ] || here=$(scontrol show job "$SLURM_JOB_ID" |
  sed -n "/^ *Command=/{s|^ *Command=\(.*\)/$script.*|\1|p;q}")
[ -e "$here/common.sh" ] || here=$SLURM_SUBMIT_DIR/slurm
# shellcheck source=common.sh
. "$here/common.sh" || exit 66

prepare vocdist "${VOCDIST:-}" src/cli "$@"
command=("${launch[@]}" train --resume auto "${options[@]}")
log_start "${command[@]}"

# Invalid options end the job here, with one message, before any rank starts.
config=$("$program" train "${options[@]}" --print-config) || exit
config_value() {
  sed -n "/^train:/,/^[^ t]/s/^  $1: \(.*[^ ]\) *# .*/\1/p" <<<"$config" |
    sed 's/^"\(.*\)"$/\1/; s/\\\(["\\]\)/\1/g'
}
folder=$(config_value dir)/$(config_value name)
last_checkpoint() { readlink "$folder/checkpoints/last"; }

checkpoint_before=$(last_checkpoint)
# A --resume among the options is for the first start: once the run has a
# checkpoint, restarts resume from that.
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -n "$checkpoint_before" ]; then
  command+=(--resume auto)
  print_command "${command[@]}" >&2
fi
run_launcher "${command[@]}"
# Scratch sessions leave no checkpoint to resume from, so they are not requeued.
case " ${options[*]} " in
*' --dry-run'* | *' --overfit-batch'*) exit "$status" ;;
esac

# FOLDER/slurm-lives: the job, and its starts in a row without a new checkpoint
count=0
if [ "$(last_checkpoint)" = "$checkpoint_before" ]; then
  read -r counted_job count 2>/dev/null <"$folder/slurm-lives"
  [ "${counted_job:-}" = "$job" ] || count=0
  count=$((count + 1))
fi
mkdir -p "$folder" && echo "$job $count" >"$folder/slurm-lives"
if [ "$count" -ge "$max_starts" ]; then
  log "$max_starts starts in a row saved no checkpoint: giving up." \
    "Increase sbatch --time, or decrease --checkpoint.every"
  exit 70
fi
requeue
