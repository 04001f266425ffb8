/*
 * Packing: labels in the shards, skipped files, equal bytes for any number of
 * threads and ranks, output folders; and the data check. It uses real images
 * and HDF5 files.
 */
#include "voc.h"

#include "base/text.h"
#include "data/shard.h"
#include "image/image.h"
#include "preprocess/data_check.h"
#include "preprocess/pack.h"
#include "preprocess/pack_ranks.h"
#include "preprocess/workers.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct check_log captured;

/* ---- a scratch VOC folder ---- */

struct voc_fixture {
    char *folder, *root, *out;
    struct pack_options options;
};

static struct voc_fixture make_voc_fixture(void)
{
    struct voc_fixture w = {.folder = check_folder()};
    static char empty[] = "";
    w.root = xasprintf("%s/root", w.folder);
    w.out = xasprintf("%s/out", w.folder);
    w.options = (struct pack_options){.output = w.out,
                                      .threads = 2,
                                      .split = empty,
                                      .classes = empty,
                                      .size = 64,
                                      .shard_mib = 256};
    return w;
}

static void end_voc_fixture(struct voc_fixture *w)
{
    free(w->root);
    free(w->out);
    check_folder_remove(w->folder);
}

/* An image in which each position has its own color. */
static void add_image(const struct voc_fixture *w, const char *name, int width,
                      int height)
{
    struct image im;
    char *path = xasprintf("%s/JPEGImages/%s.jpg", w->root, name);
    char *folder = file_dirname(path);
    assert_int_equal(file_make_folder(folder), VD_OK);
    assert_int_equal(image_new(&im, width, height), VD_OK);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = im.rgb + 3 * (y * width + x);
            p[0] = (uint8_t)(255 * x / width);
            p[1] = (uint8_t)(255 * y / height);
            p[2] = (uint8_t)name[0];
        }
    assert_int_equal(image_write_jpeg(&im, path, 95), VD_OK);
    image_clear(&im);
    free(folder);
    free(path);
}

static void add(const struct voc_fixture *w, const char *name, int width,
                int height, const char *xml)
{
    char *path = xasprintf("Annotations/%s.xml", name);
    add_image(w, name, width, height);
    voc_text(w->root, path, xml);
    free(path);
}

/* Inserts an EXIF block with this orientation after the JPEG's first marker. */
static void set_orientation(const struct voc_fixture *w, const char *name,
                            uint8_t orientation)
{
    const uint8_t exif[] = {
        0xff, 0xe1, 0, 34, 'E', 'x',         'i', 'f', 0, 0,    'M', 'M',
        0,    42,   0, 0,  0,   8,           0,   1,   1, 0x12, 0,   3,
        0,    0,    0, 1,  0,   orientation, 0,   0,   0, 0,    0,   0};
    char *file = xasprintf("JPEGImages/%s.jpg", name);
    char *path = xasprintf("%s/%s", w->root, file), *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &n), VD_OK);
    char *with_exif = xcalloc(n + sizeof exif, 1);
    memcpy(with_exif, bytes, 2);
    memcpy(with_exif + 2, exif, sizeof exif);
    memcpy(with_exif + 2 + sizeof exif, bytes + 2, n - 2);
    voc_write(w->root, file, with_exif, n + sizeof exif);
    free(with_exif);
    free(bytes);
    free(path);
    free(file);
}

/* ---- running ---- */

/* Static schedule: rank r of `size` runs the jobs r, r + size, ... */
struct job_cursor {
    size_t next, size;
};

static enum vd_err next_job_of_rank(void *ctx, size_t *job)
{
    struct job_cursor *t = ctx;
    *job = t->next;
    t->next += t->size;
    return VD_OK;
}

static void ignore_image_done(void *ctx)
{
    (void)ctx;
}

/* Simulates `size` ranks, one after the other; rank 0 gets their outcomes. */
static enum vd_err pack_as(struct voc_fixture *w, int size)
{
    struct pack p[3];
    assert_true(size <= 3);
    for (int r = 0; r < size; r++) {
        enum vd_err err = pack_open(&p[r], &w->options, &w->root, 1);
        if (err != VD_OK)
            return err;
    }
    enum vd_err err = pack_prepare(&p[0]);
    for (int r = 0; r < size && err == VD_OK; r++) {
        struct job_cursor cursor = {(size_t)r, (size_t)size};
        struct pack_scheduler scheduler = {.next_job = next_job_of_rank,
                                           .image_done = ignore_image_done,
                                           .ctx = &cursor,
                                           .silent = r > 0};
        err = pack_work(&p[r], &scheduler);
    }
    for (int r = 1; r < size && err == VD_OK; r++) {
        struct text bytes = {0};
        pack_ranks_serialize(&p[r], &bytes);
        pack_ranks_deserialize(&p[0], bytes.bytes, bytes.length);
        free(bytes.bytes);
    }
    if (err == VD_OK)
        err = pack_finish(&p[0]);
    else
        pack_discard(&p[0]);
    for (int r = 0; r < size; r++)
        pack_close(&p[r]);
    return err;
}

static enum vd_err pack(struct voc_fixture *w)
{
    check_log_start(&captured);
    enum vd_err err = pack_as(w, 1);
    check_log_end();
    return err;
}

static struct shard_set open_set(const struct voc_fixture *w)
{
    struct shard_set set;
    assert_int_equal(shard_set_open(&set, w->out), VD_OK);
    return set;
}

static void assert_label(const struct shard_set *s, size_t i, const char *id,
                         const char *class, const double box[4])
{
    assert_true(i < s->n_images);
    assert_string_equal(s->id[i], id);
    assert_string_equal(s->classes[s->class[i]], class);
    for (int k = 0; k < 4; k++)
        assert_near(s->box[4 * i + (size_t)k], box[k], 1e-5);
}

static char *read_text(const char *folder, const char *name)
{
    char *path = xasprintf("%s/%s", folder, name), *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 1 << 20, &text, &n), VD_OK);
    free(path);
    return text;
}

/* ---- labels ---- */

#define VOC_YEAR                                                           \
    "<source><database>The VOC2007 Database</database></source>" VOC_SIZE( \
        "128", "64")

static void largest_objects_become_labels(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    /* 1-based: pixels 1..128 cover the whole width */
    add(&w, "a", 128, 64,
        VOC_FILE(VOC_YEAR, VOC_OBJECT("cat", "0", "1", "1", "128", "64")));
    /* the largest is difficult, the second is not */
    add(&w, "b", 128, 64,
        VOC_FILE(VOC_YEAR,
                 VOC_OBJECT("dog", "1", "1", "1", "100", "64")
                     VOC_OBJECT("cat", "0", "1", "1", "2", "2")
                         VOC_OBJECT("ape", "0", "3", "3", "10", "10")));
    /* only difficult objects */
    add(&w, "c", 128, 64,
        VOC_FILE(VOC_YEAR, VOC_OBJECT("dog", "1", "1", "1", "8", "8")
                               VOC_OBJECT("ape", "1", "1", "1", "8", "9")));
    /* a tie: 4 x 6 and 6 x 4 */
    add(&w, "d", 128, 64,
        VOC_FILE(VOC_YEAR, VOC_OBJECT("dog", "0", "1", "1", "4", "6")
                               VOC_OBJECT("ape", "0", "1", "1", "6", "4")));
    /* 0-based edges; the box without area is left out, the other clipped */
    add(&w, "e", 128, 64,
        VOC_FILE(VOC_SIZE("128", "64"),
                 VOC_OBJECT("dog", "0", "100", "2", "100", "60")
                     VOC_OBJECT("ape", "0", "-2", "0", "64.5", "70")));
    assert_int_equal(pack(&w), VD_OK);
    assert_logged(&captured,
                  "e.xml:3: the box 100 2 100 60 of \"dog\" has no area");
    assert_logged(&captured,
                  "e.xml:4: the box -2 0 64.5 70 of \"ape\" extends 6.00");

    struct shard_set s = open_set(&w);
    assert_int_equal(s.n_images, 5);
    assert_int_equal(s.n_classes, 3);
    assert_label(&s, 0, "a", "cat", (double[]){0, 0, 64, 64});
    assert_label(&s, 1, "b", "ape", (double[]){1, 2, 5, 10});
    assert_label(&s, 2, "c", "ape", (double[]){0, 0, 4, 9});
    assert_label(&s, 3, "d", "dog", (double[]){0, 0, 2, 6});
    assert_label(&s, 4, "e", "ape", (double[]){0, 0, 32.25, 64});
    assert_int_equal(s.size[2], 128);
    assert_int_equal(s.size[3], 64);
    assert_int_equal(s.object_start[2] - s.object_start[1], 3);
    assert_int_equal(s.objects[s.object_start[1]].difficult, 1);
    assert_int_equal(s.object_start[5] - s.object_start[4], 1);
    shard_set_close(&s);

    char *csv = read_text(w.out, "labels.csv");
    assert_non_null(strstr(csv, "id,class,x1,y1,x2,y2,width,height\n"
                                "a,cat,0,0,64,64,128,64\n"
                                "b,ape,1,2,5,10,128,64\n"));
    free(csv);
    char *json = read_text(w.out, "pack.json");
    assert_non_null(strstr(json, "\"no_area\": 1"));
    assert_non_null(strstr(json, "\"clipped\": 1"));
    assert_null(strstr(json, w.folder));
    free(json);
    end_voc_fixture(&w);
}

/* The area is that of the box clipped to the image. */
static void areas_outside_the_image_do_not_select_the_label(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    add(&w, "a", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "60", "0", "1060", "64")
                         VOC_OBJECT("dog", "0", "2", "2", "55", "55")));
    add(&w, "b", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "-900", "-900", "9", "9")
                         VOC_OBJECT("dog", "0", "20", "20", "40", "40")));
    add(&w, "c", 64, 64,
        VOC_FILE("", VOC_OBJECT("dog", "0", "-9", "0", "40", "64")
                         VOC_OBJECT("cat", "0", "2", "2", "20", "20")));
    assert_int_equal(pack(&w), VD_OK);
    struct shard_set s = open_set(&w);
    assert_label(&s, 0, "a", "dog", (double[]){2, 2, 55, 55});
    assert_label(&s, 1, "b", "dog", (double[]){20, 20, 40, 40});
    assert_label(&s, 2, "c", "dog", (double[]){0, 0, 40, 64});
    shard_set_close(&s);
    end_voc_fixture(&w);
}

static void dense_images_are_packed(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct text xml = {0};
    text_add(&xml, "<annotation>");
    for (int k = 0; k < 2500; k++)
        text_add(&xml, VOC_OBJECT("cell", "0", "%d", "%d", "%d", "%d"), k % 50,
                 k / 50, k % 50 + 3 + (k == 1234), k / 50 + 3);
    text_add(&xml, "</annotation>");
    add(&w, "a", 64, 64, xml.bytes);
    assert_int_equal(pack(&w), VD_OK);
    struct shard_set s = open_set(&w);
    assert_int_equal(s.object_start[1], 2500);
    assert_label(&s, 0, "a", "cell", (double[]){34, 24, 38, 27});
    shard_set_close(&s);
    free(xml.bytes);
    end_voc_fixture(&w);
}

static void csv_texts_are_quoted(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    add(&w, "a,b", 64, 64,
        VOC_FILE("", VOC_OBJECT("big \"cat\"", "0", "0", "0", "9", "9")));
    assert_int_equal(pack(&w), VD_OK);
    char *csv = read_text(w.out, "labels.csv");
    assert_non_null(
        strstr(csv, "\n\"a,b\",\"big \"\"cat\"\"\",0,0,9,9,64,64\n"));
    free(csv);
    end_voc_fixture(&w);
}

/* The same stored image, 128 x 64, which EXIF rotates clockwise: its left half
 * becomes the upper half. */
static void boxes_rotate_with_exif_if_size_is_of_stored_pixels(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    uint8_t *pixels = xcalloc(64 * 64, 3);
    add(&w, "stored", 128, 64,
        VOC_FILE(VOC_SIZE("128", "64"),
                 VOC_OBJECT("cat", "0", "0", "0", "64", "32")));
    add(&w, "upright", 128, 64,
        VOC_FILE(VOC_SIZE("64", "128"),
                 VOC_OBJECT("cat", "0", "32", "0", "64", "64")));
    set_orientation(&w, "stored", 6);
    set_orientation(&w, "upright", 6);
    assert_int_equal(pack(&w), VD_OK);
    struct shard_set s = open_set(&w);
    for (size_t i = 0; i < 2; i++) {
        assert_label(&s, i, i ? "upright" : "stored", "cat",
                     (double[]){32, 0, 64, 32});
        assert_int_equal(s.size[2 * i], 64);
        assert_int_equal(s.size[2 * i + 1], 128);
        assert_int_equal(shard_set_read(&s, i, pixels), VD_OK);
        assert_true(pixels[0] < 10);            /* red: stored x */
        assert_true(pixels[3 * 64 * 63] > 245); /* grows downwards */
        assert_true(pixels[1] > 245);           /* green: stored y */
        assert_true(pixels[3 * 63 + 1] < 10);   /* shrinks rightwards */
    }
    shard_set_close(&s);
    assert_logged(&captured, "stored.jpg:1: EXIF orientation 6");
    free(pixels);
    end_voc_fixture(&w);
}

/* ---- unusable files ---- */

static void make_bad_voc_fixture(struct voc_fixture *w)
{
    *w = make_voc_fixture();
    add(w, "a", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    add(w, "b-broken-xml", 64, 64, "<annotation><object>");
    add(w, "c-cut", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    char *jpeg = read_text(w->root, "JPEGImages/a.jpg");
    voc_write(w->root, "JPEGImages/c-cut.jpg", jpeg, 300);
    free(jpeg);
    add(w, "d-empty", 64, 64, VOC_FILE("", ""));
    voc_text(w->root, "Annotations/e-alone.xml",
             VOC_FILE("<filename>../../x.jpg</filename>",
                      VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    voc_text(w->folder, "x.jpg", "outside");
}

static void all_bad_files_are_reported(void **state)
{
    (void)state;
    struct voc_fixture w;
    make_bad_voc_fixture(&w);
    assert_int_equal(pack(&w), VD_DATA);
    assert_logged(&captured, "b-broken-xml.xml:1: not well-formed");
    assert_logged(&captured, "JPEGImages/c-cut.jpg:1: ");
    assert_logged(&captured, "e-alone.xml:1: no image");
    assert_logged(&captured, "3 files cannot be used; nothing was packed");
    assert_logged(&captured, "--skip-bad");
    char *manifest = xasprintf("%s/pack.json", w.out);
    char *shard = xasprintf("%s/shard-00000.h5", w.out);
    assert_false(file_exists(manifest));
    assert_false(file_exists(shard));
    free(shard);
    free(manifest);

    w.options.skip_bad = true;
    assert_int_equal(pack(&w), VD_OK);
    assert_logged(&captured, "d-empty.xml:1: no object with a usable box");
    struct shard_set s = open_set(&w);
    assert_int_equal(s.n_images, 1);
    assert_string_equal(s.id[0], "a");
    shard_set_close(&s);
    char *json = read_text(w.out, "pack.json");
    assert_non_null(strstr(json, "\"bad_annotations\": 1"));
    assert_non_null(strstr(json, "\"bad_pictures\": 1"));
    assert_non_null(strstr(json, "\"missing_pictures\": 1"));
    assert_non_null(strstr(json, "\"without_object\": 1"));
    assert_non_null(strstr(json, "root/Annotations/e-alone.xml"));
    free(json);
    end_voc_fixture(&w);
}

static void images_without_objects_can_be_an_error(void **state)
{
    (void)state;
    struct voc_fixture w;
    make_bad_voc_fixture(&w);
    w.options.skip_bad = true;
    w.options.empty = PACK_EMPTY_ERROR;
    assert_int_equal(pack(&w), VD_DATA);
    assert_logged(&captured, "1 images have no usable object");
    end_voc_fixture(&w);
}

static void unknown_classes_stop_packing(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    add(&w, "a", 64, 64,
        VOC_FILE("", VOC_OBJECT("person", "0", "0", "0", "9", "9")));
    w.options.classes = xasprintf("%s/classes.txt", w.folder);
    voc_text(w.folder, "classes.txt", "persons\n");
    assert_int_equal(pack(&w), VD_DATA);
    assert_logged(&captured, "did you mean \"persons\"?");
    assert_false(file_exists(w.out));
    free(w.options.classes);
    end_voc_fixture(&w);
}

/* ---- determinism ---- */

static void assert_same_folders(const char *a, const char *b)
{
    char *command = xasprintf("diff -r '%s' '%s'", a, b);
    assert_int_equal(system(command), 0);
    free(command);
}

/* 200 images of 64 x 64 in shards of 85; 29 images have no object. */
static void bytes_do_not_depend_on_threads_or_ranks(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    static const struct {
        int threads, ranks;
    } runs[] = {{1, 1}, {4, 1}, {1, 2}, {2, 3}};
    char *outs[4];
    for (int k = 0; k < 200; k++) {
        char *name = xasprintf("%03d", k);
        add(&w, name, 40 + k, 50,
            k % 7
                ? VOC_FILE("", VOC_OBJECT("cat", "0", "1", "1", "30", "60")
                                   VOC_OBJECT("dog", "0", "5", "5", "5", "20"))
                : VOC_FILE("", ""));
        free(name);
    }
    w.options.shard_mib = 1;
    check_log_start(&captured);
    for (int k = 0; k < 4; k++) {
        outs[k] = w.options.output = xasprintf("%s/out%d", w.folder, k);
        w.options.threads = runs[k].threads;
        assert_int_equal(pack_as(&w, runs[k].ranks), VD_OK);
    }
    check_log_end();
    struct shard_set s;
    assert_int_equal(shard_set_open(&s, outs[0]), VD_OK);
    assert_int_equal(s.n_images, 200 - 29);
    shard_set_close(&s);
    char *third = xasprintf("%s/shard-00002.h5", outs[0]);
    assert_true(file_exists(third));
    free(third);
    for (int k = 1; k < 4; k++)
        assert_same_folders(outs[0], outs[k]);
    for (int k = 0; k < 4; k++)
        free(outs[k]);
    end_voc_fixture(&w);
}

static void each_split_has_its_own_folder(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    static char splits[] = "train,val", one[] = "val";
    for (int k = 0; k < 3; k++)
        add(&w, (const char *[]){"a", "b", "c"}[k], 64, 64,
            VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    voc_text(w.root, "ImageSets/Main/train.txt", "c\na\n");
    voc_text(w.root, "ImageSets/Main/val.txt", "b\na\n");
    w.options.split = splits;
    assert_int_equal(pack(&w), VD_OK);
    assert_logged(&captured, "Main/val.txt:2: \"a\" is in train as well");
    assert_null(strstr(captured.text, "same pixels"));
    char *out = w.out;
    w.out = xasprintf("%s/train", out);
    struct shard_set s = open_set(&w);
    assert_int_equal(s.n_images, 2);
    assert_string_equal(s.id[0], "c");
    shard_set_close(&s);
    free(w.out);
    w.out = out;
    w.options.split = one;
    assert_int_equal(pack(&w), VD_OK);
    s = open_set(&w);
    assert_int_equal(s.n_images, 2);
    assert_string_equal(s.id[0], "b");
    shard_set_close(&s);
    end_voc_fixture(&w);
}

static void write_split(const struct voc_fixture *w, const char *name,
                        int first, int n)
{
    struct text list = {0};
    char *path = xasprintf("ImageSets/Main/%s.txt", name);
    for (int k = first; k < first + n; k++)
        text_add(&list, "%c\n", 'a' + k);
    voc_text(w->root, path, list.bytes);
    free(list.bytes);
    free(path);
}

/* b is a copy of a under another name; c is another image. */
static void equal_pixels_in_two_splits_are_reported(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    static char splits[] = "train,val";
    for (int k = 0; k < 3; k++)
        add(&w, (const char *[]){"a", "b", "c"}[k], 64, 64,
            VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    char *a = xasprintf("%s/JPEGImages/a.jpg", w.root), *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(a, 1 << 20, &bytes, &n), VD_OK);
    voc_write(w.root, "JPEGImages/b.jpg", bytes, n);
    write_split(&w, "train", 0, 1);
    write_split(&w, "val", 1, 2);
    w.options.split = splits;
    for (int ranks = 1; ranks <= 2; ranks++) {
        w.options.overwrite = ranks > 1;
        check_log_start(&captured);
        assert_int_equal(pack_as(&w, ranks), VD_OK);
        check_log_end();
        assert_logged(&captured,
                      "JPEGImages/b.jpg:1: \"b\" of val has the same "
                      "pixels as \"a\" of train");
        assert_null(strstr(captured.text, "\"c\""));
        char *json = read_text(w.out, "val/pack.json");
        assert_non_null(strstr(json, "\"in_several_splits\": 1"));
        free(json);
    }
    free(bytes);
    free(a);
    end_voc_fixture(&w);
}

static void only_splits_that_must_be_disjoint_are_compared(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        bool is_reported;
    } cases[] = {{"train", "val", true},     {"train", "trainval", false},
                 {"val", "trainval", false}, {"trainval", "test", true},
                 {"train2", "valid", true},  {"one", "two", true},
                 {"train", "holdout", true}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct voc_fixture w = make_voc_fixture();
        add(&w, "a", 64, 64,
            VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
        write_split(&w, cases[k].first, 0, 1);
        write_split(&w, cases[k].second, 0, 1);
        w.options.split = xasprintf("%s,%s", cases[k].first, cases[k].second);
        assert_int_equal(pack(&w), VD_OK);
        assert_int_equal(strstr(captured.text, "as well") != NULL,
                         cases[k].is_reported);
        free(w.options.split);
        end_voc_fixture(&w);
    }
}

static void classes_without_training_images_are_reported(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    static char splits[] = "train,val", other[] = "val,train";
    add(&w, "a", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")
                         VOC_OBJECT("fox", "0", "0", "0", "5", "5")));
    add(&w, "b", 64, 64,
        VOC_FILE("", VOC_OBJECT("fox", "0", "0", "0", "9", "9")));
    add(&w, "c", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    write_split(&w, "train", 0, 1);
    write_split(&w, "val", 1, 2);
    for (int k = 0; k < 2; k++) {
        w.options.split = k ? other : splits;
        w.options.overwrite = k > 0;
        assert_int_equal(pack(&w), VD_OK);
        assert_logged(&captured,
                      "val.txt:1: class \"fox\" is the label of 1 images "
                      "here and never in train; it cannot be learned");
        assert_null(strstr(captured.text, "class \"cat\""));
    }
    end_voc_fixture(&w);
}

/* ---- output ---- */

static void finished_sets_are_kept_and_leftovers_replaced(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    add(&w, "a", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    voc_text(w.out, "shard-00000.h5", "torn");
    voc_text(w.out, "shard-00007.h5", "of a former attempt");
    voc_text(w.out, "notes.txt", "the user's own");
    assert_int_equal(pack(&w), VD_OK);
    char *stale = xasprintf("%s/shard-00007.h5", w.out);
    char *notes = xasprintf("%s/notes.txt", w.out);
    assert_false(file_exists(stale));
    assert_true(file_exists(notes));

    char *before = read_text(w.out, "pack.json");
    w.options.size = 32;
    assert_int_equal(pack(&w), VD_CREATE);
    assert_logged(&captured, "already contains a finished data set");
    assert_logged(&captured, "--overwrite");
    char *after = read_text(w.out, "pack.json");
    assert_string_equal(before, after);
    w.options.overwrite = true;
    assert_int_equal(pack(&w), VD_OK);
    struct shard_set s = open_set(&w);
    assert_int_equal(s.width, 32);
    shard_set_close(&s);
    free(after);
    free(before);
    free(notes);
    free(stale);
    end_voc_fixture(&w);
}

static void assert_no_file(const char *folder)
{
    char *command = xasprintf("test -z \"$(find '%s' -type f -o -name "
                              ".packing)\"",
                              folder);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Packs in a child process with a file size limit of 8 KiB, like a full disk.
 */
static void pack_on_a_full_disk(struct voc_fixture *w)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {8192, 8192};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit((int)pack(w));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), VD_IO);
}

#define GOOD VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9"))

/* An empty split, a bad file or a full disk, in either split: no data set is
 * left, and the same command works when the cause is gone. */
static void a_failed_run_publishes_no_split(void **state)
{
    (void)state;
    static const char *const bad[] = {VOC_FILE("", ""), "not XML", GOOD};
    static char train_first[] = "train,val", val_first[] = "val,train";
    for (int k = 0; k < 6; k++) {
        struct voc_fixture w = make_voc_fixture();
        add(&w, "a", 64, 64, GOOD);
        add(&w, "b", 64, 64, bad[k / 2]);
        write_split(&w, "train", 0, 1);
        write_split(&w, "val", 1, 1);
        w.options.split = k % 2 ? val_first : train_first;
        if (k / 2 == 2)
            pack_on_a_full_disk(&w);
        else
            assert_int_equal(pack(&w), VD_DATA);
        assert_no_file(w.out);
        add(&w, "b", 64, 64, GOOD);
        assert_int_equal(pack(&w), VD_OK);
        char *staging = xasprintf("%s/val/.packing", w.out);
        assert_false(file_exists(staging));
        free(staging);
        end_voc_fixture(&w);
    }
}

static void a_failed_overwrite_keeps_the_old_data(void **state)
{
    (void)state;
    static char splits[] = "train,val";
    static const char *const bad[] = {VOC_FILE("", ""), "not XML", GOOD};
    for (int k = 0; k < 3; k++) {
        struct voc_fixture w = make_voc_fixture();
        add(&w, "a", 64, 64, GOOD);
        add(&w, "b", 64, 64, GOOD);
        write_split(&w, "train", 0, 1);
        write_split(&w, "val", 1, 1);
        w.options.split = splits;
        assert_int_equal(pack(&w), VD_OK);
        char *copy = xasprintf("%s/copy", w.folder);
        char *command = xasprintf("cp -r '%s' '%s'", w.out, copy);
        assert_int_equal(system(command), 0);

        w.options.overwrite = true;
        w.options.size = 96;
        add(&w, "b", 64, 64, bad[k]);
        if (k == 2)
            pack_on_a_full_disk(&w);
        else
            assert_int_equal(pack(&w), VD_DATA);
        assert_same_folders(w.out, copy);
        free(command);
        free(copy);
        end_voc_fixture(&w);
    }
}

/* The files of a killed run are not read as a data set, and the next run
 * removes them. */
static void files_of_a_killed_run_are_removed(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    add(&w, "a", 64, 64, GOOD);
    voc_text(w.out, ".packing/shard-00000.h5", "torn");
    voc_text(w.out, ".packing/shard-00001.h5.tmp-1-1", "torn");
    voc_text(w.out, ".packing/pack.json", "{}");
    assert_int_equal(pack(&w), VD_OK);
    char *staging = xasprintf("%s/.packing", w.out);
    assert_false(file_exists(staging));
    free(staging);
    end_voc_fixture(&w);
}

static void output_errors_are_reported(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    add(&w, "a", 64, 64,
        VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9")));
    voc_text(w.folder, "file", "not a folder");
    w.options.output = xasprintf("%s/file/out", w.folder);
    assert_int_equal(pack(&w), VD_CREATE);
    assert_logged(&captured, "file");
    free(w.options.output);
    w.options.output = w.out;

    pack_on_a_full_disk(&w);
    char *manifest = xasprintf("%s/pack.json", w.out);
    assert_false(file_exists(manifest));
    free(manifest);
    end_voc_fixture(&w);
}

static void options_are_checked(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct pack p;
    check_log_start(&captured);
    assert_int_equal(pack_open(&p, &w.options, &w.root, 0), VD_USAGE);
    w.options.size = 100;
    assert_int_equal(pack_open(&p, &w.options, &w.root, 1), VD_USAGE);
    w.options.size = 64;
    static char empty[] = "";
    w.options.output = empty;
    assert_int_equal(pack_open(&p, &w.options, &w.root, 1), VD_USAGE);
    check_log_end();
    assert_logged(&captured, "no VOC folder given");
    assert_logged(&captured, "the next multiple is 128");
    assert_logged(&captured, "set it with -o DIR");
    end_voc_fixture(&w);
}

/* ---- the data check ---- */

static void data_check_reports_all_problems(void **state)
{
    (void)state;
    struct voc_fixture w;
    make_bad_voc_fixture(&w);
    static char empty[] = "";
    struct data_check_options options = {.threads = 2, .split = empty};
    for (int strict = 0; strict < 2; strict++) {
        char *text = NULL;
        size_t n = 0;
        FILE *out = open_memstream(&text, &n);
        options.strict = strict;
        check_log_start(&captured);
        assert_int_equal(data_check_run(&options, &w.root, 1, out),
                         strict ? VD_DATA : VD_OK);
        check_log_end();
        fclose(out);
        assert_non_null(strstr(text, "/b-broken-xml.xml:1: not well-formed"));
        assert_non_null(strstr(text, "/c-cut.jpg:1: "));
        assert_non_null(strstr(text, "/e-alone.xml:1: no image"));
        assert_non_null(strstr(text, "/d-empty.xml:1: no object"));
        assert_non_null(strstr(text, "1 of 5 annotated images are usable"));
        assert_null(strstr(text, "no problems found"));
        free(text);
    }
    assert_logged(&captured, "4 problems found");
    end_voc_fixture(&w);
}

static void data_check_reports_when_no_image_is_usable(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    static char empty[] = "";
    struct data_check_options options = {.threads = 1, .split = empty};
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    add(&w, "a", 64, 64, "not XML");
    assert_int_equal(data_check_run(&options, &w.root, 1, out), VD_OK);
    fclose(out);
    assert_non_null(strstr(text, "/a.xml:1: not well-formed"));
    assert_non_null(strstr(text, "0 of 1 annotated images are usable"));
    free(text);
    assert_int_equal(pack(&w), VD_DATA);
    assert_logged(&captured, "1 files cannot be used");
    end_voc_fixture(&w);
}

/* The output of the data check of the fixture; owned. */
static char *check_text(struct voc_fixture *w, char *split,
                        enum vd_err expected)
{
    struct data_check_options options = {
        .threads = 2, .split = split, .strict = true};
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    check_log_start(&captured);
    assert_int_equal(data_check_run(&options, &w->root, 1, out), expected);
    check_log_end();
    fclose(out);
    return text;
}

/* Two classes in train and in val, a list of all images and a class list. */
static struct voc_fixture make_split_voc_fixture(void)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    struct voc_fixture w = make_voc_fixture();
    for (int k = 0; k < 4; k++)
        add(&w, names[k], 64, 64,
            k % 2 ? VOC_FILE("", VOC_OBJECT("cat", "0", "0", "0", "9", "9"))
                  : VOC_FILE("", VOC_OBJECT("dog", "0", "0", "0", "9", "9")));
    write_split(&w, "train", 0, 2);
    write_split(&w, "val", 2, 2);
    write_split(&w, "trainval", 0, 4);
    write_split(&w, "all", 0, 4);
    voc_text(w.root, "ImageSets/Main/dog_train.txt", "a 1\nb -1\n");
    return w;
}

/* Each case puts one mistake into a correct folder that pack or train would
 * report; --strict must fail. */
static void data_check_reads_split_lists(void **state)
{
    (void)state;
    static const struct {
        const char *name, *content;
        size_t n; /* bytes; 0: a text */
        const char *message;
    } cases[] = {
        {"ImageSets/Main/val.txt", "c\nd\nb\n", 0,
         "Main/val.txt:3: \"b\" is in train as well"},
        {"ImageSets/Main/test.txt", "c\n", 0,
         "trainval.txt:3: \"c\" is in test as well"},
        {"ImageSets/Main/test.txt", "c\n", 0,
         "/val.txt:1: \"c\" is in test as"},
        {"ImageSets/Main/train.txt", "a\nb\na\n", 0,
         "train.txt:3: \"a\" is already in line 1 of this list"},
        {"ImageSets/Main/train.txt", "a\nb\nnone\n", 0,
         "train.txt:3: \"none\" has no annotation"},
        {"ImageSets/Main/more.txt", "a\nnone", 0, "more.txt:2: \"none\""},
        {"ImageSets/Main/val.txt",
         "\xff\xfe"
         "c\0\n\0",
         6, "val.txt:1: text in UTF-16"},
        {"ImageSets/Main/val.txt", "c\nd\0\n", 5, "val.txt:2: a NUL byte"},
        {"ImageSets/Main/val.txt/x", "", 0, "Main/val.txt:1: "},
        {"ImageSets/Main/test.txt", "\n", 0, "no usable image in this list"},
        {"JPEGImages/e.png", "", 0,
         "e.png:1: an image without annotation Annotations/e.xml"},
        {"Annotations/more/e.xml", "", 0,
         "Annotations/more:1: a subfolder with 1 annotations"},
        {"Annotations/f/g/e.XML", "", 0, "a subfolder with 1 annotations"},
        {"Annotations/d.xml",
         VOC_FILE("", VOC_OBJECT("fox", "0", "0", "0", "9", "9")), 0,
         "val.txt:1: class \"fox\" is the label of 1 images here and never in "
         "train"},
        {"Annotations/d.xml", "", 0, "d.xml:1: the file is empty"},
    };
    static char none[] = "";
    struct voc_fixture valid = make_split_voc_fixture();
    char *text = check_text(&valid, none, VD_OK);
    assert_non_null(strstr(text, "no problems found"));
    assert_non_null(strstr(text, "2 of 2 images in list train are usable\n"));
    free(text);
    end_voc_fixture(&valid);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct voc_fixture w = make_split_voc_fixture();
        if (strstr(cases[k].name, "val.txt/")) {
            char *list = xasprintf("%s/ImageSets/Main/val.txt", w.root);
            assert_int_equal(unlink(list), 0);
            free(list);
        }
        voc_write(w.root, cases[k].name, cases[k].content,
                  cases[k].n ? cases[k].n : strlen(cases[k].content));
        text = check_text(&w, none, VD_DATA);
        if (!strstr(text, cases[k].message))
            fail_msg("no message %s in:\n%s", cases[k].message, text);
        assert_null(strstr(text, "no problems found"));
        assert_logged(&captured, "problems found");
        free(text);
        end_voc_fixture(&w);
    }
}

static void data_check_compares_pixels_of_given_splits(void **state)
{
    (void)state;
    struct voc_fixture w = make_split_voc_fixture();
    static char none[] = "", both[] = "train,all";
    char *a = xasprintf("%s/JPEGImages/a.jpg", w.root), *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(a, 1 << 20, &bytes, &n), VD_OK);
    voc_write(w.root, "JPEGImages/c.jpg", bytes, n);
    char *text = check_text(&w, none, VD_DATA);
    assert_non_null(strstr(text, "c.jpg:1: \"c\" of val has the same pixels as "
                                 "\"a\" of train"));
    assert_non_null(strstr(text, "1 images in more than one split"));
    free(text);
    text = check_text(&w, both, VD_DATA);
    assert_non_null(strstr(text, "all.txt:1: \"a\" is in train as well"));
    free(text);
    free(bytes);
    free(a);
    end_voc_fixture(&w);
}

/* ---- workers ---- */

struct squares {
    int slots[5], sum, n;
};

static void square(void *ctx, size_t item, size_t slot)
{
    ((struct squares *)ctx)->slots[slot] = (int)(item * item);
}

static enum vd_err add_square(void *ctx, size_t item, size_t slot)
{
    struct squares *s = ctx;
    assert_int_equal(s->slots[slot], item * item);
    assert_int_equal(s->n++, item);
    return item == 700 ? VD_DATA : VD_OK;
}

static void workers_deliver_in_order_and_stop_on_errors(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 8; threads++) {
        struct squares s = {.n = 0};
        struct workers w = {threads, 700, 5, square, add_square, &s};
        assert_int_equal(workers_run(&w), VD_OK);
        assert_int_equal(s.n, 700);
        s.n = 0;
        w.n_items = 5000;
        assert_int_equal(workers_run(&w), VD_DATA);
        assert_int_equal(s.n, 701);
    }
    assert_true(workers_cores() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_objects_become_labels),
        cmocka_unit_test(areas_outside_the_image_do_not_select_the_label),
        cmocka_unit_test(dense_images_are_packed),
        cmocka_unit_test(csv_texts_are_quoted),
        cmocka_unit_test(boxes_rotate_with_exif_if_size_is_of_stored_pixels),
        cmocka_unit_test(all_bad_files_are_reported),
        cmocka_unit_test(images_without_objects_can_be_an_error),
        cmocka_unit_test(unknown_classes_stop_packing),
        cmocka_unit_test(bytes_do_not_depend_on_threads_or_ranks),
        cmocka_unit_test(each_split_has_its_own_folder),
        cmocka_unit_test(equal_pixels_in_two_splits_are_reported),
        cmocka_unit_test(only_splits_that_must_be_disjoint_are_compared),
        cmocka_unit_test(classes_without_training_images_are_reported),
        cmocka_unit_test(finished_sets_are_kept_and_leftovers_replaced),
        cmocka_unit_test(a_failed_run_publishes_no_split),
        cmocka_unit_test(a_failed_overwrite_keeps_the_old_data),
        cmocka_unit_test(files_of_a_killed_run_are_removed),
        cmocka_unit_test(output_errors_are_reported),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(data_check_reports_all_problems),
        cmocka_unit_test(data_check_reports_when_no_image_is_usable),
        cmocka_unit_test(data_check_reads_split_lists),
        cmocka_unit_test(data_check_compares_pixels_of_given_splits),
        cmocka_unit_test(workers_deliver_in_order_and_stop_on_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
