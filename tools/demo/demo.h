/*
 * The demo data of `vocpack demo`: a generated data set in VOC's layout, to try
 * vocpack and vocdist without a download. It is a small but real learning
 * problem: demo_shapes.h has the classes, and tests/e2e/demo_baselines.py shows
 * which simple baselines do NOT solve it.
 *
 *     DIR/JPEGImages/000000.jpg ...      images of different sizes
 *     DIR/Annotations/000000.xml ...     all objects; edges counted from 0
 *     DIR/ImageSets/Main/{train,val,trainval}.txt   every 8th image is in val
 *
 * Image i depends on the seed, i and the size only, not on the number of images
 * or threads. The lists are written last, so a set with lists is complete.
 * Local.
 */
#ifndef VOCDIST_TOOLS_DEMO_DEMO_H
#define VOCDIST_TOOLS_DEMO_DEMO_H

#include "base/err.h"

#include <stdint.h>

#define DEMO_VAL_EVERY 8 /* the last of 8 images is for validation */

struct demo_options {
    int64_t images, seed;
    int64_t size;    /* longer side of an image in pixels */
    int64_t threads; /* -1: one per core */
};

/* Creates `folder`. VD_CREATE if it already contains a data set or cannot be
 * created, VD_IO if a file cannot be written. */
enum vd_err demo_write(const char *folder,
                       const struct demo_options *options) VD_MUST_USE;

#endif
