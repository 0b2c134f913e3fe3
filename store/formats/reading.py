"""What a token file holds, in one form for all formats; and how a format is chosen.

Rules: a reader turns octets into items and touches nothing else: no store, no clock, no network. It never guesses
without saying so (`notes`). What is wrong with one row is a `BadRow` and the rest is read on; what is wrong with the
file as a whole raises BadInput. No text here holds a key, a password or a part of one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

MOST_OCTETS = 64 * 1024 * 1024  # of one text file; PSKC takes more
MOST_OF_ANY = 256 * 1024 * 1024
HASHES_BY_KEY = {
    20: "sha1",
    32: "sha256",
    64: "sha512",
}  # what makers mean by a key of so many octets (RFC 6238 appendix)


@dataclass(frozen=True, slots=True)
class Seed:
    """One token as its file describes it; what the file does not say has the default of its kind.

    `moving_factor` and `drift` mean what they mean for a stored token (`validation.model.Token`). `place` is for
    people: "line 7", or "KeyPackage 3 (SerialNo 987654321)".
    """

    place: str
    kind: str  # totp, hotp or yubico_otp, whose key is AES key and private id
    key: bytes = field(repr=False)
    serial: str = ""  # "": the file gives none
    digits: int = 6
    period: int = 30
    algorithm: str = "sha1"
    moving_factor: int = 0
    drift: int = 0
    look_ahead: int | None = None
    public_id: str = ""
    user: str = ""  # whose it is; assigned at once
    label: str = ""
    starts_at: float | None = None  # epoch seconds: not usable before
    expires_at: float | None = None  # not usable from then on
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)  # unused ones that came with it
    period_assumed: bool = False  # the file does not say which
    disabled: bool = False  # out of use for the time being
    origin: str = ""  # "self" or "admin"; "": the file does not say
    notes: tuple[str, ...] = ()  # what was taken for granted, and what could not be carried over


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that is no OTP token, and not meant to be one."""

    place: str
    what: str  # "a static password", "a log entry of ..."


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that should be a token and cannot be read. `text` says what is wrong and what to do, never a secret."""

    place: str
    field: str
    text: str
    serial: str = ""


Item: TypeAlias = Seed | Skipped | BadRow


@dataclass(frozen=True, slots=True)
class Contents:
    """All of a file, in its order."""

    format: str
    items: tuple[Item, ...]
    facts: tuple[str, ...] = ()  # "MAC verified", "manufacturer Feitian"


@dataclass(frozen=True, slots=True)
class Unlock:
    """What opens an encrypted file; asked for only if one is."""

    key: Callable[[], bytes | None] = field(default=lambda: None, repr=False)
    password: Callable[[], str | None] = field(default=lambda: None, repr=False)


class Format(Protocol):
    name: str  # as --format takes it
    title: str  # as people read it

    def fits(self, octets: bytes, file_name: str) -> bool:
        """Whether the content looks like this format; the name of the file only where the content says nothing."""

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        """Raises BadInput about the file as a whole."""


def infer_hash(key: bytes) -> tuple[str, tuple[str, ...]]:
    """The hash that a key of this length usually goes with, and the note that this was taken for granted."""
    found = HASHES_BY_KEY.get(len(key), "sha1")
    if found == "sha1":
        return found, ()
    return found, (f"{found}, because the key has {len(key)} octets; the file does not say",)


def named(formats: Iterable[Format], name: str) -> Format | None:
    return next((one for one in formats if one.name == name), None)
