/*
 * Sites: the named phases of a run in which ranks meet. One list serves
 * messages ("... while opening the data"), the watchdog, time limits and fault
 * injection. Every Collective call takes its site, so a call without one does
 * not compile, and a test that walks the list reaches every one of them.
 *
 * Faults for tests, in every build, so that what is tested is what runs:
 *
 *     VOCDIST_FAULT=SITE:RANK[:ACTION[:VISIT]]     e.g. checkpoint:0:kill:2
 *
 * at that rank's VISIT-th visit of the site (1 if not given):
 *     error   fails with "injected fault at SITE" (the default)
 *     exit    leaves without a word, exit code 70
 *     hang    sleeps for ever
 *     kill    as by SIGKILL
 *     nan     for the caller: fault_nan() is true
 *
 * Without the variable a site costs one getenv(): no state, no lock. Local.
 */
#ifndef VOCDIST_BASE_FAULT_H
#define VOCDIST_BASE_FAULT_H

#include "base/err.h"

#include <stdbool.h>

/* X(site, name in VOCDIST_FAULT, what the run is doing) */
#define FAULT_SITES(X)                                            \
    X(SITE_INIT, "init", "starting the ranks")                    \
    X(SITE_CORES, "cores", "counting cores")                      \
    X(SITE_CONFIG, "config", "comparing the configuration")       \
    X(SITE_RUN_FOLDER, "run-folder", "opening the run's folder")  \
    X(SITE_DATA, "data", "opening the data")                      \
    X(SITE_DEVICE, "device", "opening the device")                \
    X(SITE_MODEL, "model", "building the network")                \
    X(SITE_PLAN, "plan", "choosing algorithms")                   \
    X(SITE_WEIGHTS, "weights", "reading weights")                 \
    X(SITE_RESUME, "resume", "reading the checkpoint")            \
    X(SITE_EXCHANGE, "exchange", "opening the gradient exchange") \
    X(SITE_STEP, "step", "computing a step")                      \
    X(SITE_REDUCE, "reduce", "averaging gradients")               \
    X(SITE_FLAGS, "flags", "agreeing on a step's flags")          \
    X(SITE_EPOCH, "epoch", "ending an epoch")                     \
    X(SITE_EVAL, "eval", "evaluating")                            \
    X(SITE_CHECKPOINT, "checkpoint", "writing the checkpoint")    \
    X(SITE_REPORT, "report", "writing the report")                \
    X(SITE_PACK, "pack", "packing images")                        \
    X(SITE_SHUTDOWN, "shutdown", "ending the run")

#define FAULT_ENUM(site, name, activity) site,
enum fault_site { FAULT_SITES(FAULT_ENUM) FAULT_SITE_COUNT };
#undef FAULT_ENUM

/* "checkpoint"; "writing the checkpoint". */
const char *fault_site_name(enum fault_site site);
const char *fault_site_activity(enum fault_site site);

/*
 * VD_OK, or the injected error. VD_CONFIG when VOCDIST_FAULT is malformed.
 * With exit, hang and kill it does not return.
 */
enum vd_err fault_at(enum fault_site site, int rank) VD_MUST_USE;

/* True when the caller shall put a NaN into what it has computed. */
bool fault_nan(enum fault_site site, int rank);

#endif
