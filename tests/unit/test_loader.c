/* data/loader: order, errors in order, and early shutdown. */
#include "check.h"

#include "data/loader.h"
#include "tiny.h"

enum { SIZE = 16, N = 40, BATCH = 4, BATCHES = 30 };

struct fixture {
    char *folder;
    struct shard_set set;
};

static void open_set(struct fixture *f)
{
    f->folder = check_folder();
    assert_true(tiny_write_shards(f->folder, SIZE, 0, N, -1));
    assert_int_equal(shard_set_open(&f->set, f->folder), VD_OK);
}

static void close_set(struct fixture *f)
{
    shard_set_close(&f->set);
    check_folder_remove(f->folder);
}

static int64_t sample_of(size_t k, int i)
{
    return (int64_t)((k * BATCH + (size_t)i) * 7 % N);
}

static void fill(void *ctx, size_t k, struct batch_item *items)
{
    (void)ctx;
    for (int i = 0; i < BATCH; i++)
        items[i] = (struct batch_item){.index = sample_of(k, i),
                                       .position = k * BATCH + (size_t)i};
}

static struct loader *start_loader(const struct fixture *f, int threads)
{
    struct loader *l = NULL;
    struct loader_spec spec = {.data = &f->set,
                               .n_batches = BATCHES,
                               .micro_batch = BATCH,
                               .threads = threads,
                               .fill = fill};
    assert_int_equal(loader_new(&l, &spec), VD_OK);
    return l;
}

static void order_does_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    struct fixture f;
    open_set(&f);
    for (int threads = 1; threads <= 4; threads++) {
        size_t bytes;
        struct loader *l = start_loader(&f, threads);
        const uint8_t *memory = loader_memory(l, &bytes);
        for (size_t k = 0; k < BATCHES; k++) {
            struct loaded_batch *batch = NULL;
            assert_int_equal(loader_next(l, &batch), VD_OK);
            for (int i = 0; i < BATCH; i++) {
                uint8_t pixels[SIZE * SIZE * 3];
                struct shard_object o;
                tiny_image(pixels, SIZE, (uint64_t)sample_of(k, i), &o);
                assert_int_equal(batch->items[i].position,
                                 k * BATCH + (size_t)i);
                assert_memory_equal(batch->pixels[i], pixels, sizeof pixels);
                assert_true(batch->pixels[i] >= memory &&
                            batch->pixels[i] + sizeof pixels <= memory + bytes);
            }
            loader_release(l, batch);
        }
        loader_free(l);
    }
    close_set(&f);
}

/* Flips a byte of the pixels of image i, on disk. */
static void flip_pixel_byte(const struct fixture *f, uint64_t i)
{
    uint8_t pixels[SIZE * SIZE * 3], changed;
    struct shard_object o;
    size_t n = 0;
    char *bytes = NULL, *path = xasprintf("%s/shard-00000.h5", f->folder);
    tiny_image(pixels, SIZE, i, &o);
    assert_int_equal(file_read(path, 1 << 20, &bytes, &n), VD_OK);
    char *at = memmem(bytes, n, pixels, sizeof pixels);
    assert_non_null(at);
    changed = (uint8_t)(pixels[5] ^ 1);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at - bytes + 5, SEEK_SET);
    fwrite(&changed, 1, 1, file);
    fclose(file);
    free(bytes);
    free(path);
}

/* The micro-batches before the damaged one are delivered; then its error is
 * logged, once. */
static void a_damaged_image_fails_when_its_batch_is_due(void **state)
{
    (void)state;
    struct fixture f;
    open_set(&f);
    flip_pixel_byte(&f, (uint64_t)sample_of(5, 2));
    flip_pixel_byte(&f, (uint64_t)sample_of(6, 1));
    for (int threads = 1; threads <= 4; threads++) {
        struct check_log log;
        struct loaded_batch *batch = NULL;
        struct loader *l = start_loader(&f, threads);
        check_log_start(&log);
        size_t k = 0;
        while (loader_next(l, &batch) == VD_OK) {
            loader_release(l, batch);
            assert_string_equal(log.text, "");
            k++;
        }
        check_log_end();
        loader_free(l);
        assert_int_equal(k, 5);
        char *id = xasprintf("tiny_%04d", (int)sample_of(5, 2));
        assert_logged(&log, id);
        free(id);
        id = xasprintf("tiny_%04d", (int)sample_of(6, 1));
        assert_null(strstr(log.text, id));
        free(id);
    }
    close_set(&f);
}

static void early_shutdown_does_not_hang(void **state)
{
    (void)state;
    struct fixture f;
    open_set(&f);
    for (int threads = 1; threads <= 4; threads++)
        for (int taken = 0; taken < 3; taken++) {
            struct loaded_batch *batch = NULL;
            struct loader *l = start_loader(&f, threads);
            for (int k = 0; k < taken; k++) /* none is released */
                assert_int_equal(loader_next(l, &batch), VD_OK);
            loader_free(l);
        }
    loader_free(NULL);
    close_set(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_does_not_depend_on_the_number_of_threads),
        cmocka_unit_test(a_damaged_image_fails_when_its_batch_is_due),
        cmocka_unit_test(early_shutdown_does_not_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
