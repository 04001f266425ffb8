#include "train/stop.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* Written by a signal handler, which can reach nothing but a static. */
static volatile sig_atomic_t caught;

static void on_signal(int signal_number)
{
    bool is_asking = signal_number == SIGUSR1 || signal_number == SIGUSR2;
    if (caught && !is_asking)
        _exit(128 + signal_number);
    caught = signal_number;
}

static void watch(int signal_number)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask); /* one after the other */
    sigaction(signal_number, &action, NULL);
}

void stop_watch(void)
{
    bool mpirun = getenv("OMPI_COMM_WORLD_SIZE") && !getenv("SLURM_STEP_ID");
    bool slurm = getenv("SLURM_STEP_ID") != NULL;
    caught = 0;
    watch(SIGUSR1);
    watch(SIGUSR2);
    if (!mpirun)
        watch(SIGTERM);
    if (!mpirun && !slurm)
        watch(SIGINT);
}

int stop_signal(void)
{
    return caught;
}
