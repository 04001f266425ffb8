/* data/box: against numbers computed by hand. */
#include "check.h"

#include "data/box.h"

#define PRECISE 1e-5 /* float32 at 224: half an ulp is 8e-6 */

static void assert_box(const float b[4], double x1, double y1, double x2,
                       double y2)
{
    assert_near((double)b[0], x1, PRECISE);
    assert_near((double)b[1], y1, PRECISE);
    assert_near((double)b[2], x2, PRECISE);
    assert_near((double)b[3], y2, PRECISE);
}

static void scaling_resizes_each_axis_on_its_own(void **state)
{
    (void)state;
    float out[4];
    box_scale((double[]){0, 0, 500, 375}, (int[]){500, 375}, (int[]){224, 224},
              out);
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 224 && out[3] == 224);
    box_scale((double[]){50, 75, 250, 150}, (int[]){500, 375},
              (int[]){224, 224}, out);
    assert_box(out, 22.4, 44.8, 112, 89.6);
    box_scale((double[]){-3, 0, 501, 375}, (int[]){500, 375}, (int[]){200, 100},
              out);
    assert_box(out, 0, 0, 200, 100);
}

static void flipping_swaps_left_and_right(void **state)
{
    (void)state;
    float b[4] = {10, 20, 40, 60};
    box_flip(b, 224, b);
    assert_box(b, 184, 20, 214, 60);
    box_flip(b, 224, b);
    assert_box(b, 10, 20, 40, 60);
}

static void a_quarter_rotation_moves_the_right_to_the_top(void **state)
{
    (void)state;
    float b[4] = {80, 40, 100, 50};
    box_rotate(b, 90, 100, 100, b); /* counterclockwise as seen, y down */
    assert_box(b, 40, 0, 50, 20);
}

static void a_rotation_gives_the_bounding_box(void **state)
{
    (void)state;
    float out[4];
    /* A square of side 20 about the center has half extent 10 sqrt 2 after 45
     * degrees, and 10 (cos 10 + sin 10) after 10 degrees. */
    const float square[4] = {40, 40, 60, 60};
    box_rotate(square, 45, 100, 100, out);
    assert_box(out, 35.857864, 35.857864, 64.142136, 64.142136);
    box_rotate(square, -10, 100, 100, out);
    assert_box(out, 38.415441, 38.415441, 61.584559, 61.584559);
    box_rotate(square, 0, 100, 100, out);
    assert_box(out, 40, 40, 60, 60);
    /* Off center, 30 degrees: the rotated corners of {70,50,90,60}, relative
     * to (50,50), are (17.32,-10) (34.64,-20) (22.32,-1.34) (39.64,-11.34). */
    box_rotate((float[]){70, 50, 90, 60}, 30, 100, 100, out);
    assert_box(out, 67.320508, 30, 89.641016, 48.660254);
}

static void a_rotation_is_clipped_to_the_image(void **state)
{
    (void)state;
    float out[4];
    box_rotate((float[]){0, 0, 200, 100}, 10, 200, 100, out);
    assert_box(out, 0, 0, 200, 100);
    box_rotate((float[]){0, 0, 2, 2}, 45, 100, 100, out);
    assert_true(box_area(out) == 0);
}

static void iou_is_intersection_over_union(void **state)
{
    (void)state;
    const float a[4] = {0, 0, 10, 10}, b[4] = {5, 5, 15, 15};
    const float far[4] = {20, 20, 30, 30}, empty[4] = {5, 5, 5, 9};
    assert_near(box_iou(a, b), 25.0 / 175, 1e-12);
    assert_near(box_iou(a, a), 1, 1e-12);
    assert_near(box_iou(a, far), 0, 0);
    assert_near(box_iou(empty, empty), 0, 0);
    assert_near(box_iou(a, empty), 0, 0);
    assert_near(box_area((float[]){9, 0, 1, 5}), 0, 0);
    assert_near(box_area(a), 100, 0);
}

static void iou_of_swapped_corners_or_nan_is_zero(void **state)
{
    (void)state;
    const float a[4] = {0, 0, 10, 10};
    const float odd[][4] = {{10, 10, 0, 0},      {10, 0, 0, 10},
                            {0, 10, 10, 0},      {NAN, 0, 10, 10},
                            {0, 0, 10, NAN},     {NAN, NAN, NAN, NAN},
                            {0, 0, INFINITY, 9}, {0, -INFINITY, 10, INFINITY}};
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
        assert_near(box_iou(a, odd[k]), 0, 0);
        assert_near(box_iou(odd[k], a), 0, 0);
        assert_near(box_iou(odd[k], odd[k]), 0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scaling_resizes_each_axis_on_its_own),
        cmocka_unit_test(flipping_swaps_left_and_right),
        cmocka_unit_test(a_quarter_rotation_moves_the_right_to_the_top),
        cmocka_unit_test(a_rotation_gives_the_bounding_box),
        cmocka_unit_test(a_rotation_is_clipped_to_the_image),
        cmocka_unit_test(iou_is_intersection_over_union),
        cmocka_unit_test(iou_of_swapped_corners_or_nan_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
