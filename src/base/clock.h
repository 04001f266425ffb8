/* Monotonic time, and CPU time of the process. Local. */
#ifndef VOCDIST_BASE_CLOCK_H
#define VOCDIST_BASE_CLOCK_H

/* Seconds since a fixed but unspecified time (CLOCK_MONOTONIC). */
double clock_now(void);
/* CPU time of all threads of this process, in seconds. */
double clock_cpu_time(void);

#endif
