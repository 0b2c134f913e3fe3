"""A row of a table of OATH tokens, once its columns have names.

Rules: what a row leaves out has the default of makers and of the field: hotp, 6 digits, 30 s, and a hash by the length
of the key. Each default that was taken is said. One column serves both kinds in most files (`moving`): the time step of
a TOTP token, the counter of a HOTP token. Rows of other kinds are named and left alone.
"""

from collections.abc import Mapping

from store.formats import fields
from store.formats.fields import Bad, Entry, nameable
from store.formats.keys import Encoding, looks_like_key
from store.formats.reading import Seed, Skipped, infer_hash

KINDS = {
    "": "hotp",
    "hotp": "hotp",
    "hmac": "hotp",
    "oath-hotp": "hotp",
    "event": "hotp",
    "totp": "totp",
    "oath-totp": "totp",
    "time": "totp",
}
OTHER_KINDS = {"ocra": "an OCRA token", "ocra2": "an OCRA token", "motp": "a Mobile-OTP token"}
_STEPS = ("30", "60")
_USUAL_STEP = "30"
_MOST_DIGITS = 3  # of a number of digits or a time step
KNOWN_KINDS = frozenset(KINDS) | frozenset(OTHER_KINDS)

Facts = Mapping[str, str]


def named_entry(line: int, columns: Facts) -> Entry:
    """A BadRow names the serial only if the row has its shape; else a piece of the key may stand in its place."""
    return Entry(f"line {line}", columns, nameable(columns.get("serial", "")) if _has_shape(columns) else "")


def _has_shape(columns: Facts) -> bool:
    seed = columns.get("seed", "")
    return columns.get("type", "").lower() in KNOWN_KINDS and "seed" in columns and not _is_of_another_column(seed)


def _is_of_another_column(seed: str) -> bool:
    return bool(seed) and (seed.lower() in KNOWN_KINDS or len(seed) <= _MOST_DIGITS)


def seed_of(entry: Entry, encoding: Encoding) -> Seed | Skipped:
    """Raises Bad."""
    named = entry.get("type").lower()
    if named in OTHER_KINDS:
        return Skipped(entry.place, OTHER_KINDS[named])
    if named not in KINDS:
        raise Bad("type", "not known; hotp and totp are. Are the columns in the order serial, seed, type?")
    return _seed(entry, KINDS[named], encoding)


def _seed(entry: Entry, kind: str, encoding: Encoding) -> Seed:
    _refuse_swapped(entry)
    key = encoding.key(entry.get("seed"), "seed")
    serial, serial_notes = fields.serial_number(entry.get("serial"))
    algorithm, hash_notes = _hash(entry, key)
    step, start, notes = _moving(entry, kind)
    return Seed(
        entry.place,
        kind,
        key,
        serial=serial,
        digits=fields.digits(entry.get("digits") or "6"),
        period=step,
        period_assumed=_no_step(entry, kind),
        algorithm=algorithm,
        moving_factor=start,
        user=entry.get("user"),
        label=entry.get("label"),
        notes=(*serial_notes, *_taken(entry, kind), *hash_notes, *notes, *((encoding.note,) if encoding.note else ())),
    )


def _refuse_swapped(entry: Entry) -> None:
    serial = entry.get("serial")
    if looks_like_key(serial) and len(serial) > len(entry.get("seed")):
        raise Bad("serial", "this looks like a key; the serial comes first, then the seed")


def _hash(entry: Entry, key: bytes) -> tuple[str, tuple[str, ...]]:
    if entry.get("hash"):
        return fields.algorithm(entry.get("hash")), ()
    return infer_hash(key)


def _moving(entry: Entry, kind: str) -> tuple[int, int, tuple[str, ...]]:
    """Time step and moving factor, from their own columns or from the one that serves both."""
    step, count, moving = entry.get("step"), entry.get("counter"), entry.get("moving")
    if kind == "totp":
        return fields.period(step or moving or _USUAL_STEP), 0, ()
    if step in ("", "0", *_STEPS) or count:  # a step column that is filled for every row
        start = fields.counter(count or moving or "0")
        said = (f"a HOTP token has no time step: {moving} was read as its next counter",)
        return int(_USUAL_STEP), start, said if moving in _STEPS and not count else ()
    start = fields.counter(step, "step")
    return int(_USUAL_STEP), start, (f"a HOTP token has no time step: {start} was read as its next counter",)


def _no_step(entry: Entry, kind: str) -> bool:
    return kind == "totp" and not (entry.get("step") or entry.get("moving"))


def _taken(entry: Entry, kind: str) -> tuple[str, ...]:
    taken = [] if entry.get("type") else ["hotp"]
    if not entry.get("digits"):
        taken.append("6 digits")
    if _no_step(entry, kind):
        taken.append("a time step of 30 s")
    return (f"the file does not say, so: {', '.join(taken)}",) if taken else ()
