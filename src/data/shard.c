#include "data/shard.h"

#include "base/hash.h"
#include "data/shard_internal.h"
#include "store/json.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "digests are computed over values in memory order");
_Static_assert(sizeof(struct shard_object) == 24,
               "digests cover objects as they are in memory, without padding");

uint64_t shard_digest(const struct shard_sample *s, size_t n_pixel_bytes)
{
    struct hash h;
    hash_init(&h);
    hash_update(&h, s->pixels, n_pixel_bytes);
    hash_update(&h, &s->class, sizeof s->class);
    hash_update(&h, s->box, sizeof s->box);
    hash_update(&h, s->size, sizeof s->size);
    hash_update(&h, s->id, strlen(s->id));
    if (s->n_objects)
        hash_update(&h, s->objects, (size_t)s->n_objects * sizeof *s->objects);
    return hash_final(&h);
}

uint64_t shard_file_digest(const uint64_t *digests, size_t n)
{
    return hash_bytes(digests, n * sizeof *digests);
}

static bool is_valid_name(const char *text, size_t max_bytes)
{
    size_t n = strlen(text);
    for (size_t k = 0; k < n; k++) {
        unsigned char c = (unsigned char)text[k];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return n >= 1 && n <= max_bytes;
}

enum vd_err shard_check_format(const char *where, const struct shard_format *f)
{
    if (f->width < 1 || f->width > SHARD_MAX_SIDE || f->height < 1 ||
        f->height > SHARD_MAX_SIDE)
        return VD_FAIL(VD_DATA,
                       "%s: images of %d x %d pixels; a side must be 1 to %d",
                       where, f->width, f->height, SHARD_MAX_SIDE);
    if (f->n_classes < 1 || f->n_classes > SHARD_MAX_CLASSES)
        return VD_FAIL(VD_DATA, "%s: %d classes, must be 1 to %d", where,
                       f->n_classes, SHARD_MAX_CLASSES);
    for (int k = 0; k < f->n_classes; k++)
        if (!is_valid_name(f->classes[k], SHARD_MAX_CLASS_BYTES) ||
            !json_is_utf8(f->classes[k]))
            return VD_FAIL(VD_DATA,
                           "%s: the name of class %d is empty, longer than %d "
                           "bytes or not printable UTF-8",
                           where, k, SHARD_MAX_CLASS_BYTES);
    return VD_OK;
}

/* The comparisons are written so that NaN fails. */
static bool is_valid_box(const float box[4], const struct shard_format *f)
{
    return box[0] >= 0 && box[1] >= 0 && box[2] <= (float)f->width &&
           box[3] <= (float)f->height && box[0] < box[2] && box[1] < box[3];
}

static enum vd_err check_objects(const char *where,
                                 const struct shard_format *f,
                                 const struct shard_sample *s)
{
    if (s->n_objects < 0 || s->n_objects > SHARD_MAX_OBJECTS)
        return VD_FAIL(VD_DATA, "%s: %s: %d objects, must be 0 to %d", where,
                       s->id, s->n_objects, SHARD_MAX_OBJECTS);
    for (int k = 0; k < s->n_objects; k++) {
        const struct shard_object *o = &s->objects[k];
        if (!is_valid_box(o->box, f) || o->class < 0 ||
            o->class >= f->n_classes || o->difficult < 0 || o->difficult > 1)
            return VD_FAIL(VD_DATA,
                           "%s: %s: object %d: class %d, difficult %d, box "
                           "%g %g %g %g: out of range",
                           where, s->id, k, o->class, o->difficult,
                           (double)o->box[0], (double)o->box[1],
                           (double)o->box[2], (double)o->box[3]);
    }
    return VD_OK;
}

enum vd_err shard_check_sample(const char *where, const struct shard_format *f,
                               const struct shard_sample *s)
{
    if (!is_valid_name(s->id, SHARD_MAX_ID) || strchr(s->id, '/'))
        return VD_FAIL(VD_DATA,
                       "%s: an id is empty, longer than %d bytes, or contains "
                       "a control character or '/'",
                       where, SHARD_MAX_ID);
    if (s->class < 0 || s->class >= f->n_classes)
        return VD_FAIL(VD_DATA, "%s: %s: class %d, must be 0 to %d", where,
                       s->id, s->class, f->n_classes - 1);
    if (!is_valid_box(s->box, f))
        return VD_FAIL(VD_DATA,
                       "%s: %s: box %g %g %g %g: not inside the image of "
                       "%d x %d pixels, or without area",
                       where, s->id, (double)s->box[0], (double)s->box[1],
                       (double)s->box[2], (double)s->box[3], f->width,
                       f->height);
    if (s->size[0] < 1 || s->size[1] < 1)
        return VD_FAIL(VD_DATA, "%s: %s: original size %d x %d is not positive",
                       where, s->id, s->size[0], s->size[1]);
    return check_objects(where, f, s);
}
