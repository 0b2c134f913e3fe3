/*
 * The line to the helper daemon, and the frames on it: see frames.h.
 *
 * Rules: the socket never blocks, every wait is a poll with what is left until the deadline. A signal (EINTR) or a full
 * backlog (EAGAIN) is tried again until then, anything else ends the line. Only a daemon of the expected user is
 * talked to. Whatever may have held a secret is wiped before it is freed.
 */
#include "frames.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Root alone. Tests that cannot be root build a module of their own; there is no option for it. */
#ifndef TWOFOLD_TEST_PEER_UID
#define TWOFOLD_TEST_PEER_UID 0
#endif

enum { HEADER = 5, RETRY_MILLISECONDS = 20, MOMENT_MILLISECONDS = 250 };

static bool failed(struct line *line, const char *trouble, int error)
{
    line->trouble = trouble;
    line->error = error;
    return false;
}

static bool passing(int error)
{
    return error == EINTR || error == EAGAIN || error == EWOULDBLOCK;
}

static bool read_clock(struct line *line, int64_t *now)
{
    struct timespec clock;
    if (clock_gettime(CLOCK_MONOTONIC, &clock) != 0)
        return failed(line, "the clock cannot be read", errno);
    *now = (int64_t)clock.tv_sec * 1000 + clock.tv_nsec / 1000000;
    return true;
}

static bool time_left(struct line *line, int *milliseconds)
{
    int64_t now;
    if (!read_clock(line, &now))
        return false;
    if (now >= line->deadline)
        return failed(line, "no answer in time", 0);
    *milliseconds = (int)(line->deadline - now);
    return true;
}

/* A clock that fails leaves no time: the next wait ends at once. */
void line_pause(struct line *line)
{
    int64_t now;
    line->left = read_clock(line, &now) ? line->deadline - now : 0;
}

void line_resume(struct line *line)
{
    int64_t now;
    line->deadline = read_clock(line, &now) ? now + line->left : 0;
}

static bool wait_for(struct line *line, short events)
{
    struct pollfd watched = {.fd = line->fd, .events = events};
    for (;;) {
        int left;
        if (!time_left(line, &left))
            return false;
        int ready = poll(&watched, 1, left);
        if (ready > 0)
            return true; /* also on a hang-up: the call that follows says what it is */
        if (ready < 0 && errno != EINTR)
            return failed(line, "poll", errno);
    }
}

bool line_watch(struct line *line, struct other other, struct ready *ready)
{
    struct pollfd watched[] = {
        {.fd = line->fd, .events = POLLIN},
        {.fd = other.fd, .events = other.wanted ? POLLIN : 0},
    };
    int left;
    *ready = (struct ready){.line = false};
    if (!time_left(line, &left))
        return false;
    int count = poll(watched, 2, left < MOMENT_MILLISECONDS ? left : MOMENT_MILLISECONDS);
    if (count < 0)
        return errno == EINTR || failed(line, "poll", errno);
    ready->line = watched[0].revents != 0; /* also on a hang-up: the call that follows says what it is */
    ready->other_gone = (watched[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
    ready->other = watched[1].revents != 0 && !ready->other_gone;
    return true;
}

static bool connect_to(struct line *line, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return failed(line, "the path of the socket is too long", 0);
    strcpy(address.sun_path, path);
    while (connect(line->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int left;
        if (!passing(errno))
            return failed(line, "connect", errno);
        if (!time_left(line, &left))
            return false;
        /* A full backlog cannot be polled for; look again soon. */
        (void)poll(NULL, 0, left < RETRY_MILLISECONDS ? left : RETRY_MILLISECONDS);
    }
    return true;
}

/* The kernel says who listens there, before anything is sent. */
static bool is_our_daemon(struct line *line)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof peer;
    if (getsockopt(line->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return failed(line, "getsockopt", errno);
    if (size != sizeof peer || peer.uid != TWOFOLD_TEST_PEER_UID)
        return failed(line, "the socket belongs to a process that is not root's", 0);
    return true;
}

bool line_open(struct line *line, const char *path, int timeout_seconds)
{
    int64_t now;
    if (!read_clock(line, &now))
        return false;
    line->deadline = now + (int64_t)timeout_seconds * 1000;
    line->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (line->fd < 0)
        return failed(line, "socket", errno);
    return connect_to(line, path) && is_our_daemon(line);
}

void line_close(struct line *line)
{
    if (line->fd >= 0)
        close(line->fd);
    line->fd = -1;
}

static bool look_for_octet(struct line *line, bool *there)
{
    char octet;
    ssize_t waiting = recv(line->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    *there = waiting > 0;
    if (waiting == 0)
        return failed(line, "the daemon closed the connection", 0);
    return *there || passing(errno) || failed(line, "recv", errno);
}

/* An octet that waits while we have the turn was sent without being asked for: a verdict on an answer not given. */
static bool is_our_turn(struct line *line)
{
    bool there;
    return look_for_octet(line, &there) && (!there || failed(line, "a frame out of turn", 0));
}

static bool send_all(struct line *line, const void *data, size_t length)
{
    const char *next = data;
    while (length > 0) {
        if (!wait_for(line, POLLOUT))
            return false;
        ssize_t sent = send(line->fd, next, length, MSG_NOSIGNAL);
        if (sent < 0 && !passing(errno))
            return failed(line, "send", errno);
        if (sent > 0) {
            next += sent;
            length -= (size_t)sent;
        }
    }
    return true;
}

static bool receive_all(struct line *line, void *data, size_t length)
{
    char *next = data;
    while (length > 0) {
        if (!wait_for(line, POLLIN))
            return false;
        ssize_t got = recv(line->fd, next, length, 0);
        if (got == 0)
            return failed(line, "the daemon closed the connection", 0);
        if (got < 0 && !passing(errno))
            return failed(line, "recv", errno);
        if (got > 0) {
            next += got;
            length -= (size_t)got;
        }
    }
    return true;
}

static bool send_frame(struct line *line, unsigned char type, const char *payload, size_t length)
{
    if (length > FRAME_MAX)
        return failed(line, "too much for one frame", 0);
    const unsigned char header[HEADER] = {
        type,
        (unsigned char)(length >> 24),
        (unsigned char)(length >> 16),
        (unsigned char)(length >> 8),
        (unsigned char)length,
    };
    return send_all(line, header, sizeof header) && send_all(line, payload, length);
}

bool line_send(struct line *line, unsigned char type, const char *payload, size_t length)
{
    return is_our_turn(line) && send_frame(line, type, payload, length);
}

bool line_offer(struct line *line, unsigned char type, const char *payload, size_t length, bool *sent)
{
    bool there;
    *sent = false;
    if (!look_for_octet(line, &there))
        return false;
    *sent = !there && send_frame(line, type, payload, length);
    return *sent || there;
}

bool line_receive(struct line *line, struct frame *frame)
{
    unsigned char header[HEADER];
    if (!receive_all(line, header, sizeof header))
        return false;
    frame->type = header[0];
    frame->length = (uint32_t)header[1] << 24 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 8 | header[4];
    if (frame->length > FRAME_MAX)
        return failed(line, "a frame that is too long", 0);
    frame->payload = calloc(1, (size_t)frame->length + 1);
    if (frame->payload == NULL)
        return failed(line, "no memory for a frame", ENOMEM);
    return receive_all(line, frame->payload, frame->length);
}

bool line_ended(struct line *line)
{
    char octet;
    (void)shutdown(line->fd, SHUT_WR); /* a daemon that waits for us to leave first sees that we did */
    for (;;) {
        if (!wait_for(line, POLLIN))
            return false;
        ssize_t got = recv(line->fd, &octet, 1, 0);
        if (got == 0)
            return true;
        if (got > 0)
            return failed(line, "a frame after the verdict", 0);
        if (!passing(errno))
            return failed(line, "recv", errno);
    }
}

void frame_wipe(struct frame *frame)
{
    if (frame->payload != NULL)
        explicit_bzero(frame->payload, (size_t)frame->length + 1);
    free(frame->payload);
    frame->payload = NULL;
}
