/*
 * A data set for tests, the same for the same arguments:
 *
 *     make_shards DIR IMAGES SIZE SEED [CHANGED]
 *
 * Every picture has one rectangle, whose color is its class (of 3), on noise.
 * CHANGED: one byte in the middle of that picture is another.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/shard.h"

#include <stdlib.h>
#include <string.h>

static const char *const classes[] = {"blue", "green", "red"};

struct picture {
    uint64_t seed;
    uint64_t number;
    int size;
};

static int draw(const struct picture *p, uint32_t element, int n)
{
    return (int)(n * rng_uniform(p->seed, RNG_TEST, p->number, element));
}

static void fill(const struct picture *p, uint8_t *pixels,
                 struct shard_object *object)
{
    int s = p->size, half = s / 2;
    int x = draw(p, 0, half), y = draw(p, 1, half);
    int w = s / 4 + draw(p, 2, s / 4), h = s / 4 + draw(p, 3, s / 4);
    object->class = draw(p, 4, 3);
    object->difficult = 0;
    const float box[4] = {(float)x, (float)y, (float)(x + w), (float)(y + h)};
    memcpy(object->box, box, sizeof box);
    for (int i = 0; i < s * s * 3; i++) {
        int column = i / 3 % s, row = i / 3 / s;
        bool inside = column >= x && column < x + w && row >= y && row < y + h;
        int noise = draw(p, 5 + (uint32_t)i, 80);
        pixels[i] =
            (uint8_t)(inside && i % 3 == object->class ? 255 - noise : noise);
    }
}

static enum vd_err add(struct shard_writer *w, const struct picture *p,
                       bool changed)
{
    struct shard_object object;
    uint8_t *pixels = mem_new((size_t)(p->size * p->size), 3);
    char *id = mem_format("picture_%d", (int)p->number);
    fill(p, pixels, &object);
    if (changed)
        pixels[3 * (p->size / 2) * (p->size + 1)] ^= 64;
    struct shard_sample sample = {.pixels = pixels,
                                  .class = object.class,
                                  .size = {p->size, p->size},
                                  .id = id,
                                  .objects = &object,
                                  .n_objects = 1};
    memcpy(sample.box, object.box, sizeof sample.box);
    enum vd_err err = shard_writer_add(w, &sample);
    free(id);
    free(pixels);
    return err;
}

static enum vd_err make(const char *folder, int n, struct picture *p,
                        int changed)
{
    struct shard_format format = {.width = p->size,
                                  .height = p->size,
                                  .classes = classes,
                                  .n_classes = 3,
                                  .source = "a test"};
    struct shard_writer *w = NULL;
    char *path = mem_format("%s/shard-00000.h5", folder);
    struct shard_entry entry = {.file = path + strlen(folder) + 1};
    enum vd_err err;
    VD_TRY_ELSE(out, err, file_make_folder(folder));
    VD_TRY_ELSE(out, err, shard_writer_new(&w, path, &format));
    for (int i = 0; i < n; i++) {
        p->number = (uint64_t)i;
        VD_TRY_ELSE(out, err, add(w, p, i == changed));
    }
    VD_TRY_ELSE(out, err,
                shard_writer_commit(w, &entry.n_images, &entry.digest));
    err = shard_write_manifest(folder, &format, &entry, 1, NULL);
out:
    shard_writer_free(w);
    free(path);
    return err;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return err_exit_code(VD_USAGE);
    struct picture p = {.seed = (uint64_t)atoi(argv[4]), .size = atoi(argv[3])};
    return err_exit_code(
        make(argv[1], atoi(argv[2]), &p, argc > 5 ? atoi(argv[5]) : -1));
}
