#include "base/alloc.h"
#include "config/option.h"
#include "config/option_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMENT_COLUMN 40

/* ---- texts in YAML ----------------------------------------------------- */

/* Words that a YAML reader may parse as something other than a string. */
static bool is_yaml_word(const char *text)
{
    static const char *const words[] = {"null", "true", "false", "yes",
                                        "no",   "on",   "off",   "y",
                                        "n",    ".nan", ".inf"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i]))
            return true;
    return false;
}

/* True if `text` needs no quotes, in our reader and in others. Those may parse
 * a leading digit or dot as a number, so 007 and .5 are quoted. */
static bool is_plain(const char *text)
{
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/"
    return *text && strchr(LETTERS, *text) &&
           strspn(text, LETTERS "0123456789.-+") == strlen(text) &&
           !is_yaml_word(text);
#undef LETTERS
}

/* True if a double-quoted YAML scalar may contain the character unescaped. */
static bool is_printable(uint32_t code)
{
    return code >= 0x20 && code != 0x7f && !(code >= 0x80 && code < 0xa0) &&
           code != 0x2028 && code != 0x2029 && code != 0xfeff &&
           code != 0xfffe && code != 0xffff;
}

static void add_quoted(const char *text, struct text *out)
{
    text_add(out, "\"");
    while (*text) {
        uint32_t code = 0;
        size_t n = text_decode_utf8(text, &code);
        VD_ASSERT(n > 0); // options_set() accepts UTF-8 only
        if (code == '"' || code == '\\')
            text_add(out, "\\%c", (int)code);
        else if (is_printable(code))
            text_add_bytes(out, text, n);
        else
            text_add(out, "\\u%04X", (unsigned)code);
        text += n;
    }
    text_add(out, "\"");
}

static void add_value(const struct option_ref *at, struct text *out)
{
    struct text plain = {0};
    text_add(&plain, "%s", "");
    option_format_value(at, &plain);
    if (at->row->type == OPTION_INTS)
        text_add(out, "[%s]", plain.bytes);
    else if (at->row->type == OPTION_TEXT && !is_plain(plain.bytes))
        add_quoted(plain.bytes, out);
    else
        text_add(out, "%s", plain.bytes);
    free(plain.bytes);
}

void options_format(const struct option_set *set, const char *key,
                    struct text *out)
{
    struct option_ref at;
    VD_ASSERT(option_find(set, key, &at));
    add_value(&at, out);
}

/* ---- the whole config -------------------------------------------------- */

static void add_origin(const struct option_ref *at, size_t start,
                       struct text *out)
{
    int width = (int)(out->length - start);
    int pad = width < COMMENT_COLUMN ? COMMENT_COLUMN - width : 1;
    text_add(out, "%*s# ", pad, "");
    // A path may contain a line break, which would end the comment.
    for (const char *p = *at->origin ? *at->origin : "default"; *p; p++)
        text_add(out, "%c", (unsigned char)*p < 0x20 ? '?' : *p);
}

static void add_table(const struct option_set *set, int table,
                      bool with_origins, struct text *out)
{
    const char *section = "";
    size_t section_length = 0;
    for (size_t i = 0; i < set->tables[table]->n; i++) {
        struct option_ref at = option_ref(set, table, i);
        const char *key = at.row->key, *dot = strchr(key, '.');
        size_t length = dot ? (size_t)(dot - key) : 0;
        if (length != section_length || strncmp(key, section, length)) {
            section = key;
            section_length = length;
            if (dot)
                text_add(out, "%.*s:\n", (int)length, key);
        }
        size_t start = out->length;
        text_add(out, "%s%s: ", dot ? "  " : "", dot ? dot + 1 : key);
        add_value(&at, out);
        if (with_origins)
            add_origin(&at, start, out);
        text_add(out, "\n");
    }
}

void options_format_yaml(const struct option_set *set, bool with_origins,
                         struct text *out)
{
    for (int t = 0; t < set->n; t++)
        if (set->tables[t]->is_config)
            add_table(set, t, with_origins, out);
}
