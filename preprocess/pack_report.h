/*
 * The texts that packing writes: rows of labels.csv, the report inside
 * pack.json, and log lines. Local.
 */
#ifndef VOCDIST_PREPROCESS_PACK_REPORT_H
#define VOCDIST_PREPROCESS_PACK_REPORT_H

#include "base/text.h"
#include "data/shard.h"
#include "preprocess/pack.h"

#include <stdbool.h>
#include <stddef.h>

/* Most diagnostics listed in pack.json; all are counted. */
#define PACK_REPORT_MAX_DIAGNOSTICS 1000

/* The format of all shards. Borrows from `p`. */
struct shard_format pack_report_format(const struct pack *p);

/* Appends id,class,x1,y1,x2,y2,width,height; texts are quoted if CSV requires
 * it. The box is in pixels of the stored image, the size that of the original.
 */
void pack_report_add_label(struct text *out, const struct classes *classes,
                           const struct shard_sample *sample);

/* Images packed for this split; those with this label. */
size_t pack_report_count_images(const struct pack *p, int split);
size_t pack_report_count_class_images(const struct pack *p, int split,
                                      int class);

/*
 * The report as a JSON object: options, counts, diagnostics by kind and by
 * file. The bytes depend on data and options only, not on the location of the
 * data or the number of ranks. Owned.
 */
char *pack_report_json(const struct pack *p, int split,
                       const struct diagnostics *found);

/*
 * Logs diagnostics: the first few of each kind as warnings, and the count.
 * Logs all bad files as errors with `all_bad`, and all images without an object
 * with `all_empty`: the caller sets these if they stop packing.
 */
void pack_report_log_diagnostics(const struct diagnostics *found, bool all_bad,
                                 bool all_empty);
/* Logs one line per split (images, classes), then images and time in total. */
void pack_report_log_summary(const struct pack *p, double seconds);

#endif
