/* LD_PRELOAD: the nth change of a file below one folder fails, once or from then on.
 *
 * A change is a write, a truncation, an fsync, a rename, a link, or an open that may create. Python arms and reads it
 * through ctypes, so one process goes through all n. Calls for other files are passed on and not counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long nth, seen;
static int error, lasting;

void fail_arm(const char *below, long n, int number, int for_ever)
{
    snprintf(folder, sizeof folder, "%s/", below);
    seen = 0;
    error = number;
    lasting = for_ever;
    nth = n;
}

/* How many changes there were since it was armed. */
long fail_disarm(void)
{
    nth = 0;
    folder[0] = 0;
    return seen;
}

static int hit(void)
{
    seen++;
    if (!nth || (lasting ? seen < nth : seen != nth))
        return 0;
    errno = error;
    return 1;
}

static int fails_path(const char *path)
{
    return folder[0] && !strncmp(path, folder, strlen(folder)) && hit();
}

static int fails(int descriptor)
{
    char link[40], path[PATH_MAX];
    ssize_t length;

    if (!folder[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails_path(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int to, const void *data, size_t size) { return fails(to) ? -1 : NEXT(write)(to, data, size); }
ssize_t pwrite(int to, const void *data, size_t size, off_t at) { return fails(to) ? -1 : NEXT(pwrite)(to, data, size, at); }
ssize_t pwrite64(int to, const void *data, size_t size, off64_t at) { return fails(to) ? -1 : NEXT(pwrite64)(to, data, size, at); }
int ftruncate(int which, off_t size) { return fails(which) ? -1 : NEXT(ftruncate)(which, size); }
int ftruncate64(int which, off64_t size) { return fails(which) ? -1 : NEXT(ftruncate64)(which, size); }
int fsync(int which) { return fails(which) ? -1 : NEXT(fsync)(which); }
int fdatasync(int which) { return fails(which) ? -1 : NEXT(fdatasync)(which); }
int rename(const char *from, const char *to) { return fails_path(to) ? -1 : NEXT(rename)(from, to); }
int link(const char *from, const char *to) { return fails_path(to) ? -1 : NEXT(link)(from, to); }

/* Python links with `linkat` where the platform has it; both names of the folder are absolute here. */
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    return fails_path(to) ? -1 : NEXT(linkat)(from_folder, from, to_folder, to, flags);
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                                     \
    int name(const char *path, int flags, ...)                         \
    {                                                                  \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = mode_of(flags, rest);                            \
        va_end(rest);                                                  \
        if (flags & O_CREAT && fails_path(path))                       \
            return -1;                                                 \
        return NEXT(name)(path, flags, mode);                          \
    }
OPEN(open)
OPEN(open64)
