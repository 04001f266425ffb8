/*
 * comm on any number of ranks: agreement, comparison, exact data. The same file
 * tests the serial implementation.
 */
#include "mpi_check.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "comm/cores.h"

static void all_ranks_get_the_worst_code(void **state)
{
    (void)state;
    for (int code = 0; code < VD_ERR_COUNT; code++)
        for (int faulty = 0; faulty < comm.size; faulty++) {
            struct check_log log;
            enum vd_err mine = comm.rank == faulty ? (enum vd_err)code : VD_OK;
            check_log_start(&log);
            enum vd_err got = comm_agree(&comm, SITE_DATA, mine);
            check_log_end();
            assert_int_equal(got, code);
            assert_int_equal(comm.agreed_err, code);
            if (comm.rank == 0 && comm.size > 1 && code > VD_STOPPED) {
                char *expected = xasprintf(
                    "rank %d (%s) failed while opening the "
                    "data: %s",
                    faulty, comm.hosts[faulty], err_text((enum vd_err)code));
                assert_logged(&log, expected);
                free(expected);
            } else {
                assert_string_equal(log.text, "");
            }
        }
    enum vd_err mine = comm.rank % 2 ? VD_BUG : VD_DATA;
    assert_int_equal(comm_agree(&comm, SITE_DATA, mine),
                     comm.size > 1 ? VD_BUG : VD_DATA);
    assert_int_equal(comm_agree(&comm, SITE_DATA, VD_OK), VD_OK);
}

/* Each number is given once; the ranks claim different quantities. */
static void claimed_indices_have_no_gap(void **state)
{
    (void)state;
    enum { MOST = 200 };
    int64_t given[MOST] = {0};
    int mine = 5 + 3 * comm.rank, total = 0;
    for (int r = 0; r < comm.size; r++)
        total += 5 + 3 * r;
    assert_true(total <= MOST);
    for (int i = 0; i < mine; i++) {
        uint64_t number = MOST;
        assert_int_equal(comm_claim_index(&comm, SITE_PACK, &number), VD_OK);
        assert_true(number < (uint64_t)total);
        given[number]++;
        comm_progress(&comm);
    }
    assert_int_equal(comm_sum_int64(&comm, SITE_PACK, given, MOST), VD_OK);
    for (int i = 0; i < MOST; i++)
        assert_int_equal(given[i], i < total);
}

static void ranks_are_numbered_and_have_hosts(void **state)
{
    (void)state;
    int ranks[64];
    assert_true(comm.size <= 64);
    assert_int_equal(
        comm_allgather(&comm, SITE_STEP, &comm.rank, sizeof(int), ranks),
        VD_OK);
    for (int r = 0; r < comm.size; r++) {
        assert_int_equal(ranks[r], r);
        assert_true(strlen(comm.hosts[r]) > 0);
    }
    assert_true(comm.node_rank >= 0 && comm.node_rank < comm.node_size);
    assert_true(comm.node_size <= comm.size);
    assert_true(comm.node_root <= comm.rank);
}

static void check_equal_accepts_equal_digests(void **state)
{
    (void)state;
    assert_int_equal(
        comm_check_equal(&comm, SITE_CONFIG, "the configuration", 42), VD_OK);
}

static void check_equal_names_the_differing_rank(void **state)
{
    (void)state;
    for (int outlier = 0; comm.size > 1 && outlier < comm.size; outlier++) {
        struct check_log log;
        uint64_t digest = comm.rank == outlier ? 0xbad : 0x900d;
        check_log_start(&log);
        enum vd_err got =
            comm_check_equal(&comm, SITE_CONFIG, "the data", digest);
        check_log_end();
        assert_int_equal(got, VD_CONFIG);
        // Of two ranks the lower one counts as the majority.
        int named = comm.size == 2 ? 1 : outlier;
        char *expected =
            xasprintf("ranks differ in the data: rank %d (%s) has %s", named,
                      comm.hosts[named],
                      named == outlier ? "0000000000000bad, the other"
                                       : "000000000000900d, the other");
        if (comm.rank == 0)
            assert_logged(&log, expected);
        else
            assert_string_equal(log.text, "");
        free(expected);
    }
    assert_int_equal(comm_agree(&comm, SITE_CONFIG, VD_OK), VD_OK);
}

static void bcast_is_exact_across_pieces(void **state)
{
    (void)state;
    const size_t n = ((size_t)65 << 20) + 3; // more than one message
    unsigned char *bytes = malloc(n);
    int root = comm.size - 1;
    for (size_t i = 0; i < n; i++)
        bytes[i] = comm.rank == root ? (unsigned char)(i % 251) : 0;
    assert_int_equal(comm_bcast(&comm, SITE_WEIGHTS, bytes, n, root), VD_OK);
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++)
        wrong += bytes[i] != i % 251;
    assert_int_equal(wrong, 0);
    free(bytes);
    assert_int_equal(comm_bcast(&comm, SITE_WEIGHTS, NULL, 0, 0), VD_OK);
}

/* 1e16 + 1 - 1e16 depends on the order of additions: only rank order gives
 * these bits. */
static double term_of(int rank, size_t i)
{
    const double terms[] = {1e16, 1.0, -1e16, 3.0, 1e-3};
    return terms[((size_t)rank + i) % 5];
}

static void doubles_are_added_in_rank_order(void **state)
{
    (void)state;
    const size_t n = 300000; // more than one chunk
    double *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = term_of(comm.rank, i);
    assert_int_equal(comm_sum(&comm, SITE_EPOCH, values, n), VD_OK);
    for (size_t i = 0; i < n; i++) {
        double expected = term_of(0, i);
        for (int r = 1; r < comm.size; r++)
            expected += term_of(r, i);
        if (memcmp(&values[i], &expected, sizeof expected) != 0)
            fail_msg("element %zu: %.17g, not %.17g", i, values[i], expected);
    }
    free(values);
}

static void whole_numbers_are_added(void **state)
{
    (void)state;
    int64_t values[2] = {comm.rank + 1, INT64_C(1) << 40};
    assert_int_equal(comm_sum_int64(&comm, SITE_EPOCH, values, 2), VD_OK);
    assert_int_equal(values[0], comm.size * (comm.size + 1) / 2);
    assert_true(values[1] == (INT64_C(1) << 40) * comm.size);
}

static void rows_of_any_length_reach_rank_0(void **state)
{
    (void)state;
    size_t sizes[64], n = (size_t)((comm.rank + 1) % 3) * 1000;
    char *mine = malloc(n + 1);
    void *all = (void *)mine;
    memset(mine, 'a' + comm.rank, n);
    assert_int_equal(comm_gather(&comm, SITE_EVAL, mine, n, &all, sizes),
                     VD_OK);
    const char *at = all;
    if (comm.rank != 0)
        assert_null(all);
    for (int r = 0; r < comm.size; r++) {
        assert_int_equal(sizes[r], (size_t)((r + 1) % 3) * 1000);
        for (size_t i = 0; comm.rank == 0 && i < sizes[r]; i++)
            assert_int_equal(*at++, 'a' + r);
    }
    alloc_aligned_free(all);
    free(mine);
}

static void flags_come_back_in_order_with_any_lag(void **state)
{
    (void)state;
    for (uint32_t lag = 1; lag <= 8; lag += 7) {
        uint32_t any, done = 0;
        for (uint32_t step = 0; step < 40; step++) {
            uint32_t mine = (int)step % comm.size == comm.rank ? step + 1 : 0;
            assert_int_equal(comm_flags_start(&comm, SITE_FLAGS, mine), VD_OK);
            if (step < lag)
                continue;
            assert_int_equal(comm_flags_finish(&comm, &any), VD_OK);
            assert_int_equal(any, ++done);
        }
        for (; done < 40; done++) {
            assert_int_equal(comm_flags_finish(&comm, &any), VD_OK);
            assert_int_equal(any, done + 1);
        }
    }
    assert_int_equal(
        comm_flags_start(&comm, SITE_FLAGS, UINT32_C(1) << comm.rank), VD_OK);
    uint32_t bits;
    assert_int_equal(comm_flags_finish(&comm, &bits), VD_OK);
    assert_int_equal(bits, (UINT32_C(1) << comm.size) - 1);
}

static void cores_are_divided_over_the_node(void **state)
{
    (void)state;
    struct cores usable;
    int threads = 0;
    int64_t sum;
    assert_int_equal(cores_read_usable(&usable), VD_OK);
    int cores = cores_count_idle(&usable, NULL, 0);
    assert_int_equal(cores_assign_threads(&comm, &threads), VD_OK);
    // The tests start ranks unbound: all share all cores.
    int fair = cores / comm.node_size;
    assert_int_equal(threads, fair > 1 ? fair : 1);
    sum = threads;
    assert_int_equal(comm_sum_int64(&comm, SITE_CORES, &sum, 1), VD_OK);
    assert_true(sum <= cores || threads == 1);
}

static void barrier_waits_for_the_last(void **state)
{
    (void)state;
    double start = clock_now();
    if (comm.rank == comm.size - 1)
        while (clock_now() - start < 0.3)
            ;
    assert_int_equal(comm_barrier(&comm, SITE_STEP), VD_OK);
    assert_true(clock_now() - start > 0.25);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_ranks_get_the_worst_code),
    cmocka_unit_test(ranks_are_numbered_and_have_hosts),
    cmocka_unit_test(claimed_indices_have_no_gap),
    cmocka_unit_test(check_equal_accepts_equal_digests),
    cmocka_unit_test(check_equal_names_the_differing_rank),
    cmocka_unit_test(bcast_is_exact_across_pieces),
    cmocka_unit_test(doubles_are_added_in_rank_order),
    cmocka_unit_test(whole_numbers_are_added),
    cmocka_unit_test(rows_of_any_length_reach_rank_0),
    cmocka_unit_test(flags_come_back_in_order_with_any_lag),
    cmocka_unit_test(cores_are_divided_over_the_node),
    cmocka_unit_test(barrier_waits_for_the_last),
};

MPI_CHECK_MAIN(tests)
