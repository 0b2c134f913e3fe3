"""HOTP, RFC 4226: a counter that moves on both sides.

Rules: success at counter c sets the next counter to c+1 (7.2); c … c+look_ahead are compared (7.4); failures move
nothing. What a login is held against is computed here (5.3). What is shown, and searched through by hundreds to
resynchronise, is pyotp's, so the two are held against each other wherever a shown value is typed; its Base32 door
refuses short imported keys, so keys reach it as octets.
"""

import hashlib
import hmac
from functools import partial

import pyotp

from validation.errors import BadInput
from validation.model import Token
from validation.tokens.kind import (
    DIGITS,
    MAX_COUNTER,
    NOTHING,
    Comparison,
    Match,
    Window,
    check_common,
    consecutive,
    first_equal,
    likely_or_first,
    well_formed,
)
from validation.tokens.uri import otpauth

RESYNC_AHEAD = 1000  # counters; a button pressed in a pocket for years

_DIGESTS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha512": hashlib.sha512}
_MODULI = {digits: 10**digits for digits in DIGITS}


class _Generator(pyotp.HOTP):
    """pyotp's HOTP over raw octets. How short a key may be is decided when a token is made (`check_common`)."""

    min_secret_length_bits = 0

    def __init__(self, key: bytes, digits: int, algorithm: str) -> None:
        self._key = key
        super().__init__("", digits=digits, digest=_DIGESTS[algorithm])

    def byte_secret(self) -> bytes:
        return self._key


def value_at(token: Token, counter: int) -> str:
    """The HOTP value of `token` at `counter`, with its leading zeros (RFC 4226 5.3; RFC 6238 1.2 for other hashes)."""
    mac = hmac.digest(token.key, counter.to_bytes(8, "big"), _DIGESTS[token.algorithm])
    offset = mac[-1] & 0x0F
    truncated = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(truncated % _MODULI[token.digits]).zfill(token.digits)


def shown_at(token: Token, counter: int) -> str:
    """The same, as an app or a device shows it."""
    return _Generator(token.key, token.digits, token.algorithm).at(counter)


class Hotp:
    name = "hotp"
    is_registration = True

    def lengths(self, token: Token) -> tuple[int, ...]:
        return (token.digits,)

    def check(self, token: Token) -> None:
        check_common(token)
        if not 1 <= token.period <= 120:  # it plays no part, but the store keeps one within these bounds
            raise BadInput(f"period: {token.period} s is not possible, and a counter token needs none: leave it out")

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison:
        if not well_formed(passcode, token.digits):
            return NOTHING
        value = partial(value_at, token)
        counter = token.moving_factor
        look_ahead = window.look_ahead if token.look_ahead is None else token.look_ahead
        ahead = range(counter, min(counter + look_ahead + 1, MAX_COUNTER))
        found = likely_or_first(passcode, counter, ahead, value)
        if found is not None:
            return Comparison(Match(found + 1, token.drift), against=ahead)
        behind = range(max(0, counter - look_ahead - 1), counter)
        return Comparison(used=first_equal(passcode, behind, value) is not None, against=ahead)

    def resync(self, token: Token, first: str, second: str, now: float, window: Window) -> Match | None:
        if not (well_formed(first, token.digits) and well_formed(second, token.digits)):
            return None
        value = _Generator(token.key, token.digits, token.algorithm).at
        ahead = range(token.moving_factor, min(token.moving_factor + RESYNC_AHEAD, MAX_COUNTER - 1))
        found = consecutive(first, second, ahead, value)
        return Match(found + 2, token.drift) if found is not None else None

    def uri(self, token: Token, account: str, issuer: str) -> str:
        return otpauth(token, account, issuer, counter=token.moving_factor)
