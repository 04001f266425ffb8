/* The kind of a file that is given as weights. Local. */
#ifndef VOCDIST_MODEL_WEIGHTS_KIND_H
#define VOCDIST_MODEL_WEIGHTS_KIND_H

#include "base/err.h"

/* VD_DATA, with a remedy for that kind, if the file is not safetensors (a .pth,
 * a checkpoint, a folder, ...); VD_NOINPUT if it cannot be opened. */
enum vd_err weights_check_kind(const char *path) VD_MUST_USE;

#endif
