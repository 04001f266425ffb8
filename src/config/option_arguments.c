/*
 * Command line parser: one left-to-right pass over argv.
 *
 * parse_next() classifies one argument and consumes it, together with its
 * value: --key=VALUE, --key VALUE, -k VALUE, -kVALUE, or a positional word.
 * After "--" every argument is a word. options_read_arguments() stores each
 * value at once, so the last one wins; options_collect_arguments() runs the
 * same pass and only collects the values of one key.
 */
#include "base/alloc.h"
#include "config/option.h"
#include "config/option_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* State of the parser, and the last option or word it found. */
struct arg_parser {
    const struct option_set *set;
    char **argv;
    int argc, next;
    bool only_positional; /* "--" was seen */
    struct option_ref at; /* at.row is NULL for a positional argument */
    const char *value;    /* borrowed from argv, or static */
};

static void args_append(struct option_args *words, const char *word)
{
    words->args =
        xreallocarray(words->args, (size_t)words->n + 1, sizeof *words->args);
    words->args[words->n++] = (char *)word;
}

static bool is_negative_number(const char *word)
{
    return word[0] == '-' &&
           (isdigit((unsigned char)word[1]) || word[1] == '.');
}

/* -c and --key are options; -5 is a value; "-" (standard input) is a word. */
static bool looks_like_option(const char *word)
{
    return word[0] == '-' && word[1] && !is_negative_number(word);
}

/* Reads the value of the current option from the next argument. A BOOL takes
 * it only if it is a bool: "--flag FILE" leaves FILE as a word. */
static enum vd_err take_value(struct arg_parser *p, const char *option)
{
    const char *next = p->next < p->argc ? p->argv[p->next] : NULL;
    if (p->at.row->type == OPTION_BOOL) {
        bool ignored;
        p->value = "true";
        if (next && option_parse_bool(next, &ignored))
            p->value = p->argv[p->next++];
        return VD_OK;
    }
    if (!next || looks_like_option(next))
        return VD_FAIL(VD_USAGE,
                       "command line: %s needs a value\n"
                       "write %s VALUE, or --%s=VALUE for a value that starts "
                       "with '-'",
                       option, option, p->at.row->key);
    p->value = p->argv[p->next++];
    return VD_OK;
}

static enum vd_err long_option(struct arg_parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    char *key = xasprintf("%.*s", (int)(length - 2), word + 2);
    enum vd_err err = VD_OK;
    if (!option_find(p->set, key, &p->at)) {
        const char *near = option_suggest(p->set, key);
        err = VD_FAIL(VD_USAGE,
                      near ? "command line: unknown option --%s\n"
                             "did you mean --%s?"
                           : "command line: unknown option --%s\n"
                             "--help lists all options",
                      option_make_excerpt(key).text, near);
    } else if (equals) {
        p->value = equals + 1;
    } else {
        err = take_value(p, word);
    }
    free(key);
    return err;
}

static enum vd_err letter_option(struct arg_parser *p, const char *word)
{
    if (!option_find_letter(p->set, word[1], &p->at) ||
        (word[2] && p->at.row->type == OPTION_BOOL))
        return VD_FAIL(VD_USAGE,
                       "command line: unknown option %s\n"
                       "--help lists all options",
                       option_make_excerpt(word).text);
    if (!word[2])
        return take_value(p, word);
    p->value = word + 2;
    return VD_OK;
}

/* Parses the next option or word; requires p->next < p->argc. */
static enum vd_err parse_next(struct arg_parser *p)
{
    const char *word = p->argv[p->next++];
    p->at = (struct option_ref){0};
    p->value = word;
    if (p->only_positional || word[0] != '-' || !word[1])
        return VD_OK;
    if (word[1] == '-')
        return long_option(p, word);
    return letter_option(p, word);
}

/* Skips "--"; false at the end of the arguments. */
static bool has_next(struct arg_parser *p)
{
    if (!p->only_positional && p->next < p->argc &&
        !strcmp(p->argv[p->next], "--")) {
        p->only_positional = true;
        p->next++;
    }
    return p->next < p->argc;
}

enum vd_err options_read_arguments(struct option_set *set, int argc,
                                   char **argv, struct option_args *words)
{
    struct arg_parser p = {.set = set, .argc = argc, .argv = argv};
    struct option_args found = {0};
    enum vd_err err = VD_OK;
    while (has_next(&p)) {
        VD_TRY_GOTO(out, err, parse_next(&p));
        if (!p.at.row)
            args_append(&found, p.value);
        else
            VD_TRY_GOTO(
                out, err,
                options_set(set, p.at.row->key, p.value, ORIGIN_COMMAND_LINE));
    }
    *words = found;
    found.args = NULL;
out:
    free(found.args);
    return err;
}

enum vd_err options_collect_arguments(const struct option_set *set, int argc,
                                      char **argv, const char *key,
                                      struct option_args *values)
{
    struct arg_parser p = {.set = set, .argc = argc, .argv = argv};
    struct option_args found = {0};
    enum vd_err err = VD_OK;
    while (has_next(&p)) {
        VD_TRY_GOTO(out, err, parse_next(&p));
        if (p.at.row && !strcmp(p.at.row->key, key))
            args_append(&found, p.value);
    }
    *values = found;
    found.args = NULL;
out:
    free(found.args);
    return err;
}
