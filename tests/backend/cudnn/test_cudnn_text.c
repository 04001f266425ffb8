/* Engines as lines of a tuning plan: written, read, damaged, and of another
 * version, device or operation. */
#include "cudnn_fixture.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <inttypes.h>

static struct conv *make_conv(struct conv_device *d,
                              enum conv_direction direction, int batch)
{
    struct conv_spec s = {.direction = direction,
                          .precision = BACKEND_BF16,
                          .batch = batch,
                          .h = 14,
                          .w = 14,
                          .c = 256,
                          .out_c = 256,
                          .kernel = 3,
                          .stride = 1,
                          .pad = 1};
    struct conv *c = NULL;
    assert_int_equal(conv_new(d, &s, &c), VD_OK);
    return c;
}

static enum vd_err read_line(const struct conv *c, const char *line,
                             struct conv_engine *out)
{
    return conv_engine_read(c, line, strlen(line), out);
}

/* cuDNN's description of a plan of the engine, for free(). */
static char *describe(struct conv *c, const struct conv_engine *e,
                      size_t *workspace)
{
    struct conv_plan *p = NULL;
    char *json = NULL;
    assert_int_equal(conv_plan_new(c, e, SIZE_MAX, &p), VD_OK);
    assert_int_equal(conv_plan_describe(p, &json), VD_OK);
    *workspace = conv_plan_workspace(p);
    conv_plan_free(p);
    return json;
}

static void check_round_trip(struct conv *c,
                             const struct conv_candidate *candidate)
{
    struct conv_engine found;
    size_t before, after;
    char *line = conv_engine_write(c, &candidate->engine);
    assert_int_equal(read_line(c, line, &found), VD_OK);
    assert_memory_equal(&found, &candidate->engine, sizeof found);
    char *wanted = describe(c, &candidate->engine, &before);
    char *got = describe(c, &found, &after);
    assert_string_equal(wanted, got);
    assert_int_equal(before, candidate->workspace);
    assert_int_equal(after, candidate->workspace);
    free(wanted);
    free(got);
    free(line);
}

static void an_engine_that_is_read_again_gives_the_same_plan(void **state)
{
    (void)state;
    for (int device = 0; device < 3; device++)
        for (int i = 0; i < CONV_DIRECTIONS; i++) {
            struct conv_device *d = fixture_device(fixture_devices[device]);
            struct conv *c = make_conv(d, (enum conv_direction)i, 64);
            struct conv_candidates list;
            assert_int_equal(conv_find(c, CONV_SEARCH_ENGINES, SIZE_MAX, &list),
                             VD_OK);
            assert_true(list.n > 10);
            for (size_t k = 0; k < list.n; k++)
                check_round_trip(c, &list.at[k]);
            conv_candidates_clear(&list);
            conv_free(c);
            conv_device_free(d);
        }
}

/* A conv with one line of a plan. */
struct line_fixture {
    struct conv_device *device;
    struct conv *conv;
    struct conv_engine engine;
    char *line;
};

static int setup(void **state)
{
    struct line_fixture *f = xcalloc(1, sizeof *f);
    f->device = fixture_device("h200");
    f->conv = make_conv(f->device, CONV_FORWARD, 64);
    f->engine = (struct conv_engine){
        .id = 62, .n_knobs = 3, .knob = {{2, 4}, {13, 0}, {27, -1}}};
    f->line = conv_engine_write(f->conv, &f->engine);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct line_fixture *f = *state;
    if (!f)
        return 0;
    conv_free(f->conv);
    conv_device_free(f->device);
    free(f->line);
    free(f);
    return 0;
}

static void expect_refused(const struct line_fixture *f, const char *line,
                           size_t n, enum vd_err err, const char *message)
{
    struct check_log log;
    struct conv_engine e = {.id = -7};
    check_log_start(&log);
    enum vd_err got = conv_engine_read(f->conv, line, n, &e);
    check_log_end();
    if (got != err)
        fail_msg("%d, not %d: %.*s", got, err, (int)n, line);
    assert_logged(&log, message);
    assert_int_equal(e.id, -7); /* written on success only */
}

static void a_line_is_one_json_object(void **state)
{
    const struct line_fixture *f = *state;
    const char *expected =
        ", \"device\": \"NVIDIA H200\", \"sm\": 90, \"multiprocessors\": 132, "
        "\"op\": \"forward bf16 x 64x14x14x256 w 256x3x3x256 stride 1 pad 1\", "
        "\"engine\": 62, \"knob_choices\": [[2, 4], [13, 0], [27, -1]], "
        "\"digest\": \"";
    assert_non_null(strstr(f->line, expected));
    assert_memory_equal(f->line, "{\"cudnn\": 9", 11);
    assert_string_equal(f->line + strlen(f->line) - 3, "\"}\n");
}

static void the_newline_is_optional(void **state)
{
    const struct line_fixture *f = *state;
    struct conv_engine e;
    assert_int_equal(
        conv_engine_read(f->conv, f->line, strlen(f->line) - 1, &e), VD_OK);
    assert_memory_equal(&e, &f->engine, sizeof e);
}

static void a_damaged_line_is_refused(void **state)
{
    const struct line_fixture *f = *state;
    size_t n = strlen(f->line);
    char *copy = xcalloc(n + 2, 1);
    for (size_t i = 0; i + 1 < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(copy, f->line, n);
            copy[i] = (char)(copy[i] ^ 1 << bit);
            expect_refused(f, copy, n, VD_DATA, "is damaged");
        }
    for (size_t length = 0; length + 1 < n; length++)
        expect_refused(f, f->line, length, VD_DATA, "is damaged");
    memcpy(copy, f->line, n);
    copy[n] = '\n';
    expect_refused(f, copy, n + 1, VD_DATA, "restore the file");
    free(copy);
}

/* `line` with `from` replaced by `to` and a digest that fits; for free(). */
static char *edit(const char *line, const char *from, const char *to)
{
    const char *at = strstr(line, from), *digest = strstr(line, ", \"digest\"");
    assert_true(at && digest && at < digest);
    const char *rest = at + strlen(from);
    char *body = xasprintf("%.*s%s%.*s", (int)(at - line), line, to,
                           (int)(digest - rest), rest);
    char *whole = xasprintf("%s, \"digest\": \"%016" PRIx64 "\"}\n", body,
                            hash_bytes(body, strlen(body)));
    free(body);
    return whole;
}

static void expect_edit_refused(const struct line_fixture *f, const char *from,
                                const char *to, enum vd_err err,
                                const char *message)
{
    char *line = edit(f->line, from, to);
    expect_refused(f, line, strlen(line), err, message);
    free(line);
}

static void a_line_for_something_else_is_refused(void **state)
{
    const struct line_fixture *f = *state;
    char cudnn[32];
    snprintf(cudnn, sizeof cudnn, "%.*s", 16, f->line); /* {"cudnn": 91900, */
    expect_edit_refused(f, cudnn, "{\"cudnn\": 90800,", VD_CONFIG,
                        "made with cuDNN 9.8.0, this is 9.");
    expect_edit_refused(f, "H200", "H100", VD_CONFIG,
                        "made for NVIDIA H100 (sm_90, 132 multiprocessors), "
                        "this is NVIDIA H200 (sm_90, 132)");
    expect_edit_refused(f, "\"multiprocessors\": 132",
                        "\"multiprocessors\": 66", VD_CONFIG,
                        "(sm_90, 66 multiprocessors)");
    expect_edit_refused(f, "\"sm\": 90", "\"sm\": 80", VD_CONFIG, "(sm_80, ");
    expect_edit_refused(f, "forward bf16", "forward fp16", VD_CONFIG,
                        "has \"forward fp16 x ");
    expect_edit_refused(f, "64x14", "65x14", VD_CONFIG, "measure a new plan");
}

/* With a digest that fits, so that only the parser can find it. */
static void a_malformed_line_is_refused(void **state)
{
    const struct line_fixture *f = *state;
    static const char *const choices[] = {
        "[2, 4],",          "[2, 4], ",  "[2,4]",
        "[2, 4] ",          "[2, 4, 5]", "[2]",
        "[2, 4][13, 0]",    "[[2, 4]]",  "[02, 4]",
        "[2, +4]",          "[2, 4.0]",  "[2, 99999999999999999999]",
        "[99999999999, 4]", "[2, 4",     "x"};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        expect_edit_refused(f, "[2, 4], [13, 0], [27, -1]", choices[i], VD_DATA,
                            "is damaged");
    expect_edit_refused(f, "\"engine\": 62", "\"engine\": 062", VD_DATA,
                        "is damaged");
    expect_edit_refused(f, "\"engine\"", "\"engines\"", VD_DATA, "is damaged");
}

static void too_many_knob_values_are_refused(void **state)
{
    const struct line_fixture *f = *state;
    char choices[512] = "[2, 4]";
    for (int i = 1; i < CONV_MAX_KNOBS; i++)
        snprintf(choices + strlen(choices), sizeof choices - strlen(choices),
                 ", [2, %d]", i);
    struct conv_engine e;
    char *line = edit(f->line, "[2, 4], [13, 0], [27, -1]", choices);
    assert_int_equal(read_line(f->conv, line, &e), VD_OK);
    assert_int_equal(e.n_knobs, CONV_MAX_KNOBS);
    free(line);
    strcat(choices, ", [2, 4]");
    expect_edit_refused(f, "[2, 4], [13, 0], [27, -1]", choices, VD_DATA,
                        "is damaged");
}

/* Well formed, but no such engine or knob: an error without a crash. */
static void an_engine_that_does_not_exist_has_no_plan(void **state)
{
    const struct line_fixture *f = *state;
    static const struct conv_engine bad[] = {
        {.id = -1},
        {.id = 100000},
        {.id = 62, .n_knobs = 1, .knob = {{2, 100000}}},
        {.id = 62, .n_knobs = 1, .knob = {{5, 0}}},
        {.id = 62, .n_knobs = 1, .knob = {{10000, 0}}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct conv_plan *p = NULL;
        struct check_log log;
        check_log_start(&log);
        enum vd_err err = conv_plan_new(f->conv, &bad[i], SIZE_MAX, &p);
        check_log_end();
        if (err != VD_UNSUPPORTED && err != VD_DEVICE)
            fail_msg("engine %zu: %d", i, err);
        assert_logged(&log, "stride 1 pad 1: engine ");
        assert_logged(&log, "CUDNN_STATUS_");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_that_is_read_again_gives_the_same_plan),
        cmocka_unit_test(a_line_is_one_json_object),
        cmocka_unit_test(the_newline_is_optional),
        cmocka_unit_test(a_damaged_line_is_refused),
        cmocka_unit_test(a_line_for_something_else_is_refused),
        cmocka_unit_test(a_malformed_line_is_refused),
        cmocka_unit_test(too_many_knob_values_are_refused),
        cmocka_unit_test(an_engine_that_does_not_exist_has_no_plan),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
