#include "base/alloc.h"
#include "base/log.h"
#include "config/option.h"
#include "config/option_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX           "VOCDIST_"
#define ARRAY_SIZE(list) (sizeof(list) / sizeof *(list))

/* Not options: tests, fault injection and the batch scripts read these. */
static const char *const reserved_variables[] = {
    "VOCDIST_TEST_DATA",
    "VOCDIST_FAULT",
    "VOCDIST_LAUNCHER",
};

/* Module systems (Lmod, Spack, EasyBuild) set these for every package. */
static const char *const module_variables[] = {
    "VOCDIST_ROOT", "VOCDIST_HOME", "VOCDIST_DIR",  "VOCDIST_VERSION",
    "VOCDIST_LIB",  "VOCDIST_INC",  "VOCDIST_BASE", "VOCDIST_PREFIX",
};

char *option_env_name(const char *key)
{
    char *name = xasprintf(PREFIX "%s", key);
    for (char *p = name + strlen(PREFIX); *p; p++)
        *p = *p == '.' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return name;
}

/* The `n` variable names of all config tables of the set; owned. */
static char **env_names(const struct option_set *set, size_t *n)
{
    char **names = NULL;
    *n = 0;
    for (int t = 0; t < set->n; t++) {
        const struct option_table *table = set->tables[t];
        if (!table->is_config)
            continue;
        names = xreallocarray(names, *n + table->n, sizeof *names);
        for (size_t i = 0; i < table->n; i++)
            names[(*n)++] = option_env_name(table->rows[i].key);
    }
    return names;
}

/* True if the name in `entry` ("VOCDIST_OPTIM_LR=1e-3") is one of `names`. */
static bool is_listed(const char *entry, const char *const *names, size_t n)
{
    size_t length = strcspn(entry, "=");
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) == length && !strncmp(entry, names[i], length))
            return true;
    return false;
}

/* Rejects a variable that is neither an option nor on a list above. */
static enum vd_err check_variable(const char *entry, char **names, size_t n)
{
    size_t length = strcspn(entry, "=");
    if (is_listed(entry, reserved_variables, ARRAY_SIZE(reserved_variables)) ||
        is_listed(entry, module_variables, ARRAY_SIZE(module_variables)) ||
        is_listed(entry, (const char *const *)names, n))
        return VD_OK;
    char *word = xasprintf("%.*s", (int)length, entry);
    const char *near = text_nearest(word, (const char *const *)names, n);
    enum vd_err err =
        VD_FAIL(VD_CONFIG,
                near ? "environment: unknown variable %s\ndid you mean %s?"
                     : "environment: unknown variable %s\nunset it; names are "
                       "VOCDIST_SECTION_KEY, as in VOCDIST_OPTIM_LR",
                option_make_excerpt(word).text, near);
    free(word);
    return err;
}

static enum vd_err read_table_variables(struct option_set *set,
                                        const struct option_table *table)
{
    enum vd_err err = VD_OK;
    for (size_t i = 0; err == VD_OK && i < table->n; i++) {
        char *name = option_env_name(table->rows[i].key);
        const char *value = getenv(name);
        if (value) {
            char *origin = xasprintf("environment %s", name);
            err = options_set(set, table->rows[i].key, value, origin);
            free(origin);
        }
        free(name);
    }
    return err;
}

enum vd_err options_read_environment(struct option_set *set)
{
    enum vd_err err = VD_OK;
    size_t n = 0;
    char **names = env_names(set, &n);
    for (char **e = environ; err == VD_OK && e && *e; e++)
        if (!strncmp(*e, PREFIX, strlen(PREFIX)))
            err = check_variable(*e, names, n);
    for (int t = 0; err == VD_OK && t < set->n; t++)
        if (set->tables[t]->is_config)
            err = read_table_variables(set, set->tables[t]);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return err;
}

void options_log_environment(void)
{
    for (char **e = environ; e && *e; e++)
        if (is_listed(*e, module_variables, ARRAY_SIZE(module_variables)))
            log_debug(
                "environment: %s is ignored: it is a variable of a module "
                "system, not an option",
                option_make_excerpt(*e).text);
}
