/*
 * The transport of deferred's collective: partial sums in memory that the ranks
 * of one host share, a file in /dev/shm or $DEFERRED_SHARED_DIR. Means are
 * numbered in the order in which they start; at most one is in progress. No
 * call waits for another rank. Local; one thread at a time.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_SHARED_MEANS_H
#define VOCDIST_BACKEND_DEFERRED_SHARED_MEANS_H

#include "backend/collective.h"

struct shared_means;

/* A name that no other process of this host uses. */
void shared_means_make_id(struct collective_id *id);
/* `n_elements` of an exchange buffer. Rank 0 creates the shared memory. */
enum vd_err shared_means_open(struct shared_means **out,
                              const struct collective_spec *spec,
                              size_t n_elements) VD_MUST_USE;
/* Tells the other ranks that this one has left. */
void shared_means_close(struct shared_means *m);

/* Joins as far as possible. *ready: all ranks have joined. VD_COMM if a rank
 * has left before it gave its partial sums for the mean in progress. */
enum vd_err shared_means_state(struct shared_means *m, bool *ready) VD_MUST_USE;

bool shared_means_in_progress(const struct shared_means *m);
/* Gives this rank's partial sums (host memory) over `range`; asserts that no
 * mean is in progress. */
void shared_means_start(struct shared_means *m, float *const *partials,
                        struct range range);
/* *finished: the partial sums of all ranks are there; the mean in progress was
 * written to the elements of its range in `out`. VD_BUG if the ranks do not
 * have the same range. */
enum vd_err shared_means_finish(struct shared_means *m, float *out,
                                bool *finished) VD_MUST_USE;

#endif
