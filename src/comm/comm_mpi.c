/*
 * Ranks over MPI. Blocking calls are non-blocking ones with a bounded wait:
 * MPI itself waits for ever for a rank that is frozen or cut off (measured).
 */
#include "comm/comm_mpi.h"
#include "comm/launch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/memory.h"
#include "base/stderr_queue.h"
#include "base/text.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE        ((size_t)64 << 20) /* bytes of one message: counts are int */
#define TAG_GATHER   1
#define TAG_ROLLCALL 2
#define TAG_ASK      3     /* the number of a question: do you make progress? */
#define TAG_ANSWER   4     /* that number, and an enum liveness */
#define SPIN_S       10e-6 /* of a wait: test only, */
#define YIELD_S      200e-6 /* then let others run between tests, then sleep */
#define ALARM_S      0.1    /* from here on answer those whose time is up */
#define ROLLCALL_S   1.0
#define SPEAKER_S    2 /* to speak and end the job, before others end it */
#define MAX_NAMED    8
#define MPI_ROOM     ((size_t)256 << 20) /* it crashes where it gets less */

struct flags {
    MPI_Request request;
    enum fault_site site;
    uint32_t mine, any;
};

/* What a rank has answered to this rank's last question. */
enum liveness { SILENT, WAITING, WORKING };

/* Between this rank and one other. */
struct peer {
    MPI_Request asking, answering; /* sends that may be under way, of these: */
    int question, answer[2];
    enum liveness liveness;
};

struct comm_mpi {
    MPI_Comm world, alarm;
    struct peer *peers; /* [size], owned */
    int question;       /* the number of the last one */
    struct flags flags[COMM_FLAGS_MAX];
    size_t first, n; /* the ring of those under way */
};

static struct comm_mpi *impl_of(const struct comm *c)
{
    return c->impl;
}

MPI_Comm comm_mpi_world(const struct comm *c)
{
    return impl_of(c)->world;
}

enum vd_err comm_mpi_check(int rc, const char *call)
{
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    if (rc == MPI_SUCCESS)
        return VD_OK;
    MPI_Error_string(rc, text, &length);
    return VD_FAIL(VD_COMM, "%.*s: %s", (int)strcspn(call, "("), call, text);
}

/* ---- waiting -------------------------------------------------------- */

/* Adds "rank 3 (host)", and where it waits if `doing` is given. */
static void list_rank(const struct comm *c, int rank, const char *doing, int *n,
                      struct text *out)
{
    if (++*n <= MAX_NAMED)
        text_add(out, "%srank %d (%s)%s%s", *n > 1 ? ", " : "", rank,
                 c->hosts[rank], doing ? " while " : "", doing ? doing : "");
}

/* False while the last send is under way: its buffer is still in use. */
static bool is_sent(MPI_Request *send)
{
    int done = 1;
    if (*send != MPI_REQUEST_NULL)
        MPI_Test(send, &done, MPI_STATUS_IGNORE);
    return done;
}

static void ask_all(struct comm *c)
{
    struct comm_mpi *m = impl_of(c);
    m->question++;
    for (int r = 0; r < c->size; r++) {
        struct peer *p = &m->peers[r];
        p->liveness = r == c->rank ? WAITING : SILENT;
        if (r == c->rank || !is_sent(&p->asking))
            continue;
        p->question = m->question;
        MPI_Isend(&p->question, 1, MPI_INT, r, TAG_ASK, m->alarm, &p->asking);
    }
}

/* Open MPI's first probe may only fetch what the second one finds (measured:
 * answers of a rank that makes no other calls came one unit late). */
static bool take(struct comm *c, int tag, int *values, int n, int *source)
{
    struct comm_mpi *m = impl_of(c);
    int found = 0;
    MPI_Status s;
    for (int i = 0; i < 2 && !found; i++)
        MPI_Iprobe(MPI_ANY_SOURCE, tag, m->alarm, &found, &s);
    if (found)
        MPI_Recv(values, n, MPI_INT, s.MPI_SOURCE, tag, m->alarm, &s);
    *source = found ? s.MPI_SOURCE : -1;
    return found;
}

/* Answers the questions that have come, and notes the answers to our own. A
 * late answer to an earlier question says nothing about now. */
static void serve_questions(struct comm *c, enum liveness mine)
{
    struct comm_mpi *m = impl_of(c);
    int source, question, answer[2];
    while (take(c, TAG_ASK, &question, 1, &source)) {
        struct peer *p = &m->peers[source];
        if (!is_sent(&p->answering))
            continue;
        p->answer[0] = question;
        p->answer[1] = (int)mine;
        MPI_Isend(p->answer, 2, MPI_INT, source, TAG_ANSWER, m->alarm,
                  &p->answering);
    }
    while (take(c, TAG_ANSWER, answer, 2, &source)) {
        if (answer[0] == m->question)
            m->peers[source].liveness = (enum liveness)answer[1];
    }
}

void comm_progress(struct comm *c)
{
    comm_goes_on(c);
    if (c->impl && c->size > 1)
        serve_questions(c, WORKING);
}

/* Every rank has answered, and one of them works. */
static bool wait_is_worth_it(const struct comm *c)
{
    const struct peer *peers = impl_of(c)->peers;
    bool works = false;
    for (int r = 0; r < c->size; r++) {
        if (peers[r].liveness == SILENT)
            return false;
        works = works || peers[r].liveness == WORKING;
    }
    return works;
}

/* Sends "I wait at `site`" to all; fills at[] with the others', -1 = silent.
 * The ranks that have answers to their question add SPEAKS to it. */
#define SPEAKS FAULT_SITE_COUNT
static void call_the_roll(struct comm *c, enum fault_site site, bool speaks,
                          int *at)
{
    static int here; // the sends outlive this call; a process does one
    struct comm_mpi *m = impl_of(c);
    double end = clock_now() + ROLLCALL_S;

    here = (int)site + (speaks ? SPEAKS : 0);
    for (int r = 0; r < c->size; r++) {
        MPI_Request sent;
        at[r] = r == c->rank ? here : -1;
        if (r != c->rank && MPI_Isend(&here, 1, MPI_INT, r, TAG_ROLLCALL,
                                      m->alarm, &sent) == MPI_SUCCESS)
            MPI_Request_free(&sent);
    }
    while (clock_now() < end) {
        int found = 0;
        MPI_Status s;
        MPI_Iprobe(MPI_ANY_SOURCE, TAG_ROLLCALL, m->alarm, &found, &s);
        if (found)
            MPI_Recv(&at[s.MPI_SOURCE], 1, MPI_INT, s.MPI_SOURCE, TAG_ROLLCALL,
                     m->alarm, MPI_STATUS_IGNORE);
        else
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static enum vd_err say_who_is_late(const struct comm *c, enum fault_site site,
                                   const int *at)
{
    struct text silent = {0}, elsewhere = {0};
    int n_silent = 0, n_elsewhere = 0;

    for (int r = 0; r < c->size; r++) {
        int where = at[r] % SPEAKS;
        if (at[r] < 0 && impl_of(c)->peers[r].liveness != WORKING)
            list_rank(c, r, NULL, &n_silent, &silent);
        else if (at[r] >= 0 && where != (int)site)
            list_rank(c, r, fault_site_doing((enum fault_site)where),
                      &n_elsewhere, &elsewhere);
    }
    if (n_silent)
        log_error("%d of %d ranks did not come within %.0f s while %s: %s%s\n"
                  "look at these hosts first; ranks that are only slow need a "
                  "larger timeout",
                  n_silent, c->size, c->timeout_s, fault_site_doing(site),
                  silent.bytes, n_silent > MAX_NAMED ? ", ..." : "");
    else if (n_elsewhere)
        log_error("ranks wait for each other for %.0f s: this one while %s, "
                  "but %s\nthis is a bug of the program; please report it",
                  c->timeout_s, fault_site_doing(site), elsewhere.bytes);
    else
        log_error("%d ranks did not come within %.0f s while %s, but all of "
                  "them a moment later\n"
                  "ranks that are only slow need a larger timeout",
                  c->size, c->timeout_s, fault_site_doing(site));
    free(silent.bytes);
    free(elsewhere.bytes);
    return VD_COMM;
}

/* The lowest of the ranks that know who works speaks for all that wait. The
 * others give it time: a rank that returns ends the job, and the cause would
 * never be said. */
static enum vd_err give_up(struct comm *c, enum fault_site site, bool speaks)
{
    int *at = mem_new((size_t)c->size, sizeof *at), first = 0;
    call_the_roll(c, site, speaks, at);
    while (first < c->size && at[first] < SPEAKS)
        first++;
    if (first == c->rank)
        say_who_is_late(c, site, at);
    else
        nanosleep(&(struct timespec){.tv_sec = SPEAKER_S}, NULL);
    free(at);
    return VD_COMM;
}

static bool alarm_rings(const struct comm *c)
{
    int found = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, TAG_ROLLCALL, impl_of(c)->alarm, &found,
               MPI_STATUS_IGNORE);
    return found;
}

/* Between two tests: the longer it takes, the more room for others. */
static void rest(double waited_s)
{
    if (waited_s < SPIN_S)
        return;
    if (waited_s < YIELD_S) {
        sched_yield();
        return;
    }
    double sleep_s = waited_s / 10 < 1e-3 ? waited_s / 10 : 1e-3;
    nanosleep(&(struct timespec){.tv_nsec = (long)(sleep_s * 1e9)}, NULL);
}

enum vd_err comm_mpi_wait(struct comm *c, enum fault_site site,
                          MPI_Request *request)
{
    double start = clock_now(), last = start, waited_s = 0;
    bool asked = false;
    for (;;) {
        int done = 0;
        MPI_TRY(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done)
            return VD_OK;
        double now = clock_now();
        if (now - last < ROLLCALL_S) // else this process was suspended
            waited_s += now - last;
        last = now;
        if (waited_s > ALARM_S) {
            serve_questions(c, WAITING);
            if (alarm_rings(c))
                return give_up(c, site, waited_s > 0.75 * c->timeout_s);
        }
        if (waited_s > c->timeout_s) {
            if (!wait_is_worth_it(c))
                return give_up(c, site, true);
            waited_s = c->timeout_s / 2;
            asked = false;
            comm_goes_on(c);
        }
        if (!asked && waited_s >= c->timeout_s / 2) {
            ask_all(c);
            asked = true;
        }
        rest(waited_s);
    }
}

/* ---- collectives without fault injection ---------------------------- */

static enum vd_err allgather(struct comm *c, enum fault_site site,
                             const void *mine, size_t n, void *all)
{
    MPI_Request request;
    VD_ASSERT(n <= INT_MAX);
    MPI_TRY(MPI_Iallgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE,
                           comm_mpi_world(c), &request));
    return comm_mpi_wait(c, site, &request);
}

static enum vd_err agree(struct comm *c, enum fault_site site, enum vd_err mine)
{
    struct {
        int code, rank;
    } pair = {(int)mine, c->rank};
    MPI_Request request;

    MPI_TRY(MPI_Iallreduce(MPI_IN_PLACE, &pair, 1, MPI_2INT, MPI_MAXLOC,
                           comm_mpi_world(c), &request));
    VD_TRY(comm_mpi_wait(c, site, &request));
    c->verdict = (enum vd_err)pair.code;
    if (c->rank == 0 && c->size > 1 && c->verdict > VD_STOPPED)
        log_info("rank %d (%s) failed while %s: %s", pair.rank,
                 c->hosts[pair.rank], fault_site_doing(site),
                 err_text(c->verdict));
    return c->verdict;
}

/* Moves `n` bytes from rank `from` to rank 0; both call it. */
static enum vd_err move_row(struct comm *c, enum fault_site site, char *bytes,
                            size_t n, int from)
{
    for (size_t done = 0; done < n; done += PIECE) {
        int k = (int)(n - done < PIECE ? n - done : PIECE);
        MPI_Request request;
        if (c->rank == 0)
            MPI_TRY(MPI_Irecv(bytes + done, k, MPI_BYTE, from, TAG_GATHER,
                              comm_mpi_world(c), &request));
        else
            MPI_TRY(MPI_Isend(bytes + done, k, MPI_BYTE, 0, TAG_GATHER,
                              comm_mpi_world(c), &request));
        VD_TRY(comm_mpi_wait(c, site, &request));
    }
    return VD_OK;
}

/* "Open MPI v4.1.4, package: ...", "MPICH Version:\t4.0\nMPICH Release ...". */
void comm_library(char *out, size_t room)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int n = 0;
    MPI_Get_library_version(text, &n);
    text[strcspn(text, ",\n")] = '\0';
    for (char *p = text; *p; p++)
        *p = *p == '\t' ? ' ' : *p;
    snprintf(out, room, "%s", text);
}

/* ---- opening and closing -------------------------------------------- */

static enum vd_err find_node(struct comm *c)
{
    MPI_Comm node;
    c->node_root = c->rank;
    MPI_TRY(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, c->rank,
                                MPI_INFO_NULL, &node));
    MPI_TRY(MPI_Comm_rank(node, &c->node_rank));
    MPI_TRY(MPI_Comm_size(node, &c->node_size));
    MPI_TRY(MPI_Bcast(&c->node_root, 1, MPI_INT, 0, node));
    return comm_mpi_check(MPI_Comm_free(&node), "MPI_Comm_free");
}

static enum vd_err find_ranks(struct comm *c)
{
    struct comm_mpi *m = impl_of(c);
    char host[COMM_HOST_MAX] = "";

    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_rank(MPI_COMM_WORLD, &c->rank));
    MPI_TRY(MPI_Comm_size(MPI_COMM_WORLD, &c->size));
    gethostname(host, sizeof host - 1);
    log_set_rank(c->rank, c->size, host);
    VD_TRY(launch_check_size(c->size));
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &m->world)); // keeps the handler
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &m->alarm));
    VD_TRY(find_node(c));
    c->hosts = mem_new((size_t)c->size, sizeof *c->hosts);
    m->peers = mem_new((size_t)c->size, sizeof *m->peers);
    for (int r = 0; r < c->size; r++)
        m->peers[r].asking = m->peers[r].answering = MPI_REQUEST_NULL;
    return allgather(c, SITE_OPEN, host, sizeof host, c->hosts);
}

enum vd_err comm_open(struct comm *c, double timeout_s)
{
    int provided = MPI_THREAD_SINGLE;
    VD_TRY(comm_begin(c, timeout_s));
    VD_TRY(memory_room("MPI", MPI_ROOM));
    MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    struct comm_mpi *m = mem_new(1, sizeof *m);
    m->world = m->alarm = MPI_COMM_NULL;
    c->impl = m;
    VD_TRY(find_ranks(c));
    enum vd_err err = VD_OK;
    if (provided < MPI_THREAD_FUNNELED)
        err = VD_FAIL(VD_COMM, "this MPI forbids threads\nuse one with "
                               "MPI_THREAD_FUNNELED");
    VD_TRY(comm_agree(c, SITE_OPEN, err));
    comm_has_begun(c);
    return VD_OK;
}

/* All ranks are here with one verdict. */
static enum vd_err close_in_order(struct comm *c)
{
    struct comm_mpi *m = impl_of(c);
    uint32_t any;
    while (m->n > 0)
        VD_TRY(comm_flags_finish(c, &any));
    VD_TRY(comm_barrier(c, SITE_CLOSE));
    serve_questions(c, WAITING); // leftovers, so that their sends end
    MPI_TRY(MPI_Comm_free(&m->alarm));
    MPI_TRY(MPI_Comm_free(&m->world));
    MPI_TRY(MPI_Finalize());
    return VD_OK;
}

int comm_close(struct comm *c, enum vd_err err)
{
    comm_enter(c, SITE_CLOSE, -1, c->timeout_s);
    if (c->impl) {
        enum vd_err closed = err == c->verdict ? close_in_order(c) : err;
        if (closed != VD_OK)
            comm_abort(c, closed);
    }
    watchdog_stop(&c->watchdog);
    if (c->impl)
        free(impl_of(c)->peers);
    free(c->impl);
    free(c->hosts);
    c->impl = NULL;
    c->hosts = NULL;
    return err_exit_code(err);
}

void comm_abort(struct comm *c, enum vd_err why)
{
    fflush(NULL);
    stderr_flush();
    if (c->impl)
        MPI_Abort(MPI_COMM_WORLD, err_exit_code(why));
    _exit(err_exit_code(why));
}

/* ---- the calls of comm.h -------------------------------------------- */

enum vd_err comm_agree(struct comm *c, enum fault_site site, enum vd_err mine)
{
    enum vd_err injected = fault_at(site, c->rank);
    return agree(c, site, injected > mine ? injected : mine);
}

enum vd_err comm_bcast(struct comm *c, enum fault_site site, void *bytes,
                       size_t n, int root)
{
    char *at = bytes;
    VD_TRY(fault_at(site, c->rank));
    for (size_t done = 0; done < n; done += PIECE) {
        size_t k = n - done < PIECE ? n - done : PIECE;
        MPI_Request request;
        MPI_TRY(MPI_Ibcast(at + done, (int)k, MPI_BYTE, root, comm_mpi_world(c),
                           &request));
        VD_TRY(comm_mpi_wait(c, site, &request));
    }
    return VD_OK;
}

enum vd_err comm_allgather(struct comm *c, enum fault_site site,
                           const void *mine, size_t n, void *all)
{
    VD_TRY(fault_at(site, c->rank));
    return allgather(c, site, mine, n, all);
}

/* Room for all rows in rank 0, which puts its own there. */
static enum vd_err make_room(const struct comm *c, const void *mine,
                             const size_t *sizes, void **out)
{
    size_t total = 1; // never nothing
    if (c->rank != 0)
        return VD_OK;
    for (int r = 0; r < c->size; r++)
        total += sizes[r];
    VD_TRY(mem_alloc(out, total, 1, "gathered rows"));
    if (sizes[0])
        memcpy(*out, mine, sizes[0]);
    return VD_OK;
}

enum vd_err comm_gather(struct comm *c, enum fault_site site, const void *mine,
                        size_t n, void **all, size_t *sizes)
{
    void *rows = NULL;
    VD_TRY(comm_allgather(c, site, &n, sizeof n, sizes));
    enum vd_err err = agree(c, site, make_room(c, mine, sizes, &rows));
    if (err != VD_OK) {
        mem_free(rows);
        return err;
    }
    size_t at = sizes[0];
    for (int r = 1; c->rank == 0 && r < c->size; at += sizes[r++])
        VD_TRY(move_row(c, site, (char *)rows + at, sizes[r], r));
    if (c->rank != 0)
        VD_TRY(move_row(c, site, (char *)mine, n, c->rank));
    *all = rows;
    return VD_OK;
}

enum vd_err comm_sum_int64(struct comm *c, enum fault_site site,
                           int64_t *values, size_t n)
{
    MPI_Request request;
    VD_ASSERT(n <= INT_MAX);
    VD_TRY(fault_at(site, c->rank));
    MPI_TRY(MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, MPI_INT64_T, MPI_SUM,
                           comm_mpi_world(c), &request));
    return comm_mpi_wait(c, site, &request);
}

enum vd_err comm_barrier(struct comm *c, enum fault_site site)
{
    MPI_Request request;
    VD_TRY(fault_at(site, c->rank));
    MPI_TRY(MPI_Ibarrier(comm_mpi_world(c), &request));
    return comm_mpi_wait(c, site, &request);
}

enum vd_err comm_flags_start(struct comm *c, enum fault_site site,
                             uint32_t mine)
{
    struct comm_mpi *m = impl_of(c);
    VD_TRY(fault_at(site, c->rank));
    VD_ASSERT(m->n < COMM_FLAGS_MAX);
    struct flags *f = &m->flags[(m->first + m->n) % COMM_FLAGS_MAX];
    *f = (struct flags){.site = site, .mine = mine};
    MPI_TRY(MPI_Iallreduce(&f->mine, &f->any, 1, MPI_UINT32_T, MPI_BOR,
                           m->world, &f->request));
    m->n++;
    return VD_OK;
}

enum vd_err comm_flags_finish(struct comm *c, uint32_t *any)
{
    struct comm_mpi *m = impl_of(c);
    VD_ASSERT(m->n > 0);
    struct flags *f = &m->flags[m->first];
    VD_TRY(comm_mpi_wait(c, f->site, &f->request));
    m->first = (m->first + 1) % COMM_FLAGS_MAX;
    m->n--;
    *any = f->any;
    return VD_OK;
}
