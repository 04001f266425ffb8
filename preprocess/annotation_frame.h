/*
 * The coordinate frame of an annotation: maps its coordinates to a box in the
 * packed image, and computes the area that selects the largest object. Pure
 * arithmetic; Local.
 *
 * Pixels or edges. Files of the official VOC years (a word VOC2005..VOC2012
 * inside <source>) count pixels from 1 and include both ends: pixels 1..W cover
 * the edges 0..W, so the box is xmin-1, ymin-1, xmax, ymax. All other files
 * (labelImg, CVAT, exporters) give edges counted from 0: xmax is the edge at
 * which the object ends, so the box is xmin, ymin, xmax, ymax. <folder> is not
 * used: labelling tools write the name of their working folder into it.
 *
 * Upright or stored. The EXIF orientation of an image gives the rotation or
 * reflection of the stored pixels; the packed image is upright. If it
 * swaps width and height, <size> shows whether the boxes are in the upright
 * frame or in the frame of the stored pixels; in the second case the boxes are
 * rotated with the image. In all other cases the boxes are read as upright,
 * because viewers and labelling tools show images upright.
 */
#ifndef VOCDIST_PREPROCESS_ANNOTATION_FRAME_H
#define VOCDIST_PREPROCESS_ANNOTATION_FRAME_H

#include "image/image.h"
#include "preprocess/annotation.h"

#include <stdbool.h>

struct annotation_frame {
    bool one_based;
    int orientation;          /* EXIF value to rotate the boxes by; 1: none */
    int stored_w, stored_h;   /* pixels, as stored */
    int upright_w, upright_h; /* pixels, as packed */
    bool size_differs;        /* <size> is given and fits neither frame */
    bool is_ambiguous; /* rotated image, and <size> fits both frames or none */
};

/* Whether the file is from an official VOC year, by its <source>. */
bool annotation_frame_is_official(const struct annotation *a);
/* The frame of an annotation for the stored image `source`. */
struct annotation_frame
annotation_frame_find(const struct annotation *a,
                      const struct image_file_info *source);

/*
 * Maps xmin ymin xmax ymax of an annotation to the box x1 y1 x2 y2: edges of
 * the upright image, clipped to it. `overrun` is the largest distance by which
 * a coordinate was outside, in pixels; usually 0. Returns false if the clipped
 * box has no area.
 */
bool annotation_frame_box(const struct annotation_frame *f,
                          const double coordinates[4], double box[4],
                          double *overrun);

/*
 * VOC's area (xmax - xmin + 1)(ymax - ymin + 1) of the coordinates clipped to
 * the image, in pixels: parts outside do not count, and clipping does not
 * change a box inside.
 */
double annotation_frame_area(const struct annotation_frame *f,
                             const double coordinates[4]);

#endif
