/*
 * The terminal of the person who logs in, for as long as a wait takes: what is typed there ends the wait.
 *
 * Rules: it is read while our process group has it and it hands on whole lines, and left alone otherwise: a read from
 * the background would stop the program, and where a program reads key by key the keys are its own. Its settings are
 * not changed and nothing is written to it. Nothing that goes wrong here is an error: then nobody can type, and the
 * wait goes on without the terminal. A line may be a PIN, so whoever has a struct typed wipes it.
 */
#ifndef TWOFOLD_TERMINAL_H
#define TWOFOLD_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

enum { TYPED_MOST = 512 };

struct terminal {
    int fd; /* -1: there is none, or it is of no more use */
};

struct typed {
    bool complete;
    size_t length;             /* without the line end */
    char text[TYPED_MOST + 1]; /* one more than counts: a longer line shows by it */
};

/* What was typed before is no answer to what is asked now, and is dropped. The caller closes the terminal. */
void terminal_open(struct terminal *terminal);
void terminal_close(struct terminal *terminal);
/* The descriptor to wait on, or -1 while there is nothing to wait for. */
int terminal_watched(const struct terminal *terminal);
/* Call it when something can be read. What is no line leaves `typed` as it was. */
void terminal_read(struct terminal *terminal, struct typed *typed);
/* Drops what was typed and not read. */
void terminal_forget(const struct terminal *terminal);

#endif
