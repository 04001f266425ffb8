/*
 * Runs a kernel on the host: each thread of a block is a fiber (ucontext).
 *
 * A fiber runs until it waits at a barrier or ends, then switches to the next
 * one that has not ended (in its warp or its block), in the launch's order. A
 * barrier counts arrivals; the last one starts the next generation, and a
 * waiting fiber goes round until it sees that. If all fibers went round and
 * none could continue, a thread has ended or waits at another barrier, which is
 * an error in the kernel.
 */
#include <device.h>

#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define WARP        32
#define WARPS       (KERNEL_THREADS / WARP)
#define STACK_BYTES ((size_t)96 << 10)

struct barrier {
    unsigned arrived, generation;
};

struct fiber {
    ucontext_t context;
    bool ended;
    void *fake_stack; /* of AddressSanitizer */
};

struct shim_index threadIdx, blockIdx, gridDim;

static struct {
    struct fiber fibers[KERNEL_THREADS], host;
    unsigned idle; /* switches since a thread could continue */
    struct barrier block, warps[WARPS];
    double slots[2][KERNEL_THREADS]; /* values of shuffles, by generation */
    void (*entry)(const void *args);
    const void *args;
    const char *name;
    bool descending;
} shim;
static char *stacks; /* [KERNEL_THREADS][STACK_BYTES] */

/* Shared variables of all kernels in the program. */
extern char __start_shim_shared[] __attribute__((weak));
extern char __stop_shim_shared[] __attribute__((weak));

static void shim_fail(const char *what)
{
    fprintf(stderr, "shim: kernel %s, block (%u, %u), thread %u: %s\n",
            shim.name, blockIdx.x, blockIdx.y, threadIdx.x, what);
    abort();
}

void shim_set_descending(bool descending)
{
    shim.descending = descending;
}

void shim_check_aligned(const void *p, size_t bytes)
{
    if ((uintptr_t)p % bytes != 0)
        shim_fail("vector at an address that is not aligned");
}

/* ---- fibers ---- */

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>

static const void *host_stack;
static size_t host_stack_bytes;

static void before_switch(struct fiber *from, struct fiber *to)
{
    const char *bottom = stacks + (size_t)(to - shim.fibers) * STACK_BYTES;
    bool to_host = to == &shim.host;
    __sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake_stack,
                                   to_host ? host_stack : bottom,
                                   to_host ? host_stack_bytes : STACK_BYTES);
}

/* `self` is NULL in a new fiber. The first one of all is entered from the host.
 */
static void after_switch(struct fiber *self)
{
    const void *from;
    size_t bytes;
    __sanitizer_finish_switch_fiber(self ? self->fake_stack : NULL, &from,
                                    &bytes);
    if (!host_stack) {
        host_stack = from;
        host_stack_bytes = bytes;
    }
}
#else
static void before_switch(struct fiber *from, struct fiber *to)
{
    (void)from;
    (void)to;
}

static void after_switch(struct fiber *self)
{
    (void)self;
}
#endif

static void switch_context(struct fiber *from, struct fiber *to)
{
    before_switch(from, to);
    swapcontext(&from->context, &to->context);
    after_switch(from);
}

/* The next of the n threads from `first`, cyclically; the host if all ended. */
static struct fiber *next_fiber(unsigned first, unsigned n)
{
    unsigned i = threadIdx.x - first;
    for (unsigned k = 0; k < n; k++) {
        i = (i + (shim.descending ? n - 1 : 1)) % n;
        if (!shim.fibers[first + i].ended)
            return &shim.fibers[first + i];
    }
    return &shim.host;
}

static void switch_to_next(unsigned first, unsigned n)
{
    unsigned self = threadIdx.x;
    struct fiber *to = next_fiber(first, n);
    if (to == &shim.fibers[self])
        return;
    if (to != &shim.host)
        threadIdx.x = (unsigned)(to - shim.fibers);
    switch_context(&shim.fibers[self], to);
    threadIdx.x = self;
}

static void run_fiber(void)
{
    after_switch(NULL);
    shim.entry(shim.args);
    shim.fibers[threadIdx.x].ended = true;
    shim.idle = 0;
    switch_to_next(0, KERNEL_THREADS);
}

static void create_fiber(unsigned i)
{
    struct fiber *f = &shim.fibers[i];
    f->ended = false;
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stacks + i * STACK_BYTES;
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = NULL;
    makecontext(&f->context, run_fiber, 0);
}

/* ---- barriers ---- */

/* Of the n threads from `first`. Only these run meanwhile, so a warp gets as
 * far ahead of the others as it can. */
static void barrier_wait(struct barrier *b, unsigned first, unsigned n)
{
    unsigned generation = b->generation;
    if (++b->arrived == n) {
        b->arrived = 0;
        b->generation++;
        shim.idle = 0;
        return;
    }
    while (b->generation == generation) {
        if (++shim.idle > 2 * KERNEL_THREADS)
            shim_fail("barrier that not all threads reach");
        switch_to_next(first, n);
    }
    shim.idle = 0;
}

void __syncthreads(void)
{
    barrier_wait(&shim.block, 0, KERNEL_THREADS);
}

void __syncwarp(void)
{
    unsigned warp = threadIdx.x / WARP;
    barrier_wait(&shim.warps[warp], warp * WARP, WARP);
}

/* Publishes x to the warp; the threads' values, valid until the next but one
 * exchange of this warp. */
static const double *exchange(double x)
{
    unsigned warp = threadIdx.x / WARP;
    double *slots = shim.slots[shim.warps[warp].generation % 2];
    slots[threadIdx.x] = x;
    __syncwarp();
    return slots + (size_t)warp * WARP;
}

double shim_shuffle_xor(double x, int step)
{
    return exchange(x)[(threadIdx.x % WARP) ^ (unsigned)step];
}

uint32_t shim_ballot(bool predicate)
{
    const double *values = exchange(predicate);
    uint32_t bits = 0;
    for (unsigned i = 0; i < WARP; i++)
        bits |= values[i] != 0 ? 1u << i : 0;
    return bits;
}

/* ---- launch ---- */

static void run_block(void)
{
    if (__start_shim_shared)
        memset(__start_shim_shared, 0xff,
               (size_t)(__stop_shim_shared - __start_shim_shared));
    memset(&shim.block, 0, sizeof shim.block);
    memset(shim.warps, 0, sizeof shim.warps);
    shim.idle = 0;
    for (unsigned i = 0; i < KERNEL_THREADS; i++)
        create_fiber(i);
    threadIdx.x = shim.descending ? KERNEL_THREADS - 1 : 0;
    switch_context(&shim.host, &shim.fibers[threadIdx.x]);
}

int shim_launch(void (*entry)(const void *args), const char *name, unsigned x,
                unsigned y, const void *args)
{
    if (!stacks)
        stacks = malloc(KERNEL_THREADS * STACK_BYTES);
    shim.entry = entry;
    shim.name = name;
    shim.args = args;
    gridDim = (struct shim_index){x, y};
    if (x == 0 || y == 0)
        shim_fail("empty grid");
    for (unsigned k = 0; k < x * y; k++) {
        unsigned block = shim.descending ? x * y - 1 - k : k;
        blockIdx = (struct shim_index){block % x, block / x};
        run_block();
    }
    return 0;
}

/* ---- 16-bit types ---- */

uint16_t bf16_from_float(float x)
{
    uint32_t bits = bits_from_float(x);
    if (isnan(x))
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Rounds in units of the last place of the result: 2^(e - 10), at least the
 * smallest subnormal number. */
uint16_t f16_from_float(float x)
{
    uint16_t sign = (uint16_t)(bits_from_float(x) >> 16 & 0x8000);
    int e;
    if (isnan(x))
        return 0x7fff;
    double a = fabs((double)x);
    if (a == 0)
        return sign;
    if (a >= 65520)
        return sign | 0x7c00;
    frexp(a, &e);
    e = e - 1 < -14 ? -14 : e - 1;
    uint32_t units = (uint32_t)nearbyint(ldexp(a, 10 - e));
    /* A carry into the exponent is right by itself. */
    return (uint16_t)(sign | (units + ((uint32_t)(e + 14) << 10)));
}

float float_from_f16(uint16_t bits)
{
    int e = bits >> 10 & 31;
    double m = bits & 0x3ff, x;
    if (e == 31)
        x = m != 0 ? (double)NAN : (double)INFINITY;
    else
        x = e == 0 ? ldexp(m, -24) : ldexp(m + 1024, e - 25);
    return (float)(bits & 0x8000 ? -x : x);
}
