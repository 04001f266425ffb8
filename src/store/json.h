/*
 * JSON reading and writing; only json.c uses the library (Jansson). A value is
 * either the root of a document, which the caller owns, or borrowed from a
 * document.
 *
 * Every message starts with `where` ("data/pack.json: shard 3"). All reads
 * check type and limits; a missing or wrong member is VD_DATA. Local.
 */
#ifndef VOCDIST_STORE_JSON_H
#define VOCDIST_STORE_JSON_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

/* Parses one document in UTF-8. Duplicate keys and integers outside int64 are
 * errors. */
enum vd_err json_parse(struct json **out, const char *where, const char *bytes,
                       size_t n) VD_MUST_USE;
/* Parses a file of at most `max_bytes`, whose root must be an object { }. */
enum vd_err json_read_object(struct json **out, const char *path,
                             size_t max_bytes) VD_MUST_USE;
void json_free(struct json *root);

/* ---- reading ---- */

enum vd_err json_check_object(const struct json *value,
                              const char *where) VD_MUST_USE;
enum vd_err json_check_list(const struct json *value,
                            const char *where) VD_MUST_USE;
/* Read the member `key` of an object; texts and children are borrowed. */
enum vd_err json_get_int(const struct json *object, const char *where,
                         const char *key, int64_t min, int64_t max,
                         int64_t *out) VD_MUST_USE;
/* An integer or a real number. */
enum vd_err json_get_real(const struct json *object, const char *where,
                          const char *key, double *out) VD_MUST_USE;
enum vd_err json_get_text(const struct json *object, const char *where,
                          const char *key, const char **out) VD_MUST_USE;
enum vd_err json_get_list(const struct json *object, const char *where,
                          const char *key, size_t max_n,
                          const struct json **out) VD_MUST_USE;

/* True if the member exists; for members that older files lack. */
bool json_has(const struct json *object, const char *key);

/* Number of members of a list or an object. json_at() asserts i < count. */
size_t json_count(const struct json *value);
const struct json *json_at(const struct json *list, size_t i);
enum vd_err json_int_at(const struct json *list, const char *where, size_t i,
                        int64_t min, int64_t max, int64_t *out) VD_MUST_USE;
enum vd_err json_text_at(const struct json *list, const char *where, size_t i,
                         const char **out) VD_MUST_USE;

/*
 * Iterate over an object in the order of the file:
 *     for (void *at = json_first(o); at; at = json_next(o, at))
 */
void *json_first(const struct json *object);
void *json_next(const struct json *object, void *at);
const char *json_key(void *at);
const struct json *json_value(void *at);

/* ---- building ---- */

/* True for UTF-8. In any other text json_put_text() and json_add_text() replace
 * every byte from 0x80 on by '?'. */
bool json_is_utf8(const char *text);
struct json *json_new_object(void);
struct json *json_new_list(void);
void json_put_int(struct json *object, const char *key, int64_t value);
/* `value` is finite; written with 17 digits, so reading gives the same bits. */
void json_put_real(struct json *object, const char *key, double value);
void json_put_bool(struct json *object, const char *key, bool value);
void json_put_text(struct json *object, const char *key, const char *text);
/* json_put() and json_add() take ownership of `child`. */
void json_put(struct json *object, const char *key, struct json *child);
void json_add_int(struct json *list, int64_t value);
void json_add_text(struct json *list, const char *text);
void json_add(struct json *list, struct json *child);

/* The document as text, owned. Keys are in the order in which they were added;
 * indent 0: one line. */
char *json_format(const struct json *root, int indent);

#endif
