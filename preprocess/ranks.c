#include "preprocess/ranks.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "comm/cores.h"
#include "comm/phase.h"
#include "preprocess/report.h"

#include <stdlib.h>
#include <string.h>

/* ---- outcomes as bytes; both ends are the same program ---- */

static void put_text(struct text *out, const char *bytes, size_t n)
{
    text_add_bytes(out, &n, sizeof n);
    if (n)
        text_add_bytes(out, bytes, n);
}

static void put_outcome(const struct pack_outcome *o, int n_classes,
                        struct text *out)
{
    text_add_bytes(out, &o->n_images, sizeof o->n_images);
    text_add_bytes(out, &o->digest, sizeof o->digest);
    text_add_bytes(out, o->class_counts,
                   (size_t)n_classes * sizeof *o->class_counts);
    put_text(out, o->labels.bytes, o->labels.length);
    put_text(out, o->images.bytes, o->images.length);
    text_add_bytes(out, &o->findings.n, sizeof o->findings.n);
    for (size_t i = 0; i < o->findings.n; i++) {
        const struct finding *f = &o->findings.list[i];
        text_add_bytes(out, &f->kind, sizeof f->kind);
        text_add_bytes(out, &f->line, sizeof f->line);
        put_text(out, f->file, strlen(f->file));
        put_text(out, f->text, strlen(f->text));
    }
}

void ranks_put(const struct pack *p, struct text *out)
{
    for (size_t j = 0; j < p->n_jobs; j++) {
        if (!p->outcomes[j].done)
            continue;
        text_add_bytes(out, &j, sizeof j);
        put_outcome(&p->outcomes[j], p->classes.n, out);
    }
}

struct bytes {
    const char *at, *end;
};

static void take(struct bytes *b, void *out, size_t n)
{
    VD_ASSERT((size_t)(b->end - b->at) >= n);
    memcpy(out, b->at, n);
    b->at += n;
}

/* Owned. */
static char *take_text(struct bytes *b, size_t *n)
{
    take(b, n, sizeof *n);
    VD_ASSERT((size_t)(b->end - b->at) >= *n);
    char *text = mem_new(*n + 1, 1);
    take(b, text, *n);
    return text;
}

static void take_outcome(struct bytes *b, int n_classes, struct pack_outcome *o)
{
    size_t n = 0, n_findings = 0;
    take(b, &o->n_images, sizeof o->n_images);
    take(b, &o->digest, sizeof o->digest);
    take(b, o->class_counts, (size_t)n_classes * sizeof *o->class_counts);
    char *labels = take_text(b, &n);
    text_add_bytes(&o->labels, labels, n);
    free(labels);
    char *images = take_text(b, &n);
    text_add_bytes(&o->images, images, n);
    free(images);
    take(b, &n_findings, sizeof n_findings);
    for (size_t i = 0; i < n_findings; i++) {
        enum finding_kind kind;
        int line = 0;
        take(b, &kind, sizeof kind);
        take(b, &line, sizeof line);
        char *file = take_text(b, &n), *text = take_text(b, &n);
        findings_add(&o->findings, kind, file, line, "%s", text);
        free(file);
        free(text);
    }
}

void ranks_take(struct pack *p, const void *bytes, size_t n)
{
    struct bytes b = {bytes, (const char *)bytes + n};
    while (b.at < b.end) {
        size_t j = 0;
        take(&b, &j, sizeof j);
        VD_ASSERT(j < p->n_jobs && !p->outcomes[j].done);
        take_outcome(&b, p->classes.n, &p->outcomes[j]);
        p->outcomes[j].done = true;
    }
}

/* ---- the steps ---- */

/* Of everything the ranks must agree on before they share the work. */
static uint64_t plan_digest(const struct pack *p)
{
    struct hash h;
    hash_init(&h);
    for (int k = 0; k < p->classes.n; k++)
        hash_add(&h, p->classes.names[k], strlen(p->classes.names[k]) + 1);
    for (int k = 0; k < p->tree.n_splits; k++)
        for (size_t i = 0; i < p->tree.splits[k].n; i++) {
            size_t member = p->tree.splits[k].members[i];
            const char *id = p->tree.pictures[member].id;
            hash_add(&h, id, strlen(id) + 1);
        }
    hash_add(&h, &p->n_jobs, sizeof p->n_jobs);
    return hash_end(&h);
}

static enum vd_err gather_outcomes(struct pack *p, struct comm *comm)
{
    enum vd_err err = VD_OK;
    struct text mine = {0};
    void *all = NULL;
    size_t *sizes = mem_new((size_t)comm->size, sizeof *sizes);
    if (comm->rank != 0)
        ranks_put(p, &mine);
    VD_TRY_ELSE(
        out, err,
        comm_gather(comm, SITE_PACK, mine.bytes, mine.length, &all, sizes));
    const char *at = all;
    for (int r = 1; comm->rank == 0 && r < comm->size; r++) {
        ranks_take(p, at, sizes[r]);
        at += sizes[r];
    }
    for (size_t j = 0; comm->rank == 0 && j < p->n_jobs; j++)
        VD_ASSERT(p->outcomes[j].done);
out:
    mem_free(all);
    free(mine.bytes);
    free(sizes);
    return err;
}

static enum vd_err claim_job(void *ctx, size_t *job)
{
    uint64_t number = 0;
    VD_TRY(comm_claim(ctx, SITE_PACK, &number));
    *job = (size_t)number;
    return VD_OK;
}

static void image_done(void *ctx)
{
    comm_progress(ctx);
}

static enum vd_err share_work(struct pack *p, struct comm *comm)
{
    enum vd_err err = VD_OK;
    double start = clock_now();
    VD_TRY(comm_same(comm, SITE_PACK, "the pictures", plan_digest(p)));
    if (comm->rank == 0)
        err = pack_prepare(p);
    VD_TRY(comm_agree(comm, SITE_PACK, err));
    struct pack_share share = {.next_job = claim_job,
                               .image_done = image_done,
                               .ctx = comm,
                               .silent = comm->rank != 0};
    err = pack_work(p, &share);
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
            report_log_summary(p, clock_now() - start);
    }
    return comm_agree(comm, SITE_PACK, err);
}

struct opening {
    struct pack *pack;
    const struct pack_options *options;
    char *const *roots;
    int n_roots;
};

static enum vd_err open_pack(void *ctx)
{
    const struct opening *o = ctx;
    return pack_open(o->pack, o->options, o->roots, o->n_roots);
}

enum vd_err ranks_pack(const struct pack_options *options, char *const *roots,
                       int n_roots, struct comm *comm)
{
    struct pack p = {0};
    struct pack_options mine = *options;
    int n_threads = (int)options->threads;
    if (n_threads < 0) /* ranks on one node share its cores */
        VD_TRY(cores_divide(comm, &n_threads));
    mine.threads = n_threads;
    struct opening opening = {&p, &mine, roots, n_roots};
    enum vd_err err = comm_phase(comm, SITE_PACK, open_pack, &opening);
    if (err == VD_OK)
        err = share_work(&p, comm);
    pack_close(&p);
    return err;
}
