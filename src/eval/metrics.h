/*
 * Metrics: formulas per image, means over a data set, sums per class, the
 * printed table and the per-image file. Sums are formed in double in data
 * order, so they do not depend on ranks and threads. Local.
 *
 *     L1 px     mean over the four edges of |predicted - true|, input pixels
 *     IoU       intersection over union of the predicted and the true box
 *     LOC@0.5   correct class and IoU >= 0.5 with the label, which is the
 *               largest object
 *     any@0.5   correct class and IoU >= 0.5 with any one object of the image
 */
#ifndef VOCDIST_EVAL_METRICS_H
#define VOCDIST_EVAL_METRICS_H

#include "backend/backend.h"
#include "base/text.h"
#include "data/shard.h"

#include <stdint.h>

/* Result and metrics of one image. */
struct eval_row {
    int64_t index; /* of the image in the data set; -1: padding */
    struct result result;
    float iou;
    bool loc50, any50;
};

/* Means over images; NaN if there are no images. */
struct eval_means {
    int64_t n;
    double l1, ce, loss; /* loss: the training loss, scaled and weighted */
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

/* Computes iou, loc50 and any50 from index and result. A box with NaN has IoU
 * 0; a class whose score is NaN is never correct. */
void eval_fill_metrics(const struct shard_set *data, struct eval_row *row);

/* Summarizes n rows in data order; release with eval_summary_clear(). */
void eval_summarize(const struct shard_set *data, const struct graph_loss *loss,
                    const struct eval_row *rows, size_t n,
                    struct eval_summary *out);
void eval_summary_clear(struct eval_summary *s);

/* Writes a CSV file with one row per image and boxes in input pixels:
 * id,class,x1,y1,x2,y2,pred,score,px1,py1,px2,py2,iou,l1_px */
enum vd_err eval_write_rows(const char *path, const struct shard_set *data,
                            const struct eval_row *rows, size_t n) VD_MUST_USE;

/* Appends the printed table: one line per class, lowest LOC first, then the
 * means. */
void eval_format(const struct shard_set *data, const struct eval_summary *s,
                 struct text *out);

#endif
