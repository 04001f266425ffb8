/* Shared by the weights*.c files only. */
#ifndef VOCDIST_MODEL_WEIGHTS_INTERNAL_H
#define VOCDIST_MODEL_WEIGHTS_INTERNAL_H

#include "model/weights.h"

/* VD_DATA, with the way to go on, for a file of another kind (a .pth, a
 * checkpoint, a folder, ...); VD_NOINPUT for one that cannot be opened. */
enum vd_err weights_check_kind(const char *path) VD_MUST_USE;

#endif
