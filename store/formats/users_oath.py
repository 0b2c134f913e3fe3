"""`users.oath` of the OATH Toolkit (pam_oath, also behind FreeRADIUS), and of mod_authn_otp.

    TYPE  USER  PIN  SEED  [OFFSET  LAST_OTP  LAST_TIME]

Rules: TYPE is HOTP, HOTP/E[/DIGITS] or HOTP/T<seconds>[/DIGITS]; seeds are hex, SHA-1 always; a user may have several
lines. For HOTP, OFFSET is the counter of LAST_OTP, so the next one comes after it. For TOTP it is how many steps the
token was off; LAST_TIME is in the local time of a host we do not know, so the step is looked for with the help of
LAST_OTP itself. A code that was used there is not accepted here.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from store.formats import fields
from store.formats.fields import Bad, Entry, contents, items_of
from store.formats.keys import key_from_hex
from store.formats.lines import content_of
from store.formats.reading import Contents, Seed, Skipped, Unlock
from validation.model import Token
from validation.tokens.hotp import value_at

_TYPE = re.compile(r"HOTP(?:/E|/T(?P<step>[0-9]{1,4}))?(?:/(?P<digits>[0-9]))?")
_COLUMNS = ("type", "user", "pin", "seed", "offset", "last otp", "last time")
_TIME = "%Y-%m-%dT%H:%M:%SL"
_QUARTER = 900  # seconds; zones differ by quarters of an hour
_ZONES = range(-12 * 3600, 14 * 3600 + 1, _QUARTER)
_MOST_OFF = 10_000  # steps


class UsersOath:
    name = "users-oath"
    title = "users.oath of the OATH Toolkit (pam_oath)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        first = next(content_of(octets), (0, ""))[1].split()
        return len(first) >= 4 and (_TYPE.fullmatch(first[0]) is not None or first[0] == "MOTP")

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        return contents(self.name, items_of(_entries(octets), _item))


def _entries(octets: bytes) -> Iterator[Entry]:
    for number, line in content_of(octets):
        yield Entry(f"line {number}", dict(zip(_COLUMNS, line.split(), strict=False)))


def _item(entry: Entry) -> Seed | Skipped:
    if entry.get("type").upper().startswith("MOTP"):
        return Skipped(entry.place, "a Mobile-OTP token")
    found = _TYPE.fullmatch(entry.get("type"))
    if found is None:
        raise Bad("type", "not known; HOTP, HOTP/E, HOTP/T30 and HOTP/T60 are, with /6, /7 or /8 behind")
    return _seed(entry, found)


def _seed(entry: Entry, found: re.Match[str]) -> Seed:
    key = key_from_hex(entry.get("seed"), "seed")
    digits = fields.digits(found["digits"] or "6")
    step = fields.period(found["step"], "type") if found["step"] else 0
    start, drift, notes = _used_totp(entry, key, digits, step) if step else _used_hotp(entry)
    return Seed(
        entry.place,
        "totp" if step else "hotp",
        key,
        digits=digits,
        period=step or 30,
        moving_factor=start,
        drift=drift,
        user=entry.get("user"),
        notes=(*notes, *_pin(entry)),
    )


def _pin(entry: Entry) -> tuple[str, ...]:
    if entry.get("pin") in ("-", "+"):
        return ()
    return ("the static password of this line is not carried over; the first factor is checked elsewhere",)


def _used_hotp(entry: Entry) -> tuple[int, int, tuple[str, ...]]:
    if not entry.get("offset"):
        return 0, 0, ()
    used = fields.counter(entry.get("offset"), "offset")
    return (used + 1 if entry.get("last otp") else used), 0, ()


def _used_totp(entry: Entry, key: bytes, digits: int, step: int) -> tuple[int, int, tuple[str, ...]]:
    if not entry.get("last time"):
        return 0, 0, ()
    off = fields.signed(entry.get("offset"), "offset", _MOST_OFF)
    local = _local(entry.get("last time"))
    token = Token(0, "", 0, "totp", key, digits=digits)
    last = entry.get("last otp")
    # Old versions write how far the token was off without a sign.
    tried = {(int(local - zone) // step + one, one) for zone in _ZONES for one in (off, -off)}
    right = [(at, one) for at, one in tried if at >= 0 and value_at(token, at) == last]
    if right:
        used, drift = max(right)
        return used + 1, drift, ()
    said = "the last code does not fit its time; every code up to that time, read as UTC, counts as used"
    return max(0, int(local) // step + abs(off) + 1), off, (said,)


def _local(text: str) -> float:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        raise Bad("last time", "a time like 2026-01-31T23:59:00L is expected") from None
