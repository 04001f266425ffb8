/*
 * Diagnostics: problems and oddities of a data set, with file and line. They
 * are collected and counted, so that one run reports all of them instead of
 * stopping at the first. Local.
 */
#ifndef VOCDIST_PREPROCESS_DIAGNOSTICS_H
#define VOCDIST_PREPROCESS_DIAGNOSTICS_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name, key in pack.json, description, the image cannot be used); the most
 * severe first. */
#define DIAGNOSTIC_MAP(X)                                                     \
    X(DIAGNOSTIC_ANNOTATION, "bad_annotations", "annotations unreadable",     \
      true)                                                                   \
    X(DIAGNOSTIC_LIST, "bad_lists", "lists unreadable or unusable", true)     \
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
      "list lines that repeat an image", false)                               \
    X(DIAGNOSTIC_SIZE, "size_differs", "images whose size is not <size>",     \
      false)                                                                  \
    X(DIAGNOSTIC_EXIF_ROTATED, "turned", "images rotated by EXIF", false)     \
    X(DIAGNOSTIC_AMBIGUOUS, "ambiguous_images",                               \
      "annotations that match several images", false)

#define DIAGNOSTIC_NAME(name, key, text, bad) name,
enum diagnostic_kind { DIAGNOSTIC_MAP(DIAGNOSTIC_NAME) DIAGNOSTIC_KINDS };
#undef DIAGNOSTIC_NAME

/* The columns of the table; is_bad: the image or list cannot be used. */
const char *diagnostic_key(enum diagnostic_kind kind);
const char *diagnostic_text(enum diagnostic_kind kind);
bool diagnostic_is_bad(enum diagnostic_kind kind);

struct diagnostic {
    enum diagnostic_kind kind;
    char *file; /* owned */
    int line;   /* 1 if the diagnostic is about the whole file */
    char *text; /* owned: element, value, and what was done or is to be done */
};

/* Initialize with {0}. */
struct diagnostics {
    struct diagnostic *list; /* owned */
    size_t n;
};

void diagnostics_add(struct diagnostics *d, enum diagnostic_kind kind,
                     const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Appends copies of all diagnostics of `from` to `to`. */
void diagnostics_add_all(struct diagnostics *to,
                         const struct diagnostics *from);
/* May be a zeroed one. */
void diagnostics_clear(struct diagnostics *d);

size_t diagnostics_count(const struct diagnostics *d,
                         enum diagnostic_kind kind);
size_t diagnostics_count_bad(const struct diagnostics *d);

/*
 * Between start and end, errors that this thread logs are added to `to` as
 * diagnostics of this kind about this file; its other log lines are discarded.
 * The end restores the log sink. The caller sets the first three fields.
 */
struct diagnostics_capture {
    struct diagnostics *to; /* borrowed */
    enum diagnostic_kind kind;
    const char *file;         /* borrowed */
    struct log_sink previous; /* private */
};
void diagnostics_capture_start(struct diagnostics_capture *c);
void diagnostics_capture_end(struct diagnostics_capture *c);

#endif
