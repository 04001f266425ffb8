/*
 * Reads a data set. shard_set_open() reads and checks the manifest, then
 * opens the shards in its order: labels are read through HDF5 and appended to
 * the arrays of the set, every sample is checked, and the digest of the image
 * digests must equal the manifest's. The HDF5 file is then closed; the set
 * keeps a file descriptor and, for each image, its file offset and digest.
 *
 * shard_set_read() finds the shard by binary search over the first image index
 * of each file, calls pread() and checks the digest, which covers pixels and
 * labels. It takes no lock, so any number of threads may call it.
 *
 * Example: shards of 3 and 4 images have first = 0 and 3; image 5 is image 2 of
 * the second file.
 */
#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "data/shard_internal.h"
#include "store/h5.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PERMISSIONS "check the path and its permissions"

struct shard_file {
    char *path; /* owned */
    int fd;
    size_t first; /* index of its first image in the set */
};

struct shard_reader {
    struct shard_file *files; /* owned */
    size_t n_files;
    uint64_t *address, *digest; /* owned, [n_images] */
};

/* The shard whose labels are being read: images [first, first + n) and objects
 * [first_object, first_object + n_objects) of the set. */
struct shard_loading {
    struct shard_set *set;
    struct shard_reader *reader;
    const struct shard_format *format;
    const char *path;
    struct h5_file *h5;
    size_t first, n;
    size_t first_object, n_objects;
    struct text *ids; /* the ids of all shards so far, each with its NUL */
};

static enum vd_err check_attributes(const struct shard_loading *l)
{
    int64_t format = 0;
    char **classes = NULL;
    size_t n = (size_t)l->format->n_classes;
    VD_TRY(h5_get_int(l->h5, "format", &format));
    if (format != SHARD_FORMAT)
        return VD_FAIL(VD_DATA,
                       "%s: format %lld; this program reads format %d\n"
                       "pack the data set again with this version's vocpack",
                       l->path, (long long)format, SHARD_FORMAT);
    VD_TRY(h5_get_texts(l->h5, "classes", n, SHARD_MAX_CLASS_BYTES, &classes));
    size_t same = 0;
    while (same < n && !strcmp(classes[same], l->format->classes[same]))
        same++;
    h5_free_texts(classes, n);
    if (same < n)
        return VD_FAIL(VD_DATA,
                       "%s: class %zu has a different name than in %s\n"
                       "all shards of a folder must come from the same run of "
                       "vocpack",
                       l->path, same, SHARD_MANIFEST);
    return VD_OK;
}

static void grow_set_arrays(const struct shard_loading *l)
{
    struct shard_set *s = l->set;
    size_t n = l->first + l->n;
    s->class = xreallocarray(s->class, n, sizeof *s->class);
    s->box = xreallocarray(s->box, n, 4 * sizeof *s->box);
    s->size = xreallocarray(s->size, n, 2 * sizeof *s->size);
    s->id = xreallocarray(s->id, n, sizeof *s->id);
    s->object_start =
        xreallocarray(s->object_start, n + 1, sizeof *s->object_start);
    l->reader->address =
        xreallocarray(l->reader->address, n, sizeof *l->reader->address);
    l->reader->digest =
        xreallocarray(l->reader->digest, n, sizeof *l->reader->digest);
}

static enum vd_err read_arrays(const struct shard_loading *l)
{
    struct shard_set *s = l->set;
    const uint64_t n = l->n;
    struct h5_shape images = {
        H5_TYPE_UINT8, 0, 4, {n, (uint64_t)s->height, (uint64_t)s->width, 3}};
    struct h5_shape class = {H5_TYPE_INT32, 0, 1, {n}};
    struct h5_shape box = {H5_TYPE_FLOAT32, 0, 2, {n, 4}};
    struct h5_shape size = {H5_TYPE_INT32, 0, 2, {n, 2}};
    struct h5_shape digest = {H5_TYPE_UINT64, 0, 1, {n}};
    VD_TRY(h5_rows_addresses(l->h5, "images", &images,
                             l->reader->address + l->first));
    VD_TRY(h5_read(l->h5, "class", &class, s->class + l->first));
    VD_TRY(h5_read(l->h5, "box", &box, s->box + 4 * l->first));
    VD_TRY(h5_read(l->h5, "size", &size, s->size + 2 * l->first));
    return h5_read(l->h5, "digest", &digest, l->reader->digest + l->first);
}

static enum vd_err read_ids(const struct shard_loading *l)
{
    struct h5_shape shape;
    VD_TRY(h5_shape(l->h5, "id", &shape));
    if (shape.type != H5_TYPE_TEXT || shape.text_bytes > SHARD_MAX_ID + 1 ||
        shape.rank != 1 || shape.dims[0] != l->n)
        return VD_FAIL(
            VD_DATA,
            "%s: id: expected %zu strings of at most %d bytes\n" SHARD_REMEDY,
            l->path, l->n, SHARD_MAX_ID);
    size_t bytes = shape.text_bytes;
    char *block = xcalloc(l->n, bytes);
    enum vd_err err = h5_read(l->h5, "id", &shape, block);
    for (size_t k = 0; err == VD_OK && k < l->n; k++) {
        text_add_bytes(l->ids, block + k * bytes,
                       strnlen(block + k * bytes, bytes));
        text_add_bytes(l->ids, "", 1);
    }
    free(block);
    return err;
}

static enum vd_err read_object_starts(struct shard_loading *l)
{
    struct h5_shape shape = {H5_TYPE_INT64, 0, 1, {l->n + 1}};
    int64_t *start = l->set->object_start + l->first;
    VD_TRY(h5_read(l->h5, "object_start", &shape, start));
    bool rising = start[0] == 0 && (uint64_t)start[l->n] == l->n_objects;
    for (size_t k = 0; rising && k < l->n; k++)
        rising = start[k + 1] >= start[k] &&
                 start[k + 1] - start[k] <= SHARD_MAX_OBJECTS;
    if (!rising)
        return VD_FAIL(VD_DATA,
                       "%s: object_start does not match objects\n" SHARD_REMEDY,
                       l->path);
    for (size_t k = 0; k <= l->n; k++)
        start[k] += (int64_t)l->first_object;
    return VD_OK;
}

/* Converts an integer in 0..SHARD_MAX_CLASSES; all other values and NaN become
 * -1, which shard_check_sample() rejects. */
static int32_t to_small_int(float value)
{
    bool ok =
        value >= 0 && value <= SHARD_MAX_CLASSES && value == floorf(value);
    return ok ? (int32_t)value : -1;
}

static enum vd_err read_shard_objects(struct shard_loading *l)
{
    struct h5_shape shape;
    struct shard_set *s = l->set;
    VD_TRY(h5_shape(l->h5, "objects", &shape));
    if (shape.type != H5_TYPE_FLOAT32 || shape.rank != 2 || shape.dims[1] != 6)
        return VD_FAIL(VD_DATA,
                       "%s: objects: expected float32 [M, 6]\n" SHARD_REMEDY,
                       l->path);
    size_t m = l->n_objects = shape.dims[0];
    s->objects =
        xreallocarray(s->objects, l->first_object + m, sizeof *s->objects);
    VD_TRY(read_object_starts(l));

    float *block = xcalloc(m, 6 * sizeof *block);
    enum vd_err err = h5_read(l->h5, "objects", &shape, block);
    for (size_t k = 0; err == VD_OK && k < m; k++) {
        struct shard_object *o = &s->objects[l->first_object + k];
        memcpy(o->box, block + 6 * k, sizeof o->box);
        o->class = to_small_int(block[6 * k + 4]);
        o->difficult = to_small_int(block[6 * k + 5]);
    }
    free(block);
    return err;
}

static struct shard_sample sample_at(const struct shard_set *s, size_t i)
{
    const int64_t *start = s->object_start + i;
    return (struct shard_sample){
        .class = s->class[i],
        .box = {s->box[4 * i], s->box[4 * i + 1], s->box[4 * i + 2],
                s->box[4 * i + 3]},
        .size = {s->size[2 * i], s->size[2 * i + 1]},
        .id = s->id[i],
        .objects = s->objects + start[0],
        .n_objects = (int)(start[1] - start[0]),
    };
}

static enum vd_err check_samples(const struct shard_loading *l,
                                 size_t first_text)
{
    char *id = l->ids->bytes + first_text;
    for (size_t k = 0; k < l->n; k++) {
        /* valid only until `ids` grows; take_ownership() sets it again */
        l->set->id[l->first + k] = id;
        id += strlen(id) + 1;
        struct shard_sample sample = sample_at(l->set, l->first + k);
        VD_TRY(shard_check_sample(l->path, l->format, &sample));
    }
    return VD_OK;
}

static enum vd_err load_labels(struct shard_loading *l, uint64_t digest)
{
    size_t first_text = l->ids->length;
    VD_TRY(check_attributes(l));
    VD_TRY(read_arrays(l));
    VD_TRY(read_ids(l));
    VD_TRY(read_shard_objects(l));
    VD_TRY(check_samples(l, first_text));
    if (shard_file_digest(l->reader->digest + l->first, l->n) != digest)
        return VD_FAIL(
            VD_DATA,
            "%s: not the file that %s describes: digest differs\n" SHARD_REMEDY,
            l->path, SHARD_MANIFEST);
    return VD_OK;
}

static enum vd_err open_shard(struct shard_loading *l, const char *folder,
                              const struct shard_entry *entry)
{
    struct shard_file *file = &l->reader->files[l->reader->n_files++];
    file->path = xasprintf("%s/%s", folder, entry->file);
    file->first = l->first;
    file->fd = -1;
    if (!file_exists(file->path))
        return VD_FAIL(VD_NOINPUT, "%s: %s\n" SHARD_REMEDY, file->path,
                       strerror(errno));
    VD_TRY(file_open_input(file->path, &file->fd, NULL));
    l->path = file->path;
    l->n = entry->n_images;
    grow_set_arrays(l);
    VD_TRY(h5_open(&l->h5, file->path));
    enum vd_err err = load_labels(l, entry->digest);
    enum vd_err closed = h5_close(l->h5);
    l->first += l->n;
    l->first_object += l->n_objects;
    return err != VD_OK ? err : closed;
}

static enum vd_err open_all(struct shard_set *set, const char *folder,
                            struct shard_manifest *m, struct text *ids)
{
    struct shard_format format = {m->width, m->height,
                                  (const char *const *)m->classes, m->n_classes,
                                  NULL};
    struct shard_reader *reader = xcalloc(1, sizeof *reader);
    struct shard_loading l = {
        .set = set, .reader = reader, .format = &format, .ids = ids};
    set->impl = reader;
    set->width = m->width;
    set->height = m->height;
    set->digest = m->digest;
    reader->files = xcalloc(m->n_entries, sizeof *reader->files);
    for (size_t k = 0; k < m->n_entries; k++)
        VD_TRY(open_shard(&l, folder, &m->entries[k]));
    set->n_images = m->n_images;
    return VD_OK;
}

/* Moves the ids and the class names into the set. */
static void take_ownership(struct shard_set *set, struct shard_manifest *m,
                           struct text *ids)
{
    char *id = ids->bytes;
    for (size_t k = 0; k < set->n_images; k++) {
        set->id[k] = id;
        id += strlen(id) + 1;
    }
    ids->bytes = NULL;
    set->classes = m->classes;
    set->n_classes = m->n_classes;
    m->classes = NULL;
    m->n_classes = 0;
}

/* The command that makes this data set; the caller frees it. For folders named
 * train or val the command makes both splits: without --split, both data sets
 * would contain the same images. */
static char *packing_remedy(const char *folder)
{
    const char *name = file_basename(folder);
    char *parent = file_dirname(folder), *text = NULL;
    if (!strcmp(name, "train") || !strcmp(name, "val"))
        text = xasprintf("make the shards of both sets with: vocpack pack "
                         "VOCROOT --split train,val -o %s",
                         parent);
    else
        text = xasprintf("make the shards with: vocpack pack VOCROOT --split "
                         "NAME -o %s",
                         folder);
    free(parent);
    return text;
}

static enum vd_err fail_missing(const char *folder, bool has_folder)
{
    char *how = packing_remedy(folder);
    enum vd_err err =
        has_folder
            ? VD_FAIL(VD_NOINPUT,
                      "%s: no %s: the folder has no shards, or packing did not "
                      "finish\n%s",
                      folder, SHARD_MANIFEST, how)
            : VD_FAIL(VD_NOINPUT,
                      "%s: no such folder\n%s; for a VOCROOT with demo data: "
                      "vocpack demo VOCROOT",
                      folder, how);
    free(how);
    return err;
}

/* Distinguishes a missing folder from one that cannot be accessed. */
static enum vd_err check_folder(const char *folder, const char *path)
{
    struct stat info;
    bool exists = stat(folder, &info) == 0;
    if (!exists && errno != ENOENT)
        return VD_FAIL(VD_NOINPUT, "%s: %s\n" PERMISSIONS, folder,
                       strerror(errno));
    if (!exists)
        return fail_missing(folder, false);
    if (!S_ISDIR(info.st_mode))
        return VD_FAIL(VD_NOINPUT,
                       "%s: a file, not a folder of shards\n"
                       "give the folder that vocpack wrote; it contains %s",
                       folder, SHARD_MANIFEST);
    if (access(path, F_OK) < 0 && errno != ENOENT)
        return VD_FAIL(VD_NOINPUT, "%s: %s\n" PERMISSIONS, path,
                       strerror(errno));
    return file_exists(path) ? VD_OK : fail_missing(folder, true);
}

static enum vd_err read_manifest(struct shard_manifest *m, const char *folder,
                                 const char *path)
{
    char *bytes = NULL;
    size_t n = 0;
    VD_TRY(check_folder(folder, path));
    VD_TRY(file_read(path, SHARD_MAX_MANIFEST_BYTES, &bytes, &n));
    enum vd_err err = shard_manifest_parse(m, path, bytes, n);
    free(bytes);
    return err;
}

enum vd_err shard_set_open(struct shard_set *set, const char *folder)
{
    struct shard_manifest m = {0};
    struct text ids = {0};
    *set = (struct shard_set){0};
    char *path = xasprintf("%s/%s", folder, SHARD_MANIFEST);
    enum vd_err err = read_manifest(&m, folder, path);
    if (err == VD_OK)
        err = open_all(set, folder, &m, &ids);
    if (err == VD_OK)
        take_ownership(set, &m, &ids);
    else
        shard_set_close(set);
    free(ids.bytes);
    shard_manifest_clear(&m);
    free(path);
    return err;
}

/* Binary search: the last file whose first image is not after image i. */
static const struct shard_file *find_shard_file(const struct shard_reader *r,
                                                size_t i)
{
    size_t low = 0, high = r->n_files;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (r->files[middle].first <= i)
            low = middle;
        else
            high = middle;
    }
    return &r->files[low];
}

static enum vd_err pread_all(const struct shard_file *file, uint64_t at,
                             uint8_t *to, size_t n)
{
    while (n > 0) {
        ssize_t got = pread(file->fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return VD_FAIL(VD_DATA, "%s: read: %s", file->path,
                           strerror(errno));
        if (got == 0)
            return VD_FAIL(VD_DATA,
                           "%s: shrank since it was opened\n" SHARD_REMEDY,
                           file->path);
        to += got;
        at += (size_t)got;
        n -= (size_t)got;
    }
    return VD_OK;
}

enum vd_err shard_set_read(const struct shard_set *set, size_t i,
                           uint8_t *pixels)
{
    const struct shard_reader *r = set->impl;
    VD_ASSERT(i < set->n_images);
    const struct shard_file *file = find_shard_file(r, i);
    size_t bytes = (size_t)set->width * (size_t)set->height * 3;
    VD_TRY(pread_all(file, r->address[i], pixels, bytes));
    struct shard_sample sample = sample_at(set, i);
    sample.pixels = pixels;
    if (shard_digest(&sample, bytes) != r->digest[i])
        return VD_FAIL(
            VD_DATA,
            "%s: image %zu, id %s: damaged: digest differs\n" SHARD_REMEDY,
            file->path, i - file->first, sample.id);
    return VD_OK;
}

static void reader_free(struct shard_reader *r)
{
    for (size_t k = 0; r && k < r->n_files; k++) {
        if (r->files[k].fd >= 0)
            close(r->files[k].fd);
        free(r->files[k].path);
    }
    if (r) {
        free(r->files);
        free(r->address);
        free(r->digest);
    }
    free(r);
}

void shard_set_close(struct shard_set *set)
{
    reader_free(set->impl);
    if (set->id && set->n_images)
        free(set->id[0]);
    for (int k = 0; k < set->n_classes; k++)
        free(set->classes[k]);
    free(set->classes);
    free(set->id);
    free(set->class);
    free(set->box);
    free(set->size);
    free(set->objects);
    free(set->object_start);
    *set = (struct shard_set){0};
}

bool shard_set_has_classes(const struct shard_set *set, char *const *classes,
                           int n)
{
    bool same = set->n_classes == n;
    for (int k = 0; same && k < n; k++)
        same = !strcmp(set->classes[k], classes[k]);
    return same;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

size_t shard_set_count_shared(const struct shard_set *a,
                              const struct shard_set *b, size_t *example)
{
    const struct shard_reader *ra = a->impl, *rb = b->impl;
    size_t n_shared = 0;
    uint64_t *sorted = xcalloc(a->n_images, sizeof *sorted);
    memcpy(sorted, ra->digest, a->n_images * sizeof *sorted);
    qsort(sorted, a->n_images, sizeof *sorted, compare_u64);
    for (size_t i = 0; i < b->n_images; i++)
        if (bsearch(&rb->digest[i], sorted, a->n_images, sizeof *sorted,
                    compare_u64) &&
            n_shared++ == 0)
            *example = i;
    free(sorted);
    return n_shared;
}
