/*
 * Metrics: per image, per class and as means.
 *
 * eval_fill_metrics() is independent per image and runs on any rank.
 * eval_summarize() is one pass in data order on one rank; each image adds to
 * its true class, and to `predicted` of its predicted class, so that recall is
 * n_correct / n and precision is n_correct / predicted.
 */
#include "eval/metrics.h"

#include "base/alloc.h"
#include "data/box.h"
#include "store/atomic.h"

#include <math.h>
#include <stdlib.h>

/* The score is the largest softmax value. If it is NaN, no class is predicted.
 */
static bool predicts_class(const struct result *r, int32_t class)
{
    return r->class == class && r->score > 0;
}

void eval_fill_metrics(const struct shard_set *data, struct eval_row *row)
{
    const float *truth = &data->box[4 * row->index];
    row->iou = (float)box_iou(truth, row->result.box);
    row->loc50 = predicts_class(&row->result, data->class[row->index]) &&
                 row->iou >= 0.5f;
    row->any50 = row->loc50;
    for (int64_t k = data->object_start[row->index];
         k < data->object_start[row->index + 1]; k++) {
        const struct shard_object *o = &data->objects[k];
        if (predicts_class(&row->result, o->class) &&
            box_iou(o->box, row->result.box) >= 0.5)
            row->any50 = true;
    }
}

void eval_summarize(const struct shard_set *data, const struct graph_loss *loss,
                    const struct eval_row *rows, size_t n,
                    struct eval_summary *out)
{
    struct eval_means m = {.n = (int64_t)n};
    struct eval_class *classes =
        xcalloc((size_t)data->n_classes, sizeof *classes);
    for (size_t i = 0; i < n; i++) {
        const struct eval_row *row = &rows[i];
        int32_t truth = data->class[row->index];
        struct eval_class *c = &classes[truth];
        bool right = predicts_class(&row->result, truth);
        double l1 = row->result.l1, ce = row->result.ce;
        m.l1 += l1;
        m.ce += ce;
        m.loss += graph_loss_of_image(loss, truth, l1, ce);
        m.accuracy += right;
        m.iou += row->iou;
        m.loc50 += row->loc50;
        m.any50 += row->any50;
        c->n++;
        c->n_correct += right;
        c->loc50 += row->loc50;
        c->iou += row->iou;
        c->l1 += l1;
        classes[row->result.class].predicted++;
    }
    double count = (double)n;
    m.l1 /= count;
    m.ce /= count;
    m.loss /= count;
    m.accuracy /= count;
    m.iou /= count;
    m.loc50 /= count;
    m.any50 /= count;
    *out = (struct eval_summary){
        .means = m, .classes = classes, .n_classes = data->n_classes};
}

void eval_summary_clear(struct eval_summary *s)
{
    free(s->classes);
    *s = (struct eval_summary){0};
}

enum vd_err eval_write_rows(const char *path, const struct shard_set *data,
                            const struct eval_row *rows, size_t n)
{
    struct atomic_file f = {0};
    VD_TRY(atomic_open(&f, path));
    fputs("id,class,x1,y1,x2,y2,pred,score,px1,py1,px2,py2,iou,l1_px\n",
          f.stream);
    for (size_t i = 0; i < n; i++) {
        const struct eval_row *row = &rows[i];
        const float *t = &data->box[4 * row->index], *p = row->result.box;
        struct text line = {0};
        text_add_csv(&line, data->id[row->index]);
        text_add(&line, ",");
        text_add_csv(&line, data->classes[data->class[row->index]]);
        text_add(&line, ",%.2f,%.2f,%.2f,%.2f,", (double)t[0], (double)t[1],
                 (double)t[2], (double)t[3]);
        text_add_csv(&line, data->classes[row->result.class]);
        text_add(&line, ",%.6f,%.3f,%.3f,%.3f,%.3f,%.6f,%.4f\n",
                 (double)row->result.score, (double)p[0], (double)p[1],
                 (double)p[2], (double)p[3], (double)row->iou,
                 (double)row->result.l1);
        fputs(line.bytes, f.stream);
        free(line.bytes);
    }
    return atomic_commit(&f);
}

/* Sort key of the table: lowest LOC first, classes without images last. */
struct ranked {
    int class;
    double loc50;
};

static int worst_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->loc50 != y->loc50)
        return x->loc50 < y->loc50 ? -1 : 1;
    return x->class - y->class;
}

static double percentage(int64_t part, int64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void format_class(const char *name, const struct eval_class *c,
                         struct text *out)
{
    double n = c->n ? (double)c->n : 1;
    text_add(out, "%-16s %7lld %8.1f %10.1f %8.3f %8.1f %8.1f\n", name,
             (long long)c->n, percentage(c->n_correct, c->n),
             percentage(c->n_correct, c->predicted), c->iou / n,
             percentage(c->loc50, c->n), c->l1 / n);
}

void eval_format(const struct shard_set *data, const struct eval_summary *s,
                 struct text *out)
{
    struct ranked *order = xcalloc((size_t)s->n_classes, sizeof *order);
    for (int k = 0; k < s->n_classes; k++)
        order[k] =
            (struct ranked){k, s->classes[k].n ? percentage(s->classes[k].loc50,
                                                            s->classes[k].n)
                                               : 101};
    qsort(order, (size_t)s->n_classes, sizeof *order, worst_first);

    text_add(out, "%-16s %7s %8s %10s %8s %8s %8s\n", "class", "images",
             "recall %", "precision %", "IoU", "LOC50 %", "L1 px");
    for (int k = 0; k < s->n_classes; k++)
        format_class(data->classes[order[k].class], &s->classes[order[k].class],
                     out);
    free(order);
    const struct eval_means *m = &s->means;
    text_add(out,
             "\nimages        %lld\naccuracy      %.2f %%\nL1            %.2f "
             "px\nmean IoU      %.4f\nLOC@0.5       %.2f %%\nany@0.5       "
             "%.2f %%\nloss          %.4f\n",
             (long long)m->n, 100 * m->accuracy, m->l1, m->iou, 100 * m->loc50,
             100 * m->any50, m->loss);
}
