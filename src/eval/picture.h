/*
 * Draws a sheet of evaluated images, with class names below each image. The
 * true box is green; the predicted box is orange if class and box are correct
 * (LOC@0.5), else red. A predicted box without area is a dashed line between
 * its corners. Local.
 */
#ifndef VOCDIST_EVAL_PICTURE_H
#define VOCDIST_EVAL_PICTURE_H

#include "eval/metrics.h"

/* Writes a PNG of up to `most` of the n rows, evenly spaced in data order. */
enum vd_err eval_write_picture(const char *path, const struct shard_set *data,
                               const struct eval_row *rows, size_t n,
                               int most) VD_MUST_USE;

#endif
