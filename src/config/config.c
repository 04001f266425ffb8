/*
 * The training config: rules between keys, digest, resume.
 *
 * config_check() runs once all origins are read: it names the run, checks
 * combinations of keys, and keeps one of global_batch and micro_batch.
 * config_digest() hashes "KEY: VALUE\0" of the rows of the given classes, in
 * the order of the table.
 * config_resume() reads the saved config.yaml into a second option set and
 * compares row by row: first it collects every conflict, so that one error
 * lists them all and `set` is unchanged; then it copies saved values into the
 * rows that are unset or auto. Example: saved seed 7 and epochs 5, now
 * --train.epochs 9. seed is inherited (OPTION_IDENTITY, unset); 9 epochs are
 * accepted (OPTION_EXTENT, grows); --train.seed 8 would be a conflict.
 */
#include "config/config.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "config/option_internal.h"

#include <stdlib.h>
#include <string.h>

static int table_index(const struct option_set *set)
{
    int t = 0;
    while (t < set->n && set->tables[t] != &config_table)
        t++;
    VD_ASSERT(t < set->n);
    return t;
}

static struct config *get_config(const struct option_set *set)
{
    return set->targets[table_index(set)];
}

const char *config_backend_name(const struct config *c)
{
    static const char *const names[] = {[BACKEND_AUTO] = "auto",
                                        [BACKEND_CPU] = "cpu",
                                        [BACKEND_CUDA] = "cuda",
                                        [BACKEND_REF] = "ref"};
    return names[c->backend];
}

const char *config_exchange_name(const struct config *c)
{
    static const char *const names[] = {[EXCHANGE_AUTO] = "auto",
                                        [EXCHANGE_NONE] = "none",
                                        [EXCHANGE_MPI] = "mpi",
                                        [EXCHANGE_NCCL] = "nccl"};
    return names[c->exchange.name];
}

/* ---- rules between keys ------------------------------------------------ */

static enum vd_err check_model(const struct option_set *set,
                               const struct config *c)
{
    if (c->model.width % 8)
        return VD_FAIL(VD_CONFIG,
                       "%s: model.width: %lld is not a multiple of 8\n"
                       "give a multiple of 8 from 8 to 512",
                       options_origin(set, "model.width"),
                       (long long)c->model.width);
    if (c->model.blocks.n != 4)
        return VD_FAIL(VD_CONFIG,
                       "%s: model.blocks: %d values, expected 4\n"
                       "give one value per stage, as in 3,4,6,3",
                       options_origin(set, "model.blocks"), c->model.blocks.n);
    if (c->model.freeze > FREEZE_NONE && !*c->model.weights) {
        struct text value = {0};
        options_format(set, "model.freeze", &value);
        enum vd_err err = VD_FAIL(
            VD_CONFIG,
            "%s: model.freeze: %s would freeze random weights\n"
            "give pretrained weights with --model.weights FILE, or leave "
            "model.freeze at auto",
            options_origin(set, "model.freeze"), value.bytes);
        free(value.bytes);
        return err;
    }
    return VD_OK;
}

static enum vd_err check_schedule(const struct option_set *set,
                                  const struct config *c)
{
    const struct option_ints *m = &c->optim.milestones;
    if (c->optim.schedule == SCHEDULE_STEP && m->n == 0)
        return VD_FAIL(
            VD_CONFIG,
            "%s: optim.schedule: step needs optim.milestones\n"
            "give the step numbers, as in --optim.milestones 1000,2000",
            options_origin(set, "optim.schedule"));
    if (c->optim.schedule != SCHEDULE_STEP && m->n > 0)
        return VD_FAIL(
            VD_CONFIG,
            "%s: optim.milestones: only optim.schedule step uses them\n"
            "give --optim.schedule step, or no milestones",
            options_origin(set, "optim.milestones"));
    for (int i = 1; i < m->n; i++)
        if (m->values[i] <= m->values[i - 1])
            return VD_FAIL(VD_CONFIG,
                           "%s: optim.milestones: %lld comes after %lld\n"
                           "give step numbers in increasing order",
                           options_origin(set, "optim.milestones"),
                           (long long)m->values[i],
                           (long long)m->values[i - 1]);
    return VD_OK;
}

/* Keys reserved for future backends. A value that would have no effect is an
 * error, never silently ignored. */
static enum vd_err check_supported(const struct option_set *set,
                                   const struct config *c)
{
    if (c->exchange.order != ORDER_FIXED)
        return VD_FAIL(VD_UNSUPPORTED,
                       "%s: exchange.order: this version supports fixed only\n"
                       "give --exchange.order fixed",
                       options_origin(set, "exchange.order"));
    return VD_OK;
}

static enum vd_err check_name(const struct option_set *set,
                              const struct config *c)
{
    const char *name = c->train.name;
    bool is_invalid = name[0] == '.' || strchr(name, '/') || strlen(name) > 128;
    for (const char *p = name; *p; p++)
        is_invalid = is_invalid || (unsigned char)*p < 0x20 || *p == 0x7f;
    if (is_invalid)
        return VD_FAIL(VD_CONFIG,
                       "%s: train.name: '%s' is not a valid folder name\n"
                       "give up to 128 characters without '/' or control "
                       "characters, not starting with '.'",
                       options_origin(set, "train.name"), name);
    if (!*c->train.dir || !*c->data.train)
        return VD_FAIL(VD_CONFIG, "%s is empty\ngive a folder",
                       *c->train.dir ? "data.train" : "train.dir");
    if (!*c->tune)
        return VD_FAIL(VD_CONFIG,
                       "tune is empty\ngive auto, on, off or a file");
    return VD_OK;
}

/* The kind of an origin: the higher one wins. All files are of one kind. */
static int origin_priority(const struct option_set *set, const char *key)
{
    const char *origin = options_origin(set, key);
    if (!options_is_set(set, key))
        return 0;
    if (!strcmp(origin, ORIGIN_COMMAND_LINE))
        return 3;
    return strncmp(origin, "environment ", 12) ? 1 : 2;
}

/*
 * global_batch and micro_batch determine each other. The one from the
 * higher-priority kind of origin is used, so that --train.micro_batch 8
 * overrides a file that has a global batch. If both come from the same kind,
 * they must agree (as they do in a run's own config.yaml). The key that is not
 * used becomes auto.
 */
static enum vd_err resolve_batch_keys(const struct option_set *set,
                                      struct config *c)
{
    int64_t *global = &c->train.global_batch, *micro = &c->train.micro_batch;
    int64_t replicas = c->train.replicas;
    int global_priority = origin_priority(set, "train.global_batch");
    int micro_priority = origin_priority(set, "train.micro_batch");

    if (*micro == CONFIG_AUTO) {
        if (*global == CONFIG_AUTO)
            *global = CONFIG_GLOBAL_BATCH;
        return VD_OK;
    }
    if (*global == CONFIG_AUTO ||
        (replicas != CONFIG_AUTO && *global == *micro * replicas))
        return VD_OK;
    if (global_priority == micro_priority && global_priority > 0)
        return VD_FAIL(
            VD_CONFIG,
            "both train.global_batch %lld (%s) and train.micro_batch %lld (%s) "
            "are given\n"
            "give one of them: global batch = replicas x micro-batch",
            (long long)*global, options_origin(set, "train.global_batch"),
            (long long)*micro, options_origin(set, "train.micro_batch"));
    *(global_priority > micro_priority ? micro : global) = CONFIG_AUTO;
    return VD_OK;
}

/* The stem of the first file: "configs/voc2007.yaml" gives "voc2007". */
static enum vd_err set_run_name(struct option_set *set, const char *first_file)
{
    if (*get_config(set)->train.name)
        return VD_OK;
    if (!first_file)
        return options_set(set, "train.name", "default", "default");
    char *stem = xstrdup(file_basename(first_file));
    char *dot = strrchr(stem, '.');
    if (dot && dot != stem)
        *dot = '\0';
    enum vd_err err = options_set(set, "train.name", stem, first_file);
    free(stem);
    return err;
}

enum vd_err config_check(struct option_set *set, const char *first_file)
{
    struct config *c = get_config(set);
    VD_TRY(set_run_name(set, first_file));
    VD_TRY(check_name(set, c));
    VD_TRY(check_model(set, c));
    VD_TRY(check_schedule(set, c));
    VD_TRY(check_supported(set, c));
    return resolve_batch_keys(set, c);
}

/* ---- digest ------------------------------------------------------------ */

uint64_t config_digest(const struct option_set *set, unsigned classes)
{
    int t = table_index(set);
    struct hash h;
    hash_init(&h);
    for (size_t i = 0; i < config_table.n; i++) {
        const struct option *o = &config_table.rows[i];
        if (!(classes & CONFIG_CLASS(o->class)))
            continue;
        struct option_ref at = option_ref(set, t, i);
        struct text line = {0};
        text_add(&line, "%s: ", o->key);
        option_format_value(&at, &line);
        hash_update(&h, line.bytes,
                    line.length + 1); // the NUL separates the values
        free(line.bytes);
    }
    return hash_final(&h);
}

/* ---- resume ------------------------------------------------------------ */

/* One row of the config: its value at this start, and its saved value. */
struct resume_row {
    const struct option *row;
    struct option_ref now, saved;
    char *now_text, *saved_text; /* owned */
};

static void resume_row_init(struct resume_row *p, const struct option_set *set,
                            const struct option_set *saved, size_t row)
{
    struct text now = {0}, old = {0};
    p->row = &config_table.rows[row];
    p->now = option_ref(set, table_index(set), row);
    p->saved = option_ref(saved, 0, row);
    text_add(&now, "%s", "");
    text_add(&old, "%s", "");
    option_format_value(&p->now, &now);
    option_format_value(&p->saved, &old);
    p->now_text = now.bytes;
    p->saved_text = old.bytes;
}

static void resume_row_clear(struct resume_row *p)
{
    free(p->now_text);
    free(p->saved_text);
}

/* True if the key was given at this start, except as "auto", which keeps the
 * saved value. */
static bool is_set_now(const struct resume_row *p)
{
    return *p->now.origin && strcmp(p->now_text, "auto");
}

/* 0 means no limit, so it is the largest extent. */
static int64_t extent_value(const void *field)
{
    int64_t value = *(const int64_t *)field;
    return value == 0 ? INT64_MAX : value;
}

/* Rows of class OPTION_EXTENT are int64_t. An auto value is resolved later,
 * so it cannot be compared here. */
static bool shrinks(const struct resume_row *p)
{
    int64_t now = extent_value(p->now.field),
            old = extent_value(p->saved.field);
    return now != CONFIG_AUTO && old != CONFIG_AUTO && now < old;
}

/* `on` and any path of a plan: the plans are compared, not their paths. */
static bool is_same_tuning(const struct resume_row *p)
{
    return !strcmp(p->row->key, "tune") && strcmp(p->now_text, "off") != 0 &&
           strcmp(p->saved_text, "off") != 0;
}

/* Appends the conflict to `problems` if the run cannot be resumed with the new
 * value. */
static void check_resume_row(const struct resume_row *p, struct text *problems)
{
    if (!is_set_now(p) || !strcmp(p->now_text, p->saved_text) ||
        is_same_tuning(p))
        return;
    bool is_conflict = p->row->class == OPTION_IDENTITY ||
                       (p->row->class == OPTION_EXTENT && shrinks(p));
    if (is_conflict)
        text_add(problems, "%s%s: %s here (%s), %s in the run%s",
                 problems->length ? "; " : "", p->row->key, p->now_text,
                 *p->now.origin, p->saved_text,
                 p->row->class != OPTION_EXTENT ? ""
                 : p->row->min > 0              ? ", which may only grow"
                                   : ", which may only grow (0: no limit)");
    else if (p->row->class == OPTION_BACKEND)
        log_warn("backend %s instead of %s: from here on the weights are not "
                 "bit-identical to those of an uninterrupted run",
                 p->now_text, p->saved_text);
}

static enum vd_err inherit_saved(struct option_set *set,
                                 const struct resume_row *p)
{
    if (p->row->class == OPTION_FREE || is_set_now(p) || !*p->saved.origin)
        return VD_OK;
    return options_set(set, p->row->key, p->saved_text, *p->saved.origin);
}

/* A new number of epochs overrides the saved number of steps, even if the run
 * was started with --train.steps. */
static bool epochs_changed(const struct option_set *set,
                           const struct option_set *saved)
{
    const struct config *old = saved->targets[0];
    return options_is_set(set, "train.epochs") &&
           get_config(set)->train.epochs != old->train.epochs &&
           get_config(set)->train.steps == CONFIG_AUTO;
}

static enum vd_err resume_from(struct option_set *set,
                               const struct option_set *saved, const char *name,
                               const char *remedy)
{
    enum vd_err err = VD_OK;
    struct text problems = {0};
    struct resume_row p;
    bool by_epochs = epochs_changed(set, saved);
    for (size_t i = 0; i < config_table.n; i++) {
        resume_row_init(&p, set, saved, i);
        check_resume_row(&p, &problems);
        resume_row_clear(&p);
    }
    if (problems.length)
        err = VD_FAIL(VD_CONFIG,
                      "%s: cannot resume with other settings: %s\n"
                      "leave these keys out to resume, or %s",
                      name, problems.bytes, remedy);
    for (size_t i = 0; err == VD_OK && i < config_table.n; i++) {
        resume_row_init(&p, set, saved, i);
        err = inherit_saved(set, &p);
        resume_row_clear(&p);
    }
    if (err == VD_OK && by_epochs)
        err = options_set(set, "train.steps", "auto",
                          options_origin(set, "train.epochs"));
    free(problems.bytes);
    return err;
}

/* The caller clears `saved`, also after an error. */
static enum vd_err read_saved(struct option_set *saved, struct config *old,
                              const char *name, const char *yaml, size_t n)
{
    options_init(saved);
    options_add(saved, &config_table, old);
    return options_read_yaml_text(saved, name, yaml, n);
}

enum vd_err config_diff(const struct option_set *set, const char *name,
                        const char *yaml, size_t n, struct text *out)
{
    struct config old;
    struct option_set saved;
    enum vd_err err = read_saved(&saved, &old, name, yaml, n);
    for (size_t i = 0; err == VD_OK && i < config_table.n; i++) {
        struct resume_row p;
        resume_row_init(&p, set, &saved, i);
        if (strcmp(p.now_text, p.saved_text))
            text_add(out, "%s: %s -> %s (%s)\n", p.row->key,
                     *p.saved_text ? p.saved_text : "none",
                     *p.now_text ? p.now_text : "none",
                     options_origin(set, p.row->key));
        resume_row_clear(&p);
    }
    options_clear(&saved);
    return err;
}

enum vd_err config_resume(struct option_set *set, const char *name,
                          const char *yaml, size_t n, const char *remedy)
{
    struct config old;
    struct option_set saved;
    enum vd_err err = read_saved(&saved, &old, name, yaml, n);
    if (err == VD_OK)
        err = resume_from(set, &saved, name, remedy);
    options_clear(&saved);
    return err;
}
