# Settings of Open MPI for jobs on this machine alone; to be sourced.
# shellcheck shell=bash

# As root it runs nothing unless allowed twice. OMPI_: mpirun; PRTE_: prterun,
# which is behind mpirun from version 5 on.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Version 5.0 cannot use TCP where an interface has both an IPv4 and an IPv6
# address, and says so ("Unable to find reachable pairing").
export OMPI_MCA_btl_tcp_disable_family=${OMPI_MCA_btl_tcp_disable_family:-6}
