/*
 * safetensors: header parser, reader with conversion to float32, writer.
 *
 * Opening: read the length, read and parse the JSON header, parse each tensor
 * (dtype, shape, data_offsets), sort by offset, then check that the tensors
 * cover the data area in order, without overlap and with gaps below ALIGNMENT.
 * No tensor data are read before all checks have passed.
 *
 * Example: {"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} has 54 bytes.
 * The tensor starts at file offset 8 + 54 and ends 8 bytes later, at the end of
 * the file. The writer pads the header with blanks, so that the first tensor is
 * aligned to 64 bytes.
 */
#include "store/safetensors.h"

#include "base/alloc.h"
#include "base/file.h"
#include "store/atomic.h"
#include "store/json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TENSORS   100000
#define MAX_NAME      1024
#define MAX_DIMENSION ((int64_t)1 << 40)
#define ALIGNMENT     64 /* bytes; of the first tensor; gaps are smaller */
#define METADATA      "__metadata__"
#define HALF_CHUNK    4096
#define REMEDY                                                       \
    "the file is truncated, damaged or of another kind: copy it or " \
    "write it again"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the format is little-endian, and values are copied unchanged");

/* All types of the format, with the bytes of one element. */
static const struct {
    const char *name;
    enum safetensors_type type;
    size_t bytes;
} types[] = {
    {"F32", SAFETENSORS_F32, 4},       {"F16", SAFETENSORS_F16, 2},
    {"BF16", SAFETENSORS_BF16, 2},     {"F64", SAFETENSORS_OTHER, 8},
    {"I64", SAFETENSORS_OTHER, 8},     {"U64", SAFETENSORS_OTHER, 8},
    {"I32", SAFETENSORS_OTHER, 4},     {"U32", SAFETENSORS_OTHER, 4},
    {"I16", SAFETENSORS_OTHER, 2},     {"U16", SAFETENSORS_OTHER, 2},
    {"I8", SAFETENSORS_OTHER, 1},      {"U8", SAFETENSORS_OTHER, 1},
    {"BOOL", SAFETENSORS_OTHER, 1},    {"F8_E4M3", SAFETENSORS_OTHER, 1},
    {"F8_E5M2", SAFETENSORS_OTHER, 1},
};

static enum vd_err read_bytes_at(const struct safetensors *f, uint64_t at,
                                 void *to, size_t n)
{
    for (char *p = to; n > 0;) {
        ssize_t got = pread(f->fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return VD_FAIL(VD_DATA, "%s: read: %s\n" REMEDY, f->path,
                           strerror(errno));
        if (got == 0)
            return VD_FAIL(VD_DATA, "%s: truncated\n" REMEDY, f->path);
        p += got;
        at += (size_t)got;
        n -= (size_t)got;
    }
    return VD_OK;
}

/* ---- the header ---- */

static enum vd_err parse_dtype(const struct json *object, const char *where,
                               struct safetensors_tensor *t, size_t *bytes)
{
    const char *name = NULL;
    VD_TRY(json_get_text(object, where, "dtype", &name));
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        if (strcmp(types[k].name, name))
            continue;
        t->type = types[k].type;
        strcpy(t->type_name, name);
        *bytes = types[k].bytes;
        return VD_OK;
    }
    return VD_FAIL(VD_DATA, "%s: unknown dtype \"%.32s\"", where, name);
}

static enum vd_err parse_shape(const struct json *object, const char *where,
                               struct safetensors_tensor *t)
{
    const struct json *shape = NULL;
    VD_TRY(json_get_list(object, where, "shape", SAFETENSORS_MAX_RANK, &shape));
    t->rank = (int)json_count(shape);
    t->n = 1;
    for (int k = 0; k < t->rank; k++) {
        VD_TRY(json_int_at(shape, where, (size_t)k, 0, MAX_DIMENSION,
                           &t->dims[k]));
        if (!alloc_mul_size(t->n, (size_t)t->dims[k], &t->n))
            return VD_FAIL(VD_DATA, "%s: the number of elements overflows",
                           where);
    }
    return VD_OK;
}

/* Offsets in the header are relative to `data`, the end of the header; `end` is
 * the size of the file. */
static enum vd_err parse_offsets(const struct json *object, const char *where,
                                 struct safetensors_tensor *t, size_t item,
                                 uint64_t data, uint64_t end)
{
    const struct json *pair = NULL;
    int64_t first = 0, last = 0, most = (int64_t)(end - data);
    size_t bytes = 0;
    VD_TRY(json_get_list(object, where, "data_offsets", 2, &pair));
    if (json_count(pair) != 2)
        return VD_FAIL(VD_DATA, "%s: \"data_offsets\": expected two numbers",
                       where);
    VD_TRY(json_int_at(pair, where, 0, 0, most, &first));
    VD_TRY(json_int_at(pair, where, 1, first, most, &last));
    if (!alloc_mul_size(t->n, item, &bytes) ||
        bytes != (uint64_t)(last - first))
        return VD_FAIL(VD_DATA, "%s: %zu elements of %s do not take %lld bytes",
                       where, t->n, t->type_name, (long long)(last - first));
    t->offset = data + (uint64_t)first;
    t->bytes = bytes;
    return VD_OK;
}

static enum vd_err parse_tensor(struct safetensors *f, const char *name,
                                const struct json *object, uint64_t data,
                                uint64_t end)
{
    struct safetensors_tensor t = {0};
    size_t item = 0;
    if (!*name || strlen(name) > MAX_NAME)
        return VD_FAIL(VD_DATA, "%s: a tensor's name is empty or too long",
                       f->path);
    char *where = xasprintf("%s: tensor %s", f->path, name);
    enum vd_err err = json_check_object(object, where);
    VD_TRY_GOTO(out, err, err);
    VD_TRY_GOTO(out, err, parse_dtype(object, where, &t, &item));
    VD_TRY_GOTO(out, err, parse_shape(object, where, &t));
    VD_TRY_GOTO(out, err, parse_offsets(object, where, &t, item, data, end));
    t.name = xstrdup(name);
    f->tensors[f->n++] = t;
out:
    free(where);
    return err;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct safetensors_tensor *s = a, *t = b;
    if (s->offset != t->offset)
        return s->offset < t->offset ? -1 : 1;
    if (s->bytes != t->bytes) /* empty ones first */
        return s->bytes < t->bytes ? -1 : 1;
    return strcmp(s->name, t->name);
}

/* Sorts the tensors by offset and checks that they cover the data. */
static enum vd_err check_offsets(struct safetensors *f, uint64_t data,
                                 uint64_t end)
{
    if (f->n)
        qsort(f->tensors, f->n, sizeof *f->tensors, compare_offsets);
    uint64_t at = data;
    for (size_t k = 0; k < f->n; k++) {
        const struct safetensors_tensor *t = &f->tensors[k];
        if (t->offset < at)
            return VD_FAIL(VD_DATA,
                           "%s: tensor %s overlaps the previous one\n" REMEDY,
                           f->path, t->name);
        if (t->offset - at >= ALIGNMENT)
            return VD_FAIL(VD_DATA, "%s: a gap before tensor %s\n" REMEDY,
                           f->path, t->name);
        at = t->offset + t->bytes;
    }
    if (end - at >= ALIGNMENT)
        return VD_FAIL(VD_DATA, "%s: %llu bytes after the last tensor\n" REMEDY,
                       f->path, (unsigned long long)(end - at));
    return VD_OK;
}

static enum vd_err parse_tensors(struct safetensors *f, const struct json *root,
                                 uint64_t data, uint64_t end)
{
    VD_TRY(json_check_object(root, f->path));
    size_t n = json_count(root);
    if (n > MAX_TENSORS)
        return VD_FAIL(VD_DATA, "%s: %zu tensors, more than %d", f->path, n,
                       MAX_TENSORS);
    f->tensors = xcalloc(n, sizeof *f->tensors);
    for (void *at = json_first(root); at; at = json_next(root, at))
        if (strcmp(json_key(at), METADATA))
            VD_TRY(parse_tensor(f, json_key(at), json_value(at), data, end));
    return check_offsets(f, data, end);
}

/* Reads and checks the header of a file of `end` bytes. */
static enum vd_err read_header(struct safetensors *f, uint64_t end)
{
    uint64_t length = 0;
    if (end < sizeof length)
        return VD_FAIL(VD_DATA, "%s: too short for a safetensors file\n" REMEDY,
                       f->path);
    VD_TRY(read_bytes_at(f, 0, &length, sizeof length));
    if (length > SAFETENSORS_MAX_HEADER || length > end - sizeof length)
        return VD_FAIL(VD_DATA,
                       "%s: not a safetensors file: a header of %llu bytes in "
                       "a file of %llu\n" REMEDY,
                       f->path, (unsigned long long)length,
                       (unsigned long long)end);
    char *header = xcalloc(length, 1);
    enum vd_err err = read_bytes_at(f, sizeof length, header, length);
    if (err == VD_OK)
        err = json_parse(&f->header, f->path, header, length);
    if (err == VD_OK)
        err = parse_tensors(f, f->header, sizeof length + length, end);
    free(header);
    return err;
}

enum vd_err safetensors_open(struct safetensors *f, const char *path)
{
    *f = (struct safetensors){0};
    int64_t bytes = 0;
    VD_TRY(file_open_input(path, &f->fd, &bytes));
    f->path = xstrdup(path);
    enum vd_err err = read_header(f, (uint64_t)bytes);
    if (err != VD_OK)
        safetensors_close(f);
    return err;
}

void safetensors_close(struct safetensors *f)
{
    if (f->path)
        close(f->fd);
    for (size_t k = 0; k < f->n; k++)
        free(f->tensors[k].name);
    free(f->tensors);
    json_free(f->header);
    free(f->path);
    *f = (struct safetensors){0};
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *f,
                                                  const char *name)
{
    for (size_t k = 0; k < f->n; k++)
        if (!strcmp(f->tensors[k].name, name))
            return &f->tensors[k];
    return NULL;
}

/* NULL if there is no such member. */
static const struct json *find_member(const struct json *object,
                                      const char *key)
{
    for (void *at = json_first(object); at; at = json_next(object, at))
        if (!strcmp(json_key(at), key))
            return json_value(at);
    return NULL;
}

enum vd_err safetensors_metadata(const struct safetensors *f, const char *key,
                                 const char **out)
{
    *out = NULL;
    const struct json *notes = find_member(f->header, METADATA);
    if (!notes)
        return VD_OK;
    VD_TRY(json_check_object(notes, f->path));
    return find_member(notes, key) ? json_get_text(notes, f->path, key, out)
                                   : VD_OK;
}

/* ---- reading ---- */

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float float_from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0) { /* zero and subnormals: a multiple of 2^-24 */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    if (exponent == 31) /* infinity and NaN */
        return float_from_bits(sign | 0x7f800000 | fraction << 13);
    return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static enum vd_err read_halves(const struct safetensors *f,
                               const struct safetensors_tensor *t, float *out)
{
    uint16_t part[HALF_CHUNK];
    for (size_t done = 0; done < t->n;) {
        size_t n = t->n - done;
        n = n < HALF_CHUNK ? n : HALF_CHUNK;
        VD_TRY(read_bytes_at(f, t->offset + 2 * done, part, 2 * n));
        for (size_t k = 0; k < n; k++)
            out[done + k] = t->type == SAFETENSORS_F16
                                ? float_from_half(part[k])
                                : float_from_bits((uint32_t)part[k] << 16);
        done += n;
    }
    return VD_OK;
}

enum vd_err safetensors_read_f32(const struct safetensors *f, size_t index,
                                 float *out)
{
    VD_ASSERT(index < f->n);
    const struct safetensors_tensor *t = &f->tensors[index];
    if (t->type == SAFETENSORS_OTHER)
        return VD_FAIL(VD_DATA,
                       "%s: tensor %s is %s\n"
                       "weights must be F32, F16 or BF16",
                       f->path, t->name, t->type_name);
    if (t->type == SAFETENSORS_F32)
        return read_bytes_at(f, t->offset, out, t->bytes);
    return read_halves(f, t, out);
}

/* ---- writing ---- */

static size_t n_elements(const struct safetensors_output *t)
{
    size_t n = 1;
    for (int k = 0; k < t->rank; k++)
        VD_ASSERT(alloc_mul_size(n, (size_t)t->dims[k], &n));
    return n;
}

static struct json *build_header(const struct safetensors_output *tensors,
                                 size_t n,
                                 const struct safetensors_metadata *notes,
                                 size_t n_notes)
{
    struct json *root = json_new_object(), *metadata = json_new_object();
    int64_t at = 0;
    for (size_t k = 0; k < n_notes; k++)
        json_put_text(metadata, notes[k].key, notes[k].value);
    json_put(root, METADATA, metadata);
    for (size_t k = 0; k < n; k++) {
        struct json *o = json_new_object(), *shape = json_new_list();
        struct json *pair = json_new_list();
        for (int d = 0; d < tensors[k].rank; d++)
            json_add_int(shape, tensors[k].dims[d]);
        json_add_int(pair, at);
        at += (int64_t)(n_elements(&tensors[k]) * sizeof(float));
        json_add_int(pair, at);
        json_put_text(o, "dtype", "F32");
        json_put(o, "shape", shape);
        json_put(o, "data_offsets", pair);
        json_put(root, tensors[k].name, o);
    }
    return root;
}

enum vd_err safetensors_write(const char *path,
                              const struct safetensors_output *tensors,
                              size_t n,
                              const struct safetensors_metadata *notes,
                              size_t n_notes)
{
    struct atomic_file f;
    VD_TRY(atomic_open(&f, path));
    struct json *root = build_header(tensors, n, notes, n_notes);
    char *header = json_format(root, 0);
    size_t used = strlen(header) + sizeof(uint64_t);
    int blanks = (int)((ALIGNMENT - used % ALIGNMENT) % ALIGNMENT);
    char *padded = xasprintf("%s%*s", header, blanks, "");
    uint64_t length = strlen(padded);
    atomic_append(&f, &length, sizeof length);
    atomic_append(&f, padded, length);
    for (size_t k = 0; k < n; k++)
        if (n_elements(&tensors[k])) /* data of an empty one may be NULL */
            atomic_append(&f, tensors[k].data,
                          n_elements(&tensors[k]) * sizeof(float));
    free(padded);
    free(header);
    json_free(root);
    return atomic_commit(&f);
}
