#!/usr/bin/env bash
#SBATCH --job-name=vocdist-pack
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#
# Packs VOC folders into shards:
#   sbatch [OPTIONS OF SBATCH] slurm/pack.sh [OPTIONS OF vocpack pack]
#   sbatch slurm/pack.sh VOCROOT --split train,val -o data
#   slurm/pack.sh --dry-run [...]       prints the command
# Options of sbatch override the lines above. See docs/slurm.md.

# Slurm runs a copy of this file in its spool folder: find common.sh.
script=pack.sh here=$(dirname "$0")
[ -e "$here/common.sh" ] || here=$(scontrol show job "$SLURM_JOB_ID" |
  sed -n "/^ *Command=/{s|^ *Command=\(.*\)/$script.*|\1|p;q}")
[ -e "$here/common.sh" ] || here=$SLURM_SUBMIT_DIR/slurm
# shellcheck source=common.sh
. "$here/common.sh" || exit 66

prepare vocpack "${VOCPACK:-}" preprocess "$@"
run_and_requeue "${launch[@]}" pack "${options[@]}"
