/*
 * Sites and fault injection. A site is a named phase of a run in which ranks
 * communicate. Messages ("... while opening the data"), the watchdog, the time
 * limits and fault injection use the list of sites. Every Collective call has
 * its site as a parameter, so a test that iterates over the list covers all of
 * them.
 *
 * Fault injection is active in every build, so tests run the release code:
 *
 *     VOCDIST_FAULT=SITE:RANK[:ACTION[:VISIT]]     e.g. checkpoint:0:kill:2
 *
 * ACTION happens at the VISIT-th visit of the site by that rank (default 1):
 *     error   fail with "injected fault at SITE" (the default)
 *     exit    exit without a message, exit code 70
 *     hang    sleep forever
 *     kill    SIGKILL
 *     nan     fault_nan() returns true; the caller produces the NaN
 *
 * Without the variable a call costs one getenv(). A process has at most one
 * fault. Local.
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

/* For example "checkpoint" and "writing the checkpoint". */
const char *fault_site_name(enum fault_site site);
const char *fault_site_activity(enum fault_site site);

/*
 * Counts a visit. VD_OK, or VD_BUG for an injected error; VD_CONFIG if
 * VOCDIST_FAULT is malformed. Does not return for exit, hang and kill.
 */
enum vd_err fault_at(enum fault_site site, int rank) VD_MUST_USE;

/* Counts a visit. True if the caller must put a NaN into its result. */
bool fault_nan(enum fault_site site, int rank);

#endif
