/* Shared by the h5_*.c files only. */
#ifndef VOCDIST_STORE_H5_INTERNAL_H
#define VOCDIST_STORE_H5_INTERNAL_H

#include "store/h5.h"

#include <hdf5.h>
#include <stdbool.h>

struct h5_file {
    hid_t id;
    bool writing;
    enum vd_err failed; /* of a write: see h5_fail_write() */
    char *label;        /* owned */
    uint64_t bytes;     /* of a file that is read */
};

/* Logs "label: /name: what (HDF5: innermost cause)"; name may be NULL. */
enum vd_err h5_fail(const struct h5_file *f, const char *name,
                    const char *what);

/* The same for a write, after which the file and what is open in it are never
 * touched again, not even to close them: HDF5 frees an object whose last write
 * fails while it is closed, but keeps its id, and 1.14 crashes on that id. */
enum vd_err h5_fail_write(struct h5_file *f, const char *name,
                          const char *what);

/* Closes any kind of id; a negative one is fine. False: HDF5 refused. */
bool h5_close_id(hid_t id);

/* HDF5 prints its error stack by default; it is per thread. */
void h5_silence_errors(void);

hid_t h5_memory_type(const struct h5_shape *shape);
/* As stored; negative on failure. To be dropped. */
hid_t h5_stored_type(const struct h5_shape *shape, bool big_endian);
hid_t h5_text_type(size_t bytes);
/* What `type` is; false when it is none of ours. */
bool h5_classify(hid_t type, struct h5_shape *out);

#define H5_TRY_GOTO(label_, err_, call_, file_, name_, what_) \
    do {                                                      \
        if ((call_) < 0) {                                    \
            (err_) = h5_fail((file_), (name_), (what_));      \
            goto label_;                                      \
        }                                                     \
    } while (0)

#endif
