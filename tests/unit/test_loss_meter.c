/* train/loss_meter: losses are added to the epoch of their image, in position
 * order, at any flush interval. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "train/loss_meter.h"

enum { IMAGES = 10, BATCH = 4, STEPS = 12 };

struct fixture {
    char *folder, *path;
    struct comm comm;
    struct append_file rows;
    struct loss_meter loss_meter;
};

static const int32_t classes[IMAGES] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
static double weights[2] = {1, 3};
static struct graph_loss loss = {
    .box_scale = 2, .class_scale = 5, .class_weights = weights};
static const struct shard_set data = {.n_images = IMAGES,
                                      .class = (int32_t *)classes};

static void fixture_init(struct fixture *f, int capacity)
{
    f->folder = check_folder();
    f->path = xasprintf("%s/steps.jsonl", f->folder);
    assert_int_equal(comm_open(&f->comm, COMM_SETUP_TIMEOUT_S), VD_OK);
    assert_int_equal(append_file_open(&f->rows, f->path, "", 0), VD_OK);
    f->loss_meter = (struct loss_meter){
        .comm = &f->comm,
        .data = &data,
        .loss = &loss,
        .sampler = {.seed = 3, .n = IMAGES, .shuffle = true},
        .steps_jsonl = &f->rows,
        .replicas = 2,
        .micro_batch = BATCH / 2};
    loss_meter_init(&f->loss_meter, capacity);
    assert_int_equal(f->loss_meter.n_local, BATCH);
}

static void fixture_clear(struct fixture *f)
{
    loss_meter_clear(&f->loss_meter);
    append_file_close(&f->rows);
    comm_close(&f->comm, VD_OK);
    free(f->path);
    check_folder_remove(f->folder);
}

/* Losses whose sum has other bits in float or in another order. */
static struct result result_at(uint64_t position)
{
    return (struct result){.l1 = 1e4f / (float)(3 * position + 1),
                           .ce = (float)position * 0.37f + 1e-3f};
}

static void add_step(struct fixture *f, uint64_t step)
{
    struct result results[BATCH];
    struct step_stats row = {.step = step + 1, .lr = 0.5, .seconds = 2};
    for (uint64_t i = 0; i < BATCH; i++)
        results[i] = result_at(step * BATCH + i);
    if (loss_meter_add(&f->loss_meter, &row, results))
        assert_int_equal(loss_meter_flush(&f->loss_meter), VD_OK);
}

/* Positions epoch * IMAGES ... up to `end`, in order, in double. */
static struct loss_sums expected(uint64_t epoch, uint64_t end)
{
    struct sampler sampler = {.seed = 3, .n = IMAGES, .shuffle = true};
    struct loss_sums sum = {0};
    for (uint64_t p = epoch * IMAGES; p < end && p < (epoch + 1) * IMAGES;
         p++) {
        struct result r = result_at(p);
        double w = weights[classes[sampler_at(&sampler, p, NULL)]];
        sum.n++;
        sum.n_finite++;
        sum.l1 += (double)r.l1;
        sum.ce += (double)r.ce;
        sum.loss += 2 * (double)r.l1 + 5 * w * (double)r.ce;
    }
    return sum;
}

static void a_step_may_span_two_epochs(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 100);
    for (uint64_t step = 0; step < 3; step++)
        add_step(&f, step); /* positions 0 .. 11 */
    assert_int_equal(loss_meter_flush(&f.loss_meter), VD_OK);
    struct loss_sums sum = loss_meter_end_epoch(&f.loss_meter);
    struct loss_sums first = expected(0, 12), next = expected(1, 12);
    assert_int_equal(sum.n, IMAGES);
    assert_memory_equal(&sum, &first, sizeof sum);
    assert_memory_equal(&f.loss_meter.sums[0], &next, sizeof sum);
    assert_int_equal(next.n, 2);
    assert_int_equal(f.loss_meter.sums[1].n, 0);
    fixture_clear(&f);
}

static void sums_and_rows_are_equal_at_any_flush_interval(void **state)
{
    (void)state;
    char *whole = NULL;
    for (int capacity = 1; capacity <= 7; capacity++) {
        struct fixture f;
        char *text = NULL;
        size_t n = 0;
        fixture_init(&f, capacity);
        for (uint64_t step = 0; step < STEPS; step++) {
            add_step(&f, step);
            uint64_t epoch = f.loss_meter.epoch;
            if (step != sampler_last_step(IMAGES, epoch, BATCH))
                continue;
            assert_int_equal(loss_meter_flush(&f.loss_meter), VD_OK);
            struct loss_sums sum = loss_meter_end_epoch(&f.loss_meter);
            struct loss_sums right = expected(epoch, UINT64_MAX);
            assert_memory_equal(&sum, &right, sizeof sum);
        }
        assert_int_equal(loss_meter_flush(&f.loss_meter), VD_OK);
        assert_int_equal(loss_meter_flush(&f.loss_meter), VD_OK); /* nothing */
        assert_int_equal(f.loss_meter.epoch, STEPS * BATCH / IMAGES);
        assert_int_equal(file_read(f.path, 1 << 16, &text, &n), VD_OK);
        if (whole)
            assert_string_equal(text, whole);
        free(whole);
        whole = text;
        fixture_clear(&f);
    }
    int lines = 0;
    for (const char *p = whole; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, STEPS);
    assert_non_null(strstr(whole, "{\"step\": 12, \"loss\": "));
    assert_non_null(strstr(whole, "\"images_per_s\": 2.00"));
    free(whole);
}

/* A step that was skipped, in fp16: one image has no finite loss. */
static void losses_that_are_not_finite_are_not_counted(void **state)
{
    (void)state;
    struct fixture f;
    struct result results[BATCH];
    struct step_stats row = {.step = 1,
                             .lr = 0.5,
                             .grad_norm = INFINITY,
                             .loss_scale = 65536,
                             .seconds = 2};
    char *text = NULL;
    size_t n = 0;
    fixture_init(&f, 100);
    for (uint64_t i = 0; i < BATCH; i++)
        results[i] = result_at(i);
    results[1].ce = NAN;
    loss_meter_add(&f.loss_meter, &row, results);
    assert_int_equal(loss_meter_flush(&f.loss_meter), VD_OK);
    assert_int_equal(f.loss_meter.sums[0].n, BATCH);
    assert_int_equal(f.loss_meter.sums[0].n_finite, BATCH - 1);
    assert_true(isfinite(f.loss_meter.sums[0].loss));
    for (uint64_t i = 0; i < BATCH; i++)
        results[i].l1 = INFINITY;
    row.step++;
    loss_meter_add(&f.loss_meter, &row, results);
    assert_int_equal(loss_meter_flush(&f.loss_meter), VD_OK);
    assert_int_equal(file_read(f.path, 1 << 16, &text, &n), VD_OK);
    assert_non_null(strstr(text, "\"grad_norm\": null, \"loss_scale\": 65536, "
                                 "\"images_per_s\": 2.00"));
    assert_non_null(strstr(text, "{\"step\": 2, \"loss\": null, "));
    assert_null(strstr(text, "nan"));
    free(text);
    fixture_clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_may_span_two_epochs),
        cmocka_unit_test(sums_and_rows_are_equal_at_any_flush_interval),
        cmocka_unit_test(losses_that_are_not_finite_are_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
