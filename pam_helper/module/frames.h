/*
 * The line to the helper daemon, and the frames on it.
 *
 * A frame is 1 octet of type, 4 octets of length (big-endian) and a payload of at most FRAME_MAX octets. The two sides
 * take turns: the daemon never sends while we have the turn, and nothing follows its verdict. While the daemon waits
 * for something else than us, either may speak: then a frame of ours is offered, and what has come is heard first.
 *
 * Rules: nothing here knows PAM. A function that returns false has said why in line->trouble, and the line is of no
 * more use. All waiting ends at one deadline, from which the time between line_pause and line_resume is left out.
 */
#ifndef TWOFOLD_FRAMES_H
#define TWOFOLD_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_MAX = 65536 };

struct line {
    int fd;
    int64_t deadline; /* milliseconds of the monotonic clock */
    int64_t left;     /* milliseconds that were left when line_pause was called */
    const char *trouble;
    int error; /* the errno of the trouble, or 0 */
};

struct frame {
    unsigned char type;
    uint32_t length;
    char *payload; /* with a NUL after the last octet */
};

/* The caller closes the line even when this fails. */
bool line_open(struct line *line, const char *path, int timeout_seconds);
void line_close(struct line *line);

bool line_send(struct line *line, unsigned char type, const char *payload, size_t length);
/* Not sent if something of the daemon's has come already, which must be heard first. */
bool line_offer(struct line *line, unsigned char type, const char *payload, size_t length, bool *sent);
/* The caller wipes the frame, whatever the result. */
bool line_receive(struct line *line, struct frame *frame);
/* Waits until the daemon has closed its side, and fails if it sends anything more. */
bool line_ended(struct line *line);

struct other {
    int fd;      /* -1: there is none */
    bool wanted; /* what can be read there matters; that it has hung up always does */
};

struct ready {
    bool line;
    bool other;
    bool other_gone; /* hung up */
};

/* Waits for the daemon and for another descriptor, but a moment at most: then nothing is ready. */
bool line_watch(struct line *line, struct other other, struct ready *ready);

void line_pause(struct line *line);
void line_resume(struct line *line);

void frame_wipe(struct frame *frame);

#endif
