/*
 * Text helpers. The edit distance is Levenshtein's dynamic program with one
 * row: row[j] is the distance of the first i characters of `a` to the first j
 * of `b`, and `diagonal` keeps the value of the previous row at j - 1. Words
 * are bounded by MAX_WORD, so the row is on the stack.
 *
 * A growing buffer doubles its capacity, so appending is amortized O(1).
 */
#include "base/text.h"

#include "base/alloc.h"
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORD 64

static bool starts_like_number(const char *text)
{
    return isdigit((unsigned char)*text) || *text == '-' || *text == '+' ||
           *text == '.';
}

bool text_to_int64(const char *text, int64_t *out)
{
    char *end = NULL;
    if (!starts_like_number(text))
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || end == text)
        return false;
    *out = value;
    return true;
}

bool text_to_double(const char *text, double *out)
{
    char *end = NULL;
    if (!starts_like_number(text) || strpbrk(text, "xXnN"))
        return false;
    errno = 0;
    double value = strtod(text, &end);
    if (*end || end == text || !isfinite(value))
        return false;
    *out = value;
    return true;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t low = a < b ? a : b;
    return low < c ? low : c;
}

size_t text_edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[MAX_WORD];
    if (n >= MAX_WORD || m >= MAX_WORD)
        return MAX_WORD;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = min3(row[j] + 1, row[j - 1] + 1, change);
        }
    }
    return row[m];
}

const char *text_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    if (strlen(word) >= MAX_WORD)
        return NULL;
    size_t limit = strlen(word) / 3 + 1, best_distance = limit + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = text_edit_distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

char *text_trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    text[n] = '\0';
    return text;
}

char *text_collapse_spaces(char *text)
{
    char *to = text;
    for (const char *c = text; *c; c++) {
        bool is_blank = isspace((unsigned char)*c);
        if (!is_blank || (to > text && to[-1] != ' '))
            *to++ = is_blank ? ' ' : *c;
    }
    *to = '\0';
    return text;
}

size_t text_decode_utf8(const char *text, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 1, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] >= 0xf8 || (p[0] & 0xc0) == 0x80)
        return 0;
    uint32_t value = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3fu);
    }
    if (value < smallest[n] || value > 0x10ffff ||
        (value >= 0xd800 && value < 0xe000))
        return 0;
    *code = value;
    return n;
}

static void text_reserve(struct text *t, size_t more)
{
    size_t need = t->length + more + 1;
    if (need <= t->capacity)
        return;
    t->capacity = need < 2 * t->capacity ? 2 * t->capacity : need + 64;
    t->bytes = xreallocarray(t->bytes, t->capacity, 1);
}

void text_add_bytes(struct text *t, const void *bytes, size_t n)
{
    text_reserve(t, n);
    if (n > 0) /* `bytes` may be NULL when n is 0 */
        memcpy(t->bytes + t->length, bytes, n);
    t->length += n;
    t->bytes[t->length] = '\0';
}

void text_add(struct text *t, const char *format, ...)
{
    char *piece = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&piece, format, args);
    va_end(args);
    VD_ASSERT(n >= 0);
    text_add_bytes(t, piece, (size_t)n);
    free(piece);
}

void text_add_csv(struct text *t, const char *field)
{
    if (!strpbrk(field, ",\"\r\n")) {
        text_add_bytes(t, field, strlen(field));
        return;
    }
    text_add_bytes(t, "\"", 1);
    for (const char *p = field; *p; p++)
        text_add_bytes(t, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    text_add_bytes(t, "\"", 1);
}
