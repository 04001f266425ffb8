#include "bench/synthetic_images.h"

#include "base/alloc.h"
#include "data/shard.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE    224
#define CLASSES 20

static enum vd_err add_image(struct shard_writer *w, size_t i, uint8_t *pixels)
{
    char id[32];
    struct shard_object o = {{40, 30, 180, 200}, (int32_t)(i % CLASSES), 0};
    struct shard_sample s = {.pixels = pixels,
                             .class = o.class,
                             .size = {SIZE, SIZE},
                             .id = id,
                             .objects = &o,
                             .n_objects = 1};
    memcpy(s.box, o.box, sizeof s.box);
    snprintf(id, sizeof id, "image_%zu", i);
    for (size_t k = 0; k < (size_t)SIZE * SIZE * 3; k++)
        pixels[k] = (uint8_t)(((uint32_t)(k + i) * 2654435761U) >> 24);
    return shard_writer_add(w, &s);
}

static enum vd_err write_shard(const char *folder, size_t n,
                               const struct shard_format *format)
{
    enum vd_err err;
    struct shard_writer *w = NULL;
    struct shard_entry entry = {.file = xstrdup("shard-00000.h5")};
    char *path = xasprintf("%s/%s", folder, entry.file);
    uint8_t *pixels = xcalloc((size_t)SIZE * SIZE, 3);
    VD_TRY_GOTO(out, err, shard_writer_new(&w, path, format));
    for (size_t i = 0; i < n; i++)
        VD_TRY_GOTO(out, err, add_image(w, i, pixels));
    VD_TRY_GOTO(out, err,
                shard_writer_commit(w, &entry.n_images, &entry.digest));
    err = shard_write_manifest(folder, format, &entry, 1, NULL);
out:
    shard_writer_free(w);
    free(pixels);
    free(path);
    free(entry.file);
    return err;
}

static enum vd_err write_all(const char *folder, size_t n)
{
    char names[CLASSES][16];
    const char *classes[CLASSES];
    for (int k = 0; k < CLASSES; k++) {
        snprintf(names[k], sizeof names[k], "class %d", k + 1);
        classes[k] = names[k];
    }
    struct shard_format format = {SIZE, SIZE, classes, CLASSES, "synthetic"};
    return write_shard(folder, n, &format);
}

static enum vd_err create_images(struct synthetic_images *p, const char *dir,
                                 size_t n)
{
    VD_TRY(scratch_dir_open(&p->scratch, dir, "images"));
    return write_all(p->scratch.folder, n);
}

enum vd_err synthetic_images_open(struct synthetic_images *p, struct comm *comm,
                                  const char *dir, size_t n)
{
    char path[PATH_MAX] = "";
    enum vd_err err = comm->rank == 0 ? create_images(p, dir, n) : VD_OK;
    VD_TRY(comm_agree(comm, SITE_DATA, err));
    if (comm->rank == 0)
        snprintf(path, sizeof path, "%s", p->scratch.folder);
    VD_TRY(comm_bcast(comm, SITE_DATA, path, sizeof path, 0));
    p->folder = xstrdup(path);
    return VD_OK;
}

void synthetic_images_close(struct synthetic_images *p)
{
    scratch_dir_close(&p->scratch);
    free(p->folder);
    *p = (struct synthetic_images){0};
}
