#include "base/fault.h"

#include "base/log.h"
#include "base/text.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct site_text {
    const char *name, *activity;
};
#define TEXT(site, name, activity) [site] = {name, activity},
static const struct site_text site_texts[FAULT_SITE_COUNT] = {
    FAULT_SITES(TEXT)};
#undef TEXT

enum action { ACT_ERROR, ACT_EXIT, ACT_HANG, ACT_KILL, ACT_NAN, ACT_COUNT };
static const char *const action_names[ACT_COUNT] = {
    [ACT_ERROR] = "error", [ACT_EXIT] = "exit", [ACT_HANG] = "hang",
    [ACT_KILL] = "kill",   [ACT_NAN] = "nan",
};

struct fault {
    int site; /* enum fault_site */
    int64_t rank, visit;
    int action; /* enum action */
};

const char *fault_site_name(enum fault_site site)
{
    return site_texts[site].name;
}

const char *fault_site_activity(enum fault_site site)
{
    return site_texts[site].activity;
}

/* Returns the text before the next ':' and advances; NULL at the end. */
static char *next_field(char **rest)
{
    return strsep(rest, ":");
}

static bool parse_fault(const char *spec, struct fault *out)
{
    char copy[128];
    if (snprintf(copy, sizeof copy, "%s", spec) >= (int)sizeof copy)
        return false;
    char *rest = copy;
    const char *site = next_field(&rest), *rank = next_field(&rest);
    const char *action = next_field(&rest), *visit = next_field(&rest);
    struct fault f = {.visit = 1, .action = ACT_ERROR};

    while (f.site < FAULT_SITE_COUNT &&
           strcmp(site, site_texts[f.site].name) != 0)
        f.site++;
    if (action) {
        f.action = 0;
        while (f.action < ACT_COUNT &&
               strcmp(action, action_names[f.action]) != 0)
            f.action++;
    }
    if (rest || f.site == FAULT_SITE_COUNT || f.action == ACT_COUNT || !rank ||
        !text_to_int64(rank, &f.rank) ||
        (visit && !text_to_int64(visit, &f.visit)))
        return false;
    *out = f;
    return true;
}

/* Counts the visit if site and rank are those of the fault; true on the
 * visit at which the fault happens. */
static bool fault_is_due(const struct fault *f, enum fault_site site, int rank,
                         atomic_int_fast64_t *visits)
{
    if (f->site != (int)site || f->rank != rank)
        return false;
    return atomic_fetch_add(visits, 1) + 1 == f->visit;
}

enum vd_err fault_at(enum fault_site site, int rank)
{
    // Visits of the injected site; a process has one fault.
    static atomic_int_fast64_t visits;
    const char *spec = getenv("VOCDIST_FAULT");
    struct fault f;
    if (!spec)
        return VD_OK;
    if (!parse_fault(spec, &f))
        return VD_FAIL(VD_CONFIG,
                       "VOCDIST_FAULT: cannot read \"%s\"\n"
                       "write SITE:RANK[:error|exit|hang|kill|nan[:VISIT]]",
                       spec);
    if (f.action == ACT_NAN || !fault_is_due(&f, site, rank, &visits))
        return VD_OK;
    if (f.action == ACT_EXIT)
        _exit(err_exit_code(VD_BUG));
    if (f.action == ACT_KILL)
        raise(SIGKILL);
    while (f.action == ACT_HANG)
        pause();
    return VD_FAIL(VD_BUG, "injected fault at %s", site_texts[site].name);
}

bool fault_nan(enum fault_site site, int rank)
{
    static atomic_int_fast64_t visits; // as in fault_at()
    const char *spec = getenv("VOCDIST_FAULT");
    struct fault f;
    return spec && parse_fault(spec, &f) && f.action == ACT_NAN &&
           fault_is_due(&f, site, rank, &visits);
}
