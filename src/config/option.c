/*
 * Option sets: rows, their fields and origins, parsing and printing of values.
 *
 * Example, "optim: {lr: 2e-2}" in line 1 of b.yaml:
 *  1. option_yaml.c flattens the mapping to the key "optim.lr" and calls
 *     options_set(set, "optim.lr", "2e-2", "b.yaml:1").
 *  2. option_find() finds the row "optim.lr" of config_table. Its field is
 *     target + row->offset = &config.optim.lr.
 *  3. store_value(), store_real(): parse the text, check the limits 0 to 100,
 *     write the double. After an error the field is unchanged.
 *  4. The origin of the row becomes "b.yaml:1". Environment and command line
 *     repeat steps 2 to 4 afterwards, so they win.
 * Invariant: option_format_value() prints text ("0.02") that options_set()
 * parses to the same value; the saved config and the digest rely on it.
 */
#include "config/option.h"

#include "base/alloc.h"
#include "config/option_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AUTO ((int64_t)-1)

/* ---- the set and its rows ---------------------------------------------- */

struct option_ref option_ref(const struct option_set *set, int table,
                             size_t row)
{
    const struct option *o = &set->tables[table]->rows[row];
    return (struct option_ref){
        .row = o,
        .field = (char *)set->targets[table] + o->offset,
        .origin = &set->origins[table][row],
    };
}

bool option_find(const struct option_set *set, const char *key,
                 struct option_ref *out)
{
    for (int t = 0; t < set->n; t++)
        for (size_t i = 0; i < set->tables[t]->n; i++)
            if (!strcmp(set->tables[t]->rows[i].key, key)) {
                *out = option_ref(set, t, i);
                return true;
            }
    return false;
}

bool option_find_letter(const struct option_set *set, char letter,
                        struct option_ref *out)
{
    for (int t = 0; t < set->n; t++)
        for (size_t i = 0; i < set->tables[t]->n; i++)
            if (letter && set->tables[t]->rows[i].letter == letter) {
                *out = option_ref(set, t, i);
                return true;
            }
    return false;
}

void options_init(struct option_set *set)
{
    *set = (struct option_set){0};
}

static enum vd_err store_value(const struct option_ref *at, const char *text,
                               const char *origin);

/* True if no other row of the set has the key or the letter of `row`. */
static bool is_unique(const struct option_set *set, const struct option *row)
{
    struct option_ref first;
    return option_find(set, row->key, &first) && first.row == row &&
           (!option_find_letter(set, row->letter, &first) || first.row == row);
}

void options_add(struct option_set *set, const struct option_table *table,
                 void *target)
{
    VD_ASSERT(set->n < OPTION_MAX_TABLES);
    int t = set->n++;
    set->tables[t] = table;
    set->targets[t] = target;
    set->origins[t] = xcalloc(table->n, sizeof *set->origins[t]);
    for (size_t i = 0; i < table->n; i++) {
        struct option_ref at = option_ref(set, t, i);
        VD_ASSERT(is_unique(set, at.row));
        if (at.row->type == OPTION_TEXT)
            *(char **)at.field = NULL;
        VD_ASSERT(store_value(&at, at.row->default_text, "built-in default") ==
                  VD_OK);
    }
}

void options_clear(struct option_set *set)
{
    for (int t = 0; t < set->n; t++) {
        for (size_t i = 0; i < set->tables[t]->n; i++) {
            struct option_ref at = option_ref(set, t, i);
            free(*at.origin);
            if (at.row->type != OPTION_TEXT)
                continue;
            free(*(char **)at.field);
            *(char **)at.field = NULL;
        }
        free(set->origins[t]);
    }
    *set = (struct option_set){0};
}

bool options_is_set(const struct option_set *set, const char *key)
{
    struct option_ref at;
    VD_ASSERT(option_find(set, key, &at));
    return *at.origin != NULL;
}

const char *options_origin(const struct option_set *set, const char *key)
{
    struct option_ref at;
    VD_ASSERT(option_find(set, key, &at));
    return *at.origin ? *at.origin : "default";
}

/* ---- suggestions ------------------------------------------------------- */

const char *option_suggest(const struct option_set *set, const char *key)
{
    const char *found = NULL, **keys = NULL;
    size_t n = 0;
    for (int t = 0; t < set->n; t++) {
        keys = xreallocarray(keys, n + set->tables[t]->n + 1, sizeof *keys);
        for (size_t i = 0; i < set->tables[t]->n; i++)
            keys[n++] = set->tables[t]->rows[i].key;
    }
    // "lr" means "optim.lr": a missing section is the most common mistake.
    for (size_t i = 0; i < n && !found; i++) {
        const char *dot = strchr(keys[i], '.');
        if (dot && !strcmp(dot + 1, key))
            found = keys[i];
    }
    if (!found)
        found = text_nearest(key, keys, n);
    free(keys);
    return found;
}

/* ---- values ------------------------------------------------------------ */

struct option_excerpt option_make_excerpt(const char *text)
{
    struct option_excerpt excerpt;
    size_t n = strlen(text), most = sizeof excerpt.text - 4;
    snprintf(excerpt.text, sizeof excerpt.text, "%.*s%s", (int)most, text,
             n > most ? "..." : "");
    for (char *p = excerpt.text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return excerpt;
}

static enum vd_err fail_value(const struct option_ref *at, const char *text,
                              const char *origin, const char *what,
                              const char *remedy)
{
    enum vd_err err =
        strcmp(origin, ORIGIN_COMMAND_LINE) ? VD_CONFIG : VD_USAGE;
    return VD_FAIL(err, "%s: %s: '%s' is %s\n%s", origin, at->row->key,
                   option_make_excerpt(text).text, what, remedy);
}

/* The remedy names the valid values: "give a whole number from 1 to 64, or
 * auto". */
static enum vd_err fail_number(const struct option_ref *at, const char *text,
                               const char *origin, bool is_number)
{
    const struct option *o = at->row;
    struct text remedy = {0};
    text_add(&remedy, "give %s",
             o->type == OPTION_REAL   ? "a number"
             : o->type == OPTION_INTS ? "whole numbers, separated by commas"
                                      : "a whole number");
    if (o->min < o->max)
        text_add(&remedy, " from %.15g to %.15g", o->min, o->max);
    if (o->type == OPTION_INTS)
        text_add(&remedy, "; at most %d of them", OPTION_MAX_INTS);
    if (o->is_auto)
        text_add(&remedy, ", or auto");
    enum vd_err err =
        fail_value(at, text, origin,
                   is_number                ? "out of range"
                   : o->type == OPTION_REAL ? "not a number"
                   : o->type == OPTION_INTS ? "not a list of whole numbers"
                                            : "not a whole number",
                   remedy.bytes);
    free(remedy.bytes);
    return err;
}

static bool in_range(const struct option *o, double value)
{
    return !(o->min < o->max) || (value >= o->min && value <= o->max);
}

bool option_parse_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "off",
                                        "on",    "no",   "yes"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i])) {
            *out = i % 2 == 1;
            return true;
        }
    return false;
}

static enum vd_err store_bool(const struct option_ref *at, const char *text,
                              const char *origin)
{
    if (option_parse_bool(text, at->field))
        return VD_OK;
    return fail_value(at, text, origin, "neither true nor false",
                      "give true or false");
}

static enum vd_err store_int(const struct option_ref *at, const char *text,
                             const char *origin)
{
    int64_t value = AUTO;
    if (!at->row->is_auto || strcmp(text, "auto")) {
        if (!text_to_int64(text, &value))
            return fail_number(at, text, origin, false);
        if (!in_range(at->row, (double)value))
            return fail_number(at, text, origin, true);
    }
    *(int64_t *)at->field = value;
    return VD_OK;
}

static enum vd_err store_real(const struct option_ref *at, const char *text,
                              const char *origin)
{
    double value;
    if (!text_to_double(text, &value))
        return fail_number(at, text, origin, false);
    if (!in_range(at->row, value))
        return fail_number(at, text, origin, true);
    *(double *)at->field = value;
    return VD_OK;
}

static enum vd_err store_ints(const struct option_ref *at, const char *text,
                              const char *origin)
{
    struct option_ints list = {0};
    char *copy = xstrdup(text), *rest = copy;
    enum vd_err err = VD_OK;
    while (err == VD_OK && *text && rest) {
        int64_t value;
        char *piece = text_trim(strsep(&rest, ","));
        if (list.n == OPTION_MAX_INTS || !text_to_int64(piece, &value))
            err = fail_number(at, text, origin, false);
        else if (!in_range(at->row, (double)value))
            err = fail_number(at, text, origin, true);
        else
            list.values[list.n++] = value;
    }
    free(copy);
    if (err == VD_OK)
        *(struct option_ints *)at->field = list;
    return err;
}

/* Length of the word at `p`, which ends at '|' or NUL. */
static size_t choice_length(const char *p)
{
    return strcspn(p, "|");
}

static enum vd_err store_choice(const struct option_ref *at, const char *text,
                                const char *origin)
{
    int index = 0;
    for (const char *p = at->row->choices;; index++) {
        size_t n = choice_length(p);
        if (strlen(text) == n && !strncmp(text, p, n)) {
            *(int *)at->field = index;
            return VD_OK;
        }
        if (!p[n])
            break;
        p += n + 1;
    }
    char *remedy = xasprintf("give one of %s", at->row->choices);
    enum vd_err err =
        fail_value(at, text, origin, "not a known choice", remedy);
    free(remedy);
    return err;
}

/* Only UTF-8: values are saved as YAML, which is UTF-8, and read back. */
static enum vd_err store_text(const struct option_ref *at, const char *text,
                              const char *origin)
{
    uint32_t code;
    for (const char *p = text; *p;) {
        size_t n = text_decode_utf8(p, &code);
        if (n == 0)
            return fail_value(at, text, origin, "not valid UTF-8",
                              "rename the file, or give another value");
        p += n;
    }
    char *copy = xstrdup(text);
    free(*(char **)at->field);
    *(char **)at->field = copy;
    return VD_OK;
}

static enum vd_err store_value(const struct option_ref *at, const char *text,
                               const char *origin)
{
    switch (at->row->type) {
    case OPTION_BOOL:
        return store_bool(at, text, origin);
    case OPTION_INT:
        return store_int(at, text, origin);
    case OPTION_REAL:
        return store_real(at, text, origin);
    case OPTION_TEXT:
        return store_text(at, text, origin);
    case OPTION_CHOICE:
        return store_choice(at, text, origin);
    case OPTION_INTS:
        return store_ints(at, text, origin);
    }
    err_bug(__FILE__, __LINE__, "unknown option type");
}

enum vd_err options_set(struct option_set *set, const char *key,
                        const char *text, const char *origin)
{
    struct option_ref at;
    if (!option_find(set, key, &at)) {
        const char *near = option_suggest(set, key);
        return VD_FAIL(strcmp(origin, ORIGIN_COMMAND_LINE) ? VD_CONFIG
                                                           : VD_USAGE,
                       near ? "%s: unknown key '%s'\ndid you mean '%s'?"
                            : "%s: unknown key '%s'\n--help lists all keys",
                       origin, option_make_excerpt(key).text, near);
    }
    char *copy = xstrdup(origin); // `origin` may point to the old origin
    enum vd_err err = store_value(&at, text, copy);
    if (err != VD_OK) {
        free(copy);
        return err;
    }
    free(*at.origin);
    *at.origin = copy;
    return VD_OK;
}

/* ---- formatting values ------------------------------------------------ */

/* The shortest decimal form that parses to the same double. */
static void add_real(double value, struct text *out)
{
    char piece[32];
    double back = 0;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(piece, sizeof piece, "%.*g", digits, value);
        if (text_to_double(piece, &back) && back == value)
            break;
    }
    text_add(out, "%s", piece);
}

static void add_choice(const struct option_ref *at, struct text *out)
{
    const char *p = at->row->choices;
    for (int i = *(const int *)at->field; i > 0; i--)
        p += choice_length(p) + 1;
    text_add_bytes(out, p, choice_length(p));
}

void option_format_value(const struct option_ref *at, struct text *out)
{
    switch (at->row->type) {
    case OPTION_BOOL:
        text_add(out, "%s", *(const bool *)at->field ? "true" : "false");
        return;
    case OPTION_INT: {
        int64_t value = *(const int64_t *)at->field;
        if (at->row->is_auto && value == AUTO)
            text_add(out, "auto");
        else
            text_add(out, "%lld", (long long)value);
        return;
    }
    case OPTION_REAL:
        add_real(*(const double *)at->field, out);
        return;
    case OPTION_TEXT:
        text_add(out, "%s", *(char *const *)at->field);
        return;
    case OPTION_CHOICE:
        add_choice(at, out);
        return;
    case OPTION_INTS: {
        const struct option_ints *list = at->field;
        for (int i = 0; i < list->n; i++)
            text_add(out, "%s%lld", i ? "," : "", (long long)list->values[i]);
        return;
    }
    }
}
