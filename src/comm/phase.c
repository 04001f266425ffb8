#include "comm/phase.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A log sink. Format of the buffer: level as one byte, text, NUL; repeated. */
static void buffer_message(void *ctx, enum log_level level, const char *message)
{
    struct text *buffered = ctx;
    char first = (char)level;
    text_add_bytes(buffered, &first, 1);
    text_add_bytes(buffered, message, strlen(message) + 1);
}

static void log_emit(const struct text *buffered)
{
    for (size_t at = 0; at < buffered->length;) {
        enum log_level level = (enum log_level)buffered->bytes[at];
        const char *message = buffered->bytes + at + 1;
        log_at(level, "%s", message);
        at += strlen(message) + 2;
    }
}

/* Messages of ranks that run out of memory together differ in the numbers. */
static void strip_digits(struct text *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->length; i++)
        if (t->bytes[i] < '0' || t->bytes[i] > '9')
            t->bytes[n++] = t->bytes[i];
    t->length = n;
}

/* Compares hashes of the messages: `before` is true when a lower rank has the
 * same messages. */
static enum vd_err logged_by_lower_rank(struct comm *c, enum fault_site site,
                                        const struct text *buffered,
                                        enum vd_err verdict, bool *before)
{
    struct text normalized = {0};
    text_add_bytes(&normalized, buffered->bytes, buffered->length);
    if (verdict == VD_SYSTEM)
        strip_digits(&normalized);
    uint64_t mine = hash_bytes(normalized.bytes, normalized.length);
    free(normalized.bytes);
    uint64_t *all = xcalloc((size_t)c->size, sizeof *all);
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
    struct text buffered = {0};
    bool before = false;
    struct log_sink previous_sink =
        log_swap_sink((struct log_sink){buffer_message, &buffered});
    enum vd_err mine = run(ctx), injected = fault_at(site, c->rank);
    log_swap_sink(previous_sink);
    enum vd_err err = logged_by_lower_rank(c, site, &buffered, mine, &before);
    if (!before)
        log_emit(&buffered);
    free(buffered.bytes);
    VD_TRY(err);
    return comm_agree(c, site, injected > mine ? injected : mine);
}
