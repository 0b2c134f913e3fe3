/*
 * pam_twofold: relays the conversation between a login program and the helper daemon. It decides nothing.
 *
 * Rules: every way out is a refusal except two, which stand in pam_code(): PAM_SUCCESS and PAM_IGNORE. Both need the
 * daemon's verdict, read in full, about the user that PAM names at that moment. Nothing is static, no signal handler is
 * touched, no environment is read except PAM's own SSH_AUTH_INFO_0, and no file is opened but the controlling terminal,
 * while the daemon waits for something else than typing (terminal.h). Secrets are wiped before they are freed. Logs hold
 * neither secrets nor anything else a user typed; the daemon logs who and why.
 *
 * Options: socket=PATH timeout=SECONDS combined debug. Any other refuses every login.
 */
#include <errno.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "frames.h"
#include "terminal.h"

#define EXPORTED __attribute__((visibility("default")))
#define SOCKET_OF_ROOT "/run/twofold/priv/pam.sock"
#define SOCKET_OF_ALL "/run/twofold/pam.sock"

enum { DEFAULT_TIMEOUT = 10, MAX_TIMEOUT = 300, MAX_DELAY_MICROSECONDS = 60 * 1000 * 1000 };
enum { MAX_WAIT_MILLISECONDS = 300 * 1000 };

/* Zero is a refusal, so that nothing forgotten can become a success. */
enum outcome { UNAVAILABLE = 0, DENIED, NO_CONVERSATION, NO_MEMORY, MISUSED, GO_ON, NOT_ASKED, ACCEPTED };

struct options {
    const char *socket;
    int timeout;
    bool combined;
    bool debug;
};

struct login {
    pam_handle_t *pamh;
    int flags;
    struct options options;
    struct line line;
    bool stop_may_come; /* a line was sent, and the daemon may have ended the wait before it had heard it */
};

/* While the daemon waits for something else. It ends with one answer of ours: a line, or that none was typed. */
struct wait {
    struct terminal terminal;
    struct typed typed;
    bool answered;
};

struct hello {
    size_t length;
    char pairs[FRAME_MAX];
};

/* --- What went wrong, for the log */

static bool out_of_resources(int error)
{
    return error == ENOMEM || error == EMFILE || error == ENFILE || error == ENOBUFS;
}

static enum outcome line_broke(struct login *login)
{
    int level = out_of_resources(login->line.error) ? LOG_CRIT : LOG_ERR;
    errno = login->line.error;
    if (errno != 0)
        pam_syslog(login->pamh, level, "helper daemon: %s: %m", login->line.trouble);
    else
        pam_syslog(login->pamh, level, "helper daemon: %s", login->line.trouble);
    return login->line.error == ENOMEM ? NO_MEMORY : UNAVAILABLE;
}

static enum outcome garbled(struct login *login, const char *what)
{
    pam_syslog(login->pamh, LOG_ERR, "helper daemon: %s", what);
    return UNAVAILABLE;
}

static enum outcome no_memory(struct login *login)
{
    pam_syslog(login->pamh, LOG_CRIT, "no memory");
    return NO_MEMORY;
}

/* --- Options */

static bool read_timeout(struct options *options, const char *text)
{
    int seconds = 0;
    for (const char *digit = text; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9' || seconds > MAX_TIMEOUT)
            return false;
        seconds = seconds * 10 + (*digit - '0');
    }
    options->timeout = seconds;
    return seconds >= 1 && seconds <= MAX_TIMEOUT;
}

static bool read_socket(struct options *options, const char *path)
{
    options->socket = path;
    return path[0] == '/' && strlen(path) < sizeof ((struct sockaddr_un *)NULL)->sun_path;
}

static bool read_option(struct options *options, const char *text)
{
    if (strncmp(text, "socket=", 7) == 0)
        return read_socket(options, text + 7);
    if (strncmp(text, "timeout=", 8) == 0)
        return read_timeout(options, text + 8);
    if (strcmp(text, "combined") == 0)
        return options->combined = true;
    if (strcmp(text, "debug") == 0)
        return options->debug = true;
    return false;
}

static enum outcome read_options(struct login *login, int argc, const char **argv)
{
    login->options.timeout = DEFAULT_TIMEOUT;
    login->options.socket = geteuid() == 0 ? SOCKET_OF_ROOT : SOCKET_OF_ALL;
    for (int i = 0; i < argc; i++) {
        if (!read_option(&login->options, argv[i])) {
            pam_syslog(login->pamh, LOG_ERR, "option not understood: %s", argv[i]);
            return MISUSED;
        }
    }
    return GO_ON;
}

/* --- Hello: what PAM knows about this login */

static bool add_pair(struct hello *hello, const char *key, const char *value)
{
    if (value == NULL)
        return true;
    size_t room = sizeof hello->pairs - hello->length;
    size_t size = strlen(key) + strlen(value) + 2;
    if (size > room)
        return false;
    char *end = stpcpy(hello->pairs + hello->length, key);
    strcpy(stpcpy(end, "="), value);
    hello->length += size;
    return true;
}

static bool add_item(struct login *login, struct hello *hello, const char *key, int item)
{
    const void *value = NULL;
    return pam_get_item(login->pamh, item, &value) == PAM_SUCCESS && add_pair(hello, key, value);
}

static bool fill(struct login *login, struct hello *hello)
{
    char flags[16];
    snprintf(flags, sizeof flags, "%u", (unsigned int)login->flags);
    return add_pair(hello, "version", "1") && add_item(login, hello, "service", PAM_SERVICE) &&
           add_item(login, hello, "user", PAM_USER) && add_item(login, hello, "rhost", PAM_RHOST) &&
           add_item(login, hello, "tty", PAM_TTY) && add_item(login, hello, "ruser", PAM_RUSER) &&
           add_pair(hello, "flags", flags) && add_pair(hello, "combined", login->options.combined ? "1" : NULL) &&
           add_pair(hello, "ssh_auth_info", pam_getenv(login->pamh, "SSH_AUTH_INFO_0")) &&
           add_item(login, hello, "authtok", PAM_AUTHTOK);
}

static enum outcome greet(struct login *login)
{
    struct hello *hello = calloc(1, sizeof *hello);
    if (hello == NULL)
        return no_memory(login);
    enum outcome outcome = GO_ON;
    if (!fill(login, hello))
        outcome = garbled(login, "what PAM knows about the login cannot be read, or is too long for a frame");
    else if (!line_send(&login->line, 'H', hello->pairs, hello->length))
        outcome = line_broke(login);
    explicit_bzero(hello->pairs, hello->length); /* what follows was never written, nor are its pages touched */
    free(hello);
    return outcome;
}

/* --- The conversation with the user */

static void forget(struct pam_response *reply)
{
    if (reply != NULL && reply->resp != NULL) {
        explicit_bzero(reply->resp, strlen(reply->resp));
        free(reply->resp);
    }
    free(reply);
}

/* One message. What a failed conversation leaves behind may point anywhere, so it is not looked at. */
static bool say(struct login *login, int style, const char *text, struct pam_response **reply)
{
    const void *item = NULL;
    const struct pam_message message = {.msg_style = style, .msg = text};
    const struct pam_message *messages = &message;
    *reply = NULL;
    if (pam_get_item(login->pamh, PAM_CONV, &item) != PAM_SUCCESS || item == NULL)
        return false;
    const struct pam_conv *program = item;
    if (program->conv == NULL)
        return false;
    line_pause(&login->line); /* a user may take his time */
    bool said = program->conv(1, &messages, reply, program->appdata_ptr) == PAM_SUCCESS;
    line_resume(&login->line);
    if (!said)
        *reply = NULL;
    return said;
}

/* The daemon stops waiting for this user. Whether it hears of it changes nothing. */
static enum outcome give_up(struct login *login)
{
    (void)line_send(&login->line, 'X', NULL, 0);
    pam_syslog(login->pamh, LOG_ERR, "the conversation failed or was cancelled");
    return NO_CONVERSATION;
}

static bool is_text(const struct frame *frame)
{
    return strlen(frame->payload) == frame->length;
}

static enum outcome show(struct login *login, int style, const struct frame *frame)
{
    struct pam_response *reply;
    if (!is_text(frame))
        return garbled(login, "a text with a NUL in it");
    bool said = say(login, style, frame->payload, &reply);
    forget(reply);
    return said ? GO_ON : give_up(login);
}

static enum outcome ask(struct login *login, int style, const struct frame *frame)
{
    struct pam_response *reply;
    if (!is_text(frame))
        return garbled(login, "a prompt with a NUL in it");
    enum outcome outcome = GO_ON;
    if (!say(login, style, frame->payload, &reply) || reply == NULL || reply->resp == NULL ||
        strlen(reply->resp) > FRAME_MAX)
        outcome = give_up(login);
    else if (!line_send(&login->line, 'R', reply->resp, strlen(reply->resp)))
        outcome = line_broke(login);
    forget(reply);
    return outcome;
}

/* --- What the daemon wants */

/* Only where the admin wrote "combined" may the password of the stack be replaced. */
static enum outcome set_authtok(struct login *login, const struct frame *frame)
{
    if (!login->options.combined)
        return garbled(login, "a password for the stack, without the option combined");
    if (!is_text(frame))
        return garbled(login, "a password with a NUL in it");
    return pam_set_item(login->pamh, PAM_AUTHTOK, frame->payload) == PAM_SUCCESS ? GO_ON : no_memory(login);
}

static bool read_number(const struct frame *frame, uint32_t *number)
{
    const unsigned char *octets = (const unsigned char *)frame->payload;
    if (frame->length != 4)
        return false;
    *number = (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 | (uint32_t)octets[2] << 8 | octets[3];
    return true;
}

/* A delay of more than a minute can only be a mistake, and would hang the login program. */
static enum outcome set_delay(struct login *login, const struct frame *frame)
{
    uint32_t delay;
    if (!read_number(frame, &delay))
        return garbled(login, "a delay of the wrong length");
    if (delay > MAX_DELAY_MICROSECONDS)
        return garbled(login, "a delay of more than a minute");
    return pam_fail_delay(login->pamh, delay) == PAM_SUCCESS ? GO_ON : no_memory(login);
}

/* Another module may have changed PAM_USER since the hello: the verdict must be about whoever stands there now. */
static bool is_about_user(struct login *login, const struct frame *verdict)
{
    const void *user = NULL;
    size_t length = verdict->length - 1;
    if (pam_get_item(login->pamh, PAM_USER, &user) == PAM_SUCCESS && user != NULL && length > 0 &&
        strlen(user) == length && memcmp(user, verdict->payload + 1, length) == 0)
        return true;
    pam_syslog(login->pamh, LOG_ERR, "helper daemon: the verdict is about another user");
    return false;
}

static enum outcome judge(struct login *login, const struct frame *verdict)
{
    if (verdict->length == 0)
        return garbled(login, "an empty verdict");
    if (!line_ended(&login->line))
        return line_broke(login);
    switch (verdict->payload[0]) {
    case 'S':
        return is_about_user(login, verdict) ? ACCEPTED : DENIED;
    case 'I':
        return is_about_user(login, verdict) ? NOT_ASKED : DENIED;
    case 'D':
        pam_syslog(login->pamh, LOG_NOTICE, "second factor refused");
        return DENIED;
    case 'U':
        return garbled(login, "it could not decide");
    default:
        return garbled(login, "an unknown verdict");
    }
}

static void log_frame(struct login *login, const struct frame *frame)
{
    if (login->options.debug)
        pam_syslog(login->pamh, LOG_DEBUG, "frame of type 0x%02x", frame->type);
}

/* --- Waiting, as long as the daemon waits for something else than typing */

static enum outcome answer_stop(struct login *login, struct wait *wait, const struct frame *frame)
{
    if (frame->length != 0)
        return garbled(login, "an end of a wait with something in it");
    wait->answered = line_send(&login->line, 'N', NULL, 0);
    return wait->answered ? GO_ON : line_broke(login);
}

static enum outcome obey_in_wait(struct login *login, struct wait *wait, const struct frame *frame)
{
    log_frame(login, frame);
    switch (frame->type) {
    case 'I':
        return show(login, PAM_TEXT_INFO, frame);
    case 'E':
        return show(login, PAM_ERROR_MSG, frame);
    case 't':
        return answer_stop(login, wait, frame);
    default:
        return garbled(login, "a frame that does not belong into a wait");
    }
}

static enum outcome hear_in_wait(struct login *login, struct wait *wait)
{
    struct frame frame = {.payload = NULL};
    enum outcome outcome =
        line_receive(&login->line, &frame) ? obey_in_wait(login, wait, &frame) : line_broke(login);
    frame_wipe(&frame);
    return outcome;
}

/* What the daemon has said comes first: if it has ended the wait, the line is dropped. */
static enum outcome offer_line(struct login *login, struct wait *wait)
{
    if (!line_offer(&login->line, 'L', wait->typed.text, wait->typed.length, &wait->answered))
        return line_broke(login);
    login->stop_may_come = wait->answered;
    return wait->answered ? GO_ON : hear_in_wait(login, wait);
}

/* Whoever hangs up or presses Ctrl-C has cancelled, also where the program does not end by it. */
static enum outcome look(struct login *login, struct wait *wait)
{
    const struct other typing = {.fd = wait->terminal.fd, .wanted = terminal_is_ours(&wait->terminal)};
    struct ready ready;
    if (terminal_interrupted(&wait->terminal))
        return give_up(login);
    if (!line_watch(&login->line, typing, &ready))
        return line_broke(login);
    if (ready.line)
        return hear_in_wait(login, wait);
    if (ready.other_gone || (ready.other && !terminal_read(&wait->terminal, &wait->typed)))
        return give_up(login);
    return GO_ON;
}

/* What was typed and not sent was meant for the wait, and must not reach the program that reads next. */
static enum outcome wait_for_answer(struct login *login)
{
    struct wait *wait = calloc(1, sizeof *wait);
    enum outcome outcome = GO_ON;
    if (wait == NULL)
        return no_memory(login);
    terminal_open(&wait->terminal);
    while (outcome == GO_ON && !wait->answered)
        outcome = wait->typed.complete ? offer_line(login, wait) : look(login, wait);
    if (!login->stop_may_come)
        terminal_forget(&wait->terminal);
    terminal_close(&wait->terminal);
    explicit_bzero(wait, sizeof *wait);
    free(wait);
    return outcome;
}

/* Our own time stands still meanwhile, but is added to the daemon's, so that one that hangs is given up. */
static enum outcome wait_with_daemon(struct login *login, const struct frame *frame)
{
    uint32_t milliseconds;
    if (!read_number(frame, &milliseconds))
        return garbled(login, "a wait of the wrong length");
    if (milliseconds > MAX_WAIT_MILLISECONDS)
        return garbled(login, "a wait of more than five minutes");
    line_pause(&login->line);
    const int64_t left = login->line.left;
    login->line.deadline += milliseconds;
    enum outcome outcome = wait_for_answer(login);
    login->line.left = left;
    line_resume(&login->line);
    return outcome;
}

/* It crossed our line on the way. What the daemon had shown before may still come first. */
static enum outcome pass_over_stop(struct login *login, bool expected, const struct frame *frame)
{
    if (!expected || frame->length != 0)
        return garbled(login, "an end of a wait, without a wait");
    return GO_ON;
}

static enum outcome obey(struct login *login, const struct frame *frame)
{
    const bool stop_may_come = login->stop_may_come;
    log_frame(login, frame);
    login->stop_may_come = stop_may_come && (frame->type == 'I' || frame->type == 'E');
    switch (frame->type) {
    case 'I':
        return show(login, PAM_TEXT_INFO, frame);
    case 'E':
        return show(login, PAM_ERROR_MSG, frame);
    case 'P':
        return ask(login, PAM_PROMPT_ECHO_OFF, frame);
    case 'p':
        return ask(login, PAM_PROMPT_ECHO_ON, frame);
    case 'A':
        return set_authtok(login, frame);
    case 'W':
        return set_delay(login, frame);
    case 'T':
        return wait_with_daemon(login, frame);
    case 't':
        return pass_over_stop(login, stop_may_come, frame);
    case 'F':
        return judge(login, frame);
    default:
        return garbled(login, "a frame of unknown type");
    }
}

/* --- One login */

/* May ask for the name. A program's own broken answer must not become our verdict, so the code is not passed on. */
static enum outcome know_user(struct login *login)
{
    const char *user = NULL;
    int code = pam_get_user(login->pamh, &user, NULL);
    if (code == PAM_BUF_ERR)
        return no_memory(login);
    if (code != PAM_SUCCESS) {
        pam_syslog(login->pamh, LOG_ERR, "the name of the user cannot be had");
        return NO_CONVERSATION;
    }
    if (user != NULL && user[0] != '\0')
        return GO_ON;
    pam_syslog(login->pamh, LOG_NOTICE, "a login without the name of a user");
    return DENIED; /* unknown, wrong and locked look alike, and so does this */
}

static enum outcome relay(struct login *login)
{
    enum outcome outcome = GO_ON;
    while (outcome == GO_ON) {
        struct frame frame = {.payload = NULL};
        outcome = line_receive(&login->line, &frame) ? obey(login, &frame) : line_broke(login);
        frame_wipe(&frame);
    }
    return outcome;
}

static enum outcome log_in(struct login *login, int argc, const char **argv)
{
    enum outcome outcome = read_options(login, argc, argv);
    if (outcome == GO_ON)
        outcome = know_user(login);
    if (outcome == GO_ON && !line_open(&login->line, login->options.socket, login->options.timeout))
        outcome = line_broke(login);
    if (outcome == GO_ON)
        outcome = greet(login);
    if (outcome == GO_ON)
        outcome = relay(login);
    return outcome;
}

/* The one place that says yes, and the one that says "do not count me". */
static int pam_code(enum outcome outcome)
{
    switch (outcome) {
    case ACCEPTED:
        return PAM_SUCCESS;
    case NOT_ASKED:
        return PAM_IGNORE;
    case DENIED:
        return PAM_AUTH_ERR;
    case NO_CONVERSATION:
        return PAM_CONV_ERR;
    case NO_MEMORY:
        return PAM_BUF_ERR;
    case MISUSED:
        return PAM_SERVICE_ERR;
    case UNAVAILABLE:
    case GO_ON:
        break;
    }
    return PAM_AUTHINFO_UNAVAIL;
}

EXPORTED int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct login login = {.pamh = pamh, .flags = flags, .line = {.fd = -1}};
    enum outcome outcome = log_in(&login, argc, argv);
    line_close(&login.line);
    return pam_code(outcome);
}
