#include "base/alloc.h"
#include "config/option.h"
#include "config/option_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 34
#define WIDTH       80

/* The placeholder after --key: "N", "FILE"; "" for a flag. Owned. */
static char *metavar_text(const struct option *o)
{
    if (o->metavar)
        return xstrdup(o->metavar);
    switch (o->type) {
    case OPTION_BOOL:
        return xstrdup(strcmp(o->default_text, "true") ? "" : "BOOL");
    case OPTION_INT:
        return xstrdup(o->is_auto ? "N|auto" : "N");
    case OPTION_REAL:
        return xstrdup("X");
    case OPTION_TEXT:
        return xstrdup("TEXT");
    case OPTION_CHOICE:
        // A long list leaves no room for the help: help_text() appends it
        // there.
        return xstrdup(strlen(o->choices) > 16 ? "WORD" : o->choices);
    case OPTION_INTS:
        return xstrdup("N,N,...");
    }
    return NULL;
}

/* The help, then the choices if the placeholder does not list them, then the
 * default. Owned. */
static char *help_text(const struct option *o)
{
    struct text t = {0};
    text_add(&t, "%s", o->help);
    if (o->type == OPTION_CHOICE && (o->metavar || strlen(o->choices) > 16)) {
        text_add(&t, "; one of ");
        for (const char *p = o->choices; *p; p++)
            text_add(&t, "%s", *p == '|' ? ", " : (char[]){*p, '\0'});
    }
    bool is_flag = o->type == OPTION_BOOL && !strcmp(o->default_text, "false");
    if (*o->default_text && !is_flag)
        text_add(&t, " (%s)", o->default_text);
    return t.bytes;
}

/* Appends `text` from HELP_COLUMN on, wrapped at WIDTH columns. */
static void add_wrapped(const char *text, struct text *out)
{
    size_t column = HELP_COLUMN;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + n > WIDTH) {
            text_add(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        if (column > HELP_COLUMN) {
            text_add(out, " ");
            column++;
        }
        text_add_bytes(out, text, n);
        column += n;
        text += n + strspn(text + n, " ");
    }
    text_add(out, "\n");
}

static void add_row(const struct option *o, struct text *out)
{
    size_t start = out->length;
    char *value = metavar_text(o), *help = help_text(o);
    if (o->letter)
        text_add(out, "  -%c, ", o->letter);
    else
        text_add(out, "      ");
    text_add(out, "--%s%s%s", o->key, *value ? " " : "", value);
    size_t used = out->length - start;
    if (used + 2 > HELP_COLUMN)
        text_add(out, "\n%*s", HELP_COLUMN, "");
    else
        text_add(out, "%*s", (int)(HELP_COLUMN - used), "");
    add_wrapped(help, out);
    free(value);
    free(help);
}

/* True if both keys are in one section ("optim.lr", "optim.eps"). */
static bool same_section(const char *a, const char *b)
{
    const char *dot_a = strchr(a, '.'), *dot_b = strchr(b, '.');
    return dot_a && dot_b
               ? dot_a - a == dot_b - b && !strncmp(a, b, (size_t)(dot_a - a))
               : !dot_a && !dot_b;
}

void options_format_help(const struct option_set *set, struct text *out)
{
    for (int t = 0; t < set->n; t++) {
        const struct option_table *table = set->tables[t];
        if (table->n == 0)
            continue;
        text_add(out, "\n%c%s options:\n",
                 toupper((unsigned char)table->name[0]), table->name + 1);
        for (size_t i = 0; i < table->n; i++) {
            if (i > 0 && table->is_config &&
                !same_section(table->rows[i - 1].key, table->rows[i].key))
                text_add(out, "\n");
            add_row(&table->rows[i], out);
        }
    }
}
