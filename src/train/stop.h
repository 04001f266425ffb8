/*
 * Orderly stop on a signal: the handler sets a flag, the run agrees on it,
 * saves a checkpoint and ends with exit code 75. INT or TERM as a second one
 * ends the process at once (status 128 + signal); USR1 and USR2 may come twice
 * (to the launcher, which passes them on, and to the ranks).
 *
 *     USR1 USR2    always (what Slurm's --signal sends)
 *     TERM         except below mpirun, which passes it on as a kill
 *     INT          only without a launcher (a person at a terminal)
 *
 * Local; process-wide, since signals are.
 */
#ifndef VOCDIST_TRAIN_STOP_H
#define VOCDIST_TRAIN_STOP_H

void stop_install_handlers(void);
/* The signal that came, 0: none. */
int stop_signal(void);

#endif
