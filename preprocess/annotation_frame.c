/* Frames by the rules in annotation_frame.h. */
#include "preprocess/annotation_frame.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Whether the text contains a word VOC2005 .. VOC2012. */
static bool names_voc_year(const char *text)
{
    for (const char *p = text; (p = strstr(p, "VOC")); p += 3) {
        char *end = NULL;
        if ((p > text && isalnum((unsigned char)p[-1])) ||
            !isdigit((unsigned char)p[3]))
            continue;
        long year = strtol(p + 3, &end, 10);
        if (year >= 2005 && year <= 2012 && !isalnum((unsigned char)*end))
            return true;
    }
    return false;
}

bool annotation_frame_is_official(const struct annotation *a)
{
    return names_voc_year(a->source);
}

static bool swaps_sides(int orientation)
{
    return orientation >= 5 && orientation <= 8;
}

struct annotation_frame
annotation_frame_find(const struct annotation *a,
                      const struct image_file_info *source)
{
    int w = source->width, h = source->height;
    bool swaps = swaps_sides(source->orientation);
    struct annotation_frame f = {
        .one_based = annotation_frame_is_official(a),
        .orientation = 1,
        .stored_w = w,
        .stored_h = h,
        .upright_w = swaps ? h : w,
        .upright_h = swaps ? w : h,
    };
    bool has_size = a->width > 0 && a->height > 0;
    bool is_upright = a->width == f.upright_w && a->height == f.upright_h;
    bool is_stored = a->width == w && a->height == h;
    if (swaps && is_stored && !is_upright)
        f.orientation = source->orientation;
    f.size_differs = has_size && !is_upright && !is_stored;
    f.is_ambiguous = source->orientation != 1 && is_upright == is_stored;
    return f;
}

/* Maps one corner from the stored frame to the upright one (EXIF 5..8). */
static void rotate_corner(const struct annotation_frame *f, double *x,
                          double *y)
{
    double w = f->stored_w, h = f->stored_h, px = *x, py = *y;
    switch (f->orientation) {
    case 5: /* mirrored along the main diagonal */
        *x = py;
        *y = px;
        break;
    case 6: /* display rotated 90 degrees clockwise */
        *x = h - py;
        *y = px;
        break;
    case 7: /* mirrored along the other diagonal */
        *x = h - py;
        *y = w - px;
        break;
    case 8: /* display rotated 90 degrees counterclockwise */
        *x = py;
        *y = w - px;
        break;
    default: /* 2..4 keep width and height: read as upright */
        break;
    }
}

static double clip_coordinate(double value, double limit, double *overrun)
{
    double inside = fmin(fmax(value, 0), limit);
    *overrun = fmax(*overrun, fabs(value - inside));
    return inside;
}

bool annotation_frame_box(const struct annotation_frame *f,
                          const double coordinates[4], double box[4],
                          double *overrun)
{
    double shift = f->one_based ? 1 : 0, over = 0;
    double x1 = coordinates[0] - shift, y1 = coordinates[1] - shift;
    double x2 = coordinates[2], y2 = coordinates[3];
    rotate_corner(f, &x1, &y1);
    rotate_corner(f, &x2, &y2);
    box[0] = clip_coordinate(fmin(x1, x2), f->upright_w, &over);
    box[1] = clip_coordinate(fmin(y1, y2), f->upright_h, &over);
    box[2] = clip_coordinate(fmax(x1, x2), f->upright_w, &over);
    box[3] = clip_coordinate(fmax(y1, y2), f->upright_h, &over);
    *overrun = over;
    return box[2] > box[0] && box[3] > box[1];
}

double annotation_frame_area(const struct annotation_frame *f,
                             const double coordinates[4])
{
    bool is_rotated = f->orientation != 1;
    double low = f->one_based ? 1 : 0, side[2];
    double high[2] = {is_rotated ? f->stored_w : f->upright_w,
                      is_rotated ? f->stored_h : f->upright_h};
    for (int k = 0; k < 2; k++) {
        double from = fmin(fmax(coordinates[k], low), high[k]);
        double to = fmin(fmax(coordinates[k + 2], low), high[k]);
        side[k] = to - from + 1;
    }
    return side[0] * side[1];
}
