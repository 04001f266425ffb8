/*
 * Reads the limits of the control groups of this process (those of a container
 * or a batch job), versions 1 and 2. Uses no heap. Local, thread-safe.
 */
#ifndef VOCDIST_BASE_CGROUP_H
#define VOCDIST_BASE_CGROUP_H

#include <stddef.h>

#define CGROUP_MAX_PATH 1024

/* Reads the start of the file root/path as text, up to `capacity` - 1 bytes; ""
 * if it cannot be read. `root` is "" except in tests. */
void cgroup_read(char *text, size_t capacity, const char *root,
                 const char *path);

/*
 * Calls `visit` for the group of this process that has `controller` ("memory",
 * "cpu") and for each of its parents, innermost first. On a system with both
 * versions it visits the groups of both. `folder` is relative to `root`.
 */
typedef void cgroup_visit_fn(void *ctx, const char *root, const char *folder,
                             int version);
void cgroup_visit(const char *root, const char *controller,
                  cgroup_visit_fn *visit, void *ctx);

#endif
