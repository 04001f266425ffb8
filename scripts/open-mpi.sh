# Open MPI settings for jobs on one machine. To be sourced.
# shellcheck shell=bash

# Open MPI does not run as root without both variables. OMPI_ is for mpirun,
# PRTE_ for prterun, which mpirun calls from version 5 on.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Open MPI 5.0 cannot use TCP if an interface has both an IPv4 and an IPv6
# address; it prints "Unable to find reachable pairing".
export OMPI_MCA_btl_tcp_disable_family=${OMPI_MCA_btl_tcp_disable_family:-6}
