"""Tokens: enrolled, revoked, disabled, resynchronised."""

from dataclasses import replace

from validation.administer.rows import Outcome, audit_row, known_token, known_user, settings_of
from validation.changes import (
    Change,
    EndLoginsOf,
    ForgetKnownSources,
    InsertToken,
    MarkRegistered,
    Resynchronise,
    SetBypass,
    SetPairing,
    SetThrottle,
    SetTokenState,
)
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.messages import MessageKey, default_text
from validation.model import Factor, Moment, RevokeReason, Snapshot, Token, TokenState, User
from validation.policy import (
    MAY_REVOKE,
    PAIRING_AFTER,
    By,
    Step,
    check_label,
    check_serial,
    is_held,
    may_move,
    next_step_anywhere,
    registrations,
    usable,
    window,
)
from validation.requests import (
    Command,
    EnrollToken,
    ResyncToken,
    RevokeToken,
    RevokeUserTokens,
    SetTokenUse,
    ShowKey,
)
from validation.settings import Whom
from validation.throttle import after_failure
from validation.tokens.kind import KEY_OCTETS_LEAST
from validation.tokens.registry import KINDS, kind_of


def enroll_token(snapshot: Snapshot, command: EnrollToken, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.user)
    token = Token(
        id=0,
        serial=command.serial if command.serial is not None else moment.new_serial,
        user_id=user.id,
        kind=command.kind,
        key=command.key if command.key is not None else moment.new_key,
        created_at=moment.now,
        origin=command.origin,
        label=command.label,
        digits=command.digits,
        period=command.period,
        algorithm=command.algorithm,
        moving_factor=command.moving_factor,
        public_id=command.public_id,
        look_ahead=command.look_ahead,
    )
    _check_new_token(snapshot, command, token)
    check_room(snapshot, user)
    audit = audit_row(
        command, moment, "token-enroll", user=user.name, serial=token.serial, notice="enrolled", kind=token.kind
    )
    changes = (InsertToken(token), MarkRegistered(user.id, moment.now), audit)
    return Done(serials=(token.serial,), key=token.key), changes


def check_room(snapshot: Snapshot, user: User) -> None:
    most = settings_of(snapshot, user).max_registrations
    if len(registrations(snapshot)) >= most:
        raise Refused(f"{user.name} has {most} registrations already; revoke one, or raise max_registrations")


def _check_new_token(snapshot: Snapshot, command: EnrollToken, token: Token) -> None:
    if token.kind not in KINDS:
        raise BadInput(f"kind: {token.kind} is not known; choose one of {', '.join(KINDS)}")
    check_serial(token.serial)
    check_label(token.label)
    KINDS[token.kind].check(token)
    if token.kind == "recovery_code":
        raise BadInput(f"kind: recovery codes come from twofold recovery issue {command.user}")
    if len(token.key) < KEY_OCTETS_LEAST and not command.allow_short_key:
        raise BadInput(
            f"key: {len(token.key) * 8} bits; RFC 4226 asks for at least 128. "
            "If the device cannot do better: --allow-short-key"
        )
    if snapshot.token is not None:
        raise Refused(f"serial {token.serial} exists already; twofold token show {token.serial}")
    if snapshot.key_known_as is not None:
        raise Refused(
            f"this key is already known, as {snapshot.key_known_as}; a key belongs to one token, and a revoked one "
            "never works again. Use a new key"
        )


def revoke_token(snapshot: Snapshot, command: RevokeToken, moment: Moment) -> Outcome:
    by = By.ADMIN if command.own is None else By.USER
    own = command.own
    token = known_token(snapshot, command.serial) if own is None else _own(snapshot, command.serial, own)
    if not may_move(token, TokenState.REVOKED):
        raise Refused(f"token {token.serial} is revoked already")
    return _revoke(snapshot, command, moment, (token,), command.reason, by)


def _own(snapshot: Snapshot, serial: str, name: str) -> Token:
    """What somebody else has looks like what nobody has; what an admin brought is his to revoke."""
    token, user = snapshot.token, snapshot.user
    if token is None or user is None or user.name != name:
        raise Refused(f"you have no registration {serial!r}; twofold profile lists them")
    if token.origin not in MAY_REVOKE[By.USER]:
        language = settings_of(snapshot, user).language
        whom = Whom(frozenset(user.groups))
        text = snapshot.book.text(MessageKey.ADMIN_TOKEN, language, whom)
        raise Refused(text or default_text(MessageKey.ADMIN_TOKEN, language))
    return token


def show_key(snapshot: Snapshot, command: ShowKey, moment: Moment) -> Outcome:
    token = _own(snapshot, command.serial, command.own)
    user = known_user(snapshot, command.own)
    if settings_of(snapshot, user).show_key != "on":
        raise Refused("keys are not shown again here; register another authenticator instead: twofold profile add")
    if not usable(token) or token.kind not in ("totp", "hotp"):
        raise Refused(f"{token.serial} has no key that an app could take")
    audit = audit_row(command, moment, "key-show", user.name, serial=token.serial, notice="key_shown")
    uri = KINDS[token.kind].uri(token, user.name, command.issuer)
    return Done(serials=(token.serial,), key=token.key, shown_once=(uri,)), (audit,)


def revoke_user_tokens(snapshot: Snapshot, command: RevokeUserTokens, moment: Moment) -> Outcome:
    known_user(snapshot, command.user)
    everything = tuple(t for t in snapshot.tokens if may_move(t, TokenState.REVOKED))
    # A sheet of recovery codes is no registration: it goes with --all, or by its own serial.
    tokens = everything if command.every else tuple(t for t in everything if kind_of(t.kind).is_registration)
    if not tokens:
        raise Refused(f"{command.user} has no token to revoke")
    if len(tokens) > 1 and not command.every:
        serials = ", ".join(t.serial for t in tokens)
        raise Refused(f"{command.user} has {len(tokens)} tokens ({serials}); name one serial, or give --all")
    return _revoke(snapshot, command, moment, tokens, command.reason)


def _revoke(
    snapshot: Snapshot,
    command: Command,
    moment: Moment,
    tokens: tuple[Token, ...],
    reason: RevokeReason,
    by: By = By.ADMIN,
) -> Outcome:
    owner = snapshot.user
    name = owner.name if owner is not None else ""
    changes: list[Change] = []
    for token in tokens:
        audit = audit_row(command, moment, "token-revoke", name, serial=token.serial, notice="revoked", why=str(reason))
        changes += [SetTokenState(token.id, TokenState.REVOKED, reason, moment.now), audit]
    if owner is None:  # out of the drawer: nobody's login is concerned
        return Done(serials=tuple(t.serial for t in tokens)), tuple(changes)
    pairing = PAIRING_AFTER[by, reason]
    if pairing is not None:
        changes.append(SetPairing(owner.id, pairing, moment.now))
        owner = replace(owner, pairing=pairing, pairing_since=moment.now)
    if reason is RevokeReason.COMPROMISE and owner.bypass_until > moment.now:
        changes.append(SetBypass(owner.id, 0.0))
        owner = replace(owner, bypass_until=0.0)
    if reason is RevokeReason.COMPROMISE:
        changes.append(ForgetKnownSources(owner.id))
    changes.append(EndLoginsOf(owner.id))
    gone = {token.id for token in tokens}
    left = replace(snapshot, user=owner, tokens=tuple(t for t in snapshot.tokens if t.id not in gone))
    after = next_login(left, owner, moment.now)
    return Done(warnings=(after,), serials=tuple(t.serial for t in tokens)), tuple(changes)


def next_login(snapshot: Snapshot, user: User, now: float) -> str:
    """One sentence about what the next login of `user` does, wherever he comes from."""
    settings = settings_of(snapshot, user)
    left = registrations(snapshot)
    if left:
        return f"{user.name} can still log in with {', '.join(t.serial for t in left)}."
    then = next_step_anywhere(snapshot, user, settings, now)
    words = {
        Step.ONBOARD: "the next login pairs an app",
        Step.TICKET: "the next login pairs an app, or hands out a ticket for that",
        Step.LET_IN: f"the next login needs no PIN ({then.reason})",
    }
    refused = f"the next login is refused ({then.reason}) until there is a new one"
    return f"{user.name} has no registration left: {words.get(then.step, refused)}."


def set_token_use(snapshot: Snapshot, command: SetTokenUse, moment: Moment) -> Outcome:
    token = known_token(snapshot, command.serial)
    to = TokenState.ACTIVE if command.enabled else TokenState.DISABLED
    if not may_move(token, to):
        raise Refused(f"token {token.serial} is {token.state} already" if token.state is to else final(token))
    if command.enabled and snapshot.user is not None and kind_of(token.kind).is_registration:
        check_room(snapshot, snapshot.user)
    event = "token-enable" if command.enabled else "token-disable"
    audit = audit_row(command, moment, event, snapshot.token_owner or "", serial=token.serial)
    closing = () if command.enabled or token.user_id is None else (EndLoginsOf(token.user_id),)
    return Done(serials=(token.serial,)), (SetTokenState(token.id, to, None, moment.now), *closing, audit)


def resync_token(snapshot: Snapshot, command: ResyncToken, moment: Moment) -> Outcome:
    """Refused attempts count like wrong PINs, so that a desk cannot be used for guessing (O-007)."""
    token, owner = known_token(snapshot, command.serial), snapshot.user
    if token.state is TokenState.REVOKED:
        raise Refused(final(token))
    if owner is None:
        raise Refused(f"token {token.serial} is nobody's; twofold token assign gives it to somebody")
    settings = settings_of(snapshot, owner)
    if is_held(snapshot, settings, moment.now):
        raise Refused(f"{owner.name} is waiting after failures; twofold user unlock {owner.name}")
    match = KINDS[token.kind].resync(token, command.first, command.second, moment.now, window(settings))
    if match is None:
        throttle = after_failure(snapshot.throttle(Factor.PASSCODE), moment.now, settings)
        audit = audit_row(command, moment, "token-resync", owner.name, serial=token.serial, outcome="refused")
        counting = (SetThrottle(owner.id, Factor.PASSCODE, throttle), audit)
        return Done(refused="these are not two values in a row that the token shows near now, unused"), counting
    audit = audit_row(command, moment, "token-resync", owner.name, serial=token.serial, drift=str(match.drift))
    moved = Resynchronise(token.id, token.moving_factor, match.moving_factor, match.drift)
    return Done(serials=(token.serial,)), (moved, audit)


def final(token: Token) -> str:
    return f"token {token.serial} is revoked, which is final; enroll a new one"
