"""Recovery codes: a sheet of ten codes of 80 random bits, each good once.

Rules: a sheet is one token. Its key is a salt and one HMAC for each code, so the codes cannot be read back; the
moving factor is the set of used codes as bits, which only grows. A sheet is no registration: it neither stops nor
replaces onboarding.
"""

import hashlib
import hmac

from validation.errors import BadInput
from validation.model import Token
from validation.tokens.kind import NOTHING, Comparison, Match, Window

COUNT = 10
LENGTH = 16  # Base32 characters of 80 bits
SALT_OCTETS = 16
_MAC_OCTETS = 32
_ONE = range(1)  # a guess at 80 bits costs next to nothing
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def sheet_key(salt: bytes, codes: tuple[str, ...]) -> bytes:
    """What is kept of `codes`."""
    return salt + b"".join(_mac(salt, code) for code in codes)


def shown(code: str) -> str:
    """A code in groups of four, as it is handed out."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


def left(token: Token) -> int:
    """How many codes of the sheet are unused."""
    return COUNT - token.moving_factor.bit_count()


class RecoveryCode:
    name = "recovery_code"
    is_registration = False

    def check(self, token: Token) -> None:
        if len(token.key) != SALT_OCTETS + COUNT * _MAC_OCTETS:
            raise BadInput("recovery codes: made by twofold recovery issue alone")

    def lengths(self, token: Token) -> tuple[int, ...]:
        return (LENGTH,)

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison:
        code = passcode.upper()
        if len(code) != LENGTH or not _ALPHABET.issuperset(code):
            return NOTHING
        salt, macs = token.key[:SALT_OCTETS], token.key[SALT_OCTETS:]
        wanted = _mac(salt, code)
        found = Comparison(against=_ONE)
        for number in range(COUNT):
            mac = macs[number * _MAC_OCTETS : (number + 1) * _MAC_OCTETS]
            if hmac.compare_digest(mac, wanted):
                bit = 1 << number
                used = bool(token.moving_factor & bit)
                match = None if used else Match(token.moving_factor | bit, token.drift)
                found = Comparison(match, used, _ONE)
        return found

    def resync(self, token: Token, first: str, second: str, now: float, window: Window) -> Match | None:
        raise BadInput("recovery codes do not run away")

    def uri(self, token: Token, account: str, issuer: str) -> str:
        raise BadInput("recovery codes have no QR code; they are printed")


def _mac(salt: bytes, code: str) -> bytes:
    return hmac.digest(salt, code.encode(), hashlib.sha256)
