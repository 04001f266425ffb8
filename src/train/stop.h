/*
 * Graceful stop on a signal: the handler sets a flag, all ranks agree on it,
 * save a checkpoint and end with exit code 75. A second INT or TERM ends the
 * process at once (status 128 + signal). USR1 and USR2 may arrive twice: the
 * launcher forwards them, and Slurm may also signal the ranks.
 *
 *     USR1 USR2    always (what Slurm's --signal sends)
 *     TERM         except under mpirun, which follows it with a kill
 *     INT          only without a launcher (a person at a terminal)
 *
 * Local; process-wide.
 */
#ifndef VOCDIST_TRAIN_STOP_H
#define VOCDIST_TRAIN_STOP_H

void stop_install_handlers(void);
/* The signal that was received, 0: none. */
int stop_signal(void);

#endif
