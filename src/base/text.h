/*
 * Text: strict number parsing, growing buffers, suggestions. Local.
 */
#ifndef VOCDIST_BASE_TEXT_H
#define VOCDIST_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The whole of `text` must be a number, without blanks around it; false
 * otherwise, also when it does not fit. Doubles are finite ("nan", "inf" and
 * hexadecimal are refused). `out` is written on success only.
 */
bool text_to_int64(const char *text, int64_t *out);
bool text_to_double(const char *text, double *out);

/* Levenshtein distance, for words of up to 63 characters. */
size_t text_edit_distance(const char *a, const char *b);

/* The nearest of `n` names if it is near enough to be a typo, else NULL. */
const char *text_nearest(const char *word, const char *const *names, size_t n);

/* Removes blanks at both ends in place; returns the new start. */
char *text_trim(char *text);
/* Every run of white space becomes one blank, in place; returns `text`. */
char *text_collapse_spaces(char *text);

/*
 * The code point at the start of `text` and how many bytes it takes; 0 when
 * they are not UTF-8 (also overlong forms, surrogates, and the final NUL).
 */
size_t text_decode_utf8(const char *text, uint32_t *code);

/* A growing text. Start it as {0}; free() bytes. `bytes` ends with NUL. */
struct text {
    char *bytes; /* owned, NULL while empty */
    size_t length, capacity;
};

void text_add(struct text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *t, const void *bytes, size_t n);
/* One field of a CSV row, quoted where it must be (RFC 4180). */
void text_add_csv(struct text *t, const char *field);

#endif
