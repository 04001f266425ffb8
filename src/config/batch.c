#include "config/batch.h"

#include "base/log.h"
#include "base/text.h"

#include <stdlib.h>

#define MIN_MICRO_BATCH   2 /* a single value has no variance */
#define SMALL_MICRO_BATCH 8

double batch_max_efficiency(int64_t replicas, int64_t n_ranks)
{
    int64_t most = (replicas + n_ranks - 1) / n_ranks;
    return (double)replicas / (double)(n_ranks * most);
}

/*
 * The remedy for an invalid global batch: a valid micro-batch first, then the
 * nearest valid global batches below and above `wanted`.
 */
static void append_valid_batches(int64_t replicas, int64_t wanted,
                                 int64_t n_images, struct text *out)
{
    int64_t most =
        n_images / replicas; // largest micro-batch that the data allow
    int64_t below = wanted / replicas, above = (wanted - 1) / replicas + 1;
    if (below > most)
        below = most;
    if (above < MIN_MICRO_BATCH)
        above = MIN_MICRO_BATCH;
    bool has_below = below >= MIN_MICRO_BATCH, has_above = above <= most;
    if (!has_below && !has_above) {
        text_add(out,
                 "use more images or fewer replicas: each replica needs at "
                 "least %d images",
                 MIN_MICRO_BATCH);
        return;
    }
    text_add(out, "give --train.micro_batch %lld, or --train.global_batch ",
             (long long)(has_below ? below : above));
    if (has_below)
        text_add(out, "%lld", (long long)(below * replicas));
    if (has_above && above != below)
        text_add(out, "%s%lld", has_below ? " or " : "",
                 (long long)(above * replicas));
}

static enum vd_err fail_batch(const struct batch_plan *b, int64_t n_images,
                              const char *why)
{
    struct text remedy = {0};
    append_valid_batches(b->replicas, b->global_batch, n_images, &remedy);
    enum vd_err err = VD_FAIL(
        VD_CONFIG, "a global batch of %lld over %lld replicas %s\n%s",
        (long long)b->global_batch, (long long)b->replicas, why, remedy.bytes);
    free(remedy.bytes);
    return err;
}

static enum vd_err check_batch(const struct batch_plan *b, int64_t n_images)
{
    if (b->global_batch > n_images) {
        struct text why = {0};
        text_add(&why, "is more than the %lld training images",
                 (long long)n_images);
        enum vd_err err = fail_batch(b, n_images, why.bytes);
        free(why.bytes);
        return err;
    }
    if (b->global_batch % b->replicas)
        return fail_batch(b, n_images, "does not divide evenly");
    if (b->micro_batch < MIN_MICRO_BATCH)
        return fail_batch(
            b, n_images,
            "leaves 1 image per replica, too few for the head's batch "
            "norm");
    return VD_OK;
}

static void warn_batch(const struct batch_plan *b, int64_t n_ranks)
{
    if (b->micro_batch < SMALL_MICRO_BATCH)
        log_warn_global("a micro-batch of %lld makes batch statistics noisy\n"
                        "give --train.micro_batch %d or more",
                        (long long)b->micro_batch, SMALL_MICRO_BATCH);
    if (b->replicas % n_ranks)
        log_warn_global(
            "%lld replicas do not divide evenly over %lld ranks: at most "
            "%.0f %% of the possible speed\n"
            "use a number of ranks that divides %lld",
            (long long)b->replicas, (long long)n_ranks,
            100 * batch_max_efficiency(b->replicas, n_ranks),
            (long long)b->replicas);
}

enum vd_err batch_resolve(const struct config *config, int64_t n_ranks,
                          int64_t n_images, struct batch_plan *out)
{
    struct batch_plan b = {
        .replicas = config->train.replicas,
        .micro_batch = config->train.micro_batch,
        .global_batch = config->train.global_batch,
    };
    if (b.replicas == CONFIG_AUTO)
        b.replicas = n_ranks;
    if (n_ranks > b.replicas)
        return VD_FAIL(VD_CONFIG,
                       "%lld ranks for %lld replicas: every rank needs one\n"
                       "start at most %lld ranks, or start a new run with "
                       "--train.replicas %lld",
                       (long long)n_ranks, (long long)b.replicas,
                       (long long)b.replicas, (long long)n_ranks);
    if (b.micro_batch != CONFIG_AUTO)
        b.global_batch = b.replicas * b.micro_batch;
    else
        b.micro_batch = b.global_batch / b.replicas;
    VD_TRY(check_batch(&b, n_images));
    warn_batch(&b, n_ranks);
    *out = b;
    return VD_OK;
}
