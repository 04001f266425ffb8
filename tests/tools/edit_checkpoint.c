/*
 * Changes one value of a checkpoint and updates its digest, as if a network
 * with this value had been trained:
 *
 *     edit_checkpoint FILE param|m|v|stats INDEX VALUE
 */
#include "run/trained_model.h"

#include <stdlib.h>
#include <string.h>

static float *find_array(const struct checkpoint *c, const char *array)
{
    return !strcmp(array, "param") ? c->param
           : !strcmp(array, "m")   ? c->m
           : !strcmp(array, "v")   ? c->v
                                   : c->stats;
}

int main(int argc, char **argv)
{
    struct trained_model m;
    if (argc != 5)
        return err_exit_code(VD_USAGE);
    enum vd_err err = trained_model_load_local(&m, argv[1]);
    if (err == VD_OK) {
        find_array(&m.values, argv[2])[atoi(argv[3])] = strtof(argv[4], NULL);
        err = checkpoint_write(&m.values, &m.graph, argv[1]);
    }
    trained_model_clear(&m);
    return err_exit_code(err);
}
