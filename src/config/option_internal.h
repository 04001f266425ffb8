/* What the option_*.c files share; nobody else includes it. */
#ifndef VOCDIST_CONFIG_OPTION_INTERNAL_H
#define VOCDIST_CONFIG_OPTION_INTERNAL_H

#include "config/option.h"

#define ORIGIN_ARGUMENTS "command line"

/* One row of a set, with the places its value and origin are in. */
struct option_at {
    const struct option *row;
    void *field;
    char **origin;
};

struct option_at option_at(const struct option_set *set, int table, size_t row);
bool option_find(const struct option_set *set, const char *key,
                 struct option_at *out);

bool option_find_letter(const struct option_set *set, char letter,
                        struct option_at *out);

/* true|false, on|off, yes|no; false for any other word. */
bool option_parse_bool(const char *text, bool *out);

/* "data.loader_threads" -> "VOCDIST_DATA_LOADER_THREADS"; owned. */
char *option_variable(const char *key);

/* What was given, fit for a message: one line, not too long. */
struct option_shown {
    char text[84];
};
struct option_shown option_show(const char *text);

/* The key the user may have meant, or NULL. */
const char *option_suggest(const struct option_set *set, const char *key);

/* Appends the value as plain text: options_set() takes it back. */
void option_text(const struct option_at *at, struct text *out);

#endif
