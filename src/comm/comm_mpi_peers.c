/*
 * A wait with a time limit L that detects late ranks. It polls with backoff
 * (spin, yield, sleep) and is a state machine in the time waited.
 * Example, L = 60 s:
 *
 *   0.1 s  from here on answer pings and claims of other ranks
 *   30 s   ping all other ranks
 *   60 s   all have answered, one is working: set the time back to 30 s (so
 *          ping again, and extend the wait by L / 2); otherwise time out:
 *          1 s      all waiting ranks exchange their sites (TAG_WAIT_SITE)
 *          then     the lowest of them that has answers to its ping logs the
 *                   late ranks; the others wait 2 s for it; all return VD_COMM
 *
 * A TAG_WAIT_SITE message makes every other waiting rank time out as well.
 */
#include "comm/comm_mpi_peers.h"
#include "comm/comm_internal.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define TAG_WAIT_SITE 2
#define TAG_PING      3 /* the id of the ping */
#define TAG_PONG      4 /* the id of the ping, and an enum liveness */
#define TAG_CLAIM     5 /* to rank 0: claims a number; the value is unused */
#define TAG_INDEX     6 /* the number */

#define POLL_PEERS_S 0.1 /* from then on answer other ranks */
#define COLLECT_S    1.0 /* for the sites of the other waiting ranks */
#define REPORT_S     2   /* for the reporting rank, before others end the job */
#define MAX_NAMED    8

enum vd_err comm_mpi_peers_open(struct comm_mpi_peers *p, struct comm *c)
{
    *p = (struct comm_mpi_peers){.comm = c};
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &p->control));
    p->peer = xcalloc((size_t)c->size, sizeof *p->peer);
    for (int r = 0; r < c->size; r++)
        p->peer[r].ping_send = p->peer[r].pong_send = p->peer[r].claim_send =
            MPI_REQUEST_NULL;
    return VD_OK;
}

enum vd_err comm_mpi_peers_close(struct comm_mpi_peers *p)
{
    comm_mpi_peers_poll(p, PEER_WAITING); // completes the sends of others
    MPI_TRY(MPI_Comm_free(&p->control));
    return VD_OK;
}

void comm_mpi_peers_free(struct comm_mpi_peers *p)
{
    free(p->peer);
    p->peer = NULL;
}

/* Appends "rank 3 (host)" and, if given, "while" and its activity. */
static void append_rank(const struct comm *c, int rank, const char *activity,
                        int *n, struct text *out)
{
    if (++*n <= MAX_NAMED)
        text_add(out, "%srank %d (%s)%s%s", *n > 1 ? ", " : "", rank,
                 c->hosts[rank], activity ? " while " : "",
                 activity ? activity : "");
}

/* False while the last send is in flight: its buffer is still in use. */
static bool send_is_done(MPI_Request *send)
{
    int done = 1;
    if (*send != MPI_REQUEST_NULL)
        MPI_Test(send, &done, MPI_STATUS_IGNORE);
    return done;
}

static void ping_all(struct comm_mpi_peers *p)
{
    p->ping_id++;
    for (int r = 0; r < p->comm->size; r++) {
        struct peer *peer = &p->peer[r];
        bool is_self = r == p->comm->rank;
        peer->liveness = is_self ? PEER_WAITING : PEER_SILENT;
        if (is_self || !send_is_done(&peer->ping_send))
            continue;
        peer->ping_id = p->ping_id;
        MPI_Isend(&peer->ping_id, 1, MPI_INT, r, TAG_PING, p->control,
                  &peer->ping_send);
    }
}

/* Probes twice: in Open MPI the first probe may only make progress, and the
 * second one finds the message (measured: answers of a rank that makes no other
 * MPI calls came one unit of work late). */
static bool try_receive(struct comm_mpi_peers *p, int tag, int *values, int n,
                        int *source)
{
    int found = 0;
    MPI_Status s;
    for (int i = 0; i < 2 && !found; i++)
        MPI_Iprobe(MPI_ANY_SOURCE, tag, p->control, &found, &s);
    if (found)
        MPI_Recv(values, n, MPI_INT, s.MPI_SOURCE, tag, p->control, &s);
    *source = found ? s.MPI_SOURCE : -1;
    return found;
}

/* Rank 0: answers claims. A rank sends its next claim only after it has
 * received the last number, so waiting for that send does not block. */
static void answer_claims(struct comm_mpi_peers *p)
{
    int source, nothing;
    while (try_receive(p, TAG_CLAIM, &nothing, 1, &source)) {
        struct peer *peer = &p->peer[source];
        if (!send_is_done(&peer->claim_send))
            MPI_Wait(&peer->claim_send, MPI_STATUS_IGNORE);
        peer->claimed_index = p->next_index++;
        MPI_Isend(&peer->claimed_index, 1, MPI_UINT64_T, source, TAG_INDEX,
                  p->control, &peer->claim_send);
    }
}

/* Ignores late answers to earlier pings: their state is out of date. */
void comm_mpi_peers_poll(struct comm_mpi_peers *p, enum liveness mine)
{
    int source, ping_id, pong[2];
    while (try_receive(p, TAG_PING, &ping_id, 1, &source)) {
        struct peer *peer = &p->peer[source];
        if (!send_is_done(&peer->pong_send))
            continue;
        peer->pong[0] = ping_id;
        peer->pong[1] = (int)mine;
        MPI_Isend(peer->pong, 2, MPI_INT, source, TAG_PONG, p->control,
                  &peer->pong_send);
    }
    while (try_receive(p, TAG_PONG, pong, 2, &source)) {
        if (pong[0] == p->ping_id)
            p->peer[source].liveness = (enum liveness)pong[1];
    }
    if (p->comm->rank == 0)
        answer_claims(p);
}

/* True if every rank has answered, and one of them is working. */
static bool peers_make_progress(const struct comm_mpi_peers *p)
{
    bool any_working = false;
    for (int r = 0; r < p->comm->size; r++) {
        if (p->peer[r].liveness == PEER_SILENT)
            return false;
        any_working = any_working || p->peer[r].liveness == PEER_WORKING;
    }
    return any_working;
}

/* Sends the site at which this rank waits to all; fills at[] with the sites of
 * the others, -1: none received. A rank that has answers to its ping, and so
 * the state of all ranks, adds CAN_REPORT to its site. */
#define CAN_REPORT FAULT_SITE_COUNT
static void collect_wait_sites(const struct comm_mpi_peers *p,
                               enum fault_site site, bool can_report, int *at)
{
    static int here; // the sends outlive this call; a process makes one call
    const struct comm *c = p->comm;
    double end = clock_now() + COLLECT_S;

    here = (int)site + (can_report ? CAN_REPORT : 0);
    for (int r = 0; r < c->size; r++) {
        MPI_Request sent;
        at[r] = r == c->rank ? here : -1;
        if (r != c->rank && MPI_Isend(&here, 1, MPI_INT, r, TAG_WAIT_SITE,
                                      p->control, &sent) == MPI_SUCCESS)
            MPI_Request_free(&sent);
    }
    while (clock_now() < end) {
        int found = 0;
        MPI_Status s;
        MPI_Iprobe(MPI_ANY_SOURCE, TAG_WAIT_SITE, p->control, &found, &s);
        if (found)
            MPI_Recv(&at[s.MPI_SOURCE], 1, MPI_INT, s.MPI_SOURCE, TAG_WAIT_SITE,
                     p->control, MPI_STATUS_IGNORE);
        else
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void report_late_ranks(const struct comm_mpi_peers *p,
                              enum fault_site site, const int *at)
{
    const struct comm *c = p->comm;
    struct text silent = {0}, elsewhere = {0};
    int n_silent = 0, n_elsewhere = 0;

    for (int r = 0; r < c->size; r++) {
        int where = at[r] % CAN_REPORT;
        if (at[r] < 0 && p->peer[r].liveness != PEER_WORKING)
            append_rank(c, r, NULL, &n_silent, &silent);
        else if (at[r] >= 0 && where != (int)site)
            append_rank(c, r, fault_site_activity((enum fault_site)where),
                        &n_elsewhere, &elsewhere);
    }
    if (n_silent)
        log_error("%d of %d ranks did not arrive within %.0f s while %s: %s%s\n"
                  "check these hosts first; if the ranks are only slow, set a "
                  "larger timeout",
                  n_silent, c->size, c->timeout_s, fault_site_activity(site),
                  silent.bytes, n_silent > MAX_NAMED ? ", ..." : "");
    else if (n_elsewhere)
        log_error("ranks wait for each other for %.0f s: this one while %s, "
                  "but %s\nif a disk or a device of these hosts hangs, restart "
                  "without them; otherwise this is a bug in the program: "
                  "please report it",
                  c->timeout_s, fault_site_activity(site), elsewhere.bytes);
    else
        log_error("all %d ranks waited %.0f s while %s\n"
                  "if the ranks are only slow, set a larger timeout; "
                  "otherwise check their devices and the network between them",
                  c->size, c->timeout_s, fault_site_activity(site));
    free(silent.bytes);
    free(elsewhere.bytes);
}

/* The lowest rank with CAN_REPORT reports for all waiting ranks. The others
 * wait for it: a rank that returns ends the job, which could prevent the
 * message. */
static enum vd_err fail_timed_out(const struct comm_mpi_peers *p,
                                  enum fault_site site, bool can_report)
{
    const struct comm *c = p->comm;
    int *at = xcalloc((size_t)c->size, sizeof *at), first = 0;
    collect_wait_sites(p, site, can_report, at);
    while (first < c->size && at[first] < CAN_REPORT)
        first++;
    if (first == c->rank)
        report_late_ranks(p, site, at);
    else
        nanosleep(&(struct timespec){.tv_sec = REPORT_S}, NULL);
    free(at);
    return VD_COMM;
}

static bool other_rank_timed_out(const struct comm_mpi_peers *p)
{
    int found = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, TAG_WAIT_SITE, p->control, &found,
               MPI_STATUS_IGNORE);
    return found;
}

enum vd_err comm_mpi_peers_wait(struct comm_mpi_peers *p, enum fault_site site,
                                comm_poll_fn *poll, void *ctx)
{
    const double limit_s = p->comm->timeout_s;
    double start = clock_now(), last = start, waited_s = 0;
    bool pinged = false, done = false;
    for (;;) {
        VD_TRY(poll(ctx, &done));
        if (done)
            return VD_OK;
        double now = clock_now();
        if (now - last < COLLECT_S) // else the process was suspended
            waited_s += now - last;
        last = now;
        if (waited_s > POLL_PEERS_S) {
            comm_mpi_peers_poll(p, PEER_WAITING);
            if (other_rank_timed_out(p))
                /* a rank that pinged at half of the limit has answers by now */
                return fail_timed_out(p, site, waited_s > 0.75 * limit_s);
        }
        if (waited_s > limit_s) {
            if (!peers_make_progress(p))
                return fail_timed_out(p, site, true);
            waited_s = limit_s / 2;
            pinged = false;
            comm_heartbeat(p->comm);
        }
        if (!pinged && waited_s >= limit_s / 2) {
            ping_all(p);
            pinged = true;
        }
        comm_backoff(waited_s);
    }
}

static enum vd_err poll_request(void *ctx, bool *done)
{
    int is_done = 0;
    MPI_TRY(MPI_Test(ctx, &is_done, MPI_STATUS_IGNORE));
    *done = is_done;
    return VD_OK;
}

enum vd_err comm_mpi_peers_wait_request(struct comm_mpi_peers *p,
                                        enum fault_site site,
                                        MPI_Request *request)
{
    return comm_mpi_peers_wait(p, site, poll_request, request);
}

enum vd_err comm_mpi_peers_claim(struct comm_mpi_peers *p, enum fault_site site,
                                 uint64_t *index)
{
    MPI_Request request;
    int nothing = 0;
    if (p->comm->rank == 0) {
        *index = p->next_index++;
        return VD_OK;
    }
    MPI_TRY(
        MPI_Irecv(index, 1, MPI_UINT64_T, 0, TAG_INDEX, p->control, &request));
    MPI_TRY(MPI_Send(&nothing, 1, MPI_INT, 0, TAG_CLAIM, p->control));
    return comm_mpi_peers_wait_request(p, site, &request);
}
