/*
 * vocpack check: reports every problem of VOC folders by file and line, and a
 * table of their classes. It decodes every image and compares the lists, as
 * packing does, but writes no files. Local.
 */
#ifndef VOCDIST_PREPROCESS_DATA_CHECK_H
#define VOCDIST_PREPROCESS_DATA_CHECK_H

#include "base/err.h"
#include "preprocess/diagnostics.h"
#include "preprocess/voc_dataset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Filled from the option table in main.c. */
struct data_check_options {
    int64_t threads; /* -1: one per core */
    char *split;     /* as in struct pack_options; "": all lists */
    bool strict;     /* VD_DATA if a problem is found */
};

/*
 * Writes problems and a summary to `out`. Without `strict` it fails only if the
 * check itself is impossible (for example, no such folder); with `strict` also
 * with VD_DATA if there is a problem.
 */
enum vd_err data_check_run(const struct data_check_options *options,
                           char *const *roots, int n_roots,
                           FILE *out) VD_MUST_USE;

#endif
