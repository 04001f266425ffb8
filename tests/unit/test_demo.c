/*
 * The demo data set: it is a function of the seed only, and its annotations
 * match its images.
 */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "preprocess/annotation.h"
#include "preprocess/annotation_frame.h"
#include "tools/demo/demo.h"
#include "tools/demo/demo_image.h"
#include "tools/demo/demo_shapes.h"

#define IMAGES 24
#define SIZE   96

static const struct demo_options usual = {
    .images = IMAGES, .seed = 5, .size = SIZE, .threads = 2};

static char *write_set(char *folder, const char *name,
                       const struct demo_options *options)
{
    char *path = xasprintf("%s/%s", folder, name);
    assert_int_equal(demo_write(path, options), VD_OK);
    return path;
}

static void add_folder(struct hash *h, const char *root, const char *part)
{
    char *folder = xasprintf("%s/%s", root, part);
    struct file_list list;
    assert_int_equal(file_list_read(&list, folder), VD_OK);
    assert_true(list.n > 0);
    for (size_t i = 0; i < list.n; i++) {
        char *bytes = NULL, *path = xasprintf("%s/%s", folder, list.names[i]);
        size_t n = 0;
        assert_int_equal(file_read(path, 1 << 20, &bytes, &n), VD_OK);
        hash_update(h, list.names[i], strlen(list.names[i]) + 1);
        hash_update(h, bytes, n);
        free(bytes);
        free(path);
    }
    file_list_clear(&list);
    free(folder);
}

/* The hash of names and bytes of all files; frees `root`. */
static uint64_t set_hash(char *root)
{
    struct hash h;
    hash_init(&h);
    add_folder(&h, root, "JPEGImages");
    add_folder(&h, root, "Annotations");
    add_folder(&h, root, "ImageSets/Main");
    free(root);
    return hash_final(&h);
}

static void bytes_depend_on_the_seed_only(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct demo_options one_thread = usual, other_seed = usual;
    one_thread.threads = 1;
    other_seed.seed++;
    uint64_t a = set_hash(write_set(folder, "a", &usual));
    uint64_t b = set_hash(write_set(folder, "b", &one_thread));
    uint64_t c = set_hash(write_set(folder, "c", &other_seed));
    assert_true(a == b);
    assert_true(a != c);
    check_folder_remove(folder);
}

static void an_image_does_not_depend_on_the_number_of_images(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct demo_options fewer = usual;
    fewer.images = 8;
    char *roots[2] = {write_set(folder, "a", &usual),
                      write_set(folder, "b", &fewer)};
    char *bytes[2];
    size_t n[2];
    for (int k = 0; k < 2; k++) {
        char *path = xasprintf("%s/JPEGImages/000007.jpg", roots[k]);
        assert_int_equal(file_read(path, 1 << 20, &bytes[k], &n[k]), VD_OK);
        free(path);
        free(roots[k]);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
    free(bytes[0]);
    free(bytes[1]);
    check_folder_remove(folder);
}

/* Copies the list, "000007\n" per image, to `text` (of 4096 bytes). */
static void read_list(const char *root, const char *split, char *text)
{
    char *bytes = NULL,
         *path = xasprintf("%s/ImageSets/Main/%s.txt", root, split);
    size_t n = 0;
    assert_int_equal(file_read(path, 4095, &bytes, &n), VD_OK);
    memcpy(text, bytes, n + 1);
    free(bytes);
    free(path);
}

static void every_eighth_image_is_for_validation(void **state)
{
    (void)state;
    char *folder = check_folder(), *root = write_set(folder, "a", &usual);
    char train[4096], val[4096], both[4096];
    read_list(root, "train", train);
    read_list(root, "val", val);
    read_list(root, "trainval", both);
    assert_string_equal(val, "000007\n000015\n000023\n");
    assert_int_equal(strlen(train), (IMAGES - 3) * 7);
    assert_int_equal(strlen(both), IMAGES * 7);
    assert_null(strstr(train, "000015"));
    assert_non_null(strstr(both, "000015"));
    free(root);
    check_folder_remove(folder);
}

static void annotations_match_the_images(void **state)
{
    (void)state;
    char *folder = check_folder(), *root = write_set(folder, "a", &usual);
    for (int i = 0; i < IMAGES; i++) {
        struct demo_image p;
        struct annotation a;
        struct diagnostics diagnostics = {0};
        char *path = xasprintf("%s/Annotations/%06d.xml", root, i);
        assert_int_equal(demo_image_draw(&p, 5, (uint64_t)i, SIZE), VD_OK);
        assert_int_equal(annotation_read(&a, path, &diagnostics), VD_OK);
        assert_false(annotation_frame_is_official(&a));
        assert_int_equal(a.width, p.image.width);
        assert_int_equal(a.height, p.image.height);
        assert_int_equal(a.n_objects, p.n_objects);
        for (int k = 0; k < p.n_objects; k++) {
            const struct annotation_object *o = &a.objects[k];
            assert_string_equal(o->name, demo_class_name(p.objects[k].class));
            assert_true(o->has_box && !o->difficult);
            for (int j = 0; j < 4; j++)
                assert_true(o->box[j] == p.objects[k].box[j]);
        }
        annotation_clear(&a);
        demo_image_clear(&p);
        free(path);
    }
    free(root);
    check_folder_remove(folder);
}

/* Pixels of object k in a column or row; 0 outside the image. */
static int count_line(const struct demo_image *p, int k, bool is_column, int at)
{
    int w = p->image.width, h = p->image.height, n = 0;
    if (at < 0 || at >= (is_column ? w : h))
        return 0;
    for (int i = 0; i < (is_column ? h : w); i++)
        n += p->owner[is_column ? i * w + at : at * w + i] == k + 1;
    return n;
}

static void boxes_are_tight_and_inside(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 200; i++) {
        struct demo_image p;
        assert_int_equal(demo_image_draw(&p, 9, i, SIZE), VD_OK);
        assert_in_range(p.n_objects, 2, DEMO_MAX_OBJECTS);
        for (int k = 0; k < p.n_objects; k++) {
            const int *b = p.objects[k].box;
            assert_true(b[0] >= 0 && b[0] < b[2] && b[2] <= p.image.width);
            assert_true(b[1] >= 0 && b[1] < b[3] && b[3] <= p.image.height);
            for (int j = 0; j < 4; j++) {
                int inner = j < 2 ? b[j] : b[j] - 1;
                int outer = j < 2 ? b[j] - 1 : b[j];
                assert_true(count_line(&p, k, j % 2 == 0, inner) > 0);
                assert_int_equal(count_line(&p, k, j % 2 == 0, outer), 0);
            }
        }
        demo_image_clear(&p);
    }
}

/* The mean color of an object's pixels in the finished image. */
static void mean_color(const struct demo_image *p, int k, double rgb[3])
{
    size_t pixels = (size_t)p->image.width * (size_t)p->image.height, n = 0;
    rgb[0] = rgb[1] = rgb[2] = 0;
    for (size_t at = 0; at < pixels; at++) {
        if (p->owner[at] != k + 1)
            continue;
        n++;
        for (int c = 0; c < 3; c++)
            rgb[c] += p->image.rgb[3 * at + (size_t)c] / 255.0;
    }
    for (int c = 0; c < 3; c++)
        rgb[c] /= (double)n;
}

/* Pearson correlation of the channels of two colors, -1..1. */
static double correlation(const double a[3], const double b[3])
{
    double ma = (a[0] + a[1] + a[2]) / 3, mb = (b[0] + b[1] + b[2]) / 3;
    double ab = 0, aa = 0, bb = 0;
    for (int c = 0; c < 3; c++) {
        ab += (a[c] - ma) * (b[c] - mb);
        aa += (a[c] - ma) * (a[c] - ma);
        bb += (b[c] - mb) * (b[c] - mb);
    }
    return ab / sqrt(aa * bb + 1e-12);
}

static void objects_have_their_class_color(void **state)
{
    (void)state;
    double worst = 1;
    for (uint64_t i = 0; i < 200; i++) {
        struct demo_image p;
        assert_int_equal(demo_image_draw(&p, 9, i, SIZE), VD_OK);
        for (int k = 0; k < p.n_objects; k++) {
            double drawn_color[3], class_color[3];
            mean_color(&p, k, drawn_color);
            demo_class_color(p.objects[k].class, class_color);
            worst = fmin(worst, correlation(drawn_color, class_color));
        }
        demo_image_clear(&p);
    }
    if (!(worst > 0.7))
        fail_msg("correlation %g", worst);
}

static void existing_files_are_not_overwritten(void **state)
{
    (void)state;
    char *folder = check_folder(), *root = write_set(folder, "a", &usual);
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(demo_write(root, &usual), VD_CREATE);
    check_log_end();
    assert_logged(&log, "JPEGImages: already exists");
    free(root);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_depend_on_the_seed_only),
        cmocka_unit_test(an_image_does_not_depend_on_the_number_of_images),
        cmocka_unit_test(every_eighth_image_is_for_validation),
        cmocka_unit_test(annotations_match_the_images),
        cmocka_unit_test(boxes_are_tight_and_inside),
        cmocka_unit_test(objects_have_their_class_color),
        cmocka_unit_test(existing_files_are_not_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
