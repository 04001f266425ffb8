/* image/draw: boxes and labels stay inside the image and inside their box;
 * sheets show every image. The folder VOCDIST_TEST_KEEP, if set, receives the
 * drawn images. */
#include "check.h"

#include "base/alloc.h"
#include "base/text.h"
#include "image/draw.h"

static const struct draw_color orange = {1, 0.6, 0.1}, blue = {0.1, 0.2, 0.8};

/* A color gradient in which every drawn pixel is a visible change. */
static struct image make_gradient(int width, int height)
{
    struct image im;
    assert_int_equal(image_new(&im, width, height), VD_OK);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = im.rgb + 3 * (y * width + x);
            p[0] = (uint8_t)(60 + 100 * x / width);
            p[1] = (uint8_t)(80 + 100 * y / height);
            p[2] = 120;
        }
    return im;
}

static const uint8_t *pixel(const struct image *im, int x, int y)
{
    return im->rgb + 3 * (y * im->width + x);
}

static bool same_color(const uint8_t *p, struct draw_color c)
{
    return fabs(p[0] - 255 * c.r) <= 1 && fabs(p[1] - 255 * c.g) <= 1 &&
           fabs(p[2] - 255 * c.b) <= 1;
}

static void save_if_requested(const struct image *im, const char *name)
{
    const char *to = getenv("VOCDIST_TEST_KEEP");
    if (!to)
        return;
    char *path = xasprintf("%s/%s", to, name);
    assert_int_equal(image_write_png(im, path), VD_OK);
    free(path);
}

static void a_box_changes_its_outline_only(void **state)
{
    (void)state;
    struct image im = make_gradient(224, 224), before = make_gradient(224, 224);
    const float box[4] = {40.2f, 59.7f, 140, 180};
    assert_int_equal(draw_box(&im, box, orange, NULL), VD_OK);
    // 1 dark, 2 colored, 1 dark pixel on every side
    assert_true(same_color(pixel(&im, 41, 100), orange));
    assert_true(same_color(pixel(&im, 42, 100), orange));
    assert_true(same_color(pixel(&im, 138, 100), orange));
    assert_true(same_color(pixel(&im, 90, 61), orange));
    assert_true(same_color(pixel(&im, 90, 178), orange));
    assert_true(pixel(&im, 40, 100)[2] < 60 && pixel(&im, 43, 100)[2] < 60);
    for (int y = 0; y < 224; y++)
        for (int x = 0; x < 224; x++) {
            const bool outside = x < 40 || x >= 140 || y < 60 || y >= 180;
            const bool inside = x >= 44 && x < 136 && y >= 64 && y < 176;
            if (outside || inside)
                assert_memory_equal(pixel(&im, x, y), pixel(&before, x, y), 3);
        }
    image_clear(&before);
    image_clear(&im);
}

static int count_color(const struct image *im, struct draw_color color)
{
    int n = 0;
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++)
            n += same_color(pixel(im, x, y), color);
    return n;
}

static void labels_stay_inside_the_image(void **state)
{
    (void)state;
    static const float boxes[][4] = {{80, 80, 150, 150}, {0, 0, 60, 40},
                                     {190, 0, 224, 30},  {200, 200, 224, 224},
                                     {0, 210, 30, 224},  {-50, -50, 300, 300}};
    const int n = sizeof boxes / sizeof *boxes;
    int first = 0;
    for (int i = 0; i < n; i++) {
        struct image im = make_gradient(224, 224),
                     bare = make_gradient(224, 224);
        assert_int_equal(draw_box(&im, boxes[i], blue, "dog 0.97"), VD_OK);
        assert_int_equal(draw_box(&bare, boxes[i], blue, NULL), VD_OK);
        // The label has the same size everywhere; it may cover the outline.
        const int label = count_color(&im, blue) - count_color(&bare, blue);
        if (i == 0)
            first = label;
        assert_true(first > 300);
        assert_in_range(label, first - 260, first);
        image_clear(&bare);
        image_clear(&im);
    }
}

/* True if the middle of one of the box's four edges is orange. */
static bool has_edge(const struct image *im, int x1, int y1, int x2, int y2)
{
    const int x = (x1 + x2) / 2, y = (y1 + y2) / 2;
    for (int k = 0; k < 5; k++)
        if (same_color(pixel(im, x, y1 + k), orange) ||
            same_color(pixel(im, x, y2 - 1 - k), orange) ||
            same_color(pixel(im, x1 + k, y), orange) ||
            same_color(pixel(im, x2 - 1 - k, y), orange))
            return true;
    return false;
}

static int count_changed(const struct image *im)
{
    struct image before = make_gradient(im->width, im->height);
    int n = 0;
    for (int i = 0; i < im->width * im->height; i++)
        n += memcmp(im->rgb + 3 * i, before.rgb + 3 * i, 3) != 0;
    image_clear(&before);
    return n;
}

static void a_box_without_area_has_no_outline(void **state)
{
    (void)state;
    static const float swapped[][4] = {
        {180, 150, 40, 60}, {180, 60, 40, 150}, {40, 150, 180, 60}};
    static const float points[][4] = {{50, 50, 50, 90}, {60, 60, 60, 60}};
    const float proper[4] = {40, 60, 180, 150};
    struct image im = make_gradient(224, 224);
    assert_int_equal(draw_box(&im, proper, orange, NULL), VD_OK);
    assert_true(has_edge(&im, 40, 60, 180, 150));
    image_clear(&im);
    for (int i = 0; i < 3; i++) {
        im = make_gradient(224, 224);
        assert_int_equal(draw_box(&im, swapped[i], orange, NULL), VD_OK);
        assert_true(count_changed(&im) > 50); /* the diagonal is drawn */
        assert_false(has_edge(&im, 40, 60, 180, 150));
        save_if_requested(&im, "swapped.png");
        image_clear(&im);
    }
    for (int i = 0; i < 2; i++) {
        im = make_gradient(224, 224);
        assert_int_equal(draw_box(&im, points[i], orange, NULL), VD_OK);
        assert_true(count_changed(&im) > 0);
        image_clear(&im);
    }
}

static void invalid_boxes_and_labels_are_still_drawn(void **state)
{
    (void)state;
    static const float boxes[][4] = {
        {NAN, NAN, NAN, NAN},    {INFINITY, 0, -INFINITY, 5}, {9, 9, 9, 9},
        {100, 100, 20, 20},      {500, 500, 600, 600},        {-9, -9, -5, -5},
        {1e30f, -1e30f, 0, 1e9f}};
    static const char *const labels[] = {
        "", "\xff\xfe bad", "caf\xc3\xa9 \xe7\x8c\xab", "a\nb\tc",
        "a label that is far longer than the image is wide, and then some"};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++)
        for (size_t k = 0; k < sizeof labels / sizeof *labels; k++) {
            struct image im = make_gradient(120, 90), dot = make_gradient(1, 1);
            assert_int_equal(draw_box(&im, boxes[i], orange, labels[k]), VD_OK);
            assert_true(k == 0 || count_color(&im, orange) > 100);
            assert_int_equal(draw_box(&dot, boxes[i], orange, labels[k]),
                             VD_OK);
            image_clear(&dot);
            image_clear(&im);
        }
}

static void a_too_large_image_is_rejected(void **state)
{
    (void)state;
    struct image im, sheet = {0};
    const float box[4] = {0, 0, 1, 1};
    struct check_log log;
    assert_int_equal(image_new(&im, 32768, 1), VD_OK);
    check_log_start(&log);
    assert_int_equal(draw_box(&im, box, orange, NULL), VD_DATA);
    assert_int_equal(draw_sheet(&sheet, &im, NULL, 1, 1, 40000), VD_DATA);
    check_log_end();
    assert_logged(&log, "32768 x 1 pixels; the limit is 32767 a side");
    assert_null(sheet.rgb);
    image_clear(&im);
}

static void a_sheet_shows_every_image(void **state)
{
    (void)state;
    struct image images[5], sheet = {0};
    const char *captions[5] = {
        "000007: car 0.98", "000012: dog 0.51, cat", NULL,
        "a long caption that has to be made smaller", "pottedplant"};
    for (int i = 0; i < 5; i++) {
        const float box[4] = {20.0f * (float)i, 10, 120, 100};
        images[i] = make_gradient(150 + 40 * i, 150);
        assert_int_equal(draw_box(&images[i], box, i % 2 ? blue : orange,
                                  i == 3 ? "person" : "cat 0.87"),
                         VD_OK);
    }
    assert_int_equal(draw_sheet(&sheet, images, captions, 5, 3, 160), VD_OK);
    assert_int_equal(sheet.width, 8 + 3 * 168);
    assert_int_equal(sheet.height, 8 + 2 * (168 + 22));
    // The first image is square, so it fills its cell.
    assert_true(pixel(&sheet, 8, 8)[2] < 130);
    assert_true(pixel(&sheet, 167, 167)[2] < 130);
    assert_int_equal(pixel(&sheet, 168, 168)[2], 245);
    // Its caption is below the cell.
    int ink = 0;
    for (int y = 168; y < 190; y++)
        for (int x = 8; x < 168; x++)
            ink += pixel(&sheet, x, y)[1] < 100;
    assert_true(ink > 100);
    // The last image covers the middle of its cell; the next cell is empty.
    assert_true(pixel(&sheet, 8 + 168 + 80, 8 + 190 + 120)[2] < 130);
    assert_int_equal(pixel(&sheet, 8 + 2 * 168 + 80, 8 + 190 + 80)[2], 245);
    save_if_requested(&sheet, "sheet.png");
    image_clear(&sheet);
    assert_int_equal(draw_sheet(&sheet, images, NULL, 2, 3, 100), VD_OK);
    assert_int_equal(sheet.width, 8 + 2 * 108);
    assert_int_equal(sheet.height, 8 + 108);
    image_clear(&sheet);
    for (int i = 0; i < 5; i++)
        image_clear(&images[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_box_changes_its_outline_only),
        cmocka_unit_test(labels_stay_inside_the_image),
        cmocka_unit_test(a_box_without_area_has_no_outline),
        cmocka_unit_test(invalid_boxes_and_labels_are_still_drawn),
        cmocka_unit_test(a_too_large_image_is_rejected),
        cmocka_unit_test(a_sheet_shows_every_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
