/*
 * XXH3-64: detects damage, does not stop a forger. One value over several
 * pieces equals the value over their concatenation. Local.
 */
#ifndef VOCDIST_BASE_HASH_H
#define VOCDIST_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t n);

struct hash {
    void *state; /* owned; NULL when out of memory, which ends the process */
};

void hash_init(struct hash *h);
void hash_update(struct hash *h, const void *bytes, size_t n);
/* The value of everything added; clears `h`. */
uint64_t hash_final(struct hash *h);

/* 801 for xxHash 0.8.1, the one that is linked. */
unsigned hash_library_version(void);

#endif
