/*
 * A cmocka group that every rank runs. All ranks exit with failure if a test
 * fails on any rank. If a rank fails an assertion, the others wait in their
 * next collective call until the time limit.
 */
#ifndef VOCDIST_TESTS_MPI_CHECK_H
#define VOCDIST_TESTS_MPI_CHECK_H

#include "check.h"

#include "comm/comm.h"

#define MPI_CHECK_TIMEOUT_S 300.0

/* The ranks, for the tests; open from MPI_Init to MPI_Finalize. */
static struct comm comm;

static inline int mpi_check_end(int n_failed)
{
    int64_t failed = n_failed;
    if (comm_sum_int64(&comm, SITE_SHUTDOWN, &failed, 1) != VD_OK)
        comm_abort(&comm, VD_BUG);
    comm_close(&comm, VD_OK);
    return failed != 0;
}

/* main() of an MPI test: opens `comm`, runs the group `tests`, agrees on the
 * result. */
#define MPI_CHECK_MAIN(tests)                                            \
    int main(void)                                                       \
    {                                                                    \
        enum vd_err err = comm_open(&comm, COMM_SETUP_TIMEOUT_S);        \
        if (err != VD_OK) {                                              \
            comm_close(&comm, err);                                      \
            return err_exit_code(err);                                   \
        }                                                                \
        comm.timeout_s = MPI_CHECK_TIMEOUT_S;                            \
        return mpi_check_end(cmocka_run_group_tests(tests, NULL, NULL)); \
    }

#endif
