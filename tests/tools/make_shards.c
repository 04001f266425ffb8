/*
 * Writes a data set for tests, which depends on the arguments alone:
 *
 *     make_shards DIR IMAGES SIZE FIRST [CHANGED]
 *
 * Images FIRST .. FIRST + IMAGES - 1 of tiny.h, SIZE x SIZE; one byte of image
 * CHANGED differs.
 */
#include "tiny.h"

int main(int argc, char **argv)
{
    if (argc < 5)
        return err_exit_code(VD_USAGE);
    bool ok = tiny_write_shards(argv[1], atoi(argv[3]), (uint64_t)atoi(argv[4]),
                                (uint64_t)atoi(argv[2]),
                                argc > 5 ? atoi(argv[5]) : -1);
    return err_exit_code(ok ? VD_OK : VD_IO);
}
