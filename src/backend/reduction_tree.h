/*
 * The reduction tree: the order of additions of every sum over replicas.
 * Floating-point addition is not associative, so all sums follow this tree,
 * whichever rank computes which node. Its leaves are the replicas 0 .. R - 1:
 *
 *     aligned groups of a power of two leaves, added pairwise; then the groups
 *     (one for each 1 bit of R, largest first) added from the right:
 *     R = 7:  ((0 + 1) + (2 + 3)) + ((4 + 5) + 6)
 *
 * Of R replicas, rank r of N hosts [r R / N, (r + 1) R / N), rounded down. It
 * computes every node whose leaves are all in this block. What remains are its
 * partial sums. The owner of a slice finishes the tree from the partial sums of
 * all ranks. Both steps are plans of the same kind with different inputs. Local
 * and pure.
 */
#ifndef VOCDIST_BACKEND_REDUCTION_TREE_H
#define VOCDIST_BACKEND_REDUCTION_TREE_H

#include <stdbool.h>

/* The sum of leaves [first_leaf, first_leaf + n_leaves). */
struct reduction_node {
    int first_leaf, n_leaves;
};

/* First replica of a rank; its block ends at the first replica of rank + 1. */
int reduction_first_replica(int rank, int size, int replicas);

/* True if a and b are the two children of one node. The leaves of b must follow
 * those of a. */
bool reduction_are_siblings(int replicas, struct reduction_node a,
                            struct reduction_node b);

/* Buffer dst += buffer src; src is free from then on. */
struct reduction_add {
    int dst, src;
};

/*
 * The plan of a sum over nodes that arrive one after the other in leaf order.
 * For each input i: store it in buffer[i], then execute the additions
 * adds[add_start[i] .. add_start[i + 1] - 1]. At the end `n_partials` nodes
 * remain, in leaf order: partials[k] is in buffer partial_buffer[k].
 */
struct reduction_plan {
    int n_inputs, n_buffers, n_partials;
    int *buffer;                     /* [n_inputs], owned */
    int *add_start;                  /* [n_inputs + 1], owned */
    struct reduction_add *adds;      /* owned */
    struct reduction_node *partials; /* [n_partials], owned */
    int *partial_buffer;             /* [n_partials], owned */
};

void reduction_plan_init(struct reduction_plan *plan, int replicas,
                         const struct reduction_node *inputs, int n_inputs);
/* The plan of a rank; its inputs are the leaves of its block. */
void reduction_plan_init_rank(struct reduction_plan *plan, int rank, int size,
                              int replicas);
/* The plan of the final sums: its inputs are the partial sums of all `size`
 * ranks, in rank order, of which rank r has n_partials[r]; one partial sum, the
 * total, remains. */
void reduction_plan_init_final(struct reduction_plan *plan, int size,
                               int replicas, int *n_partials);
void reduction_plan_clear(struct reduction_plan *plan);

#endif
