/* The update of backend ref; a member of backend_ops, see backend.h. */
#ifndef VOCDIST_BACKEND_REF_REF_OPTIM_H
#define VOCDIST_BACKEND_REF_REF_OPTIM_H

#include "backend/ref/ref_net.h"

enum vd_err ref_update(struct net *net, struct buf *exchange);

#endif
