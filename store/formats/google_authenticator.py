"""`~/.google_authenticator`, the file of google-authenticator-libpam: one token, with its state and scratch codes.

    BASE32KEY
    " TOTP_AUTH                     time based, or " HOTP_COUNTER n: the next counter
    " STEP_SIZE n                   30 if missing
    " DISALLOW_REUSE n n n          time steps whose codes were used
    " TIME_SKEW n                   steps the token is off
    12345678                        scratch codes that are left

Rules: codes are SHA-1 with 6 digits. What was used there is not accepted here. Rate limit and window are the file's
way to say what policies say here, and are not carried over. Whose file it is, the file does not say.
"""

import re

from store.formats import fields
from store.formats.fields import Bad, Entry, contents, items_of
from store.formats.keys import key_from_base32
from store.formats.lines import content_of
from store.formats.reading import Contents, Seed, Skipped, Unlock

_OPTION = re.compile(r'"\s+([A-Z0-9_]+)(?:\s+(.*))?')
_SCRATCH = re.compile(r"[0-9]{8}")
_CARRIED = frozenset({"TOTP_AUTH", "HOTP_COUNTER", "STEP_SIZE", "DISALLOW_REUSE", "TIME_SKEW"})
_KNOWN = _CARRIED | {"RATE_LIMIT", "WINDOW_SIZE"}
_PASSING = re.compile(r"RESETTING_TIME_SKEW|LAST[0-9]")  # what the module notes down for itself


class GoogleAuthenticator:
    name = "google-authenticator"
    title = "~/.google_authenticator (google-authenticator-libpam)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        options = (_OPTION.fullmatch(line) for _, line in content_of(octets))
        return any(found and found[1] in _KNOWN for found in options)

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        lines = list(content_of(octets))
        found = [Entry(f"line {lines[0][0]}", {"key": lines[0][1], **_options(lines)})] if lines else []
        codes = tuple(line for _, line in lines[1:] if _SCRATCH.fullmatch(line))
        unread = [number for number, line in lines[1:] if not (_SCRATCH.fullmatch(line) or _OPTION.fullmatch(line))]

        def made(entry: Entry) -> Seed | Skipped:
            return _item(entry, codes, unread)

        return contents(self.name, items_of(found, made))


def _options(lines: list[tuple[int, str]]) -> dict[str, str]:
    found = (_OPTION.fullmatch(line) for _, line in lines[1:])
    return {match[1]: match[2] or "" for match in found if match}


def _item(entry: Entry, codes: tuple[str, ...], unread: list[int]) -> Seed | Skipped:
    if "OTP_DISABLED" in entry.columns:
        return Skipped(entry.place, "a token that is switched off for its user (OTP_DISABLED)")
    hotp = "HOTP_COUNTER" in entry.columns
    if not hotp and "TOTP_AUTH" not in entry.columns:
        raise Bad("TOTP_AUTH", "neither TOTP_AUTH nor HOTP_COUNTER is there; the file accepts no code at all")
    key = key_from_base32(entry.get("key"), "key")
    start, drift, notes = _counter(entry) if hotp else _steps(entry)
    return Seed(
        entry.place,
        "hotp" if hotp else "totp",
        key,
        period=30 if hotp else fields.period(entry.get("STEP_SIZE") or "30", "STEP_SIZE"),
        moving_factor=start,
        drift=drift,
        recovery_codes=codes,
        notes=(*notes, *_left_behind(entry, unread)),
    )


def _counter(entry: Entry) -> tuple[int, int, tuple[str, ...]]:
    start = fields.counter(entry.get("HOTP_COUNTER"), "HOTP_COUNTER")
    if not start:
        raise Bad("HOTP_COUNTER", "0 switches the token off; the first counter is 1")
    return start, 0, ()


def _steps(entry: Entry) -> tuple[int, int, tuple[str, ...]]:
    used = [fields.counter(each, "DISALLOW_REUSE") for each in entry.get("DISALLOW_REUSE").split()]
    drift = fields.signed(entry.get("TIME_SKEW") or "0", "TIME_SKEW")
    if "DISALLOW_REUSE" not in entry.columns:
        return 0, drift, ("codes could be used again there; which ones were used is not known",)
    return max(used, default=-1) + 1, drift, ()


def _left_behind(entry: Entry, unread: list[int]) -> tuple[str, ...]:
    options = sorted(set(entry.columns) - _CARRIED - {"key"})
    left = [name for name in options if not _PASSING.fullmatch(name)]
    notes = [f"not carried over: {', '.join(left)}"] if left else []
    notes += [f"line {number} is neither an option nor a scratch code, and was not read" for number in unread]
    return tuple(notes)
