#!/usr/bin/env bash
#SBATCH --job-name=vocdist-eval
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#
# Evaluates a network on a data set:
#   sbatch [OPTIONS OF SBATCH] slurm/eval.sh [OPTIONS OF vocdist eval]
#   sbatch slurm/eval.sh --checkpoint runs/NAME --data data/val
#   slurm/eval.sh --dry-run [...]       prints the command
# Options of sbatch override the lines above. See docs/slurm.md.

# Slurm runs a copy of this file in its spool folder: find common.sh.
script=eval.sh here=$(dirname "$0")
[ -e "$here/common.sh" ] || here=$(scontrol show job "$SLURM_JOB_ID" |
  sed -n "/^ *Command=/{s|^ *Command=\(.*\)/$script.*|\1|p;q}")
[ -e "$here/common.sh" ] || here=$SLURM_SUBMIT_DIR/slurm
# shellcheck source=common.sh
. "$here/common.sh" || exit 66

prepare vocdist "${VOCDIST:-}" src/cli "$@"
run_and_requeue "${launch[@]}" eval "${options[@]}"
