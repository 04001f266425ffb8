/*
 * How fast a run would be on these machines: the parts of a session, measured.
 * docs/bench.md defines what is measured and every field of the report.
 *
 * Times are in seconds. A `timing` is the slowest rank's, the one with the
 * largest median; for steps, the largest median of total - exchange, since the
 * other ranks wait for that rank in the exchange.
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
    bool synthetic;                          /* the images are */
};

/* BENCH_TOTAL is the sum of those before it but BENCH_STAGE. */
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
/* "stage"; its key in JSON too. */
const char *bench_phase_name(enum bench_phase phase);

struct bench_steps {
    struct timing phases[BENCH_PHASES];
    struct timing stage_one; /* BENCH_STAGE is of a rank's micro-batches */
    struct timing processor; /* time of all its threads, for busy machines */
    double images_per_s, wait_share;
    int slowest; /* rank */
};

struct bench_report {
    struct bench_request request;
    double load;     /* of rank 0's host, before it all */
    char *processor; /* of rank 0; owned */

    struct bench_steps memory, shards; /* by where the images come from */
    int64_t peak_memory;
    int peak_rank;

    struct timing load_batch;
    double load_images_per_s;

    size_t exchange_bytes, sent_bytes;
    int messages;
    struct timing exchange;
    double step_s, gb_per_s;

    int64_t checkpoint_bytes;
    struct timing stall, write, read;
};

/* Collective, on an open session. VD_STOPPED, agreed, after a signal. The
 * report is the same on all ranks except processor and load. */
enum vd_err bench_measure(struct session *s,
                          const struct bench_request *request,
                          struct bench_report *out) VD_MUST_USE;
void bench_report_clear(struct bench_report *report);

/* Local: for people, and as one JSON object, which the caller owns. */
void bench_format(const struct session *s, const struct bench_report *report,
                  struct text *out);
struct json *bench_to_json(const struct session *s,
                           const struct bench_report *report);

/* ---- its steps; Collective ---- */

/* Steps from shards come first: those from memory stop the prefetch thread. */
enum vd_err bench_steps_from_shards(struct session *s, int n,
                                    struct bench_steps *out) VD_MUST_USE;
enum vd_err bench_steps_from_memory(struct session *s, int n,
                                    struct bench_steps *out) VD_MUST_USE;

#endif
