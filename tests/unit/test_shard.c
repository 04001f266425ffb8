/* data/shard: shards round-trip, are readable by other programs and readable
 * when other programs wrote them; damaged and hostile files are rejected. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/shard.h"
#include "data/shard_internal.h"
#include "store/atomic.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE * 3, N = 7 };

static const char *const classes[] = {"cat", "d\xc3\xb6g", "x"};
static const struct shard_format format = {SIDE, SIDE, classes, 3, "a test"};

struct test_sample {
    uint8_t pixels[PIXELS];
    char id[32];
    struct shard_object objects[4];
    struct shard_sample sample;
};

/* The same pattern as in tools/shards.py. */
static void make_test_sample(struct test_sample *p, int i)
{
    memset(p, 0, sizeof *p);
    for (int k = 0; k < PIXELS; k++)
        p->pixels[k] = (uint8_t)((k * 7 + i * 13) % 251);
    snprintf(p->id, sizeof p->id, "image_%d", i);
    for (int k = 0; k < i % 3; k++)
        p->objects[k] = (struct shard_object){{(float)k, 1, 6, 7.5f}, k, 1};
    p->sample = (struct shard_sample){
        p->pixels,  i % 3, {(float)(i % 4), 1, 7, 8}, {500 + i, 375}, p->id,
        p->objects, i % 3};
}

static void write_shard(const char *path, int first, int n,
                        struct shard_entry *entry)
{
    struct shard_writer *w = NULL;
    assert_int_equal(shard_writer_new(&w, path, &format), VD_OK);
    for (int i = first; i < first + n; i++) {
        struct test_sample p;
        make_test_sample(&p, i);
        assert_int_equal(shard_writer_add(w, &p.sample), VD_OK);
        memset(&p, 0xaa, sizeof p); /* the writer has copied it */
    }
    assert_int_equal(shard_writer_commit(w, &entry->n_images, &entry->digest),
                     VD_OK);
    assert_int_equal(entry->n_images, n);
    shard_writer_free(w);
}

/* One or two shards with N images in total, and the manifest. */
struct fixture {
    char *folder, *shard, *manifest;
};

static void fixture_init(struct fixture *f, int n_shards)
{
    struct shard_entry entries[2] = {{.file = (char[]){"shard-00000.h5"}},
                                     {.file = (char[]){"shard-00001.h5"}}};
    int split = n_shards == 2 ? 3 : N;
    f->folder = check_folder();
    f->shard = xasprintf("%s/%s", f->folder, entries[0].file);
    f->manifest = xasprintf("%s/pack.json", f->folder);
    write_shard(f->shard, 0, split, &entries[0]);
    if (n_shards == 2) {
        char *second = xasprintf("%s/%s", f->folder, entries[1].file);
        write_shard(second, split, N - split, &entries[1]);
        free(second);
    }
    assert_int_equal(shard_write_manifest(f->folder, &format, entries,
                                          (size_t)n_shards,
                                          "{\"skipped\":[\"a.xml\"]}"),
                     VD_OK);
}

static void fixture_clear(struct fixture *f)
{
    free(f->shard);
    free(f->manifest);
    check_folder_remove(f->folder);
}

static bool is_test_sample(const struct shard_set *set, size_t i,
                           const uint8_t *pixels)
{
    struct test_sample p;
    make_test_sample(&p, (int)i);
    const int64_t *start = set->object_start + i;
    size_t n = (size_t)p.sample.n_objects;
    return set->class[i] == p.sample.class &&
           !memcmp(set->box + 4 * i, p.sample.box, 16) &&
           !memcmp(set->size + 2 * i, p.sample.size, 8) &&
           !strcmp(set->id[i], p.id) && start[1] - start[0] == (int64_t)n &&
           !memcmp(set->objects + start[0], p.objects,
                   n * sizeof p.objects[0]) &&
           !memcmp(pixels, p.pixels, PIXELS);
}

/* Reads the data set; VD_OK means that every label and pixel is correct. */
static enum vd_err read_all(const struct fixture *f)
{
    struct shard_set set;
    uint8_t pixels[PIXELS];
    enum vd_err err = shard_set_open(&set, f->folder);
    if (err != VD_OK)
        return err;
    assert_int_equal(set.n_images, N);
    for (size_t i = 0; err == VD_OK && i < N; i++) {
        err = shard_set_read(&set, i, pixels);
        if (err == VD_OK && !is_test_sample(&set, i, pixels))
            fail_msg("image %zu: damage was not detected", i);
    }
    shard_set_close(&set);
    return err;
}

static void packed_data_is_read_back(void **state)
{
    (void)state;
    uint64_t digests[2];
    for (int n_shards = 1; n_shards <= 2; n_shards++) {
        struct fixture f;
        struct shard_set set;
        fixture_init(&f, n_shards);
        assert_int_equal(read_all(&f), VD_OK);
        assert_int_equal(shard_set_open(&set, f.folder), VD_OK);
        assert_int_equal(set.width, SIDE);
        assert_int_equal(set.n_classes, 3);
        assert_string_equal(set.classes[1], classes[1]);
        digests[n_shards - 1] = set.digest;
        shard_set_close(&set);
        fixture_clear(&f);
    }
    assert_true(digests[0] != digests[1]);
}

/* Pins the digest: files of older versions must remain readable. */
static void the_digest_covers_the_documented_bytes(void **state)
{
    (void)state;
    struct test_sample p;
    uint8_t bytes[PIXELS + 4 + 16 + 8 + 7 + 2 * 24], *at = bytes;
    make_test_sample(&p, 5);
    memcpy(at, p.pixels, PIXELS);
    memcpy(at += PIXELS, &p.sample.class, 4);
    memcpy(at += 4, p.sample.box, 16);
    memcpy(at += 16, p.sample.size, 8);
    memcpy(at += 8, "image_5", 7);
    memcpy(at += 7, p.objects, 48);
    uint64_t digest = shard_digest(&p.sample, PIXELS);
    assert_true(digest == hash_bytes(bytes, sizeof bytes));
    p.sample.class = 1;
    assert_true(digest != shard_digest(&p.sample, PIXELS));
}

static int run_command(const char *command, const char *path)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        execl(PYTHON, PYTHON, SHARDS_PY, command, path, (char *)NULL);
        _exit(127);
    }
    waitpid(child, &status, 0);
    return status;
}

static void h5py_reads_a_shard(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    assert_int_equal(run_command("check", f.shard), 0);
    fixture_clear(&f);
}

static void a_shard_rewritten_by_another_tool_is_read(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    assert_int_equal(run_command("other", f.shard), 0);
    assert_int_equal(read_all(&f), VD_OK);
    fixture_clear(&f);
}

static void hostile_shards_are_rejected(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *message;
    } cases[] = {
        {"external_storage", "class: external storage"},
        {"external_link", "class: a soft or external link"},
        {"soft_link", "class: a soft or external link"},
        {"virtual", "class: a virtual data set"},
        {"virtual_images", "images: a virtual data set"},
        {"huge_chunked", "objects: claims"},
        {"huge_contiguous", "objects: claims"},
        {"huge_deflated", "objects: claims"},
        {"big_chunk", "objects: chunks of more than"},
        {"lzf", "class: a filter other than"},
        {"shuffle", "class: a filter other than"},
        {"int64", "class: not of the expected type"},
        {"uint32", "class: has an unexpected type"},
        {"double", "box: has an unexpected type"},
        {"compound", "class: has an unexpected type"},
        {"variable_ids", "id: has an unexpected type"},
        {"long_ids", "id: expected 7 strings"},
        {"rank", "box: not of the expected type and shape"},
        {"scalar", "class: has an unexpected rank"},
        {"short", "class: not of the expected type and shape"},
        {"missing", "digest: no such data set"},
        {"group", "size: not a readable data set"},
        {"two_rows_a_chunk", "images: not stored as one chunk per row"},
        {"contiguous_images",
         "images: not stored as one unfiltered chunk per row"},
        {"deflated_images",
         "images: not stored as one unfiltered chunk per row"},
        {"missing_row", "images: claims"},
        {"no_format", "format: no such attribute"},
        {"format_2", "format 2; this program reads format 1"},
        {"format_text", "format: expected one integer"},
        {"fewer_classes", "classes: expected 3 strings"},
        {"other_classes", "class 1 has a different name"},
        {"class_range", "image_0: class 3, must be 0 to 2"},
        {"class_negative", "image_0: class -1"},
        {"box_nan", "image_0: box 0 1 nan 8"},
        {"box_outside", "image_0: box 0 1 1000 8"},
        {"box_empty", "image_0: box 0 1 0 8"},
        {"size_zero", "image_0: original size 500 x 0"},
        {"id_path", "an id is empty"},
        {"id_empty", "an id is empty"},
        {"start_falls", "object_start does not match objects"},
        {"start_end", "object_start does not match objects"},
        {"start_negative", "object_start does not match objects"},
        {"object_class", "object 0: class -1"},
        {"object_infinite", "object 0: class -1"},
        {"object_difficult", "difficult 2"},
        {"digest", "digest differs"},
        {"user_block", "user block"},
    };
    struct fixture f;
    fixture_init(&f, 1);
    assert_int_equal(run_command("hostile", f.shard), 0);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct check_log log;
        char *hostile = xasprintf("%s.%s", f.shard, cases[k].kind);
        assert_int_equal(rename(hostile, f.shard), 0);
        free(hostile);
        check_log_start(&log);
        enum vd_err err = read_all(&f);
        check_log_end();
        if (err != VD_DATA)
            fail_msg("%s was not rejected", cases[k].kind);
        assert_logged(&log, f.shard);
        assert_logged(&log, cases[k].message);
    }
    fixture_clear(&f);
}

/* Flips one bit; a second call restores it. */
static void flip(const char *path, size_t at, unsigned bit)
{
    FILE *f = fopen(path, "r+");
    fseek(f, (long)at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(c ^ (1 << bit), f);
    fclose(f);
}

static void a_flipped_bit_never_gives_wrong_data_silently(void **state)
{
    (void)state;
    struct fixture f;
    struct check_log log;
    char *good = NULL;
    size_t n = 0, rejected = 0, trials = 0, content = 0;
    fixture_init(&f, 1);
    assert_int_equal(file_read(f.shard, 1 << 24, &good, &n), VD_OK);
    for (uint32_t k = 0; trials < 500; k++) {
        uint32_t w[4];
        rng_words(1, RNG_TEST, 0, k, w);
        size_t at = w[0] % n;
        /* a small shard is mostly an empty index: try few of its bytes */
        bool empty = good[at] == 0 || good[at] == '\xff';
        if (empty && w[2] % 64)
            continue;
        content += !empty;
        trials++;
        flip(f.shard, at, w[1] % 8);
        check_log_start(&log);
        rejected += read_all(&f) != VD_OK; /* fails on wrong data */
        check_log_end();
        flip(f.shard, at, w[1] % 8);
    }
    assert_true(content > 200 && rejected >= content);
    assert_int_equal(read_all(&f), VD_OK);
    free(good);
    fixture_clear(&f);
}

static void a_damaged_image_is_named(void **state)
{
    (void)state;
    struct fixture f;
    struct shard_set set;
    struct check_log log;
    struct test_sample p;
    uint8_t pixels[PIXELS];
    char *good = NULL;
    size_t n = 0;
    fixture_init(&f, 2);
    char *second = xasprintf("%s/shard-00001.h5", f.folder);
    assert_int_equal(file_read(second, 1 << 24, &good, &n), VD_OK);
    make_test_sample(&p, 5);
    char *at = memmem(good, n, p.pixels, PIXELS);
    assert_non_null(at);
    flip(second, (size_t)(at - good) + 77, 3);

    assert_int_equal(shard_set_open(&set, f.folder), VD_OK);
    assert_int_equal(shard_set_read(&set, 4, pixels), VD_OK);
    check_log_start(&log);
    assert_int_equal(shard_set_read(&set, 5, pixels), VD_DATA);
    check_log_end();
    assert_logged(&log, "shard-00001.h5: image 2, id image_5: damaged: "
                        "digest differs\npack the data set again, or copy "
                        "this file again");
    shard_set_close(&set);
    free(good);
    free(second);
    fixture_clear(&f);
}

static void a_truncated_shard_is_rejected(void **state)
{
    (void)state;
    struct fixture f;
    struct check_log log;
    struct stat info;
    fixture_init(&f, 1);
    assert_int_equal(stat(f.shard, &info), 0);
    check_log_start(&log);
    for (int k = 0; k < 20; k++) {
        off_t size = info.st_size * (19 - k) / 20;
        assert_int_equal(truncate(f.shard, size), 0);
        assert_int_equal(read_all(&f), VD_DATA);
    }
    unlink(f.shard);
    assert_int_equal(read_all(&f), VD_NOINPUT);
    check_log_end();
    fixture_clear(&f);
}

static void a_shard_of_another_data_set_is_rejected(void **state)
{
    (void)state;
    struct fixture f;
    struct check_log log;
    struct shard_entry other;
    fixture_init(&f, 1);
    write_shard(f.shard, 1, N, &other);
    check_log_start(&log);
    assert_int_equal(read_all(&f), VD_DATA);
    check_log_end();
    assert_logged(&log, "not the file that pack.json describes");
    fixture_clear(&f);
}

static void a_shard_that_shrinks_while_open_is_an_error(void **state)
{
    (void)state;
    struct fixture f;
    struct shard_set set;
    struct check_log log;
    uint8_t pixels[PIXELS];
    fixture_init(&f, 1);
    assert_int_equal(shard_set_open(&set, f.folder), VD_OK);
    assert_int_equal(truncate(f.shard, 100), 0);
    check_log_start(&log);
    assert_int_equal(shard_set_read(&set, 0, pixels), VD_DATA);
    check_log_end();
    assert_logged(&log, "shrank since it was opened");
    shard_set_close(&set);
    fixture_clear(&f);
}

/* Two data sets of seven images with some images in common. */
static void images_shared_by_two_sets_are_counted(void **state)
{
    (void)state;
    static const struct {
        int first, n;
        size_t shared, example;
    } cases[] = {{0, N, N, 0}, {N, N, 0, 99}, {3, N, N - 3, 0}, {6, 1, 1, 0}};
    struct fixture f, g;
    struct shard_set a, b;
    fixture_init(&f, 2);
    fixture_init(&g, 1);
    assert_int_equal(shard_set_open(&a, f.folder), VD_OK);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct shard_entry entry = {.file = (char[]){"shard-00000.h5"}};
        size_t example = 99;
        write_shard(g.shard, cases[k].first, cases[k].n, &entry);
        assert_int_equal(
            shard_write_manifest(g.folder, &format, &entry, 1, NULL), VD_OK);
        assert_int_equal(shard_set_open(&b, g.folder), VD_OK);
        assert_int_equal(shard_set_count_shared(&a, &b, &example),
                         cases[k].shared);
        assert_int_equal(example, cases[k].example);
        shard_set_close(&b);
    }
    shard_set_close(&a);
    fixture_clear(&f);
    fixture_clear(&g);
}

/* The remedy is one command for both splits: two commands without --split would
 * pack the same images. */
static void the_remedy_for_missing_shards_packs_both_splits(void **state)
{
    (void)state;
    static const char *const names[] = {"data/train", "data/val", "train"};
    for (int k = 0; k < 3; k++) {
        struct check_log log;
        struct shard_set set;
        check_log_start(&log);
        assert_int_equal(shard_set_open(&set, names[k]), VD_NOINPUT);
        check_log_end();
        assert_logged(&log, "--split train,val -o ");
        assert_logged(&log, k == 2 ? "-o .;" : "-o data;");
    }
}

static void the_remedy_for_a_missing_manifest_is_a_command(void **state)
{
    (void)state;
    struct fixture f;
    struct check_log log;
    fixture_init(&f, 1);
    unlink(f.manifest);
    check_log_start(&log);
    assert_int_equal(read_all(&f), VD_NOINPUT);
    assert_logged(&log, "vocpack pack VOCROOT --split NAME -o");
    f.folder[0] = '#';
    assert_int_equal(read_all(&f), VD_NOINPUT);
    check_log_end();
    assert_logged(&log, "no such folder\nmake the shards");
    f.folder[0] = '/';
    fixture_clear(&f);
}

/* Replaces the first `from` in the manifest by `to`. */
static void edit(const struct fixture *f, const char *from, const char *to)
{
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(f->manifest, 1 << 20, &bytes, &n), VD_OK);
    char *at = strstr(bytes, from);
    if (!at)
        fail_msg("no %s in the manifest", from);
    char *edited =
        xasprintf("%.*s%s%s", (int)(at - bytes), bytes, to, at + strlen(from));
    assert_int_equal(atomic_write(f->manifest, edited, strlen(edited)), VD_OK);
    free(edited);
    free(bytes);
}

static void damaged_manifests_are_rejected(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"\"format\": 1", "\"format\": 2", "format 2; this program reads"},
        {"\"format\": 1", "\"format\": \"1\"", "\"format\": expected"},
        {"\"width\": 8", "\"width\": 16", "digest differs"},
        {"\"width\": 8", "\"width\": 100000", "\"width\": expected"},
        {"\"width\": 8", "\"width\": 8, \"width\": 8", "duplicate"},
        {"\"cat\"", "\"bat\"", "digest differs"},
        {"\"cat\"", "7", "classes: \"[0]\": expected a string"},
        {"\"cat\"", "\"\"", "the name of class 0 is empty"},
        {"\"images\": 7", "\"images\": 8", "\"images\" is 8, but"},
        {"\"images\": 7", "\"images\": -1", "\"images\": expected"},
        {"shard-00000.h5", "../shard-00000.h5", "a file in the same folder"},
        {"shard-00000.h5", "/etc/passwd", "a file in the same folder"},
        {"shard-00000.h5", "shard-00009.h5", "No such file"},
        {"\"digest\": \"", "\"digest\": \"0", "expected 16 hexadecimal digits"},
        {"\"shards\"", "\"chards\"", "\"shards\": expected a list"},
        {"{", "[", "not JSON"},
        {"}\n", "", "not JSON"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct fixture f;
        struct check_log log;
        fixture_init(&f, 1);
        edit(&f, cases[k].from, cases[k].to);
        check_log_start(&log);
        assert_int_not_equal(read_all(&f), VD_OK);
        check_log_end();
        assert_logged(&log, cases[k].message);
        fixture_clear(&f);
    }
}

static void a_report_too_long_to_read_back_is_omitted(void **state)
{
    (void)state;
    struct fixture f;
    struct check_log log;
    struct shard_entry entry = {.file = (char[]){"shard-00000.h5"}};
    char *bytes = NULL, *report = xcalloc(9 << 20, 1);
    size_t n = 0;
    fixture_init(&f, 1);
    assert_int_equal(file_read(f.manifest, 1 << 20, &bytes, &n), VD_OK);
    assert_non_null(strstr(bytes, "a.xml"));
    write_shard(f.shard, 0, N, &entry);
    sprintf(report, "{\"all\":\"%*s\"}", 8 << 20, "");
    check_log_start(&log);
    assert_int_equal(shard_write_manifest(f.folder, &format, &entry, 1, report),
                     VD_OK);
    check_log_end();
    assert_logged(&log, "the report of 8388");
    assert_int_equal(read_all(&f), VD_OK);
    free(bytes);
    free(report);
    fixture_clear(&f);
}

static void invalid_samples_are_not_written(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/s.h5", folder);
    struct shard_writer *w = NULL;
    struct check_log log;
    struct test_sample p;
    size_t n = 0;
    uint64_t digest = 0;
    assert_int_equal(shard_writer_new(&w, path, &format), VD_OK);
    check_log_start(&log);
    make_test_sample(&p, 2);
    p.sample.box[2] = NAN;
    assert_int_equal(shard_writer_add(w, &p.sample), VD_DATA);
    make_test_sample(&p, 2);
    p.sample.id = "a/b";
    assert_int_equal(shard_writer_add(w, &p.sample), VD_DATA);
    make_test_sample(&p, 2);
    p.objects[1].class = 3;
    assert_int_equal(shard_writer_add(w, &p.sample), VD_DATA);
    assert_int_equal(shard_writer_commit(w, &n, &digest), VD_DATA);
    check_log_end();
    assert_logged(&log, "the shard has no image");
    shard_writer_free(w);
    shard_writer_free(NULL);
    struct file_list list;
    assert_int_equal(file_list_read(&list, folder), VD_OK);
    assert_int_equal(list.n, 0);
    file_list_clear(&list);
    free(path);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_data_is_read_back),
        cmocka_unit_test(the_digest_covers_the_documented_bytes),
        cmocka_unit_test(h5py_reads_a_shard),
        cmocka_unit_test(a_shard_rewritten_by_another_tool_is_read),
        cmocka_unit_test(hostile_shards_are_rejected),
        cmocka_unit_test(a_flipped_bit_never_gives_wrong_data_silently),
        cmocka_unit_test(a_damaged_image_is_named),
        cmocka_unit_test(a_truncated_shard_is_rejected),
        cmocka_unit_test(a_shard_of_another_data_set_is_rejected),
        cmocka_unit_test(a_shard_that_shrinks_while_open_is_an_error),
        cmocka_unit_test(images_shared_by_two_sets_are_counted),
        cmocka_unit_test(the_remedy_for_missing_shards_packs_both_splits),
        cmocka_unit_test(the_remedy_for_a_missing_manifest_is_a_command),
        cmocka_unit_test(damaged_manifests_are_rejected),
        cmocka_unit_test(a_report_too_long_to_read_back_is_omitted),
        cmocka_unit_test(invalid_samples_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
