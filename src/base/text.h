/*
 * Text: strict number parsing, suggestions for typos, UTF-8, growing buffers.
 * Local.
 */
#ifndef VOCDIST_BASE_TEXT_H
#define VOCDIST_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The whole `text` must be a decimal number without blanks around it. False
 * otherwise, and if the value is out of range; "nan", "inf" and hexadecimal
 * numbers are rejected. `out` is written on success only.
 */
bool text_to_int64(const char *text, int64_t *out);
bool text_to_double(const char *text, double *out);

/* Levenshtein distance of words of up to 63 bytes; 64 if one is longer. */
size_t text_edit_distance(const char *a, const char *b);

/* The nearest of `n` names by edit distance, for a suggestion; NULL if the
 * distance is more than strlen(word) / 3 + 1. Borrowed. */
const char *text_nearest(const char *word, const char *const *names, size_t n);

/* Removes white space at both ends in place; returns the new start. */
char *text_trim(char *text);
/* Replaces every run of white space by one space, in place, and removes it at
 * the start; returns `text`. */
char *text_collapse_spaces(char *text);

/*
 * Decodes the code point at the start of `text`; returns its length in bytes,
 * or 0 for invalid UTF-8 (also for overlong forms and surrogates) and for the
 * final NUL. `code` is written on success only.
 */
size_t text_decode_utf8(const char *text, uint32_t *code);

/* A growing text. Initialize it to {0}; free() bytes. `bytes` ends with NUL. */
struct text {
    char *bytes; /* owned, NULL while empty */
    size_t length, capacity;
};

void text_add(struct text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *t, const void *bytes, size_t n);
/* Appends one field of a CSV row, quoted if necessary (RFC 4180). */
void text_add_csv(struct text *t, const char *field);

#endif
