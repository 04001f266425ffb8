/*
 * The machine: what the bits of a computation depend on, and what its speed
 * is quoted with. Local.
 */
#ifndef VOCDIST_BASE_MACHINE_H
#define VOCDIST_BASE_MACHINE_H

/* "x86-64 avx512f": the highest instruction set that libraries choose by.
 * Borrowed for ever. */
const char *machine_isa(void);

/* "AMD EPYC 9654 96-Core Processor", or "unknown". Owned. */
char *machine_cpu_model(void);
/* Processes at work or waiting for a core, mean of the last minute; 0 where
 * the system does not say. */
double machine_load_average(void);

#endif
