/* Arbitrary bytes as a weight file: the header, then every tensor it lists. */
#include "base/alloc.h"
#include "base/log.h"
#include "store/safetensors.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void read_all(const char *path)
{
    struct safetensors f;
    if (safetensors_open(&f, path) != VD_OK)
        return;
    for (size_t k = 0; k < f.n; k++) {
        /* bounded by the file: open checks the sizes */
        float *out = xcalloc(f.tensors[k].n, sizeof *out);
        enum vd_err err = safetensors_read_f32(&f, k, out);
        VD_ASSERT(err == VD_OK || f.tensors[k].type == SAFETENSORS_OTHER);
        free(out);
    }
    safetensors_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char path[64];
    int fd = memfd_create("fuzz", 0);
    VD_ASSERT(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    log_set_sink(log_discard, NULL);
    read_all(path);
    log_set_sink(NULL, NULL);
    close(fd);
    return 0;
}
