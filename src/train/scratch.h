/*
 * The folder of a scratch session, DIR/.NAME.trial-HOST-N-PID: beside the run
 * it stands for, so on the same disk with the same permissions. It goes with
 * its process, whatever ends that: a shell waits in a session of its own until
 * it is closed or we are dead, and removes it, and of DIR what was made for it.
 * (mpirun kills the ranks of a failed job at once: no handler of ours would
 * have the time.) Where the shell was killed as well, the next scratch session
 * of that run on this host removes the folder. Local.
 */
#ifndef VOCDIST_TRAIN_SCRATCH_H
#define VOCDIST_TRAIN_SCRATCH_H

#include "base/err.h"

#include <sys/types.h>

struct scratch {
    char *folder;   /* owned; NULL: none */
    int alive_pipe; /* a pipe's end that closes with us */
    pid_t cleaner;  /* the shell */
};

enum vd_err scratch_open(struct scratch *s, const char *dir,
                         const char *name) VD_MUST_USE;
/* Removes it. May be a zeroed one. */
void scratch_close(struct scratch *s);

#endif
