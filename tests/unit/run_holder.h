/* A child process that holds a run, or a scratch session of one, until it is
 * killed. */
#ifndef VOCDIST_TESTS_UNIT_RUN_HOLDER_H
#define VOCDIST_TESTS_UNIT_RUN_HOLDER_H

#include "check.h"
#include "run/run_folder.h"

#include <unistd.h>

typedef enum vd_err run_folder_open_fn(struct run_folder *r, const char *dir,
                                       const char *name);

/* Forks the child; returns its process id when it has opened DIR/a. */
static inline pid_t fork_run_holder(const char *dir, run_folder_open_fn *open)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct run_folder r;
        alarm(3600); /* ends it if the test fails */
        byte = open(&r, dir, "a") == VD_OK;
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

#endif
