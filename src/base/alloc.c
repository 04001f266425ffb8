#include "base/alloc.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

bool alloc_mul_size(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        memory_exit_oom(n * size);
    return p;
}

void *xreallocarray(void *p, size_t n, size_t size)
{
    size_t bytes = 0;
    VD_ASSERT(alloc_mul_size(n, size, &bytes));
    void *grown = realloc(p, bytes ? bytes : 1);
    if (!grown)
        memory_exit_oom(bytes);
    return grown;
}

char *xstrdup(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        memory_exit_oom(strlen(text) + 1);
    return copy;
}

char *xvasprintf(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        memory_exit_oom(strlen(format));
    return text;
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = xvasprintf(format, args);
    va_end(args);
    return text;
}

enum vd_err alloc_aligned(void **out, size_t n, size_t size, const char *what)
{
    size_t bytes = 0;
    void *p = NULL;
    if (!alloc_mul_size(n, size, &bytes) || bytes > PTRDIFF_MAX - HUGE_PAGE)
        return VD_FAIL(VD_SYSTEM, "%s: the size exceeds the address space",
                       what);

    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    bytes = (bytes / align + 1) * align; /* never 0; reads may pass the end */
    if (posix_memalign(&p, align, bytes))
        return memory_raise_oom(what, bytes);
    if (align == HUGE_PAGE)
        madvise(p, bytes, MADV_HUGEPAGE); /* a hint: failure costs speed only */
    /* Pages that are returned to the system read as zeros on their next use. */
    if (align != HUGE_PAGE || madvise(p, bytes, MADV_DONTNEED) != 0)
        memset(p, 0, bytes);
    *out = p;
    return VD_OK;
}

void alloc_aligned_free(void *p)
{
    free(p);
}
