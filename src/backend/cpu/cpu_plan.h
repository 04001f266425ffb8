/*
 * From graph to schedule: fuses nodes into units, determines what each unit
 * reads and writes (liveness analysis), and assigns every intermediate value an
 * offset in one arena (memory planning).
 *
 *     conv [+ norm [+ add] [+ relu]]   norm with running statistics (folded)
 *     norm [+ add] [+ relu]            norm with batch statistics
 *     all other nodes                  one node, one unit
 *
 * Time counts the units forward, then backward: unit u of n runs at time u, its
 * backward at 2n - 1 - u. Weights are packed before time 0 (PLAN_PACKING). The
 * lifetime of a buffer extends from its first write to its last use. Buffers
 * whose lifetimes do not overlap may share memory; this includes the units'
 * scratchpads. cpu_plan.c has a worked example. Pure function of its
 * arguments. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_PLAN_H
#define VOCDIST_BACKEND_CPU_PLAN_H

#include "model/graph.h"

#include <stdbool.h>
#include <stddef.h>

/* Memory of a value, a gradient or a scratchpad, in float elements. Buffers are
 * referred to by index; -1: none. */
struct plan_buffer {
    size_t n, offset;        /* in the arena */
    int first_use, last_use; /* lifetime, in times */
    bool scratch;            /* scratchpad: its lifetime is one time */
    bool overwritten;        /* a later unit changes it in place */
};

#define PLAN_PACKING (-1) /* the time at which weights are packed */

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
    int node;        /* the node with the unit's parameters and shape */
    int folded_norm; /* conv: node of the norm folded into it; -1 */
    int in;          /* node that it reads */
    int residual;    /* node added before the relu; -1 */
    bool relu;
    int out;     /* last node of the unit, whose value it writes */
    int aux;     /* buffer kept for backward (dropout's factors); -1 */
    int scratch; /* buffer: scratchpad of forward; -1 */

    /* Backward. */
    int backward_scratch; /* buffer: scratchpad; -1 */
    int recompute;        /* conv: unit (a norm) that recomputes the value of
                             `in`, which is not kept; -1 */
    int recompute_value;  /* buffer for the recomputed value */
    bool trainable;       /* has trainable parameters */
    int grad[2];          /* buffers whose sum is the gradient of `out` */
    int grad_in;          /* buffer to write; -1: not required */
    int grad_in_sum;      /* buffer to which grad_in is added afterwards; -1 */
    int grad_residual, grad_residual_sum; /* grad_residual: grad[0] if fused */
};

/* The value of a node. */
struct plan_value {
    bool blocked;       /* a blocked map; else plain */
    size_t n;           /* elements, with padding channels */
    int buffer;         /* -1: the input, or fused into a later node's value */
    int unit;           /* the unit that writes it; -1 */
    bool replaced;      /* a folded unit overwrites it with its own result */
    bool requires_grad; /* backward computes its gradient */
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

/* Makes the schedule. Add the scratchpads next (plan_add_scratch()), then call
 * plan_assign_offsets(). `block`: dnn_block(). */
void plan_init(struct plan *p, const struct graph *g, int batch, int block,
               bool training);
void plan_clear(struct plan *p);
/* The time at which the backward of unit `i` runs. */
int plan_backward_time(const struct plan *p, int i);
/* Adds a scratchpad of n elements for that time; returns its buffer, -1 if n is
 * 0. */
int plan_add_scratch(struct plan *p, int time, size_t n);
/* Sets every buffer's offset and p->arena. */
void plan_assign_offsets(struct plan *p);

/* True if the norm uses running statistics: in evaluation, or a fixed norm. */
bool plan_norm_is_static(const struct plan *p, int node);

/* Norm: its backward writes the gradient before relu and add into grad[0],
 * which then is also the gradient of the residual. */
bool plan_norm_masks_in_place(const struct plan_unit *u);

/* False if a later buffer uses the same memory, or a unit changes `buffer` in
 * place: it no longer holds its value at the end of the pass. */
bool plan_is_intact(const struct plan *p, int buffer);

#endif
