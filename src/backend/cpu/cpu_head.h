/*
 * Loss and dropout: the parts of the head that are not layers of oneDNN.
 * Formulas: struct graph_loss in model/graph.h; model/dropout.h. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_HEAD_H
#define VOCDIST_BACKEND_CPU_HEAD_H

#include "backend/backend.h"

struct loss_batch {
    const struct graph_loss *loss;
    int n;                          /* images */
    const struct batch_item *items; /* [n]; index < 0: padding, loss 0 */
    const float *logits;            /* [n, 4 + classes] */
};

/*
 * Writes losses [n] and results [n]. Where overflowed[i] is true, a value of
 * image i may have overflowed: its cross entropy and loss become NaN. Returns
 * true if all losses are finite.
 */
bool loss_forward(const struct loss_batch *b, const bool *overflowed,
                  float *losses, struct result *results);
/* Writes the gradient of the mean loss: grads [n, 4 + classes]. */
void loss_backward(const struct loss_batch *b, float *grads);

struct dropout_batch {
    const struct graph_node *node;
    int n;                          /* images */
    const struct batch_item *items; /* [n] */
    uint64_t seed;
    int block;     /* channels per block of the map; 1: plain */
    size_t padded; /* elements of an image, with padding channels */
    int threads;
    uint8_t *mask; /* [n, elements of the node]; scratch memory */
};

/* Writes the factors [n, padded] of the values: 0, or 1 / (1 - rate). */
void dropout_draw_factors(const struct dropout_batch *b, float *factors);

#endif
