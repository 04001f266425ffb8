/* make_data DIR: DIR/train with 22 pictures and DIR/val with 10, 32 x 32. */
#include "tiny.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 64;
    char *train = mem_format("%s/train", argv[1]);
    char *val = mem_format("%s/val", argv[1]);
    bool ok = tiny_write(train, 32, 0, 22) && tiny_write(val, 32, 100, 10);
    free(train);
    free(val);
    return ok ? 0 : 70;
}
