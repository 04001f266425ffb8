/*
 * Host memory. Small bookkeeping ends the process when memory runs out, with
 * exit code 71; buffers whose size the user chose return VD_SYSTEM instead.
 * What is said then: base/memory.h. Local.
 */
#ifndef VOCDIST_BASE_ALLOC_H
#define VOCDIST_BASE_ALLOC_H

#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Bookkeeping of bounded size: zeroed, never NULL. Owned; free() it. */
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *text);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *format, va_list args);

/*
 * A large buffer: zeroed, 64-byte aligned, on huge pages where the system
 * offers them. A page costs memory from its first use on. Owned;
 * alloc_aligned_free() it. `what` names it in the message.
 */
enum vd_err alloc_aligned(void **out, size_t n, size_t size,
                          const char *what) VD_MUST_USE;
void alloc_aligned_free(void *p);

/* False when a x b does not fit into size_t; then `out` is untouched. */
bool alloc_mul_size(size_t a, size_t b, size_t *out);

#endif
