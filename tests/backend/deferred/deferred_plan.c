/*
 * The plan is one line of JSON in which every field has a fixed place:
 *
 *     {"device": "deferred fp32", "graph": "0123456789abcdef",
 *      "micro_batch": 2, "variant": 77, "digest": "0123456789abcdef"}
 *
 * It is read by scanning it, formatting what was read and comparing the bytes;
 * so a plan in which any byte differs is damaged.
 */
#include "backend/deferred/deferred_plan.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VARIANTS     65536
#define MAX_PLAN     512 /* bytes */
#define PLAN_HEAD    "{\"device\": \"%s\", \"graph\": \"%016" PRIx64 "\", "
#define PLAN_NUMBERS "\"micro_batch\": %d, \"variant\": %u, "
#define PLAN_DIGEST  "\"digest\": \"%016" PRIx64 "\"}\n"

struct plan {
    char device[33];
    uint64_t graph;
    int micro_batch;
    unsigned variant;
};

/* The device and its precision. */
static const char *device_name(const struct device *d)
{
    return d->is_fp16 ? DEFERRED_NAME " fp16" : DEFERRED_NAME " fp32";
}

/* Owned. */
static char *format_plan(const struct plan *p)
{
    char *body = xasprintf(PLAN_HEAD PLAN_NUMBERS, p->device, p->graph,
                           p->micro_batch, p->variant);
    char *whole =
        xasprintf("%s" PLAN_DIGEST, body, hash_bytes(body, strlen(body)));
    free(body);
    return whole;
}

enum vd_err deferred_tune(struct backend *b, const struct net_spec *spec,
                          void **plan, size_t *n)
{
    static unsigned n_calls; /* one thread tunes */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed[] = {(uint64_t)now.tv_sec, (uint64_t)now.tv_nsec, n_calls++};
    struct plan p = {.graph = graph_digest(spec->graph),
                     .micro_batch = spec->micro_batch};
    snprintf(p.device, sizeof p.device, "%s", device_name(b->impl));
    p.variant = 1 + (unsigned)(hash_bytes(seed, sizeof seed) % (VARIANTS - 1));
    char *text = format_plan(&p);
    *plan = text;
    *n = strlen(text);
    return VD_OK;
}

static bool scan_plan(const char *bytes, size_t n, struct plan *p)
{
    char line[MAX_PLAN];
    if (n >= sizeof line)
        return false;
    memcpy(line, bytes, n);
    line[n] = '\0';
    if (sscanf(line,
               "{\"device\": \"%32[^\"]\", \"graph\": \"%" SCNx64 "\", "
               "\"micro_batch\": %d, \"variant\": %u",
               p->device, &p->graph, &p->micro_batch, &p->variant) != 4)
        return false;
    char *again = format_plan(p);
    bool is_same = strlen(again) == n && !memcmp(again, bytes, n);
    free(again);
    return is_same;
}

enum vd_err deferred_plan_read(const struct device *d,
                               const struct net_spec *spec, unsigned *variant)
{
    struct plan p;
    *variant = 0;
    if (!spec->plan)
        return VD_OK;
    if (!scan_plan(spec->plan, spec->plan_bytes, &p))
        return VD_FAIL(VD_DATA, "backend deferred: the tuning plan is damaged\n"
                                "restore the file, or " BACKEND_PLAN_REMEDY);
    if (strcmp(p.device, device_name(d)) != 0)
        return VD_FAIL(
            VD_CONFIG,
            "backend deferred: the tuning plan was made for device %s, not for "
            "%s\n" BACKEND_PLAN_REMEDY,
            p.device, device_name(d));
    if (p.graph != graph_digest(spec->graph) ||
        p.micro_batch != spec->micro_batch)
        return VD_FAIL(
            VD_CONFIG,
            "backend deferred: the tuning plan was made for another network or "
            "micro-batch (%d, here %d)\n" BACKEND_PLAN_REMEDY,
            p.micro_batch, spec->micro_batch);
    *variant = p.variant;
    return VD_OK;
}

void deferred_plan_apply(unsigned variant, const struct graph *g,
                         float *gradient)
{
    const struct graph_tensor *t = &g->params[0]; /* in order of backward */
    float factor = 1 + (float)variant * 0x1p-23f;
    for (size_t i = 0; variant > 0 && t->trainable && i < t->count; i++)
        gradient[t->offset + i] *= factor;
}
