# shellcheck shell=bash
# Functions of train.sh, eval.sh and pack.sh, which set these and source it:
: "${script:?}" # file name of the script
: "${here:?}"   # folder of the script

# ---- for your site: modules and network settings -----------------------------
# module load openmpi hdf5
# export OMPI_MCA_btl_tcp_if_include=ib0
# export OMPI_MCA_btl_tcp_disable_family=6   # Open MPI 5.0, see docs/slurm.md
# ---- end ---------------------------------------------------------------------

set -uo pipefail

# The job id for scontrol. An array task is ARRAY_TASK: the SLURM_JOB_ID of one
# of the tasks is also the id of the whole array, and scontrol would end or
# requeue all tasks.
job=${SLURM_JOB_ID:-}
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] ||
  job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

log() { printf '%s: %s\n' "$script" "$*" >&2; }

# Prints a command with quotes, so that it can be pasted into a shell.
print_command() {
  local line
  printf -v line ' %q' "$@"
  printf '%s\n' "${line# }"
}

# take_options ARGUMENTS...: sets the array `options`, for the program.
# --dry-run is an option of the script before "--" and of the program after it.
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

# find_program NAME FILE FOLDER: sets `program` to FILE if it is not empty, else
# to NAME in PATH, else to NAME in FOLDER of the checkout's release build.
find_program() {
  local root
  program=${2:-$(command -v "$1")}
  for root in "$here/.." "${SLURM_SUBMIT_DIR:-.}"; do
    [ -n "$program" ] || [ ! -x "$root/build/release/$3/$1" ] ||
      program=$(cd "$root/build/release/$3" && pwd)/$1
  done
  [ -z "$program" ] || return 0
  log "$1 not found: put it in PATH, set ${1^^} to its path, or build preset" \
    "release in the checkout (docs/install.md)"
  "$dry_run" || exit 69
  program=$1
}

# Sets the array `launch`: srun if it supports pmix, else mpirun.
# VOCDIST_LAUNCHER (srun, mpirun) overrides the choice.
choose_launcher() {
  local name=${VOCDIST_LAUNCHER:-}
  if [ -z "$name" ]; then
    name=mpirun
    [[ $(srun --mpi=list 2>&1) != *pmix* ]] || name=srun
  fi
  case $name in
  # srun forwards every signal to all ranks.
  srun) launch=(srun --mpi=pmix --kill-on-bad-exit=1) ;;
  # Without keepalive mpirun takes minutes to detect a lost node. Without
  # --bind-to none it binds each rank to one core and ignores --cpus-per-task.
  mpirun)
    launch=(mpirun --bind-to none --mca oob_tcp_keepalive_time 3
      --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3)
    ;;
  *)
    log "VOCDIST_LAUNCHER=$name: must be srun or mpirun"
    exit 64
    ;;
  esac
  # From 22.05 on srun does not inherit the job's --cpus-per-task.
  export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
}

# prepare NAME FILE FOLDER ARGUMENTS...: sets `options`, and appends the program
# to `launch`.
prepare() {
  take_options "${@:4}"
  find_program "$1" "$2" "$3"
  choose_launcher
  launch+=("$program")
}

# log_start COMMAND...: logs the start of the job. With --dry-run it prints the
# command and exits; outside a job it fails.
log_start() {
  if "$dry_run"; then
    print_command export "SRUN_CPUS_PER_TASK=$SRUN_CPUS_PER_TASK"
    print_command "$@"
    exit 0
  fi
  if [ -z "$job" ]; then
    log "not in a Slurm job: submit it with 'sbatch slurm/$script ...', or print" \
      "the command with 'slurm/$script --dry-run ...'"
    exit 64
  fi
  log "$(date '+%F %T') job $job, restart ${SLURM_RESTART_COUNT:-0}," \
    "${SLURM_NTASKS:-1} ranks on ${SLURM_JOB_NODELIST:-?} by ${launch[0]}"
  print_command "$@" >&2
}

# run_and_requeue COMMAND...: for a job without checkpoints: if it is stopped,
# it is requeued and starts from the beginning.
run_and_requeue() {
  log_start "$@"
  run_launcher "$@"
  requeue
}

# ---- run and requeue ---------------------------------------------------------

launcher_pid=''       # process id of srun or mpirun
stop_requested=false  # a signal to stop has arrived
interrupted=false
status=75

# Forwards USR1 or USR2 to the launcher, which forwards it to every rank.
forward_signal() {
  interrupted=true stop_requested=true
  [ -z "$launcher_pid" ] || kill -s "$1" "$launcher_pid" 2>/dev/null
}

# run_launcher COMMAND...: returns if the command was stopped and must run
# again; otherwise exits with the command's exit code.
run_launcher() {
  trap 'forward_signal USR1' USR1
  trap 'forward_signal USR2' USR2
  # Slurm sends TERM to srun and the ranks as well. Forwarding it would be a
  # second signal, which ends the ranks before they have saved.
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
  # mpirun of Open MPI 5 exits with 0 or 1 after TERM, whatever its ranks
  # return. If the run was complete, the restart has nothing to do.
  if [ "${launch[0]}" = mpirun ] && [ "$status" -le 1 ]; then
    job_matches 'PreemptTime=[0-9]' || exit "$status"
    return 0
  fi
  # Killed by a signal before it saved; under mpirun, TERM kills the ranks.
  [ "$status" -gt 128 ] || exit "$status"
  "$stop_requested" || job_matches 'PreemptTime=[0-9]' || exit "$status"
}

# job_matches REGEX: does scontrol's description of this job match?
job_matches() { [[ $(scontrol show job "$job" 2>&1) =~ $1 ]]; }

# Does Slurm requeue this job itself? From 24.05 on it requeues a preempted job
# that ends within its grace time. An additional `scontrol requeue` would make
# the job run once more after it is complete.
slurm_requeues() {
  local site
  job_matches 'PreemptTime=[0-9]' && job_matches 'Requeue=1' || return 1
  site=$(scontrol show config)
  [[ $site =~ SLURM_VERSION\ *=\ *([0-9]+)\.0*([0-9]+) ]] || return 1
  [ $((BASH_REMATCH[1] * 100 + BASH_REMATCH[2])) -ge 2405 ] || return 1
  # With other preemption plugins the script cannot know.
  [[ $site = *preempt/partition_prio* ]] || return 1
  site=$(scontrol show partition "${SLURM_JOB_PARTITION:-}")
  [[ $site = *PreemptMode=REQUEUE* && $site != *GraceTime=0\ * ]]
}

# Requeues the job and exits with the exit code for "stopped".
requeue() {
  # A job that scancel is ending must not come back. SIGNALING is a running job
  # to which Slurm sends CONT, as it does before TERM when it preempts.
  if job_matches 'JobState=' && ! job_matches 'JobState=(RUNNING|SIGNALING)'; then
    log "stopped (exit code $status); Slurm is ending the job"
  elif slurm_requeues; then
    log "stopped (exit code $status), requeued by Slurm"
  elif scontrol requeue "$job"; then
    log "stopped (exit code $status), requeued"
  else
    log "stopped (exit code $status), not requeued: submit it again to resume"
  fi
  exit 75
}
