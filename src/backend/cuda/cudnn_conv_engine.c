/*
 * Engines: configurations, notes, candidates.
 *
 * A configuration of cuDNN's heuristics is reduced to a struct conv_engine
 * (engine id, knob values) and rebuilt from it, so that a candidate and an
 * engine read from a tuning plan take the same way:
 *
 *     heuristics -> configuration -> conv_engine -> configuration -> plan
 *
 * engine_find() takes the sources (heuristics A, B, FALLBACK, all engines) one
 * after the other, drops engines by their notes, and finalizes plans until it
 * has enough candidates: in a first pass those with tensor cores, in a second
 * one the others.
 */
#include "backend/cuda/cudnn_conv_internal.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SPLITS 64

#define NOTE(name)     (1u << CUDNN_NUMERICAL_NOTE_##name)
#define BEHAVIOR(name) (1u << CUDNN_BEHAVIOR_NOTE_##name)

#define FORBIDDEN_NOTES \
    (NOTE(NONDETERMINISTIC) | NOTE(REDUCED_PRECISION_REDUCTION))
#define FORBIDDEN_NOTES_FP32 (NOTE(TENSOR_CORE) | NOTE(DOWN_CONVERT_INPUTS))
#define FORBIDDEN_BEHAVIOR                                           \
    (BEHAVIOR(RUNTIME_COMPILATION) | BEHAVIOR(CUBLASLT_DEPENDENCY) | \
     BEHAVIOR(REQUIRES_FILTER_INT8x32_REORDER) |                     \
     BEHAVIOR(REQUIRES_BIAS_INT8x32_REORDER))

/* ---- configurations ---- */

static cudnnStatus_t make_engine(const struct conv *c, int64_t id,
                                 cudnnBackendDescriptor_t *out)
{
    STATUS_TRY(
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, out));
    STATUS_TRY(descriptor_set_child(*out, CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
                                    c->graph));
    STATUS_TRY(descriptor_set_int(*out, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, id));
    STATUS_TRY(descriptor_set_child(*out, CUDNN_ATTR_ENGINE_DEVICEPROP,
                                    c->device->properties));
    return cudnnBackendFinalize(*out);
}

static cudnnStatus_t make_choice(const struct conv_knob *knob,
                                 cudnnBackendDescriptor_t *out)
{
    cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)knob->type;
    STATUS_TRY(cudnnBackendCreateDescriptor(
        CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, out));
    STATUS_TRY(cudnnBackendSetAttribute(*out, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                        CUDNN_TYPE_KNOB_TYPE, 1, &type));
    STATUS_TRY(descriptor_set_int(*out, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                                  knob->value));
    return cudnnBackendFinalize(*out);
}

/* Bits 1 << note of an engine. */
static cudnnStatus_t read_notes(struct engine_config *config)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendBehaviorNote_t behavior[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t n = 0;
    STATUS_TRY(cudnnBackendGetAttribute(
        config->engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
        CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, note));
    for (int64_t i = 0; i < n && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++)
        config->notes |= 1u << note[i];
    STATUS_TRY(cudnnBackendGetAttribute(
        config->engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
        CUDNN_TYPE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &n,
        behavior));
    for (int64_t i = 0; i < n && i < CUDNN_BEHAVIOR_NOTE_TYPE_COUNT; i++)
        config->behavior |= 1u << behavior[i];
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t engine_config_make(const struct conv *c,
                                 const struct conv_engine *e,
                                 struct engine_config *out)
{
    VD_ASSERT(e->n_knobs >= 0 && e->n_knobs <= CONV_MAX_KNOBS);
    memset(out, 0, sizeof *out);
    STATUS_TRY(make_engine(c, e->id, &out->engine));
    STATUS_TRY(read_notes(out));
    for (int i = 0; i < e->n_knobs; i++)
        STATUS_TRY(make_choice(&e->knob[i], &out->choice[i]));
    STATUS_TRY(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                                            &out->config));
    STATUS_TRY(descriptor_set_child(out->config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                    out->engine));
    if (e->n_knobs > 0)
        STATUS_TRY(cudnnBackendSetAttribute(
            out->config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
            CUDNN_TYPE_BACKEND_DESCRIPTOR, e->n_knobs, out->choice));
    return cudnnBackendFinalize(out->config);
}

void engine_config_clear(struct engine_config *config)
{
    descriptor_free(&config->config);
    for (int i = 0; i < CONV_MAX_KNOBS; i++)
        descriptor_free(&config->choice[i]);
    descriptor_free(&config->engine);
}

bool engine_is_allowed(const struct conv *c, const struct engine_config *config)
{
    unsigned forbidden = FORBIDDEN_NOTES;
    if (c->spec.precision == BACKEND_FP32)
        forbidden |= FORBIDDEN_NOTES_FP32;
    return !(config->notes & forbidden) &&
           !(config->behavior & FORBIDDEN_BEHAVIOR);
}

cudnnStatus_t engine_finalize(const struct conv *c,
                              const struct engine_config *config,
                              cudnnBackendDescriptor_t *plan, size_t *workspace)
{
    int64_t bytes = 0;
    STATUS_TRY(cudnnBackendCreateDescriptor(
        CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, plan));
    STATUS_TRY(descriptor_set_child(*plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                    c->device->properties));
    STATUS_TRY(descriptor_set_child(
        *plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config->config));
    STATUS_TRY(cudnnBackendFinalize(*plan));
    STATUS_TRY(descriptor_get(*plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                              CUDNN_TYPE_INT64, &bytes));
    *workspace = (size_t)bytes;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- reading configurations of the heuristics ---- */

static cudnnStatus_t read_id(cudnnBackendDescriptor_t config, int64_t *id)
{
    cudnnBackendDescriptor_t engine = NULL;
    STATUS_TRY(
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    cudnnStatus_t status =
        descriptor_get(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                       CUDNN_TYPE_BACKEND_DESCRIPTOR, &engine);
    if (status == CUDNN_STATUS_SUCCESS)
        status = descriptor_get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX,
                                CUDNN_TYPE_INT64, id);
    descriptor_free(&engine);
    return status;
}

static cudnnStatus_t read_choice(cudnnBackendDescriptor_t choice,
                                 struct conv_knob *out)
{
    cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
    STATUS_TRY(descriptor_get(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                              CUDNN_TYPE_KNOB_TYPE, &type));
    out->type = (int32_t)type;
    return descriptor_get(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                          CUDNN_TYPE_INT64, &out->value);
}

/* cuDNN fills descriptors that the caller created. */
static cudnnStatus_t create_all(cudnnBackendDescriptorType_t type, int64_t n,
                                cudnnBackendDescriptor_t *out)
{
    for (int64_t i = 0; i < n; i++)
        STATUS_TRY(cudnnBackendCreateDescriptor(type, &out[i]));
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t read_knobs_into(cudnnBackendDescriptor_t config,
                                     cudnnBackendDescriptor_t *choice,
                                     struct conv_engine *out)
{
    int64_t n = 0;
    STATUS_TRY(create_all(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CONV_MAX_KNOBS,
                          choice));
    STATUS_TRY(cudnnBackendGetAttribute(
        config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, CONV_MAX_KNOBS, &n, choice));
    if (n > CONV_MAX_KNOBS)
        return CUDNN_STATUS_INTERNAL_ERROR_UNEXPECTED_VALUE;
    out->n_knobs = (int)n;
    for (int i = 0; i < out->n_knobs; i++)
        STATUS_TRY(read_choice(choice[i], &out->knob[i]));
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t read_config(cudnnBackendDescriptor_t config,
                                 struct conv_engine *out)
{
    cudnnBackendDescriptor_t choice[CONV_MAX_KNOBS] = {NULL};
    memset(out, 0, sizeof *out);
    STATUS_TRY(read_id(config, &out->id));
    cudnnStatus_t status = read_knobs_into(config, choice, out);
    for (int i = 0; i < CONV_MAX_KNOBS; i++)
        descriptor_free(&choice[i]);
    return status;
}

/* ---- candidates ---- */

/* Where engines come from, in this order. */
enum source { SOURCE_A, SOURCE_B, SOURCE_FALLBACK, SOURCE_ENGINES, SOURCES };

/* Engines in the order in which they were offered, each once. */
struct offers {
    const struct conv *conv;
    struct conv_candidate *at; /* owned; without their workspace */
    size_t n, end[SOURCES];    /* of the offers of each source */
    int n_sources;             /* that were read so far */
    struct conv_engine *seen;  /* owned; all, also those left out */
    size_t n_seen;
    struct conv_candidates *out;
};

static bool is_same_engine(const struct conv_engine *a,
                           const struct conv_engine *b)
{
    if (a->id != b->id || a->n_knobs != b->n_knobs)
        return false;
    for (int i = 0; i < a->n_knobs; i++)
        if (a->knob[i].type != b->knob[i].type ||
            a->knob[i].value != b->knob[i].value)
            return false;
    return true;
}

/* Returns false if the engine does not support the operation, or if the offer
 * was seen before. */
static bool add_offer(struct offers *o, const struct conv_engine *e)
{
    for (size_t i = 0; i < o->n_seen; i++)
        if (is_same_engine(&o->seen[i], e))
            return false;
    o->seen = xreallocarray(o->seen, o->n_seen + 1, sizeof *o->seen);
    o->seen[o->n_seen++] = *e;

    struct engine_config config;
    cudnnStatus_t status = engine_config_make(o->conv, e, &config);
    if (status != CUDNN_STATUS_SUCCESS) {
        o->out->n_not_supported++;
    } else if (!engine_is_allowed(o->conv, &config)) {
        o->out->n_forbidden++;
    } else {
        o->at = xreallocarray(o->at, o->n + 1, sizeof *o->at);
        o->at[o->n++] = (struct conv_candidate){
            .engine = *e,
            .tensor_core = (config.notes & NOTE(TENSOR_CORE)) != 0};
    }
    engine_config_clear(&config);
    return status == CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t make_heuristics(const struct conv *c,
                                     cudnnBackendHeurMode_t mode,
                                     cudnnBackendDescriptor_t *out)
{
    STATUS_TRY(
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, out));
    STATUS_TRY(descriptor_set_child(*out, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                                    c->graph));
    STATUS_TRY(cudnnBackendSetAttribute(*out, CUDNN_ATTR_ENGINEHEUR_MODE,
                                        CUDNN_TYPE_HEUR_MODE, 1, &mode));
    STATUS_TRY(descriptor_set_child(*out, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                                    c->device->properties));
    return cudnnBackendFinalize(*out);
}

/* Adds the results of finalized heuristics. */
static cudnnStatus_t add_results(struct offers *o, cudnnBackendDescriptor_t h)
{
    int64_t n = 0;
    STATUS_TRY(cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                        CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &n,
                                        NULL));
    cudnnBackendDescriptor_t *config =
        xcalloc((size_t)n + 1, sizeof(cudnnBackendDescriptor_t));
    cudnnStatus_t status =
        create_all(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, n, config);
    int64_t filled = 0;
    if (status == CUDNN_STATUS_SUCCESS && n > 0)
        status = cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, n,
                                          &filled, config);
    for (int64_t i = 0; status == CUDNN_STATUS_SUCCESS && i < filled; i++) {
        struct conv_engine e;
        status = read_config(config[i], &e);
        if (status == CUDNN_STATUS_SUCCESS)
            add_offer(o, &e);
    }
    for (int64_t i = 0; i < n; i++)
        descriptor_free(&config[i]);
    free(config);
    return status;
}

/* A mode that does not support the operation offers nothing. */
static cudnnStatus_t add_heuristics(struct offers *o,
                                    cudnnBackendHeurMode_t mode)
{
    cudnnBackendDescriptor_t h = NULL;
    cudnnStatus_t status = make_heuristics(o->conv, mode, &h);
    if (status == CUDNN_STATUS_SUCCESS)
        status = add_results(o, h);
    else if (CUDNN_STATUS_CATEGORY((int)status) == CUDNN_STATUS_NOT_SUPPORTED)
        status = CUDNN_STATUS_SUCCESS;
    descriptor_free(&h);
    return status;
}

/* Writes the type of the engine's knob for split-K, -1 if it has none. */
static cudnnStatus_t find_split_knob(const struct conv *c, int64_t id,
                                     int32_t *type)
{
    cudnnBackendDescriptor_t engine = NULL, info[CONV_MAX_KNOBS] = {NULL};
    int64_t n = 0;
    *type = -1;
    cudnnStatus_t status = make_engine(c, id, &engine);
    if (status == CUDNN_STATUS_SUCCESS)
        status = create_all(CUDNN_BACKEND_KNOB_INFO_DESCRIPTOR, CONV_MAX_KNOBS,
                            info);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_KNOB_INFO,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                          CONV_MAX_KNOBS, &n, info);
    for (int64_t i = 0; i < n && i < CONV_MAX_KNOBS; i++) {
        cudnnBackendKnobType_t knob = CUDNN_KNOB_TYPE_COUNTS;
        if (descriptor_get(info[i], CUDNN_ATTR_KNOB_INFO_TYPE,
                           CUDNN_TYPE_KNOB_TYPE,
                           &knob) == CUDNN_STATUS_SUCCESS &&
            (knob == CUDNN_KNOB_TYPE_SPLIT_K ||
             knob == CUDNN_KNOB_TYPE_SPLIT_K_SLC))
            *type = (int32_t)knob;
    }
    for (int i = 0; i < CONV_MAX_KNOBS; i++)
        descriptor_free(&info[i]);
    descriptor_free(&engine);
    return status;
}

/* The engine with its default knob values, and with split-K. Engines that do
 * not support the operation are created once only, because cuDNN loads cuBLASLt
 * for some of them. */
static void add_engine(struct offers *o, int64_t id)
{
    int32_t type;
    if (!add_offer(o, &(struct conv_engine){.id = id}) ||
        find_split_knob(o->conv, id, &type) != CUDNN_STATUS_SUCCESS || type < 0)
        return;
    for (int64_t splits = 2; splits <= MAX_SPLITS; splits *= 2)
        add_offer(o, &(struct conv_engine){
                         .id = id, .n_knobs = 1, .knob = {{type, splits}}});
}

static cudnnStatus_t add_engines(struct offers *o)
{
    int64_t n = 0;
    STATUS_TRY(descriptor_get(o->conv->graph,
                              CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT,
                              CUDNN_TYPE_INT64, &n));
    for (int64_t id = 0; id < n; id++)
        add_engine(o, id);
    return CUDNN_STATUS_SUCCESS;
}

/* Adds the offers of the next source. */
static cudnnStatus_t add_source(struct offers *o)
{
    static const cudnnBackendHeurMode_t modes[] = {
        [SOURCE_A] = CUDNN_HEUR_MODE_A,
        [SOURCE_B] = CUDNN_HEUR_MODE_B,
        [SOURCE_FALLBACK] = CUDNN_HEUR_MODE_FALLBACK};
    if (o->n_sources == SOURCE_ENGINES)
        STATUS_TRY(add_engines(o));
    else
        STATUS_TRY(add_heuristics(o, modes[o->n_sources]));
    o->end[o->n_sources++] = o->n;
    return CUDNN_STATUS_SUCCESS;
}

/* Adds the offer to the candidates if it has a plan within the limit. */
static void try_offer(struct offers *o, const struct conv_candidate *offer,
                      size_t max_workspace)
{
    const struct conv *c = o->conv;
    struct conv_candidates *out = o->out;
    struct engine_config config;
    cudnnBackendDescriptor_t plan = NULL;
    size_t workspace = 0;
    cudnnStatus_t status = engine_config_make(c, &offer->engine, &config);
    if (status == CUDNN_STATUS_SUCCESS)
        status = engine_finalize(c, &config, &plan, &workspace);
    descriptor_free(&plan);
    engine_config_clear(&config);
    if (status != CUDNN_STATUS_SUCCESS) {
        out->n_not_supported++;
    } else if (workspace > max_workspace) {
        out->n_too_large++;
    } else {
        out->at = xreallocarray(out->at, out->n + 1, sizeof *out->at);
        out->at[out->n] = *offer;
        out->at[out->n++].workspace = workspace;
    }
}

/* Engines with tensor cores come first, in precisions that may use them. */
static bool is_preferred(const struct offers *o, size_t i)
{
    return o->at[i].tensor_core || o->conv->spec.precision == BACKEND_FP32;
}

/* Sources are read when they are needed: mode B takes the most time. */
static cudnnStatus_t find_candidates(struct offers *o, int n_sources,
                                     size_t max_workspace, size_t max_n)
{
    for (int pass = 0; pass < 2; pass++)
        for (int source = 0; source < n_sources; source++) {
            if (o->out->n == max_n)
                return CUDNN_STATUS_SUCCESS;
            if (source == o->n_sources)
                STATUS_TRY(add_source(o));
            size_t i = source > 0 ? o->end[source - 1] : 0;
            for (; i < o->end[source] && o->out->n < max_n; i++)
                if (is_preferred(o, i) == (pass == 0))
                    try_offer(o, &o->at[i], max_workspace);
        }
    return CUDNN_STATUS_SUCCESS;
}

enum vd_err engine_find(const struct conv *c, enum conv_search search,
                        size_t max_workspace, size_t max_n,
                        struct conv_candidates *out)
{
    memset(out, 0, sizeof *out);
    struct offers o = {.conv = c, .out = out};
    int n_sources = search == CONV_SEARCH_ENGINES ? SOURCES : SOURCE_ENGINES;
    cudnnStatus_t status = find_candidates(&o, n_sources, max_workspace, max_n);
    free(o.at);
    free(o.seen);
    if (status != CUDNN_STATUS_SUCCESS) {
        conv_candidates_clear(out);
        return cudnn_raise(status, c->text);
    }
    return VD_OK;
}

enum vd_err conv_find(struct conv *c, enum conv_search search,
                      size_t max_workspace, struct conv_candidates *out)
{
    return engine_find(c, search, max_workspace, SIZE_MAX, out);
}

void conv_candidates_clear(struct conv_candidates *list)
{
    free(list->at);
    memset(list, 0, sizeof *list);
}
