/* One start of a run: open, body, close. */
#include "base/alloc.h"
#include "base/log.h"
#include "train/session.h"
#include "train/stop.h"

#include <stdlib.h>

enum vd_err session_run(struct comm *comm, struct option_set *options,
                        struct config *config, char *const *argv,
                        const struct session_policy *policy)
{
    struct session *s = xcalloc(1, sizeof *s);
    *s = (struct session){.comm = comm,
                          .options = options,
                          .config = config,
                          .argv = argv,
                          .policy = policy,
                          .folder = RUN_FOLDER_CLOSED};
    /* before the opening, so that a signal during it stops the first steps */
    stop_install_handlers();
    enum vd_err err = session_open(s);
    if (err == VD_OK)
        err = policy->body(s, policy->ctx);
    if (policy->scratch_outputs && err == VD_STOPPED)
        log_info("stopped by a signal; the scratch outputs are removed");
    comm_enter(comm, SITE_SHUTDOWN, -1, config->timeout.setup);
    /* After an error that only this rank has, do not wait for its threads: they
     * may use the session until comm_close() ends the process. */
    if (err == VD_OK || err == comm->agreed_err) {
        session_close(s);
        free(s);
    }
    return err;
}
