/*
 * From coordinates in an annotation to a box in the image: which frame they
 * are in, and which object is the largest. Pure arithmetic; Local.
 *
 * Pixels or edges. Files of the official VOC years (a word VOC2005..VOC2012
 * inside <source>) count pixels from 1, both ends included: pixel 1..W covers
 * the edges 0..W, so a box is xmin-1, ymin-1, xmax, ymax. All other files
 * (labelImg, CVAT, exporters) give edges counted from 0: xmax is where the
 * object ends, and a box is xmin, ymin, xmax, ymax as written. <folder> does
 * not decide: labelling tools write the name of the folder they were run in.
 *
 * Upright or stored. An image may say in its EXIF tag how to turn it; it is
 * packed upright. Where the turn swaps width and height, <size> tells whether
 * the boxes are in the upright frame or in that of the stored pixels, which
 * are then turned with the image. Otherwise they are taken as upright, as
 * viewers and labelling tools show them.
 */
#ifndef VOCDIST_PREPROCESS_ANNOTATION_FRAME_H
#define VOCDIST_PREPROCESS_ANNOTATION_FRAME_H

#include "image/image.h"
#include "preprocess/annotation.h"

#include <stdbool.h>

struct annotation_frame {
    bool one_based;
    int orientation;          /* turn the boxes by this EXIF value; 1: none */
    int stored_w, stored_h;   /* of the pixels as stored */
    int upright_w, upright_h; /* of the image as packed */
    bool size_differs;        /* <size> is given and fits neither frame */
    bool is_ambiguous; /* turned image, and <size> cannot tell which frame */
};

bool annotation_frame_is_official(const struct annotation *a);
struct annotation_frame
annotation_frame_find(const struct annotation *a,
                      const struct image_file_info *source);

/*
 * The box x1 y1 x2 y2 of an object that has one, in edges of the upright
 * image, clipped to it. False: nothing of it is left. `overrun` is how far
 * it went outside, in pixels; 0 for most.
 */
bool annotation_frame_box(const struct annotation_frame *f,
                          const double coordinates[4], double box[4],
                          double *overrun);

/*
 * (xmax - xmin + 1)(ymax - ymin + 1) of the coordinates clipped to the image:
 * what lies outside does not count, and a box inside keeps its area.
 */
double annotation_frame_area(const struct annotation_frame *f,
                             const double coordinates[4]);

#endif
