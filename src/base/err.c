#include "base/err.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct err_entry {
    int exit_code;
    const char *text;
};

#define ENTRY(name, code, text) [name] = {code, text},
static const struct err_entry err_entries[VD_ERR_COUNT] = {VD_ERR_MAP(ENTRY)};
#undef ENTRY

int err_exit_code(enum vd_err err)
{
    return err_entries[err].exit_code;
}

const char *err_text(enum vd_err err)
{
    return err_entries[err].text;
}

enum vd_err err_raise(enum vd_err err, const char *file, int line,
                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_write(LOG_LEVEL_ERROR, format, args);
    va_end(args);
    log_debug("error \"%s\" raised at %s:%d", err_text(err), file, line);
    return err;
}

void err_bug(const char *file, int line, const char *what)
{
    log_set_sink(NULL, NULL); /* a sink would be lost with the process */
    log_error("internal error at %s:%d: %s\n"
              "this is a bug in the program; please report it",
              file, line, what);
    abort();
}
