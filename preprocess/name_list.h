/*
 * Text files with one name per line: image lists (ImageSets/Main/SPLIT.txt) and
 * class lists. Lines end with LF, CRLF or CR; blank lines and a UTF-8 byte
 * order mark are skipped. UTF-16 and NUL bytes are errors.
 *
 * A line of an image list is a name, or a name followed by columns of numbers:
 *
 *     000012              "my photo 1"        000012.jpg
 *     000012 -1           cat (2)  1 data/VOC2007/JPEGImages/000012.jpg
 *
 * The whole line is tried as a name first, then the line without its columns,
 * so a name with a blank never matches another image. A single column must be
 * -1, 0 or 1, as in VOC's lists of one class: -1 marks an image without that
 * class, which is excluded. A name may have quotes, an image extension and
 * leading folders.
 *
 * All calls are Local.
 */
#ifndef VOCDIST_PREPROCESS_NAME_LIST_H
#define VOCDIST_PREPROCESS_NAME_LIST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct name_line {
    char *text; /* borrowed from the list; trimmed, not empty */
    int number; /* line number, from 1 */
};

struct name_list {
    char *bytes;             /* owned */
    struct name_line *lines; /* owned */
    size_t n;
};

/* VD_DATA "PATH:LINE: ..." if it is not text. `path` is for messages. */
enum vd_err name_list_parse(struct name_list *list, const char *path,
                            const void *bytes, size_t n) VD_MUST_USE;
/* The same for a file; an error if it is larger than `max_bytes`. */
enum vd_err name_list_read(struct name_list *list, const char *path,
                           size_t max_bytes) VD_MUST_USE;
void name_list_clear(struct name_list *list);

#define NAME_NONE ((size_t)-1)
/* The index of the item with exactly this name, or NAME_NONE. */
typedef size_t name_find_fn(void *ctx, const char *name);

struct name_match {
    size_t index;     /* NAME_NONE: no such image */
    bool is_excluded; /* marked -1 */
};
/* The image that a line of an image list names; `find` searches the images. */
struct name_match name_match(const char *line, name_find_fn *find, void *ctx);

#endif
