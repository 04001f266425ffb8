#include "exchange/tree.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>

int tree_first_replica(int rank, int size, int replicas)
{
    return (int)((long long)rank * replicas / size);
}

/* Leaves of the group of R's decomposition that starts at `leaf`: the largest
 * power of two that fits into the rest; 0 if no group starts there. */
static int group_at(int replicas, int leaf)
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

bool tree_joins(int replicas, struct tree_node a, struct tree_node b)
{
    VD_ASSERT(a.leaf + a.leaves == b.leaf);
    bool is_pair = a.leaves == b.leaves && a.leaf % (2 * a.leaves) == 0 &&
                   (a.leaves & (a.leaves - 1)) == 0;
    bool is_fold =
        b.leaf + b.leaves == replicas && group_at(replicas, a.leaf) == a.leaves;
    return is_pair || is_fold;
}

/* Lowest buffer that holds none of the `n` nodes on the stack. */
static int free_buffer(const int *held, int n)
{
    for (int candidate = 0;; candidate++) {
        bool taken = false;
        for (int i = 0; i < n; i++)
            taken = taken || held[i] == candidate;
        if (!taken)
            return candidate;
    }
}

void tree_plan_init(struct tree_plan *plan, int replicas,
                    const struct tree_node *inputs, int n_inputs)
{
    size_t n = (size_t)n_inputs;
    *plan = (struct tree_plan){
        .n_inputs = n_inputs,
        .buffer = mem_new(n, sizeof(int)),
        .add_start = mem_new(n + 1, sizeof(int)),
        .adds = mem_new(n, sizeof(struct tree_add)),
        .left = mem_new(n, sizeof(struct tree_node)),
        .left_buffer = mem_new(n, sizeof(int)),
    };
    struct tree_node *stack = plan->left;
    int *held = plan->left_buffer, depth = 0, n_adds = 0;

    for (int i = 0; i < n_inputs; i++) {
        int buffer = free_buffer(held, depth);
        plan->buffer[i] = buffer;
        if (buffer >= plan->n_buffers)
            plan->n_buffers = buffer + 1;
        stack[depth] = inputs[i];
        held[depth++] = buffer;
        while (depth > 1 &&
               tree_joins(replicas, stack[depth - 2], stack[depth - 1])) {
            depth--;
            stack[depth - 1].leaves += stack[depth].leaves;
            plan->adds[n_adds++] =
                (struct tree_add){.dst = held[depth - 1], .src = held[depth]};
        }
        plan->add_start[i + 1] = n_adds;
    }
    plan->n_left = depth;
}

void tree_plan_init_block(struct tree_plan *plan, int rank, int size,
                          int replicas)
{
    int first = tree_first_replica(rank, size, replicas);
    int n = tree_first_replica(rank + 1, size, replicas) - first;
    struct tree_node *leaves = mem_new((size_t)n, sizeof *leaves);
    for (int i = 0; i < n; i++)
        leaves[i] = (struct tree_node){.leaf = first + i, .leaves = 1};
    tree_plan_init(plan, replicas, leaves, n);
    free(leaves);
}

void tree_plan_clear(struct tree_plan *plan)
{
    free(plan->buffer);
    free(plan->add_start);
    free(plan->adds);
    free(plan->left);
    free(plan->left_buffer);
    *plan = (struct tree_plan){0};
}
