/* RADIUS on the wire: requests built and signed, replies checked (RFC 2865, RFC 3579 3.2). */
#ifndef RADIUS_H
#define RADIUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "md5.h"

#define ACCESS_ACCEPT 2
#define ACCESS_REJECT 3
#define ACCESS_CHALLENGE 11
#define AUTHENTICATOR_OCTETS 16
#define MOST_REQUEST 512  /* what this program sends */
#define MOST_REPLY 4096
#define MOST_STATE 253

struct secret {
    const char *octets;
    size_t length;
    struct hmac key;
};

struct request {
    uint16_t length;
    uint8_t octets[MOST_REQUEST];
};

struct state {
    uint8_t length;
    uint8_t octets[MOST_STATE];
};

void make_secret(struct secret *secret, const char *octets);

/* An Access-Request with Message-Authenticator first. `state` may be NULL. False if it does not fit. */
bool build_request(struct request *request, const struct secret *secret, uint8_t identifier,
                   const uint8_t authenticator[AUTHENTICATOR_OCTETS], const char *user, const char *password,
                   const struct state *state);

/* Whether Length, Response Authenticator and the one Message-Authenticator are those of a reply to `request`. */
bool reply_is_genuine(const uint8_t *reply, size_t length, const struct request *request,
                      const struct secret *secret);

/* The State of a reply that is genuine; false if it has none. */
bool find_state(const uint8_t *reply, size_t length, struct state *state);

#endif
