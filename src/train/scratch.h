/*
 * The folder of a trial, DIR/.NAME.trial-HOST-PID: beside the run it stands
 * for, so on the same disk with the same permissions. It goes with its
 * process:
 *
 *     scratch_close()   removes it, and of DIR what was made for it
 *     TERM              the same first, where TERM would end the process (so
 *                       mpirun ends its ranks when one of them fails)
 *     a crash, KILL     the next trial of that run on this host removes it
 *
 * One per process, as its signal handler is. Local.
 */
#ifndef VOCDIST_TRAIN_SCRATCH_H
#define VOCDIST_TRAIN_SCRATCH_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>

struct scratch {
    char *folder; /* owned; NULL: none */
    char *dir;    /* owned: DIR */
    char *made;   /* owned: the highest of DIR that we made; NULL: none */
    int wake[2];  /* a pipe: the handler to the thread that removes */
    pthread_t thread;
    bool watching;
};

enum vd_err scratch_open(struct scratch *s, const char *dir,
                         const char *name) VD_MUST_USE;
/* May be a zeroed one; may be called from any state of the run. */
void scratch_close(struct scratch *s);

#endif
