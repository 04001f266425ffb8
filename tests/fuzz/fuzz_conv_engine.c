/* Arbitrary bytes as a line of a tuning plan, as they are and with a digest
 * that fits: an error, or an engine that is written as the same bytes; no
 * crash. */
#include "backend/cuda/cudnn_conv.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static struct conv *make_conv(void)
{
    struct conv_device *d = NULL;
    struct conv *c = NULL;
    char *json = NULL;
    size_t n = 0;
    struct conv_spec s = {.precision = BACKEND_BF16,
                          .batch = 64,
                          .h = 56,
                          .w = 56,
                          .c = 64,
                          .out_c = 64,
                          .kernel = 3,
                          .stride = 1,
                          .pad = 1};
    check(file_read(DEVICE_FILE, 1 << 16, &json, &n) == VD_OK);
    check(conv_device_describe(DEVICE_FILE, json, n, &d) == VD_OK);
    check(conv_new(d, &s, &c) == VD_OK);
    free(json);
    return c;
}

static void read_line(const struct conv *c, const char *line, size_t n)
{
    struct conv_engine e;
    if (conv_engine_read(c, line, n, &e) != VD_OK)
        return;
    check(e.n_knobs >= 0 && e.n_knobs <= CONV_MAX_KNOBS);
    char *again = conv_engine_write(c, &e);
    check(strlen(again) >= n && memcmp(again, line, n) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct conv *c;
    struct text line = {0};
    log_set_sink(log_discard, NULL);
    if (!c)
        c = make_conv();
    read_line(c, (const char *)bytes, n);
    while (n > 0 && bytes[n - 1] == '\n')
        n--;
    text_add_bytes(&line, bytes, n);
    text_add(&line, ", \"digest\": \"%016" PRIx64 "\"}\n",
             hash_bytes(bytes, n));
    read_line(c, line.bytes, line.length);
    free(line.bytes);
    log_set_sink(NULL, NULL);
    return 0;
}
