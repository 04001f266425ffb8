/* For tests of cuDNN's plans: described devices, the network's operations, and
 * cuDNN's description of a plan. */
#ifndef VOCDIST_TESTS_BACKEND_CUDNN_FIXTURE_H
#define VOCDIST_TESTS_BACKEND_CUDNN_FIXTURE_H

#include "backend/cuda/cudnn_conv.h"
#include "check.h"

/* Larger than the workspace of any first candidate in 16 bits. */
#define WORKSPACE_LIMIT ((size_t)256 << 20)

extern const char *const fixture_devices[3]; /* "h200", "h100", "a100" */

/* The device described by devices/NAME.json; conv_device_free() it. */
struct conv_device *fixture_device(const char *name);

/* All operations of resnet34 with its head (20 classes) for images of 224
 * pixels, each once: both stems, all directions, data gradients also with
 * `accumulate`. free() the result. */
struct conv_spec *
fixture_operations(int batch, enum backend_precision precision, size_t *n);

/* Fails unless cuDNN's description of the plan has the tensors of `spec` in
 * their roles, alpha, beta, padding and strides, and the plan's engine with all
 * its knob values. */
void fixture_check_description(const struct conv_plan *plan,
                               const struct conv_spec *spec);

#endif
