"""Tokens by the boxful: many new ones from a file, in one transaction.

Rules: what is there is never overwritten: a row that equals it is unchanged, another is refused. A key belongs to one
token, inside the file as in the store. A token that a file gives to a user is his at once, and counts like one that was
enrolled. If one row is refused, nothing is imported, unless the rest was asked for. Recovery codes come along as a
sheet of the token's owner, who has one sheet at most: one that he has here stays, and then those do not come along.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from validation.administer.rows import Outcome, audit_row, settings_of
from validation.changes import Change, InsertToken, MarkRegistered
from validation.decisions import Done, Fate, RowResult
from validation.errors import BadInput
from validation.model import Holdings, Moment, Origin, Snapshot, Token, TokenState, User, canonical_key
from validation.policy import check_label, check_serial
from validation.requests import ImportTokens, NewToken
from validation.tokens import recovery_code
from validation.tokens.kind import KEY_OCTETS_LEAST
from validation.tokens.registry import KINDS, kind_of


def import_tokens(snapshot: Snapshot, command: ImportTokens, moment: Moment) -> Outcome:
    judge = _Judge(snapshot, command, moment.now)
    rows = tuple(judge.row(new) for new in command.tokens)
    refused = sum(row.fate is Fate.REFUSED for row in rows)
    if refused and not command.skip_bad:
        return Done(rows=rows, refused=f"nothing was imported, since {refused} of {len(rows)} rows are refused"), ()
    taken = [new for new, row in zip(command.tokens, rows, strict=True) if row.fate is Fate.READY]
    if not taken:
        return Done(rows=rows), ()
    return Done(rows=rows), tuple(_changes(snapshot.holdings, command, taken, judge.sheets, moment))


def _changes(
    holdings: Holdings, command: ImportTokens, taken: list[NewToken], sheets: set[str], moment: Moment
) -> Iterator[Change]:
    """One audit row for the file, and one for each user who gets a token by it. `sheets` are the places whose recovery
    codes come along."""
    for new in taken:
        user = holdings.users.get(new.user)
        yield InsertToken(replace(new.token, user_id=user.id if user is not None else None, created_at=moment.now))
    for new in taken:
        user = holdings.users.get(new.user)
        if user is not None and new.place in sheets:
            yield InsertToken(_sheet(new, user, moment))
            yield audit_row(
                command, moment, "recovery-import", user.name, serial=new.sheet_serial, notice="recovery_issued"
            )
    for new in taken:
        user = holdings.users.get(new.user)
        if user is not None:
            yield MarkRegistered(user.id, moment.now)
            serial, kind = new.token.serial, new.token.kind
            yield audit_row(command, moment, "token-assign", user.name, serial=serial, notice="enrolled", kind=kind)
    first, last = taken[0].token.serial, taken[-1].token.serial
    yield audit_row(command, moment, "token-import", file=command.file, count=str(len(taken)), first=first, last=last)


def _sheet(new: NewToken, user: User, moment: Moment) -> Token:
    """Its label says that such codes are weak; only their HMACs are kept."""
    salt = hashlib.sha256(moment.new_salt + new.sheet_serial.encode()).digest()[: recovery_code.SALT_OCTETS]
    return Token(
        id=0,
        serial=new.sheet_serial,
        user_id=user.id,
        kind="recovery_code",
        key=recovery_code.sheet_key(salt, new.recovery_codes),
        created_at=moment.now,
        origin=Origin.ADMIN,
        label="weak: codes of 8 digits, imported",
        digits=recovery_code.FOREIGN_DIGITS,
    )


class _Judge:
    """Looks at rows in their order; of two with one serial or one key the second is refused."""

    def __init__(self, snapshot: Snapshot, command: ImportTokens, now: float) -> None:
        self._snapshot = snapshot
        self._now = now
        self._command = command
        self._places: dict[str, str] = {}  # by serial, in this file
        self._keys: dict[bytes, str] = {}  # place by key, in this file
        self._given = Counter[str]()  # registrations by user, in this file
        self.sheets: set[str] = set()  # places whose recovery codes come along
        self._with_sheet: set[str] = set()  # users who get one by this file

    def row(self, new: NewToken) -> RowResult:
        serial = new.token.serial
        try:
            why = self._refusal(new)
        except BadInput as error:
            why = str(error)
        if why:
            return RowResult(new.place, serial, Fate.REFUSED, why)
        if serial in self._snapshot.holdings.tokens:
            return RowResult(new.place, serial, Fate.UNCHANGED)
        told = (self._warning(new.token), self._codes(new))
        return RowResult(new.place, serial, Fate.READY, "; ".join(text for text in told if text))

    def _codes(self, new: NewToken) -> str:
        """What becomes of its recovery codes, as a sentence; notes down where they come along."""
        many = len(new.recovery_codes)
        user = self._snapshot.holdings.users.get(new.user)
        if not many:
            return ""
        if user is None:
            return f"{many} recovery codes not carried over: the token is nobody's, and such codes are a user's"
        if user.id in self._snapshot.holdings.sheets or user.name in self._with_sheet:
            return f"{many} recovery codes not carried over: {user.name} has a sheet of them already"
        self._with_sheet.add(user.name)
        self.sheets.add(new.place)
        self._places[new.sheet_serial] = new.place
        return f"{many} recovery codes come along, as {new.sheet_serial}; of 8 digits each, they are weak"

    def _warning(self, token: Token) -> str:
        if token.expires_at is not None and token.expires_at <= self._now:
            return "its time is over, so nobody can log in with it"
        if token.starts_at is not None and token.starts_at > self._now:
            return "its time has not begun, so nobody can log in with it yet"
        return ""

    def _refusal(self, new: NewToken) -> str:
        """Raises BadInput, too."""
        token = new.token
        check_serial(token.serial)
        check_label(token.label)
        kind_of(token.kind).check(token)
        if len(token.key) < KEY_OCTETS_LEAST and not self._command.allow_short_key:
            return f"key: {len(token.key) * 8} bits; at least 128 are asked for (RFC 4226). --allow-short-key takes it"
        return self._bad_codes(new) or self._twice(new) or self._here(token) or self._owner(new)

    def _bad_codes(self, new: NewToken) -> str:
        if not all(recovery_code.is_foreign_code(code) for code in new.recovery_codes):
            return f"recovery codes: each must have {recovery_code.FOREIGN_DIGITS} digits"
        if len(new.recovery_codes) > recovery_code.MOST_FOREIGN:
            return f"recovery codes: {len(new.recovery_codes)}; at most {recovery_code.MOST_FOREIGN} of one token"
        if new.recovery_codes and new.sheet_serial in self._snapshot.holdings.tokens and not self._is_here(new.token):
            return f"serial {new.sheet_serial}, which its recovery codes would get, is here already"
        if new.recovery_codes and new.sheet_serial in self._places:
            return f"serial {new.sheet_serial}, which its recovery codes would get, stands in the file as well"
        return ""

    def _is_here(self, token: Token) -> bool:
        return token.serial in self._snapshot.holdings.tokens

    def _twice(self, new: NewToken) -> str:
        token = new.token
        key = canonical_key(token.key, token.algorithm)
        if token.serial in self._places:
            return f"serial {token.serial} stands twice in the file, first at {self._places[token.serial]}"
        if key in self._keys:
            return f"the same key stands twice in the file, first at {self._keys[key]}"
        self._places[token.serial] = self._keys[key] = new.place
        return ""

    def _here(self, token: Token) -> str:
        known_as = self._snapshot.holdings.keys.get(canonical_key(token.key, token.algorithm))
        here = self._snapshot.holdings.tokens.get(token.serial)
        if here is not None and here.state is TokenState.REVOKED:
            return f"serial {token.serial} is here already, revoked, which is final"
        if here is not None and (known_as != token.serial or _facts(here) != _facts(token)):
            return f"serial {token.serial} is here already, and is another token; nothing is overwritten"
        if here is None and known_as is not None:
            return f"its key is here already, as {known_as}; a key belongs to one token"
        return ""

    def _owner(self, new: NewToken) -> str:
        if not new.user or new.token.serial in self._snapshot.holdings.tokens:
            return ""
        user = self._snapshot.holdings.users.get(new.user)
        if user is None:
            return f"user {new.user} is not known; twofold user add {new.user}, or twofold user import"
        if KINDS[new.token.kind].is_registration:
            return self._room(user)
        return ""

    def _room(self, user: User) -> str:
        most = settings_of(self._snapshot, user).max_registrations
        self._given[user.name] += 1
        if self._snapshot.holdings.registrations.get(user.id, 0) + self._given[user.name] > most:
            return f"user {user.name} would have more than {most} registrations (policy max_registrations)"
        return ""


def _facts(token: Token) -> tuple[object, ...]:
    """What never changes of a token, but for its key."""
    return token.kind, token.digits, token.period, token.algorithm, token.public_id
