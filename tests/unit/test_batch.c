/* config/batch: batch sizes per step, replica and rank. */
#include "check.h"

#include "backend/reduction_tree.h"
#include "config/batch.h"

static enum vd_err resolve(int64_t replicas, int64_t global, int64_t micro,
                           int64_t ranks, int64_t images,
                           struct batch_plan *out, struct check_log *log)
{
    struct config c = {
        .train = {.replicas = replicas,
                  .global_batch = global,
                  .micro_batch = micro},
    };
    check_log_start(log);
    enum vd_err err = batch_resolve(&c, ranks, images, out);
    check_log_end();
    return err;
}

static void replicas_default_to_ranks(void **state)
{
    (void)state;
    struct batch_plan b;
    struct check_log log;
    assert_int_equal(resolve(-1, 64, -1, 8, 5000, &b, &log), VD_OK);
    assert_int_equal(b.replicas, 8);
    assert_int_equal(b.micro_batch, 8);
    assert_int_equal(b.global_batch, 64);
    assert_string_equal(log.text, "");
    assert_int_equal(resolve(8, 64, -1, 2, 5000, &b, &log), VD_OK);
    assert_int_equal(b.replicas, 8);
    assert_string_equal(log.text, "");
}

static void the_micro_batch_determines_the_global_batch(void **state)
{
    (void)state;
    struct batch_plan b;
    struct check_log log;
    assert_int_equal(resolve(-1, -1, 32, 3, 5000, &b, &log), VD_OK);
    assert_int_equal(b.global_batch, 96);
    assert_int_equal(resolve(8, 64, 8, 3, 5000, &b, &log), VD_OK);
    assert_int_equal(b.global_batch, 64);
}

static void more_ranks_than_replicas_are_rejected(void **state)
{
    (void)state;
    struct batch_plan b = {0};
    struct check_log log;
    assert_int_equal(resolve(3, 66, -1, 8, 5000, &b, &log), VD_CONFIG);
    assert_logged(&log, "8 ranks for 3 replicas");
    assert_logged(&log, "start at most 3 ranks");
    assert_int_equal(b.replicas, 0);
}

static void an_uneven_batch_suggests_the_nearest_valid_ones(void **state)
{
    (void)state;
    struct batch_plan b;
    struct check_log log;
    assert_int_equal(resolve(-1, 64, -1, 6, 5000, &b, &log), VD_CONFIG);
    assert_logged(&log, "a global batch of 64 over 6 replicas does not divide");
    assert_logged(&log,
                  "\ngive --train.micro_batch 10, or --train.global_batch "
                  "60 or 66");
    // Too few images for the larger batch; below the minimum for the smaller.
    assert_int_equal(resolve(-1, 64, -1, 6, 65, &b, &log), VD_CONFIG);
    assert_logged(&log, "--train.global_batch 60\n");
    assert_int_equal(resolve(-1, 5, -1, 4, 100, &b, &log), VD_CONFIG);
    assert_logged(&log, "--train.micro_batch 2, or --train.global_batch 8\n");
    assert_int_equal(resolve(-1, 5, -1, 4, 7, &b, &log), VD_CONFIG);
    assert_logged(&log, "each replica needs at least 2 images");
}

static void suggested_batches_are_accepted(void **state)
{
    (void)state;
    for (int64_t ranks = 1; ranks <= 9; ranks++)
        for (int64_t global = 2; global <= 40; global++) {
            struct batch_plan b;
            struct check_log log;
            long long micro = 0, low = 0, high = 0;
            if (resolve(-1, global, -1, ranks, 30, &b, &log) == VD_OK)
                continue;
            const char *offer = strstr(log.text, "give ");
            assert_non_null(offer);
            int n = sscanf(offer,
                           "give --train.micro_batch %lld, or "
                           "--train.global_batch %lld or %lld",
                           &micro, &low, &high);
            assert_true(n >= 2);
            assert_int_equal(resolve(-1, -1, micro, ranks, 30, &b, &log),
                             VD_OK);
            assert_int_equal(resolve(-1, low, -1, ranks, 30, &b, &log), VD_OK);
            if (n == 3)
                assert_int_equal(resolve(-1, high, -1, ranks, 30, &b, &log),
                                 VD_OK);
        }
}

static void a_replica_needs_two_images(void **state)
{
    (void)state;
    struct batch_plan b;
    struct check_log log;
    assert_int_equal(resolve(-1, 8, -1, 8, 5000, &b, &log), VD_CONFIG);
    assert_logged(&log, "batch norm\ngive --train.micro_batch 2, or "
                        "--train.global_batch 16\n");
}

static void a_batch_larger_than_the_data_is_rejected(void **state)
{
    (void)state;
    struct batch_plan b;
    struct check_log log;
    assert_int_equal(resolve(-1, 64, -1, 4, 63, &b, &log), VD_CONFIG);
    assert_logged(&log, "more than the 63 training images");
    assert_logged(&log, "--train.global_batch 60\n");
    assert_int_equal(resolve(-1, 64, -1, 4, 64, &b, &log), VD_OK);
    assert_int_equal(resolve(-1, -1, 17, 4, 64, &b, &log), VD_CONFIG);
}

static void small_and_uneven_batches_give_warnings(void **state)
{
    (void)state;
    struct batch_plan b;
    struct check_log log;
    assert_int_equal(resolve(-1, 28, -1, 4, 5000, &b, &log), VD_OK);
    assert_logged(&log, "micro-batch of 7");
    assert_int_equal(resolve(8, 64, -1, 3, 5000, &b, &log), VD_OK);
    assert_logged(&log, "8 replicas do not divide evenly over 3 ranks: at most "
                        "89 %");
    assert_near(batch_max_efficiency(8, 3), 8.0 / 9, 1e-15);
    assert_near(batch_max_efficiency(8, 5), 0.8, 1e-15);
    assert_near(batch_max_efficiency(8, 4), 1, 0);
}

static void every_rank_has_a_replica(void **state)
{
    (void)state;
    for (int replicas = 1; replicas <= 40; replicas++)
        for (int ranks = 1; ranks <= replicas; ranks++) {
            int most = 0;
            assert_int_equal(reduction_first_replica(0, ranks, replicas), 0);
            assert_int_equal(reduction_first_replica(ranks, ranks, replicas),
                             replicas);
            for (int r = 0; r < ranks; r++) {
                int n = reduction_first_replica(r + 1, ranks, replicas) -
                        reduction_first_replica(r, ranks, replicas);
                assert_true(n >= 1);
                most = n > most ? n : most;
            }
            assert_near(batch_max_efficiency(replicas, ranks),
                        (double)replicas / (double)(ranks * most), 1e-15);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_default_to_ranks),
        cmocka_unit_test(the_micro_batch_determines_the_global_batch),
        cmocka_unit_test(more_ranks_than_replicas_are_rejected),
        cmocka_unit_test(an_uneven_batch_suggests_the_nearest_valid_ones),
        cmocka_unit_test(suggested_batches_are_accepted),
        cmocka_unit_test(a_replica_needs_two_images),
        cmocka_unit_test(a_batch_larger_than_the_data_is_rejected),
        cmocka_unit_test(small_and_uneven_batches_give_warnings),
        cmocka_unit_test(every_rank_has_a_replica),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
