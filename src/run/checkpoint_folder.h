/*
 * The folder of a run's checkpoints: file names, the newest file, the links
 * `last` and `best`. Local.
 */
#ifndef VOCDIST_RUN_CHECKPOINT_FOLDER_H
#define VOCDIST_RUN_CHECKPOINT_FOLDER_H

#include "run/checkpoint.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Reads the checkpoint that `path` stands for: a file, a link to one, or the
 * last one of a run's folder or its checkpoints/ (by the link `last`, else by
 * name). Without `values` only the head (checkpoint_read_head()). VD_NOINPUT
 * where there is none; other errors are checkpoint_read()'s.
 */
enum vd_err checkpoint_open(struct checkpoint *c, const char *path,
                            bool values) VD_MUST_USE;

/* True for "step-00000012.h5" exactly as written here. Any other file in the
 * folder is the user's, and is neither read nor removed. */
bool checkpoint_is_name(const char *name);

/* The steps of a folder's checkpoints, by name, in rising order. */
struct checkpoint_list {
    uint64_t *steps; /* owned */
    size_t n;
};
enum vd_err checkpoint_list_read(struct checkpoint_list *list,
                                 const char *folder) VD_MUST_USE;
/* "step-00000012.h5"; "FOLDER/step-00000012.h5". Owned. */
char *checkpoint_name(uint64_t step);
char *checkpoint_path(const char *folder, uint64_t step);

/*
 * The newest checkpoint of a folder that is whole: damaged ones, and files
 * whose contents are of another step than their name, are passed over with a
 * warning. `path` is owned, NULL when there is none; VD_DATA when there are
 * some and none is whole.
 */
enum vd_err checkpoint_read_newest(struct checkpoint *c, const char *folder,
                                   char **path) VD_MUST_USE;

/* The links `last` and, if it is the best, `best` in its folder. */
enum vd_err checkpoint_link(const struct checkpoint *c,
                            const char *path) VD_MUST_USE;

/*
 * Sets the link `best` again where it is missing (a copy of the folder without
 * its links) or points to a file that is missing: to the newest checkpoint up
 * to step `last` that is marked as the best and whole. A regular file `best`
 * (a copy that followed the links) gets its own name back, if no file has it.
 * Says what it did; VD_IO when the link cannot be set.
 */
enum vd_err checkpoint_restore_best(const char *folder,
                                    uint64_t last) VD_MUST_USE;

#endif
