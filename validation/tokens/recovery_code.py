"""Recovery codes: a sheet of codes, each good once. Ours hold ten of 80 random bits; sheets from elsewhere may come in
with an import, and hold the codes of eight digits that were left there.

Rules: a sheet is one token. Its key is a salt and one HMAC for each code, so the codes cannot be read back; the
moving factor is the set of used codes as bits, which only grows. A sheet is no registration: it neither stops nor
replaces onboarding. A code of eight digits can be guessed, so a wrong one costs as many guesses as codes are left.
"""

import hashlib
import hmac

from validation.errors import BadInput
from validation.model import Token
from validation.tokens.kind import NOTHING, Comparison, Match, Window, well_formed

COUNT = 10
LENGTH = 16  # Base32 characters of 80 bits
SALT_OCTETS = 16
MOST_FOREIGN = 32  # codes of a sheet from elsewhere; the set of used ones must fit into a moving factor
FOREIGN_DIGITS = 8
OWN_DIGITS = 6  # what a sheet of ours has in `Token.digits`, where it means nothing
_MAC_OCTETS = 32
_ONE = range(1)  # a guess at 80 bits costs next to nothing
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def sheet_key(salt: bytes, codes: tuple[str, ...]) -> bytes:
    """What is kept of `codes`."""
    return salt + b"".join(_mac(salt, code) for code in codes)


def shown(code: str) -> str:
    """A code in groups of four, as it is handed out."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


def count(token: Token) -> int:
    """How many codes the sheet has, used ones included."""
    return (len(token.key) - SALT_OCTETS) // _MAC_OCTETS


def left(token: Token) -> int:
    """How many codes of the sheet are unused."""
    return count(token) - token.moving_factor.bit_count()


def is_foreign(token: Token) -> bool:
    """A sheet from elsewhere: its codes are digits."""
    return token.digits == FOREIGN_DIGITS


def is_foreign_code(text: str) -> bool:
    return well_formed(text, FOREIGN_DIGITS)


class RecoveryCode:
    name = "recovery_code"
    is_registration = False

    def check(self, token: Token) -> None:
        possible = range(1, MOST_FOREIGN + 1) if is_foreign(token) else range(COUNT, COUNT + 1)
        if count(token) not in possible or len(token.key) != SALT_OCTETS + count(token) * _MAC_OCTETS:
            raise BadInput("recovery codes: made by twofold recovery issue alone")

    def lengths(self, token: Token) -> tuple[int, ...]:
        return (FOREIGN_DIGITS if is_foreign(token) else LENGTH,)

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison:
        code = passcode.upper()
        if is_foreign(token):
            return _compare(token, code, range(left(token))) if is_foreign_code(passcode) else NOTHING
        if len(code) != LENGTH or not _ALPHABET.issuperset(code):
            return NOTHING
        return _compare(token, code, _ONE)

    def resync(self, token: Token, first: str, second: str, now: float, window: Window) -> Match | None:
        raise BadInput("recovery codes do not run away")

    def uri(self, token: Token, account: str, issuer: str) -> str:
        raise BadInput("recovery codes have no QR code; they are printed")


def _compare(token: Token, code: str, against: range) -> Comparison:
    salt, macs = token.key[:SALT_OCTETS], token.key[SALT_OCTETS:]
    wanted = _mac(salt, code)
    found = Comparison(against=against)
    for number in range(count(token)):
        mac = macs[number * _MAC_OCTETS : (number + 1) * _MAC_OCTETS]
        if hmac.compare_digest(mac, wanted):
            bit = 1 << number
            used = bool(token.moving_factor & bit)
            match = None if used else Match(token.moving_factor | bit, token.drift)
            found = Comparison(match, used, against)
    return found


def _mac(salt: bytes, code: str) -> bytes:
    return hmac.digest(salt, code.encode(), hashlib.sha256)
