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
#ifndef VOCDIST_EXCHANGE_TREE_H
#define VOCDIST_EXCHANGE_TREE_H

#include <stdbool.h>

/* The sum of leaves [leaf, leaf + leaves). */
struct tree_node {
    int leaf, leaves;
};

/* First replica of a rank; that of rank + 1 ends its block. */
int tree_first_replica(int rank, int size, int replicas);

/* Are a and b, b right behind a, the two children of one node? */
bool tree_joins(int replicas, struct tree_node a, struct tree_node b);

/* Buffer dst += buffer src; src is free from then on. */
struct tree_add {
    int dst, src;
};

/*
 * How to add up nodes that come one after the other in leaf order: input i
 * goes into buffer[i], then adds[add_start[i] .. add_start[i + 1]) follow.
 * What is left at the end are `n_left` nodes in leaf order.
 */
struct tree_plan {
    int n_inputs, n_buffers, n_left;
    int *buffer;            /* [n_inputs], owned */
    int *add_start;         /* [n_inputs + 1], owned */
    struct tree_add *adds;  /* owned */
    struct tree_node *left; /* [n_left], owned */
    int *left_buffer;       /* [n_left], owned */
};

void tree_plan_init(struct tree_plan *plan, int replicas,
                    const struct tree_node *inputs, int n_inputs);
/* The plan of a rank: its inputs are the leaves of its block. */
void tree_plan_init_block(struct tree_plan *plan, int rank, int size,
                          int replicas);
void tree_plan_clear(struct tree_plan *plan);

#endif
