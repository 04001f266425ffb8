/* Shared by the weights*.c files. */
#ifndef VOCDIST_MODEL_WEIGHTS_INTERNAL_H
#define VOCDIST_MODEL_WEIGHTS_INTERNAL_H

#include "model/weights.h"

/* VD_DATA, with a remedy for that kind, if the file is not safetensors (a .pth,
 * a checkpoint, a folder, ...); VD_NOINPUT if it cannot be opened. */
enum vd_err weights_check_kind(const char *path) VD_MUST_USE;

#endif
