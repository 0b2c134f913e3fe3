/* Sends logins to a RADIUS server and measures its answers.
 *
 * Rules: everything that is sent was built and signed before the clock starts. A reply counts if its authenticators are
 * right; any other is counted as forged and changes nothing. A closed loop keeps `--window` requests in the air; an open
 * one sends `--rate` a second whatever comes back, and its latencies begin when a request should have left, so a server
 * (or this program) that stands still is not excused. What is not answered is sent again as gateways do, the same octets,
 * and is lost after `--tries`.
 *
 * People come from standard input, one a line: user TAB password, or user TAB first field TAB PIN. With a PIN the first
 * fields are all sent before the clock starts, and measured are the second steps, each with the State of its challenge.
 * Standard output is a line "ready" when the clock starts, and then the report.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "radius.h"

#define SOCKETS 64
#define IDENTIFIERS 256
#define SLOTS (SOCKETS * IDENTIFIERS) /* requests that may be in the air */
#define BATCH 64                      /* datagrams of one system call */
#define MOST_LINE 512
#define RECEIVE_BUFFER (4 * 1024 * 1024)
#define ALWAYS 1e18

struct person {
    char *user, *password, *pin; /* pin: NULL in one step */
    struct request request;
    struct state state;
};

struct slot {
    struct person *person; /* NULL: free */
    double from;           /* when it left, or should have left */
    unsigned tries;
};

/* What waits to be sent again if nothing comes: all wait equally long, so the oldest is the first. */
struct alarm {
    double at;
    unsigned slot, tries;
    const struct person *person;
};

struct tally {
    unsigned long sent, resent, accepts, rejects, challenges, forged, unasked, lost;
    double *latencies;
    size_t finished;
    double began, ended;
};

static struct {
    struct sockaddr_in server, source;
    struct secret secret;
    size_t window;
    double rate, seconds, timeout;
    unsigned tries;
} settings = {.window = 64, .seconds = ALWAYS, .timeout = 3.0, .tries = 3};

static struct slot slots[SLOTS];
static int sockets[SOCKETS];
static int poll_set;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

static void *checked(void *memory)
{
    if (!memory)
        give_up("memory");
    return memory;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* --- people and their packets */

static struct person *read_people(size_t *count)
{
    struct person *people = NULL;
    size_t room = 0;
    char line[MOST_LINE];

    *count = 0;
    while (fgets(line, sizeof line, stdin)) {
        struct person *person;
        char *rest = line;

        line[strcspn(line, "\n")] = 0;
        if (*count == room) {
            room = room ? room * 2 : 1024;
            people = checked(realloc(people, room * sizeof *people));
        }
        person = &people[(*count)++];
        memset(person, 0, sizeof *person);
        person->user = checked(strdup(strsep(&rest, "\t")));
        if (!rest)
            give_up("a line is not: user TAB password [TAB PIN]");
        person->password = checked(strdup(strsep(&rest, "\t")));
        person->pin = rest ? checked(strdup(rest)) : NULL;
    }
    if (!*count)
        give_up("no people on standard input");
    return people;
}

/* The n-th request of this run goes through slot n, again and again: neighbours share a socket and a system call. */
static void build(struct person *people, size_t count, size_t first, bool second_step)
{
    for (size_t i = 0; i < count; i++) {
        struct person *person = &people[i];
        uint8_t authenticator[AUTHENTICATOR_OCTETS];

        if (getrandom(authenticator, sizeof authenticator, 0) != sizeof authenticator)
            give_up("getrandom");
        if (!build_request(&person->request, &settings.secret, (uint8_t)((first + i) % IDENTIFIERS), authenticator,
                           person->user, second_step ? person->pin : person->password,
                           second_step ? &person->state : NULL))
            give_up("a user name or password is too long");
    }
}

/* --- sending */

struct outgoing {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    unsigned count, socket;
};

/* An error is a lost datagram: nothing listens there. */
static void flush(struct outgoing *out)
{
    unsigned done = 0;

    while (done < out->count) {
        int sent = sendmmsg(sockets[out->socket], out->messages + done, out->count - done, 0);

        done += sent > 0 ? (unsigned)sent : errno == EINTR ? 0 : 1;
    }
    out->count = 0;
}

static void put(struct outgoing *out, unsigned slot, struct request *request)
{
    unsigned at;

    if (out->count == BATCH || (out->count && out->socket != slot / IDENTIFIERS))
        flush(out);
    at = out->count++;
    out->socket = slot / IDENTIFIERS;
    out->parts[at] = (struct iovec){request->octets, request->length};
    out->messages[at].msg_hdr = (struct msghdr){.msg_iov = &out->parts[at], .msg_iovlen = 1};
}

/* --- receiving */

static void finish(struct tally *tally, struct slot *slot, double at)
{
    tally->latencies[tally->finished++] = at - slot->from;
    tally->ended = at;
    slot->person = NULL;
}

static void take(struct tally *tally, unsigned socket, const uint8_t *reply, size_t length, size_t *flying)
{
    struct slot *slot = &slots[socket * IDENTIFIERS + (length > 1 ? reply[1] : 0)];
    struct person *person = slot->person;

    if (!person) {
        tally->unasked++; /* the second answer to what was sent twice */
        return;
    }
    if (!reply_is_genuine(reply, length, &person->request, &settings.secret)) {
        tally->forged++;
        return;
    }
    if (reply[0] == ACCESS_ACCEPT)
        tally->accepts++;
    else if (reply[0] == ACCESS_REJECT)
        tally->rejects++;
    else if (reply[0] == ACCESS_CHALLENGE && find_state(reply, length, &person->state))
        tally->challenges++;
    else {
        tally->forged++;
        return;
    }
    finish(tally, slot, now());
    --*flying;
}

static void drain(struct tally *tally, unsigned socket, size_t *flying)
{
    static uint8_t buffers[BATCH][MOST_REPLY];
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    int count;

    for (unsigned i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){buffers[i], MOST_REPLY};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    count = recvmmsg(sockets[socket], messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++)
        take(tally, socket, buffers[i], messages[i].msg_len, flying);
}

static void wait_until(double until, struct tally *tally, size_t *flying)
{
    struct epoll_event events[SOCKETS];
    double left = until - now();
    struct timespec most = {0};
    int count;

    if (left > 0) {
        left = fmin(left, 1.0);
        most.tv_sec = (time_t)left;
        most.tv_nsec = (long)((left - floor(left)) * 1e9);
    }
    count = epoll_pwait2(poll_set, events, SOCKETS, &most, NULL);
    for (int i = 0; i < count; i++)
        drain(tally, events[i].data.u32, flying);
}

/* --- the loop */

struct alarms {
    struct alarm *all;
    size_t first, count;
};

static void set_alarm(struct alarms *alarms, unsigned slot)
{
    alarms->all[alarms->count++] =
        (struct alarm){now() + settings.timeout, slot, slots[slot].tries, slots[slot].person};
}

/* Sends again what was not answered in time, or gives it up. */
static void ring(struct alarms *alarms, struct outgoing *out, struct tally *tally, size_t *flying)
{
    for (double at = now(); alarms->first < alarms->count && alarms->all[alarms->first].at <= at; alarms->first++) {
        struct alarm alarm = alarms->all[alarms->first];
        struct slot *slot = &slots[alarm.slot];

        if (slot->person != alarm.person || slot->tries != alarm.tries)
            continue;
        if (slot->tries == settings.tries) {
            tally->lost++;
            tally->ended = at;
            slot->person = NULL;
            --*flying;
            continue;
        }
        slot->tries++;
        tally->resent++;
        put(out, alarm.slot, &slot->person->request);
        set_alarm(alarms, alarm.slot);
    }
}

/* When request n should leave; a closed loop sends as soon as there is room. */
static double due(double began, size_t n)
{
    return settings.rate > 0 ? began + (double)n / settings.rate : began;
}

static struct tally run(struct person *people, size_t count, size_t first, size_t window, bool paced)
{
    struct tally tally = {.latencies = checked(calloc(count, sizeof(double)))};
    struct alarms alarms = {checked(calloc(count * settings.tries, sizeof(struct alarm))), 0, 0};
    struct outgoing out = {.count = 0};
    size_t next = 0, flying = 0;

    tally.began = tally.ended = now();
    while (flying || next < count) {
        double at = now(), wake;

        if (at > tally.began + settings.seconds && paced)
            count = next; /* the time is over: what is in the air is waited for */
        while (next < count && (paced && settings.rate > 0 ? due(tally.began, next) <= at : flying < window)) {
            unsigned slot = (unsigned)((first + next) % SLOTS);

            if (slots[slot].person)
                break;
            slots[slot] = (struct slot){&people[next], at, 1};
            if (paced && settings.rate > 0)
                slots[slot].from = due(tally.began, next);
            put(&out, slot, &people[next].request);
            set_alarm(&alarms, slot);
            flying++;
            next++;
            tally.sent++;
        }
        ring(&alarms, &out, &tally, &flying);
        flush(&out);
        wake = alarms.first < alarms.count ? alarms.all[alarms.first].at : ALWAYS;
        if (paced && settings.rate > 0 && next < count)
            wake = fmin(wake, due(tally.began, next));
        if (flying || next < count)
            wait_until(wake, &tally, &flying);
    }
    free(alarms.all);
    return tally;
}

/* --- sockets */

static void open_sockets(void)
{
    int size = RECEIVE_BUFFER;

    poll_set = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < SOCKETS; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (sockets[i] < 0 || bind(sockets[i], (struct sockaddr *)&settings.source, sizeof settings.source) ||
            connect(sockets[i], (struct sockaddr *)&settings.server, sizeof settings.server) ||
            epoll_ctl(poll_set, EPOLL_CTL_ADD, sockets[i], &event))
            give_up("a socket");
        setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
}

/* --- the report */

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

static double hundredth(const struct tally *tally, double part)
{
    if (!tally->finished)
        return 0;
    return tally->latencies[(size_t)ceil(part * (double)tally->finished) - 1] * 1000;
}

static void report(struct tally *tally)
{
    double took = tally->ended - tally->began;
    struct rusage used;

    qsort(tally->latencies, tally->finished, sizeof(double), by_size);
    getrusage(RUSAGE_SELF, &used);
    printf("{\"seconds\": %.6f, \"finished\": %zu, \"per_second\": %.1f, ", took, tally->finished,
           took > 0 ? (double)tally->finished / took : 0);
    printf("\"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, ", hundredth(tally, 0.5), hundredth(tally, 0.99),
           hundredth(tally, 1.0));
    printf("\"sent\": %lu, \"resent\": %lu, \"accepts\": %lu, \"rejects\": %lu, \"challenges\": %lu, ", tally->sent,
           tally->resent, tally->accepts, tally->rejects, tally->challenges);
    printf("\"forged\": %lu, \"unasked\": %lu, \"lost\": %lu, ", tally->forged, tally->unasked, tally->lost);
    printf("\"own_cpu\": %.4f}\n", (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                                       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

/* --- the command line */

static struct sockaddr_in address(const char *text, const char *port)
{
    struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

    if (inet_pton(AF_INET, text, &found.sin_addr) != 1)
        give_up("an address is not IPv4");
    return found;
}

static void read_command_line(int count, char **words)
{
    static const struct option options[] = {
        {"source", required_argument, 0, 's'},  {"window", required_argument, 0, 'w'},
        {"rate", required_argument, 0, 'r'},    {"seconds", required_argument, 0, 't'},
        {"timeout", required_argument, 0, 'o'}, {"tries", required_argument, 0, 'n'},
        {0},
    };
    int option;

    settings.source = address("127.0.0.1", "0");
    while ((option = getopt_long(count, words, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            settings.source = address(optarg, "0");
            break;
        case 'w':
            settings.window = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            settings.rate = atof(optarg);
            break;
        case 't':
            settings.seconds = atof(optarg);
            break;
        case 'o':
            settings.timeout = atof(optarg);
            break;
        case 'n':
            settings.tries = (unsigned)strtoul(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    if (count - optind != 3 || !settings.window || settings.window > SLOTS || !settings.tries) {
        fputs("usage: load [--source ADDRESS] [--window N | --rate N] [--seconds S] [--timeout S] [--tries N] "
              "ADDRESS PORT SECRET < PEOPLE\n",
              stderr);
        exit(2);
    }
    settings.server = address(words[optind], words[optind + 1]);
    make_secret(&settings.secret, words[optind + 2]);
}

int main(int count, char **words)
{
    size_t many, first = 0;
    struct person *people;
    struct tally tally;

    read_command_line(count, words);
    people = read_people(&many);
    open_sockets();
    prctl(PR_SET_TIMERSLACK, 1UL); /* in the open loop a request leaves when it should */
    if (people[0].pin) {
        build(people, many, first, false);
        tally = run(people, many, first, settings.window, false);
        if (tally.challenges != many) {
            report(&tally);
            fprintf(stderr, "load: %lu of %zu people were not asked for a PIN\n", many - tally.challenges, many);
            return 1;
        }
        free(tally.latencies);
        first = many;
    }
    build(people, many, first, people[0].pin != NULL);
    puts("ready");
    fflush(stdout);
    tally = run(people, many, first, settings.window, true);
    report(&tally);
    return 0;
}
