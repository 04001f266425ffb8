/*
 * A cmocka group that every rank runs: the ranks' worst result is the exit
 * code of each. A rank that fails an assertion leaves the others waiting in
 * their next call, which the time limit ends.
 */
#ifndef VOCDIST_TESTS_MPI_CHECK_H
#define VOCDIST_TESTS_MPI_CHECK_H

#include "check.h"

#include "comm/comm.h"

#define MPI_CHECK_TIMEOUT_S 300.0

/* Tests find the ranks here; it lives as long as MPI does. */
static struct comm comm;

static inline int mpi_check_end(int n_failed)
{
    int64_t failed = n_failed;
    if (comm_sum_int64(&comm, SITE_SHUTDOWN, &failed, 1) != VD_OK)
        comm_abort(&comm, VD_BUG);
    comm_close(&comm, comm.agreed_err);
    return failed != 0;
}

/* main() of an MPI test: open, run the group `tests`, agree. */
#define MPI_CHECK_MAIN(tests)                                            \
    int main(void)                                                       \
    {                                                                    \
        if (comm_open(&comm, COMM_SETUP_TIMEOUT_S) != VD_OK)             \
            return comm_close(&comm, VD_COMM);                           \
        comm.timeout_s = MPI_CHECK_TIMEOUT_S;                            \
        return mpi_check_end(cmocka_run_group_tests(tests, NULL, NULL)); \
    }

#endif
