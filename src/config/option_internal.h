/* Shared by option*.c and config.c. */
#ifndef VOCDIST_CONFIG_OPTION_INTERNAL_H
#define VOCDIST_CONFIG_OPTION_INTERNAL_H

#include "config/option.h"

#define ORIGIN_COMMAND_LINE "command line"

/* One row of a set, with pointers to its value and its origin. */
struct option_ref {
    const struct option *row;
    void *field;
    char **origin;
};

struct option_ref option_ref(const struct option_set *set, int table,
                             size_t row);
/* Find a row by key or letter; false if there is none. */
bool option_find(const struct option_set *set, const char *key,
                 struct option_ref *out);
bool option_find_letter(const struct option_set *set, char letter,
                        struct option_ref *out);

/* Parses true|false, on|off, yes|no in any case; false for any other word. */
bool option_parse_bool(const char *text, bool *out);

/* "data.loader_threads" -> "VOCDIST_DATA_LOADER_THREADS"; owned. */
char *option_env_name(const char *key);

/* A user's text prepared for a message: at most 80 bytes, control characters
 * replaced by '?'. */
struct option_excerpt {
    char text[84];
};
struct option_excerpt option_make_excerpt(const char *text);

/* The key that the user probably meant, or NULL; borrowed from a table. */
const char *option_suggest(const struct option_set *set, const char *key);

/* Appends the value as plain text, which options_set() parses to the same
 * value. */
void option_format_value(const struct option_ref *at, struct text *out);

#endif
