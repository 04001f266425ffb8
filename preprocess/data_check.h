/*
 * vocpack check: every problem of VOC folders by file and line, images
 * decoded and lists compared too, and a table of their classes. Nothing is
 * written. Local.
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

/* Rows of the option table write into it. */
struct data_check_options {
    int64_t threads; /* -1: one per core */
    char *split;     /* as in struct pack_options */
    bool strict;
};

/*
 * Writes problems and summary to `out`. VD_DATA with `strict` when anything
 * was found; otherwise failures to look at all (no such folder) only.
 */
enum vd_err data_check_run(const struct data_check_options *options,
                           char *const *roots, int n_roots,
                           FILE *out) VD_MUST_USE;

#endif
