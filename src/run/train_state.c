/*
 * The state as one JSON object. 64-bit digests are texts of 16 hexadecimal
 * digits. Members that older versions did not write get defaults when read, so
 * that their runs can be resumed; the others are required.
 */
#include "run/train_state.h"

#include "base/alloc.h"
#include "store/json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const sum_keys[2][5] = {
    {"images", "l1", "ce", "loss", "finite_images"},
    {"next_images", "next_l1", "next_ce", "next_loss", "next_finite_images"},
};

/* Elements of the scaler, in its order; a run that has halted is not saved. */
static const char *const scaler_keys[] = {"loss_scale", "loss_scale_applied",
                                          "loss_scale_skipped",
                                          "loss_scale_skipped_in_row"};
#define N_SCALER_KEYS (sizeof scaler_keys / sizeof *scaler_keys)

/* As text, since JSON integers of 64 bits are signed. */
static void put_digest(struct json *root, const char *key, uint64_t digest)
{
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    json_put_text(root, key, text);
}

static enum vd_err get_digest(const struct json *root, const char *where,
                              const char *key, uint64_t *digest)
{
    const char *text;
    VD_TRY(json_get_text(root, where, key, &text));
    if (strspn(text, "0123456789abcdef") != 16 || text[16])
        return VD_FAIL(VD_DATA,
                       "%s: %s: '%s' is not 16 hexadecimal digits\n"
                       "use an older checkpoint of the run",
                       where, key, text);
    *digest = strtoull(text, NULL, 16);
    return VD_OK;
}

char *train_state_format(const struct train_state *s)
{
    struct json *root = json_new_object();
    json_put_int(root, "step", (int64_t)s->step);
    json_put_int(root, "epoch", (int64_t)s->epoch);
    for (int i = 0; i < 2; i++) {
        json_put_int(root, sum_keys[i][0], s->sums[i].n);
        json_put_real(root, sum_keys[i][1], s->sums[i].l1);
        json_put_real(root, sum_keys[i][2], s->sums[i].ce);
        json_put_real(root, sum_keys[i][3], s->sums[i].loss);
        if (s->sums[i].n_finite != s->sums[i].n)
            json_put_int(root, sum_keys[i][4], s->sums[i].n_finite);
    }
    json_put_real(root, "epoch_seconds", s->epoch_seconds);
    json_put_int(root, "has_best", s->has_best);
    json_put_real(root, "best", s->has_best ? s->best : 0);
    json_put_int(root, "stale", (int64_t)s->epochs_without_improvement);
    json_put_int(root, "metrics_bytes", s->metrics_bytes);
    json_put_int(root, "steps_bytes", s->steps_bytes);
    put_digest(root, "data_digest", s->data_digest);
    put_digest(root, "judge", s->best_metric_data);
    json_put_int(root, "total", (int64_t)s->total);
    json_put_text(root, "machine", s->machine);
    for (size_t i = 0; s->scaler[SCALER_SCALE] > 0 && i < N_SCALER_KEYS; i++)
        json_put_real(root, scaler_keys[i], (double)s->scaler[i]);
    if (s->has_plan)
        put_digest(root, "plan", s->plan_digest);
    else
        json_put_text(root, "plan", "none");
    char *text = json_format(root, 0);
    json_free(root);
    return text;
}

static enum vd_err get_sum(const struct json *root, const char *where, int i,
                           struct loss_sums *sum)
{
    VD_TRY(json_get_int(root, where, sum_keys[i][0], 0, INT64_MAX, &sum->n));
    VD_TRY(json_get_real(root, where, sum_keys[i][1], &sum->l1));
    VD_TRY(json_get_real(root, where, sum_keys[i][2], &sum->ce));
    VD_TRY(json_get_real(root, where, sum_keys[i][3], &sum->loss));
    sum->n_finite = sum->n;
    return json_has(root, sum_keys[i][4])
               ? json_get_int(root, where, sum_keys[i][4], 0, sum->n,
                              &sum->n_finite)
               : VD_OK;
}

/* A scale, then counts of steps. */
static enum vd_err get_scaler(const struct json *root, const char *where,
                              int64_t step, float *scaler)
{
    for (size_t i = 0; i < N_SCALER_KEYS; i++) {
        double value;
        if (!json_has(root, scaler_keys[0]))
            return VD_OK;
        VD_TRY(json_get_real(root, where, scaler_keys[i], &value));
        bool is_scale = i == SCALER_SCALE;
        double limit = is_scale ? FLT_MAX : (double)step;
        if (!(value >= 0 && value <= limit) || (is_scale && value == 0) ||
            (!is_scale && value != floor(value)))
            return VD_FAIL(VD_DATA,
                           "%s: %s: %g is out of range\n"
                           "use an older checkpoint of the run",
                           where, scaler_keys[i], value);
        scaler[i] = (float)value;
    }
    return VD_OK;
}

/* Absent in a state of an older version. */
static enum vd_err get_plan(struct train_state *s, const struct json *root,
                            const char *where)
{
    const char *text = "none";
    if (json_has(root, "plan"))
        VD_TRY(json_get_text(root, where, "plan", &text));
    s->has_plan = strcmp(text, "none") != 0;
    return s->has_plan ? get_digest(root, where, "plan", &s->plan_digest)
                       : VD_OK;
}

static enum vd_err get_all(struct train_state *s, const struct json *root,
                           const char *where)
{
    int64_t step, epoch, total, has_best, without_improvement = 0;
    const char *machine;
    VD_TRY(json_get_int(root, where, "step", 0, INT64_MAX, &step));
    VD_TRY(json_get_int(root, where, "epoch", 0, INT64_MAX, &epoch));
    for (int i = 0; i < 2; i++)
        VD_TRY(get_sum(root, where, i, &s->sums[i]));
    VD_TRY(json_get_real(root, where, "epoch_seconds", &s->epoch_seconds));
    VD_TRY(json_get_int(root, where, "has_best", 0, 1, &has_best));
    VD_TRY(json_get_real(root, where, "best", &s->best));
    if (json_has(root, "stale"))
        VD_TRY(json_get_int(root, where, "stale", 0, INT64_MAX,
                            &without_improvement));
    VD_TRY(json_get_int(root, where, "metrics_bytes", 0, INT64_MAX,
                        &s->metrics_bytes));
    VD_TRY(json_get_int(root, where, "steps_bytes", 0, INT64_MAX,
                        &s->steps_bytes));
    VD_TRY(get_digest(root, where, "data_digest", &s->data_digest));
    VD_TRY(get_digest(root, where, "judge", &s->best_metric_data));
    VD_TRY(json_get_int(root, where, "total", 0, INT64_MAX, &total));
    VD_TRY(json_get_text(root, where, "machine", &machine));
    VD_TRY(get_scaler(root, where, step, s->scaler));
    VD_TRY(get_plan(s, root, where));
    s->total = (uint64_t)total;
    snprintf(s->machine, sizeof s->machine, "%s", machine);
    s->step = (uint64_t)step;
    s->epoch = (uint64_t)epoch;
    s->has_best = has_best;
    s->epochs_without_improvement = (uint64_t)without_improvement;
    return VD_OK;
}

enum vd_err train_state_parse(struct train_state *s, const char *where,
                              const char *text)
{
    struct json *root = NULL;
    struct train_state parsed = {0};
    VD_TRY(json_parse(&root, where, text, strlen(text)));
    enum vd_err err = json_check_object(root, where);
    if (err == VD_OK)
        err = get_all(&parsed, root, where);
    json_free(root);
    if (err == VD_OK)
        *s = parsed;
    return err;
}
