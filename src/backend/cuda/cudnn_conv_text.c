/*
 * An engine as one line of a tuning plan: {HEAD, ENGINE, DIGEST}.
 *
 *     HEAD     cuDNN version, device, operation: the same text for all engines
 *              of a conv, so reading compares it
 *     ENGINE   engine id and knob values
 *     DIGEST   hash of all bytes before it
 *
 * The digest is checked first, so a difference in HEAD means another version,
 * device or operation, not damage. What was read is written again and must give
 * the same bytes, so nothing can be lost in reading.
 */
#include "backend/cuda/cudnn_conv_internal.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE 1024
#define DIGEST   ", \"digest\": \"%016" PRIx64 "\"}\n"

/* What a line is valid for. */
struct head {
    unsigned cudnn; /* 91900 for 9.19.0 */
    char device[64];
    int sm, multiprocessors;
    char operation[CONV_MAX_TEXT];
};

static void make_head(const struct conv *c, struct head *h)
{
    memset(h, 0, sizeof *h);
    h->cudnn = (unsigned)cudnnGetVersion();
    snprintf(h->device, sizeof h->device, "%s", c->device->name);
    h->sm = c->device->version / 10;
    h->multiprocessors = c->device->multiprocessors;
    snprintf(h->operation, sizeof h->operation, "%s", c->text);
}

static void write_line(struct text *t, const struct head *h,
                       const struct conv_engine *e)
{
    text_add(t,
             "{\"cudnn\": %u, \"device\": \"%s\", \"sm\": %d, "
             "\"multiprocessors\": %d, \"op\": \"%s\", \"engine\": %" PRId64
             ", \"knob_choices\": [",
             h->cudnn, h->device, h->sm, h->multiprocessors, h->operation,
             e->id);
    for (int i = 0; i < e->n_knobs; i++)
        text_add(t, "%s[%d, %" PRId64 "]", i ? ", " : "", e->knob[i].type,
                 e->knob[i].value);
    text_add(t, "]");
    text_add(t, DIGEST, hash_bytes(t->bytes, t->length));
}

char *conv_engine_write(const struct conv *c, const struct conv_engine *e)
{
    struct text t = {0};
    struct head h;
    make_head(c, &h);
    write_line(&t, &h, e);
    return t.bytes;
}

/* ---- reading ---- */

static bool read_knobs_from(const char *at, struct conv_engine *e)
{
    while (*at == '[') {
        int end = -1;
        if (e->n_knobs == CONV_MAX_KNOBS)
            return false;
        struct conv_knob *knob = &e->knob[e->n_knobs++];
        if (sscanf(at, "[%" SCNd32 ", %" SCNd64 "]%n", &knob->type,
                   &knob->value, &end) != 2 ||
            end < 0)
            return false;
        at += end;
        if (at[0] == ',' && at[1] == ' ')
            at += 2;
    }
    return *at == ']';
}

/* False if the line was not written by write_line(), byte by byte. */
static bool parse_line(const char *line, struct head *h, struct conv_engine *e)
{
    int end = -1;
    memset(h, 0, sizeof *h);
    memset(e, 0, sizeof *e);
    if (sscanf(line,
               "{\"cudnn\": %u, \"device\": \"%63[^\"]\", \"sm\": %d, "
               "\"multiprocessors\": %d, \"op\": \"%127[^\"]\", "
               "\"engine\": %" SCNd64 ", \"knob_choices\": [%n",
               &h->cudnn, h->device, &h->sm, &h->multiprocessors, h->operation,
               &e->id, &end) != 6 ||
        end < 0 || !read_knobs_from(line + end, e))
        return false;
    struct text again = {0};
    write_line(&again, h, e);
    bool is_same = strcmp(again.bytes, line) == 0;
    free(again.bytes);
    return is_same;
}

static enum vd_err check_head(const struct conv *c, const struct head *found)
{
    struct head here;
    make_head(c, &here);
    if (found->cudnn != here.cudnn)
        return VD_FAIL(VD_CONFIG,
                       "tuning plan: made with cuDNN %u.%u.%u, this is "
                       "%u.%u.%u\n" BACKEND_PLAN_REMEDY,
                       found->cudnn / 10000, found->cudnn / 100 % 100,
                       found->cudnn % 100, here.cudnn / 10000,
                       here.cudnn / 100 % 100, here.cudnn % 100);
    if (strcmp(found->device, here.device) != 0 || found->sm != here.sm ||
        found->multiprocessors != here.multiprocessors)
        return VD_FAIL(VD_CONFIG,
                       "tuning plan: made for %s (sm_%d, %d multiprocessors), "
                       "this is %s (sm_%d, %d)\n" BACKEND_PLAN_REMEDY,
                       found->device, found->sm, found->multiprocessors,
                       here.device, here.sm, here.multiprocessors);
    if (strcmp(found->operation, here.operation) != 0)
        return VD_FAIL(VD_CONFIG,
                       "tuning plan: has \"%s\" where the network needs "
                       "\"%s\"\n" BACKEND_PLAN_REMEDY,
                       found->operation, here.operation);
    return VD_OK;
}

enum vd_err conv_engine_read(const struct conv *c, const char *line, size_t n,
                             struct conv_engine *out)
{
    char copy[MAX_LINE];
    struct head found;
    struct conv_engine e;
    if (n > 0 && line[n - 1] == '\n')
        n--;
    bool fits = n + 1 < sizeof copy && !memchr(line, '\0', n);
    if (fits) {
        memcpy(copy, line, n);
        memcpy(copy + n, "\n", 2);
    }
    if (!fits || !parse_line(copy, &found, &e))
        return VD_FAIL(VD_DATA,
                       "tuning plan: the line of \"%s\" is damaged\n"
                       "restore the file, or " BACKEND_PLAN_REMEDY,
                       c->text);
    VD_TRY(check_head(c, &found));
    *out = e;
    return VD_OK;
}
