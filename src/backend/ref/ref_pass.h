/* Forward and backward pass of backend ref; members of backend_ops, see
 * backend.h. */
#ifndef VOCDIST_BACKEND_REF_REF_PASS_H
#define VOCDIST_BACKEND_REF_REF_PASS_H

#include "backend/ref/ref_net.h"

enum vd_err ref_forward(struct net *net);
enum vd_err ref_backward(struct net *net, struct buf *exchange, ready_fn *ready,
                         void *ctx);

#endif
