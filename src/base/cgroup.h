/*
 * Limits of the control groups this process is in: the container's, the batch
 * job's. Versions 1 and 2. Nothing here needs the heap. Local, thread-safe.
 */
#ifndef VOCDIST_BASE_CGROUP_H
#define VOCDIST_BASE_CGROUP_H

#include <stddef.h>

#define CGROUP_MAX_PATH 1024

/* The start of root/path as text; "" where there is none. `root` is "" but in
 * tests. */
void cgroup_read(char *text, size_t capacity, const char *root,
                 const char *path);

/*
 * Calls `visit` for the group that holds `controller` ("memory", "cpu") and
 * for each group around it, innermost first; of version 2 and of version 1,
 * where a system has both. `folder` is below `root`.
 */
typedef void cgroup_visit_fn(void *ctx, const char *root, const char *folder,
                             int version);
void cgroup_visit(const char *root, const char *controller,
                  cgroup_visit_fn *visit, void *ctx);

#endif
