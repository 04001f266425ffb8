/*
 * Loads one sample:
 *
 *   1. decode the image upright; resize it to side x side; hash the pixels
 *   2. find the coordinate frame of the annotation (annotation_frame.h)
 *   3. map each box to the upright image, clip it and scale it to side x side;
 *      objects without area are left out
 *   4. select the largest object: its class and box are the label
 *
 * The areas in step 4 are in the annotation's coordinates, as in VOC, not in
 * resized pixels.
 */
#include "preprocess/sample.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "data/box.h"
#include "image/image.h"
#include "preprocess/annotation_frame.h"

#include <stdlib.h>

/* Pixels; smaller overruns are rounding and not reported. */
#define MIN_REPORTED_OVERRUN 0.01

enum vd_err sample_init(struct sample *s, int side)
{
    void *pixels = NULL;
    *s = (struct sample){0};
    VD_TRY(alloc_aligned(&pixels, (size_t)side * (size_t)side, 3, "image"));
    s->pixels = pixels;
    s->objects = xcalloc(ANNOTATION_MAX_OBJECTS, sizeof *s->objects);
    return VD_OK;
}

void sample_clear(struct sample *s)
{
    alloc_aligned_free(s->pixels);
    free(s->objects);
    diagnostics_clear(&s->diagnostics);
    *s = (struct sample){0};
}

static void check_frame(struct sample *s, const struct annotated_image *p,
                        const struct annotation_frame *f)
{
    if (f->size_differs)
        diagnostics_add(&s->diagnostics, DIAGNOSTIC_SIZE, p->xml_path, 1,
                        "<size> is %d x %d, but the image is %d x %d; the "
                        "image's size is used",
                        p->annotation.width, p->annotation.height, f->upright_w,
                        f->upright_h);
    if (f->orientation != 1)
        diagnostics_add(&s->diagnostics, DIAGNOSTIC_EXIF_ROTATED, p->image_path,
                        1,
                        "EXIF orientation %d, and <size> is that of the stored "
                        "pixels; the boxes are rotated with the image",
                        f->orientation);
    else if (f->is_ambiguous)
        diagnostics_add(
            &s->diagnostics, DIAGNOSTIC_EXIF_ROTATED, p->image_path, 1,
            "has an EXIF orientation, and <size> does not show whether the "
            "boxes are for the upright image; they are read as upright");
}

/* Maps the object's box to the packed image (for side 0, to the original);
 * false if it has no area there. */
static bool map_object(struct sample *s, const struct annotated_image *p,
                       const struct annotation_frame *f,
                       const struct annotation_object *o, int side,
                       float out[4])
{
    double box[4], overrun = 0;
    const double *c = o->box;
    const int from[2] = {f->upright_w, f->upright_h};
    const int to[2] = {side ? side : from[0], side ? side : from[1]};
    bool has_area = annotation_frame_box(f, c, box, &overrun);
    if (has_area) {
        box_scale(box, from, to, out);
        has_area = box_area(out) > 0; /* may be lost in float32 */
    }
    if (!has_area)
        diagnostics_add(
            &s->diagnostics, DIAGNOSTIC_NO_AREA, p->xml_path, o->line,
            "the box %g %g %g %g of \"%s\" has no area in the %d x %d "
            "image; the object is left out",
            c[0], c[1], c[2], c[3], o->name, from[0], from[1]);
    else if (overrun >= MIN_REPORTED_OVERRUN)
        diagnostics_add(
            &s->diagnostics, DIAGNOSTIC_CLIPPED, p->xml_path, o->line,
            "the box %g %g %g %g of \"%s\" extends %.2f pixels beyond the "
            "%d x %d image; clipped",
            c[0], c[1], c[2], c[3], o->name, overrun, from[0], from[1]);
    return has_area;
}

/* Fills in the objects, and the class and box of the largest. */
static void map_objects(struct sample *s, const struct annotated_image *p,
                        const struct classes *classes,
                        const struct annotation_frame *f, int side)
{
    struct shard_sample *d = &s->data;
    bool best_difficult = true;
    double best_area = -1;
    for (int i = 0; i < p->annotation.n_objects; i++) {
        const struct annotation_object *o = &p->annotation.objects[i];
        struct shard_object *out = &s->objects[d->n_objects];
        if (!o->has_box || !map_object(s, p, f, o, side, out->box))
            continue;
        out->class = classes_find(classes, o->name);
        out->difficult = o->difficult;
        VD_ASSERT(out->class >= 0);
        d->n_objects++;

        double area = annotation_frame_area(f, o->box);
        bool is_better =
            o->difficult == best_difficult ? area > best_area : best_difficult;
        if (!is_better)
            continue;
        best_difficult = o->difficult;
        best_area = area;
        d->class = out->class;
        for (int k = 0; k < 4; k++)
            d->box[k] = out->box[k];
    }
    if (d->n_objects == 0)
        diagnostics_add(&s->diagnostics, DIAGNOSTIC_EMPTY, p->xml_path, 1,
                        "no object with a usable box");
}

static size_t n_rgb_bytes(int width, int height)
{
    return (size_t)width * (size_t)height * 3;
}

/* Decodes, resizes and hashes; an error becomes a diagnostic of the image. */
static bool decode_sample_image(struct sample *s,
                                const struct annotated_image *p, int side,
                                struct image_file_info *source)
{
    struct image im = {0};
    struct diagnostics_capture c = {
        .to = &s->diagnostics, .kind = DIAGNOSTIC_IMAGE, .file = p->image_path};
    diagnostics_capture_start(&c);
    enum vd_err err = image_read(&im, source, p->image_path);
    if (err == VD_OK && side > 0)
        err = image_resize(&im, side, side, s->pixels);
    diagnostics_capture_end(&c);
    if (err == VD_OK)
        s->hash = side ? hash_bytes(s->pixels, n_rgb_bytes(side, side))
                       : hash_bytes(im.rgb, n_rgb_bytes(im.width, im.height));
    image_clear(&im);
    return err == VD_OK;
}

void sample_load(struct sample *s, const struct annotated_image *p,
                 const struct classes *classes, int side)
{
    struct image_file_info source = {0};
    diagnostics_clear(&s->diagnostics);
    diagnostics_add_all(&s->diagnostics, &p->diagnostics);
    s->data = (struct shard_sample){
        .pixels = s->pixels, .objects = s->objects, .id = p->id, .class = -1};
    s->usable = false;
    if (!p->readable || !p->image_path ||
        !decode_sample_image(s, p, side, &source))
        return;
    struct annotation_frame f = annotation_frame_find(&p->annotation, &source);
    s->data.size[0] = f.upright_w;
    s->data.size[1] = f.upright_h;
    check_frame(s, p, &f);
    map_objects(s, p, classes, &f, side);
    s->usable = s->data.n_objects > 0;
}
