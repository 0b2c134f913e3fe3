/*
 * The terminal of the person who logs in: see terminal.h.
 *
 * Rules: the controlling terminal alone, by the one name that leads there whoever we are; a program that has none (a
 * graphical greeter, sshd) has nothing that could be read. Whether it is ours is asked anew before each look at it.
 */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

bool terminal_is_ours(const struct terminal *terminal)
{
    struct termios settings;
    return terminal->fd >= 0 && tcgetpgrp(terminal->fd) == getpgrp() && tcgetattr(terminal->fd, &settings) == 0 &&
           (settings.c_lflag & ICANON) != 0;
}

void terminal_open(struct terminal *terminal)
{
    do
        terminal->fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    while (terminal->fd < 0 && errno == EINTR);
    terminal_forget(terminal);
}

void terminal_close(struct terminal *terminal)
{
    if (terminal->fd >= 0)
        close(terminal->fd);
    terminal->fd = -1;
}

bool terminal_interrupted(const struct terminal *terminal)
{
    sigset_t waiting;
    return terminal_is_ours(terminal) && sigpending(&waiting) == 0 &&
           (sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGQUIT) == 1);
}

void terminal_forget(const struct terminal *terminal)
{
    if (terminal_is_ours(terminal))
        (void)tcflush(terminal->fd, TCIFLUSH);
}

/* A read gives a line, or the first part of one that is longer; a signal may come in between. */
static ssize_t read_part(const struct terminal *terminal, struct typed *typed)
{
    ssize_t got;
    do
        got = read(terminal->fd, typed->text, sizeof typed->text);
    while (got < 0 && errno == EINTR);
    return got;
}

static bool goes_on(const struct typed *typed, ssize_t got)
{
    return got == (ssize_t)sizeof typed->text && typed->text[got - 1] != '\n';
}

/* Ctrl-D gives a line without an end, or nothing at all. What cannot be a PIN counts as an empty line. */
static void take(struct typed *typed, size_t got)
{
    if (got > 0 && typed->text[got - 1] == '\n')
        got--;
    typed->length = memchr(typed->text, '\0', got) == NULL ? got : 0;
    typed->complete = true;
}

bool terminal_read(struct terminal *terminal, struct typed *typed)
{
    if (!terminal_is_ours(terminal))
        return true;
    ssize_t got = read_part(terminal, typed);
    if (got < 0)
        return errno == EAGAIN;
    bool too_long = goes_on(typed, got);
    while (goes_on(typed, got))
        got = read_part(terminal, typed);
    take(typed, too_long ? 0 : (size_t)got);
    return true;
}
