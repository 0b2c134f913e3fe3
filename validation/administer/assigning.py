"""Tokens out of the drawer and back: given to a user, or taken from him.

Rules: only a token that is nobody's can be given, and what a user brought himself cannot be taken back, only revoked.
Taking one back ends open logins, like a revocation; the token itself stays good, for somebody else.
"""

from collections import Counter
from collections.abc import Iterator

from validation.administer.rows import Outcome, audit_row, settings_of
from validation.administer.tokens import final
from validation.changes import AssignToken, Change, EndLoginsOf, MarkRegistered
from validation.decisions import Done, Fate, RowResult
from validation.errors import Refused
from validation.model import Moment, Origin, Snapshot, Token, TokenState, User
from validation.requests import AssignList, AssignTokens, Command, Pair
from validation.tokens.registry import kind_of


def assign_tokens(snapshot: Snapshot, command: AssignTokens, moment: Moment) -> Outcome:
    tokens = [_named(snapshot, serial) for serial in dict.fromkeys(command.serials)]
    if command.user is None:
        return Done(serials=command.serials), tuple(_taken_back(snapshot, command, tokens, moment))
    user = snapshot.holdings.users.get(command.user)
    if user is None:
        raise Refused(f"there is no user {command.user!r}; twofold user list shows all")
    _check_room(snapshot, user, tokens)
    return Done(serials=command.serials), tuple(_given(command, user, tokens, moment))


def _named(snapshot: Snapshot, serial: str) -> Token:
    token = snapshot.holdings.tokens.get(serial)
    if token is None:
        raise Refused(f"there is no token {serial!r}; twofold token list shows all")
    if token.state is TokenState.REVOKED:
        raise Refused(final(token))
    return token


def _check_room(snapshot: Snapshot, user: User, tokens: list[Token]) -> None:
    most = settings_of(snapshot, user).max_registrations
    counted = sum(kind_of(token.kind).is_registration for token in tokens)
    if snapshot.holdings.registrations.get(user.id, 0) + counted > most:
        raise Refused(f"{user.name} would have more than {most} registrations; revoke one, or raise max_registrations")


def _given(command: Command, user: User, tokens: list[Token], moment: Moment) -> Iterator[Change]:
    for token in tokens:
        if token.user_id is not None:
            raise Refused(f"token {token.serial} has an owner; twofold token unassign {token.serial} takes it back")
        yield AssignToken(token, user.id)
        yield audit_row(
            command, moment, "token-assign", user.name, serial=token.serial, notice="enrolled", kind=token.kind
        )
    yield MarkRegistered(user.id, moment.now)


def _taken_back(snapshot: Snapshot, command: AssignTokens, tokens: list[Token], moment: Moment) -> Iterator[Change]:
    owners = {user.id: user.name for user in snapshot.holdings.users.values()}
    for token in tokens:
        if token.user_id is None:
            raise Refused(f"token {token.serial} is nobody's already")
        if token.origin is not Origin.ADMIN:
            raise Refused(f"token {token.serial} was brought by its user himself; twofold token revoke {token.serial}")
        yield AssignToken(token, None)
        yield EndLoginsOf(token.user_id)
        yield audit_row(
            command, moment, "token-unassign", owners.get(token.user_id, ""), serial=token.serial, notice="revoked"
        )


def assign_list(snapshot: Snapshot, command: AssignList, moment: Moment) -> Outcome:
    """Each line is judged, so that all that stands in the way is said at once. A token that its user has already is
    unchanged, so that a list can be carried out again."""
    given = Counter[str]()
    places: dict[str, str] = {}
    rows = tuple(_judged(snapshot, pair, places, given) for pair in command.pairs)
    refused = sum(row.fate is Fate.REFUSED for row in rows)
    if refused:
        return Done(rows=rows, refused=f"nothing was assigned, since {refused} of {len(rows)} lines are refused"), ()
    changes: list[Change] = []
    for pair, row in zip(command.pairs, rows, strict=True):
        if row.fate is Fate.READY:
            holdings = snapshot.holdings
            changes += _given(command, holdings.users[pair.user], [holdings.tokens[pair.serial]], moment)
    return Done(rows=rows), tuple(changes)


def _judged(snapshot: Snapshot, pair: Pair, places: dict[str, str], given: Counter[str]) -> RowResult:
    try:
        fate = _fate(snapshot, pair, places, given)
    except Refused as error:
        return RowResult(pair.place, pair.serial, Fate.REFUSED, str(error))
    return RowResult(pair.place, pair.serial, fate)


def _fate(snapshot: Snapshot, pair: Pair, places: dict[str, str], given: Counter[str]) -> Fate:
    if pair.serial in places:
        raise Refused(f"token {pair.serial} stands twice in the list, first at {places[pair.serial]}")
    places[pair.serial] = pair.place
    token, user = _named(snapshot, pair.serial), snapshot.holdings.users.get(pair.user)
    if user is None:
        raise Refused(f"there is no user {pair.user!r}; twofold user list shows all")
    if token.user_id == user.id:
        return Fate.UNCHANGED
    if token.user_id is not None:
        raise Refused(f"token {token.serial} has an owner; twofold token unassign {token.serial} takes it back")
    given[user.name] += kind_of(token.kind).is_registration
    most = settings_of(snapshot, user).max_registrations
    if snapshot.holdings.registrations.get(user.id, 0) + given[user.name] > most:
        raise Refused(f"{user.name} would have more than {most} registrations; revoke one, or raise max_registrations")
    return Fate.READY
