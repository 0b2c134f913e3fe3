"""The look before the password check: what to check it against, and how to take a one-field entry apart.

Rules: a look decides nothing; `decide.login` looks at everything again, in the transaction. Nothing is compared for
users who may not log in anyway, nor for a packet that was answered before: a place that keeps passwords must not count
one wrong password twice. A field is split by the lengths of the user's own tokens, never by a separator. A PIN that
matches shows where; then one that was used already. Where none does it is the shortest length: its values are the
easiest to guess, and a wrong guess is counted as one only if the rest of the field is then the right password.

In `Mode.AUTO` a field in which no PIN matches is the password alone, and the PIN is asked for. A wrong PIN there counts
as a wrong password, so after `lock_from` of those no field is taken apart any more: whoever knows the password must
guess at the question, where guesses are counted as such. It is the count that the login is judged by (`sources.py`).
"""

from collections.abc import Iterator

from validation import repeating
from validation.decisions import Look, Split
from validation.model import Mode, Moment, Snapshot, Token, User
from validation.policy import (
    OBSTACLE,
    as_of,
    first_factor_of,
    let_in_without_pin,
    registrations,
    shows_passcodes,
    standing,
    usable_tokens,
    window,
)
from validation.requests import LookRequest, typed_alone
from validation.reusing import opened_by, window_open
from validation.settings import Settings
from validation.sources import password_throttle
from validation.tokens.kind import DIGITS
from validation.tokens.registry import kind_of

NO_HASH = -1  # a password version that no user has: the check then proves nothing
_USUAL_LENGTH = 6
_SPLIT = frozenset({Mode.APPEND, Mode.PREPEND, Mode.AUTO})


def look(snapshot: Snapshot, request: LookRequest, moment: Moment) -> Look:
    """Raises Damaged if a row it needs cannot be trusted."""
    if snapshot.damage is not None:
        raise snapshot.damage
    snapshot = as_of(snapshot, moment.now)
    user = snapshot.user
    groups = frozenset(user.groups) if user is not None else frozenset[str]()
    settings = snapshot.book.settings(request.whom(groups))
    answered = repeating.found(snapshot, moment.now) is not None
    if user is None or answered or standing(snapshot, settings, moment.now) in OBSTACLE:
        return Look(first_factor="local", password_version=NO_HASH, split=_unmatched(snapshot, request))
    split = _split(snapshot, user, request, settings, moment.now) if request.mode in _SPLIT else None
    kind = first_factor_of(user, settings)
    return Look(str(kind), user.password_hash, user.password_version, split, user.name)


def _split(snapshot: Snapshot, user: User, request: LookRequest, settings: Settings, now: float) -> Split | None:
    """The split whose PIN matches; else the password alone, where no PIN is asked; else the shortest length."""
    if request.mode is Mode.AUTO and password_throttle(snapshot, now).failures >= settings.lock_from:
        return None
    if (split := _matching(snapshot, request, settings, now)) is not None:
        return split
    if request.mode is Mode.AUTO:
        return None
    reusable = window_open(snapshot, request.source, settings, now)
    nothing_to_type = not any(shows_passcodes(token) for token in registrations(snapshot)) and _no_pin(user, request)
    if reusable or let_in_without_pin(user, settings, now) or nothing_to_type:
        return Split(request.typed, "")
    return _unmatched(snapshot, request)


def _matching(snapshot: Snapshot, request: LookRequest, settings: Settings, now: float) -> Split | None:
    used: Split | None = None
    for token, split in _splits(snapshot, request):
        if token.needs_resync:
            continue
        found = kind_of(token.kind).compare(token, typed_alone(split.passcode), now, window(settings))
        if found.match:
            return split
        used = used or (split if found.used else None)
    if window_open(snapshot, request.source, settings, now):
        for token, split in _splits(snapshot, request):
            if opened_by(snapshot, split.passcode, [token]):
                return split
    return used


def _no_pin(user: User, request: LookRequest) -> bool:
    """Who has nothing that shows PINs types none, unless he had it until lately and does not know that it is gone."""
    typed = request.typed
    where = typed[:_USUAL_LENGTH] if request.mode is Mode.PREPEND else typed[-_USUAL_LENGTH:]
    return user.first_registered_at is None or not (where.isascii() and where.isdigit())


def _splits(snapshot: Snapshot, request: LookRequest) -> Iterator[tuple[Token, Split]]:
    for token in usable_tokens(snapshot):
        for length in kind_of(token.kind).lengths(token):
            if (split := _split_at(request, length)) is not None:
                yield token, split


def _unmatched(snapshot: Snapshot, request: LookRequest) -> Split | None:
    """A screen can still ask for the PIN, so an entry that ends in none is the password alone there."""
    if request.mode is Mode.AUTO:
        return None
    split = _shortest(snapshot, request)
    if request.service is None or request.mode is not Mode.APPEND or (split is not None and _like_a_pin(split)):
        return split
    return Split(request.typed, "")


def _like_a_pin(split: Split) -> bool:
    return len(split.passcode) > max(DIGITS) or (split.passcode.isascii() and split.passcode.isdigit())


def _shortest(snapshot: Snapshot, request: LookRequest) -> Split | None:
    lengths = (n for t in registrations(snapshot) for n in kind_of(t.kind).lengths(t))
    return _split_at(request, min(lengths, default=_USUAL_LENGTH))


def _split_at(request: LookRequest, length: int) -> Split | None:
    """`length` characters are the PIN; an empty password is no split (O-073)."""
    entry = request.typed
    if len(entry) <= length:
        return None
    if request.mode is Mode.PREPEND:
        return Split(entry[length:], entry[:length])
    return Split(entry[:-length], entry[-length:])
