/*
 * Packing on several ranks:
 *
 *   1. all ranks: pack_open; the digests of the plans must be equal
 *   2. rank 0: pack_prepare
 *   3. all ranks: pack_work; each claims the next job from a counter on rank 0
 *      (comm_claim_index) when it has finished one: dynamic scheduling
 *   4. gather: the outcomes are serialized and sent to rank 0
 *   5. rank 0: pack_finish
 *
 * The ranks agree on the error after each step. If a step fails, rank 0 removes
 * the staged files.
 */
#include "preprocess/pack_ranks.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "comm/cores.h"
#include "comm/phase.h"
#include "preprocess/pack_report.h"

#include <stdlib.h>
#include <string.h>

/* ---- serialization; native layout: all ranks run the same program ---- */

static void serialize_text(struct text *out, const char *bytes, size_t n)
{
    text_add_bytes(out, &n, sizeof n);
    if (n)
        text_add_bytes(out, bytes, n);
}

static void serialize_outcome(const struct pack_outcome *o, int n_classes,
                              struct text *out)
{
    text_add_bytes(out, &o->n_images, sizeof o->n_images);
    text_add_bytes(out, &o->digest, sizeof o->digest);
    text_add_bytes(out, o->class_counts,
                   (size_t)n_classes * sizeof *o->class_counts);
    serialize_text(out, o->labels.bytes, o->labels.length);
    serialize_text(out, o->images.bytes, o->images.length);
    text_add_bytes(out, &o->diagnostics.n, sizeof o->diagnostics.n);
    for (size_t i = 0; i < o->diagnostics.n; i++) {
        const struct diagnostic *d = &o->diagnostics.list[i];
        text_add_bytes(out, &d->kind, sizeof d->kind);
        text_add_bytes(out, &d->line, sizeof d->line);
        serialize_text(out, d->file, strlen(d->file));
        serialize_text(out, d->text, strlen(d->text));
    }
}

void pack_ranks_serialize(const struct pack *p, struct text *out)
{
    for (size_t j = 0; j < p->n_jobs; j++) {
        if (!p->outcomes[j].done)
            continue;
        text_add_bytes(out, &j, sizeof j);
        serialize_outcome(&p->outcomes[j], p->classes.n, out);
    }
}

struct byte_reader {
    const char *at, *end;
};

static void read_bytes(struct byte_reader *b, void *out, size_t n)
{
    VD_ASSERT((size_t)(b->end - b->at) >= n);
    memcpy(out, b->at, n);
    b->at += n;
}

/* Owned. */
static char *read_text(struct byte_reader *b, size_t *n)
{
    read_bytes(b, n, sizeof *n);
    VD_ASSERT((size_t)(b->end - b->at) >= *n);
    char *text = xcalloc(*n + 1, 1);
    read_bytes(b, text, *n);
    return text;
}

static void deserialize_outcome(struct byte_reader *b, int n_classes,
                                struct pack_outcome *o)
{
    size_t n = 0, n_diagnostics = 0;
    read_bytes(b, &o->n_images, sizeof o->n_images);
    read_bytes(b, &o->digest, sizeof o->digest);
    read_bytes(b, o->class_counts, (size_t)n_classes * sizeof *o->class_counts);
    char *labels = read_text(b, &n);
    text_add_bytes(&o->labels, labels, n);
    free(labels);
    char *images = read_text(b, &n);
    text_add_bytes(&o->images, images, n);
    free(images);
    read_bytes(b, &n_diagnostics, sizeof n_diagnostics);
    for (size_t i = 0; i < n_diagnostics; i++) {
        enum diagnostic_kind kind;
        int line = 0;
        read_bytes(b, &kind, sizeof kind);
        read_bytes(b, &line, sizeof line);
        char *file = read_text(b, &n), *text = read_text(b, &n);
        diagnostics_add(&o->diagnostics, kind, file, line, "%s", text);
        free(file);
        free(text);
    }
}

void pack_ranks_deserialize(struct pack *p, const void *bytes, size_t n)
{
    struct byte_reader b = {bytes, (const char *)bytes + n};
    while (b.at < b.end) {
        size_t j = 0;
        read_bytes(&b, &j, sizeof j);
        VD_ASSERT(j < p->n_jobs && !p->outcomes[j].done);
        deserialize_outcome(&b, p->classes.n, &p->outcomes[j]);
        p->outcomes[j].done = true;
    }
}

/* ---- the steps ---- */

/* Of everything that must be equal on all ranks: classes, images, jobs. */
static uint64_t plan_digest(const struct pack *p)
{
    struct hash h;
    hash_init(&h);
    for (int k = 0; k < p->classes.n; k++)
        hash_update(&h, p->classes.names[k], strlen(p->classes.names[k]) + 1);
    for (int k = 0; k < p->dataset.n_splits; k++)
        for (size_t i = 0; i < p->dataset.splits[k].n; i++) {
            size_t member = p->dataset.splits[k].members[i];
            const char *id = p->dataset.images[member].id;
            hash_update(&h, id, strlen(id) + 1);
        }
    hash_update(&h, &p->n_jobs, sizeof p->n_jobs);
    return hash_final(&h);
}

static enum vd_err gather_outcomes(struct pack *p, struct comm *comm)
{
    enum vd_err err = VD_OK;
    struct text mine = {0};
    void *all = NULL;
    size_t *sizes = xcalloc((size_t)comm->size, sizeof *sizes);
    if (comm->rank != 0)
        pack_ranks_serialize(p, &mine);
    VD_TRY_GOTO(
        out, err,
        comm_gather(comm, SITE_PACK, mine.bytes, mine.length, &all, sizes));
    const char *at = all;
    for (int r = 1; comm->rank == 0 && r < comm->size; r++) {
        pack_ranks_deserialize(p, at, sizes[r]);
        at += sizes[r];
    }
    for (size_t j = 0; comm->rank == 0 && j < p->n_jobs; j++)
        VD_ASSERT(p->outcomes[j].done);
out:
    alloc_aligned_free(all);
    free(mine.bytes);
    free(sizes);
    return err;
}

static enum vd_err claim_job(void *ctx, size_t *job)
{
    uint64_t number = 0;
    VD_TRY(comm_claim_index(ctx, SITE_PACK, &number));
    *job = (size_t)number;
    return VD_OK;
}

static void report_progress(void *ctx)
{
    comm_progress(ctx);
}

static enum vd_err pack_with_ranks(struct pack *p, struct comm *comm)
{
    enum vd_err err = VD_OK;
    double start = clock_now();
    VD_TRY(comm_check_equal(comm, SITE_PACK, "the images", plan_digest(p)));
    if (comm->rank == 0)
        err = pack_prepare(p);
    VD_TRY(comm_agree(comm, SITE_PACK, err));
    struct pack_scheduler scheduler = {.next_job = claim_job,
                                       .image_done = report_progress,
                                       .ctx = comm,
                                       .silent = comm->rank != 0};
    err = pack_work(p, &scheduler);
    err = comm_agree(comm, SITE_PACK, err);
    if (err == VD_OK)
        err = gather_outcomes(p, comm);
    if (err != VD_OK) {
        if (comm->rank == 0)
            pack_discard(p);
        return err;
    }
    if (comm->rank == 0) {
        err = pack_finish(p);
        if (err == VD_OK)
            pack_report_log_summary(p, clock_now() - start);
    }
    return comm_agree(comm, SITE_PACK, err);
}

struct open_args {
    struct pack *pack;
    const struct pack_options *options;
    char *const *roots;
    int n_roots;
};

static enum vd_err open_pack(void *ctx)
{
    const struct open_args *o = ctx;
    return pack_open(o->pack, o->options, o->roots, o->n_roots);
}

enum vd_err pack_ranks_run(const struct pack_options *options,
                           char *const *roots, int n_roots, struct comm *comm)
{
    struct pack p = {0};
    struct pack_options mine = *options;
    int n_threads = (int)options->threads;
    if (n_threads < 0) /* ranks on one node share its cores */
        VD_TRY(cores_assign_threads(comm, &n_threads));
    mine.threads = n_threads;
    struct open_args args = {&p, &mine, roots, n_roots};
    enum vd_err err = comm_phase(comm, SITE_PACK, open_pack, &args);
    if (err == VD_OK)
        err = pack_with_ranks(&p, comm);
    pack_close(&p);
    return err;
}
