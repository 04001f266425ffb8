/*
 * Properties of the machine: the instruction set, on which the bits of a
 * computation depend, and the CPU and its load, for benchmark reports. Local.
 */
#ifndef VOCDIST_BASE_MACHINE_H
#define VOCDIST_BASE_MACHINE_H

/* The highest instruction set level by which libraries select kernels:
 * "x86-64 avx512f". A static string. */
const char *machine_isa(void);

/* The CPU model: "AMD EPYC 9654 96-Core Processor", or "unknown". Owned. */
char *machine_cpu_model(void);
/* The load average of the last minute (processes that run or wait for a core);
 * 0: unknown. */
double machine_load_average(void);

#endif
