/* store/file_kind: the kind of a file by its first bytes, also for very short
 * files. */
#include "check.h"

#include "base/alloc.h"
#include "store/file_kind.h"

#include <sys/stat.h>

struct fixture {
    char *folder, *path;
};

static void start(struct fixture *x)
{
    x->folder = check_folder();
    x->path = xasprintf("%s/a", x->folder);
}

static void stop(struct fixture *x)
{
    free(x->path);
    check_folder_remove(x->folder);
}

static enum file_kind kind_of(const struct fixture *x, const void *bytes,
                              size_t n)
{
    enum file_kind kind;
    FILE *f = fopen(x->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
    assert_int_equal(file_kind_detect(x->path, &kind), VD_OK);
    return kind;
}

static void the_first_bytes_determine_the_kind(void **state)
{
    (void)state;
    static const struct {
        enum file_kind kind;
        size_t n;
        const char *bytes;
    } files[] = {
        {FILE_KIND_EMPTY, 0, ""},
        {FILE_KIND_OTHER, 1, "x"},
        {FILE_KIND_OTHER, 8, "nonsense"},
        {FILE_KIND_OTHER, 3, "PK\3"},
        {FILE_KIND_ZIP, 4, "PK\3\4"},
        {FILE_KIND_HDF5, 8, "\x89HDF\r\n\x1a\n"},
        {FILE_KIND_OTHER, 8, "\x89HDG\r\n\x1a\n"},
        {FILE_KIND_PICKLE, 10, "\x80\2\x8a\nl\xfc\x9c\x46\xf9 "},
        {FILE_KIND_PICKLE, 12, "\x80\4\x95\x10\0\0\0\0\0\0\0}"},
        {FILE_KIND_OTHER, 3, "\x80\xff}"},
        {FILE_KIND_JSON, 1, "{"},
        {FILE_KIND_JSON, 6, " \n\t[1]"},
        {FILE_KIND_OTHER, 3, "\0{}"},
        {FILE_KIND_OTHER, 4, "    "},
        {FILE_KIND_LFS_POINTER, 42,
         "version https://git-lfs.github.com/spec/v1"},
        {FILE_KIND_SAFETENSORS, 10, "\2\0\0\0\0\0\0\0{}"},
        {FILE_KIND_SAFETENSORS, 11, "\2\0\0\0\0\0\0\0{}x"},
        {FILE_KIND_OTHER, 10, "\3\0\0\0\0\0\0\0{}"}, /* truncated */
        {FILE_KIND_JSON, 10, "{\0\0\0\0\0\0\0{}"},
        {FILE_KIND_OTHER, 8, "\2\0\0\0\0\0\0\0"},
    };
    struct fixture x;
    start(&x);
    for (size_t k = 0; k < sizeof files / sizeof *files; k++)
        if (kind_of(&x, files[k].bytes, files[k].n) != files[k].kind)
            fail_msg("file %zu has another kind", k);
    stop(&x);
}

static void non_regular_files_do_not_hang(void **state)
{
    (void)state;
    struct fixture x;
    struct check_log log;
    enum file_kind kind = FILE_KIND_EMPTY;
    start(&x);
    assert_int_equal(file_kind_detect(x.folder, &kind), VD_OK);
    assert_int_equal(kind, FILE_KIND_FOLDER);
    assert_int_equal(mkfifo(x.path, 0600), 0);
    assert_int_equal(file_kind_detect(x.path, &kind), VD_OK);
    assert_int_equal(kind, FILE_KIND_OTHER);
    check_log_start(&log);
    assert_int_equal(file_kind_detect("/no/such", &kind), VD_NOINPUT);
    check_log_end();
    assert_logged(&log, "/no/such: No such file");
    stop(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_bytes_determine_the_kind),
        cmocka_unit_test(non_regular_files_do_not_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
