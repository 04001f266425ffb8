#include "config/memory_hints.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>

/* Appends one hint; the first one begins the sentence. */
#define ADD_HINT(out, ...)                                     \
    do {                                                       \
        text_add((out), "%s", (out)->length ? "; " : "give "); \
        text_add((out), __VA_ARGS__);                          \
    } while (0)

/* The smallest number of equal parts, of two or more images each, into which
 * the micro-batch can be split; 1: it cannot. */
static int64_t smallest_split(int64_t micro_batch)
{
    for (int64_t parts = 2; micro_batch / parts >= 2; parts++)
        if (micro_batch % parts == 0)
            return parts;
    return 1;
}

static void add_micro_batch_hint(const struct batch_plan *b, struct text *out)
{
    int64_t parts = smallest_split(b->micro_batch);
    if (parts > 1)
        ADD_HINT(out,
                 "--train.micro_batch %lld --train.replicas %lld (now %lld and "
                 "%lld: the same global batch)",
                 (long long)(b->micro_batch / parts),
                 (long long)(b->replicas * parts), (long long)b->micro_batch,
                 (long long)b->replicas);
}

void memory_hints_set(const struct memory_hints *h)
{
    struct text out = {0};
    add_micro_batch_hint(&h->batch, &out);
    if (h->eval_batch > 1)
        ADD_HINT(&out, "--eval.batch %lld (now %lld)",
                 (long long)(h->eval_batch / 2), (long long)h->eval_batch);
    if (h->compute_threads > 1)
        ADD_HINT(&out, "--cpu.threads 1 (now %d)", h->compute_threads);
    if (h->loader_threads > 1)
        ADD_HINT(&out, "--data.loader_threads 1 (now %d)", h->loader_threads);
    if (h->node_ranks > 1)
        ADD_HINT(&out, "fewer ranks to this host (now %d)", h->node_ranks);
    ADD_HINT(&out, "each rank more memory");
    memory_set_oom_hint(out.bytes);
    free(out.bytes);
}
