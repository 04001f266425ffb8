/*
 * name_list_parse() copies the bytes and splits the copy in place.
 *
 * name_match() tries candidates in a fixed order; the first one that `find`
 * knows is the image: the line, then the line without its last column, without
 * its last two, and so on. Each is tried as it is and without its extension,
 * then both without leading folders, then all of these without quotes.
 *
 * Example: for the line  "x/cat.jpg" 1  and the image cat, the whole line does
 * not match. Without the column, "x/cat.jpg" with its quotes does not match
 * either; without them, x/cat.jpg, x/cat, cat.jpg and finally cat are tried.
 */
#include "preprocess/name_list.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_NAME    4096 /* bytes; a longer candidate matches nothing */
#define MAX_COLUMNS 16

/* ---- lines ---- */

/* The number of the line that byte n is in, from 1. */
static int line_at(const char *bytes, size_t n)
{
    int line = 1;
    for (size_t i = 0; i < n; i++)
        line += bytes[i] == '\n' || (bytes[i] == '\r' && bytes[i + 1] != '\n');
    return line;
}

static enum vd_err check_encoding(const char *path, const char *bytes, size_t n)
{
    const char *nul = memchr(bytes, '\0', n);
    if (n >= 2 &&
        (!memcmp(bytes, "\xff\xfe", 2) || !memcmp(bytes, "\xfe\xff", 2)))
        return VD_FAIL(VD_DATA, "%s:1: text in UTF-16\nsave it as UTF-8", path);
    if (nul)
        return VD_FAIL(VD_DATA,
                       "%s:%d: a NUL byte: not a text file, or UTF-16\nsave it "
                       "as UTF-8",
                       path, line_at(bytes, (size_t)(nul - bytes)));
    return VD_OK;
}

static void add_name_line(struct name_list *list, char *text, int number)
{
    text = text_trim(text);
    if (!*text)
        return;
    if ((list->n & (list->n - 1)) == 0)
        list->lines = xreallocarray(list->lines, list->n ? 2 * list->n : 1,
                                    sizeof *list->lines);
    list->lines[list->n++] = (struct name_line){text, number};
}

enum vd_err name_list_parse(struct name_list *list, const char *path,
                            const void *bytes, size_t n)
{
    VD_TRY(check_encoding(path, bytes, n));
    struct name_list read = {.bytes = xcalloc(n + 1, 1)};
    if (n)
        memcpy(read.bytes, bytes, n);
    char *at = read.bytes;
    if (!strncmp(at, "\xef\xbb\xbf", 3))
        at += 3;
    for (int number = 1; *at; number++) {
        size_t length = strcspn(at, "\r\n");
        char *end = at + length;
        char *next = end + (end[0] == '\r' && end[1] == '\n') + (*end != '\0');
        *end = '\0';
        add_name_line(&read, at, number);
        at = next;
    }
    *list = read;
    return VD_OK;
}

enum vd_err name_list_read(struct name_list *list, const char *path,
                           size_t max_bytes)
{
    char *bytes = NULL;
    size_t n = 0;
    VD_TRY(file_read(path, max_bytes, &bytes, &n));
    enum vd_err err = name_list_parse(list, path, bytes, n);
    free(bytes);
    return err;
}

void name_list_clear(struct name_list *list)
{
    free(list->bytes);
    free(list->lines);
    *list = (struct name_list){0};
}

/* ---- names ---- */

/* Removes .jpg, .jpeg, .png or .xml in any case; false if there is none. */
static bool cut_extension(char *name)
{
    static const char *const known[] = {".jpg", ".jpeg", ".png", ".xml"};
    char *dot = strrchr(name, '.');
    for (size_t k = 0; dot && k < sizeof known / sizeof *known; k++)
        if (!strcasecmp(dot, known[k])) {
            *dot = '\0';
            return true;
        }
    return false;
}

/* Tries the name as it is, then without its extension; modifies `name`. */
static size_t find_with_extension(char *name, name_find_fn *find, void *ctx)
{
    size_t index = find(ctx, name);
    if (index == NAME_NONE && cut_extension(name))
        index = find(ctx, name);
    return index;
}

static size_t find_with_folders(const char *name, size_t n, name_find_fn *find,
                                void *ctx)
{
    if (n > MAX_NAME)
        return NAME_NONE;
    char *copy = xasprintf("%.*s", (int)n, name);
    size_t index = find_with_extension(copy, find, ctx);
    if (index == NAME_NONE) { /* without leading folders */
        size_t folders = n;
        while (folders > 0 && name[folders - 1] != '/' &&
               name[folders - 1] != '\\')
            folders--;
        free(copy);
        copy = xasprintf("%.*s", (int)(n - folders), name + folders);
        if (folders > 0 && *copy)
            index = find_with_extension(copy, find, ctx);
    }
    free(copy);
    return index;
}

/* Tries the first n bytes of the line as a name, then without quotes. */
static size_t find_quoted(const char *name, size_t n, name_find_fn *find,
                          void *ctx)
{
    bool is_quoted =
        n > 2 && (name[0] == '"' || name[0] == '\'') && name[n - 1] == name[0];
    size_t index = find_with_folders(name, n, find, ctx);
    if (index == NAME_NONE && is_quoted)
        index = find_with_folders(name + 1, n - 2, find, ctx);
    return index;
}

/* The start of the last column of numbers in the first n bytes; n if there is
 * none. */
static size_t last_column(const char *line, size_t n)
{
    size_t at = n;
    while (at > 0 && line[at - 1] && strchr("+-.,0123456789", line[at - 1]))
        at--;
    return at > 0 && isspace((unsigned char)line[at - 1]) ? at : n;
}

static bool is_class_mark(const char *column)
{
    return !strcmp(column, "-1") || !strcmp(column, "0") ||
           !strcmp(column, "1") || !strcmp(column, "+1");
}

struct name_match name_match(const char *line, name_find_fn *find, void *ctx)
{
    size_t n = strlen(line), at;
    struct name_match m = {find_quoted(line, n, find, ctx), false};
    for (int columns = 1; m.index == NAME_NONE && columns <= MAX_COLUMNS;
         columns++) {
        at = last_column(line, n);
        if (at == n)
            break;
        const char *column = line + at;
        for (n = at; isspace((unsigned char)line[n - 1]);)
            n--;
        m.is_excluded = !strcmp(column, "-1") || !strncmp(column, "-1 ", 3) ||
                        !strncmp(column, "-1\t", 3);
        if (columns > 1 || is_class_mark(column))
            m.index = find_quoted(line, n, find, ctx);
    }
    return m;
}
