/*
 * One VOC annotation file (XML). Child elements are found by name, in any
 * order; unknown elements and boxes nested in <part> are ignored.
 *
 * The files are untrusted input. Limits: 4 MiB, 10000 objects, no DTD, no
 * entities, no access to other files or the network, and only encodings in
 * which markup can be recognized before parsing (UTF-8, UTF-16, ISO 8859,
 * Windows and East Asian ones). All calls are Local and thread-safe.
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
    double box[4]; /* xmin ymin xmax ymax as in the file */
    bool has_box;  /* false: missing, not numbers of pixels, or reversed */
    bool difficult;
    int line; /* of <object> */
};

struct annotation {
    char *folder, *filename; /* owned; "" when missing */
    char *source;      /* owned: texts inside <source>, a blank after each */
    int width, height; /* <size>; 0 when missing or not whole numbers */
    struct annotation_object *objects; /* owned; only those with a name */
    int n_objects;
};

/*
 * VD_DATA "PATH:LINE: ..." if the file as a whole is unusable.
 *
 * A malformed object is a diagnostic: without a name it is left out, without a
 * usable box it is kept with has_box false. A repeated <name>, <bndbox> or
 * coordinate in an object is a diagnostic too; the first one is used. A missing
 * <difficult> is 0. White space inside a name becomes one blank, as in an XML
 * token.
 */
enum vd_err annotation_parse(struct annotation *a, const char *path,
                             const void *bytes, size_t n,
                             struct diagnostics *diagnostics) VD_MUST_USE;
/* The same for a file; VD_NOINPUT if it cannot be opened. */
enum vd_err annotation_read(struct annotation *a, const char *path,
                            struct diagnostics *diagnostics) VD_MUST_USE;
/* May be a zeroed one. */
void annotation_clear(struct annotation *a);

#endif
