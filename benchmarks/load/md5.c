#include "md5.h"

#include <string.h>

static const uint32_t SINES[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
static const uint8_t SHIFTS[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static uint32_t rotated(uint32_t value, unsigned by)
{
    return value << by | value >> (32 - by);
}

/* Little-endian machines alone: the build asserts it. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they lie in memory");

static void block(uint32_t state[4], const uint8_t *octets)
{
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];

    memcpy(words, octets, sizeof words);
#pragma GCC unroll 64
    for (unsigned i = 0; i < 64; i++) {
        uint32_t mixed;
        unsigned at;

        if (i < 16) {
            mixed = d ^ (b & (c ^ d));
            at = i;
        } else if (i < 32) {
            mixed = c ^ (d & (b ^ c));
            at = (5 * i + 1) % 16;
        } else if (i < 48) {
            mixed = b ^ c ^ d;
            at = (3 * i + 5) % 16;
        } else {
            mixed = c ^ (b | ~d);
            at = 7 * i % 16;
        }
        mixed += a + SINES[i] + words[at];
        a = d;
        d = c;
        c = b;
        b += rotated(mixed, SHIFTS[i / 16][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void md5_begin(struct md5 *md5)
{
    static const uint32_t first[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

    memcpy(md5->state, first, sizeof first);
    md5->length = 0;
}

void md5_add(struct md5 *md5, const void *octets, size_t length)
{
    const uint8_t *next = octets;
    size_t filled = md5->length % 64;

    md5->length += length;
    while (length) {
        size_t some = 64 - filled < length ? 64 - filled : length;

        memcpy(md5->waiting + filled, next, some);
        next += some;
        length -= some;
        filled = (filled + some) % 64;
        if (!filled)
            block(md5->state, md5->waiting);
    }
}

void md5_end(struct md5 *md5, uint8_t digest[MD5_OCTETS])
{
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = md5->length * 8;

    md5_add(md5, padding, 1 + (119 - md5->length % 64) % 64);
    md5_add(md5, &bits, sizeof bits);
    memcpy(digest, md5->state, MD5_OCTETS);
}

void hmac_key(struct hmac *key, const void *octets, size_t length)
{
    uint8_t padded[64] = {0}, inner[64], outer[64];

    if (length > sizeof padded) {
        md5_begin(&key->inner);
        md5_add(&key->inner, octets, length);
        md5_end(&key->inner, padded);
    } else {
        memcpy(padded, octets, length);
    }
    for (size_t i = 0; i < sizeof padded; i++) {
        inner[i] = padded[i] ^ 0x36;
        outer[i] = padded[i] ^ 0x5c;
    }
    md5_begin(&key->inner);
    md5_add(&key->inner, inner, sizeof inner);
    md5_begin(&key->outer);
    md5_add(&key->outer, outer, sizeof outer);
}

void hmac_end(const struct hmac *key, struct md5 *inner, uint8_t mac[MD5_OCTETS])
{
    struct md5 outer = key->outer;
    uint8_t digest[MD5_OCTETS];

    md5_end(inner, digest);
    md5_add(&outer, digest, sizeof digest);
    md5_end(&outer, mac);
}
