/*
 * Execution plans: made from a given engine or from the first candidate, and
 * run. A run needs a list of arguments (cuDNN's variant pack), which is made
 * for each call: a captured step makes it once.
 */
#include "backend/cuda/cudnn_conv_internal.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

struct conv_plan {
    struct conv *conv; /* borrowed */
    struct conv_engine engine;
    cudnnBackendDescriptor_t plan;
    size_t workspace;
};

#define MIB(bytes) ((double)(bytes) / (1 << 20))

static enum vd_err raise_none(const struct conv *c,
                              const struct conv_candidates *list,
                              size_t max_workspace)
{
    return VD_FAIL(
        VD_UNSUPPORTED,
        "cuDNN: %s: no engine within %.1f MiB of workspace (%zu need more, %zu "
        "are excluded by their numerical properties, %zu do not support it)\n"
        "raise the limit of the workspace, or use another precision "
        "(train.precision) or micro-batch",
        c->text, MIB(max_workspace), list->n_too_large, list->n_forbidden,
        list->n_not_supported);
}

static enum vd_err find_first(const struct conv *c, size_t max_workspace,
                              struct conv_engine *out)
{
    struct conv_candidates list;
    VD_TRY(engine_find(c, CONV_SEARCH_HEURISTICS, max_workspace, 1, &list));
    enum vd_err err = VD_OK;
    if (list.n > 0)
        *out = list.at[0].engine;
    else
        err = raise_none(c, &list, max_workspace);
    conv_candidates_clear(&list);
    return err;
}

static enum vd_err plan_make(struct conv_plan *p, size_t max_workspace)
{
    const struct conv *c = p->conv;
    char what[CONV_MAX_TEXT + 32];
    snprintf(what, sizeof what, "%s: engine %lld", c->text,
             (long long)p->engine.id);
    struct engine_config config;
    cudnnStatus_t status = engine_config_make(c, &p->engine, &config);
    bool is_allowed = engine_is_allowed(c, &config);
    if (status == CUDNN_STATUS_SUCCESS && is_allowed)
        status = engine_finalize(c, &config, &p->plan, &p->workspace);
    engine_config_clear(&config);
    if (status != CUDNN_STATUS_SUCCESS)
        return cudnn_raise(status, what);
    if (!is_allowed)
        return VD_FAIL(VD_UNSUPPORTED,
                       "cuDNN: %s is excluded: it is not deterministic, less "
                       "precise than the precision requires, or compiled at "
                       "run time\n" BACKEND_PLAN_REMEDY,
                       what);
    if (p->workspace > max_workspace)
        return VD_FAIL(VD_UNSUPPORTED,
                       "cuDNN: %s needs %.1f MiB of workspace, the limit is "
                       "%.1f MiB\nraise the limit, or " BACKEND_PLAN_REMEDY,
                       what, MIB(p->workspace), MIB(max_workspace));
    return VD_OK;
}

enum vd_err conv_plan_new(struct conv *c, const struct conv_engine *engine,
                          size_t max_workspace, struct conv_plan **out)
{
    struct conv_plan *p = xcalloc(1, sizeof *p);
    enum vd_err err = VD_OK;
    p->conv = c;
    if (engine)
        p->engine = *engine;
    else
        err = find_first(c, max_workspace, &p->engine);
    if (!err)
        err = plan_make(p, max_workspace);
    if (err) {
        conv_plan_free(p);
        return err;
    }
    *out = p;
    return VD_OK;
}

void conv_plan_free(struct conv_plan *p)
{
    if (!p)
        return;
    descriptor_free(&p->plan);
    free(p);
}

size_t conv_plan_workspace(const struct conv_plan *p)
{
    return p->workspace;
}

const struct conv_engine *conv_plan_engine(const struct conv_plan *p)
{
    return &p->engine;
}

enum vd_err conv_plan_describe(const struct conv_plan *p, char **json)
{
    cudnnStatus_t status = descriptor_get_text(
        p->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, json);
    if (status != CUDNN_STATUS_SUCCESS)
        return cudnn_raise(status, p->conv->text);
    return VD_OK;
}

/* ---- running ---- */

static cudnnStatus_t make_arguments(const struct conv_arrays *a,
                                    void *workspace,
                                    cudnnBackendDescriptor_t *out)
{
    int64_t ids[] = {TENSOR_X, TENSOR_W, TENSOR_Y};
    void *arrays[] = {a->x, a->w, a->y};
    STATUS_TRY(cudnnBackendCreateDescriptor(
        CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, out));
    STATUS_TRY(cudnnBackendSetAttribute(
        *out, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids));
    STATUS_TRY(cudnnBackendSetAttribute(*out,
                                        CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                        CUDNN_TYPE_VOID_PTR, 3, arrays));
    STATUS_TRY(cudnnBackendSetAttribute(*out, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                        CUDNN_TYPE_VOID_PTR, 1, &workspace));
    return cudnnBackendFinalize(*out);
}

static bool is_aligned(const void *p, uintptr_t alignment)
{
    return (uintptr_t)p % alignment == 0;
}

enum vd_err conv_plan_run(struct conv_plan *p, struct cudnnContext *handle,
                          const struct conv_arrays *a, void *workspace)
{
    VD_ASSERT(is_aligned(a->x, CONV_ALIGNMENT) &&
              is_aligned(a->w, CONV_ALIGNMENT) &&
              is_aligned(a->y, CONV_ALIGNMENT));
    VD_ASSERT(is_aligned(workspace, CONV_WORKSPACE_ALIGNMENT) &&
              (workspace || p->workspace == 0));
    cudnnBackendDescriptor_t arguments = NULL;
    cudnnStatus_t status = make_arguments(a, workspace, &arguments);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendExecute(handle, p->plan, arguments);
    enum vd_err err = VD_OK;
    if (status != CUDNN_STATUS_SUCCESS)
        err = cudnn_raise(status, p->conv->text);
    descriptor_free(&arguments);
    return err;
}
