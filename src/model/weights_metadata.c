/*
 * Saves a weight file, and reads its metadata. The metadata is the map of
 * strings in the safetensors header: "classes" is a JSON list, numbers are
 * decimal and lists of numbers have commas, for example
 *
 *     "size": "224"   "blocks": "3,4,6,3"   "std": "0.25,0.25,0.5"
 *
 * %.9g round-trips float32. Reading checks the type and range of every entry.
 */
#include "base/alloc.h"
#include "base/text.h"
#include "model/values.h"
#include "model/weights.h"
#include "model/weights_kind.h"
#include "store/json.h"
#include "store/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CLASSES 65536
#define REMEDY      "give a file of a run, in runs/NAME/weights"

void weights_metadata_clear(struct weights_metadata *metadata)
{
    for (size_t i = 0; i < metadata->n_classes; i++)
        free(metadata->classes[i]);
    free(metadata->classes);
    *metadata = (struct weights_metadata){.classes = NULL};
}

/* ---- saving ---- */

static size_t add_outputs(const struct graph_tensor *table, int n,
                          const float *data, int64_t (*dims)[4],
                          struct safetensors_output *out)
{
    for (int i = 0; i < n; i++) {
        const struct graph_tensor *t = &table[i];
        for (int k = 0; k < t->n_dims; k++)
            dims[i][k] = t->dims[k];
        out[i] = (struct safetensors_output){t->name, t->n_dims, dims[i],
                                             data + t->offset};
    }
    return (size_t)n;
}

static char *classes_text(const struct weights_metadata *metadata)
{
    struct json *list = json_new_list();
    for (size_t i = 0; i < metadata->n_classes; i++)
        json_add_text(list, metadata->classes[i]);
    char *text = json_format(list, 0);
    json_free(list);
    return text;
}

enum vd_err weights_save(const struct graph *g, const char *path,
                         const float *params, const float *stats,
                         const struct weights_metadata *metadata)
{
    const struct network_values network = {.param = params, .stats = stats};
    VD_TRY(values_check(g, &network, VD_NUMERIC, path,
                        "the file is not written, because training diverged; "
                        "use an older checkpoint of the run"));
    size_t n = (size_t)(g->n_param_tensors + g->n_stats_tensors);
    struct safetensors_output *out = xcalloc(n, sizeof *out);
    int64_t(*dims)[4] = xcalloc(n, sizeof *dims);
    size_t at = add_outputs(g->params, g->n_param_tensors, params, dims, out);
    add_outputs(g->stats, g->n_stats_tensors, stats, dims + at, out + at);
    const int32_t *b = metadata->blocks;
    const float *m = metadata->mean, *s = metadata->std;
    char *values[] = {
        classes_text(metadata),
        xasprintf("%d", metadata->size),
        xasprintf("%d", metadata->width),
        xasprintf("%d,%d,%d,%d", b[0], b[1], b[2], b[3]),
        xasprintf("%.9g,%.9g,%.9g", (double)m[0], (double)m[1], (double)m[2]),
        xasprintf("%.9g,%.9g,%.9g", (double)s[0], (double)s[1], (double)s[2]),
    };
    const struct safetensors_metadata notes[] = {
        {"format", "pt"},
        {"classes", values[0]},
        {"size", values[1]},
        {"width", values[2]},
        {"blocks", values[3]},
        {"mean", values[4]},
        {"std", values[5]},
        {"box", "x1 y1 x2 y2 = size x sigmoid(outputs 0 to 3), pixels"},
    };
    enum vd_err err =
        safetensors_write(path, out, n, notes, sizeof notes / sizeof *notes);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        free(values[i]);
    free(dims);
    free(out);
    return err;
}

/* ---- reading ---- */

static enum vd_err require_note(const struct safetensors *f, const char *key,
                                const char **out)
{
    VD_TRY(safetensors_metadata(f, key, out));
    if (*out)
        return VD_OK;
    return VD_FAIL(VD_DATA,
                   "%s: no \"%s\" in its metadata: the file was not written "
                   "by vocdist\n" REMEDY,
                   f->path, key);
}

static enum vd_err parse_classes(const struct json *list, const char *where,
                                 struct weights_metadata *metadata)
{
    VD_TRY(json_check_list(list, where));
    size_t n = json_count(list);
    if (n == 0 || n > MAX_CLASSES)
        return VD_FAIL(VD_DATA, "%s: %zu classes, must be 1 to %d\n" REMEDY,
                       where, n, MAX_CLASSES);
    metadata->classes = xcalloc(n, sizeof *metadata->classes);
    for (size_t i = 0; i < n; i++) {
        const char *name;
        VD_TRY(json_text_at(list, where, i, &name));
        metadata->classes[metadata->n_classes++] = xstrdup(name);
    }
    return VD_OK;
}

static enum vd_err metadata_get_classes(const struct safetensors *f,
                                        struct weights_metadata *metadata)
{
    const char *text;
    struct json *list = NULL;
    VD_TRY(require_note(f, "classes", &text));
    VD_TRY(json_parse(&list, f->path, text, strlen(text)));
    enum vd_err err = parse_classes(list, f->path, metadata);
    json_free(list);
    return err;
}

/* `n` numbers separated by commas. */
static enum vd_err metadata_get_numbers(const struct safetensors *f,
                                        const char *key, size_t n, double *out)
{
    const char *note;
    VD_TRY(require_note(f, key, &note));
    char *copy = xstrdup(note), *rest = copy;
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        char *word = strsep(&rest, ",");
        ok = ok && word && text_to_double(word, &out[i]);
    }
    ok = ok && !rest;
    free(copy);
    if (!ok)
        return VD_FAIL(
            VD_DATA,
            "%s: metadata \"%s\" is \"%s\", expected %zu numbers\n" REMEDY,
            f->path, key, note, n);
    return VD_OK;
}

static enum vd_err metadata_get_ints(const struct safetensors *f,
                                     const char *key, size_t n, int32_t *out)
{
    double numbers[4];
    VD_TRY(metadata_get_numbers(f, key, n, numbers));
    for (size_t i = 0; i < n; i++) {
        if (!(numbers[i] >= 1 && numbers[i] <= 65536))
            return VD_FAIL(VD_DATA,
                           "%s: metadata \"%s\": %g is out of range\n" REMEDY,
                           f->path, key, numbers[i]);
        out[i] = (int32_t)numbers[i];
    }
    return VD_OK;
}

static enum vd_err metadata_read_notes(const struct safetensors *f,
                                       struct weights_metadata *metadata)
{
    double mean[3], std[3];
    VD_TRY(metadata_get_classes(f, metadata));
    VD_TRY(metadata_get_ints(f, "size", 1, &metadata->size));
    VD_TRY(metadata_get_ints(f, "width", 1, &metadata->width));
    VD_TRY(metadata_get_ints(f, "blocks", 4, metadata->blocks));
    VD_TRY(metadata_get_numbers(f, "mean", 3, mean));
    VD_TRY(metadata_get_numbers(f, "std", 3, std));
    for (int i = 0; i < 3; i++) {
        if (!(std[i] > 0))
            return VD_FAIL(VD_DATA,
                           "%s: metadata \"std\": %g is not positive\n" REMEDY,
                           f->path, std[i]);
        metadata->mean[i] = (float)mean[i];
        metadata->std[i] = (float)std[i];
    }
    return VD_OK;
}

enum vd_err weights_metadata_read(struct weights_metadata *metadata,
                                  const char *path)
{
    struct safetensors f;
    *metadata = (struct weights_metadata){.classes = NULL};
    VD_TRY(weights_check_kind(path));
    VD_TRY(safetensors_open(&f, path));
    enum vd_err err = metadata_read_notes(&f, metadata);
    if (err)
        weights_metadata_clear(metadata);
    safetensors_close(&f);
    return err;
}
