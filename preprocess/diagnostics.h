/*
 * What was found wrong or unusual in a data set: collected, counted and told
 * by file and line, instead of stopping at the first. Local.
 */
#ifndef VOCDIST_PREPROCESS_DIAGNOSTICS_H
#define VOCDIST_PREPROCESS_DIAGNOSTICS_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name, key in pack.json, what it is, the image cannot be used) */
#define DIAGNOSTIC_MAP(X)                                                     \
    X(DIAGNOSTIC_ANNOTATION, "bad_annotations", "annotations unreadable",     \
      true)                                                                   \
    X(DIAGNOSTIC_LIST, "bad_lists", "lists unreadable or of no use", true)    \
    X(DIAGNOSTIC_MISSING, "missing_pictures", "images missing", true)         \
    X(DIAGNOSTIC_IMAGE, "bad_pictures", "images unreadable", true)            \
    X(DIAGNOSTIC_EMPTY, "without_object", "images without a usable object",   \
      false)                                                                  \
    X(DIAGNOSTIC_OBJECT, "bad_objects", "objects malformed, left out", false) \
    X(DIAGNOSTIC_REPEATED, "repeated_elements",                               \
      "elements repeated in an object, the first is used", false)             \
    X(DIAGNOSTIC_NO_AREA, "no_area", "boxes without area, left out", false)   \
    X(DIAGNOSTIC_CLIPPED, "clipped", "boxes clipped to the image", false)     \
    X(DIAGNOSTIC_OVERLAP, "in_several_splits",                                \
      "images in more than one split", false)                                 \
    X(DIAGNOSTIC_SUBFOLDER, "subfolders",                                     \
      "subfolders of annotations, not read", false)                           \
    X(DIAGNOSTIC_UNANNOTATED, "unannotated_images",                           \
      "images without an annotation, not used", false)                        \
    X(DIAGNOSTIC_CLASS_NOT_IN_TRAINING, "classes_without_training",           \
      "classes without a training image", false)                              \
    X(DIAGNOSTIC_REPEATED_LINE, "repeated_lines",                             \
      "list lines that name an image again", false)                           \
    X(DIAGNOSTIC_SIZE, "size_differs", "images of another size than <size>",  \
      false)                                                                  \
    X(DIAGNOSTIC_EXIF_ROTATED, "turned", "EXIF-turned images", false)         \
    X(DIAGNOSTIC_AMBIGUOUS, "ambiguous_images",                               \
      "annotations with several images of their name", false)

#define DIAGNOSTIC_NAME(name, key, text, bad) name,
enum diagnostic_kind { DIAGNOSTIC_MAP(DIAGNOSTIC_NAME) DIAGNOSTIC_KINDS };
#undef DIAGNOSTIC_NAME

const char *diagnostic_key(enum diagnostic_kind kind);
const char *diagnostic_text(enum diagnostic_kind kind);
bool diagnostic_is_bad(enum diagnostic_kind kind);

struct diagnostic {
    enum diagnostic_kind kind;
    char *file; /* owned */
    int line;   /* 1 where the file as a whole is meant */
    char *text; /* owned: element, value, what was done or is to be done */
};

/* Start it as {0}. */
struct diagnostics {
    struct diagnostic *list; /* owned */
    size_t n;
};

void diagnostics_add(struct diagnostics *f, enum diagnostic_kind kind,
                     const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Copies everything of `from` to the end of `to`. */
void diagnostics_add_all(struct diagnostics *to,
                         const struct diagnostics *from);
void diagnostics_clear(struct diagnostics *f);

size_t diagnostics_count(const struct diagnostics *f,
                         enum diagnostic_kind kind);
size_t diagnostics_count_bad(const struct diagnostics *f);

/*
 * From here on this thread's errors are added as diagnostics of this kind about
 * this file, instead of being logged; until diagnostics_capture_end(), from
 * when on they go where they went before.
 */
struct diagnostics_capture {
    struct diagnostics *to; /* borrowed */
    enum diagnostic_kind kind;
    const char *file;         /* borrowed */
    struct log_sink previous; /* the module's */
};
void diagnostics_capture_start(struct diagnostics_capture *c);
void diagnostics_capture_end(struct diagnostics_capture *c);

#endif
