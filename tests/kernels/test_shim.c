/* The host's stand-in for a device: barriers, shuffles, 16-bit types. */
#include "kernels/fixture.h"

#include "kernels/kernels_internal.h"

#include <float.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct reverse_args {
    int *out; /* [2 gridDim.y KERNEL_THREADS] */
};

/* Each thread reads what another one wrote before the barrier. */
KERNEL(reverse_by_shared, reverse_args, a)
{
    __shared__ int values[KERNEL_THREADS];
    values[threadIdx.x] = (int)threadIdx.x;
    __syncthreads();
    int *out = a.out + (blockIdx.y * gridDim.x + blockIdx.x) * KERNEL_THREADS;
    out[threadIdx.x] = values[KERNEL_THREADS - 1 - threadIdx.x];
}

static void a_barrier_orders_shared_memory(void **state)
{
    (void)state;
    int out[6 * KERNEL_THREADS];
    struct reverse_args args = {out};
    struct kernel_queue queue = {0};
    memset(out, 0xff, sizeof out);
    assert_int_equal(LAUNCH(reverse_by_shared, queue, 2, 3, args), 0);
    for (int i = 0; i < 6 * KERNEL_THREADS; i++)
        assert_int_equal(out[i], KERNEL_THREADS - 1 - i % KERNEL_THREADS);
}

struct warp_args {
    double *sums;
    uint32_t *ballots;
};

KERNEL(sum_and_ballot, warp_args, a)
{
    a.sums[threadIdx.x] = warp_sum((double)threadIdx.x);
    a.ballots[threadIdx.x] = __ballot_sync(0xffffffff, threadIdx.x % 3 == 0);
    double all = block_sum(1) + block_sum((double)threadIdx.x);
    a.sums[threadIdx.x] += 1e6 * all;
}

static void shuffles_and_ballots_exchange_values_of_a_warp(void **state)
{
    (void)state;
    double sums[KERNEL_THREADS];
    uint32_t ballots[KERNEL_THREADS];
    struct warp_args args = {sums, ballots};
    struct kernel_queue queue = {0};
    LAUNCH(sum_and_ballot, queue, 1, 1, args);
    double block = KERNEL_THREADS + KERNEL_THREADS * (KERNEL_THREADS - 1) / 2;
    for (unsigned i = 0; i < KERNEL_THREADS; i++) {
        unsigned first = i / WARP * WARP;
        uint32_t bits = 0;
        for (unsigned k = 0; k < WARP; k++)
            bits |= (first + k) % 3 == 0 ? 1u << k : 0;
        assert_true(sums[i] ==
                    WARP * first + WARP * (WARP - 1) / 2 + 1e6 * block);
        assert_true(ballots[i] == bits);
    }
}

struct divergent_args {
    float *aligned;
};

KERNEL(divergent_barrier, divergent_args, a)
{
    (void)a;
    if (threadIdx.x != 7)
        __syncthreads();
}

KERNEL(unaligned_vector, divergent_args, a)
{
    float v[4];
    load4f(a.aligned + 1, 0, v);
    a.aligned[0] = v[0];
}

static void launch_divergent(float *memory)
{
    struct divergent_args args = {memory};
    struct kernel_queue queue = {0};
    LAUNCH(divergent_barrier, queue, 1, 1, args);
}

static void launch_unaligned(float *memory)
{
    struct divergent_args args = {memory};
    struct kernel_queue queue = {0};
    LAUNCH(unaligned_vector, queue, 1, 1, args);
}

static void assert_aborts(void (*launch)(float *))
{
    float *memory = fill_nan(64);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        launch(memory);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    free(memory);
}

static void errors_of_a_kernel_end_the_program(void **state)
{
    (void)state;
    assert_aborts(launch_divergent);
    assert_aborts(launch_unaligned);
}

/* Every 16-bit number converts to itself; between two neighbors the nearest is
 * taken, in the middle the even one. */
static void check_rounding(uint16_t (*from)(float), float (*to)(uint16_t),
                           uint16_t infinity)
{
    for (uint16_t bits = 0; bits < infinity; bits++) {
        float x = to(bits);
        assert_int_equal(from(x), bits);
        assert_int_equal(from(-x), bits | 0x8000);
        if (bits + 1 == infinity)
            continue;
        float middle = (float)(((double)x + (double)to(bits + 1)) / 2);
        assert_int_equal(from(middle), bits + bits % 2);
        assert_int_equal(from(nextafterf(middle, 0)), bits);
        assert_int_equal(from(nextafterf(middle, INFINITY)), bits + 1);
    }
    assert_int_equal(from(INFINITY), infinity);
    assert_true(isnan(to(from(NAN))));
    assert_int_equal(from(FLT_MAX), infinity);
}

static float float_from_bf16(uint16_t bits)
{
    return float_from_bits((uint32_t)bits << 16);
}

static void conversions_round_to_nearest_even(void **state)
{
    (void)state;
    check_rounding(f16_from_float, float_from_f16, 0x7c00);
    check_rounding(bf16_from_float, float_from_bf16, 0x7f80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_barrier_orders_shared_memory),
        cmocka_unit_test(shuffles_and_ballots_exchange_values_of_a_warp),
        cmocka_unit_test(errors_of_a_kernel_end_the_program),
        cmocka_unit_test(conversions_round_to_nearest_even),
    };
    return RUN_IN_BOTH_ORDERS(tests);
}
