#include "backend/places.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum vd_err places_init(struct places *p, const struct net_spec *spec,
                        size_t picture_bytes)
{
    size_t n = (size_t)spec->micro_batch;
    *p = (struct places){.spec = spec, .picture_bytes = picture_bytes};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->released, NULL);
    for (int i = 0; i < PLACES; i++) {
        struct place *place = &p->list[i];
        place->slots = mem_new(n, sizeof *place->slots);
        place->results = mem_new(n, sizeof *place->results);
        VD_TRY(mem_alloc(&place->input, n, picture_bytes, "input pictures"));
    }
    return VD_OK;
}

void places_clear(struct places *p)
{
    for (int i = 0; i < PLACES; i++) {
        free(p->list[i].slots);
        free(p->list[i].results);
        mem_free(p->list[i].input);
    }
    pthread_cond_destroy(&p->released);
    pthread_mutex_destroy(&p->lock);
}

void places_stage(struct places *p, const struct batch *batch,
                  places_fill_fn *fill)
{
    pthread_mutex_lock(&p->lock);
    while (p->staged - p->fetched == PLACES)
        pthread_cond_wait(&p->released, &p->lock);
    struct place *place = &p->list[p->staged % PLACES];
    pthread_mutex_unlock(&p->lock);

    place->knobs = batch->knobs;
    for (int i = 0; i < p->spec->micro_batch; i++) {
        char *input = (char *)place->input + (size_t)i * p->picture_bytes;
        place->slots[i] = batch->slots[i];
        if (batch->slots[i].sample < 0)
            memset(input, 0, p->picture_bytes);
        else
            fill(p->spec, &batch->slots[i], batch->pixels[i], input);
    }
    pthread_mutex_lock(&p->lock);
    p->staged++;
    pthread_mutex_unlock(&p->lock);
}

void places_forward(struct places *p)
{
    pthread_mutex_lock(&p->lock);
    VD_ASSERT(p->forwarded < p->staged);
    p->forwarded++;
    pthread_mutex_unlock(&p->lock);
}

struct place *places_now(struct places *p)
{
    return &p->list[(p->forwarded - 1) % PLACES];
}

void places_results(struct places *p, struct result *out)
{
    pthread_mutex_lock(&p->lock);
    VD_ASSERT(p->fetched < p->forwarded);
    const struct place *place = &p->list[p->fetched % PLACES];
    memcpy(out, place->results, (size_t)p->spec->micro_batch * sizeof *out);
    p->fetched++;
    pthread_cond_signal(&p->released);
    pthread_mutex_unlock(&p->lock);
}
