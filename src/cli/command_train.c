#include "cli/command.h"
#include "comm/comm.h"
#include "train/trainer.h"

enum vd_err command_train(struct command_call *call)
{
    struct comm comm;
    enum vd_err err = comm_open(&comm, NULL, NULL);
    if (err == VD_OK)
        err = trainer_run(&comm, call->set, call->config, call->argv);
    /* Ends the job here and now unless all ranks have this verdict. */
    comm_close(&comm, err);
    return err;
}
