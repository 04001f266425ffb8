/*
 * What packing tells: rows of labels.csv, the report inside pack.json, and
 * the lines on the terminal. Local.
 */
#ifndef VOCDIST_PREPROCESS_REPORT_H
#define VOCDIST_PREPROCESS_REPORT_H

#include "base/text.h"
#include "data/shard.h"
#include "preprocess/pack.h"

#include <stdbool.h>
#include <stddef.h>

/* Diagnostics named one by one in pack.json; all are counted. */
#define REPORT_MAX_DIAGNOSTICS 1000

/* Borrows from `p`. */
struct shard_format report_format(const struct pack *p);

/* id,class,x1,y1,x2,y2,width,height; texts quoted where CSV needs it. */
void report_add_label(struct text *out, const struct classes *classes,
                      const struct shard_sample *sample);

/* Images packed for this split, and of this class if `class` >= 0. */
size_t report_count_images(const struct pack *p, int split);
size_t report_count_class_images(const struct pack *p, int split, int class);

/*
 * The report as a JSON object: options, counts, diagnostics by kind and by
 * file. The same bytes for the same data and options, wherever and by however
 * many ranks it was packed. Owned.
 */
char *report_json(const struct pack *p, int split,
                  const struct diagnostics *found);

/*
 * Says what was found: counts by kind, and the first few of each kind; all
 * bad files, or all images without an object, where they stop the work.
 */
void report_log_diagnostics(const struct diagnostics *found, bool all_bad,
                            bool all_empty);
/* One line a split: images, classes, time. */
void report_log_summary(const struct pack *p, double seconds);

#endif
