#include "eval/picture.h"

#include "base/alloc.h"
#include "data/box.h"
#include "image/draw.h"

#include <math.h>
#include <stdlib.h>

#define CELL    224 /* pixels, longer side of an image on the sheet */
#define COLUMNS 4

static const struct draw_color truth_color = {0.1, 0.8, 0.2};
static const struct draw_color wrong_color = {0.95, 0.15, 0.1};
static const struct draw_color right_color = {1.0, 0.65, 0.0};

/* Reads image i and scales it to its final size before boxes are drawn, so that
 * lines stay thin. One pixel of the image becomes `scale` pixels. */
static enum vd_err read_scaled(struct image *im, double *scale,
                               const struct shard_set *data, size_t i)
{
    struct image stored = {0};
    const int side = data->width > data->height ? data->width : data->height;
    enum vd_err err = VD_OK;
    *scale = (double)CELL / side;
    VD_TRY_GOTO(out, err, image_new(&stored, data->width, data->height));
    VD_TRY_GOTO(out, err, shard_set_read(data, i, stored.rgb));
    VD_TRY_GOTO(out, err,
                image_new(im, (int)fmax(1, round(data->width * *scale)),
                          (int)fmax(1, round(data->height * *scale))));
    err = image_resize(&stored, im->width, im->height, im->rgb);
out:
    image_clear(&stored);
    return err;
}

static enum vd_err draw_scaled(struct image *im, const float box[4],
                               double scale, struct draw_color color)
{
    float scaled[4];
    for (int k = 0; k < 4; k++)
        scaled[k] = (float)(box[k] * scale);
    return draw_box(im, scaled, color, NULL);
}

/* "cat, IoU 0.71" or "cat, not dog, IoU 0.71" (truth first). Owned. */
static char *new_caption(const struct shard_set *data,
                         const struct eval_row *row)
{
    const char *truth = data->classes[data->class[row->index]];
    const char *guess = data->classes[row->result.class];
    bool right = data->class[row->index] == row->result.class;
    char *name = right ? xstrdup(truth) : xasprintf("%s, not %s", truth, guess);
    char *caption = box_area(row->result.box) > 0
                        ? xasprintf("%s, IoU %.2f", name, (double)row->iou)
                        : xasprintf("%s, box without area", name);
    free(name);
    return caption;
}

static enum vd_err draw_row(struct image *im, char **caption,
                            const struct shard_set *data,
                            const struct eval_row *row)
{
    size_t i = (size_t)row->index;
    double scale;
    VD_TRY(read_scaled(im, &scale, data, i));
    VD_TRY(draw_scaled(im, &data->box[4 * i], scale, truth_color));
    VD_TRY(draw_scaled(im, row->result.box, scale,
                       row->loc50 ? right_color : wrong_color));
    *caption = new_caption(data, row);
    return VD_OK;
}

enum vd_err eval_write_picture(const char *path, const struct shard_set *data,
                               const struct eval_row *rows, size_t n, int most)
{
    enum vd_err err = VD_OK;
    int shown = n < (size_t)most ? (int)n : most;
    struct image *images = xcalloc((size_t)shown, sizeof *images);
    char **captions = xcalloc((size_t)shown, sizeof *captions);
    struct image sheet = {0};
    for (int k = 0; k < shown; k++)
        VD_TRY_GOTO(out, err,
                    draw_row(&images[k], &captions[k], data,
                             &rows[n * (size_t)k / (size_t)shown]));
    VD_TRY_GOTO(out, err,
                draw_sheet(&sheet, images, (const char *const *)captions, shown,
                           COLUMNS, CELL));
    err = image_write_png(&sheet, path);
out:
    for (int k = 0; k < shown; k++) {
        image_clear(&images[k]);
        free(captions[k]);
    }
    image_clear(&sheet);
    free(images);
    free(captions);
    return err;
}
