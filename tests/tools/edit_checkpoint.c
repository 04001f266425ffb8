/*
 * Changes one value of a checkpoint and keeps its digest right, as a program
 * would that trained a network with this value:
 *
 *     edit_checkpoint FILE param|m|v|stats INDEX VALUE
 */
#include "train/restore.h"

#include <stdlib.h>
#include <string.h>

static float *find(const struct checkpoint *c, const char *array)
{
    return !strcmp(array, "param") ? c->param
           : !strcmp(array, "m")   ? c->m
           : !strcmp(array, "v")   ? c->v
                                   : c->stats;
}

int main(int argc, char **argv)
{
    struct restored r;
    if (argc != 5)
        return err_exit_code(VD_USAGE);
    enum vd_err err = restore_checkpoint_alone(&r, argv[1]);
    if (err == VD_OK) {
        find(&r.values, argv[2])[atoi(argv[3])] = strtof(argv[4], NULL);
        err = checkpoint_write(&r.values, &r.graph, argv[1]);
    }
    restore_clear(&r);
    return err_exit_code(err);
}
