/*
 * From graph to schedule: which nodes run as one unit, what each unit reads
 * and writes, and where in one arena every intermediate value lives.
 *
 *     conv [+ norm [+ add] [+ relu]]   with running statistics (folded)
 *     norm [+ add] [+ relu]            with batch statistics
 *     everything else                  one node, one unit
 *
 * Time runs through the units forward, then backward: unit u of n runs at
 * time u, its backward at 2n - 1 - u; weights are packed before all of them. A
 * buffer lives from the time that first writes it to the last that touches it;
 * buffers that never live together may share memory, scratch memory of the
 * units too. Pure function of its arguments. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_PLAN_H
#define VOCDIST_BACKEND_CPU_PLAN_H

#include "model/graph.h"

#include <stdbool.h>
#include <stddef.h>

/* A value, a gradient or scratch memory, float elements; -1 as an index means
 * none. */
struct plan_buffer {
    size_t n, offset;        /* in the arena */
    int first_use, last_use; /* first and last time */
    bool scratch;            /* of what runs at that one time */
    bool overwritten;        /* by a later use of the same buffer, in place */
};

#define PLAN_PACKING (-1) /* the time when weights are packed */

enum unit_kind {
    UNIT_CONV,
    UNIT_NORM,
    UNIT_RELU,
    UNIT_ADD,
    UNIT_POOL,
    UNIT_FLATTEN,
    UNIT_DROPOUT,
    UNIT_LINEAR,
    UNIT_LOSS,
};

struct plan_unit {
    enum unit_kind kind;
    int node;        /* whose parameters and shape these are */
    int folded_norm; /* conv: the norm folded into it; -1 */
    int in;          /* nodes it reads */
    int residual;    /* node added before the relu; -1 */
    bool relu;
    int out; /* the last node of the unit: whose value it writes */
    int aux; /* buffer kept for backward (dropout's factors); -1 */
    int scratch;

    /* Backward. */
    int backward_scratch;
    int recompute; /* conv: the unit whose value `in` is, which was not kept
                  but is cheaply computed again; -1 */
    int recompute_value; /* buffer for it */
    bool trainable;      /* has trainable parameters */
    int grad[2];         /* buffers with the gradient of `out`, to be added */
    int grad_in;         /* buffer to write; -1: not wanted */
    int grad_in_sum;     /* buffer to add grad_in to afterwards; -1 */
    int grad_residual, grad_residual_sum; /* grad[0] itself if fused */
};

/* What is known of a node's value. */
struct plan_value {
    bool blocked;       /* a map in channel blocks; else plain */
    size_t n;           /* elements, with padding channels */
    int buffer;         /* -1: the input, or fused away */
    int unit;           /* that writes it; -1 */
    bool replaced;      /* by a folded unit that adds to it in place */
    bool requires_grad; /* something trainable lies in front of it */
    int grads[2];       /* buffers whose sum is its gradient */
    int n_grads;
};

struct plan {
    const struct graph *graph; /* borrowed */
    int batch, block;
    bool training;
    struct plan_unit *units; /* owned */
    int n_units;
    struct plan_value *values;   /* owned, one per node */
    struct plan_buffer *buffers; /* owned */
    int n_buffers;
    size_t arena; /* elements */
};

/* Then the scratch memory is added, then plan_assign_offsets() gives out the
 * arena. */
void plan_init(struct plan *p, const struct graph *g, int batch, int block,
               bool training);
void plan_clear(struct plan *p);
/* Time of unit `i`'s backward. */
int plan_backward_time(const struct plan *p, int i);
/* A buffer for that one time; -1 where n is 0. */
int plan_add_scratch(struct plan *p, int time, size_t n);
void plan_assign_offsets(struct plan *p);

/* Running statistics are used: in evaluation, or because they are fixed. */
bool plan_norm_is_static(const struct plan *p, int node);

/* Norm: its backward leaves the gradient in front of relu and add in grad[0],
 * where the added node's gradient is taken from. */
bool plan_masks_in_place(const struct plan_unit *u);

/* False if something written after `buffer` (or over it) took its memory. */
bool plan_is_intact(const struct plan *p, int buffer);

#endif
