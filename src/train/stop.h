/*
 * Graceful stop on a signal: the handler sets a flag, all ranks agree on it,
 * save a checkpoint and end with exit code 75. A second INT or TERM ends the
 * process at once (status 128 + signal). USR1 and USR2 may arrive twice: the
 * launcher forwards them, and Slurm may also signal the ranks.
 *
 *     USR1 USR2    always (sent by Slurm's --signal)
 *     TERM         except under mpirun, which sends KILL soon after it
 *     INT          only without a launcher (an interactive start)
 *
 * Local. Handlers and flag are those of the process; any thread may read the
 * flag.
 */
#ifndef VOCDIST_TRAIN_STOP_H
#define VOCDIST_TRAIN_STOP_H

/* Also clears a signal that was received before. */
void stop_install_handlers(void);
/* The signal number that was received, 0: none. */
int stop_signal(void);

#endif
