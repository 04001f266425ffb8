/*
 * Means over shared memory: a file that all ranks map. Its name is removed as
 * soon as all ranks have joined. A rank that is killed before leaves the file,
 * so tests set DEFERRED_SHARED_DIR to a folder that they remove.
 *
 * The memory has a header with counters and two slots, each with room for the
 * partial sums of all ranks. Mean k uses slot k % 2:
 *
 *     start    copies this rank's partial sums into the slot, then increments
 *              this rank's `posted`
 *     finish   when all ranks have posted mean k: adds them in the order of the
 *              reduction tree, in private memory, and divides
 *
 * A rank starts mean k after it has finished mean k - 1. Then all ranks have
 * posted k - 1, so all have finished k - 2, and nobody reads slot k % 2.
 */
#include "backend/deferred/shared_means.h"

#include "backend/reduction_tree.h"
#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SLOTS     2
#define MAX_RANKS 256

/* At the start of the shared memory; zeroed when it is created. */
struct shared_header {
    atomic_int n_joined;
    struct {
        atomic_uint_fast64_t posted; /* means */
        atomic_bool left;
        struct range ranges[SLOTS];
    } ranks[MAX_RANKS];
};

struct shared_means {
    char *path; /* owned: of the file */
    int rank, size, replicas;
    size_t n_elements;
    /* The final sums: its inputs are the partial sums of all ranks. */
    struct reduction_plan plan;
    int n_partials, first_partial; /* of this rank, among all inputs */
    float *sums;                   /* [plan.n_buffers, n_elements], owned */
    struct shared_header *header;  /* NULL: not mapped yet */
    uint64_t n_started, n_finished;
    struct range range; /* of the mean in progress */
};

void shared_means_make_id(struct collective_id *id)
{
    static int n;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *id = (struct collective_id){{0}};
    snprintf((char *)id->bytes, sizeof id->bytes, "vocdist-deferred-%d-%lld-%d",
             (int)getpid(), (long long)now.tv_sec * 1000000000 + now.tv_nsec,
             n++);
}

/* ---- opening ---- */

static void init_plan(struct shared_means *m)
{
    int n_partials[MAX_RANKS];
    reduction_plan_init_final(&m->plan, m->size, m->replicas, n_partials);
    for (int rank = 0; rank < m->rank; rank++)
        m->first_partial += n_partials[rank];
    m->n_partials = n_partials[m->rank];
}

static size_t slot_elements(const struct shared_means *m)
{
    return (size_t)m->plan.n_inputs * m->n_elements;
}

static size_t shared_bytes(const struct shared_means *m)
{
    return sizeof(struct shared_header) +
           SLOTS * slot_elements(m) * sizeof(float);
}

static enum vd_err fail_no_memory(const struct shared_means *m, int error)
{
    return VD_FAIL(VD_SYSTEM,
                   "backend deferred: %s: no shared memory: %s\n"
                   "check the space in this folder",
                   m->path, strerror(error));
}

/* With all of its blocks: access to a block that a full disk does not have
 * would end the process (SIGBUS). */
static enum vd_err create_memory(const struct shared_means *m)
{
    int fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_no_memory(m, errno);
    int error = posix_fallocate(fd, 0, (off_t)shared_bytes(m));
    close(fd);
    return error ? fail_no_memory(m, error) : VD_OK;
}

enum vd_err shared_means_open(struct shared_means **out,
                              const struct collective_spec *spec,
                              size_t n_elements)
{
    struct shared_means *m = xcalloc(1, sizeof *m);
    enum vd_err err;
    const char *dir = getenv("DEFERRED_SHARED_DIR");
    VD_ASSERT(spec->size <= MAX_RANKS);
    *m = (struct shared_means){.rank = spec->rank,
                               .size = spec->size,
                               .replicas = spec->replicas,
                               .n_elements = n_elements};
    m->path = xasprintf("%s/%s", dir ? dir : "/dev/shm",
                        (const char *)spec->id.bytes);
    init_plan(m);
    VD_ASSERT(m->n_partials == spec->n_partials);
    VD_TRY_GOTO(fail, err,
                alloc_aligned((void **)&m->sums,
                              (size_t)m->plan.n_buffers * n_elements,
                              sizeof(float), "sums of a test"));
    if (m->rank == 0)
        VD_TRY_GOTO(fail, err, create_memory(m));
    *out = m;
    return VD_OK;
fail:
    shared_means_close(m);
    return err;
}

void shared_means_close(struct shared_means *m)
{
    if (m->header) {
        atomic_store(&m->header->ranks[m->rank].left, true);
        munmap(m->header, shared_bytes(m));
    }
    if (m->rank == 0)
        unlink(m->path); /* it is still there if not all have joined */
    alloc_aligned_free(m->sums);
    reduction_plan_clear(&m->plan);
    free(m->path);
    free(m);
}

/* Maps the memory if rank 0 has created it. The last rank removes its name. */
static enum vd_err try_join(struct shared_means *m)
{
    int fd = open(m->path, O_RDWR | O_CLOEXEC);
    struct stat s;
    bool exists =
        fd >= 0 && fstat(fd, &s) == 0 && s.st_size == (off_t)shared_bytes(m);
    void *map = MAP_FAILED;
    if (exists)
        map = mmap(NULL, shared_bytes(m), PROT_READ | PROT_WRITE, MAP_SHARED,
                   fd, 0);
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (!exists)
        return VD_OK;
    if (map == MAP_FAILED)
        return fail_no_memory(m, error);
    m->header = map;
    if (atomic_fetch_add(&m->header->n_joined, 1) == m->size - 1)
        unlink(m->path);
    return VD_OK;
}

static bool has_posted(const struct shared_means *m, int rank)
{
    return atomic_load(&m->header->ranks[rank].posted) > m->n_finished;
}

enum vd_err shared_means_state(struct shared_means *m, bool *ready)
{
    *ready = false;
    if (!m->header)
        VD_TRY(try_join(m));
    if (!m->header)
        return VD_OK;
    for (int rank = 0; rank < m->size; rank++)
        if (shared_means_in_progress(m) &&
            atomic_load(&m->header->ranks[rank].left) && !has_posted(m, rank))
            return VD_FAIL(VD_COMM,
                           "backend deferred: rank %d has ended, but this rank "
                           "waits for its gradients\n"
                           "see the messages of that rank",
                           rank);
    *ready = atomic_load(&m->header->n_joined) == m->size;
    return VD_OK;
}

/* ---- means ---- */

/* Partial sum `input` of a slot: range.n elements each, so that a small range
 * uses little memory. */
static float *slot_partial(const struct shared_means *m, uint64_t mean,
                           int input)
{
    float *slots = (float *)(m->header + 1);
    return slots + mean % SLOTS * slot_elements(m) + (size_t)input * m->range.n;
}

bool shared_means_in_progress(const struct shared_means *m)
{
    return m->n_started > m->n_finished;
}

void shared_means_start(struct shared_means *m, float *const *partials,
                        struct range range)
{
    VD_ASSERT(m->header && !shared_means_in_progress(m));
    m->range = range;
    m->header->ranks[m->rank].ranges[m->n_started % SLOTS] = range;
    for (int i = 0; i < m->n_partials; i++)
        memcpy(slot_partial(m, m->n_started, m->first_partial + i),
               partials[i] + range.first, range.n * sizeof(float));
    m->n_started++;
    atomic_store(&m->header->ranks[m->rank].posted, m->n_started);
}

/* The additions of ref: dst += src in float. */
static void add_in_tree_order(struct shared_means *m)
{
    const struct reduction_plan *plan = &m->plan;
    for (int i = 0; i < plan->n_inputs; i++) {
        memcpy(m->sums + (size_t)plan->buffer[i] * m->n_elements,
               slot_partial(m, m->n_finished, i), m->range.n * sizeof(float));
        for (int k = plan->add_start[i]; k < plan->add_start[i + 1]; k++) {
            float *dst = m->sums + (size_t)plan->adds[k].dst * m->n_elements;
            float *src = m->sums + (size_t)plan->adds[k].src * m->n_elements;
            for (size_t e = 0; e < m->range.n; e++)
                dst[e] += src[e];
        }
    }
}

/* All ranks enqueue the same means in the same order. */
static enum vd_err compare_range(const struct shared_means *m, int rank)
{
    struct range other = m->header->ranks[rank].ranges[m->n_finished % SLOTS];
    if (other.first == m->range.first && other.n == m->range.n)
        return VD_OK;
    return VD_FAIL(VD_BUG,
                   "backend deferred: mean %llu: rank %d has elements %zu + "
                   "%zu, this rank %zu + %zu\n"
                   "enqueue the same means on all ranks",
                   (unsigned long long)m->n_finished, rank, other.first,
                   other.n, m->range.first, m->range.n);
}

enum vd_err shared_means_finish(struct shared_means *m, float *out,
                                bool *finished)
{
    *finished = true;
    for (int rank = 0; rank < m->size; rank++)
        *finished = *finished && has_posted(m, rank);
    if (!*finished)
        return VD_OK;
    for (int rank = 0; rank < m->size; rank++)
        VD_TRY(compare_range(m, rank));
    add_in_tree_order(m);
    const float *sum =
        m->sums + (size_t)m->plan.partial_buffer[0] * m->n_elements;
    for (size_t e = 0; e < m->range.n; e++)
        out[m->range.first + e] = sum[e] / (float)m->replicas;
    m->n_finished++;
    return VD_OK;
}
