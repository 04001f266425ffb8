/*
 * Simulates a disk that is slow at reading images, for tests. Preloaded with
 * LD_PRELOAD:
 *
 *     SLOW_READ_BYTES=N   delay reads of exactly N bytes
 *     SLOW_READ_MS=N      delay of each such read in milliseconds
 *     SLOW_READ_RANK=R    on rank R only; default: on all ranks
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long env_number(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int should_delay(size_t n)
{
    const char *slow = getenv("SLOW_READ_RANK");
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    int mine = !slow || (rank && strcmp(slow, rank) == 0);
    return mine && (long)n == env_number("SLOW_READ_BYTES");
}

ssize_t pread64(int fd, void *to, size_t n, off64_t at)
{
    long ms = env_number("SLOW_READ_MS");
    struct timespec delay = {ms / 1000, ms % 1000 * 1000000};
    if (should_delay(n))
        nanosleep(&delay, NULL);
    return syscall(SYS_pread64, fd, to, n, at);
}

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    return pread64(fd, to, n, at);
}
