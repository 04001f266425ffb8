/*
 * Forward and backward pass of a net, as backend_ops.forward and .backward.
 * Local.
 */
#ifndef VOCDIST_BACKEND_CPU_PASS_H
#define VOCDIST_BACKEND_CPU_PASS_H

#include "backend/backend.h"

enum vd_err cpu_forward(struct net *net) VD_MUST_USE;
enum vd_err cpu_backward(struct net *net, struct buf *exchange, ready_fn *ready,
                         void *ctx) VD_MUST_USE;

#endif
