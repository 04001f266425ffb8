#include "eval/picture.h"

#include "base/mem.h"
#include "image/draw.h"

#include <stdlib.h>

#define CELL    224 /* pixels of one picture on the sheet */
#define COLUMNS 4

static const struct draw_color truth_color = {0.1, 0.8, 0.2};
static const struct draw_color wrong_color = {0.95, 0.15, 0.1};
static const struct draw_color right_color = {1.0, 0.65, 0.0};

static enum vd_err draw_row(struct image *im, char **caption,
                            const struct shard_set *data,
                            const struct eval_row *row)
{
    size_t i = (size_t)row->sample;
    const char *truth = data->classes[data->class[i]];
    const char *guess = data->classes[row->result.class];
    VD_TRY(image_new(im, data->width, data->height));
    VD_TRY(shard_set_read(data, i, im->rgb));
    VD_TRY(draw_box(im, &data->box[4 * i], truth_color, NULL));
    VD_TRY(draw_box(im, row->result.box, row->loc50 ? right_color : wrong_color,
                    NULL));
    *caption =
        data->class[i] == row->result.class ? mem_format("%s, IoU %.2f", truth,
                                                         (double)row->iou)
                                            : mem_format("%s, not %s, IoU %.2f",
                                                         truth, guess,
                                                         (double)row->iou);
    return VD_OK;
}

enum vd_err eval_write_picture(const char *path, const struct shard_set *data,
                               const struct eval_row *rows, size_t n, int most)
{
    enum vd_err err = VD_OK;
    int shown = n < (size_t)most ? (int)n : most;
    struct image *pictures = mem_new((size_t)shown, sizeof *pictures);
    char **captions = mem_new((size_t)shown, sizeof *captions);
    struct image sheet = {0};
    for (int k = 0; k < shown; k++)
        VD_TRY_ELSE(out, err,
                    draw_row(&pictures[k], &captions[k], data,
                             &rows[n * (size_t)k / (size_t)shown]));
    VD_TRY_ELSE(out, err,
                draw_sheet(&sheet, pictures, (const char *const *)captions,
                           shown, COLUMNS, CELL));
    err = image_write_png(&sheet, path);
out:
    for (int k = 0; k < shown; k++) {
        image_clear(&pictures[k]);
        free(captions[k]);
    }
    image_clear(&sheet);
    free(pictures);
    free(captions);
    return err;
}
