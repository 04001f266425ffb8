/*
 * Fixture of the backend tests: one net of one backend with weights, images and
 * an exchange buffer. A failing call fails the test. Two fixtures filled with
 * the same seed hold the same numbers.
 */
#ifndef VOCDIST_TESTS_BACKEND_NET_FIXTURE_H
#define VOCDIST_TESTS_BACKEND_NET_FIXTURE_H

#include "check.h"

#include "backend/backend.h"

#define FIXTURE_MAX_RANGES 256
#define FIXTURE_MAX_UNREAD 4 /* forwards, and updates, with unread results */

struct net_fixture {
    struct backend backend;
    const struct graph *graph; /* borrowed */
    struct weights weights;
    struct buf exchange;
    struct net *net;
    int batch;
    struct batch_item *items; /* [batch]; tests may change them before a step */
    uint8_t *pixels;          /* [batch, S, S, 3] */
    const uint8_t **images;   /* [batch], into pixels */
    struct step_scalars scalars;
    struct range ranges[FIXTURE_MAX_RANGES]; /* of the last backward */
    int n_ranges;
};

/* Names of all backends that were built, then of those in plugins of
 * PLUGIN_DIR; NULL-terminated. */
const char *const *net_fixture_backends(void);

/* Adam's defaults. */
struct optim net_fixture_adam(void);

void net_fixture_open(struct net_fixture *f, const char *backend,
                      const struct graph *g, int batch, enum net_mode mode,
                      const struct optim *optim);
void net_fixture_open_scaled(struct net_fixture *f, const char *backend,
                             const struct graph *g, int batch,
                             enum net_mode mode, const struct optim *optim,
                             const struct loss_scaling *scaling);
void net_fixture_close(struct net_fixture *f);

/* Random images, boxes, classes and weights; norms differ from 1 and 0. */
void net_fixture_fill(struct net_fixture *f, uint64_t seed);
/* The same with seed 3, and moments of zero: the state before the first step.
 */
void net_fixture_reset(struct net_fixture *f);
/* An item that leaves its pixels unchanged: no warp, no jitter. */
void net_fixture_identity_item(struct batch_item *item);

void net_fixture_stage(struct net_fixture *f);
/* begin, forward, end on a staged batch; _backward adds backward;
 * _backward_only follows _forward; _launch_update runs update alone, _update
 * also reads its result. */
void net_fixture_forward(struct net_fixture *f);
void net_fixture_backward(struct net_fixture *f);
void net_fixture_backward_only(struct net_fixture *f);
void net_fixture_launch_update(struct net_fixture *f);
struct update_result net_fixture_update(struct net_fixture *f);
void net_fixture_results(struct net_fixture *f, struct result *out);

/* Canonical copies; the caller frees them. */
float *net_fixture_get(struct net_fixture *f, const struct buf *buf);
/* The whole state: param, m, v and stats, concatenated, [*n]. */
float *net_fixture_state(struct net_fixture *f, size_t *n);
/* NULL if the backend fused the node away. */
float *net_fixture_value(struct net_fixture *f, int node);
float *net_fixture_grad(struct net_fixture *f, int node);

/* |a - b| / |b| (Euclidean); |a - b| if b is all zeros. */
double net_fixture_distance(const float *a, const float *b, size_t n);

#endif
