"""A helpdesk's questions: is this PIN right, and what keys are there to move elsewhere.

Rules: a test uses nothing up, and moves nothing; a wrong one counts like a wrong PIN, so that a desk cannot be used for
guessing (O-007). An export is written down before any key leaves.
"""

from validation.administer.rows import Outcome, audit_row, known_token, settings_of
from validation.administer.tokens import final
from validation.changes import Change, CountGuesses, CountTokenFailure, SetThrottle
from validation.decisions import Done
from validation.errors import Refused
from validation.model import Factor, Moment, Snapshot, Token, TokenState, User
from validation.policy import in_time, is_held, window
from validation.requests import ExportTokens, TryPasscode
from validation.settings import Settings, Whom
from validation.throttle import after_failure, budget_day, oldest_day
from validation.tokens.kind import Comparison
from validation.tokens.registry import kind_of


def try_passcode(snapshot: Snapshot, command: TryPasscode, moment: Moment) -> Outcome:
    token, owner = known_token(snapshot, command.serial), snapshot.user
    if token.state is TokenState.REVOKED:
        raise Refused(final(token))
    settings = settings_of(snapshot, owner) if owner is not None else snapshot.book.settings(Whom())
    if token.state is TokenState.DISABLED:
        raise Refused(f"token {token.serial} is disabled; twofold token enable {token.serial}")
    if token.needs_resync:
        raise Refused(
            f"token {token.serial} needs a resynchronisation; twofold token resync {token.serial} CODE1 CODE2"
        )
    if owner is not None and is_held(snapshot, settings, moment.now):
        raise Refused(f"{owner.name} is waiting after failures; twofold user unlock {owner.name}")
    comparison = kind_of(token.kind).compare(token, command.passcode, moment.now, window(settings))
    outcome = "right" if comparison.match else "used" if comparison.used else "wrong"
    name = owner.name if owner is not None else ""
    audit = audit_row(command, moment, "token-test", name, serial=token.serial, outcome=outcome)
    if comparison.match is not None:
        warnings = () if in_time(token, moment.now) else (f"{token.serial} is out of its time: nobody logs in with it",)
        return Done(serials=(token.serial,), warnings=warnings), (audit,)
    counted = _counted(snapshot, owner, token, comparison, settings, moment)
    refused = "this PIN was used before" if comparison.used else "this is no PIN that the token shows near now"
    return Done(refused=refused), (*counted, audit)


def _counted(
    snapshot: Snapshot, owner: User | None, token: Token, comparison: Comparison, settings: Settings, moment: Moment
) -> tuple[Change, ...]:
    """Of a user's token like a wrong PIN of his; of nobody's at the token alone."""
    failures = token.failures + 1
    failure = CountTokenFailure(token.id, failures, disable=failures >= settings.disable_at)
    if owner is None:
        return (failure,)
    throttle = after_failure(snapshot.throttle(Factor.PASSCODE), moment.now, settings)
    compared, day = len(comparison.against), budget_day(moment.now)
    guesses = CountGuesses(owner.id, day, compared, forget_before=oldest_day(moment.now))
    return (SetThrottle(owner.id, Factor.PASSCODE, throttle), *((guesses,) if compared else ()))


def export_tokens(snapshot: Snapshot, command: ExportTokens, moment: Moment) -> Outcome:
    tokens = tuple(_exportable(snapshot, serial) for serial in dict.fromkeys(command.serials))
    owners = {user.id: user.name for user in snapshot.holdings.users.values()}
    names = tuple(owners.get(token.user_id, "") if token.user_id is not None else "" for token in tokens)
    first, last = (tokens[0].serial, tokens[-1].serial) if tokens else ("", "")
    audit = audit_row(
        command, moment, "token-export", notice="keys_exported", count=str(len(tokens)), first=first, last=last
    )
    return Done(serials=tuple(t.serial for t in tokens), tokens=tokens, owners=names), (audit,)


def _exportable(snapshot: Snapshot, serial: str) -> Token:
    token = snapshot.holdings.tokens.get(serial)
    if token is None:
        raise Refused(f"there is no token {serial!r}; twofold token list shows all")
    if token.state is TokenState.REVOKED:
        raise Refused(f"token {serial} is revoked, so its key is gone")
    if token.kind not in ("totp", "hotp", "yubico_otp"):
        raise Refused(f"token {serial} is of kind {token.kind}, whose key cannot leave")
    return token
