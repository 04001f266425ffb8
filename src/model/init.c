#include "model/init.h"

#include "base/hash.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

void init_tensor(const struct graph_tensor *t, uint64_t seed, float *out)
{
    uint64_t key = hash_bytes(t->name, strlen(t->name));
    double fan = t->fan;
    for (size_t i = 0; i < t->count; i++) {
        uint32_t element = (uint32_t)i;
        double x = 0;
        switch (t->init) {
        case GRAPH_INIT_CONV:
            x = sqrt(2 / fan) * rng_normal(seed, RNG_INIT, key, element);
            break;
        case GRAPH_INIT_LINEAR:
            x = (2 * rng_uniform(seed, RNG_INIT, key, element) - 1) / sqrt(fan);
            break;
        case GRAPH_INIT_ONE:
            x = 1;
            break;
        case GRAPH_INIT_ZERO:
            break;
        }
        out[i] = (float)x;
    }
}

static void init_table(const struct graph_tensor *table, int n, bool head_only,
                       uint64_t seed, float *out)
{
    for (int i = 0; i < n; i++) {
        if (table[i].head || !head_only)
            init_tensor(&table[i], seed, out + table[i].offset);
    }
}

void init_all(const struct graph *g, uint64_t seed, float *params, float *stats)
{
    init_table(g->params, g->n_param_tensors, false, seed, params);
    init_table(g->stats, g->n_stats_tensors, false, seed, stats);
}

void init_head(const struct graph *g, uint64_t seed, float *params,
               float *stats)
{
    init_table(g->params, g->n_param_tensors, true, seed, params);
    init_table(g->stats, g->n_stats_tensors, true, seed, stats);
}
