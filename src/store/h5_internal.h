/* Shared by h5.c, h5_read.c and h5_write.c. */
#ifndef VOCDIST_STORE_H5_INTERNAL_H
#define VOCDIST_STORE_H5_INTERNAL_H

#include "store/h5.h"

#include <hdf5.h>
#include <stdbool.h>

#define H5_READ_REMEDY \
    "the file is damaged or of another kind: copy it or write it again"

struct h5_file {
    hid_t id;
    bool writing;
    enum vd_err failed; /* the first failed write: see h5_fail_write() */
    char *label;        /* owned */
    uint64_t bytes;     /* file size; reading only */
};

/* Raises "LABEL: NAME: WHAT (HDF5: CAUSE)" with a remedy; name may be NULL.
 * VD_IO for a file that is written, else VD_DATA; out of memory is reported as
 * such.
 */
enum vd_err h5_fail(const struct h5_file *f, const char *name,
                    const char *what);

/* The same for a write. Afterwards the file and its open objects are not used
 * again, not even to close them: if the last write fails while an object is
 * closed, HDF5 frees the object but keeps its id, and 1.14 crashes on that id.
 */
enum vd_err h5_fail_write(struct h5_file *f, const char *name,
                          const char *what);

/* Closes an id of any kind; accepts a negative one. False if HDF5 fails. */
bool h5_close_id(hid_t id);

/* Stops HDF5 from printing its error stack. The setting is per thread, so every
 * entry point calls this. */
void h5_silence_errors(void);

/* The type in memory or in the file; negative on failure. Release it with
 * h5_close_id(). */
hid_t h5_memory_type(const struct h5_shape *shape);
hid_t h5_stored_type(const struct h5_shape *shape, bool big_endian);
hid_t h5_text_type(size_t bytes);
/* Sets type and text_bytes of `out`; false for a type outside enum h5_type. */
bool h5_classify(hid_t type, struct h5_shape *out);

/* Size in memory in bytes; VD_DATA if it exceeds the address space. */
enum vd_err h5_shape_bytes(const struct h5_file *f, const char *name,
                           const struct h5_shape *shape,
                           size_t *out) VD_MUST_USE;

#define H5_TRY_GOTO(label_, err_, call_, file_, name_, what_) \
    do {                                                      \
        if ((call_) < 0) {                                    \
            (err_) = h5_fail((file_), (name_), (what_));      \
            goto label_;                                      \
        }                                                     \
    } while (0)

#endif
