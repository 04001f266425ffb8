/*
 * Benchmark of the parts of a session: steps, loader, exchange, checkpoints.
 * docs/bench.md defines the measurements and every field of the report.
 *
 * Times are in seconds. A `timing` is that of the slowest rank, the one with
 * the largest median; for steps, the largest median of total - exchange, since
 * the other ranks wait for that rank in the exchange.
 */
#ifndef VOCDIST_BENCH_BENCH_H
#define VOCDIST_BENCH_BENCH_H

#include "base/text.h"
#include "bench/timing_table.h"
#include "store/json.h"
#include "train/session.h"

#define BENCH_WARMUP 2 /* steps before the timed ones */

struct bench_request {
    bool step, loader, exchange, checkpoint; /* what to measure */
    int n_steps;                             /* timed steps */
    bool synthetic; /* the images are generated (synthetic_images.h) */
};

/* BENCH_TOTAL is the sum of those before it except BENCH_STAGE. */
enum bench_phase {
    BENCH_STAGE,
    BENCH_WAIT,
    BENCH_FORWARD,
    BENCH_BACKWARD,
    BENCH_EXCHANGE,
    BENCH_UPDATE,
    BENCH_OTHER,
    BENCH_TOTAL,
    BENCH_PHASES
};
/* Such as "stage"; also the key in JSON. */
const char *bench_phase_name(enum bench_phase phase);

struct bench_steps {
    struct timing phases[BENCH_PHASES];
    struct timing stage_one; /* of one micro-batch of the rank */
    struct timing processor; /* CPU time of all threads of the rank */
    struct timing device;    /* update_result.seconds; zeros: not measured */
    double images_per_s;     /* of all ranks */
    double wait_share;       /* BENCH_WAIT / BENCH_TOTAL */
    int slowest;             /* rank */
};

struct bench_report {
    struct bench_request request;
    double load;     /* load average of rank 0's host, before measuring */
    char *processor; /* CPU model of rank 0; owned */

    struct bench_steps memory, shards; /* images from memory, from shards */
    int64_t peak_memory;               /* bytes, the largest of any rank */
    int peak_rank;

    struct timing load_batch; /* of one micro-batch */
    double load_images_per_s; /* of all ranks */

    size_t exchange_bytes; /* of one replica's buffer */
    size_t sent_bytes;     /* by the rank that sends most; 0: not measured */
    int messages;          /* buckets of one exchange */
    struct timing exchange;
    double step_s;   /* a step from memory without its exchange */
    double gb_per_s; /* sent_bytes over time, in 1e9 bytes */

    int64_t checkpoint_bytes;
    struct timing stall; /* training waits */
    struct timing write; /* from then until the file is on disk */
    struct timing read;
};

/* Collective, on an open session. Only the requested parts of the report are
 * filled; it is equal on all ranks except processor, load and checkpoint_bytes
 * (rank 0's). The caller clears it. VD_STOPPED, agreed, after a signal. */
enum vd_err bench_measure(struct session *s,
                          const struct bench_request *request,
                          struct bench_report *out) VD_MUST_USE;
void bench_report_clear(struct bench_report *report);

/* Local, on rank 0: the report as text, and as one JSON object that the caller
 * frees. */
void bench_format(const struct session *s, const struct bench_report *report,
                  struct text *out);
struct json *bench_to_json(const struct session *s,
                           const struct bench_report *report);

/* ---- parts of bench_measure() (bench_steps.c) ---- */

/* Collective: BENCH_WARMUP + `n` steps. Call from_shards first, since
 * from_memory stops the prefetch thread. */
enum vd_err bench_steps_from_shards(struct session *s, int n,
                                    struct bench_steps *out) VD_MUST_USE;
enum vd_err bench_steps_from_memory(struct session *s, int n,
                                    struct bench_steps *out) VD_MUST_USE;

#endif
