/*
 * Small data sets of drawn rectangles for tests: class and box can be learned
 * from the pixels, and the arguments determine every byte.
 */
#ifndef VOCDIST_TESTS_TINY_H
#define VOCDIST_TESTS_TINY_H

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "data/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TINY_CLASSES 3

/* Draws image i (size x size, RGB) and its only object. */
static inline void tiny_image(uint8_t *pixels, int size, uint64_t i,
                              struct shard_object *o)
{
    uint32_t w[4];
    rng_words(1, RNG_TEST, i, 0, w);
    int half = size / 2;
    int x1 = (int)(w[0] % (uint32_t)half), y1 = (int)(w[1] % (uint32_t)half);
    int x2 = x1 + size / 4 + (int)(w[2] % (uint32_t)(size / 4));
    int y2 = y1 + size / 4 + (int)(w[3] % (uint32_t)(size / 4));
    *o = (struct shard_object){{(float)x1, (float)y1, (float)x2, (float)y2},
                               (int32_t)(i % TINY_CLASSES),
                               0};
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++)
            for (int c = 0; c < 3; c++) {
                bool inside = x >= x1 && x < x2 && y >= y1 && y < y2;
                int value =
                    inside
                        ? (c == o->class ? 230 : 40)
                        : (int)((uint64_t)(x * 7 + y * 3) + i * 11) % 60 + 90;
                pixels[3 * (y * size + x) + c] = (uint8_t)value;
            }
}

/* Writes images first .. first + n - 1 as the data set `folder`, with a
 * different byte in the middle of image `changed` (-1: none); false on error.
 */
static inline bool tiny_write_shards(const char *folder, int size,
                                     uint64_t first, uint64_t n,
                                     int64_t changed)
{
    static const char *const classes[TINY_CLASSES] = {"red", "green", "blue"};
    struct shard_format format = {size, size, classes, TINY_CLASSES, "a test"};
    struct shard_entry entry = {.file = (char[]){"shard-00000.h5"}};
    struct shard_writer *w = NULL;
    uint8_t *pixels = xcalloc((size_t)size * (size_t)size, 3);
    char *path = xasprintf("%s/%s", folder, entry.file);
    bool ok = file_make_folder(folder) == VD_OK &&
              shard_writer_new(&w, path, &format) == VD_OK;
    for (uint64_t i = first; ok && i < first + n; i++) {
        struct shard_object o;
        char id[32];
        tiny_image(pixels, size, i, &o);
        if ((int64_t)i == changed)
            pixels[3 * (size / 2) * (size + 1)] ^= 64;
        snprintf(id, sizeof id, "tiny_%04d", (int)i);
        struct shard_sample s = {.pixels = pixels,
                                 .class = o.class,
                                 .size = {size, size},
                                 .id = id,
                                 .objects = &o,
                                 .n_objects = 1};
        memcpy(s.box, o.box, sizeof s.box);
        ok = shard_writer_add(w, &s) == VD_OK;
    }
    ok = ok && shard_writer_commit(w, &entry.n_images, &entry.digest) == VD_OK;
    shard_writer_free(w);
    ok = ok && shard_write_manifest(folder, &format, &entry, 1, NULL) == VD_OK;
    free(pixels);
    free(path);
    return ok;
}

#endif
