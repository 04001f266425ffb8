#include "preprocess/sample.h"

#include "base/hash.h"
#include "base/mem.h"
#include "data/box.h"
#include "image/image.h"
#include "preprocess/frame.h"

#include <stdlib.h>

/* Overruns below this many pixels are rounding and not worth a word. */
#define OVERRUN_TOLD 0.01

enum vd_err sample_init(struct sample *s, int side)
{
    void *pixels = NULL;
    *s = (struct sample){0};
    VD_TRY(mem_alloc(&pixels, (size_t)side * (size_t)side, 3, "picture"));
    s->pixels = pixels;
    s->objects = mem_new(ANNOTATION_MAX_OBJECTS, sizeof *s->objects);
    return VD_OK;
}

void sample_clear(struct sample *s)
{
    mem_free(s->pixels);
    free(s->objects);
    findings_clear(&s->findings);
    *s = (struct sample){0};
}

static void add_frame_findings(struct sample *s, const struct picture *p,
                               const struct frame *f)
{
    if (f->size_differs)
        findings_add(&s->findings, FINDING_SIZE, p->xml, 1,
                     "<size> is %d x %d, but the picture is %d x %d; the "
                     "picture's is used",
                     p->note.width, p->note.height, f->upright_w, f->upright_h);
    if (f->orientation != 1)
        findings_add(&s->findings, FINDING_TURNED, p->path, 1,
                     "EXIF orientation %d, and <size> is that of the stored "
                     "pixels; the boxes are turned with the picture",
                     f->orientation);
    else if (f->unsure)
        findings_add(&s->findings, FINDING_TURNED, p->path, 1,
                     "has an EXIF orientation, and <size> cannot tell whether "
                     "the boxes are for the upright picture; taken as upright");
}

/* The object's box in the stored picture (or, for side 0, in the original);
 * false: it has no area there. */
static bool place_object(struct sample *s, const struct picture *p,
                         const struct frame *f,
                         const struct annotation_object *o, int side,
                         float out[4])
{
    double box[4], overrun = 0;
    const double *c = o->box;
    const int from[2] = {f->upright_w, f->upright_h};
    const int to[2] = {side ? side : from[0], side ? side : from[1]};
    bool has_area = frame_box(f, c, box, &overrun);
    if (has_area) {
        box_scale(box, from, to, out);
        has_area = box_area(out) > 0; /* float32 may have lost it */
    }
    if (!has_area)
        findings_add(&s->findings, FINDING_NO_AREA, p->xml, o->line,
                     "the box %g %g %g %g of \"%s\" has no area in the %d x %d "
                     "picture; the object is left out",
                     c[0], c[1], c[2], c[3], o->name, from[0], from[1]);
    else if (overrun >= OVERRUN_TOLD)
        findings_add(&s->findings, FINDING_CLIPPED, p->xml, o->line,
                     "the box %g %g %g %g of \"%s\" reaches %.2f pixels out of "
                     "the %d x %d picture; clipped",
                     c[0], c[1], c[2], c[3], o->name, overrun, from[0],
                     from[1]);
    return has_area;
}

/* Fills in the objects, and the largest one's class and box. */
static void place_objects(struct sample *s, const struct picture *p,
                          const struct classes *classes, const struct frame *f,
                          int side)
{
    struct shard_sample *d = &s->data;
    bool best_difficult = true;
    double best_area = -1;
    for (int i = 0; i < p->note.n_objects; i++) {
        const struct annotation_object *o = &p->note.objects[i];
        struct shard_object *out = &s->objects[d->n_objects];
        if (!o->has_box || !place_object(s, p, f, o, side, out->box))
            continue;
        out->class = classes_find(classes, o->name);
        out->difficult = o->difficult;
        VD_ASSERT(out->class >= 0);
        d->n_objects++;

        double area = frame_area(f, o->box);
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
        findings_add(&s->findings, FINDING_EMPTY, p->xml, 1,
                     "no object with a usable box");
}

static size_t n_bytes(int width, int height)
{
    return (size_t)width * (size_t)height * 3;
}

/* Decodes; every error becomes a finding about the picture. */
static bool decode(struct sample *s, const struct picture *p, int side,
                   struct image_source *source)
{
    struct image im = {0};
    struct findings_catch c = {
        .to = &s->findings, .kind = FINDING_PICTURE, .file = p->path};
    findings_catch_start(&c);
    enum vd_err err = image_read(&im, source, p->path);
    if (err == VD_OK && side > 0)
        err = image_squash(&im, side, side, s->pixels);
    findings_catch_end(&c);
    if (err == VD_OK)
        s->hash = side ? hash_bytes(s->pixels, n_bytes(side, side))
                       : hash_bytes(im.rgb, n_bytes(im.width, im.height));
    image_clear(&im);
    return err == VD_OK;
}

void sample_make(struct sample *s, const struct picture *p,
                 const struct classes *classes, int side)
{
    struct image_source source = {0};
    findings_clear(&s->findings);
    findings_add_all(&s->findings, &p->findings);
    s->data = (struct shard_sample){
        .pixels = s->pixels, .objects = s->objects, .id = p->id, .class = -1};
    s->usable = false;
    if (!p->readable || !p->path || !decode(s, p, side, &source))
        return;
    struct frame f = frame_find(&p->note, &source);
    s->data.size[0] = f.upright_w;
    s->data.size[1] = f.upright_h;
    add_frame_findings(s, p, &f);
    place_objects(s, p, classes, &f, side);
    s->usable = s->data.n_objects > 0;
}
