/*
 * XXH3-64 hash. It detects corruption; it is not cryptographic. Hashing several
 * pieces gives the hash of their concatenation. Local.
 */
#ifndef VOCDIST_BASE_HASH_H
#define VOCDIST_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t n);

struct hash {
    void *state; /* owned; hash_init() aborts if memory is exhausted */
};

void hash_init(struct hash *h);
void hash_update(struct hash *h, const void *bytes, size_t n);
/* The hash of all bytes added; frees and clears `h`. */
uint64_t hash_final(struct hash *h);

/* The version of the linked library: 801 for xxHash 0.8.1. */
unsigned hash_library_version(void);

#endif
