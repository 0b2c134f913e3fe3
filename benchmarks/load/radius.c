#include "radius.h"

#include <string.h>

#define ACCESS_REQUEST 1
#define USER_NAME 1
#define USER_PASSWORD 2
#define STATE 24
#define NAS_IDENTIFIER 32
#define MESSAGE_AUTHENTICATOR 80

#define HEADER 20
#define AUTHENTICATOR_AT 4
#define MOST_PASSWORD 128

static const char NAS[] = "load";

void make_secret(struct secret *secret, const char *octets)
{
    secret->octets = octets;
    secret->length = strlen(octets);
    hmac_key(&secret->key, octets, secret->length);
}

/* --- requests */

static bool add(struct request *request, uint8_t type, const void *value, size_t length)
{
    if (length > 253 || request->length + 2 + length > MOST_REQUEST)
        return false;
    request->octets[request->length++] = type;
    request->octets[request->length++] = (uint8_t)(length + 2);
    if (length)
        memcpy(request->octets + request->length, value, length);
    request->length += (uint16_t)length;
    return true;
}

/* RFC 2865 5.2; returns the length, 0 if it is too long. */
static size_t hide(uint8_t hidden[MOST_PASSWORD], const char *password, const struct secret *secret,
                   const uint8_t *authenticator)
{
    size_t length = strlen(password), padded = length ? (length + 15) / 16 * 16 : 16;
    const uint8_t *previous = authenticator;

    if (padded > MOST_PASSWORD)
        return 0;
    memset(hidden, 0, padded);
    memcpy(hidden, password, length);
    for (size_t at = 0; at < padded; at += 16) {
        struct md5 md5;
        uint8_t pad[MD5_OCTETS];

        md5_begin(&md5);
        md5_add(&md5, secret->octets, secret->length);
        md5_add(&md5, previous, 16);
        md5_end(&md5, pad);
        for (size_t i = 0; i < 16; i++)
            hidden[at + i] ^= pad[i];
        previous = hidden + at;
    }
    return padded;
}

bool build_request(struct request *request, const struct secret *secret, uint8_t identifier,
                   const uint8_t authenticator[AUTHENTICATOR_OCTETS], const char *user, const char *password,
                   const struct state *state)
{
    uint8_t hidden[MOST_PASSWORD];
    size_t hidden_length = hide(hidden, password, secret, authenticator);
    static const uint8_t unsigned_yet[MD5_OCTETS];
    struct md5 md5 = secret->key.inner;

    request->octets[0] = ACCESS_REQUEST;
    request->octets[1] = identifier;
    memcpy(request->octets + AUTHENTICATOR_AT, authenticator, AUTHENTICATOR_OCTETS);
    request->length = HEADER;
    if (!hidden_length || !add(request, MESSAGE_AUTHENTICATOR, unsigned_yet, sizeof unsigned_yet) ||
        !add(request, USER_NAME, user, strlen(user)) || !add(request, USER_PASSWORD, hidden, hidden_length) ||
        !add(request, NAS_IDENTIFIER, NAS, sizeof NAS - 1) ||
        (state && !add(request, STATE, state->octets, state->length)))
        return false;
    request->octets[2] = (uint8_t)(request->length >> 8);
    request->octets[3] = (uint8_t)request->length;
    md5_add(&md5, request->octets, request->length);
    hmac_end(&secret->key, &md5, request->octets + HEADER + 2);
    return true;
}

/* --- replies */

/* Where the value of the one attribute of this type begins; 0 if there is none, or several, or the packet is torn. */
static size_t find(const uint8_t *packet, size_t length, uint8_t type)
{
    size_t found = 0;

    for (size_t at = HEADER; at < length; at += packet[at + 1]) {
        if (at + 2 > length || packet[at + 1] < 2 || at + packet[at + 1] > length)
            return 0;
        if (packet[at] == type) {
            if (found)
                return 0;
            found = at + 2;
        }
    }
    return found;
}

/* RFC 2865 3: over the reply with the Request Authenticator in its place, and the secret. */
static bool response_authenticator_is_right(const uint8_t *reply, size_t length, const uint8_t *asked,
                                            const struct secret *secret)
{
    struct md5 md5;
    uint8_t digest[MD5_OCTETS];

    md5_begin(&md5);
    md5_add(&md5, reply, AUTHENTICATOR_AT);
    md5_add(&md5, asked, AUTHENTICATOR_OCTETS);
    md5_add(&md5, reply + HEADER, length - HEADER);
    md5_add(&md5, secret->octets, secret->length);
    md5_end(&md5, digest);
    return memcmp(digest, reply + AUTHENTICATOR_AT, sizeof digest) == 0;
}

/* RFC 3579 3.2: the same, with zeroes in place of the Message-Authenticator, as HMAC. */
static bool message_authenticator_is_right(const uint8_t *reply, size_t length, const uint8_t *asked,
                                           const struct secret *secret)
{
    static const uint8_t zeroes[MD5_OCTETS];
    size_t at = find(reply, length, MESSAGE_AUTHENTICATOR);
    struct md5 md5 = secret->key.inner;
    uint8_t mac[MD5_OCTETS];

    if (!at || reply[at - 1] != MD5_OCTETS + 2)
        return false;
    md5_add(&md5, reply, AUTHENTICATOR_AT);
    md5_add(&md5, asked, AUTHENTICATOR_OCTETS);
    md5_add(&md5, reply + HEADER, at - HEADER);
    md5_add(&md5, zeroes, sizeof zeroes);
    md5_add(&md5, reply + at + MD5_OCTETS, length - at - MD5_OCTETS);
    hmac_end(&secret->key, &md5, mac);
    return memcmp(mac, reply + at, sizeof mac) == 0;
}

bool reply_is_genuine(const uint8_t *reply, size_t length, const struct request *request,
                      const struct secret *secret)
{
    const uint8_t *asked = request->octets + AUTHENTICATOR_AT;

    return length >= HEADER && (size_t)(reply[2] << 8 | reply[3]) == length && reply[1] == request->octets[1] &&
           response_authenticator_is_right(reply, length, asked, secret) &&
           message_authenticator_is_right(reply, length, asked, secret);
}

bool find_state(const uint8_t *reply, size_t length, struct state *state)
{
    size_t at = find(reply, length, STATE);

    if (!at)
        return false;
    state->length = (uint8_t)(reply[at - 1] - 2);
    memcpy(state->octets, reply + at, state->length);
    return true;
}
