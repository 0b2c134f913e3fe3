"""From what a token file holds to what the engine is asked to import.

Rules: pure. A token without a serial gets one made from the file's own facts, always the same for the same file, so
that a second import finds it unchanged; that it was made is said. Who brought a token follows from the format, where
the file does not say: what comes from people's own apps stays theirs to revoke, what comes in a box is the admin's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from store.formats.keys import looks_like_key
from store.formats.reading import BadRow, Contents, Item, Seed, Skipped
from validation.decisions import Fate, RowResult
from validation.errors import BadInput
from validation.messages import printable
from validation.model import Origin, Token, TokenState
from validation.names import Spelling
from validation.policy import MAX_LABEL, MAX_SERIAL, check_label
from validation.requests import NewToken

APPS = frozenset({"google-authenticator", "otpauth"})  # formats of what people paired themselves


@dataclass(frozen=True, slots=True)
class Boxful:
    """What of a file goes to the engine, and what is to be said of the rest."""

    tokens: tuple[NewToken, ...]
    notes: dict[str, tuple[str, ...]]  # by place
    bad: tuple[BadRow, ...]
    skipped: tuple[Skipped, ...]
    places: tuple[str, ...] = field(default=())  # of all, in the file's order

    def results(self, rows: Iterable[RowResult]) -> Iterator[RowResult]:
        """The engine's results and the rows that never reached it, in the order of the file."""
        found = {row.place: row for row in rows}
        found |= {
            one.place: RowResult(one.place, one.serial, Fate.REFUSED, f"{one.field}: {one.text}") for one in self.bad
        }
        yield from (found[place] for place in self.places if place in found)


def boxful(
    contents: Contents,
    stem: str,
    names: Spelling,
    owner: str = "",
    origin: Origin | None = None,
    no_users: bool = False,
    period: int | None = None,
) -> Boxful:
    """`stem` is the file's name without its ending; `owner` gets what the file gives to nobody. With `no_users` all is
    nobody's. `period` is the time step of tokens whose file does not say."""
    usual = Origin.SELF if contents.format in APPS else Origin.ADMIN
    tokens: list[NewToken] = []
    notes: dict[str, tuple[str, ...]] = {}
    made = _Serials(stem)
    items = tuple(map(_told_apart, contents.items))
    for item in items:
        if not isinstance(item, Seed):
            continue
        if period is not None and item.period_assumed:
            item = replace(item, period=period, notes=(*item.notes, f"but {period} s, as --period says"))
        serial, said = made.serial(item, item.user or ("" if no_users else owner))
        brought = origin or (Origin(item.origin) if item.origin else usual)
        new = _new(item, serial, brought, names, owner)
        tokens.append(replace(new, user="") if no_users else new)
        if item.notes or said:
            notes[item.place] = (*said, *item.notes)
    return Boxful(
        tuple(tokens),
        notes,
        tuple(item for item in items if isinstance(item, BadRow)),
        tuple(item for item in items if isinstance(item, Skipped)),
        tuple(item.place for item in items),
    )


def _told_apart(item: Item) -> Item:
    """Where key and serial changed places, the key would be printed wherever a serial is."""
    if isinstance(item, Seed) and looks_like_key(item.serial) and len(item.serial) * 5 > len(item.key) * 8:
        return BadRow(item.place, "serial", "this looks like a key, and longer than the key itself; are they swapped?")
    return item


def _new(seed: Seed, serial: str, origin: Origin, names: Spelling, owner: str) -> NewToken:
    token = Token(
        id=0,
        serial=serial,
        user_id=None,
        kind=seed.kind,
        key=seed.key,
        origin=origin,
        label=_label(seed.label),
        digits=seed.digits,
        period=seed.period,
        algorithm=seed.algorithm,
        moving_factor=seed.moving_factor,
        drift=seed.drift,
        state=TokenState.DISABLED if seed.disabled else TokenState.ACTIVE,
        public_id=seed.public_id,
        look_ahead=seed.look_ahead,
        starts_at=seed.starts_at,
        expires_at=seed.expires_at,
    )
    user = seed.user or owner
    return NewToken(seed.place, token, (names.canonical(user) or user) if user else "", seed.recovery_codes)


def _label(text: str) -> str:
    """As it is where it can be; one that is too long, or cannot be shown, is no reason to refuse a token."""
    try:
        check_label(text)
    except BadInput:
        return printable(text, MAX_LABEL - 1)  # and the mark of the cut
    return text


class _Serials:
    """Makes serials for tokens without one, each only once in a file."""

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}  # number by beginning: a file may hold many of one beginning

    def serial(self, seed: Seed, user: str) -> tuple[str, tuple[str, ...]]:
        """The serial, and what is to be said of it."""
        if seed.serial:
            self._taken.add(seed.serial)
            return seed.serial, ()
        base = _plain(seed.public_id or "-".join(word for word in (user, seed.label) if word) or self._stem)
        serial = self._free(base[: MAX_SERIAL - 6])
        self._taken.add(serial)
        return serial, (f"serial {serial} was made, since the file gives none",)

    def _free(self, base: str) -> str:
        if base not in self._taken:
            return base
        number = self._last.get(base, 1) + 1
        while f"{base}-{number}" in self._taken:
            number += 1
        self._last[base] = number
        return f"{base}-{number}"


def _plain(text: str) -> str:
    return re.sub(r"[^!-~]+", "-", text).strip("-") or "token"
