"""The `otpauth://` address (Google Authenticator key URI format) that apps scan.

Rule: what the address says and what the token does must be the same, so defaults are written out too.
"""

import base64
from urllib.parse import quote, urlencode

from validation.errors import BadInput
from validation.model import Token


def otpauth(token: Token, account: str, issuer: str, **moving: int) -> str:
    """`otpauth://KIND/ISSUER:ACCOUNT?secret=…`; `moving` is `period` for TOTP or `counter` for HOTP.

    A colon separates issuer and account, so one inside either is sent encoded; blanks are `%20`, since several apps
    show `+` as it stands.
    """
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    query = {
        "secret": base32(token.key),
        "issuer": issuer,
        "algorithm": token.algorithm.upper(),
        "digits": token.digits,
        **moving,
    }
    return f"otpauth://{token.kind}/{label}?{urlencode(query, quote_via=quote)}"


def base32(key: bytes) -> str:
    """The key as apps want it: RFC 4648 Base32, upper case, without padding."""
    return base64.b32encode(key).decode("ascii").rstrip("=")


def grouped(key: bytes) -> str:
    """The key for typing: Base32 in groups of four."""
    text = base32(key)
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_HEX = frozenset("0123456789ABCDEF")


def key_from_text(text: str) -> bytes:
    """A key as people paste it: Base32 in any case, with blanks, dashes or padding. Raises BadInput, which names the
    first character that does not fit, and never the key."""
    typed = "".join(text.split()).replace("-", "").rstrip("=")
    cleaned = typed.upper()
    if not cleaned:
        raise BadInput("key: empty; Base32 (A-Z and 2-7) is expected")
    for char in typed:
        if not char.isascii() or char.upper() not in _ALPHABET:  # in capitals, ß is SS
            hint = "; it looks like hex, which must be converted first" if set(cleaned) <= _HEX else ""
            raise BadInput(f"key: the character {char!r} does not occur in Base32 (A-Z and 2-7){hint}")
    if len(cleaned) % 8 in (1, 3, 6):
        raise BadInput(f"key: {len(cleaned)} Base32 characters are not a whole number of octets; is one missing?")
    return base64.b32decode(cleaned + "=" * (-len(cleaned) % 8))
