/*
 * A login program for tests: runs a PAM service of a private directory through the real libpam, and tells what it saw.
 *
 *     driver KEY=VALUE...
 *
 * confdir, service, user   the stack, and who logs in; in threads the users are user0, user1, ...
 * rhost, tty, ruser        items set before; env=K=V goes into the PAM environment (may stand more than once)
 * flags                    of pam_authenticate
 * answer=HEX               reply to every prompt, each octet ^ 0x55; "%d" in it becomes the number of the thread
 * conv                     good, null-function, dangling-error, no-array, null-text, again, ignore, huge
 * calls                    the functions to call, a letter each: a(uthenticate) s(etcred) m(acct_mgmt) o(pen_session)
 *                          c(lose_session) p(chauthtok); the code told is that of the last
 * runs, threads            how often, one after another or at once
 * faults=ERRNO             the n-th call fails with it, n = 1, 2, ... until no call is left (needs faults.so)
 * jump=SECONDS             the clock jumps by that in each call of the conversation
 * linger=1                 a read of the terminal ends when the daemon has said something more (needs faults.so)
 * timer=MICROSECONDS       a signal each so often
 * nofile=N, memory=KIB     limits set just before the call: open files, memory beyond what is in use
 * search=HEX               how often a secret (each octet ^ 0x55) stands in memory after the call and after pam_end
 * becomes=NAME             the conversation changes PAM_USER to it
 * keep=1                   the conversation keeps a copy of each answer: a control for search
 * ctty=PATH                the controlling terminal; there is none otherwise. Texts are shown there, too
 * background=1             somebody else has the terminal, until he has read a line there
 * nohup=1                  a hang-up of the terminal does not end the driver
 * putoff=1                 Ctrl-C does not, either: it waits until the driver would hear it, as in sudo; 2: it does already
 *
 * Prints one JSON object a run. Texts are in hex.
 */
#include "faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <syslog.h>
#include <unistd.h>

enum { SPACE = 1 << 20, SIGNALS = 65 };

static int arguments_count;
static char **arguments;
static const struct faults *faults;

/* --- What the command line says */

static const char *next_option(const char *key, int *from)
{
    size_t length = strlen(key);
    for (; *from < arguments_count; (*from)++)
        if (strncmp(arguments[*from], key, length) == 0 && arguments[*from][length] == '=')
            return arguments[(*from)++] + length + 1;
    return NULL;
}

static const char *option(const char *key)
{
    int from = 1;
    return next_option(key, &from);
}

static long number(const char *key, long otherwise)
{
    const char *text = option(key);
    return text ? atol(text) : otherwise;
}

static size_t from_hex(const char *hex, unsigned char *octets, size_t room, unsigned char key)
{
    unsigned int octet;
    size_t length = 0;
    for (; length < room && sscanf(hex + 2 * length, "%2x", &octet) == 1; length++)
        octets[length] = (unsigned char)octet ^ key;
    return length;
}

/* --- One login, and what is told of it */

struct told {
    size_t length;
    char text[SPACE];
};

struct session {
    pam_handle_t *pamh;
    int number;
    struct told shown;
    struct told logs;
    unsigned int delay;
    int inheritable; /* descriptors that a child would inherit, at worst */
    void *kept[64];
    int kept_count;
};

static __thread struct session *current;

static void tell(struct told *told, int kind, const char *text)
{
    size_t room = sizeof told->text - told->length;
    if (2 * strlen(text) + 32 > room)
        return;
    char *end = told->text + told->length;
    end += sprintf(end, "%s[%d, \"", told->length ? ", " : "", kind);
    for (; *text; text++)
        end += sprintf(end, "%02x", (unsigned char)*text);
    end += sprintf(end, "\"]");
    told->length = (size_t)(end - told->text);
}

/* libpam logs by this function; the driver's comes first. */
void __syslog_chk(int priority, int flag, const char *format, ...)
{
    char line[4096];
    va_list values;
    (void)flag;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (current)
        tell(&current->logs, priority, line);
}

static int open_files(int only_inheritable)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);
        count += flags >= 0 && !(only_inheritable && flags & FD_CLOEXEC);
    }
    return count;
}

/* --- The conversation */

static char *answer(struct session *session)
{
    const char *hex = option("answer");
    unsigned char plain[2048] = "";
    char *text = calloc(1, sizeof plain + 16);
    if (text == NULL)
        return NULL;
    from_hex(hex ? hex : "", plain, sizeof plain - 1, 0x55);
    char *mark = strstr((char *)plain, "%d");
    if (mark)
        sprintf(text, "%.*s%d%s", (int)(mark - (char *)plain), (char *)plain, session->number, mark + 2);
    else
        strcpy(text, (char *)plain);
    explicit_bzero(plain, sizeof plain);
    if (number("keep", 0))
        session->kept[session->kept_count++ % 64] = strdup(text);
    return text;
}

static char *huge_answer(void)
{
    char *text = malloc(70000);
    memset(text, 'x', 65537);
    text[65537] = '\0';
    return text;
}

static void look_around(struct session *session)
{
    int inheritable = open_files(1);
    if (inheritable > session->inheritable)
        session->inheritable = inheritable;
    if (faults)
        faults->jump(number("jump", 0));
    if (option("becomes"))
        pam_set_item(session->pamh, PAM_USER, option("becomes"));
}

static int answered(struct session *session, const char *how, int style, struct pam_response **reply)
{
    int prompt = style == PAM_PROMPT_ECHO_OFF || style == PAM_PROMPT_ECHO_ON;
    *reply = calloc(1, sizeof **reply);
    if (*reply == NULL)
        return PAM_BUF_ERR;
    if (strcmp(how, "null-text") == 0 || !prompt)
        return PAM_SUCCESS;
    (*reply)->resp = strcmp(how, "huge") == 0 ? huge_answer() : answer(session);
    return PAM_SUCCESS;
}

/* A signal in between would cut it short. */
static void show_on_terminal(const char *text)
{
    sigset_t all, before;
    if (option("ctty") == NULL)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int fd = open("/dev/tty", O_WRONLY | O_NOCTTY);
    if (fd >= 0 && (dprintf(fd, "%s\n", text) < 0 || close(fd) < 0))
        abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int talk(struct session *session, int style, const char *text, struct pam_response **reply)
{
    const char *how = option("conv") ? option("conv") : "good";
    tell(&session->shown, style, text);
    look_around(session);
    show_on_terminal(text);
    if (strcmp(how, "dangling-error") == 0) {
        *reply = (struct pam_response *)(uintptr_t)16;
        return PAM_CONV_ERR;
    }
    if (strcmp(how, "no-array") == 0)
        return PAM_SUCCESS;
    if (strcmp(how, "again") == 0)
        return PAM_CONV_AGAIN;
    if (strcmp(how, "ignore") == 0)
        return PAM_IGNORE;
    return answered(session, how, style, reply);
}

static int converse(int count, const struct pam_message **messages, struct pam_response **reply, void *data)
{
    if (count != 1)
        abort(); /* more than one message at a time: programs differ in what they make of that */
    if (faults)
        faults->hold(1);
    int code = talk(data, messages[0]->msg_style, messages[0]->msg, reply);
    if (faults)
        faults->hold(0);
    return code;
}

static void delayed(int code, unsigned int microseconds, void *data)
{
    (void)code;
    ((struct session *)data)->delay = microseconds;
}

/* --- What must not change */

static void nothing(int signal)
{
    (void)signal;
}

static void start_timer(long microseconds)
{
    struct sigaction action = {.sa_handler = nothing}; /* without SA_RESTART: calls end with EINTR */
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    if (microseconds == 0)
        return;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Has the terminal until a line was typed, as a shell that has put the driver into the background. */
static void be_in_front(int terminal, pid_t driver)
{
    char octet = '\0';
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTTOU, SIG_IGN);
    setpgid(0, 0);
    tcsetpgrp(terminal, getpid());
    while (octet != '\n' && read(terminal, &octet, 1) == 1)
        ;
    tcsetpgrp(terminal, driver);
    _exit(0);
}

static void put_off_interrupts(void)
{
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupts, NULL);
    if (number("putoff", 0) == 2)
        raise(SIGINT);
}

static void take_terminal(void)
{
    if (option("putoff"))
        put_off_interrupts();
    if (setsid() < 0)
        abort();
    if (option("nohup"))
        signal(SIGHUP, SIG_IGN);
    int terminal = option("ctty") ? open(option("ctty"), O_RDWR) : -1;
    if (number("background", 0)) {
        pid_t driver = getpid();
        if (fork() == 0)
            be_in_front(terminal, driver);
        while (tcgetpgrp(terminal) == driver)
            usleep(1000);
    }
    if (terminal >= 0)
        close(terminal);
}

static void read_signals(struct sigaction actions[SIGNALS])
{
    memset(actions, 0, sizeof(struct sigaction) * SIGNALS);
    for (int signal = 1; signal < SIGNALS; signal++)
        sigaction(signal, NULL, &actions[signal]);
}

static int same_signals(struct sigaction before[SIGNALS], sigset_t *mask)
{
    struct sigaction after[SIGNALS];
    sigset_t mask_after;
    read_signals(after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int signal = 1; signal < SIGNALS; signal++)
        if (before[signal].sa_handler != after[signal].sa_handler ||
            before[signal].sa_flags != after[signal].sa_flags ||
            sigismember(mask, signal) != sigismember(&mask_after, signal))
            return 0;
    return 1;
}

/* --- Secrets in memory */

/* Compares without decoding, so that the search makes no copy of its own. */
static int count_in(const unsigned char *from, const unsigned char *to, const unsigned char *hidden, size_t length)
{
    int count = 0;
    for (const unsigned char *at = from; at + length <= to; at++) {
        size_t same = 0;
        while (same < length && (at[same] ^ 0x55) == hidden[same])
            same++;
        count += same == length;
    }
    return count;
}

static int found_in_memory(const char *hex)
{
    unsigned char hidden[256];
    size_t length = from_hex(hex, hidden, sizeof hidden, 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long from, to;
    char line[512], rights[8], name[256];
    int count = 0;
    while (fgets(line, sizeof line, maps)) {
        name[0] = '\0';
        sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &from, &to, rights, name);
        if (rights[0] == 'r' && rights[1] == 'w' && strncmp(name, "[v", 2) != 0)
            count += count_in((unsigned char *)from, (unsigned char *)to, hidden, length);
    }
    fclose(maps);
    return count;
}

/* --- Calls */

static void limit(int what, long value)
{
    struct rlimit wanted = {(rlim_t)value, (rlim_t)value};
    getrlimit(what, &wanted);
    wanted.rlim_cur = (rlim_t)value;
    setrlimit(what, &wanted);
}

static void set_limits(void)
{
    long pages = 0;
    if (option("memory")) {
        FILE *used = fopen("/proc/self/statm", "r");
        if (fscanf(used, "%ld", &pages) != 1)
            abort();
        fclose(used);
        limit(RLIMIT_AS, pages * 4096 + number("memory", 0) * 1024);
    }
    if (option("nofile"))
        limit(RLIMIT_NOFILE, number("nofile", 0));
}

static void lift_limits(void)
{
    if (option("memory"))
        limit(RLIMIT_AS, (long)RLIM_INFINITY);
    if (option("nofile"))
        limit(RLIMIT_NOFILE, 1024);
}

static int call(pam_handle_t *pamh, char which)
{
    switch (which) {
    case 'a': return pam_authenticate(pamh, (int)number("flags", 0));
    case 's': return pam_setcred(pamh, PAM_ESTABLISH_CRED);
    case 'm': return pam_acct_mgmt(pamh, 0);
    case 'o': return pam_open_session(pamh, 0);
    case 'c': return pam_close_session(pamh, 0);
    case 'p': return pam_chauthtok(pamh, 0);
    default: abort();
    }
}

static int call_all(pam_handle_t *pamh)
{
    const char *calls = option("calls") ? option("calls") : "a";
    int code = PAM_ABORT;
    for (; *calls; calls++)
        code = call(pamh, *calls);
    return code;
}

static void set_items(struct session *session)
{
    int from = 1;
    const char *pair;
    void (*delay)(int, unsigned int, void *) = delayed;
    pam_set_item(session->pamh, PAM_FAIL_DELAY, (const void *)delay);
    if (option("rhost"))
        pam_set_item(session->pamh, PAM_RHOST, option("rhost"));
    if (option("tty"))
        pam_set_item(session->pamh, PAM_TTY, option("tty"));
    if (option("ruser"))
        pam_set_item(session->pamh, PAM_RUSER, option("ruser"));
    while ((pair = next_option("env", &from)) != NULL)
        pam_putenv(session->pamh, pair);
}

/* --- A run */

struct run {
    struct session *session;
    int code, files_before, files_after, signals_kept, ids_kept;
    int in_memory_after_call, in_memory_at_end;
    long leaked;
    const char *failed;
    long n;
};

static void begin(struct run *run)
{
    char user[256];
    struct pam_conv conversation = {converse, run->session};
    if (strcmp(option("conv") ? option("conv") : "good", "null-function") == 0)
        conversation.conv = NULL;
    snprintf(user, sizeof user, "user%d", run->session->number);
    const char *name = option("threads") ? user : option("user");
    pam_handle_t **pamh = &run->session->pamh;
    if (pam_start_confdir(option("service"), name, &conversation, option("confdir"), pamh) != PAM_SUCCESS)
        abort();
    set_items(run->session);
}

static void login(struct run *run)
{
    struct sigaction signals[SIGNALS];
    sigset_t mask;
    uid_t r, e, s;
    read_signals(signals);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    getresuid(&r, &e, &s);
    set_limits();
    if (faults && run->n)
        faults->arm(run->n, (int)number("faults", 0));
    run->code = call_all(run->session->pamh);
    run->failed = faults ? faults->disarm() : NULL;
    lift_limits();
    run->signals_kept = same_signals(signals, &mask);
    uid_t r2, e2, s2;
    getresuid(&r2, &e2, &s2);
    run->ids_kept = r == r2 && e == e2 && s == s2;
}

static void perform(struct run *run)
{
    current = run->session;
    long live = faults ? faults->live() : 0;
    run->files_before = open_files(0);
    begin(run);
    run->session->inheritable = 0;
    login(run);
    if (option("search"))
        run->in_memory_after_call = found_in_memory(option("search"));
    pam_end(run->session->pamh, run->code);
    if (option("search"))
        run->in_memory_at_end = found_in_memory(option("search"));
    run->files_after = open_files(0);
    run->leaked = faults ? faults->live() - live : 0;
    current = NULL;
}

static void print(const struct run *run)
{
    const struct session *session = run->session;
    printf("{\"code\": %d, \"number\": %d, \"shown\": [%s], \"logs\": [%s], \"delay\": %u, \"inheritable\": %d, "
           "\"files\": [%d, %d], \"signals_kept\": %s, \"ids_kept\": %s, \"in_memory\": [%d, %d], \"leaked\": %ld, "
           "\"failed\": \"%s\"}\n",
           run->code, session->number, session->shown.text, session->logs.text, session->delay, session->inheritable,
           run->files_before, run->files_after, run->signals_kept ? "true" : "false", run->ids_kept ? "true" : "false",
           run->in_memory_after_call, run->in_memory_at_end, run->leaked, run->failed ? run->failed : "");
}

static void reset(struct session *session)
{
    session->shown.length = session->logs.length = 0;
    session->shown.text[0] = session->logs.text[0] = '\0';
    session->delay = 0;
}

static void run_in_order(void)
{
    struct session *session = calloc(1, sizeof *session);
    long runs = number("runs", 1);
    for (long i = 0; i < runs; i++) {
        struct run run = {.session = session};
        reset(session);
        perform(&run);
        print(&run);
    }
    free(session);
}

static void run_with_faults(void)
{
    struct session *session = calloc(1, sizeof *session);
    struct run run = {.session = session, .n = 1000000};
    perform(&run);
    perform(&run); /* whatever libc keeps from a first time is there now */
    for (long n = 1; n == 1 || run.failed; n++) {
        run = (struct run){.session = session, .n = n};
        reset(session);
        perform(&run);
        print(&run);
    }
    free(session);
}

static void *run_in_thread(void *data)
{
    struct run *run = data;
    perform(run);
    return NULL;
}

static void run_at_once(long threads)
{
    struct run *runs = calloc((size_t)threads, sizeof *runs);
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    for (long i = 0; i < threads; i++) {
        runs[i].session = calloc(1, sizeof *runs[i].session);
        runs[i].session->number = (int)i;
        pthread_create(&ids[i], NULL, run_in_thread, &runs[i]);
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        print(&runs[i]);
        free(runs[i].session);
    }
    free(ids);
    free(runs);
}

int main(int argc, char **argv)
{
    static char buffer[1 << 16];
    arguments_count = argc;
    arguments = argv;
    faults = dlsym(RTLD_DEFAULT, "faults");
    if (faults && option("linger"))
        faults->linger();
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    take_terminal();
    start_timer(number("timer", 0));
    if (option("threads"))
        run_at_once(number("threads", 1));
    else if (option("faults"))
        run_with_faults();
    else
        run_in_order();
    return 0;
}
