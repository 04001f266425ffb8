/* comm_phase: one verdict, and what all ranks would say is said once. */
#include "mpi/mpi_check.h"

#include "base/log.h"
#include "comm/phase.h"

#include <stdbool.h>
#include <unistd.h>

/* What this rank's lines on standard error are while `run` is a phase. */
static enum vd_err heard(phase_fn *run, void *ctx, char *text, size_t room)
{
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    enum vd_err err = comm_phase(&comm, SITE_DATA, run, ctx);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    text[fread(text, 1, room - 1, file)] = '\0';
    fclose(file);
    return err;
}

static enum vd_err fail_alike(void *ctx)
{
    (void)ctx;
    return VD_FAIL(VD_NOINPUT, "data/train: no such folder");
}

static enum vd_err fail_alone(void *ctx)
{
    const int *guilty = ctx;
    if (comm.rank != *guilty)
        return VD_OK;
    return VD_FAIL(VD_DATA, "rank %d sees a torn file", comm.rank);
}

static enum vd_err warn_each(void *ctx)
{
    (void)ctx;
    log_warn("rank %d is slow", comm.rank);
    return VD_OK;
}

static void what_all_say_is_said_by_rank_0(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(heard(fail_alike, NULL, text, sizeof text), VD_NOINPUT);
    if (comm.rank == 0)
        assert_non_null(strstr(text, "no such folder"));
    else
        assert_string_equal(text, "");
}

static void what_one_rank_says_is_said_by_it(void **state)
{
    (void)state;
    char text[4096];
    int guilty = comm.size - 1;
    assert_int_equal(heard(fail_alone, &guilty, text, sizeof text), VD_DATA);
    bool said = strstr(text, "sees a torn file") != NULL;
    assert_int_equal(said, comm.rank == guilty);
    assert_int_equal(heard(warn_each, NULL, text, sizeof text), VD_OK);
    assert_non_null(strstr(text, "is slow"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_all_say_is_said_by_rank_0),
    cmocka_unit_test(what_one_rank_says_is_said_by_it),
};

MPI_CHECK_MAIN(tests)
