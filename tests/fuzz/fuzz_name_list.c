/* Arbitrary bytes as a list of names: an error or valid lines, no crash. */
#include "base/log.h"
#include "preprocess/name_list.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static size_t find(void *ctx, const char *name)
{
    static const char *const names[] = {"cat", "cat (2)", "a.jpg", "000012"};
    size_t *n_calls = ctx;
    ++*n_calls;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (!strcmp(names[k], name))
            return k;
    return NAME_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct name_list list = {0};
    int number = 0;
    log_set_sink(log_discard, NULL);
    if (name_list_parse(&list, "list.txt", bytes, n) == VD_OK)
        for (size_t i = 0; i < list.n; i++) {
            const struct name_line *line = &list.lines[i];
            size_t n_calls = 0;
            check(line->number > number && *line->text);
            check(line->text >= list.bytes && line->text < list.bytes + n);
            number = line->number;
            struct name_match m = name_match(line->text, find, &n_calls);
            check(m.index < 4 || m.index == NAME_NONE);
            check(n_calls > 0 || strlen(line->text) > 4096);
            check(n_calls <= 8 * 17);
        }
    name_list_clear(&list);
    log_set_sink(NULL, NULL);
    return 0;
}
