/*
 * JSON on Jansson: struct json is json_t under an opaque name.
 *
 * Reading functions check type and limits and raise VD_DATA; building
 * functions assert, because they fail only if misused or out of memory.
 * Ownership is Jansson's: a root is freed by json_free(), a child is owned by
 * its parent.
 */
#include "store/json.h"

#include "base/alloc.h"
#include "base/file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *to_jansson(struct json *value)
{
    return (json_t *)value;
}

static const json_t *to_jansson_const(const struct json *value)
{
    return (const json_t *)value;
}

enum vd_err json_parse(struct json **out, const char *where, const char *bytes,
                       size_t n)
{
    json_error_t error;
    json_t *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return VD_FAIL(VD_DATA, "%s: line %d, column %d: not JSON: %s", where,
                       error.line, error.column, error.text);
    *out = (struct json *)root;
    return VD_OK;
}

enum vd_err json_read_object(struct json **out, const char *path,
                             size_t max_bytes)
{
    char *bytes = NULL;
    size_t n = 0;
    struct json *root = NULL;
    VD_TRY(file_read(path, max_bytes, &bytes, &n));
    enum vd_err err = json_parse(&root, path, bytes, n);
    if (err == VD_OK)
        err = json_check_object(root, path);
    free(bytes);
    if (err == VD_OK)
        *out = root;
    else
        json_free(root);
    return err;
}

void json_free(struct json *root)
{
    json_decref(to_jansson(root));
}

enum vd_err json_check_object(const struct json *value, const char *where)
{
    if (!json_is_object(to_jansson_const(value)))
        return VD_FAIL(VD_DATA, "%s: expected an object { }", where);
    return VD_OK;
}

enum vd_err json_check_list(const struct json *value, const char *where)
{
    if (!json_is_array(to_jansson_const(value)))
        return VD_FAIL(VD_DATA, "%s: expected a list [ ]", where);
    return VD_OK;
}

static enum vd_err check_int(const json_t *value, const char *where,
                             const char *key, int64_t min, int64_t max,
                             int64_t *out)
{
    int64_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    if (!json_is_integer(value) || number < min || number > max)
        return VD_FAIL(VD_DATA,
                       "%s: \"%s\": expected an integer from %lld to %lld",
                       where, key, (long long)min, (long long)max);
    *out = number;
    return VD_OK;
}

static enum vd_err check_text(const json_t *value, const char *where,
                              const char *key, const char **out)
{
    if (!json_is_string(value))
        return VD_FAIL(VD_DATA, "%s: \"%s\": expected a string", where, key);
    *out = json_string_value(value);
    return VD_OK;
}

enum vd_err json_get_int(const struct json *object, const char *where,
                         const char *key, int64_t min, int64_t max,
                         int64_t *out)
{
    return check_int(json_object_get(to_jansson_const(object), key), where, key,
                     min, max, out);
}

enum vd_err json_get_real(const struct json *object, const char *where,
                          const char *key, double *out)
{
    const json_t *value = json_object_get(to_jansson_const(object), key);
    if (!json_is_number(value))
        return VD_FAIL(VD_DATA, "%s: \"%s\": expected a number", where, key);
    *out = json_number_value(value);
    return VD_OK;
}

enum vd_err json_get_text(const struct json *object, const char *where,
                          const char *key, const char **out)
{
    return check_text(json_object_get(to_jansson_const(object), key), where,
                      key, out);
}

enum vd_err json_get_list(const struct json *object, const char *where,
                          const char *key, size_t max_n,
                          const struct json **out)
{
    const json_t *value = json_object_get(to_jansson_const(object), key);
    if (!json_is_array(value) || json_array_size(value) > max_n)
        return VD_FAIL(VD_DATA,
                       "%s: \"%s\": expected a list [ ] of at most %zu", where,
                       key, max_n);
    *out = (const struct json *)value;
    return VD_OK;
}

bool json_has(const struct json *object, const char *key)
{
    return json_object_get(to_jansson_const(object), key) != NULL;
}

size_t json_count(const struct json *value)
{
    return json_is_array(to_jansson_const(value))
               ? json_array_size(to_jansson_const(value))
               : json_object_size(to_jansson_const(value));
}

const struct json *json_at(const struct json *list, size_t i)
{
    const json_t *value = json_array_get(to_jansson_const(list), i);
    VD_ASSERT(value);
    return (const struct json *)value;
}

enum vd_err json_int_at(const struct json *list, const char *where, size_t i,
                        int64_t min, int64_t max, int64_t *out)
{
    char key[32];
    snprintf(key, sizeof key, "[%zu]", i);
    return check_int(to_jansson_const(json_at(list, i)), where, key, min, max,
                     out);
}

enum vd_err json_text_at(const struct json *list, const char *where, size_t i,
                         const char **out)
{
    char key[32];
    snprintf(key, sizeof key, "[%zu]", i);
    return check_text(to_jansson_const(json_at(list, i)), where, key, out);
}

/* Jansson's iterators do not write, but their parameter is not const. */
static json_t *to_jansson_iterable(const struct json *object)
{
    return (json_t *)(uintptr_t)object;
}

void *json_first(const struct json *object)
{
    return json_object_iter(to_jansson_iterable(object));
}

void *json_next(const struct json *object, void *at)
{
    return json_object_iter_next(to_jansson_iterable(object), at);
}

const char *json_key(void *at)
{
    return json_object_iter_key(at);
}

const struct json *json_value(void *at)
{
    return (const struct json *)json_object_iter_value(at);
}

struct json *json_new_object(void)
{
    json_t *object = json_object();
    VD_ASSERT(object);
    return (struct json *)object;
}

struct json *json_new_list(void)
{
    json_t *list = json_array();
    VD_ASSERT(list);
    return (struct json *)list;
}

bool json_is_utf8(const char *text)
{
    json_t *value = json_string(text);
    bool ok = value;
    json_decref(value);
    return ok;
}

static struct json *new_string(const char *text)
{
    json_t *value = json_string(text);
    if (!value) {
        char *plain = xstrdup(text);
        for (char *p = plain; *p; p++)
            *p = (unsigned char)*p < 0x80 ? *p : '?';
        value = json_string(plain);
        free(plain);
    }
    VD_ASSERT(value);
    return (struct json *)value;
}

void json_put(struct json *object, const char *key, struct json *child)
{
    VD_ASSERT(json_object_set_new_nocheck(to_jansson(object), key,
                                          to_jansson(child)) == 0);
}

void json_add(struct json *list, struct json *child)
{
    VD_ASSERT(json_array_append_new(to_jansson(list), to_jansson(child)) == 0);
}

void json_put_int(struct json *object, const char *key, int64_t value)
{
    json_put(object, key, (struct json *)json_integer(value));
}

void json_put_real(struct json *object, const char *key, double value)
{
    json_put(object, key, (struct json *)json_real(value));
}

void json_put_bool(struct json *object, const char *key, bool value)
{
    json_put(object, key, (struct json *)json_boolean(value));
}

void json_put_text(struct json *object, const char *key, const char *text)
{
    json_put(object, key, new_string(text));
}

void json_add_int(struct json *list, int64_t value)
{
    json_add(list, (struct json *)json_integer(value));
}

void json_add_text(struct json *list, const char *text)
{
    json_add(list, new_string(text));
}

char *json_format(const struct json *root, int indent)
{
    size_t flags = indent ? JSON_INDENT((size_t)indent) : JSON_COMPACT;
    char *text = json_dumps(to_jansson_const(root), flags);
    VD_ASSERT(text);
    return text;
}
