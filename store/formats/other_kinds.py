"""What privacyIDEA and LinOTP call the tokens that are neither HOTP nor TOTP.

Rules: these are no OTP tokens of ours, so their rows are named and left alone. A Yubico OTP is one, but cannot be read
from either export. A word that is no kind at all means that the columns are shifted; it is not repeated, since it may
be a piece of the key.
"""

import re

from store.formats.fields import Bad
from store.formats.reading import Skipped

_KINDS = (
    *("4eyes", "applspec", "certificate", "daypassword", "email", "forward", "indexedsecret", "lost", "motp", "ocra"),
    *("ocra2", "paper", "passkey", "password", "push", "pw", "qr", "question", "radius", "registration", "remote"),
    *("sms", "spass", "sshkey", "tan", "tiqr", "u2f", "vasco", "voice", "webauthn"),
)
_YUBICO = ("yubikey", "yubico")
_WORD = re.compile(r"[a-z]{2,16}")


def other_kind(place: str, kind: str) -> Skipped:
    """Raises Bad for what cannot be read, and for what is no kind."""
    if kind in _YUBICO:
        raise Bad("type", "a Yubico OTP, whose private id is not in this file; take the log it was made with")
    if kind in _KINDS:
        return Skipped(place, f"a token of kind {kind}")
    if not _WORD.fullmatch(kind):
        raise Bad("type", "the name of a kind of token is expected; are all columns there?")
    return Skipped(place, "a token of another kind than hotp and totp")
