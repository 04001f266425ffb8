/*
 * The machine as far as the bits of a computation depend on it, and what of
 * it this process takes. Local.
 */
#ifndef VOCDIST_BASE_MACHINE_H
#define VOCDIST_BASE_MACHINE_H

#include <stdint.h>

/* "x86-64 avx512f": the highest instruction set that libraries choose by.
 * Borrowed for ever. */
const char *machine_instruction_set(void);

/* The most memory this process has had so far (VmHWM), bytes; 0: unknown. */
int64_t machine_peak_memory(void);

#endif
