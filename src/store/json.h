/*
 * JSON: the only place that knows its library. A value is either the root of
 * a document, which its maker owns, or borrowed from inside one.
 *
 * `where` starts every message ("data/pack.json: shard 3"). Everything that is
 * read is checked for type and limits; a wrong field is VD_DATA. Local.
 */
#ifndef VOCDIST_STORE_JSON_H
#define VOCDIST_STORE_JSON_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

/* One document in UTF-8; doubled keys and numbers beyond int64 are refused. */
enum vd_err json_parse(struct json **out, const char *where, const char *bytes,
                       size_t n) VD_MUST_USE;
/* The same of a file of at most `max_bytes`, which must hold an object { }. */
enum vd_err json_read_object(struct json **out, const char *path,
                             size_t max_bytes) VD_MUST_USE;
void json_free(struct json *root);

/* ---- reading ---- */

enum vd_err json_check_object(const struct json *value,
                              const char *where) VD_MUST_USE;
enum vd_err json_check_list(const struct json *value,
                            const char *where) VD_MUST_USE;
/* The member `key` of an object; texts and children are borrowed. */
enum vd_err json_get_int(const struct json *object, const char *where,
                         const char *key, int64_t min, int64_t max,
                         int64_t *out) VD_MUST_USE;
/* Any number. */
enum vd_err json_get_real(const struct json *object, const char *where,
                          const char *key, double *out) VD_MUST_USE;
enum vd_err json_get_text(const struct json *object, const char *where,
                          const char *key, const char **out) VD_MUST_USE;
enum vd_err json_get_list(const struct json *object, const char *where,
                          const char *key, size_t max_n,
                          const struct json **out) VD_MUST_USE;

/* For members that older files do not have. */
bool json_has(const struct json *object, const char *key);

/* Members of a list or an object; an index beyond the end is our bug. */
size_t json_count(const struct json *value);
const struct json *json_at(const struct json *list, size_t i);
enum vd_err json_int_at(const struct json *list, const char *where, size_t i,
                        int64_t min, int64_t max, int64_t *out) VD_MUST_USE;
enum vd_err json_text_at(const struct json *list, const char *where, size_t i,
                         const char **out) VD_MUST_USE;

/*
 * Walks over an object in the file's order:
 *     for (void *at = json_first(o); at; at = json_next(o, at))
 */
void *json_first(const struct json *object);
void *json_next(const struct json *object, void *at);
const char *json_key(void *at);
const struct json *json_value(void *at);

/* ---- building ---- */

/* Is it UTF-8? Bytes of a text that is not are put as '?'. */
bool json_is_utf8(const char *text);
struct json *json_new_object(void);
struct json *json_new_list(void);
void json_put_int(struct json *object, const char *key, int64_t value);
/* Finite; 17 digits, so that reading it gives the same bits. */
void json_put_real(struct json *object, const char *key, double value);
void json_put_bool(struct json *object, const char *key, bool value);
void json_put_text(struct json *object, const char *key, const char *text);
/* Takes `child` over. */
void json_put(struct json *object, const char *key, struct json *child);
void json_add_int(struct json *list, int64_t value);
void json_add_text(struct json *list, const char *text);
void json_add(struct json *list, struct json *child);

/* Owned. Keys in the order they were put; indent 0: one line. */
char *json_format(const struct json *root, int indent);

#endif
