/* What is not as it was when the run was last at work. The machine as far as
 * bits depend on it is the business of setup_run.c: it warns. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/setup.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FACTS ((size_t)16 << 20) /* bytes of run.json: a name per rank */
#define MAX_NAMED 8

static enum vd_err add_text(const struct json *facts, const char *key,
                            struct text *out)
{
    const char *value = "";
    VD_TRY(json_get_text(facts, "facts", key, &value));
    text_add(out, "%s", value);
    return VD_OK;
}

static enum vd_err add_number(const struct json *facts, const char *key,
                              struct text *out)
{
    int64_t value = 0;
    VD_TRY(json_get_int(facts, "facts", key, 0, INT64_MAX, &value));
    text_add(out, "%lld", (long long)value);
    return VD_OK;
}

/* A name per rank: each stretch of one host once, in the ranks' order; those
 * past MAX_NAMED are counted. */
static enum vd_err add_names(const struct json *facts, const char *key,
                             struct text *out)
{
    const struct json *list;
    const char *name, *before = "";
    size_t named = 0;
    VD_TRY(json_get_list(facts, "facts", key, SIZE_MAX, &list));
    for (size_t i = 0; i < json_count(list); i++) {
        VD_TRY(json_text_at(list, "facts", i, &name));
        if (strcmp(name, before) && named++ < MAX_NAMED)
            text_add(out, "%s%s", named > 1 ? ", " : "", name);
        before = name;
    }
    if (named > MAX_NAMED)
        text_add(out, " and %zu more", named - MAX_NAMED);
    return VD_OK;
}

static const struct fact {
    const char *key;
    enum vd_err (*add)(const struct json *facts, const char *key,
                       struct text *out);
} compared[] = {
    {"program", add_text},
    {"mpi", add_text},
    {"ranks", add_number},
    {"hosts", add_names},
};

/* What older programs did not write down is not known to have changed. */
static enum vd_err compare(const struct fact *f, const struct json *old,
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

static enum vd_err find_facts(const char *path, const struct json *now,
                              struct text *out)
{
    struct json *old = NULL;
    enum vd_err err = VD_OK;
    VD_TRY(json_read_object(&old, path, MAX_FACTS));
    for (size_t i = 0; err == VD_OK && i < sizeof compared / sizeof *compared;
         i++)
        err = compare(&compared[i], old, now, out);
    json_free(old);
    return err;
}

static void say_lines(struct text *lines)
{
    char *rest = lines->bytes, *line;
    while (rest && (line = strsep(&rest, "\n")) && *line)
        log_info("changed   %s", line);
    free(lines->bytes);
}

enum vd_err changes_say(const struct trainer *t, const char *path,
                        const struct json *now)
{
    struct text lines = {0};
    if (!t->resume)
        return VD_OK;
    enum vd_err err = config_changes(t->set, t->resume, t->saved_config,
                                     strlen(t->saved_config), &lines);
    if (err == VD_OK && file_exists(path)) {
        /* Worth a remark, not the run: it is about to be replaced. */
        struct log_sink sink = log_swap_sink((struct log_sink){log_drop, NULL});
        enum vd_err facts = find_facts(path, now, &lines);
        log_swap_sink(sink);
        if (facts != VD_OK)
            log_warn("%s: cannot be read: where the run was computed so far is "
                     "not known",
                     path);
    }
    say_lines(&lines);
    return err;
}
