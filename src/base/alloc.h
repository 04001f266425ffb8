/*
 * Host memory allocation. If memory is exhausted, the small allocations (x...)
 * end the process with exit code 71; alloc_aligned(), for buffers whose size
 * depends on the user's settings, returns VD_SYSTEM. base/memory.h has the
 * messages. Local.
 */
#ifndef VOCDIST_BASE_ALLOC_H
#define VOCDIST_BASE_ALLOC_H

#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Small allocations of bounded size: never NULL; xcalloc() zeroes. Owned;
 * free() them. */
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *text);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *format, va_list args);

/*
 * A large buffer: zeroed, 64-byte aligned, on huge pages if the system has
 * them. The system commits a page when it is first used. Owned;
 * alloc_aligned_free() it. `what` names the buffer in the message.
 */
enum vd_err alloc_aligned(void **out, size_t n, size_t size,
                          const char *what) VD_MUST_USE;
void alloc_aligned_free(void *p);

/* False if a x b overflows size_t; then `out` is not written. */
bool alloc_mul_size(size_t a, size_t b, size_t *out);

#endif
