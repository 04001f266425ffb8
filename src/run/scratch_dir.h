/*
 * The scratch folder of a session without lasting outputs (dry run, overfit
 * check, benchmark): DIR/.NAME.trial-HOST-N-PID, beside the run, so on the same
 * disk with the same permissions.
 *
 * mpirun kills the ranks of a failed job at once, so no handler of this process
 * could remove the folder. A shell in a session of its own waits for the end of
 * a pipe, which closes with this process however it ends, and removes the
 * folder and those parents that were created for it. If the shell was killed as
 * well, the next scratch session of that run on this host removes the folder.
 * Local.
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

enum vd_err scratch_dir_open(struct scratch_dir *s, const char *dir,
                             const char *name) VD_MUST_USE;
/* Removes the folder. May be a zeroed one. */
void scratch_dir_close(struct scratch_dir *s);

#endif
