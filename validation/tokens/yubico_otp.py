"""Yubico OTP: AES-128 over a private id and a counter, written in modhex.

Rules: the last 32 characters are one AES block, what stands before is the public id and must be the token's.
Checksum and private id must fit, then (counter, use) must be greater than the stored pair, in that order; equal or
lower is a replay. The moving factor is counter * 256 + use of the last accepted code, plus one. Caps lock is
undone and the line end that keys type after a code taken off; other layouts are refused, and Dvorak is named.
"""

import hmac

from validation.errors import BadInput
from validation.model import Token
from validation.tokens.kind import NOTHING, Comparison, Match, Window

_MODHEX = "cbdefghijklnrtuv"
_MODHEX_ON_DVORAK = "jxe.uidchtnbpygk"  # what the same keys write on a US Dvorak keyboard
_TO_HEX = str.maketrans(_MODHEX, "0123456789abcdef")
_FROM_HEX = str.maketrans("0123456789abcdef", _MODHEX)
BLOCK_CHARACTERS = 32
MAX_PUBLIC_ID = 32  # characters of 16 octets
AES_OCTETS = 16
PRIVATE_ID_OCTETS = 6
USES_OF_SESSION = 256
_CRC_RESIDUE = 0xF0B8
_ONE = range(1)  # a guess at 128 bits costs next to nothing


def modhex(octets: bytes) -> str:
    return octets.hex().translate(_FROM_HEX)


class YubicoOtp:
    name = "yubico_otp"
    is_registration = True

    def check(self, token: Token) -> None:
        """The key is the AES key followed by the private id. Raises BadInput."""
        if len(token.key) != AES_OCTETS + PRIVATE_ID_OCTETS:
            raise BadInput("key: a Yubico OTP needs an AES key of 16 octets and a private id of 6")
        public = token.public_id
        if len(public) > MAX_PUBLIC_ID or len(public) % 2 or not set(public) <= set(_MODHEX):
            raise BadInput(f"public id: up to {MAX_PUBLIC_ID} characters of {_MODHEX}, an even number of them")

    def lengths(self, token: Token) -> tuple[int, ...]:
        return (len(token.public_id) + BLOCK_CHARACTERS,)

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison:
        typed = _typed(passcode)
        if len(typed) != self.lengths(token)[0] or not passcode.isascii():
            return NOTHING
        if not set(typed) <= set(_MODHEX):
            return Comparison(other_layout=set(typed) <= set(_MODHEX_ON_DVORAK))
        position = self._position(token, typed)
        if position is None:
            return NOTHING
        if position < token.moving_factor:
            return Comparison(used=True, against=_ONE)
        return Comparison(Match(position + 1, token.drift), against=_ONE)

    def _position(self, token: Token, typed: str) -> int | None:
        """Where the device stood when it wrote this; None if it did not."""
        if not hmac.compare_digest(typed[:-BLOCK_CHARACTERS], token.public_id):
            return None
        block = bytes.fromhex(typed[-BLOCK_CHARACTERS:].translate(_TO_HEX))
        clear = _decrypt(token.key[:AES_OCTETS], block)
        right_id = hmac.compare_digest(clear[:PRIVATE_ID_OCTETS], token.key[AES_OCTETS:])
        return _position(clear) if _crc16(clear) == _CRC_RESIDUE and right_id else None

    def resync(self, token: Token, first: str, second: str, now: float, window: Window) -> Match | None:
        """A code carries its counter, so that it cannot run away; but the store may have fallen behind (a restore)."""
        matches = [self.compare(token, passcode, now, window).match for passcode in (first, second)]
        if matches[0] is None or matches[1] is None or matches[1].moving_factor <= matches[0].moving_factor:
            return None
        return matches[1]

    def uri(self, token: Token, account: str, issuer: str) -> str:
        raise BadInput("a Yubico OTP cannot be scanned; its key is written into the device")


def _typed(passcode: str) -> str:
    return passcode.rstrip("\r\n").lower()


def _decrypt(key: bytes, block: bytes) -> bytes:
    # Imported here: a command that only prints its help should not wait for it.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # One block, so there is no mode to choose: ECB is what the device computes.
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305
    return decryptor.update(block) + decryptor.finalize()


def _position(clear: bytes) -> int:
    """(counter, use) as one number: session counter 15 bits, little endian, then 8 bits of use in the session."""
    counter = int.from_bytes(clear[6:8], "little") & 0x7FFF
    return (counter << 8) | clear[11]


def _crc16(octets: bytes) -> int:
    """CRC-16 of ISO 13239, as the device computes it; 0xF0B8 over a block that carries its own checksum."""
    crc = 0xFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = (crc >> 1) ^ (0x8408 if crc & 1 else 0)
    return crc
