"""Logs of the Yubico personalization tool, in both layouts, and ykksm files (`# ykksm 1`).

    traditional   Yubico OTP | OATH-HOTP | ..., time, slot, public id, private id, key, old and new access code,
                  3 x modhex, digits, moving factor, ...
    Yubico, ykksm serial, public id, private id or moving factor, key, access code, time, ...

Rules: a row says what it is, so layouts may be mixed. A Yubico OTP keeps AES key and private id together. Static
passwords, challenge-response slots and entries of the log itself are named and left alone. The Yubico layout has no
digits and does not tell OATH-HOTP from HMAC challenge-response: what was taken for granted is said.
"""

import re
from collections.abc import Iterator

from store.formats import fields
from store.formats.fields import Bad, Entry, contents, items_of
from store.formats.keys import key_from_hex
from store.formats.lines import Row, lines_of, rows_of
from store.formats.reading import Contents, Seed, Skipped, Unlock
from validation.tokens.yubico_otp import AES_OCTETS, MAX_PUBLIC_ID, PRIVATE_ID_OCTETS

_TRADITIONAL = ("type", "time", "slot", "public id", "private id", "key", "old code", "new code")
_TRADITIONAL_REST = ("m1", "m2", "m3", "digits", "moving factor", "p1", "p2", "ref", "button", "short")
_TRADITIONAL_COLUMNS = _TRADITIONAL + _TRADITIONAL_REST
_YUBICO_COLUMNS = ("serial", "public id", "third", "key", "new code", "time", "accessed", "flags")
_OTHER_ROWS = {
    "logging start": "an entry of the log, no slot",
    "configuration update": "an entry of the log, no slot",
    "configuration swap": "an entry of the log, no slot",
    "unknown programming mode": "an entry of the log, no slot",
    "static password": "a static password",
    "challenge-response": "a challenge-response slot",
}
_OTP, _HOTP = "yubico otp", "oath-hotp"
_YKKSM = re.compile(r"#\s*ykksm\s+1\b", re.IGNORECASE)
_SERIAL = re.compile(r"[0-9]{1,10}")
_PRIVATE_ID = re.compile(r"[0-9a-f]{12}", re.IGNORECASE)
_MODHEX = frozenset("cbdefghijklnrtuv")


class YubicoCsv:
    name = "yubico-csv"
    title = "Yubico personalization log or ykksm file"

    def fits(self, octets: bytes, file_name: str) -> bool:
        if any(_YKKSM.match(line.strip()) for _, line in lines_of(octets)):
            return True
        return any(_is_traditional(row) or _is_yubico(row) for row in rows_of(octets))

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        return contents(self.name, items_of(_entries(octets), _item))


def _is_traditional(row: Row) -> bool:
    first = row.fields[0].lower()
    return len(row.fields) >= 2 and (first in (_OTP, _HOTP) or _other(first) != "")


def _is_yubico(row: Row) -> bool:
    """serial, public id, private id or counter or nothing, key, access code, time."""
    if len(row.fields) < 6 or not (row.fields[0].isdigit() or not row.fields[0]):
        return False
    third = row.fields[2]
    return set(row.fields[1]) <= _MODHEX and (not third or third.isdigit() or _PRIVATE_ID.fullmatch(third) is not None)


def _other(first: str) -> str:
    return next((what for start, what in _OTHER_ROWS.items() if first.startswith(start)), "")


def _entries(octets: bytes) -> Iterator[Entry]:
    for row in rows_of(octets):
        place = f"line {row.line}"
        if _is_traditional(row):
            yield Entry(place, dict(zip(_TRADITIONAL_COLUMNS, _one_time(row.fields), strict=False)))
        else:
            found = dict(zip(_YUBICO_COLUMNS, _without_comment(row.fields), strict=False))
            yield Entry(place, found, found["serial"] if _SERIAL.fullmatch(found["serial"]) else "")


def _one_time(row: tuple[str, ...]) -> tuple[str, ...]:
    """In some countries the time has a comma in it."""
    extra = max(0, len(row) - len(_TRADITIONAL_COLUMNS))
    return (row[0], " ".join(row[1 : 2 + extra]), *row[2 + extra :])


def _without_comment(row: tuple[str, ...]) -> tuple[str, ...]:
    """ykksm allows a comment after the last field."""
    at = next((number for number, each in enumerate(row) if "#" in each), None)
    return row if at is None else (*row[:at], row[at].partition("#")[0].strip())


def _item(entry: Entry) -> Seed | Skipped:
    if "type" in entry.columns:
        return _traditional(entry)
    if len(entry.columns) < 4:
        raise Bad("row", "not a row of this log; it has too few columns")
    if entry.get("serial") and not entry.serial:
        raise Bad("serial", "a YubiKey has a number of up to 10 digits")
    if not entry.get("third"):
        return Skipped(entry.place, "a static password")
    if _PRIVATE_ID.fullmatch(entry.get("third")):
        return _otp(entry, entry.get("third"), "")
    # The layout has no column for the kind: a slot with a counter is taken for OATH-HOTP.
    said = () if entry.get("public id") else ("taken for OATH-HOTP; a challenge-response slot looks the same here",)
    start = fields.whole(entry.get("third"), "moving factor", 0, 2**32)
    return _hotp(entry, 6, start, "", ("the file does not say, so: 6 digits", *said))


def _traditional(entry: Entry) -> Seed | Skipped:
    first = entry.get("type").lower()
    if first not in (_OTP, _HOTP):
        return Skipped(entry.place, _other(first))
    slot = f"slot {entry.get('slot')}" if entry.get("slot") in ("1", "2") else ""
    if first == _HOTP:
        start = fields.whole(entry.get("moving factor") or "0", "moving factor", 0, 2**32)
        return _hotp(entry, fields.digits(entry.get("digits") or "6"), start, slot, ())
    if not entry.get("public id") and not entry.get("private id"):
        return Skipped(entry.place, "a Yubico OTP slot without any id, as it is made for challenge-response")
    return _otp(entry, entry.get("private id"), slot)


def _hotp(entry: Entry, digits: int, start: int, slot: str, notes: tuple[str, ...]) -> Seed:
    identifier = entry.get("public id")
    typed = ("the key may type its identifier before the passcode; switch that off, or type the digits alone",)
    return Seed(
        entry.place,
        "hotp",
        key_from_hex(entry.get("key"), "key"),
        serial=entry.serial,
        digits=digits,
        moving_factor=start,
        label=" ".join(filter(None, (_public_id(identifier), slot))),
        notes=(*notes, *(typed if identifier else ()), *_left_behind(entry)),
    )


def _otp(entry: Entry, private_id: str, slot: str) -> Seed:
    aes = key_from_hex(entry.get("key"), "key")
    if len(aes) != AES_OCTETS:
        raise Bad("key", f"{len(aes)} octets; a Yubico OTP has an AES key of {AES_OCTETS}")
    own = key_from_hex(private_id, "private id")
    if len(own) != PRIVATE_ID_OCTETS:
        raise Bad("private id", f"{len(own)} octets; {PRIVATE_ID_OCTETS} are expected")
    return Seed(
        entry.place,
        "yubico_otp",
        aes + own,
        serial=entry.serial,
        public_id=_public_id(entry.get("public id")),
        label=slot,
        notes=_left_behind(entry),
    )


def _public_id(text: str) -> str:
    found = text.lower()
    if len(found) > MAX_PUBLIC_ID or len(found) % 2 or not set(found) <= _MODHEX:
        raise Bad("public id", f"up to {MAX_PUBLIC_ID} modhex characters ({''.join(sorted(_MODHEX))}) are expected")
    return found


def _left_behind(entry: Entry) -> tuple[str, ...]:
    notes = []
    if entry.get("new code").strip("0"):
        notes.append("the access code of the slot is not carried over; keep it elsewhere")
    if entry.get("flags").strip("0"):
        notes.append("the row has programming flags; the slot may hold a static password or challenge-response")
    return tuple(notes)
