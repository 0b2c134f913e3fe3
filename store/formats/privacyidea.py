"""privacyIDEA: what `pi-tokenjanitor find export` and the older `privacyidea-token-janitor ... --action export` write.

    --format pi     a Fernet text (gAAAA...) around JSON; the key is printed by the export and given with --key-file
    --format yaml   a list of tokens with their state
    --format csv    owner, serial, key, type, digits[, time step], without the counters of HOTP tokens
    --format pskc   is PSKC, and no business of this file

Rules: `count` is the first counter or step that is still acceptable, for both kinds; `timeShift` is the drift in
seconds. The owner, without his realm, is whose token it is. Yubikeys in AES mode cannot be read, since privacyIDEA
does not know their private ids. Tokens that are no OTP token, and revoked ones, are named and left alone.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import cast

from store.formats import fields, plain_yaml
from store.formats.fields import Entry, contents, items_of, nameable
from store.formats.keys import Encoding, decided
from store.formats.lines import Row, lines_of, rows_of, text_of
from store.formats.other_kinds import other_kind
from store.formats.reading import Contents, Seed, Skipped, Unlock, infer_hash
from validation.errors import BadInput

_CSV = ("owner", "serial", "otpkey", "type", "otplen", "timeStep")
_FERNET = re.compile(r"gAAAA[A-Za-z0-9_-]{60,}={0,2}")
_JSON = re.compile(r'\s*\[\s*\{.*?"otpkey"', re.DOTALL)
_YAML = re.compile(r"^(?:- |  )otpkey:", re.MULTILINE)
_INFO = ("info_list", "tokeninfo", "info")  # what different versions call it
_NOBODY = frozenset({"", "n/a", "None"})
_YES, _NO = frozenset({"true", "1"}), frozenset({"false", "0"})


class PrivacyIdea:
    name = "privacyidea"
    title = "export of privacyIDEA (pi, yaml or csv)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        text = text_of(octets)
        if _FERNET.fullmatch(text.strip()) or _JSON.match(text) or _YAML.search(text):
            return True
        return any(_is_csv(row) for row in rows_of(octets))

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        text = text_of(octets)
        if _FERNET.fullmatch(text.strip()):
            text = _opened(text.strip(), unlock)
        entries = list(_entries(text, octets))
        encoding = decided(entry.get("otpkey") for entry in entries)

        def made(entry: Entry) -> Seed | Skipped:
            return _item(entry, encoding)

        return contents(self.name, items_of(entries, made), ("PINs and passwords of tokens are not carried over",))


def _is_csv(row: Row) -> bool:
    owner = row.fields[0]
    told = len(row.fields) in (5, 6) and row.fields[3].lower() in ("hotp", "totp")
    return told and (owner == "n/a" or "@" in owner)


def _opened(text: str, unlock: Unlock) -> str:
    # Imported here: a command that only prints its help should not wait for it.
    from cryptography.fernet import Fernet, InvalidToken

    key = unlock.key()
    if key is None:
        raise BadInput("the file is encrypted; give the key that the export printed, with --key-file")
    try:
        return Fernet(base64.urlsafe_b64encode(key) if len(key) == 32 else key.strip()).decrypt(text).decode()
    except (ValueError, InvalidToken):
        raise BadInput("the key does not open this file, or the file is damaged") from None


def _entries(text: str, octets: bytes) -> Iterator[Entry]:
    if text.lstrip().startswith("["):
        yield from _from_json(text)
    elif _YAML.search(text):
        for each in plain_yaml.items(lines_of(octets)):
            yield _entry(f"line {each.line}", each.facts, _info(each.inner))
    else:
        for row in rows_of(octets):
            yield _entry(f"line {row.line}", dict(zip(_CSV, row.fields, strict=False)), {"csv": "1"})


def _from_json(text: str) -> Iterator[Entry]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput("the list of tokens is damaged: it is no JSON") from None
    for number, each in enumerate(found if isinstance(found, list) else (), 1):
        if not isinstance(each, dict):
            raise BadInput(f"token {number}: fields with names are expected")
        inner = {name: _texts(value) for name, value in each.items() if isinstance(value, dict)}
        owner = inner.get("user", {})
        login = {"owner": f"{owner.get('login', '')}@{owner.get('realm', '')}"} if owner.get("login") else {}
        yield _entry(f"token {number}", _texts(each) | login, _info(inner))


def _texts(facts: object) -> dict[str, str]:
    plain = cast(dict[str, object], facts)
    return {name: str(value) for name, value in plain.items() if isinstance(value, str | int | float)}


def _info(inner: dict[str, dict[str, str]]) -> dict[str, str]:
    return next((inner[name] for name in _INFO if name in inner), {})


def _entry(place: str, facts: dict[str, str], info: dict[str, str]) -> Entry:
    return Entry(place, info | facts, nameable(facts.get("serial", "")))


def _item(entry: Entry, encoding: Encoding) -> Seed | Skipped:
    kind = (entry.get("type") or entry.get("tokentype")).lower()
    if entry.get("revoked").lower() in _YES:
        return Skipped(entry.place, "a token that was revoked there")
    if kind not in ("hotp", "totp"):
        return other_kind(entry.place, kind)
    return _seed(entry, kind, encoding)


def _seed(entry: Entry, kind: str, encoding: Encoding) -> Seed:
    key = encoding.key(entry.get("otpkey"), "otpkey")
    step = fields.period(_known(entry, "timeStep") or "30", "timeStep")
    drift, drift_notes = _drift(entry, step) if kind == "totp" else (0, ())
    algorithm, notes = _hash(entry, key)
    return Seed(
        entry.place,
        kind,
        key,
        serial=fields.serial_number(entry.get("serial"))[0],
        digits=fields.digits(_known(entry, "otplen") or "6"),
        period=step if kind == "totp" else 30,
        algorithm=algorithm,
        moving_factor=fields.counter(_known(entry, "count") or "0", "count"),
        drift=drift,
        user=_user(entry),
        label=_known(entry, "description"),
        starts_at=_moment(entry, "validity_period_start"),
        expires_at=_moment(entry, "validity_period_end"),
        disabled=entry.get("active").lower() in _NO,
        notes=(*_state(entry, kind), *drift_notes, *notes, *((encoding.note,) if encoding.note else ())),
    )


def _user(entry: Entry) -> str:
    owner, at, rest = entry.get("owner").rpartition("@")
    return owner if at else "" if rest in _NOBODY else rest


def _known(entry: Entry, name: str) -> str:
    found = entry.get(name)
    return "" if found in _NOBODY else found


def _hash(entry: Entry, key: bytes) -> tuple[str, tuple[str, ...]]:
    """The csv never says; privacyIDEA itself takes SHA-1 where it has noted nothing, however long the key."""
    found = _known(entry, "hashlib") or _known(entry, "_hashlib")
    if found:
        return fields.algorithm(found, "hashlib"), ()
    if entry.get("csv"):
        return infer_hash(key)
    return "sha1", ("the file does not say, so: sha1",)


def _drift(entry: Entry, step: int) -> tuple[int, tuple[str, ...]]:
    shift = _known(entry, "timeShift") or "0"
    drift = round(fields.signed(shift.removesuffix(".0"), "timeShift", 10**9) / step)
    return drift, (f"the token is {drift} steps off",) if drift else ()


def _state(entry: Entry, kind: str) -> tuple[str, ...]:
    notes = []
    if not _known(entry, "count"):
        what = "its counter starts at 0" if kind == "hotp" else "the last used step is not known"
        notes.append(f"the file has no counters, so {what}: export as pi or yaml to refuse codes used before")
    if entry.get("active").lower() in _NO:
        notes.append("the token was disabled there, and is disabled here")
    return tuple(notes)


def _moment(entry: Entry, name: str) -> float | None:
    found = _known(entry, name)
    return fields.moment(found, name) if found else None
