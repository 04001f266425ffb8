/*
 * A sheet of evaluated images: true box green, predicted one red (orange
 * where class and box are right), class names under each. A predicted box
 * without area is a dashed line between its corners. Local.
 */
#ifndef VOCDIST_EVAL_PICTURE_H
#define VOCDIST_EVAL_PICTURE_H

#include "eval/metrics.h"

/* Up to `most` of the rows, spread evenly over the data; PNG. */
enum vd_err eval_write_picture(const char *path, const struct shard_set *data,
                               const struct eval_row *rows, size_t n,
                               int most) VD_MUST_USE;

#endif
