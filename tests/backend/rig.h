/*
 * One net of one backend with weights, pictures and an exchange buffer: what
 * tests of backends run on. Failures end the test. Two rigs filled with the
 * same seed hold the same numbers.
 */
#ifndef VOCDIST_TESTS_BACKEND_RIG_H
#define VOCDIST_TESTS_BACKEND_RIG_H

#include "check.h"

#include "backend/backend.h"

#define RIG_MAX_RANGES 256

struct rig {
    struct backend backend;
    const struct graph *graph; /* borrowed */
    struct weights weights;
    struct buf exchange;
    struct net *net;
    int batch;
    struct slot *slots;     /* [batch]; change them before a step */
    uint8_t *pixels;        /* [batch, S, S, 3] */
    const uint8_t **places; /* [batch], into pixels */
    struct knobs knobs;
    struct range ranges[RIG_MAX_RANGES]; /* of the last backward */
    int n_ranges;
};

/* Adam's defaults. */
struct optim rig_adam(void);

void rig_open(struct rig *r, const char *backend, const struct graph *g,
              int batch, enum net_mode mode, const struct optim *optim);
void rig_close(struct rig *r);

/* Pictures, boxes and classes, and all weights (norms away from 1 and 0). */
void rig_fill(struct rig *r, uint64_t seed);
/* A slot's pixels as stored: no warp, no jitter. */
void rig_plain_slot(struct slot *slot);

void rig_stage(struct rig *r);
/* begin, forward, end on a staged batch; then also with backward. */
void rig_forward(struct rig *r);
void rig_backward(struct rig *r);
void rig_update(struct rig *r);
void rig_results(struct rig *r, struct result *out);

/* Canonical copies; free() them. */
float *rig_get(struct rig *r, const struct buf *buf);
/* NULL where the backend has fused the node away. */
float *rig_value(struct rig *r, int node);
float *rig_grad(struct rig *r, int node);

/* |a - b| / |b| (Euclidean); |a - b| where b is all zeros. */
double rig_distance(const float *a, const float *b, size_t n);

#endif
