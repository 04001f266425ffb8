/*
 * The one reduction tree. R replicas are its leaves 0 .. R - 1; floating-point
 * sums depend on the order of additions, so every sum over replicas is formed
 * along this tree, whatever rank adds which part of it:
 *
 *     aligned power-of-two groups of leaves, joined pairwise, and what is
 *     left over (one group per bit of R) folded from the right:
 *     R = 7:  ((0 + 1) + (2 + 3)) + ((4 + 5) + 6)
 *
 * Of R replicas, rank r of N hosts [r R / N, (r + 1) R / N), rounded down. It
 * adds every node that lies wholly inside its block; the owner of a slice
 * finishes the tree from what the ranks have left. Both are the same plan on
 * different inputs. Local and pure.
 */
#ifndef VOCDIST_EXCHANGE_REDUCTION_TREE_H
#define VOCDIST_EXCHANGE_REDUCTION_TREE_H

#include <stdbool.h>

/* The sum of leaves [first_leaf, first_leaf + n_leaves). */
struct reduction_node {
    int first_leaf, n_leaves;
};

/* First replica of a rank; that of rank + 1 ends its block. */
int reduction_first_replica(int rank, int size, int replicas);

/* Are a and b, b right behind a, the two children of one node? */
bool reduction_are_siblings(int replicas, struct reduction_node a,
                            struct reduction_node b);

/* Buffer dst += buffer src; src is free from then on. */
struct reduction_add {
    int dst, src;
};

/*
 * How to add up nodes that come one after the other in leaf order: input i
 * goes into buffer[i], then adds[add_start[i] .. add_start[i + 1]) follow.
 * What is left at the end are `n_partials` nodes in leaf order.
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
/* The plan of a rank: its inputs are the leaves of its block. */
void reduction_plan_init_rank(struct reduction_plan *plan, int rank, int size,
                              int replicas);
void reduction_plan_clear(struct reduction_plan *plan);

#endif
