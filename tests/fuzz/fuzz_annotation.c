/* Arbitrary bytes as an annotation: an error or a valid struct, no crash. */
#include "base/log.h"
#include "preprocess/annotation.h"
#include "preprocess/annotation_frame.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_object(const struct annotation_object *o,
                         const struct annotation_frame *f)
{
    double box[4], overrun = 0;
    check(*o->name && strlen(o->name) <= ANNOTATION_MAX_NAME && o->line > 0);
    if (!o->has_box || !annotation_frame_box(f, o->box, box, &overrun))
        return;
    check(box[0] >= 0 && box[0] < box[2] && box[2] <= f->upright_w);
    check(box[1] >= 0 && box[1] < box[3] && box[3] <= f->upright_h);
    check(annotation_frame_area(f, o->box) > 0 && isfinite(overrun));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct annotation a = {0};
    struct diagnostics diagnostics = {0};
    log_set_sink(log_discard, NULL);
    if (annotation_parse(&a, "a.xml", bytes, n, &diagnostics) == VD_OK) {
        int orientation = (int)(n % 8) + 1;
        struct image_file_info source = {500, 375, orientation};
        struct annotation_frame f = annotation_frame_find(&a, &source);
        check(a.n_objects <= ANNOTATION_MAX_OBJECTS && a.width >= 0);
        for (int i = 0; i < a.n_objects; i++)
            check_object(&a.objects[i], &f);
    }
    annotation_clear(&a);
    diagnostics_clear(&diagnostics);
    log_set_sink(NULL, NULL);
    return 0;
}
