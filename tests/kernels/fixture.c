#include "kernels/fixture.h"

#include "base/rng.h"

#include <device.h>

void *fill_nan(size_t bytes)
{
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 64, bytes ? bytes : 1), 0);
    memset(p, 0xff, bytes);
    return p;
}

double *zeros(size_t n)
{
    double *x = fill_nan(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = 0;
    return x;
}

float *random_floats(size_t n, uint64_t seed, float mean, float deviation)
{
    float *x = fill_nan(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = mean + deviation * (float)rng_normal(seed, RNG_TEST, i, 0);
    return x;
}

double *doubles_of(const float *x, size_t n)
{
    double *d = fill_nan(n * sizeof *d);
    for (size_t i = 0; i < n; i++)
        d[i] = (double)x[i];
    return d;
}

size_t type_bytes(enum kernel_type type)
{
    return type == KERNEL_F32 ? 4 : 2;
}

double type_tolerance(enum kernel_type type)
{
    return type == KERNEL_F32 ? 1e-6 : 1e-2;
}

void *store_as(enum kernel_type type, const float *x, size_t n)
{
    uint16_t *out = fill_nan(n * type_bytes(type));
    if (type == KERNEL_F32)
        memcpy(out, x, n * sizeof *x);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = type == KERNEL_BF16 ? bf16_from_float(x[i])
                                         : f16_from_float(x[i]);
    return out;
}

float *load_as(enum kernel_type type, const void *x, size_t n)
{
    const uint16_t *bits = x;
    float *out = fill_nan(n * sizeof *out);
    if (type == KERNEL_F32)
        memcpy(out, x, n * sizeof *out);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = type == KERNEL_BF16
                         ? float_from_bits((uint32_t)bits[i] << 16)
                         : float_from_f16(bits[i]);
    return out;
}

void round_to(enum kernel_type type, float *x, size_t n)
{
    void *stored = store_as(type, x, n);
    float *loaded = load_as(type, stored, n);
    memcpy(x, loaded, n * sizeof *x);
    free(stored);
    free(loaded);
}

void compare_floats(const char *what, const float *a, const double *b, size_t n,
                    double tolerance, double scale)
{
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)a[i] - b[i]);
        if (!(error <= tolerance * (scale + fabs(b[i]))))
            fail_msg("%s: element %zu of %zu is %.9g, not %.9g", what, i, n,
                     (double)a[i], b[i]);
    }
}

int run_in_both_orders(const struct CMUnitTest *tests, size_t n)
{
    int failed = 0;
    for (int k = 0; k < 2; k++) {
        shim_set_descending(k == 1);
        print_message("threads in %s order\n", k ? "descending" : "ascending");
        failed += _cmocka_run_group_tests(k ? "descending" : "ascending", tests,
                                          n, NULL, NULL);
    }
    return failed;
}
