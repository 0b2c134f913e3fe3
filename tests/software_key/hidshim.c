/* Preloaded into a program of a test: /dev/hidrawN is a software key that listens on a socket.
 *
 * SOFTWARE_KEY_DIR, as it is when the program starts, names a folder. The hidraw devices of this host are hidden from
 * the program, and files in the folder make its own:
 *   hidrawN          a socket; opening /dev/hidrawN connects to it, and a listing of /dev shows it
 *   hidrawN.denied   opening /dev/hidrawN fails with EACCES; hidrawN may be any file then
 *   hidrawN.name, hidrawN.serial   what the ioctls HIDIOCGRAWNAME and HIDIOCGRAWUNIQ tell
 * A key that is gone behaves as an unplugged device: ENOENT when opened, EIO when read, ENODEV when written to. What
 * is listed is looked up anew each time, so keys come and go while the program runs.
 *
 * Rules: only what stands here is replaced, in the forms that python-fido2 and libfido2 call; everything else, and
 * every other file, goes to libc. stat, access and fopen know nothing of the keys: open one to learn what it is. It is
 * no use with setuid programs, for which the loader ignores it.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/hidraw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FILES 4096
#define NAME_SIZE 16

/* What is replaced here, as libc has it. Looked up before anything runs: a child between fork and exec must not need
 * the loader, whose lock another thread may have held. */
#define REPLACED(each)                                                                                                 \
    each(open) each(open64) each(openat) each(openat64) each(close) each(read) each(write) each(ioctl) each(flock)     \
    each(fstat) each(fstat64) each(opendir) each(closedir) each(readdir) each(readdir64)
#define POINTER(function) __typeof__(&function) function;
#define LOOK_UP(function) libc.function = (__typeof__(&function))dlsym(RTLD_NEXT, #function);
#define NEXT(function) (prepare(), libc.function)

static struct {
    bool ready;
    const char *folder; /* NULL: nothing is to be replaced */
    REPLACED(POINTER)
} libc;

__attribute__((constructor)) static void prepare(void) {
    if (libc.ready)
        return;
    REPLACED(LOOK_UP)
    const char *folder = getenv("SOFTWARE_KEY_DIR");
    libc.folder = folder != NULL && *folder != '\0' ? folder : NULL;
    libc.ready = true;
}

/* The name of the key behind each descriptor of ours, "" for every other one. */
static char key_of[FILES][NAME_SIZE];

static const unsigned char report_descriptor[] = {
    0x06, 0xd0, 0xf1,       /* usage page: FIDO Alliance */
    0x09, 0x01,             /* usage: authenticator */
    0xa1, 0x01,             /* collection: application */
    0x09, 0x20,             /* usage: input report data */
    0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x40, 0x81, 0x02, /* 64 octets in */
    0x09, 0x21,             /* usage: output report data */
    0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x40, 0x91, 0x02, /* 64 octets out */
    0xc0,
};

/* --- Names */

/* hidraw and digits, nothing else. */
static bool is_key_name(const char *name) {
    if (strncmp(name, "hidraw", 6) != 0 || strlen(name) >= NAME_SIZE)
        return false;
    const char *digits = name + 6;
    return *digits != '\0' && strspn(digits, "0123456789") == strlen(digits);
}

/* The name of the key that `path` means, or NULL where it is none of our business. */
static const char *key_named_by(const char *path) {
    if (path == NULL || strncmp(path, "/dev/", 5) != 0)
        return NULL;
    prepare();
    if (libc.folder == NULL)
        return NULL;
    return is_key_name(path + 5) ? path + 5 : NULL;
}

static bool is_ours(int fd) { return fd >= 0 && fd < FILES && key_of[fd][0] != '\0'; }

static void forget(int fd) {
    if (fd >= 0 && fd < FILES)
        key_of[fd][0] = '\0';
}

/* The folder is reached through a descriptor: its path may be longer than the address of a socket. */
static int open_folder(void) { return NEXT(open)(libc.folder, O_PATH | O_DIRECTORY | O_CLOEXEC); }

/* --- Opening */

static bool is_denied(int keys, const char *name) {
    char marker[NAME_SIZE + 8];
    snprintf(marker, sizeof marker, "%s.denied", name);
    return faccessat(keys, marker, F_OK, 0) == 0;
}

static int connect_to(int keys, const char *name, int flags) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", keys, name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
    if (fd < 0)
        return -1;
    if (fd < FILES && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        if (flags & O_NONBLOCK)
            fcntl(fd, F_SETFL, O_NONBLOCK);
        strcpy(key_of[fd], name);
        return fd;
    }
    int error = errno == ECONNREFUSED ? ENODEV : errno;
    NEXT(close)(fd);
    errno = error;
    return -1;
}

static int open_key(const char *name, int flags) {
    int keys = open_folder();
    if (keys < 0)
        return -1;
    int fd = -1, error = EACCES;
    if (!is_denied(keys, name)) {
        fd = connect_to(keys, name, flags);
        error = errno;
    }
    NEXT(close)(keys);
    errno = error;
    return fd;
}

static int opened(int fd) {
    forget(fd);
    return fd;
}

static mode_t mode_of(int flags, va_list more) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
}

#define OPEN(function)                                                                                                 \
    int function(const char *path, int flags, ...) {                                                                   \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = mode_of(flags, more);                                                                            \
        va_end(more);                                                                                                  \
        const char *name = key_named_by(path);                                                                         \
        return name ? open_key(name, flags) : opened(NEXT(function)(path, flags, mode));                               \
    }

#define OPENAT(function)                                                                                               \
    int function(int at, const char *path, int flags, ...) {                                                           \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = mode_of(flags, more);                                                                            \
        va_end(more);                                                                                                  \
        const char *name = key_named_by(path);                                                                         \
        return name ? open_key(name, flags) : opened(NEXT(function)(at, path, flags, mode));                           \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* What open() becomes in a program built with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }

int close(int fd) {
    forget(fd);
    return NEXT(close)(fd);
}

/* --- Packets */

ssize_t read(int fd, void *into, size_t size) {
    ssize_t got = NEXT(read)(fd, into, size);
    if (!is_ours(fd) || size == 0 || got > 0)
        return got;
    if (got == 0 || errno == ECONNRESET)
        errno = EIO;
    return -1;
}

ssize_t write(int fd, const void *from, size_t size) {
    if (!is_ours(fd))
        return NEXT(write)(fd, from, size);
    ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
        errno = ENODEV;
    return sent;
}

/* --- What kind of file it is */

/* The first line of a small file in the folder, with its final NUL; how long that is, as the ioctl returns it. */
static int tell(const char *name, const char *what, char *into, size_t size) {
    char file[NAME_SIZE + 8], line[64] = "";
    snprintf(file, sizeof file, "%s.%s", name, what);
    int keys = open_folder();
    int fd = keys < 0 ? -1 : NEXT(openat)(keys, file, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : NEXT(read)(fd, line, sizeof line - 1);
    if (fd >= 0)
        NEXT(close)(fd);
    if (keys >= 0)
        NEXT(close)(keys);
    line[length > 0 ? strcspn(line, "\n") : 0] = '\0';
    size_t all = strlen(line) + 1 < size ? strlen(line) + 1 : size;
    memcpy(into, line, all);
    return (int)all;
}

static int describe(struct hidraw_report_descriptor *into) {
    size_t size = into->size < sizeof report_descriptor ? into->size : sizeof report_descriptor;
    memcpy(into->value, report_descriptor, size);
    return 0;
}

static int answer(int fd, unsigned long request, void *into) {
    switch (_IOC_TYPE(request) == 'H' ? _IOC_NR(request) : 0) {
    case _IOC_NR(HIDIOCGRDESCSIZE):
        *(int *)into = sizeof report_descriptor;
        return 0;
    case _IOC_NR(HIDIOCGRDESC):
        return describe(into);
    case _IOC_NR(HIDIOCGRAWINFO):
        *(struct hidraw_devinfo *)into = (struct hidraw_devinfo){3 /* USB */, 0x1209, (__s16)0xf1d0};
        return 0;
    case _IOC_NR(HIDIOCGRAWNAME(0)):
        return tell(key_of[fd], "name", into, _IOC_SIZE(request));
    case 8: /* HIDIOCGRAWUNIQ, which older headers do not have */
        return tell(key_of[fd], "serial", into, _IOC_SIZE(request));
    default:
        errno = ENOTTY;
        return -1;
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void *into = va_arg(more, void *);
    va_end(more);
    return is_ours(fd) ? answer(fd, request, into) : NEXT(ioctl)(fd, request, into);
}

int flock(int fd, int operation) { return is_ours(fd) ? 0 : NEXT(flock)(fd, operation); }

#define FSTAT(function, type)                                                                                          \
    int function(int fd, type *found) {                                                                                \
        int result = NEXT(function)(fd, found);                                                                        \
        if (result == 0 && is_ours(fd))                                                                                \
            found->st_mode = (found->st_mode & ~(mode_t)S_IFMT) | S_IFCHR;                                             \
        return result;                                                                                                 \
    }

FSTAT(fstat, struct stat)
FSTAT(fstat64, struct stat64)

/* --- Listing /dev: its own entries without the hidraw devices, then the keys */

#define LISTINGS 32

static struct {
    DIR *dev, *keys;
} listings[LISTINGS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The folder that goes with a listing of /dev, or NULL; with `end` it is taken out. */
static DIR *keys_of(DIR *dev, bool end) {
    DIR *keys = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LISTINGS; i++)
        if (dev != NULL && listings[i].dev == dev) {
            keys = listings[i].keys;
            if (end)
                listings[i].dev = NULL;
        }
    pthread_mutex_unlock(&lock);
    return keys;
}

static bool remember(DIR *dev, DIR *keys) {
    bool done = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LISTINGS && !done; i++)
        if (listings[i].dev == NULL) {
            listings[i].dev = dev;
            listings[i].keys = keys;
            done = true;
        }
    pthread_mutex_unlock(&lock);
    return done;
}

DIR *opendir(const char *path) {
    DIR *dev = NEXT(opendir)(path);
    if (dev == NULL || libc.folder == NULL || (strcmp(path, "/dev") != 0 && strcmp(path, "/dev/") != 0))
        return dev;
    DIR *keys = NEXT(opendir)(libc.folder);
    if (keys != NULL && !remember(dev, keys))
        NEXT(closedir)(keys);
    return dev;
}

int closedir(DIR *dev) {
    DIR *keys = keys_of(dev, true);
    if (keys != NULL)
        NEXT(closedir)(keys);
    return NEXT(closedir)(dev);
}

#define READDIR(function, type)                                                                                        \
    type *function(DIR *dev) {                                                                                         \
        DIR *keys = keys_of(dev, false);                                                                               \
        type *entry = NEXT(function)(dev);                                                                             \
        if (keys == NULL)                                                                                              \
            return entry;                                                                                              \
        while (entry != NULL && is_key_name(entry->d_name))                                                            \
            entry = NEXT(function)(dev);                                                                               \
        if (entry != NULL)                                                                                             \
            return entry;                                                                                              \
        do                                                                                                             \
            entry = NEXT(function)(keys);                                                                              \
        while (entry != NULL && !is_key_name(entry->d_name));                                                          \
        return entry;                                                                                                  \
    }

READDIR(readdir, struct dirent)
READDIR(readdir64, struct dirent64)
