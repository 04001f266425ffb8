/*
 * A checkpoint as one HDF5 file.
 *
 * It is written under a temporary name and renamed when it is on disk, so a
 * file with a checkpoint's name is complete. It contains a digest of all its
 * contents; reading recomputes the digest and rejects a file that was damaged
 * or edited. The order in which the digest covers them is part of the format.
 */
#include "run/checkpoint.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "model/values.h"
#include "run/checkpoint_kind.h"
#include "store/atomic.h"
#include "store/h5.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT      2
#define MAX_TEXT    ((size_t)1 << 20) /* bytes of config, of state */
#define MAX_NAME    255               /* bytes of a class name */
#define MAX_CLASSES 10000

#define REMEDY "use an older checkpoint of the run"

static enum vd_err alloc_floats(float **out, size_t n)
{
    return alloc_aligned((void **)out, n, sizeof(float),
                         "a checkpoint's values");
}

static enum vd_err alloc_arrays(struct checkpoint *c)
{
    VD_TRY(alloc_floats(&c->param, c->n_params));
    VD_TRY(alloc_floats(&c->m, c->n_trainable));
    VD_TRY(alloc_floats(&c->v, c->n_trainable));
    return alloc_floats(&c->stats, c->n_stats);
}

enum vd_err checkpoint_new(struct checkpoint *c, const struct graph *g)
{
    *c = (struct checkpoint){.n_params = g->n_params,
                             .n_trainable = g->n_trainable,
                             .n_stats = g->n_stats,
                             .graph_digest = graph_digest(g)};
    return alloc_arrays(c);
}

void checkpoint_clear(struct checkpoint *c)
{
    alloc_aligned_free(c->param);
    alloc_aligned_free(c->m);
    alloc_aligned_free(c->v);
    alloc_aligned_free(c->stats);
    free(c->config);
    free(c->state);
    free(c->file);
    h5_free_texts(c->classes, (size_t)c->n_classes);
    *c = (struct checkpoint){0};
}

/* Includes the terminating zero, so that different sequences of texts have
 * different bytes. */
static void hash_text(struct hash *h, const char *text)
{
    hash_update(h, text, strlen(text) + 1);
}

uint64_t checkpoint_digest(const struct checkpoint *c)
{
    struct hash h;
    const uint64_t head[] = {c->step, (uint64_t)c->size, c->best,
                             c->graph_digest, (uint64_t)c->n_classes};
    hash_init(&h);
    hash_update(&h, head, sizeof head);
    hash_text(&h, c->config);
    hash_text(&h, c->state);
    for (int k = 0; k < c->n_classes; k++)
        hash_text(&h, c->classes[k]);
    hash_update(&h, c->param, c->n_params * sizeof(float));
    hash_update(&h, c->m, c->n_trainable * sizeof(float));
    hash_update(&h, c->v, c->n_trainable * sizeof(float));
    hash_update(&h, c->stats, c->n_stats * sizeof(float));
    return hash_final(&h);
}

/* ---- writing ---- */

static enum vd_err write_floats(struct h5_file *f, const char *name,
                                const float *values, size_t n)
{
    struct h5_shape shape = {.type = H5_TYPE_FLOAT32, .rank = 1, .dims = {n}};
    return h5_write(f, name, &shape, values);
}

/* Names and offsets of the tensors, for other programs. */
static enum vd_err write_tensor_index(struct h5_file *f, const struct graph *g)
{
    size_t n = (size_t)g->n_param_tensors;
    char *names = xcalloc(n, GRAPH_MAX_NAME);
    int64_t *offsets = xcalloc(n, sizeof *offsets);
    for (size_t i = 0; i < n; i++) {
        memcpy(names + i * GRAPH_MAX_NAME, g->params[i].name, GRAPH_MAX_NAME);
        offsets[i] = (int64_t)g->params[i].offset;
    }
    struct h5_shape texts = {.type = H5_TYPE_TEXT,
                             .text_bytes = GRAPH_MAX_NAME,
                             .rank = 1,
                             .dims = {n}};
    struct h5_shape ints = {.type = H5_TYPE_INT64, .rank = 1, .dims = {n}};
    enum vd_err err = h5_write(f, "tensor", &texts, names);
    if (err == VD_OK)
        err = h5_write(f, "offset", &ints, offsets);
    free(names);
    free(offsets);
    return err;
}

static enum vd_err write_contents(struct h5_file *f, const struct checkpoint *c,
                                  const struct graph *g)
{
    VD_TRY(h5_set_int(f, "format", FORMAT));
    VD_TRY(h5_set_int(f, "step", (int64_t)c->step));
    VD_TRY(h5_set_int(f, "size", c->size));
    VD_TRY(h5_set_int(f, "best", c->best));
    VD_TRY(h5_set_int(f, "graph", (int64_t)c->graph_digest));
    VD_TRY(h5_set_int(f, "digest", (int64_t)checkpoint_digest(c)));
    VD_TRY(h5_set_text(f, "config", c->config));
    VD_TRY(h5_set_text(f, "state", c->state));
    VD_TRY(h5_set_int(f, "n_classes", c->n_classes));
    VD_TRY(h5_set_texts(f, "classes", (const char *const *)c->classes,
                        (size_t)c->n_classes));
    VD_TRY(write_floats(f, "param", c->param, c->n_params));
    VD_TRY(write_floats(f, "m", c->m, c->n_trainable));
    VD_TRY(write_floats(f, "v", c->v, c->n_trainable));
    VD_TRY(write_floats(f, "stats", c->stats, c->n_stats));
    return write_tensor_index(f, g);
}

enum vd_err checkpoint_write(const struct checkpoint *c, const struct graph *g,
                             const char *path)
{
    enum vd_err err = VD_OK, closed;
    struct atomic_file file = {0};
    struct h5_file *f = NULL;
    VD_TRY(atomic_reserve(&file, path));
    VD_TRY_GOTO(fail, err, h5_create(&f, file.temporary, path));
    VD_TRY_GOTO(fail, err, write_contents(f, c, g));
    err = h5_close(f);
    f = NULL;
    if (err != VD_OK)
        goto fail;
    return atomic_commit(&file);
fail:
    closed = h5_close(f);
    atomic_abort(&file);
    return closed != VD_OK ? closed : err;
}

/* ---- reading ---- */

static enum vd_err check_format(struct h5_file *f, const char *path)
{
    int64_t format = 0;
    VD_TRY(h5_get_int(f, "format", &format));
    if (format != FORMAT)
        return VD_FAIL(VD_DATA,
                       "%s: checkpoint format %lld, this program reads %d\n"
                       "use the version of the program that wrote it",
                       path, (long long)format, FORMAT);
    return VD_OK;
}

static enum vd_err read_length(struct h5_file *f, const char *path,
                               const char *name, size_t *n)
{
    struct h5_shape shape;
    VD_TRY(h5_shape(f, name, &shape));
    if (shape.type != H5_TYPE_FLOAT32 || shape.rank != 1)
        return VD_FAIL(VD_DATA, "%s: %s is not a float32 vector\n" REMEDY, path,
                       name);
    *n = shape.dims[0];
    return VD_OK;
}

static enum vd_err read_head(struct checkpoint *c, struct h5_file *f,
                             const char *path)
{
    int64_t step, size, best, digest, n_classes;
    VD_TRY(checkpoint_check_contents(f, path));
    VD_TRY(check_format(f, path));
    VD_TRY(h5_get_int(f, "step", &step));
    VD_TRY(h5_get_int(f, "size", &size));
    VD_TRY(h5_get_int(f, "best", &best));
    VD_TRY(h5_get_int(f, "graph", &digest));
    VD_TRY(h5_get_int(f, "n_classes", &n_classes));
    if (step < 0 || size < 1 || size > INT32_MAX || n_classes < 1 ||
        n_classes > MAX_CLASSES)
        return VD_FAIL(
            VD_DATA, "%s: damaged: step %lld, size %lld, %lld classes\n" REMEDY,
            path, (long long)step, (long long)size, (long long)n_classes);
    c->step = (uint64_t)step;
    c->size = (int32_t)size;
    c->best = best != 0;
    c->graph_digest = (uint64_t)digest;
    VD_TRY(read_length(f, path, "param", &c->n_params));
    VD_TRY(read_length(f, path, "m", &c->n_trainable));
    VD_TRY(read_length(f, path, "stats", &c->n_stats));
    VD_TRY(h5_get_text(f, "config", MAX_TEXT, &c->config));
    VD_TRY(h5_get_text(f, "state", MAX_TEXT, &c->state));
    VD_TRY(
        h5_get_texts(f, "classes", (size_t)n_classes, MAX_NAME, &c->classes));
    c->n_classes = (int)n_classes;
    return VD_OK;
}

static enum vd_err read_floats(struct h5_file *f, const char *name,
                               float *values, size_t n)
{
    struct h5_shape shape = {.type = H5_TYPE_FLOAT32, .rank = 1, .dims = {n}};
    return h5_read(f, name, &shape, values);
}

static enum vd_err read_values(struct checkpoint *c, struct h5_file *f,
                               const char *path)
{
    int64_t digest = 0;
    VD_TRY(alloc_arrays(c));
    VD_TRY(read_floats(f, "param", c->param, c->n_params));
    VD_TRY(read_floats(f, "m", c->m, c->n_trainable));
    VD_TRY(read_floats(f, "v", c->v, c->n_trainable));
    VD_TRY(read_floats(f, "stats", c->stats, c->n_stats));
    VD_TRY(h5_get_int(f, "digest", &digest));
    if ((uint64_t)digest != checkpoint_digest(c))
        return VD_FAIL(VD_DATA,
                       "%s: damaged: the contents' digest differs\n" REMEDY,
                       path);
    return VD_OK;
}

static enum vd_err read_file(struct checkpoint *c, const char *path, bool whole)
{
    enum vd_err err = VD_OK;
    struct h5_file *f = NULL;
    *c = (struct checkpoint){0};
    VD_TRY(checkpoint_check_kind(path));
    VD_TRY(h5_open(&f, path));
    c->file = xstrdup(path);
    VD_TRY_GOTO(out, err, read_head(c, f, path));
    if (whole)
        VD_TRY_GOTO(out, err, read_values(c, f, path));
out:
    if (h5_close(f) != VD_OK)
        log_debug("%s: closing failed", path);
    if (err != VD_OK)
        checkpoint_clear(c);
    return err;
}

enum vd_err checkpoint_read(struct checkpoint *c, const char *path)
{
    return read_file(c, path, true);
}

enum vd_err checkpoint_read_head(struct checkpoint *c, const char *path)
{
    return read_file(c, path, false);
}

enum vd_err checkpoint_check_graph(const struct checkpoint *c,
                                   const struct graph *g, const char *path)
{
    if (c->n_params == g->n_params && c->n_trainable == g->n_trainable &&
        c->n_stats == g->n_stats && c->graph_digest == graph_digest(g))
        return VD_OK;
    return VD_FAIL(VD_DATA, "%s: belongs to another network\n" REMEDY, path);
}

enum vd_err checkpoint_check_values(const struct checkpoint *c,
                                    const struct graph *g, enum vd_err code,
                                    const char *where, const char *remedy)
{
    const struct network_values values = {
        .param = c->param, .m = c->m, .v = c->v, .stats = c->stats};
    return values_check(g, &values, code, where, remedy);
}
