/*
 * One VOC annotation file (XML). Children are found by name, in any order;
 * unknown elements are ignored, and so are boxes nested in <part>.
 *
 * Files come from strangers: at most 4 MiB, no DTD, no entities, nothing is
 * fetched, at most 10000 objects, and only encodings in which markup is seen
 * before parsing (UTF-8, UTF-16, ISO 8859, Windows, East Asian ones). All
 * calls are Local and thread-safe.
 */
#ifndef VOCDIST_PREPROCESS_ANNOTATION_H
#define VOCDIST_PREPROCESS_ANNOTATION_H

#include "base/err.h"
#include "preprocess/diagnostics.h"

#include <stdbool.h>
#include <stddef.h>

#define ANNOTATION_MAX_BYTES   ((size_t)4 << 20)
#define ANNOTATION_MAX_OBJECTS 10000 /* no more than SHARD_MAX_OBJECTS */
#define ANNOTATION_MAX_NAME    127   /* bytes of a class name, UTF-8 */

struct annotation_object {
    char *name;    /* owned */
    double box[4]; /* xmin ymin xmax ymax as written */
    bool has_box;  /* false: missing, not numbers of pixels, or reversed */
    bool difficult;
    int line;
};

struct annotation {
    char *folder, *filename; /* owned; "" when missing */
    char *source;            /* owned: texts inside <source> with blanks */
    int width, height;       /* <size>; 0 when missing or not whole numbers */
    struct annotation_object *objects; /* owned; those with a name */
    int n_objects;
};

/*
 * VD_DATA "PATH:LINE: ..." when the file as a whole is unusable. Objects that
 * are malformed are diagnostics: one without a name is left out, one without a
 * usable box keeps its name. So are further <name>, <bndbox> or coordinates of
 * an object, of which the first counts. A missing <difficult> is 0. White space
 * inside a name is one blank, as in an XML token.
 */
enum vd_err annotation_parse(struct annotation *a, const char *path,
                             const void *bytes, size_t n,
                             struct diagnostics *diagnostics) VD_MUST_USE;
enum vd_err annotation_read(struct annotation *a, const char *path,
                            struct diagnostics *diagnostics) VD_MUST_USE;
void annotation_clear(struct annotation *a);

#endif
