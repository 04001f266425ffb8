/*
 * Coordinate frames: 1-based and 0-based files, clipping, EXIF orientations,
 * areas.
 */
#include "check.h"

#include "preprocess/annotation_frame.h"

static struct annotation make_annotation(const char *source, int w, int h)
{
    return (struct annotation){
        .source = (char *)(uintptr_t)source, .width = w, .height = h};
}

static void assert_box(const struct annotation *a,
                       struct image_file_info source, const double in[4],
                       const double expected[4])
{
    double box[4], overrun = -1;
    struct annotation_frame f = annotation_frame_find(a, &source);
    assert_true(annotation_frame_box(&f, in, box, &overrun));
    for (int k = 0; k < 4; k++)
        assert_near(box[k], expected[k], 0);
    assert_near(overrun, 0, 0);
}

static void official_years_are_recognized_by_whole_words(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        bool official;
    } cases[] = {
        {"VOC2007", true},
        {"VOC2012", true},
        {"VOC2005", true},
        {"VOC2013", false},
        {"VOC2004", false},
        {"VOC20071", false},
        {"myVOC2007", false},
        {"VOC2007x", false},
        {"The VOC2007 Database PASCAL VOC2007 flickr ", true},
        {"Unknown ", false},
        {"", false},
        {"VOCdevkit/VOC2010", true},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct annotation a = make_annotation(cases[k].source, 0, 0);
        if (annotation_frame_is_official(&a) != cases[k].official)
            fail_msg("source %s", cases[k].source);
    }
}

/* labelImg writes its working folder into <folder>; its boxes are edges. */
static void the_folder_element_does_not_change_boxes(void **state)
{
    (void)state;
    struct image_file_info source = {500, 375, 1};
    struct annotation a = make_annotation("Unknown ", 500, 375);
    static char folder[] = "VOC2007";
    a.folder = folder;
    assert_box(&a, source, (double[]){7, 9, 40, 50}, (double[]){7, 9, 40, 50});
}

static void official_pixels_become_edges(void **state)
{
    (void)state;
    struct image_file_info source = {500, 375, 1};
    struct annotation a = make_annotation("VOC2007", 500, 375);
    assert_box(&a, source, (double[]){156, 97, 351, 270},
               (double[]){155, 96, 351, 270});
    assert_box(&a, source, (double[]){1, 1, 500, 375},
               (double[]){0, 0, 500, 375});
    assert_box(&a, source, (double[]){7, 9, 7, 9}, (double[]){6, 8, 7, 9});
}

static void other_files_are_read_as_edges(void **state)
{
    (void)state;
    struct image_file_info source = {500, 375, 1};
    struct annotation a = make_annotation("Unknown ", 500, 375);
    double box[4], overrun = 0;
    assert_box(&a, source, (double[]){0, 97, 500, 270.5},
               (double[]){0, 97, 500, 270.5});
    struct annotation_frame f = annotation_frame_find(&a, &source);
    assert_false(
        annotation_frame_box(&f, (double[]){7, 9, 7, 12}, box, &overrun));
    assert_false(
        annotation_frame_box(&f, (double[]){7, 9, 8, 9}, box, &overrun));
}

static void overruns_are_clipped_and_measured(void **state)
{
    (void)state;
    struct image_file_info source = {100, 50, 1};
    struct annotation a = make_annotation("", 100, 50);
    struct annotation_frame f = annotation_frame_find(&a, &source);
    double box[4], overrun = 0;
    assert_true(
        annotation_frame_box(&f, (double[]){-3, 2, 101.5, 50}, box, &overrun));
    assert_near(box[0], 0, 0);
    assert_near(box[2], 100, 0);
    assert_near(overrun, 3, 0);
    assert_false(
        annotation_frame_box(&f, (double[]){101, 2, 140, 9}, box, &overrun));
    assert_false(
        annotation_frame_box(&f, (double[]){1, -20, 4, -1}, box, &overrun));
}

/* A box around stored pixel (x, y) of a 4 x 3 image must be mapped to where the
 * EXIF orientation moves that pixel. The expected position comes from the
 * standard's table: which stored row and column are the upright top and left.
 */
static void rotations_follow_exif(void **state)
{
    (void)state;
    enum { W = 4, H = 3 };
    for (int o = 5; o <= 8; o++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                /* row 0 is at the left for 5 and 8, right for 6 and 7;
                 * column 0 is at the top for 5 and 6, bottom for 7 and 8 */
                int ux = (o == 5 || o == 8) ? y : H - 1 - y;
                int uy = (o == 5 || o == 6) ? x : W - 1 - x;
                struct annotation a = make_annotation("", W, H);
                assert_box(&a, (struct image_file_info){W, H, o},
                           (double[]){x, y, x + 1, y + 1},
                           (double[]){ux, uy, ux + 1, uy + 1});
            }
}

static void size_selects_the_frame_of_rotated_images(void **state)
{
    (void)state;
    struct image_file_info source = {400, 300, 6};
    struct annotation upright = make_annotation("", 300, 400);
    struct annotation stored = make_annotation("", 400, 300);
    struct annotation missing = make_annotation("", 0, 0);
    struct annotation_frame f = annotation_frame_find(&upright, &source);
    assert_int_equal(f.orientation, 1);
    assert_int_equal(f.upright_w, 300);
    assert_int_equal(f.upright_h, 400);
    assert_false(f.is_ambiguous);
    f = annotation_frame_find(&stored, &source);
    assert_int_equal(f.orientation, 6);
    assert_false(f.is_ambiguous);
    f = annotation_frame_find(&missing, &source);
    assert_int_equal(f.orientation, 1);
    assert_true(f.is_ambiguous);
    assert_false(f.size_differs);
    source.orientation = 3; /* keeps width and height: ambiguous */
    f = annotation_frame_find(&stored, &source);
    assert_int_equal(f.orientation, 1);
    assert_true(f.is_ambiguous);
}

static void the_image_overrides_a_wrong_size(void **state)
{
    (void)state;
    struct image_file_info source = {500, 375, 1};
    struct annotation swapped = make_annotation("", 375, 500);
    struct annotation missing = make_annotation("", 0, 500);
    struct annotation_frame f = annotation_frame_find(&swapped, &source);
    assert_true(f.size_differs);
    assert_int_equal(f.upright_w, 500);
    assert_int_equal(f.orientation, 1);
    assert_false(f.is_ambiguous);
    assert_false(annotation_frame_find(&missing, &source).size_differs);
}

static void areas_include_both_ends(void **state)
{
    (void)state;
    struct image_file_info source = {100, 50, 1};
    struct annotation a = make_annotation("", 100, 50),
                      official = make_annotation("VOC2007", 0, 0);
    struct annotation_frame f = annotation_frame_find(&a, &source),
                            g = annotation_frame_find(&official, &source);
    assert_near(annotation_frame_area(&f, (double[]){10, 20, 19, 24}), 50, 0);
    assert_near(annotation_frame_area(&f, (double[]){5, 5, 5, 5}), 1, 0);
    assert_near(annotation_frame_area(&f, (double[]){0, 0, 100, 50}), 101 * 51,
                0);
    assert_near(annotation_frame_area(&g, (double[]){1, 1, 100, 50}), 100 * 50,
                0);
}

static void areas_outside_the_image_do_not_count(void **state)
{
    (void)state;
    struct image_file_info source = {100, 50, 1};
    struct annotation a = make_annotation("", 100, 50),
                      official = make_annotation("VOC2007", 0, 0);
    struct annotation_frame f = annotation_frame_find(&a, &source),
                            g = annotation_frame_find(&official, &source);
    assert_near(annotation_frame_area(&f, (double[]){90, 10, 1000, 19}), 110,
                0);
    assert_near(annotation_frame_area(&f, (double[]){-500, -9, 9, 4}), 50, 0);
    assert_near(annotation_frame_area(&g, (double[]){-500, -9, 10, 5}), 50, 0);
    /* stored 100 x 50, boxes in that frame, packed upright as 50 x 100 */
    source.orientation = 6;
    struct annotation_frame rotated = annotation_frame_find(&a, &source);
    assert_near(annotation_frame_area(&rotated, (double[]){90, 10, 1000, 19}),
                110, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_years_are_recognized_by_whole_words),
        cmocka_unit_test(the_folder_element_does_not_change_boxes),
        cmocka_unit_test(official_pixels_become_edges),
        cmocka_unit_test(other_files_are_read_as_edges),
        cmocka_unit_test(overruns_are_clipped_and_measured),
        cmocka_unit_test(rotations_follow_exif),
        cmocka_unit_test(size_selects_the_frame_of_rotated_images),
        cmocka_unit_test(the_image_overrides_a_wrong_size),
        cmocka_unit_test(areas_include_both_ends),
        cmocka_unit_test(areas_outside_the_image_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
