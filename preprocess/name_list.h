/*
 * Text files with one name a line: image lists (ImageSets/Main/SPLIT.txt) and
 * class lists. Lines end with LF, CRLF or CR, blank ones do not count, and a
 * UTF-8 byte order mark is skipped. UTF-16 and NUL bytes are refused.
 *
 * A line of an image list is a name, or a name and columns of numbers:
 *
 *     000012              "my photo 1"        000012.jpg
 *     000012 -1           cat (2)  1 data/VOC2007/JPEGImages/000012.jpg
 *
 * The whole line is tried as a name first, then what is left without the
 * columns, so a blank inside a name never makes another image of it. One
 * column alone is -1, 0 or 1, as in the lists of one class: -1 marks an image
 * without that class, which is not a member. Quotes around a name, an image's
 * extension and the folders in front may be there.
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
    int number; /* from 1 */
};

struct name_list {
    char *bytes;             /* owned */
    struct name_line *lines; /* owned */
    size_t n;
};

/* VD_DATA "PATH:LINE: ..." when it is not text. */
enum vd_err name_list_parse(struct name_list *list, const char *path,
                            const void *bytes, size_t n) VD_MUST_USE;
enum vd_err name_list_read(struct name_list *list, const char *path,
                           size_t max_bytes) VD_MUST_USE;
void name_list_clear(struct name_list *list);

#define NAME_NONE ((size_t)-1)
/* Index of what has exactly this name, or NAME_NONE. */
typedef size_t name_find_fn(void *ctx, const char *name);

struct name_match {
    size_t index;     /* NAME_NONE: no such image */
    bool is_excluded; /* marked -1 */
};
struct name_match name_match(const char *line, name_find_fn *find, void *ctx);

#endif
