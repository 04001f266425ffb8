/* Monotonic time: never jumps, has no date. Local. */
#ifndef VOCDIST_BASE_CLOCK_H
#define VOCDIST_BASE_CLOCK_H

/* Seconds since some fixed moment before the process started. */
double clock_now(void);
/* Seconds of processor time that all threads of this process have used. */
double clock_cpu_time(void);

#endif
