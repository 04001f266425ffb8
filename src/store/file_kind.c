#include "store/file_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTES 64 /* read from the start of the file */

struct file_head {
    unsigned char bytes[HEAD_BYTES];
    size_t n;
    uint64_t file_bytes;
};

static bool has_magic(const struct file_head *h, const char *magic, size_t n)
{
    return h->n >= n && !memcmp(h->bytes, magic, n);
}

/* 8 bytes of header length (little-endian), then a JSON object. */
static bool is_safetensors(const struct file_head *h)
{
    uint64_t length = 0;
    for (int k = 7; k >= 0; k--)
        length = length << 8 | h->bytes[k];
    return h->n > 8 && h->bytes[8] == '{' && length <= h->file_bytes - 8;
}

/* Opcode PROTO (0x80) and a protocol number from 2 to 5. */
static bool is_pickle(const struct file_head *h)
{
    return h->n > 2 && h->bytes[0] == 0x80 && h->bytes[1] >= 2 &&
           h->bytes[1] <= 5;
}

static bool is_json(const struct file_head *h)
{
    size_t at = 0;
    while (at < h->n && strchr(" \t\r\n", h->bytes[at]) && h->bytes[at])
        at++;
    return at < h->n && (h->bytes[at] == '{' || h->bytes[at] == '[');
}

static enum file_kind classify_head(const struct file_head *h)
{
    static const char hdf5[] = "\x89HDF\r\n\x1a\n", zip[] = "PK\3\4";
    static const char lfs[] = "version https://git-lfs";
    if (h->n == 0)
        return FILE_KIND_EMPTY;
    if (is_safetensors(h))
        return FILE_KIND_SAFETENSORS;
    if (has_magic(h, hdf5, sizeof hdf5 - 1))
        return FILE_KIND_HDF5;
    if (has_magic(h, zip, sizeof zip - 1))
        return FILE_KIND_ZIP;
    if (has_magic(h, lfs, sizeof lfs - 1))
        return FILE_KIND_LFS_POINTER;
    if (is_pickle(h))
        return FILE_KIND_PICKLE;
    return is_json(h) ? FILE_KIND_JSON : FILE_KIND_OTHER;
}

enum vd_err file_kind_detect(const char *path, enum file_kind *out)
{
    struct stat info;
    struct file_head head = {.n = 0};
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok = fd >= 0 && fstat(fd, &info) == 0;
    if (ok && S_ISREG(info.st_mode))
        got = pread(fd, head.bytes, sizeof head.bytes, 0);
    int reason = errno;
    if (fd >= 0)
        close(fd);
    if (!ok || got < 0)
        return VD_FAIL(VD_NOINPUT, "%s: %s\ncheck the path and its permissions",
                       path, strerror(reason));
    head.n = (size_t)got;
    head.file_bytes = (uint64_t)info.st_size;
    *out = S_ISDIR(info.st_mode)   ? FILE_KIND_FOLDER
           : S_ISREG(info.st_mode) ? classify_head(&head)
                                   : FILE_KIND_OTHER;
    return VD_OK;
}

enum vd_err file_kind_fail_lfs_pointer(const char *path)
{
    return VD_FAIL(VD_DATA,
                   "%s: a Git LFS pointer, not the file itself\n"
                   "download the file with: git lfs pull",
                   path);
}
