/*
 * What was found wrong or unusual in a data set: collected, counted and told
 * by file and line, instead of stopping at the first. Local.
 */
#ifndef VOCDIST_PREPROCESS_FINDINGS_H
#define VOCDIST_PREPROCESS_FINDINGS_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name, key in pack.json, what it is, the picture cannot be used) */
#define FINDING_MAP(X)                                                        \
    X(FINDING_ANNOTATION, "bad_annotations", "annotations unreadable", true)  \
    X(FINDING_LIST, "bad_lists", "lists unreadable or of no use", true)       \
    X(FINDING_MISSING, "missing_pictures", "pictures missing", true)          \
    X(FINDING_PICTURE, "bad_pictures", "pictures unreadable", true)           \
    X(FINDING_EMPTY, "without_object", "pictures without a usable object",    \
      false)                                                                  \
    X(FINDING_OBJECT, "bad_objects", "objects malformed, left out", false)    \
    X(FINDING_REPEATED, "repeated_elements",                                  \
      "elements repeated in an object, the first is used", false)             \
    X(FINDING_NO_AREA, "no_area", "boxes without area, left out", false)      \
    X(FINDING_CLIPPED, "clipped", "boxes clipped to the picture", false)      \
    X(FINDING_OVERLAP, "in_several_splits", "images in more than one split",  \
      false)                                                                  \
    X(FINDING_SUBFOLDER, "subfolders", "subfolders of annotations, not read", \
      false)                                                                  \
    X(FINDING_UNANNOTATED, "unannotated_images",                              \
      "images without an annotation, not used", false)                        \
    X(FINDING_UNLEARNED, "classes_without_training",                          \
      "classes without a training image", false)                              \
    X(FINDING_REPEATED_LINE, "repeated_lines",                                \
      "list lines that name an image again", false)                           \
    X(FINDING_SIZE, "size_differs", "pictures of another size than <size>",   \
      false)                                                                  \
    X(FINDING_TURNED, "turned", "EXIF-turned pictures", false)                \
    X(FINDING_AMBIGUOUS, "ambiguous_images",                                  \
      "annotations with several images of their name", false)

#define FINDING_NAME(name, key, text, bad) name,
enum finding_kind { FINDING_MAP(FINDING_NAME) FINDING_KINDS };
#undef FINDING_NAME

const char *finding_key(enum finding_kind kind);
const char *finding_text(enum finding_kind kind);
bool finding_is_bad(enum finding_kind kind);

struct finding {
    enum finding_kind kind;
    char *file; /* owned */
    int line;   /* 1 where the file as a whole is meant */
    char *text; /* owned: element, value, what was done or is to be done */
};

/* Start it as {0}. */
struct findings {
    struct finding *list; /* owned */
    size_t n;
};

void findings_add(struct findings *f, enum finding_kind kind, const char *file,
                  int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Copies everything of `from` to the end of `to`. */
void findings_add_all(struct findings *to, const struct findings *from);
void findings_clear(struct findings *f);

size_t findings_count(const struct findings *f, enum finding_kind kind);
size_t findings_count_bad(const struct findings *f);

/*
 * From here on this thread's errors are added as findings of this kind about
 * this file, instead of being logged; until findings_catch_end(), from when on
 * they go where they went before.
 */
struct findings_catch {
    struct findings *to; /* borrowed */
    enum finding_kind kind;
    const char *file;       /* borrowed */
    struct log_sink before; /* the module's */
};
void findings_catch_start(struct findings_catch *c);
void findings_catch_end(struct findings_catch *c);

#endif
