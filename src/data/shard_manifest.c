/*
 * The manifest pack.json. Writing: the format, the shards and the digest of the
 * data set become one JSON object; the packer's report is added only if the
 * file stays below the size that the reader accepts. The file appears by an
 * atomic rename, after all shards.
 *
 * Reading: parse the JSON, check the type and range of every field, apply the
 * same format check as the writer, and compare the number of images and the
 * digest with the shards' entries. Unknown keys ("report", "source") are
 * ignored. File names may not leave the folder.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"
#include "data/shard_internal.h"
#include "store/atomic.h"
#include "store/json.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES 255

/* XXH3-64 over the class names with their NULs, width and height, and every
 * shard's digest. */
static uint64_t set_digest(const struct shard_format *f,
                           const struct shard_entry *entries, size_t n)
{
    struct hash h;
    int32_t size[2] = {f->width, f->height};
    hash_init(&h);
    for (int k = 0; k < f->n_classes; k++)
        hash_update(&h, f->classes[k], strlen(f->classes[k]) + 1);
    hash_update(&h, size, sizeof size);
    for (size_t k = 0; k < n; k++)
        hash_update(&h, &entries[k].digest, sizeof entries[k].digest);
    return hash_final(&h);
}

/* ---- writing ---- */

static void manifest_put_digest(struct json *object, uint64_t digest)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)digest);
    json_put_text(object, "digest", hex);
}

static struct json *shards_to_json(const struct shard_entry *entries, size_t n)
{
    struct json *list = json_new_list();
    for (size_t k = 0; k < n; k++) {
        struct json *o = json_new_object();
        json_put_text(o, "file", entries[k].file);
        json_put_int(o, "images", (int64_t)entries[k].n_images);
        manifest_put_digest(o, entries[k].digest);
        json_add(list, o);
    }
    return list;
}

static struct json *manifest_to_json(const struct shard_format *f,
                                     const struct shard_entry *entries,
                                     size_t n)
{
    struct json *root = json_new_object(), *classes = json_new_list();
    int64_t n_images = 0;
    for (int k = 0; k < f->n_classes; k++)
        json_add_text(classes, f->classes[k]);
    for (size_t k = 0; k < n; k++)
        n_images += (int64_t)entries[k].n_images;
    json_put_int(root, "format", SHARD_FORMAT);
    json_put_int(root, "width", f->width);
    json_put_int(root, "height", f->height);
    json_put(root, "classes", classes);
    json_put_text(root, "source", f->source ? f->source : "");
    json_put_int(root, "images", n_images);
    json_put(root, "shards", shards_to_json(entries, n));
    manifest_put_digest(root, set_digest(f, entries, n));
    return root;
}

static char *format_lines(const struct json *root)
{
    char *text = json_format(root, 2);
    char *lines = xasprintf("%s\n", text);
    free(text);
    return lines;
}

/* The manifest with the report, or without it if the reader would reject a file
 * of that size: losing the report is better than losing the data set. The
 * caller frees it. */
static char *with_report(struct json *root, const char *path,
                         struct json *report)
{
    char *bare = format_lines(root);
    json_put(root, "report", report);
    char *full = format_lines(root);
    bool fits = strlen(full) <= SHARD_MAX_MANIFEST_BYTES;
    if (!fits)
        log_warn("%s: the report of %zu bytes is omitted: a manifest of more "
                 "than %zu bytes cannot be read back",
                 path, strlen(full) - strlen(bare), SHARD_MAX_MANIFEST_BYTES);
    free(fits ? bare : full);
    return fits ? full : bare;
}

enum vd_err shard_write_manifest(const char *folder,
                                 const struct shard_format *format,
                                 const struct shard_entry *entries, size_t n,
                                 const char *report)
{
    enum vd_err err = VD_OK;
    struct json *root = NULL, *extra = NULL;
    char *path = xasprintf("%s/%s", folder, SHARD_MANIFEST), *lines = NULL;
    VD_TRY_GOTO(out, err, shard_check_format(path, format));
    root = manifest_to_json(format, entries, n);
    if (report)
        VD_TRY_GOTO(
            out, err,
            json_parse(&extra, "the packer's report", report, strlen(report)));
    lines = extra ? with_report(root, path, extra) : format_lines(root);
    err = atomic_write(path, lines, strlen(lines));
out:
    free(lines);
    json_free(root);
    free(path);
    return err;
}

/* ---- reading ---- */

static enum vd_err manifest_get_digest(const struct json *object,
                                       const char *where, uint64_t *out)
{
    const char *text = NULL;
    VD_TRY(json_get_text(object, where, "digest", &text));
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return VD_FAIL(
            VD_DATA, "%s: \"digest\": expected 16 hexadecimal digits (0-9 a-f)",
            where);
    *out = strtoull(text, NULL, 16);
    return VD_OK;
}

static enum vd_err manifest_get_entry(const struct json *object,
                                      const char *where,
                                      struct shard_entry *out)
{
    const char *file = NULL;
    int64_t n = 0;
    VD_TRY(json_check_object(object, where));
    VD_TRY(json_get_text(object, where, "file", &file));
    if (!*file || *file == '.' || strchr(file, '/') ||
        strlen(file) > MAX_FILE_BYTES)
        return VD_FAIL(
            VD_DATA,
            "%s: \"file\": expected the name of a file in the same folder",
            where);
    VD_TRY(json_get_int(object, where, "images", 1, SHARD_MAX_IMAGES, &n));
    VD_TRY(manifest_get_digest(object, where, &out->digest));
    out->n_images = (size_t)n;
    out->file = xstrdup(file);
    return VD_OK;
}

static enum vd_err manifest_get_shards(const struct json *root,
                                       const char *where,
                                       struct shard_manifest *m)
{
    const struct json *list = NULL;
    VD_TRY(json_get_list(root, where, "shards", SHARD_MAX_FILES, &list));
    size_t n = json_count(list);
    m->entries = xcalloc(n, sizeof *m->entries);
    for (size_t k = 0; k < n; k++) {
        char *location = xasprintf("%s: shard %zu", where, k);
        enum vd_err err =
            manifest_get_entry(json_at(list, k), location, &m->entries[k]);
        free(location);
        VD_TRY(err);
        m->n_entries++;
        m->n_images += m->entries[k].n_images;
    }
    return VD_OK;
}

static enum vd_err manifest_get_classes(const struct json *root,
                                        const char *where,
                                        struct shard_manifest *m)
{
    const struct json *list = NULL;
    char *location = xasprintf("%s: classes", where);
    enum vd_err err =
        json_get_list(root, where, "classes", SHARD_MAX_CLASSES, &list);
    VD_TRY_GOTO(out, err, err);
    size_t n = json_count(list);
    m->classes = xcalloc(n, sizeof *m->classes);
    for (size_t k = 0; k < n; k++) {
        const char *name = NULL;
        VD_TRY_GOTO(out, err, json_text_at(list, location, k, &name));
        m->classes[m->n_classes++] = xstrdup(name);
    }
out:
    free(location);
    return err;
}

static enum vd_err manifest_get_numbers(const struct json *root,
                                        const char *where,
                                        struct shard_manifest *m,
                                        int64_t *n_images)
{
    int64_t format = 0, width = 0, height = 0;
    VD_TRY(json_get_int(root, where, "format", 1, INT32_MAX, &format));
    if (format != SHARD_FORMAT)
        return VD_FAIL(VD_DATA,
                       "%s: format %lld; this program reads format %d\n"
                       "pack the data set again with this version's vocpack",
                       where, (long long)format, SHARD_FORMAT);
    VD_TRY(json_get_int(root, where, "width", 1, SHARD_MAX_SIDE, &width));
    VD_TRY(json_get_int(root, where, "height", 1, SHARD_MAX_SIDE, &height));
    VD_TRY(json_get_int(root, where, "images", 1,
                        (int64_t)SHARD_MAX_IMAGES * SHARD_MAX_FILES, n_images));
    m->width = (int)width;
    m->height = (int)height;
    return manifest_get_digest(root, where, &m->digest);
}

static enum vd_err manifest_from_json(const struct json *root,
                                      const char *where,
                                      struct shard_manifest *m)
{
    int64_t n_images = 0;
    VD_TRY(json_check_object(root, where));
    VD_TRY(manifest_get_numbers(root, where, m, &n_images));
    VD_TRY(manifest_get_classes(root, where, m));
    VD_TRY(manifest_get_shards(root, where, m));
    struct shard_format format = {m->width, m->height,
                                  (const char *const *)m->classes, m->n_classes,
                                  NULL};
    VD_TRY(shard_check_format(where, &format));
    if ((size_t)n_images != m->n_images)
        return VD_FAIL(VD_DATA,
                       "%s: \"images\" is %lld, but the shards have %zu\n"
                       "pack the data set again",
                       where, (long long)n_images, m->n_images);
    if (m->digest != set_digest(&format, m->entries, m->n_entries))
        return VD_FAIL(VD_DATA,
                       "%s: damaged or edited: digest differs\n" SHARD_REMEDY,
                       where);
    return VD_OK;
}

enum vd_err shard_manifest_parse(struct shard_manifest *m, const char *where,
                                 const char *bytes, size_t n)
{
    struct json *root = NULL;
    *m = (struct shard_manifest){0};
    VD_TRY(json_parse(&root, where, bytes, n));
    enum vd_err err = manifest_from_json(root, where, m);
    json_free(root);
    if (err != VD_OK)
        shard_manifest_clear(m);
    return err;
}

void shard_manifest_clear(struct shard_manifest *m)
{
    for (int k = 0; k < m->n_classes; k++)
        free(m->classes[k]);
    for (size_t k = 0; k < m->n_entries; k++)
        free(m->entries[k].file);
    free(m->classes);
    free(m->entries);
    *m = (struct shard_manifest){0};
}
