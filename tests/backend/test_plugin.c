/* Plugins: which are loaded, and what is reported of those that are not. */
#include "check.h"

#include "backend/backend.h"
#include "backend/collective.h"

#include <unistd.h>

static enum vd_err open_backend(struct backend *b, const char *name,
                                const char *plugin_dir)
{
    struct backend_config config = {.plugin_dir = plugin_dir};
    return backend_open(b, name, &config);
}

static void open_and_close(const char *name, const char *description)
{
    struct backend b;
    assert_int_equal(open_backend(&b, name, PLUGIN_DIR), VD_OK);
    assert_string_equal(b.ops->name, name);
    assert_string_equal(b.ops->describe(&b), description);
    assert_non_null(b.collective);
    assert_null(b.collective->unavailable());
    backend_close(&b);
}

static void a_plugin_is_opened_by_name(void **state)
{
    (void)state;
    const char *description = "ref behind an asynchronous queue, for tests";
    open_and_close("deferred", description);
    open_and_close("deferred-check", description);
}

/* Each folder has a libvocdist_backend_cuda.so. */
static void unusable_plugins_report_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *folder, *reason;
    } cases[] = {
        {"bad_abi", "built for plugin ABI 100"},
        {"bad_collective", "built with other headers than this program"},
        {"bad_layout", "built with other headers than this program"},
        {"bad_name", "contains backend other, not cuda"},
        {"no_symbol", "not a plugin of vocdist: no symbol vocdist_backend_"},
        {"not_a_library", "cannot be loaded: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct backend b;
        struct check_log log;
        char dir[512];
        snprintf(dir, sizeof dir, PLUGIN_DIR "/%s", cases[i].folder);
        check_log_start(&log);
        assert_int_equal(open_backend(&b, "cuda", dir), VD_UNSUPPORTED);
        check_log_end();
        assert_logged(&log, "backend cuda: " PLUGIN_DIR);
        assert_logged(&log, cases[i].reason);
        assert_logged(&log, "--backend cpu");
        /* auto warns and computes on the CPU */
        check_log_start(&log);
        assert_int_equal(open_backend(&b, "auto", dir), VD_OK);
        check_log_end();
        assert_string_not_equal(b.ops->name, "cuda");
        assert_logged(&log, "backend auto: not cuda: " PLUGIN_DIR);
        assert_logged(&log, cases[i].reason);
        backend_close(&b);
    }
}

static void auto_prefers_a_plugin_that_works(void **state)
{
    (void)state;
    struct backend b;
    assert_int_equal(open_backend(&b, "auto", PLUGIN_DIR "/deferred"), VD_OK);
    assert_string_equal(b.ops->name, "cuda");
    backend_close(&b);
}

static void a_missing_plugin_names_the_folders(void **state)
{
    (void)state;
    struct backend b;
    struct check_log log;
    const char *dir = "/no/such/folder";
    check_log_start(&log);
    assert_int_equal(open_backend(&b, "cuda", dir), VD_UNSUPPORTED);
    assert_int_equal(open_backend(&b, "../evil", dir), VD_CONFIG);
    assert_int_equal(open_backend(&b, "auto", dir), VD_OK);
    check_log_end();
    backend_close(&b);
    assert_logged(&log, "no libvocdist_backend_cuda.so in /no/such/folder, ");
    assert_logged(&log, "/../lib/vocdist");
    assert_logged(&log, "backend ../evil: no such backend");
    assert_null(strstr(log.text, "not cuda"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_is_opened_by_name),
        cmocka_unit_test(unusable_plugins_report_the_reason),
        cmocka_unit_test(auto_prefers_a_plugin_that_works),
        cmocka_unit_test(a_missing_plugin_names_the_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
