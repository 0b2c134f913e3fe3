"""HOTP and TOTP written from RFC 4226 5.3 and RFC 6238 4.2, to compare the product with.

Rule: nothing here imports the product or its OTP library, so that a shared mistake cannot hide.
"""

import hmac


def hmac_of(key: bytes, counter: int, algorithm: str = "sha1") -> bytes:
    """HS = HMAC(K, C); the counter is 8 octets, high octet first (RFC 4226 5.1, 5.3 step 1)."""
    return hmac.digest(key, counter.to_bytes(8, "big"), algorithm)


def truncated(digest: bytes) -> int:
    """Dynamic truncation: 31 bits from where the low nibble of the last octet points (RFC 4226 5.3 step 2, 5.4)."""
    offset = digest[-1] & 0x0F
    return int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF


def hotp(key: bytes, counter: int, digits: int = 6, algorithm: str = "sha1") -> str:
    return str(truncated(hmac_of(key, counter, algorithm)) % 10**digits).zfill(digits)


def totp(key: bytes, now: float, digits: int = 6, algorithm: str = "sha1", period: int = 30) -> str:
    return hotp(key, int(now) // period, digits, algorithm)
