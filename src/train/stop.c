#include "train/stop.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* Written by the signal handler, which has no context argument. */
static volatile sig_atomic_t caught_signal;

static void on_signal(int signal_number)
{
    bool is_request = signal_number == SIGUSR1 || signal_number == SIGUSR2;
    if (caught_signal && !is_request)
        _exit(128 + signal_number);
    caught_signal = signal_number;
}

static void install_handler(int signal_number)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask); /* no nested handlers */
    sigaction(signal_number, &action, NULL);
}

void stop_install_handlers(void)
{
    bool mpirun = getenv("OMPI_COMM_WORLD_SIZE") && !getenv("SLURM_STEP_ID");
    bool slurm = getenv("SLURM_STEP_ID") != NULL;
    caught_signal = 0;
    install_handler(SIGUSR1);
    install_handler(SIGUSR2);
    if (!mpirun)
        install_handler(SIGTERM);
    if (!mpirun && !slurm)
        install_handler(SIGINT);
}

int stop_signal(void)
{
    return caught_signal;
}
