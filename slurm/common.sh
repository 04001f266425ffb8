# shellcheck shell=bash
# What train.sh, eval.sh and pack.sh share. They source it and have set:
: "${script:?}" # its name
: "${here:?}"   # its folder

# ---- for your site: modules, and what its network needs ----------------------
# module load openmpi hdf5
# export OMPI_MCA_btl_tcp_if_include=ib0
# export OMPI_MCA_btl_tcp_disable_family=6   # Open MPI 5.0, see docs/slurm.md
# ---- end ---------------------------------------------------------------------

set -uo pipefail

# Slurm's name of this job, which scontrol takes. The tasks of an array are
# jobs of their own, but the number of one of them is that of the whole array:
# it would end or requeue all tasks.
job=${SLURM_JOB_ID:-}
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] ||
  job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

log() { printf '%s: %s\n' "$script" "$*" >&2; }

# A command as it can be typed.
print_command() {
  local line
  printf -v line ' %q' "$@"
  printf '%s\n' "${line# }"
}

# take_options ARGUMENTS...: those for the program, in the array `options`.
# --dry-run is the script's own, unless it comes after "--".
take_options() {
  dry_run=false options=()
  while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry_run=true ;;
    --)
      options+=("${@:2}")
      break
      ;;
    *) options+=("$1") ;;
    esac
    shift
  done
}

# find_program NAME FILE FOLDER: the path `program`: FILE if there is one, or
# NAME in PATH, or that of a build in FOLDER of the checkout.
find_program() {
  local root
  program=${2:-$(command -v "$1")}
  for root in "$here/.." "${SLURM_SUBMIT_DIR:-.}"; do
    [ -n "$program" ] || [ ! -x "$root/build/release/$3/$1" ] ||
      program=$(cd "$root/build/release/$3" && pwd)/$1
  done
  [ -z "$program" ] || return 0
  log "no $1: put it in PATH, or set ${1^^} to its file, or build preset" \
    "release in the checkout (docs/install.md)"
  "$dry_run" || exit 69
  program=$1
}

# The array `launch`. VOCDIST_LAUNCHER (srun, mpirun) overrides the choice.
choose_launcher() {
  local name=${VOCDIST_LAUNCHER:-}
  if [ -z "$name" ]; then
    name=mpirun
    [[ $(srun --mpi=list 2>&1) != *pmix* ]] || name=srun
  fi
  case $name in
  # srun reaches every rank with every signal.
  srun) launch=(srun --mpi=pmix --kill-on-bad-exit=1) ;;
  # Without keepalive mpirun takes minutes to see that a node is cut off, and
  # it would bind each rank to one core whatever --cpus-per-task says.
  mpirun)
    launch=(mpirun --bind-to none --mca oob_tcp_keepalive_time 3
      --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3)
    ;;
  *)
    log "VOCDIST_LAUNCHER=$name: srun or mpirun"
    exit 64
    ;;
  esac
  # Slurm 22.05 and later do not hand --cpus-per-task on to srun.
  export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
}

# prepare NAME FILE FOLDER ARGUMENTS...: `options`, and `launch` with the program.
prepare() {
  take_options "${@:4}"
  find_program "$1" "$2" "$3"
  choose_launcher
  launch+=("$program")
}

# log_start COMMAND...: with --dry-run this is the end, else it needs a job.
log_start() {
  if "$dry_run"; then
    print_command export "SRUN_CPUS_PER_TASK=$SRUN_CPUS_PER_TASK"
    print_command "$@"
    exit 0
  fi
  if [ -z "$job" ]; then
    log "not in a Slurm job: submit it (sbatch slurm/$script ...), or see what" \
      "would run (slurm/$script --dry-run ...)"
    exit 64
  fi
  log "$(date '+%F %T') job $job, restart ${SLURM_RESTART_COUNT:-0}," \
    "${SLURM_NTASKS:-1} ranks on ${SLURM_JOB_NODELIST:-?} by ${launch[0]}"
  print_command "$@" >&2
}

# run_and_requeue COMMAND...: of a job that is queued again when it was stopped,
# and starts from the beginning.
run_and_requeue() {
  log_start "$@"
  run_launcher "$@"
  requeue
}

# ---- running, and running again ----------------------------------------------

launcher_pid=''       # process id of srun or mpirun
stop_requested=false    # to stop
interrupted=false
status=75

# What both launchers do with USR1 and USR2, too: hand them on to every rank.
forward_signal() {
  interrupted=true stop_requested=true
  [ -z "$launcher_pid" ] || kill -s "$1" "$launcher_pid" 2>/dev/null
}

# run_launcher COMMAND...: returns when it was stopped, to be run again; else it ends
# the script with the command's exit code.
run_launcher() {
  trap 'forward_signal USR1' USR1
  trap 'forward_signal USR2' USR2
  # Slurm has sent it to srun and the ranks as well; handed on, it would be a
  # second one, which ends them before they have saved.
  trap 'interrupted=true stop_requested=true' TERM
  if ! "$stop_requested"; then
    "$@" &
    launcher_pid=$!
    ! "$stop_requested" || forward_signal USR1
    while
      interrupted=false
      wait "$launcher_pid"
      status=$?
      "$interrupted"
    do :; done
  fi
  [ "$status" -ne 75 ] || return 0
  # mpirun of Open MPI 5 ends with 0 or 1 after TERM, whatever its ranks did. A
  # run that was done after all has nothing left to do.
  if [ "${launch[0]}" = mpirun ] && [ "$status" -le 1 ]; then
    job_matches 'PreemptTime=[0-9]' || exit "$status"
    return 0
  fi
  # Ended by a signal before it could save, or, below mpirun, with no chance to.
  [ "$status" -gt 128 ] || exit "$status"
  "$stop_requested" || job_matches 'PreemptTime=[0-9]' || exit "$status"
}

# job_matches REGEX: about this job.
job_matches() { [[ $(scontrol show job "$job" 2>&1) =~ $1 ]]; }

# Does Slurm itself requeue this job? From 24.05 on it does so with a preempted
# job that ends within its grace time. `scontrol requeue` would not replace that
# but be followed by it: the job would run once more after it is done.
slurm_requeues() {
  local site
  job_matches 'PreemptTime=[0-9]' && job_matches 'Requeue=1' || return 1
  site=$(scontrol show config)
  [[ $site =~ SLURM_VERSION\ *=\ *([0-9]+)\.0*([0-9]+) ]] || return 1
  [ $((BASH_REMATCH[1] * 100 + BASH_REMATCH[2])) -ge 2405 ] || return 1
  # With other plugins this cannot be told from here.
  [[ $site = *preempt/partition_prio* ]] || return 1
  site=$(scontrol show partition "${SLURM_JOB_PARTITION:-}")
  [[ $site = *PreemptMode=REQUEUE* && $site != *GraceTime=0\ * ]]
}

# Queues the job again and ends this start, with the exit code for "stopped".
requeue() {
  # What scancel has ended would come back.
  if job_matches 'JobState=' && ! job_matches 'JobState=RUNNING'; then
    log "stopped (exit code $status); Slurm is ending the job"
  elif slurm_requeues; then
    log "stopped (exit code $status), queued again by Slurm"
  elif scontrol requeue "$job"; then
    log "stopped (exit code $status), queued again"
  else
    log "stopped (exit code $status), not queued again: submit it to go on"
  fi
  exit 75
}
