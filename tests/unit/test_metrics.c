/* eval/metrics: formulas against values computed by hand, the table, the
 * per-image file. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "eval/metrics.h"

enum { N = 4, CLASSES = 3 };

static const char *const names[] = {"cat", "d,o\"g", "nobody"};
static const char *const ids[] = {"a", "b,c", "d\"e", "f"};

/* Boxes of 10 x 10; image 3 has a second object. */
static const float boxes[4 * N] = {0,  0,  10, 10, 0,  0,  10, 10,
                                   20, 20, 30, 30, 50, 50, 60, 60};
static const int32_t truth[N] = {0, 0, 1, 1};
static const struct shard_object objects[] = {
    {{0, 0, 10, 10}, 0, 0},   {{0, 0, 10, 10}, 0, 0},
    {{20, 20, 30, 30}, 1, 0}, {{50, 50, 60, 60}, 1, 0},
    {{70, 70, 80, 80}, 0, 0},
};
static const int64_t starts[N + 1] = {0, 1, 2, 3, 5};

static const struct shard_set data = {.width = 100,
                                      .height = 100,
                                      .classes = (char **)names,
                                      .n_classes = CLASSES,
                                      .n_images = N,
                                      .class = (int32_t *)truth,
                                      .box = (float *)boxes,
                                      .id = (char **)ids,
                                      .objects = (struct shard_object *)objects,
                                      .object_start = (int64_t *)starts};

static void make_rows(struct eval_row *rows)
{
    /* exact box; half of the box; wrong class; the other object */
    static const struct result results[N] = {
        {.l1 = 0, .ce = 0.5f, .box = {0, 0, 10, 10}, .class = 0, .score = 0.9f},
        {.l1 = 1.25f, .ce = 1, .box = {0, 0, 10, 5}, .class = 0, .score = 0.4f},
        {.l1 = 0, .ce = 3, .box = {20, 20, 30, 30}, .class = 0, .score = 0.7f},
        {.l1 = 20, .ce = 2, .box = {70, 70, 80, 80}, .class = 0, .score = 0.5f},
    };
    for (int i = 0; i < N; i++) {
        rows[i] = (struct eval_row){.index = i, .result = results[i]};
        eval_fill_metrics(&data, &rows[i]);
    }
}

static void formulas_match_their_definitions(void **state)
{
    (void)state;
    struct eval_row rows[N];
    make_rows(rows);
    assert_near((double)rows[0].iou, 1, 0);
    assert_near((double)rows[1].iou, 0.5, 0);
    assert_near((double)rows[2].iou, 1, 0);
    assert_near((double)rows[3].iou, 0, 0);
    const bool loc[N] = {true, true, false, false};
    const bool any[N] = {true, true, false, true};
    for (int i = 0; i < N; i++) {
        assert_int_equal(rows[i].loc50, loc[i]);
        assert_int_equal(rows[i].any50, any[i]);
    }
    rows[1].result.box[3] = 4.99f;
    eval_fill_metrics(&data, &rows[1]);
    assert_false(rows[1].loc50);
}

/* Neither a class with a NaN score nor a box with NaN counts as correct. */
static void nan_is_never_a_hit(void **state)
{
    (void)state;
    struct eval_row rows[N];
    struct eval_summary s;
    struct graph_loss loss = {.box_scale = 1, .class_scale = 1};
    make_rows(rows);
    for (int k = 0; k < 4; k++)
        rows[0].result.box[k] = NAN;
    rows[1].result.score = NAN;
    rows[2].result.box[2] = NAN;
    for (int i = 0; i < N; i++)
        eval_fill_metrics(&data, &rows[i]);
    assert_near((double)rows[0].iou, 0, 0);
    assert_near((double)rows[2].iou, 0, 0);
    assert_false(rows[0].loc50 || rows[0].any50);
    assert_false(rows[1].loc50 || rows[1].any50);
    eval_summarize(&data, &loss, rows, N, &s);
    assert_near(s.means.accuracy, 0.25, 0); /* image 0 only */
    assert_int_equal(s.classes[0].n_correct, 1);
    assert_near(s.means.iou, 0.5 / 4, 0);
    assert_near(s.means.loc50, 0, 0);
    eval_summary_clear(&s);
}

static void means_and_classes_add_up(void **state)
{
    (void)state;
    struct eval_row rows[N];
    struct eval_summary s;
    double weights[CLASSES] = {2, 0.5, 1};
    struct graph_loss loss = {.box_scale = 3, .class_scale = 10};
    make_rows(rows);
    eval_summarize(&data, &loss, rows, N, &s);
    assert_int_equal(s.means.n, N);
    assert_near(s.means.l1, 21.25 / 4, 1e-12);
    assert_near(s.means.ce, 6.5 / 4, 1e-12);
    assert_near(s.means.loss, (3 * 21.25 + 10 * 6.5) / 4, 1e-12);
    assert_near(s.means.accuracy, 0.5, 0);
    assert_near(s.means.iou, 2.5 / 4, 1e-12);
    assert_near(s.means.loc50, 0.5, 0);
    assert_near(s.means.any50, 0.75, 0);
    assert_int_equal(s.classes[0].n, 2);
    assert_int_equal(s.classes[0].n_correct, 2);
    assert_int_equal(s.classes[0].predicted, 4);
    assert_int_equal(s.classes[1].n_correct, 0);
    assert_near(s.classes[1].l1, 20, 0);
    assert_int_equal(s.classes[2].n, 0);
    eval_summary_clear(&s);

    loss.class_weights = weights;
    eval_summarize(&data, &loss, rows, N, &s);
    assert_near(s.means.loss, (3 * 21.25 + 10 * (1.5 * 2 + 5 * 0.5)) / 4,
                1e-12);
    eval_summary_clear(&s);
}

static void the_per_image_file_is_csv(void **state)
{
    (void)state;
    struct eval_row rows[N];
    char *folder = check_folder(), *path = xasprintf("%s/a.csv", folder);
    char *text = NULL;
    size_t n = 0;
    make_rows(rows);
    assert_int_equal(eval_write_rows(path, &data, rows, N), VD_OK);
    assert_int_equal(file_read(path, 1 << 16, &text, &n), VD_OK);
    assert_string_equal(
        text,
        "id,class,x1,y1,x2,y2,pred,score,px1,py1,px2,py2,iou,l1_px\n"
        "a,cat,0.00,0.00,10.00,10.00,cat,0.900000,0.000,0.000,10.000,10.000,"
        "1.000000,0.0000\n"
        "\"b,c\",cat,0.00,0.00,10.00,10.00,cat,0.400000,0.000,0.000,10.000,"
        "5.000,0.500000,1.2500\n"
        "\"d\"\"e\",\"d,o\"\"g\",20.00,20.00,30.00,30.00,cat,0.700000,20.000,"
        "20.000,30.000,30.000,1.000000,0.0000\n"
        "f,\"d,o\"\"g\",50.00,50.00,60.00,60.00,cat,0.500000,70.000,70.000,"
        "80.000,80.000,0.000000,20.0000\n");
    free(text);
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(eval_write_rows("/no/such/a.csv", &data, rows, N),
                     VD_CREATE);
    check_log_end();
    free(path);
    check_folder_remove(folder);
}

static void the_table_has_the_worst_class_first(void **state)
{
    (void)state;
    struct eval_row rows[N];
    struct eval_summary s;
    struct text text = {0};
    struct graph_loss loss = {.box_scale = 1, .class_scale = 25};
    make_rows(rows);
    eval_summarize(&data, &loss, rows, N, &s);
    eval_format(&data, &s, &text);
    char *cat = strstr(text.bytes, "\ncat "),
         *dog = strstr(text.bytes, "\nd,o");
    char *nobody = strstr(text.bytes, "\nnobody ");
    assert_true(cat && dog && nobody && dog < cat && cat < nobody);
    assert_non_null(
        strstr(cat, "      2    100.0       50.0    0.750    100.0"));
    assert_non_null(strstr(text.bytes, "accuracy      50.00 %"));
    assert_non_null(strstr(text.bytes, "any@0.5       75.00 %"));
    assert_null(strstr(text.bytes, "nan"));
    free(text.bytes);
    eval_summary_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formulas_match_their_definitions),
        cmocka_unit_test(nan_is_never_a_hit),
        cmocka_unit_test(means_and_classes_add_up),
        cmocka_unit_test(the_per_image_file_is_csv),
        cmocka_unit_test(the_table_has_the_worst_class_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
