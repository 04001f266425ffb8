/*
 * The machine as far as the bits of a computation depend on it. Local.
 */
#ifndef VOCDIST_BASE_MACHINE_H
#define VOCDIST_BASE_MACHINE_H

/* "x86-64 avx512f": the highest instruction set that libraries choose by.
 * Borrowed for ever. */
const char *machine_instruction_set(void);

#endif
