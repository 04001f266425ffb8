/*
 * Loading a weight file. For each tensor of the graph, find the tensor of the
 * file whose name matches after prefixes are stripped, check its shape, convert
 * it to float32 in the flat buffer, and check its values. Missing tensors are
 * collected and raised together; tensors of the file that were not used are
 * listed in the report.
 *
 * The head is optional unless the caller needs it: without head tensors in the
 * file, or with head tensors of other shapes (other classes), it is skipped.
 * Example: torchvision's resnet34 gives "216/218 tensors loaded; fc.weight,
 * fc.bias unused; head initialized".
 */
#include "model/weights.h"

#include "base/alloc.h"
#include "base/text.h"
#include "model/values.h"
#include "model/weights_kind.h"
#include "store/safetensors.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LISTED_NAMES 5 /* names in a message */

void weights_report_clear(struct weights_report *report)
{
    free(report->text);
    *report = (struct weights_report){.text = NULL};
}

/* ---- names ---- */

/* Strips the prefixes that wrappers (DataParallel, torch.compile(), a user's
 * module) add to a name. */
static const char *strip_wrapper_prefixes(const char *name)
{
    const char *const prefixes[] = {"module.", "model.", "backbone.",
                                    "_orig_mod."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], n) == 0)
            return strip_wrapper_prefixes(name + n);
    }
    return name;
}

static bool is_batch_counter(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot, ".num_batches_tracked") == 0;
}

/* Tensor names for a message: all are counted, the first few are listed. */
struct tensor_names {
    struct text text;
    size_t n;
};

static void add_tensor_name(struct tensor_names *list, const char *name)
{
    if (list->n < MAX_LISTED_NAMES)
        text_add(&list->text, "%s%s", list->n ? ", " : "", name);
    list->n++;
}

static void add_omitted_count(struct tensor_names *list)
{
    if (list->n > MAX_LISTED_NAMES)
        text_add(&list->text, " and %zu more", list->n - MAX_LISTED_NAMES);
}

/* ---- loading ---- */

/* The state of one load. */
struct weights_loader {
    struct safetensors file;
    bool *used; /* [file.n], owned: tensor was loaded */
    struct tensor_names missing;
};

/* Index of the tensor in the file; file.n if it is missing. */
static enum vd_err find_file_tensor(const struct weights_loader *load,
                                    const char *name, size_t *out)
{
    *out = load->file.n;
    for (size_t i = 0; i < load->file.n; i++) {
        if (strcmp(strip_wrapper_prefixes(load->file.tensors[i].name), name) !=
            0)
            continue;
        if (*out < load->file.n)
            return VD_FAIL(VD_DATA,
                           "%s: both %s and %s match %s\n"
                           "remove one of the two from the file",
                           load->file.path, load->file.tensors[*out].name,
                           load->file.tensors[i].name, name);
        *out = i;
    }
    return VD_OK;
}

static char *shape_text(int rank, const int64_t *dims)
{
    struct text t = {0};
    text_add(&t, "[");
    for (int i = 0; i < rank; i++)
        text_add(&t, "%s%lld", i ? ", " : "", (long long)dims[i]);
    text_add(&t, "]");
    return t.bytes;
}

static bool same_shape(const struct safetensors_tensor *have,
                       const struct graph_tensor *t)
{
    bool same = have->rank == t->n_dims;
    for (int i = 0; same && i < t->n_dims; i++)
        same = have->dims[i] == t->dims[i];
    return same;
}

static enum vd_err check_tensor_shape(const struct weights_loader *load,
                                      size_t at, const struct graph_tensor *t)
{
    const struct safetensors_tensor *have = &load->file.tensors[at];
    if (same_shape(have, t))
        return VD_OK;
    int64_t dims[4];
    for (int i = 0; i < t->n_dims; i++)
        dims[i] = t->dims[i];
    char *has = shape_text(have->rank, have->dims);
    char *needs = shape_text(t->n_dims, dims);
    enum vd_err err = VD_FAIL(
        VD_DATA,
        "%s: %s has shape %s, the network needs %s\n"
        "the file is for another model.width, model.blocks, image size or "
        "number of classes",
        load->file.path, have->name, has, needs);
    free(has);
    free(needs);
    return err;
}

static enum vd_err check_tensor_values(const struct weights_loader *load,
                                       size_t at, const float *values,
                                       bool is_variance)
{
    const struct safetensors_tensor *t = &load->file.tensors[at];
    size_t bad = values_first_invalid(values, t->n, is_variance);
    if (bad == t->n)
        return VD_OK;
    return VD_FAIL(VD_DATA,
                   "%s: tensor %s: value %zu is %g\n"
                   "training diverged before this file was saved: use an older "
                   "file",
                   load->file.path, t->name, bad, (double)values[bad]);
}

static enum vd_err load_tensor(struct weights_loader *load,
                               const struct graph_tensor *t, bool is_variance,
                               float *to)
{
    size_t at;
    VD_TRY(find_file_tensor(load, t->name, &at));
    if (at == load->file.n) {
        add_tensor_name(&load->missing, t->name);
        return VD_OK;
    }
    VD_TRY(check_tensor_shape(load, at, t));
    load->used[at] = true;
    VD_TRY(safetensors_read_f32(&load->file, at, to));
    return check_tensor_values(load, at, to, is_variance);
}

static enum vd_err load_tables(struct weights_loader *load,
                               const struct graph *g, bool with_head,
                               float *params, float *stats)
{
    for (int i = 0; i < g->n_param_tensors; i++) {
        const struct graph_tensor *t = &g->params[i];
        if (with_head || !t->head)
            VD_TRY(load_tensor(load, t, false, params + t->offset));
    }
    for (int i = 0; i < g->n_stats_tensors; i++) {
        const struct graph_tensor *t = &g->stats[i];
        if (with_head || !t->head)
            VD_TRY(
                load_tensor(load, t, values_is_variance(i), stats + t->offset));
    }
    return VD_OK;
}

static bool has_head(const struct weights_loader *load)
{
    for (size_t i = 0; i < load->file.n; i++) {
        if (strncmp(strip_wrapper_prefixes(load->file.tensors[i].name), "head.",
                    5) == 0)
            return true;
    }
    return false;
}

/* False if a head tensor of the file has another shape than the network's.
 * Missing tensors are detected later. */
static enum vd_err head_fits(const struct weights_loader *load,
                             const struct graph *g, bool *out)
{
    bool fits = true;
    for (int i = 0; i < g->n_param_tensors; i++) {
        const struct graph_tensor *t = &g->params[i];
        size_t at = load->file.n;
        if (t->head)
            VD_TRY(find_file_tensor(load, t->name, &at));
        if (at < load->file.n && !same_shape(&load->file.tensors[at], t))
            fits = false;
    }
    *out = fits;
    return VD_OK;
}

/* Rejects bottleneck blocks, which have a third convolution: no option makes
 * them load. */
static enum vd_err check_blocks(const struct weights_loader *load)
{
    const char mark[] = "layer1.0.conv3.weight";
    for (size_t i = 0; i < load->file.n; i++)
        if (!strcmp(strip_wrapper_prefixes(load->file.tensors[i].name), mark))
            return VD_FAIL(VD_DATA,
                           "%s: weights of a ResNet with bottleneck blocks "
                           "(ResNet50, 101, 152): tensor %s; this program "
                           "supports basic blocks only\n"
                           "use weights of ResNet34, or of ResNet18 with "
                           "--model.blocks 2,2,2,2",
                           load->file.path, mark);
    return VD_OK;
}

static enum vd_err check_missing(struct weights_loader *load)
{
    if (load->missing.n == 0)
        return VD_OK;
    add_omitted_count(&load->missing);
    return VD_FAIL(VD_DATA,
                   "%s: %zu tensors of the network are missing: %s\n"
                   "tensors must have torchvision's names; for a network other "
                   "than ResNet34 set model.width and model.blocks",
                   load->file.path, load->missing.n, load->missing.text.bytes);
}

static void make_report(const struct weights_loader *load, bool head,
                        struct weights_report *report)
{
    struct tensor_names unused = {.n = 0};
    struct text text = {0};
    for (size_t i = 0; i < load->file.n; i++) {
        const char *name = load->file.tensors[i].name;
        if (!load->used[i] && !is_batch_counter(name))
            add_tensor_name(&unused, name);
    }
    add_omitted_count(&unused);
    *report = (struct weights_report){.n_file = load->file.n,
                                      .n_loaded = load->file.n - unused.n,
                                      .head = head};
    text_add(&text, "%zu/%zu tensors loaded", report->n_loaded, report->n_file);
    if (unused.n)
        text_add(&text, "; %s unused", unused.text.bytes);
    text_add(&text, head ? "; head included" : "; head initialized");
    report->text = text.bytes;
    free(unused.text.bytes);
}

enum vd_err weights_load(const struct graph *g, const char *path,
                         bool needs_head, float *params, float *stats,
                         struct weights_report *report)
{
    struct weights_loader load = {.used = NULL};
    VD_TRY(weights_check_kind(path));
    VD_TRY(safetensors_open(&load.file, path));
    load.used = xcalloc(load.file.n + 1, sizeof *load.used);
    bool head = has_head(&load);
    enum vd_err err = VD_OK;
    if (needs_head && !head)
        err = VD_FAIL(VD_DATA,
                      "%s: a backbone without a head\n"
                      "train it first: vocdist train --model.weights FILE",
                      path);
    else
        err = check_blocks(&load);
    if (!err && head && !needs_head)
        err = head_fits(&load, g, &head);
    if (!err)
        err = load_tables(&load, g, head, params, stats);
    if (!err)
        err = check_missing(&load);
    if (!err)
        make_report(&load, head, report);
    free(load.missing.text.bytes);
    free(load.used);
    safetensors_close(&load.file);
    return err;
}
