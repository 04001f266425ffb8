/*
 * Stands in for src/store/atomic.c, and is built only while that file is not
 * in the tree (see CMakeLists.txt): then delete this one.
 */
#include "store/atomic.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum vd_err atomic_open(struct atomic_file *f, const char *path)
{
    char *temporary = mem_format("%s.tmp-%ld", path, (long)getpid());
    FILE *stream = fopen(temporary, "wbe");
    if (!stream) {
        enum vd_err err =
            VD_FAIL(VD_CREATE, "%s: %s", temporary, strerror(errno));
        free(temporary);
        return err;
    }
    *f = (struct atomic_file){mem_copy_text(path), temporary, stream};
    return VD_OK;
}

enum vd_err atomic_commit(struct atomic_file *f)
{
    if (fflush(f->stream) || fsync(fileno(f->stream)) ||
        rename(f->temporary, f->path)) {
        enum vd_err err = VD_FAIL(VD_IO, "%s: %s", f->path, strerror(errno));
        atomic_abort(f);
        return err;
    }
    free(f->temporary);
    f->temporary = NULL;
    atomic_abort(f);
    return VD_OK;
}

void atomic_abort(struct atomic_file *f)
{
    if (f->stream)
        fclose(f->stream);
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = (struct atomic_file){0};
}
