/* MD5 (RFC 1321) and HMAC-MD5 (RFC 2104), which RADIUS is made of. */
#ifndef MD5_H
#define MD5_H

#include <stddef.h>
#include <stdint.h>

#define MD5_OCTETS 16

struct md5 {
    uint32_t state[4];
    uint64_t length;
    uint8_t waiting[64];
};

void md5_begin(struct md5 *md5);
void md5_add(struct md5 *md5, const void *octets, size_t length);
void md5_end(struct md5 *md5, uint8_t digest[MD5_OCTETS]);

/* A key, its two blocks hashed already. */
struct hmac {
    struct md5 inner, outer;
};

void hmac_key(struct hmac *key, const void *octets, size_t length);
void hmac_end(const struct hmac *key, struct md5 *inner, uint8_t mac[MD5_OCTETS]);

#endif
