/*
 * Writes one shard. The pixels of each image go to the HDF5 file at once, one
 * chunk per image; labels and image digests are collected in growing arrays and
 * written at commit.
 *
 * The file has a temporary name until shard_writer_commit() renames it
 * (store/atomic.h). If the writer is freed before, the file is removed.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "data/shard_internal.h"
#include "store/atomic.h"
#include "store/h5.h"

#include <stdlib.h>
#include <string.h>

struct shard_writer {
    struct shard_format format; /* classes and source are owned copies */
    struct atomic_file file;
    struct h5_file *h5;
    struct h5_rows *images;
    size_t pixel_bytes, n, room; /* bytes per image; images, allocated */
    int32_t *class, *size;
    float *box;
    uint64_t *digest;
    char (*id)[SHARD_MAX_ID + 1];
    size_t longest_id;
    int64_t *object_start; /* [room + 1] */
    float *objects;        /* [object_room, 6] */
    size_t n_objects, object_room;
};

static void copy_format(struct shard_format *to,
                        const struct shard_format *from)
{
    char **classes = xcalloc((size_t)from->n_classes, sizeof *classes);
    for (int k = 0; k < from->n_classes; k++)
        classes[k] = xstrdup(from->classes[k]);
    *to = *from;
    to->classes = (const char *const *)classes;
    to->source = xstrdup(from->source ? from->source : "");
}

static void clear_format(struct shard_format *f)
{
    for (int k = 0; k < f->n_classes; k++)
        free((char *)(uintptr_t)f->classes[k]);
    free((void *)(uintptr_t)f->classes);
    free((char *)(uintptr_t)f->source);
}

static enum vd_err create_shard_file(struct shard_writer *w, const char *path)
{
    const struct shard_format *f = &w->format;
    struct h5_shape row = {
        H5_TYPE_UINT8, 0, 4, {0, (uint64_t)f->height, (uint64_t)f->width, 3}};
    VD_TRY(atomic_reserve(&w->file, path));
    VD_TRY(h5_create(&w->h5, w->file.temporary, path));
    VD_TRY(h5_set_int(w->h5, "format", SHARD_FORMAT));
    VD_TRY(h5_set_texts(w->h5, "classes", f->classes, (size_t)f->n_classes));
    VD_TRY(h5_set_text(w->h5, "source", f->source));
    return h5_rows_create(&w->images, w->h5, "images", &row, SHARD_MAX_IMAGES);
}

enum vd_err shard_writer_new(struct shard_writer **out, const char *path,
                             const struct shard_format *format)
{
    VD_TRY(shard_check_format(path, format));
    struct shard_writer *w = xcalloc(1, sizeof *w);
    copy_format(&w->format, format);
    w->pixel_bytes = (size_t)format->width * (size_t)format->height * 3;
    w->object_start = xcalloc(1, sizeof *w->object_start);
    enum vd_err err = create_shard_file(w, path);
    if (err == VD_OK)
        *out = w;
    else
        shard_writer_free(w);
    return err;
}

static void grow_writer_arrays(struct shard_writer *w)
{
    if (w->n < w->room)
        return;
    w->room = w->room ? 2 * w->room : 64;
    w->class = xreallocarray(w->class, w->room, sizeof *w->class);
    w->box = xreallocarray(w->box, w->room, 4 * sizeof *w->box);
    w->size = xreallocarray(w->size, w->room, 2 * sizeof *w->size);
    w->digest = xreallocarray(w->digest, w->room, sizeof *w->digest);
    w->id = xreallocarray(w->id, w->room, sizeof *w->id);
    w->object_start =
        xreallocarray(w->object_start, w->room + 1, sizeof *w->object_start);
}

static void add_objects(struct shard_writer *w, const struct shard_sample *s)
{
    size_t need = w->n_objects + (size_t)s->n_objects;
    if (need > w->object_room) {
        w->object_room = 2 * need;
        w->objects =
            xreallocarray(w->objects, w->object_room, 6 * sizeof *w->objects);
    }
    for (int k = 0; k < s->n_objects; k++) {
        const struct shard_object *o = &s->objects[k];
        float *to = w->objects + 6 * (w->n_objects + (size_t)k);
        memcpy(to, o->box, sizeof o->box);
        to[4] = (float)o->class;
        to[5] = (float)o->difficult;
    }
    w->n_objects = need;
}

enum vd_err shard_writer_add(struct shard_writer *w,
                             const struct shard_sample *s)
{
    VD_TRY(shard_check_sample(w->file.path, &w->format, s));
    VD_TRY(h5_rows_add(w->images, s->pixels));
    grow_writer_arrays(w);
    size_t n = w->n++, id_bytes = strlen(s->id);
    w->class[n] = s->class;
    memcpy(w->box + 4 * n, s->box, sizeof s->box);
    memcpy(w->size + 2 * n, s->size, sizeof s->size);
    memset(w->id[n], 0, sizeof w->id[n]);
    memcpy(w->id[n], s->id, id_bytes);
    if (id_bytes > w->longest_id)
        w->longest_id = id_bytes;
    add_objects(w, s);
    w->object_start[n + 1] = (int64_t)w->n_objects;
    w->digest[n] = shard_digest(s, w->pixel_bytes);
    return VD_OK;
}

static enum vd_err write_ids(struct shard_writer *w)
{
    size_t bytes = w->longest_id + 1;
    struct h5_shape shape = {H5_TYPE_TEXT, bytes, 1, {w->n}};
    char *block = xcalloc(w->n, bytes);
    for (size_t k = 0; k < w->n; k++)
        memcpy(block + k * bytes, w->id[k], bytes);
    enum vd_err err = h5_write(w->h5, "id", &shape, block);
    free(block);
    return err;
}

static enum vd_err write_label_arrays(struct shard_writer *w)
{
    const uint64_t n = w->n, m = w->n_objects;
    struct h5_shape class = {H5_TYPE_INT32, 0, 1, {n}};
    struct h5_shape box = {H5_TYPE_FLOAT32, 0, 2, {n, 4}};
    struct h5_shape size = {H5_TYPE_INT32, 0, 2, {n, 2}};
    struct h5_shape objects = {H5_TYPE_FLOAT32, 0, 2, {m, 6}};
    struct h5_shape begin = {H5_TYPE_INT64, 0, 1, {n + 1}};
    struct h5_shape digest = {H5_TYPE_UINT64, 0, 1, {n}};
    VD_TRY(h5_write(w->h5, "class", &class, w->class));
    VD_TRY(h5_write(w->h5, "box", &box, w->box));
    VD_TRY(h5_write(w->h5, "size", &size, w->size));
    VD_TRY(write_ids(w));
    VD_TRY(h5_write(w->h5, "objects", &objects, w->objects));
    VD_TRY(h5_write(w->h5, "object_start", &begin, w->object_start));
    return h5_write(w->h5, "digest", &digest, w->digest);
}

static enum vd_err close_h5(struct shard_writer *w)
{
    enum vd_err rows = h5_rows_close(w->images), file = h5_close(w->h5);
    w->images = NULL;
    w->h5 = NULL;
    return rows != VD_OK ? rows : file;
}

enum vd_err shard_writer_commit(struct shard_writer *w, size_t *n_images,
                                uint64_t *digest)
{
    if (w->n == 0)
        return VD_FAIL(VD_DATA, "%s: the shard has no image", w->file.path);
    VD_TRY(write_label_arrays(w));
    VD_TRY(close_h5(w));
    VD_TRY(atomic_commit(&w->file));
    *n_images = w->n;
    *digest = shard_file_digest(w->digest, w->n);
    return VD_OK;
}

void shard_writer_free(struct shard_writer *w)
{
    if (!w)
        return;
    if (close_h5(w) != VD_OK)
        log_warn("%s: the unfinished file did not close cleanly", w->file.path);
    atomic_abort(&w->file);
    clear_format(&w->format);
    free(w->class);
    free(w->box);
    free(w->size);
    free(w->digest);
    free(w->id);
    free(w->object_start);
    free(w->objects);
    free(w);
}
