#include "comm/phase.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Messages one after the other: level as a character, text, NUL. */
static void hold(void *ctx, enum log_level level, const char *message)
{
    struct text *held = ctx;
    char first = (char)level;
    text_add_bytes(held, &first, 1);
    text_add_bytes(held, message, strlen(message) + 1);
}

static void say(const struct text *held)
{
    for (size_t at = 0; at < held->length;) {
        enum log_level level = (enum log_level)held->bytes[at];
        const char *message = held->bytes + at + 1;
        log_at(level, "%s", message);
        at += strlen(message) + 2;
    }
}

/* Where memory ends, the same thing happens to each rank at another number. */
static void drop_numbers(struct text *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->length; i++)
        if (t->bytes[i] < '0' || t->bytes[i] > '9')
            t->bytes[n++] = t->bytes[i];
    t->length = n;
}

/* Is there a lower rank that says the same? */
static enum vd_err said_before(struct comm *c, enum fault_site site,
                               const struct text *held, enum vd_err verdict,
                               bool *before)
{
    struct text gist = {0};
    text_add_bytes(&gist, held->bytes, held->length);
    if (verdict == VD_SYSTEM)
        drop_numbers(&gist);
    uint64_t mine = hash_bytes(gist.bytes, gist.length);
    free(gist.bytes);
    uint64_t *all = mem_new((size_t)c->size, sizeof *all);
    enum vd_err err = comm_allgather(c, site, &mine, sizeof mine, all);
    *before = false;
    for (int r = 0; err == VD_OK && r < c->rank; r++)
        *before = *before || all[r] == mine;
    free(all);
    return err;
}

enum vd_err comm_phase(struct comm *c, enum fault_site site, phase_fn *run,
                       void *ctx)
{
    struct text held = {0};
    bool before = false;
    struct log_sink before_us = log_swap_sink((struct log_sink){hold, &held});
    enum vd_err mine = run(ctx), injected = fault_at(site, c->rank);
    log_swap_sink(before_us);
    enum vd_err err = said_before(c, site, &held, mine, &before);
    if (!before)
        say(&held);
    free(held.bytes);
    VD_TRY(err);
    return comm_agree(c, site, injected > mine ? injected : mine);
}
