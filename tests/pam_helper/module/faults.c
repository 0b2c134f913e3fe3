/*
 * Preloaded into the driver: see faults.h.
 *
 * Allocations are counted for the whole process; faults and holds are the thread's own. A call counts when the module
 * made it; an allocation also when libpam made it on the module's behalf, which is until the module closes its socket
 * or ends a login that has none. The real functions come from
 * dlsym, those of the allocator from glibc's other names for them, because dlsym itself allocates.
 */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <security/pam_modules.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *memory);

static __thread long countdown;
static __thread int error_wanted, held, inside;
static int lingering, last_socket = -1;
static __thread const char *fired;
static atomic_long allocations, clock_offset;

/* The first call the module makes says that it was entered, its close that it is about to leave. */
static int is_module(void *caller)
{
    Dl_info object;
    if (!dladdr(caller, &object) || !object.dli_fname || !strstr(object.dli_fname, "pam_twofold"))
        return 0;
    inside = 1;
    return 1;
}

static int fails(const char *name)
{
    if (held || countdown == 0 || --countdown > 0)
        return 0;
    fired = name;
    errno = error_wanted;
    return 1;
}

static void arm(long n, int error)
{
    countdown = n;
    error_wanted = error;
    fired = NULL;
    inside = 0;
}

static const char *disarm(void)
{
    countdown = 0;
    return fired;
}

static void hold(int wanted)
{
    held = wanted;
}

static void jump(long seconds)
{
    clock_offset += seconds;
}

static void linger(void)
{
    lingering = 1;
}

static long live(void)
{
    return allocations;
}

const struct faults faults = {arm, disarm, hold, jump, linger, live};

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAULTY(type, name, bad, parameters, arguments)                                    \
    type name parameters                                                                  \
    {                                                                                     \
        int failing = is_module(__builtin_return_address(0)) && fails(#name);             \
        return failing ? (bad) : REAL(name) arguments;                                    \
    }

FAULTY(int, connect, -1, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
FAULTY(int, poll, -1, (struct pollfd * watched, nfds_t count, int timeout), (watched, count, timeout))
FAULTY(ssize_t, send, -1, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
FAULTY(ssize_t, recv, -1, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
FAULTY(int, shutdown, -1, (int fd, int how), (fd, how))
FAULTY(int, getsockopt, -1, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size))
FAULTY(int, pam_get_item, PAM_SYSTEM_ERR, (const pam_handle_t *pamh, int type, const void **item), (pamh, type, item))
FAULTY(int, pam_set_item, PAM_BUF_ERR, (pam_handle_t * pamh, int type, const void *item), (pamh, type, item))
FAULTY(int, pam_get_user, PAM_IGNORE, (pam_handle_t * pamh, const char **user, const char *text), (pamh, user, text))
FAULTY(int, pam_fail_delay, PAM_SYSTEM_ERR, (pam_handle_t * pamh, unsigned int usec), (pamh, usec))

FAULTY(pid_t, tcgetpgrp, -1, (int fd), (fd))
FAULTY(int, tcgetattr, -1, (int fd, struct termios *settings), (fd, settings))
FAULTY(int, tcflush, -1, (int fd, int which), (fd, which))

int open(const char *path, int flags, ...)
{
    va_list more;
    if (is_module(__builtin_return_address(0)) && fails("open"))
        return -1;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    return openat(AT_FDCWD, path, flags, mode);
}

int socket(int domain, int type, int protocol)
{
    int ours = is_module(__builtin_return_address(0));
    if (ours && fails("socket"))
        return -1;
    int fd = REAL(socket)(domain, type, protocol);
    if (ours)
        last_socket = fd;
    return fd;
}

static void wait_for_daemon(void)
{
    struct pollfd daemon = {.fd = last_socket, .events = POLLIN};
    int terminal = openat(AT_FDCWD, "/dev/tty", O_WRONLY | O_NOCTTY);
    dprintf(terminal, "lingering\n");
    REAL(close)(terminal);
    REAL(poll)(&daemon, 1, 30000);
}

ssize_t read(int fd, void *data, size_t size)
{
    int ours = is_module(__builtin_return_address(0));
    if (ours && fails("read"))
        return -1;
    ssize_t got = REAL(read)(fd, data, size);
    if (ours && lingering)
        wait_for_daemon();
    return got;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    if (is_module(__builtin_return_address(0)) && fails("clock_gettime"))
        return -1;
    int code = REAL(clock_gettime)(which, now);
    if (which == CLOCK_MONOTONIC)
        now->tv_sec += clock_offset;
    return code;
}

int close(int fd)
{
    int leaving = is_module(__builtin_return_address(0));
    int code = REAL(close)(fd);
    inside = inside && !leaving;
    return code;
}

static void *counted(void *memory)
{
    if (memory != NULL)
        allocations++;
    return memory;
}

void *malloc(size_t size)
{
    return inside && fails("malloc") ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return inside && fails("calloc") ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
    if (inside && fails("realloc"))
        return NULL;
    return old == NULL ? counted(__libc_realloc(old, size)) : __libc_realloc(old, size);
}

void free(void *memory)
{
    if (memory != NULL)
        allocations--;
    __libc_free(memory);
}
