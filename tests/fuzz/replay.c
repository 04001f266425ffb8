/*
 * Runs a fuzz target on files and folders of files, without a fuzzer. The
 * corpus, which has every input that once crashed, is thus a normal test.
 *
 *     replay_yaml corpus/yaml crash-1234
 */
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define MAX_INPUT ((size_t)16 << 20)

static enum vd_err replay_file(const char *path, size_t *n_done)
{
    char *bytes = NULL;
    size_t n = 0;
    VD_TRY(file_read(path, MAX_INPUT, &bytes, &n));
    /* a copy of the exact size, so that a sanitizer detects reads past its end
     */
    uint8_t *exact = xcalloc(n, 1);
    for (size_t i = 0; i < n; i++)
        exact[i] = (uint8_t)bytes[i];
    free(bytes);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    ++*n_done;
    return VD_OK;
}

static enum vd_err replay(const char *path, size_t *n_done)
{
    if (!file_is_folder(path))
        return replay_file(path, n_done);
    enum vd_err err = VD_OK;
    struct file_list list = {0};
    VD_TRY(file_list_read(&list, path));
    for (size_t i = 0; err == VD_OK && i < list.n; i++) {
        char *inner = xasprintf("%s/%s", path, list.names[i]);
        err = replay_file(inner, n_done);
        free(inner);
    }
    file_list_clear(&list);
    return err;
}

int main(int argc, char **argv)
{
    size_t n_done = 0;
    enum vd_err err = VD_OK;
    log_init("replay", LOG_LEVEL_ERROR);
    for (int i = 1; err == VD_OK && i < argc; i++)
        err = replay(argv[i], &n_done);
    if (err == VD_OK && n_done == 0)
        err = VD_FAIL(VD_USAGE, "nothing to replay\ngive files or folders");
    if (err == VD_OK)
        printf("%zu inputs\n", n_done);
    return err_exit_code(err);
}
