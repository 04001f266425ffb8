#include "run/run_diff.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RUN_JSON ((size_t)16 << 20) /* bytes of run.json */
#define MAX_NAMED    8                  /* hosts in a line */

static enum vd_err format_text(const struct json *run_json, const char *key,
                               struct text *out)
{
    const char *value = "";
    VD_TRY(json_get_text(run_json, "run.json", key, &value));
    text_add(out, "%s", value);
    return VD_OK;
}

static enum vd_err format_number(const struct json *run_json, const char *key,
                                 struct text *out)
{
    int64_t value = 0;
    VD_TRY(json_get_int(run_json, "run.json", key, 0, INT64_MAX, &value));
    text_add(out, "%lld", (long long)value);
    return VD_OK;
}

/* Hosts in rank order; consecutive ranks of one host are named once. After
 * MAX_NAMED hosts, only their number. */
static enum vd_err format_hosts(const struct json *run_json, const char *key,
                                struct text *out)
{
    const struct json *list;
    const char *name, *before = "";
    size_t named = 0;
    VD_TRY(json_get_list(run_json, "run.json", key, SIZE_MAX, &list));
    for (size_t i = 0; i < json_count(list); i++) {
        VD_TRY(json_text_at(list, "run.json", i, &name));
        if (strcmp(name, before) && named++ < MAX_NAMED)
            text_add(out, "%s%s", named > 1 ? ", " : "", name);
        before = name;
    }
    if (named > MAX_NAMED)
        text_add(out, " and %zu more", named - MAX_NAMED);
    return VD_OK;
}

static const struct run_field {
    const char *key;
    enum vd_err (*add)(const struct json *run_json, const char *key,
                       struct text *out);
} compared[] = {
    {"program", format_text},
    {"mpi", format_text},
    {"ranks", format_number},
    {"hosts", format_hosts},
};

/* Skips a field that an older version did not write. */
static enum vd_err diff_field(const struct run_field *f, const struct json *old,
                              const struct json *now, struct text *out)
{
    struct text a = {0}, b = {0};
    enum vd_err err = VD_OK;
    if (json_has(old, f->key))
        err = f->add(old, f->key, &a);
    if (err == VD_OK)
        err = f->add(now, f->key, &b);
    if (a.bytes && b.bytes && strcmp(a.bytes, b.bytes))
        text_add(out, "%s: %s -> %s\n", f->key, a.bytes, b.bytes);
    free(a.bytes);
    free(b.bytes);
    return err;
}

static enum vd_err diff_run_json(const char *path, const struct json *now,
                                 struct text *out)
{
    struct json *old = NULL;
    enum vd_err err = VD_OK;
    VD_TRY(json_read_object(&old, path, MAX_RUN_JSON));
    for (size_t i = 0; err == VD_OK && i < sizeof compared / sizeof *compared;
         i++)
        err = diff_field(&compared[i], old, now, out);
    json_free(old);
    return err;
}

static void log_lines(struct text *lines)
{
    char *rest = lines->bytes, *line;
    while (rest && (line = strsep(&rest, "\n")) && *line)
        log_info("changed   %s", line);
    free(lines->bytes);
}

/* The file is about to be replaced, so one that cannot be read is a warning. */
static void diff_facts(const struct run_diff *diff, const char *path,
                       struct text *lines)
{
    struct log_sink sink = log_swap_sink((struct log_sink){log_discard, NULL});
    enum vd_err err = diff_run_json(path, diff->now, lines);
    log_swap_sink(sink);
    if (err != VD_OK)
        log_warn("%s: cannot be read: changes since the previous start are not "
                 "known; the file is replaced",
                 path);
}

enum vd_err run_diff_log(const struct run_diff *diff, const char *path)
{
    struct text lines = {0};
    enum vd_err err =
        config_diff(diff->options, diff->checkpoint, diff->saved_config,
                    strlen(diff->saved_config), &lines);
    if (err == VD_OK && file_exists(path))
        diff_facts(diff, path, &lines);
    log_lines(&lines);
    return err;
}
