/* What the option_*.c files share; nobody else includes it. */
#ifndef VOCDIST_CONFIG_OPTION_INTERNAL_H
#define VOCDIST_CONFIG_OPTION_INTERNAL_H

#include "config/option.h"

#define ORIGIN_COMMAND_LINE "command line"

/* One row of a set, with the places its value and origin are in. */
struct option_ref {
    const struct option *row;
    void *field;
    char **origin;
};

struct option_ref option_ref(const struct option_set *set, int table,
                             size_t row);
bool option_find(const struct option_set *set, const char *key,
                 struct option_ref *out);

bool option_find_letter(const struct option_set *set, char letter,
                        struct option_ref *out);

/* true|false, on|off, yes|no; false for any other word. */
bool option_parse_bool(const char *text, bool *out);

/* "data.loader_threads" -> "VOCDIST_DATA_LOADER_THREADS"; owned. */
char *option_env_name(const char *key);

/* What was given, fit for a message: one line, not too long. */
struct option_excerpt {
    char text[84];
};
struct option_excerpt option_make_excerpt(const char *text);

/* The key the user may have meant, or NULL. */
const char *option_suggest(const struct option_set *set, const char *key);

/* Appends the value as plain text: options_set() takes it back. */
void option_format_value(const struct option_ref *at, struct text *out);

#endif
