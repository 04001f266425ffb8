/* Monotonic time, which has no date and never jumps. Local. */
#ifndef VOCDIST_BASE_CLOCK_H
#define VOCDIST_BASE_CLOCK_H

/* Seconds since a fixed but unspecified time (CLOCK_MONOTONIC). */
double clock_now(void);
/* Processor time in seconds that all threads of this process have used. */
double clock_cpu_time(void);

#endif
