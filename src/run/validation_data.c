#include "run/validation_data.h"

#include "base/alloc.h"
#include "base/file.h"
#include "run/train_state.h"
#include "store/json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RUN_JSON ((size_t)1 << 20) /* bytes of run.json */

enum vd_err validation_data_of_checkpoint(const struct trained_model *m,
                                          struct validation_data *out)
{
    struct train_state state;
    VD_TRY(train_state_parse(&state, m->values.file, m->values.state));
    *out = (struct validation_data){.is_known = true,
                                    .folder = xstrdup(m->config.data.val),
                                    .digest = state.best_metric_data};
    return VD_OK;
}

/* RUN/run.json of RUN/weights/FILE; NULL if there is none. The caller frees it.
 */
static char *find_run_json(const char *weights)
{
    char *real = realpath(weights, NULL), *json = NULL;
    char *folder = file_dirname(real ? real : weights);
    if (!strcmp(file_basename(folder), "weights")) {
        char *run = file_dirname(folder);
        json = xasprintf("%s/run.json", run);
        free(run);
    }
    free(folder);
    free(real);
    if (json && !file_exists(json)) {
        free(json);
        json = NULL;
    }
    return json;
}

static enum vd_err read_val_entry(const struct json *val, const char *where,
                                  struct validation_data *out)
{
    const char *folder, *digest;
    VD_TRY(json_check_object(val, where));
    VD_TRY(json_get_text(val, where, "folder", &folder));
    VD_TRY(json_get_text(val, where, "digest", &digest));
    out->folder = xstrdup(folder);
    out->digest = strtoull(digest, NULL, 16);
    return VD_OK;
}

static enum vd_err read_run_json(const char *path, struct validation_data *out)
{
    struct json *root = NULL;
    enum vd_err err = VD_OK;
    VD_TRY(json_read_object(&root, path, MAX_RUN_JSON));
    for (void *at = json_first(root); at && err == VD_OK;
         at = json_next(root, at))
        if (!strcmp(json_key(at), "val"))
            err = read_val_entry(json_value(at), path, out);
    json_free(root);
    return err;
}

enum vd_err validation_data_of_weights(const char *path,
                                       struct validation_data *out)
{
    struct validation_data data = {.is_known = true};
    *out = (struct validation_data){.is_known = false};
    char *json = find_run_json(path);
    enum vd_err err = json ? read_run_json(json, &data) : VD_OK;
    if (json && err == VD_OK) {
        if (!data.folder)
            data.folder = xstrdup("");
        *out = data;
    }
    if (err != VD_OK)
        validation_data_clear(&data);
    free(json);
    return err;
}

void validation_data_clear(struct validation_data *d)
{
    free(d->folder);
    *d = (struct validation_data){.is_known = false};
}
