/*
 * Generates one image:
 *
 *   1. background: gradient and bilinear noise; then 2 to 4 random strokes
 *   2. sketches: class, area and look of 2 to 5 objects, the largest first
 *   3. placement by rejection sampling: up to 80 tries to separate the boxes of
 *      the two largest; 20 tries for each other, which is dropped if all fail
 *   4. painting from back to front with 3 x 3 samples per pixel; `owner` has
 *      the visible object of each pixel, and the boxes are computed from it
 *   5. camera model: light, white balance, saturation, noise, rounding
 *
 * All random numbers come from one stream of (seed, index). The order of the
 * draws is part of the format: a change of it changes every image.
 */
#include "tools/demo/demo_image.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "tools/demo/demo_shapes.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#define SUBSAMPLES 3 /* per pixel in each direction */

/* The random numbers of one image. Draw at most one in a call or an
 * initializer: C does not specify the order of evaluation there. */
struct random_stream {
    uint64_t seed, index;
    uint32_t element;
};

static double draw_between(struct random_stream *d, double low, double high)
{
    return low + (high - low) *
                     rng_uniform(d->seed, RNG_DEMO, d->index, d->element++);
}

/* 0 .. n - 1 */
static int draw_index(struct random_stream *d, int n)
{
    return (int)draw_between(d, 0, n);
}

static bool draw_chance(struct random_stream *d, double p)
{
    return draw_between(d, 0, 1) < p;
}

/* The image before the camera model; colors are 0..1. */
struct linear_image {
    double *rgb; /* [height, width, 3], owned */
    int width, height;
};

/* An object before it is drawn. */
struct sketch {
    int class;
    double cosine, sine, stretch;   /* of its frame */
    double left, top, right, below; /* its box around the center, in radii */
    double x, y, radius;            /* pixels */
    double color[3], mark[3], rim[3];
    double period;   /* of the texture, in radii */
    double rim_from; /* the rim has greater levels (demo_shape_level) */
    bool is_truncated;
};

static int clamp_int(double v, int low, int high)
{
    return v < low ? low : v > high ? high : (int)v;
}

static void mix_color(double *rgb, const double *other, double share)
{
    for (int k = 0; k < 3; k++)
        rgb[k] += share * (other[k] - rgb[k]);
}

/* ---- background ------------------------------------------------------- */

/* A random color, in half of the cases near the color of a class, so that the
 * color histogram of an image reveals little about its objects. */
static void draw_color(struct random_stream *d, double rgb[3])
{
    double any[3];
    for (int k = 0; k < 3; k++)
        any[k] = draw_between(d, 0.12, 0.92);
    demo_class_color(draw_index(d, DEMO_CLASSES), rgb);
    mix_color(rgb, any, draw_chance(d, 0.5) ? 1 : draw_between(d, 0.1, 0.6));
}

#define PATCHES 5 /* of low-frequency noise in each direction */

struct background {
    double from[3], to[3]; /* ends of a gradient */
    double dx, dy;         /* direction of the gradient */
    double patch[PATCHES + 1][PATCHES + 1][3];
};

static void background_draw(struct background *b, struct random_stream *d)
{
    draw_color(d, b->from);
    draw_color(d, b->to);
    double angle = draw_between(d, 0, 6.2832);
    b->dx = cos(angle);
    b->dy = sin(angle);
    double strength = draw_between(d, 0.03, 0.15);
    for (int i = 0; i <= PATCHES; i++)
        for (int j = 0; j <= PATCHES; j++)
            for (int k = 0; k < 3; k++)
                b->patch[i][j][k] = draw_between(d, -strength, strength);
}

/* Gradient plus bilinear interpolation of the noise; u, v in 0..1. */
static void background_color(const struct background *b, double u, double v,
                             double rgb[3])
{
    double t = 0.5 + 0.6 * ((u - 0.5) * b->dx + (v - 0.5) * b->dy);
    int j = clamp_int(u * PATCHES, 0, PATCHES - 1);
    int i = clamp_int(v * PATCHES, 0, PATCHES - 1);
    double s = u * PATCHES - j, r = v * PATCHES - i;
    for (int k = 0; k < 3; k++) {
        double above = b->patch[i][j][k] * (1 - s) + b->patch[i][j + 1][k] * s;
        double under =
            b->patch[i + 1][j][k] * (1 - s) + b->patch[i + 1][j + 1][k] * s;
        rgb[k] = b->from[k] + t * (b->to[k] - b->from[k]) + above * (1 - r) +
                 under * r;
    }
}

static void paint_background(struct linear_image *c, struct random_stream *d)
{
    struct background b;
    background_draw(&b, d);
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++)
            background_color(&b, (x + 0.5) / c->width, (y + 0.5) / c->height,
                             c->rgb + 3 * ((ptrdiff_t)y * c->width + x));
}

static void paint_spot(struct linear_image *c, double x, double y,
                       double radius, const double color[3])
{
    int x0 = clamp_int(x - radius - 1, 0, c->width);
    int x1 = clamp_int(x + radius + 2, 0, c->width);
    int y0 = clamp_int(y - radius - 1, 0, c->height);
    int y1 = clamp_int(y + radius + 2, 0, c->height);
    for (int j = y0; j < y1; j++)
        for (int i = x0; i < x1; i++) {
            double over = radius + 0.5 - hypot(i + 0.5 - x, j + 0.5 - y);
            if (over > 0)
                mix_color(c->rgb + 3 * ((ptrdiff_t)j * c->width + i), color,
                          fmin(over, 1));
        }
}

/* A quadratic Bezier curve in a random color; a distractor, not an object. */
static void paint_stroke(struct linear_image *c, struct random_stream *d)
{
    double p[3][2], color[3];
    for (int k = 0; k < 3; k++) {
        p[k][0] = draw_between(d, -0.1, 1.1) * c->width;
        p[k][1] = draw_between(d, -0.1, 1.1) * c->height;
    }
    double radius = draw_between(d, 0.004, 0.014) * (c->width + c->height) / 2;
    draw_color(d, color);
    double length = hypot(p[1][0] - p[0][0], p[1][1] - p[0][1]) +
                    hypot(p[2][0] - p[1][0], p[2][1] - p[1][1]);
    int steps = 2 + (int)(length / fmax(radius, 0.5));
    for (int i = 0; i <= steps; i++) {
        double t = (double)i / steps, s = 1 - t;
        double x = s * s * p[0][0] + 2 * s * t * p[1][0] + t * t * p[2][0];
        double y = s * s * p[0][1] + 2 * s * t * p[1][1] + t * t * p[2][1];
        paint_spot(c, x, y, radius, color);
    }
}

/* ---- objects ---------------------------------------------------------- */

/* From the object's frame (radius 1) to the axes of the image, in radii. */
static void object_to_image_axes(const struct sketch *s, double u, double v,
                                 double *x, double *y)
{
    double a = u * s->stretch, b = v / s->stretch;
    *x = s->cosine * a - s->sine * b;
    *y = s->sine * a + s->cosine * b;
}

/* Computes the box of the rotated and stretched shape from a grid of points. */
static void sketch_measure(struct sketch *s)
{
    const int n = 64;
    s->left = s->top = s->right = s->below = 0;
    for (int i = 0; i < n * n; i++) {
        double u = (2.0 * (i % n) + 1) / n - 1, v = (2.0 * (i / n) + 1) / n - 1;
        if (!(demo_shape_level(s->class, u, v) < 1))
            continue;
        double x, y;
        object_to_image_axes(s, u, v, &x, &y);
        s->left = fmin(s->left, x);
        s->right = fmax(s->right, x);
        s->top = fmin(s->top, y);
        s->below = fmax(s->below, y);
    }
}

/* Color and texture of the class with random variations; marks are nearly
 * white. */
static void sketch_choose_colors(struct sketch *s, struct random_stream *d)
{
    double light = draw_between(d, 0.78, 1.12);
    demo_class_color(s->class, s->color);
    for (int k = 0; k < 3; k++)
        s->color[k] = s->color[k] * light + draw_between(d, -0.05, 0.05);
    double tone = draw_between(d, 0.9, 1);
    double shade = draw_between(d, 0, 0.25);
    double share = draw_between(d, 0.75, 0.92);
    for (int k = 0; k < 3; k++) {
        s->mark[k] = s->color[k] + share * (tone - s->color[k]);
        s->rim[k] = shade + 0.2 * s->color[k];
    }
    s->period = draw_between(d, 0.55, 0.70);
    s->rim_from = draw_between(d, 0.83, 0.94);
}

/* A sketch whose box has this area, in pixels. */
static void sketch_draw(struct sketch *s, struct random_stream *d, int class,
                        double area)
{
    s->class = class;
    double angle = draw_between(d, -0.35, 0.35);
    s->cosine = cos(angle);
    s->sine = sin(angle);
    s->stretch = draw_between(d, 0.9, 1.11);
    sketch_measure(s);
    sketch_choose_colors(s, d);
    s->radius = sqrt(area / ((s->right - s->left) * (s->below - s->top)));
    s->is_truncated = false;
}

/* A random position with the box inside the image. */
static void sketch_place(struct sketch *s, const struct linear_image *c,
                         struct random_stream *d)
{
    double r = s->radius;
    s->x = draw_between(d, 1 - s->left * r, c->width - 1 - s->right * r);
    s->y = draw_between(d, 1 - s->top * r, c->height - 1 - s->below * r);
}

/* Moves it over the nearest edge so that the share `cut` of its box is outside,
 * and enlarges it so that the box inside keeps its area. */
static void sketch_truncate(struct sketch *s, const struct linear_image *c,
                            double cut)
{
    s->radius /= sqrt(1 - cut);
    double r = s->radius, w = cut * (s->right - s->left) * r,
           h = cut * (s->below - s->top) * r;
    double gaps[4] = {s->x, s->y, c->width - s->x, c->height - s->y};
    int side = 0;
    for (int k = 1; k < 4; k++)
        if (gaps[k] < gaps[side])
            side = k;
    if (side == 0)
        s->x = -s->left * r - w;
    else if (side == 1)
        s->y = -s->top * r - h;
    else if (side == 2)
        s->x = c->width - s->right * r + w;
    else
        s->y = c->height - s->below * r + h;
    s->is_truncated = true;
}

/* Overlap of the boxes of two objects, widened by a gap; in pixels. */
static double sketch_overlap(const struct sketch *a, const struct sketch *b)
{
    const double gap = 1;
    double w = fmin(a->x + a->right * a->radius, b->x + b->right * b->radius) -
               fmax(a->x + a->left * a->radius, b->x + b->left * b->radius);
    double h = fmin(a->y + a->below * a->radius, b->y + b->below * b->radius) -
               fmax(a->y + a->top * a->radius, b->y + b->top * b->radius);
    return fmax(0, w + gap) * fmax(0, h + gap);
}

/* The color of the object at (u, v) of its frame. */
static const double *sketch_color(const struct sketch *s, double level,
                                  double u, double v)
{
    if (level > s->rim_from)
        return s->rim;
    return demo_texture_mark(s->class, s->period, u, v) ? s->mark : s->color;
}

/* Number of samples of the pixel inside the object; `sum`: of their colors. */
static int sketch_pixel(const struct sketch *s, int x, int y, double sum[3])
{
    int inside = 0;
    sum[0] = sum[1] = sum[2] = 0;
    for (int i = 0; i < SUBSAMPLES * SUBSAMPLES; i++) {
        double px = x + (i % SUBSAMPLES + 0.5) / SUBSAMPLES - s->x;
        double py = y + ((int)(i / SUBSAMPLES) + 0.5) / SUBSAMPLES - s->y;
        double u = (s->cosine * px + s->sine * py) / (s->radius * s->stretch);
        double v = (s->cosine * py - s->sine * px) / s->radius * s->stretch;
        double level = demo_shape_level(s->class, u, v);
        if (!(level < 1))
            continue;
        const double *color = sketch_color(s, level, u, v);
        for (int k = 0; k < 3; k++)
            sum[k] += color[k];
        inside++;
    }
    return inside;
}

static void paint_object(struct linear_image *c, const struct sketch *s,
                         uint8_t number, uint8_t *owner)
{
    const int all = SUBSAMPLES * SUBSAMPLES;
    double r = s->radius;
    int x0 = clamp_int(s->x + s->left * r - 1, 0, c->width);
    int x1 = clamp_int(s->x + s->right * r + 2, 0, c->width);
    int y0 = clamp_int(s->y + s->top * r - 1, 0, c->height);
    int y1 = clamp_int(s->y + s->below * r + 2, 0, c->height);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            double sum[3];
            int inside = sketch_pixel(s, x, y, sum);
            ptrdiff_t at = (ptrdiff_t)y * c->width + x;
            for (int k = 0; k < 3; k++)
                c->rgb[3 * at + k] =
                    (c->rgb[3 * at + k] * (all - inside) + sum[k]) / all;
            if (2 * inside > all)
                owner[at] = number;
        }
}

/* ---- the image -------------------------------------------------------- */

/* Sizes and classes. The first is the largest; the second often has more than
 * half of its area, so that the largest object is not obvious. */
static int draw_sketches(struct sketch *s, struct random_stream *d,
                         double pixels)
{
    int n = 2 + draw_index(d, DEMO_MAX_OBJECTS - 1);
    double largest = draw_between(d, 0.20, 0.35) * pixels;
    double rival = draw_chance(d, 0.62) ? draw_between(d, 0.53, 0.62)
                                        : draw_between(d, 0.15, 0.4);
    int class = draw_index(d, DEMO_CLASSES);
    sketch_draw(&s[0], d, class, largest);
    int other = (class + 1 + draw_index(d, DEMO_CLASSES - 1)) % DEMO_CLASSES;
    sketch_draw(&s[1], d, other, rival * largest);
    for (int k = 2; k < n; k++) {
        double area = draw_between(d, 0.1, 0.5) * rival * largest;
        sketch_draw(&s[k], d, draw_index(d, DEMO_CLASSES), area);
    }
    return n;
}

static void place_sketch(struct sketch *s, const struct linear_image *c,
                         struct random_stream *d, bool is_cut)
{
    sketch_place(s, c, d);
    if (is_cut)
        sketch_truncate(s, c, draw_between(d, 0.08, 0.25));
}

/* Rejection sampling: of up to 80 tries, keeps the one with the least overlap.
 */
static void place_two_largest(struct sketch *s, const struct linear_image *c,
                              struct random_stream *d)
{
    double best = INFINITY;
    struct sketch plain[2] = {s[0], s[1]};
    bool is_cut[2];
    for (int k = 0; k < 2; k++)
        is_cut[k] = draw_chance(d, 0.08);
    for (int i = 0; i < 80 && best > 0; i++) {
        struct sketch tried[2] = {plain[0], plain[1]};
        place_sketch(&tried[0], c, d, is_cut[0]);
        place_sketch(&tried[1], c, d, is_cut[1]);
        double overlap = sketch_overlap(&tried[0], &tried[1]);
        if (overlap < best) {
            best = overlap;
            s[0] = tried[0];
            s[1] = tried[1];
        }
    }
}

/* Places the two largest, then the others if they do not overlap. Returns the
 * number of objects placed. */
static int place_sketches(struct sketch *s, int n, const struct linear_image *c,
                          struct random_stream *d)
{
    place_two_largest(s, c, d);
    int placed = 2;
    for (int k = 2; k < n; k++) {
        double overlap = INFINITY;
        for (int i = 0; i < 20 && overlap > 0; i++) {
            struct sketch one = s[k];
            place_sketch(&one, c, d, i % 4 == 3);
            overlap = 0;
            for (int j = 0; j < placed; j++)
                overlap += sketch_overlap(&one, &s[j]);
            if (!(overlap > 0))
                s[placed++] = one;
        }
    }
    return placed;
}

/* The boxes of the visible pixels. */
static void find_boxes(struct demo_image *p)
{
    for (int k = 0; k < p->n_objects; k++) {
        int *box = p->objects[k].box;
        box[0] = box[1] = INT_MAX;
        box[2] = box[3] = 0;
    }
    for (int y = 0; y < p->image.height; y++)
        for (int x = 0; x < p->image.width; x++) {
            int owner = p->owner[(ptrdiff_t)y * p->image.width + x];
            if (!owner)
                continue;
            int *box = p->objects[owner - 1].box;
            box[0] = x < box[0] ? x : box[0];
            box[1] = y < box[1] ? y : box[1];
            box[2] = x + 1 > box[2] ? x + 1 : box[2];
            box[3] = y + 1 > box[3] ? y + 1 : box[3];
        }
}

/* Light, white balance, sometimes low saturation, noise, rounding. */
static void apply_camera_model(const struct linear_image *c,
                               struct random_stream *d, uint8_t *rgb)
{
    double noise = draw_between(d, 2, 16), light = draw_between(d, 0.68, 1.10);
    double color = draw_chance(d, 0.06) ? draw_between(d, 0.45, 0.7) : 1;
    double gain[3];
    for (int k = 0; k < 3; k++)
        gain[k] = 255 * light * draw_between(d, 0.92, 1.08);
    ptrdiff_t n = 3 * (ptrdiff_t)c->width * c->height;
    for (ptrdiff_t i = 0; i < n; i += 3) {
        uint32_t words[4];
        rng_words(d->seed, RNG_DEMO, d->index, d->element++, words);
        const double *from = c->rgb + i;
        double gray = 0.3 * from[0] + 0.59 * from[1] + 0.11 * from[2];
        for (int k = 0; k < 3; k++) {
            double v = gain[k] * (gray + color * (from[k] - gray));
            v += noise * (words[k] * 0x1p-32 - 0.5) + 0.5;
            rgb[i + k] = (uint8_t)clamp_int(v, 0, 255);
        }
    }
}

/* Paints from back to front (the largest last); lists the objects in a random
 * order. */
static void paint_objects(struct demo_image *p, struct linear_image *c,
                          struct random_stream *d)
{
    struct sketch sketches[DEMO_MAX_OBJECTS];
    int order[DEMO_MAX_OBJECTS] = {0}; // the shuffle may read order[k] first
    int n = draw_sketches(sketches, d, (double)c->width * c->height);
    n = place_sketches(sketches, n, c, d);
    for (int k = 0; k < n; k++) {
        int j = draw_index(d, k + 1);
        order[k] = order[j];
        order[j] = k;
    }
    p->n_objects = n;
    for (int k = n - 1; k >= 0; k--) {
        struct demo_object *o = &p->objects[order[k]];
        o->class = sketches[k].class;
        o->is_truncated = sketches[k].is_truncated;
        paint_object(c, &sketches[k], (uint8_t)(order[k] + 1), p->owner);
    }
    find_boxes(p);
}

enum vd_err demo_image_draw(struct demo_image *p, uint64_t seed, uint64_t index,
                            int size)
{
    enum vd_err err = VD_OK;
    struct random_stream d = {seed, index, 0};
    struct linear_image c = {0};
    *p = (struct demo_image){0};
    int shorter = (int)(size * draw_between(&d, 0.72, 1.0));
    bool is_wide = draw_chance(&d, 0.6);
    c.width = is_wide ? size : shorter;
    c.height = is_wide ? shorter : size;
    size_t pixels = (size_t)c.width * (size_t)c.height;
    VD_TRY_GOTO(out, err, image_new(&p->image, c.width, c.height));
    p->owner = xcalloc(pixels, sizeof *p->owner);
    c.rgb = xcalloc(3 * pixels, sizeof *c.rgb);
    paint_background(&c, &d);
    for (int n = 2 + draw_index(&d, 3); n > 0; n--)
        paint_stroke(&c, &d);
    paint_objects(p, &c, &d);
    apply_camera_model(&c, &d, p->image.rgb);
out:
    free(c.rgb);
    if (err != VD_OK)
        demo_image_clear(p);
    return err;
}

void demo_image_clear(struct demo_image *p)
{
    image_clear(&p->image);
    free(p->owner);
    *p = (struct demo_image){0};
}
