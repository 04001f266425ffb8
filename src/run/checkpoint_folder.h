/*
 * The folder of a run's checkpoints: file names, the newest file, the links
 * `last` and `best`. train/epoch.h decides at the end of an epoch whether its
 * checkpoint is the best so far (the lowest val_loss) and marks it. Local.
 */
#ifndef VOCDIST_RUN_CHECKPOINT_FOLDER_H
#define VOCDIST_RUN_CHECKPOINT_FOLDER_H

#include "run/checkpoint.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Reads the checkpoint at `path`: a file, a link to one, a run's folder or its
 * checkpoints/ folder, of which it reads the last one (by the link `last`, else
 * by name). Without `values` it reads only the head (checkpoint_read_head()).
 * VD_NOINPUT if there is none; else errors as checkpoint_read().
 */
enum vd_err checkpoint_open(struct checkpoint *c, const char *path,
                            bool values) VD_MUST_USE;

/* True for names such as "step-00000012.h5", exactly as checkpoint_name() gives
 * them. Any other file in the folder belongs to the user, and is neither read
 * nor removed. */
bool checkpoint_is_name(const char *name);

/* The steps of a folder's checkpoints, by name, ascending. */
struct checkpoint_list {
    uint64_t *steps; /* owned */
    size_t n;
};
/* The caller frees list->steps. VD_NOINPUT if the folder cannot be opened. */
enum vd_err checkpoint_list_read(struct checkpoint_list *list,
                                 const char *folder) VD_MUST_USE;
/* "step-00000012.h5", "FOLDER/step-00000012.h5"; the caller frees them. */
char *checkpoint_name(uint64_t step);
char *checkpoint_path(const char *folder, uint64_t step);

/*
 * Reads the newest intact checkpoint of a folder: skips, with a warning,
 * damaged files and files whose contents are of another step than their name.
 * The caller clears `c` and frees `path`, which is NULL if there is no
 * checkpoint. VD_DATA if there are some and none is intact; other errors of
 * reading (no memory, no permission) end the search.
 */
enum vd_err checkpoint_read_newest(struct checkpoint *c, const char *folder,
                                   char **path) VD_MUST_USE;

/* Sets the link `last` in its folder and, if it is marked as the best, `best`.
 */
enum vd_err checkpoint_link(const struct checkpoint *c,
                            const char *path) VD_MUST_USE;

/*
 * Restores the link `best` if it is missing (a copy of the folder without its
 * links) or points to a missing file: links to the newest intact checkpoint up
 * to step `last` that is marked as the best. A regular file `best` (a copy that
 * followed the links) is renamed to its checkpoint name, if no file has it.
 * Logs each change. VD_IO if the link cannot be set.
 */
enum vd_err checkpoint_restore_best(const char *folder,
                                    uint64_t last) VD_MUST_USE;

#endif
