/* comm_phase: the ranks agree on one result; identical messages appear once. */
#include "mpi/mpi_check.h"

#include "base/log.h"
#include "comm/phase.h"

#include <stdbool.h>
#include <unistd.h>

/* Runs `run` as a phase; `text` gets the standard error of this rank. */
static enum vd_err run_phase_captured(phase_fn *run, void *ctx, char *text,
                                      size_t capacity)
{
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    enum vd_err err = comm_phase(&comm, SITE_DATA, run, ctx);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    text[fread(text, 1, capacity - 1, file)] = '\0';
    fclose(file);
    return err;
}

static enum vd_err fail_identically(void *ctx)
{
    (void)ctx;
    return VD_FAIL(VD_NOINPUT, "data/train: no such folder");
}

static enum vd_err fail_on_one_rank(void *ctx)
{
    const int *faulty = ctx;
    if (comm.rank != *faulty)
        return VD_OK;
    return VD_FAIL(VD_DATA, "rank %d reads a damaged file", comm.rank);
}

static enum vd_err warn_on_every_rank(void *ctx)
{
    (void)ctx;
    log_warn("rank %d is slow", comm.rank);
    return VD_OK;
}

static void identical_messages_are_logged_by_rank_0(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(
        run_phase_captured(fail_identically, NULL, text, sizeof text),
        VD_NOINPUT);
    if (comm.rank == 0)
        assert_non_null(strstr(text, "no such folder"));
    else
        assert_string_equal(text, "");
}

static void a_distinct_message_is_logged_by_its_rank(void **state)
{
    (void)state;
    char text[4096];
    int faulty = comm.size - 1;
    assert_int_equal(
        run_phase_captured(fail_on_one_rank, &faulty, text, sizeof text),
        VD_DATA);
    bool is_logged = strstr(text, "reads a damaged file") != NULL;
    assert_int_equal(is_logged, comm.rank == faulty);
    assert_int_equal(
        run_phase_captured(warn_on_every_rank, NULL, text, sizeof text), VD_OK);
    assert_non_null(strstr(text, "is slow"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(identical_messages_are_logged_by_rank_0),
    cmocka_unit_test(a_distinct_message_is_logged_by_its_rank),
};

MPI_CHECK_MAIN(tests)
