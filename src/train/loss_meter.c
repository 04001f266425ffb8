#include "train/loss_meter.h"

#include "backend/reduction_tree.h"
#include "base/alloc.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void loss_meter_init(struct loss_meter *m, int capacity)
{
    int rank = m->comm->rank, size = m->comm->size;
    m->n_local = (reduction_first_replica(rank + 1, size, m->replicas) -
                  reduction_first_replica(rank, size, m->replicas)) *
                 m->micro_batch;
    m->capacity = capacity;
    m->steps = xcalloc((size_t)capacity, sizeof *m->steps);
    m->losses =
        xcalloc((size_t)capacity * (size_t)m->n_local, 2 * sizeof(float));
}

void loss_meter_clear(struct loss_meter *m)
{
    free(m->steps);
    free(m->losses);
    *m = (struct loss_meter){0};
}

bool loss_meter_add(struct loss_meter *m, const struct step_stats *step,
                    const struct result *results)
{
    float *to = m->losses + 2 * (size_t)m->n_local * (size_t)m->n_steps;
    for (int i = 0; i < m->n_local; i++) {
        to[2 * i] = results[i].l1;
        to[2 * i + 1] = results[i].ce;
    }
    m->steps[m->n_steps++] = *step;
    return m->n_steps == m->capacity;
}

static void add_losses(struct loss_meter *m, uint64_t position,
                       const float *pair, struct loss_sums *step)
{
    uint64_t epoch;
    uint64_t index = sampler_at(&m->sampler, position, &epoch);
    double l1 = (double)pair[0], ce = (double)pair[1];
    double total = graph_loss_of_image(m->loss, m->data->class[index], l1, ce);
    VD_ASSERT(epoch - m->epoch < 2);
    struct loss_sums *sums[] = {&m->sums[epoch - m->epoch], step};
    for (int i = 0; i < 2; i++) {
        sums[i]->n++;
        if (!isfinite(total))
            continue;
        sums[i]->n_finite++;
        sums[i]->l1 += l1;
        sums[i]->ce += ce;
        sums[i]->loss += total;
    }
}

/* JSON has no infinity and no NaN: null. */
static void add_number(struct text *row, const char *key, const char *format,
                       double value)
{
    char number[32] = "null";
    if (isfinite(value))
        snprintf(number, sizeof number, format, value);
    text_add(row, ", \"%s\": %s", key, number);
}

static enum vd_err write_step_row(struct loss_meter *m,
                                  const struct step_stats *s,
                                  const struct loss_sums *sum)
{
    double n = (double)sum->n_finite;
    struct text row = {0};
    text_add(&row, "{\"step\": %llu", (unsigned long long)s->step);
    add_number(&row, "loss", "%.7g", sum->loss / n);
    add_number(&row, "box", "%.7g", sum->l1 / n);
    add_number(&row, "class", "%.7g", sum->ce / n);
    add_number(&row, "lr", "%.6g", s->lr);
    add_number(&row, "grad_norm", "%.6g", s->grad_norm);
    if (s->loss_scale > 0)
        add_number(&row, "loss_scale", "%.9g", s->loss_scale);
    add_number(&row, "images_per_s", "%.2f", (double)sum->n / s->seconds);
    add_number(&row, "wait_share", "%.4f", s->waited_s / s->seconds);
    enum vd_err err = append_file_printf(m->steps_jsonl, "%s}\n", row.bytes);
    free(row.bytes);
    return err;
}

/* Adds buffered step i from the gathered rows; ranks are in position order. */
static enum vd_err accumulate_step(struct loss_meter *m, int i, const char *all,
                                   const size_t *sizes)
{
    struct loss_sums sum = {0};
    uint64_t position = (m->steps[i].step - 1) * (uint64_t)m->replicas *
                        (uint64_t)m->micro_batch;
    for (int rank = 0; rank < m->comm->size; rank++) {
        size_t bytes = sizes[rank] / (size_t)m->n_steps;
        const char *from = all + (size_t)i * bytes;
        for (size_t at = 0; at < bytes; at += 2 * sizeof(float)) {
            float pair[2];
            memcpy(pair, from + at, sizeof pair);
            add_losses(m, position++, pair, &sum);
        }
        all += sizes[rank];
    }
    /* All images of the step were added. */
    VD_ASSERT(sum.n == (int64_t)m->replicas * m->micro_batch);
    return write_step_row(m, &m->steps[i], &sum);
}

enum vd_err loss_meter_flush(struct loss_meter *m)
{
    if (m->n_steps == 0)
        return VD_OK;
    void *all = NULL;
    size_t *sizes = xcalloc((size_t)m->comm->size, sizeof *sizes);
    size_t bytes = 2 * sizeof(float) * (size_t)m->n_local * (size_t)m->n_steps;
    enum vd_err err =
        comm_gather(m->comm, SITE_STEP, m->losses, bytes, &all, sizes);
    if (m->comm->rank == 0)
        for (int i = 0; i < m->n_steps && err == VD_OK; i++)
            err = accumulate_step(m, i, all, sizes);
    m->n_steps = 0;
    alloc_aligned_free(all);
    free(sizes);
    return err;
}

struct loss_sums loss_meter_end_epoch(struct loss_meter *m)
{
    struct loss_sums sum = m->sums[0];
    VD_ASSERT(m->comm->rank != 0 || sum.n == (int64_t)m->data->n_images);
    m->sums[0] = m->sums[1];
    m->sums[1] = (struct loss_sums){0};
    m->epoch++;
    return sum;
}
