/* Private to exchange: the implementations that exchange_open() can choose. */
#ifndef VOCDIST_EXCHANGE_EXCHANGE_INTERNAL_H
#define VOCDIST_EXCHANGE_EXCHANGE_INTERNAL_H

#include "exchange/exchange.h"

extern const struct exchange_ops exchange_none; /* exchange_none.c */
extern const struct exchange_ops exchange_mpi;  /* exchange_mpi.c, optional */
extern const struct exchange_ops exchange_nccl; /* exchange_nccl.c */

#endif
