/*
 * The terminal of the person who logs in, for as long as a wait takes: what is typed there ends the wait.
 *
 * Rules: it is read while our process group has it and it hands on whole lines, and left alone otherwise: a read from
 * the background would stop the program, and where a program reads key by key the keys are its own. Its settings are
 * not changed and nothing is written to it. Where there is none, or it is not ours, nobody can type, and the wait goes on
 * without it; where it is lost, whoever sat there has gone. A line may be a PIN, so whoever has a struct typed wipes it. No signal is taken:
 * that one waits which the program has put off (sudo does so with Ctrl-C) is only looked at.
 */
#ifndef TWOFOLD_TERMINAL_H
#define TWOFOLD_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

enum { TYPED_MOST = 512 };

struct terminal {
    int fd; /* -1: there is none */
};

struct typed {
    bool complete;
    size_t length;             /* without the line end */
    char text[TYPED_MOST + 1]; /* one more than counts: a longer line shows by it */
};

/* What was typed before is no answer to what is asked now, and is dropped. The caller closes the terminal. */
void terminal_open(struct terminal *terminal);
void terminal_close(struct terminal *terminal);
/* Whether what is typed there is for us at this moment. */
bool terminal_is_ours(const struct terminal *terminal);
/* Ctrl-C or Ctrl-\ was pressed, and the program has put off hearing of it. */
bool terminal_interrupted(const struct terminal *terminal);
/* Call it when something can be read. What is no line leaves `typed` incomplete. False if the terminal is lost. */
bool terminal_read(struct terminal *terminal, struct typed *typed);
/* Drops what was typed and not read. */
void terminal_forget(const struct terminal *terminal);

#endif
