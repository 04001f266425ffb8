#include "base/hash.h"

#include "base/err.h"

#include <xxhash.h>

uint64_t hash_bytes(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}

void hash_init(struct hash *h)
{
    h->state = XXH3_createState();
    VD_ASSERT(h->state);
    XXH3_64bits_reset(h->state);
}

void hash_update(struct hash *h, const void *bytes, size_t n)
{
    XXH3_64bits_update(h->state, bytes, n);
}

uint64_t hash_final(struct hash *h)
{
    uint64_t value = XXH3_64bits_digest(h->state);
    XXH3_freeState(h->state);
    h->state = NULL;
    return value;
}

unsigned hash_library_version(void)
{
    return XXH_versionNumber();
}
