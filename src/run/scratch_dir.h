/*
 * The scratch folder of a session without lasting outputs (dry run, overfitting
 * a single batch, benchmark): DIR/.NAME.trial-HOST-N-PID, next to the run's
 * folder, so on the same disk with the same permissions. N is the PID
 * namespace.
 *
 * mpirun kills the ranks of a failed job at once, so no handler of this process
 * could remove the folder. A shell in a process session of its own waits for
 * end of file on a pipe, which closes when this process ends for any reason,
 * and removes the folder and those parents that were created for it. If the
 * shell was killed as well, the next scratch session of that run on this host
 * removes the folder. Local.
 */
#ifndef VOCDIST_RUN_SCRATCH_DIR_H
#define VOCDIST_RUN_SCRATCH_DIR_H

#include "base/err.h"

#include <sys/types.h>

struct scratch_dir {
    char *folder;   /* owned; NULL: none */
    int alive_pipe; /* write end of the pipe; closes with this process */
    pid_t cleaner;  /* the shell */
};

/* Creates the folder and missing parents; removes those of killed sessions.
 * Call scratch_dir_close() also after an error. VD_SYSTEM if the shell cannot
 * be started, VD_CREATE if the folder cannot be created. */
enum vd_err scratch_dir_open(struct scratch_dir *s, const char *dir,
                             const char *name) VD_MUST_USE;
/* Removes the folder and waits for that; a failure is a warning. May be a
 * zeroed one. */
void scratch_dir_close(struct scratch_dir *s);

#endif
