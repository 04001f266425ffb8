/*
 * What a prediction is worth: formulas per image, sums over a data set, a
 * table per class, and the per-image file. Sums are formed in data order in
 * double, so they do not depend on who computed what. Local.
 *
 *     l1 px     mean over the four edges of |predicted - true|, input pixels
 *     IoU       intersection over union of the two boxes
 *     LOC@0.5   right class and IoU >= 0.5, for the largest object (strict);
 *     any@0.5   the same for any object of the image
 */
#ifndef VOCDIST_EVAL_METRICS_H
#define VOCDIST_EVAL_METRICS_H

#include "backend/backend.h"
#include "base/text.h"
#include "data/shard.h"

#include <stdint.h>

/* Everything that is known of one evaluated image. */
struct eval_row {
    int64_t sample;
    struct result result;
    float iou;
    bool loc50, any50;
};

/* Means over images; NaN where there are none. */
struct eval_means {
    int64_t n;
    double l1, ce, loss; /* loss: as the training's, terms scaled */
    double accuracy, iou, loc50, any50;
};

struct eval_class { /* sums */
    int64_t n, n_correct, predicted, loc50;
    double iou, l1;
};

struct eval_summary {
    struct eval_means means;
    struct eval_class *classes; /* owned, [n_classes] */
    int n_classes;
};

/* Fills iou, loc50 and any50 of a row whose sample and result are set. A box
 * with NaN has IoU 0, a class whose score is NaN is never right. */
void eval_fill_metrics(const struct shard_set *data, struct eval_row *row);

/* Rows in data order. */
void eval_summarize(const struct shard_set *data, const struct graph_loss *loss,
                    const struct eval_row *rows, size_t n,
                    struct eval_summary *out);
void eval_summary_clear(struct eval_summary *s);

/* id,class,x1,y1,x2,y2,pred,score,px1,py1,px2,py2,iou,l1_px */
enum vd_err eval_write_rows(const char *path, const struct shard_set *data,
                            const struct eval_row *rows, size_t n) VD_MUST_USE;

/* The table people read: one line per class, worst LOC first, then the means.
 */
void eval_format(const struct shard_set *data, const struct eval_summary *s,
                 struct text *out);

#endif
