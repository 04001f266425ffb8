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

void init_all(const struct graph *g, uint64_t seed, float *params, float *stats)
{
    for (int i = 0; i < g->n_param_tensors; i++)
        init_tensor(&g->params[i], seed, params + g->params[i].offset);
    for (int i = 0; i < g->n_stats_tensors; i++)
        init_tensor(&g->stats[i], seed, stats + g->stats[i].offset);
}
