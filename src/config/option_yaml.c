/*
 * YAML reader: a recursive descent over libyaml's events, without a tree.
 *
 * Accepted: at most one document, a mapping whose values are scalars, lists of
 * whole numbers, or mappings again. read_mapping() reads pairs, read_value()
 * reads a scalar, a list or a nested mapping, and keys are flattened:
 * {optim: {lr: 1}} sets "optim.lr" with the origin FILE:LINE.
 *
 * Invariants: each event is deleted by the function that requested it. The
 * depth of recursion is bounded, because only sections that contain options
 * are entered. A key may be given once per file (`seen`). Anchors, aliases and
 * tags are rejected in next_event(), the only place that reads events.
 */
#include "base/alloc.h"
#include "base/file.h"
#include "config/option.h"
#include "config/option_internal.h"

#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#define MAX_FILE ((size_t)1 << 20)

struct yaml_reader {
    yaml_parser_t parser;
    struct option_set *set;
    const char *name; /* the path, for messages */
    struct seen {
        char *key; /* owned; an option or a section */
        size_t line;
    } * seen;
    size_t n_seen;
};

#define FAIL_AT(r, line, format, ...) \
    VD_FAIL(VD_CONFIG, "%s:%zu: " format, (r)->name, (line), __VA_ARGS__)

static size_t event_line(const yaml_event_t *e)
{
    return e->start_mark.line + 1;
}

static enum vd_err fail_parser(const struct yaml_reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *why = p->problem ? p->problem : "cannot be parsed";
    if (p->error == YAML_READER_ERROR)
        return VD_FAIL(VD_CONFIG,
                       "%s: byte %zu: %s\nsave the file as UTF-8 text", r->name,
                       p->problem_offset, why);
    return FAIL_AT(r, p->problem_mark.line + 1,
                   "not valid YAML: %s\n"
                   "check the indentation, quotes and brackets of this line",
                   why);
}

/* The next event; the caller deletes it. Rejects anchors, aliases and tags. */
static enum vd_err next_event(struct yaml_reader *r, yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (!yaml_parser_parse(&r->parser, e))
        return fail_parser(r);
    if (e->type == YAML_ALIAS_EVENT) {
        anchor = e->data.alias.anchor;
    } else if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (!anchor && !tag)
        return VD_OK;
    enum vd_err err =
        anchor ? FAIL_AT(r, event_line(e),
                         "anchors and aliases (%s) are not supported\n"
                         "write the value out",
                         option_make_excerpt((const char *)anchor).text)
               : FAIL_AT(r, event_line(e),
                         "the tag %s is not supported\n"
                         "remove it: the option determines the type",
                         option_make_excerpt((const char *)tag).text);
    yaml_event_delete(e);
    return err;
}

/* ---- known keys -------------------------------------------------------- */

/* The key of a row, "" for options of the command line only. */
static const char *yaml_key(const struct option_set *set, int table, size_t row)
{
    const struct option_table *t = set->tables[table];
    return t->is_config ? t->rows[row].key : "";
}

static bool is_section(const struct option_set *set, const char *name)
{
    size_t n = strlen(name);
    for (int t = 0; t < set->n; t++)
        for (size_t i = 0; i < set->tables[t]->n; i++) {
            const char *key = yaml_key(set, t, i);
            if (!strncmp(key, name, n) && key[n] == '.')
                return true;
        }
    return false;
}

/* Finds an option by its full key. */
static bool find_leaf(const struct option_set *set, const char *key,
                      struct option_ref *out)
{
    for (int t = 0; t < set->n; t++)
        for (size_t i = 0; i < set->tables[t]->n; i++)
            if (*key && !strcmp(yaml_key(set, t, i), key)) {
                *out = option_ref(set, t, i);
                return true;
            }
    return false;
}

/* The nearest section name, "optim" for "optm"; owned, or NULL. */
static char *suggest_section(const struct option_set *set, const char *word)
{
    char *best = NULL;
    for (int t = 0; t < set->n; t++)
        for (size_t i = 0; i < set->tables[t]->n; i++) {
            const char *key = yaml_key(set, t, i);
            int n = (int)strcspn(key, ".");
            char *section = xasprintf("%.*s", n, key);
            const char *const pair[] = {section, best ? best : ""};
            if (key[n] && text_nearest(word, pair, best ? 2 : 1) == section) {
                free(best);
                best = section;
            } else {
                free(section);
            }
        }
    return best;
}

static enum vd_err fail_unknown_key(const struct yaml_reader *r,
                                    const char *key, size_t line)
{
    const char *near = option_suggest(r->set, key);
    char *section = near ? NULL : suggest_section(r->set, key);
    if (!near)
        near = section;
    enum vd_err err =
        near ? FAIL_AT(r, line, "unknown key '%s'\ndid you mean '%s'?",
                       option_make_excerpt(key).text, near)
             : FAIL_AT(r, line, "unknown key '%s'\n--help lists all keys",
                       option_make_excerpt(key).text);
    free(section);
    return err;
}

static enum vd_err record_key(struct yaml_reader *r, const char *key,
                              size_t line)
{
    for (size_t i = 0; i < r->n_seen; i++)
        if (!strcmp(r->seen[i].key, key))
            return FAIL_AT(r, line,
                           "'%s' is given twice, first in line %zu\n"
                           "keep one of them",
                           key, r->seen[i].line);
    r->seen = xreallocarray(r->seen, r->n_seen + 1, sizeof *r->seen);
    r->seen[r->n_seen].key = xstrdup(key);
    r->seen[r->n_seen++].line = line;
    return VD_OK;
}

/* ---- values ------------------------------------------------------------ */

static enum vd_err set_option(struct yaml_reader *r, const char *key,
                              const char *text, size_t line)
{
    char *origin = xasprintf("%s:%zu", r->name, line);
    enum vd_err err = options_set(r->set, key, text, origin);
    free(origin);
    return err;
}

static bool is_null(const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || !strcmp(text, "~") || !strcmp(text, "null"));
}

static enum vd_err check_scalar(const struct yaml_reader *r,
                                const yaml_event_t *e)
{
    if (strlen((const char *)e->data.scalar.value) != e->data.scalar.length)
        return FAIL_AT(r, event_line(e), "a NUL character%s", "\nremove it");
    return VD_OK;
}

static enum vd_err read_scalar(struct yaml_reader *r, const char *key,
                               const yaml_event_t *e)
{
    struct option_ref at;
    if (!find_leaf(r->set, key, &at))
        return FAIL_AT(r, event_line(e),
                       "'%s' is a section, not a value\n"
                       "put its keys below it, indented",
                       key);
    VD_TRY(check_scalar(r, e));
    if (!is_null(e))
        return set_option(r, key, (const char *)e->data.scalar.value,
                          event_line(e));
    if (at.row->type != OPTION_TEXT)
        return FAIL_AT(r, event_line(e),
                       "'%s' has no value\n"
                       "give one, or leave the key out",
                       key);
    return set_option(r, key, "", event_line(e));
}

/* Reads [3, 4, 6, 3] for OPTION_INTS; its start event has been read. */
static enum vd_err read_list(struct yaml_reader *r, const char *key,
                             size_t line)
{
    struct option_ref at;
    struct text list = {0};
    yaml_event_t e = {0};
    enum vd_err err = VD_OK;
    if (!find_leaf(r->set, key, &at) || at.row->type != OPTION_INTS)
        return FAIL_AT(r, line, "'%s' cannot be a list\n%s", key,
                       is_section(r->set, key)
                           ? "put its keys below it, indented"
                           : "give one value");
    text_add(&list, "%s", "");
    for (;;) {
        VD_TRY_GOTO(out, err, next_event(r, &e));
        if (e.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (e.type != YAML_SCALAR_EVENT || is_null(&e)) {
            err = FAIL_AT(r, event_line(&e),
                          "'%s' must be a list of whole numbers\n"
                          "write it as in [3, 4, 6, 3]",
                          key);
            goto out;
        }
        VD_TRY_GOTO(out, err, check_scalar(r, &e));
        text_add(&list, "%s%s", list.length ? "," : "",
                 (const char *)e.data.scalar.value);
        yaml_event_delete(&e);
    }
    err = set_option(r, key, list.bytes, line);
out:
    yaml_event_delete(&e);
    free(list.bytes);
    return err;
}

static enum vd_err read_mapping(struct yaml_reader *r, const char *section);

static enum vd_err read_value(struct yaml_reader *r, const char *key)
{
    yaml_event_t e;
    VD_TRY(next_event(r, &e));
    enum vd_err err = VD_OK;
    if (e.type == YAML_SCALAR_EVENT)
        err = read_scalar(r, key, &e);
    else if (e.type == YAML_SEQUENCE_START_EVENT)
        err = read_list(r, key, event_line(&e));
    else if (is_section(r->set, key))
        err = read_mapping(r, key);
    else
        err = FAIL_AT(r, event_line(&e),
                      "'%s' is a value, not a section\ngive one value", key);
    yaml_event_delete(&e);
    return err;
}

/* One key and its value. */
static enum vd_err read_pair(struct yaml_reader *r, const char *section,
                             const yaml_event_t *e)
{
    struct option_ref at;
    if (e->type != YAML_SCALAR_EVENT)
        return FAIL_AT(r, event_line(e), "a key must be a word%s",
                       "\nwrite KEY: VALUE");
    VD_TRY(check_scalar(r, e));
    char *key = xasprintf("%s%s%s", section, *section ? "." : "",
                          (const char *)e->data.scalar.value);
    enum vd_err err = VD_OK;
    if (!find_leaf(r->set, key, &at) && !is_section(r->set, key))
        err = fail_unknown_key(r, key, event_line(e));
    if (err == VD_OK)
        err = record_key(r, key, event_line(e));
    if (err == VD_OK)
        err = read_value(r, key);
    free(key);
    return err;
}

/* Reads all pairs of a mapping and its end; its start has been read. */
static enum vd_err read_mapping(struct yaml_reader *r, const char *section)
{
    for (;;) {
        yaml_event_t e;
        VD_TRY(next_event(r, &e));
        bool is_end = e.type == YAML_MAPPING_END_EVENT;
        enum vd_err err = is_end ? VD_OK : read_pair(r, section, &e);
        yaml_event_delete(&e);
        if (is_end || err != VD_OK)
            return err;
    }
}

/* ---- the file ---------------------------------------------------------- */

static enum vd_err read_root(struct yaml_reader *r)
{
    yaml_event_t e;
    VD_TRY(next_event(r, &e));
    enum vd_err err = VD_OK;
    if (e.type == YAML_MAPPING_START_EVENT)
        err = read_mapping(r, "");
    else if (e.type != YAML_SCALAR_EVENT || !is_null(&e))
        err = FAIL_AT(r, event_line(&e), "not a mapping of keys to values%s",
                      "\nwrite KEY: VALUE lines");
    yaml_event_delete(&e);
    return err;
}

/* At most one document; an empty file has none. */
static enum vd_err read_stream(struct yaml_reader *r)
{
    bool has_document = false;
    for (;;) {
        yaml_event_t e;
        VD_TRY(next_event(r, &e));
        yaml_event_type_t type = e.type;
        size_t line = event_line(&e);
        yaml_event_delete(&e);
        if (type == YAML_STREAM_END_EVENT)
            return VD_OK;
        if (type != YAML_DOCUMENT_START_EVENT)
            continue; // start of the stream, end of the document
        if (has_document)
            return FAIL_AT(r, line, "a second document (---)%s",
                           "\nput it into a separate file");
        has_document = true;
        VD_TRY(read_root(r));
    }
}

enum vd_err options_read_yaml_text(struct option_set *set, const char *name,
                                   const char *bytes, size_t n)
{
    struct yaml_reader r = {.set = set, .name = name};
    VD_ASSERT(yaml_parser_initialize(&r.parser));
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)bytes, n);
    enum vd_err err = read_stream(&r);
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.n_seen; i++)
        free(r.seen[i].key);
    free(r.seen);
    return err;
}

enum vd_err options_read_yaml(struct option_set *set, const char *path)
{
    char *bytes = NULL;
    size_t n = 0;
    VD_TRY(file_read(path, MAX_FILE, &bytes, &n));
    enum vd_err err = options_read_yaml_text(set, path, bytes, n);
    free(bytes);
    return err;
}

const char *options_yaml_library(void)
{
    return yaml_get_version_string();
}
