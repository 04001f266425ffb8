/*
 * Plans are made with a stack of nodes, as a binary counter: each input is
 * pushed, then the two topmost nodes are replaced by their sum as long as they
 * are siblings. A buffer is free again once its node has been added to another.
 *
 * For R = 7 on one rank: push 0; push 1, add 0+1; push 2; push 3, add 2+3, add
 * (0+1)+(2+3); push 4; push 5, add 4+5; push 6, add (4+5)+6, add the last two.
 */
#include "backend/reduction_tree.h"

#include "base/alloc.h"
#include "base/err.h"

#include <stdlib.h>

int reduction_first_replica(int rank, int size, int replicas)
{
    return (int)((long long)rank * replicas / size);
}

/* Number of leaves of the group that starts at `leaf`; 0 if none starts there.
 * Each group is the largest power of two that fits into the leaves that are
 * left: R = 7 has groups of 4, 2 and 1 at leaves 0, 4 and 6. */
static int group_size_at(int replicas, int leaf)
{
    int start = 0;
    while (start < replicas) {
        int leaves = 1;
        while (2 * leaves <= replicas - start)
            leaves *= 2;
        if (start == leaf)
            return leaves;
        start += leaves;
    }
    return 0;
}

bool reduction_are_siblings(int replicas, struct reduction_node a,
                            struct reduction_node b)
{
    VD_ASSERT(a.first_leaf + a.n_leaves == b.first_leaf);
    bool is_pair = a.n_leaves == b.n_leaves &&
                   a.first_leaf % (2 * a.n_leaves) == 0 &&
                   (a.n_leaves & (a.n_leaves - 1)) == 0;
    bool is_fold = b.first_leaf + b.n_leaves == replicas &&
                   group_size_at(replicas, a.first_leaf) == a.n_leaves;
    return is_pair || is_fold;
}

/* Lowest buffer index that is not in held[0 .. n). */
static int lowest_free_buffer(const int *held, int n)
{
    for (int candidate = 0;; candidate++) {
        bool taken = false;
        for (int i = 0; i < n; i++)
            taken = taken || held[i] == candidate;
        if (!taken)
            return candidate;
    }
}

void reduction_plan_init(struct reduction_plan *plan, int replicas,
                         const struct reduction_node *inputs, int n_inputs)
{
    size_t n = (size_t)n_inputs;
    *plan = (struct reduction_plan){
        .n_inputs = n_inputs,
        .buffer = xcalloc(n, sizeof(int)),
        .add_start = xcalloc(n + 1, sizeof(int)),
        .adds = xcalloc(n, sizeof(struct reduction_add)),
        .partials = xcalloc(n, sizeof(struct reduction_node)),
        .partial_buffer = xcalloc(n, sizeof(int)),
    };
    struct reduction_node *stack = plan->partials;
    int *held = plan->partial_buffer, depth = 0, n_adds = 0;

    for (int i = 0; i < n_inputs; i++) {
        int buffer = lowest_free_buffer(held, depth);
        plan->buffer[i] = buffer;
        if (buffer >= plan->n_buffers)
            plan->n_buffers = buffer + 1;
        stack[depth] = inputs[i];
        held[depth++] = buffer;
        while (depth > 1 && reduction_are_siblings(replicas, stack[depth - 2],
                                                   stack[depth - 1])) {
            depth--;
            stack[depth - 1].n_leaves += stack[depth].n_leaves;
            plan->adds[n_adds++] = (struct reduction_add){
                .dst = held[depth - 1], .src = held[depth]};
        }
        plan->add_start[i + 1] = n_adds;
    }
    plan->n_partials = depth;
}

void reduction_plan_init_rank(struct reduction_plan *plan, int rank, int size,
                              int replicas)
{
    int first = reduction_first_replica(rank, size, replicas);
    int n = reduction_first_replica(rank + 1, size, replicas) - first;
    struct reduction_node *leaves = xcalloc((size_t)n, sizeof *leaves);
    for (int i = 0; i < n; i++)
        leaves[i] =
            (struct reduction_node){.first_leaf = first + i, .n_leaves = 1};
    reduction_plan_init(plan, replicas, leaves, n);
    free(leaves);
}

void reduction_plan_init_final(struct reduction_plan *plan, int size,
                               int replicas, int *n_partials)
{
    struct reduction_node *nodes = xcalloc((size_t)replicas, sizeof *nodes);
    int n = 0;
    for (int rank = 0; rank < size; rank++) {
        struct reduction_plan of_rank;
        reduction_plan_init_rank(&of_rank, rank, size, replicas);
        for (int i = 0; i < of_rank.n_partials; i++)
            nodes[n++] = of_rank.partials[i];
        n_partials[rank] = of_rank.n_partials;
        reduction_plan_clear(&of_rank);
    }
    reduction_plan_init(plan, replicas, nodes, n);
    VD_ASSERT(plan->n_partials == 1);
    free(nodes);
}

void reduction_plan_clear(struct reduction_plan *plan)
{
    free(plan->buffer);
    free(plan->add_start);
    free(plan->adds);
    free(plan->partials);
    free(plan->partial_buffer);
    *plan = (struct reduction_plan){0};
}
