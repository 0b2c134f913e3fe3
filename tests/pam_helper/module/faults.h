/*
 * What the driver finds in faults.so, which is preloaded: calls that fail on demand, a clock that jumps, and a count of
 * the memory in use. While armed, the n-th call of any of the kinds below, in the arming thread, fails once.
 */
#ifndef FAULTS_H
#define FAULTS_H

struct faults {
    void (*arm)(long n, int error);
    const char *(*disarm)(void); /* the call that failed, or NULL */
    void (*hold)(int held);      /* nothing is counted while held: for the driver's own calls */
    void (*jump)(long seconds);  /* the monotonic clock stands that much later from now on */
    void (*linger)(void);        /* from now on a read of the terminal says so there, and waits until the daemon speaks */
    long (*live)(void);          /* allocations less frees since the process began */
};

#endif
