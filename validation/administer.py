"""What an admin's command does: (Snapshot, command, Moment) -> done and changes.

Rules: a command that names something unknown, or is not allowed, raises Refused and changes nothing. Every command
that is carried out is an audit row with its actor. Revoking, disabling, locking and a new password close the
user's open challenges in the same transaction.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from validation import requests
from validation.changes import (
    AddSignedSource,
    Audit,
    Change,
    DeleteClient,
    DeleteRule,
    DeleteUser,
    EndLoginsOf,
    ForgetGuesses,
    InsertClient,
    InsertRule,
    InsertText,
    InsertTicket,
    InsertToken,
    InsertUser,
    MarkRegistered,
    ReplaceClient,
    ReplaceUser,
    Resynchronise,
    SetBypass,
    SetPairing,
    SetThrottle,
    SetTokenState,
)
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.messages import DEFAULTS, MessageKey, check_text
from validation.model import (
    Client,
    Factor,
    Moment,
    Origin,
    Pairing,
    RevokeReason,
    Snapshot,
    Throttle,
    Ticket,
    Token,
    TokenState,
    User,
)
from validation.onboarding import TICKET_LIFETIME
from validation.policy import (
    PAIRING_AFTER,
    By,
    Door,
    Step,
    check_label,
    check_name,
    check_secret,
    check_serial,
    is_held,
    may_move,
    next_step,
    registrations,
    window,
)
from validation.requests import (
    AddClient,
    AddUser,
    ChangeUserState,
    Command,
    EnrollToken,
    GiveBypass,
    IssueRecovery,
    IssueTicket,
    RememberSigner,
    RemoveClient,
    RemoveUser,
    ResyncToken,
    RevokeToken,
    RevokeUserTokens,
    SetClient,
    SetText,
    SetTokenUse,
    SetUser,
    UnsetRule,
    UserAct,
    ticket_digest,
)
from validation.settings import HOUR, Rule, Scope, Settings, Text, Whom, check_rule
from validation.throttle import after_failure
from validation.tokens import recovery_code
from validation.tokens.kind import KEY_OCTETS_LEAST
from validation.tokens.registry import KINDS, kind_of

Outcome: TypeAlias = tuple[Done, tuple[Change, ...]]


def run(snapshot: Snapshot, command: Command, moment: Moment) -> Outcome:
    """Carry out `command`. Raises Refused, BadInput, or Damaged if a row it needs cannot be trusted."""
    if snapshot.damage is not None and not isinstance(command, _MAY_TOUCH_DAMAGE):
        raise snapshot.damage
    return _HANDLERS[type(command)](snapshot, command, moment)


# --- users ------------------------------------------------------------------------------------------------------


def _add_user(snapshot: Snapshot, command: AddUser, moment: Moment) -> Outcome:
    if snapshot.user is not None:
        raise Refused(f"user {command.name!r} exists already; change it with: twofold user set {command.name}")
    check_name("user", command.name)
    _check_groups(command.groups)
    user = User(
        id=0,
        name=command.name,
        created_at=moment.now,
        first_factor=command.first_factor,
        groups=command.groups,
        password_hash=command.password_hash,
        password_version=_new_version(0, moment) if command.password_hash else 0,
        pairing_since=moment.now,
    )
    return Done(), (InsertUser(user), _audit(command, moment, "user-add", user=user.name))


def _set_user(snapshot: Snapshot, command: SetUser, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    changed: list[str] = []
    if command.first_factor is not None:
        user = replace(user, first_factor=command.first_factor)
        changed.append("first-factor")
    if command.groups is not None:
        _check_groups(command.groups)
        user = replace(user, groups=command.groups)
        changed.append("groups")
    if command.password_hash is not None:
        user = replace(
            user, password_hash=command.password_hash, password_version=_new_version(user.password_version, moment)
        )
        changed.append("password")
    if not changed:
        raise BadInput("nothing to change: name at least one option")
    audit = _audit(command, moment, "user-set", user=user.name, changed=" ".join(changed))
    closes = (EndLoginsOf(user.id),) if changed != ["groups"] else ()
    return Done(), (ReplaceUser(user), *closes, audit)


def _new_version(before: int, moment: Moment) -> int:
    """Greater than `before`, and not one that an earlier user of the same name had: a password check that began before
    he was removed must not count for this one."""
    return max(before + 1, int(moment.now * 1000))


def _check_groups(groups: tuple[str, ...]) -> None:
    for group in groups:
        check_name("group", group)


def _change_user_state(snapshot: Snapshot, command: ChangeUserState, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    changes: tuple[Change, ...]
    match command.act:
        case UserAct.LOCK:
            changes = (ReplaceUser(replace(user, locked=True)), EndLoginsOf(user.id))
        case UserAct.DISABLE:
            changes = (ReplaceUser(replace(user, disabled=True)), EndLoginsOf(user.id))
        case UserAct.ENABLE:
            changes = (ReplaceUser(replace(user, disabled=False)),)
        case UserAct.UNLOCK:
            waits = tuple(SetThrottle(user.id, factor, Throttle()) for factor in Factor)
            changes = (ReplaceUser(replace(user, locked=False)), *waits, ForgetGuesses(user.id))
    notice = "locked" if command.act is UserAct.LOCK else ""
    return Done(), (*changes, _audit(command, moment, f"user-{command.act}", user=user.name, notice=notice))


def _set_pairing(snapshot: Snapshot, command: requests.SetPairing, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    pairing = Pairing.NEW if command.open else Pairing.CLOSED
    event = "user-pairing-open" if command.open else "user-pairing-close"
    closing = () if command.open else (EndLoginsOf(user.id, pairing_only=True),)
    return Done(), (SetPairing(user.id, pairing, moment.now), *closing, _audit(command, moment, event, user=user.name))


MAX_BYPASS_HOURS = 72


def _give_bypass(snapshot: Snapshot, command: GiveBypass, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    if not 0 <= command.hours <= MAX_BYPASS_HOURS:
        raise BadInput(f"--hours: {command.hours} is not possible; 0 (to end it) to {MAX_BYPASS_HOURS} are")
    until = moment.now + command.hours * HOUR if command.hours else 0.0
    audit = _audit(command, moment, "user-bypass", user=user.name, notice="bypass", hours=str(command.hours))
    return Done(), (SetBypass(user.id, until), audit)


def _remove_user(snapshot: Snapshot, command: RemoveUser, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    gone = [t for t in snapshot.tokens if t.state is not TokenState.REVOKED]
    revoked = tuple(SetTokenState(t.id, TokenState.REVOKED, RevokeReason.OTHER, moment.now) for t in gone)
    serials = tuple(t.serial for t in gone)
    audit = _audit(command, moment, "user-remove", user=user.name, serials=" ".join(serials))
    return Done(serials=serials), (EndLoginsOf(user.id), *revoked, DeleteUser(user.id), audit)


def _known_user(snapshot: Snapshot, name: str) -> User:
    if snapshot.user is None:
        raise snapshot.damage or Refused(f"there is no user {name!r}; twofold user list shows all")
    return snapshot.user


# --- tokens -----------------------------------------------------------------------------------------------------


def _enroll_token(snapshot: Snapshot, command: EnrollToken, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.user)
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
    )
    _check_new_token(snapshot, command, token)
    _check_room(snapshot, user)
    audit = _audit(
        command, moment, "token-enroll", user=user.name, serial=token.serial, notice="enrolled", kind=token.kind
    )
    changes = (InsertToken(token), MarkRegistered(user.id, moment.now), audit)
    return Done(serials=(token.serial,), key=token.key), changes


def _check_room(snapshot: Snapshot, user: User) -> None:
    most = _settings(snapshot, user).max_registrations
    if len(registrations(snapshot)) >= most:
        raise Refused(f"{user.name} has {most} registrations already; revoke one, or raise max_registrations")


def _settings(snapshot: Snapshot, user: User) -> Settings:
    """What applies to a user wherever he comes from."""
    return snapshot.book.settings(Whom(frozenset(user.groups)))


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


def _revoke_token(snapshot: Snapshot, command: RevokeToken, moment: Moment) -> Outcome:
    token = _known_token(snapshot, command.serial)
    if not may_move(token, TokenState.REVOKED):
        raise Refused(f"token {token.serial} is revoked already")
    return _revoke(snapshot, command, moment, (token,), command.reason)


def _revoke_user_tokens(snapshot: Snapshot, command: RevokeUserTokens, moment: Moment) -> Outcome:
    _known_user(snapshot, command.user)
    tokens = tuple(t for t in snapshot.tokens if may_move(t, TokenState.REVOKED))
    if not tokens:
        raise Refused(f"{command.user} has no token to revoke")
    if len(tokens) > 1 and not command.every:
        serials = ", ".join(t.serial for t in tokens)
        raise Refused(f"{command.user} has {len(tokens)} tokens ({serials}); name one serial, or give --all")
    return _revoke(snapshot, command, moment, tokens, command.reason)


def _revoke(
    snapshot: Snapshot, command: Command, moment: Moment, tokens: tuple[Token, ...], reason: RevokeReason
) -> Outcome:
    owner = snapshot.user
    if owner is None:
        raise Refused("the token has no owner")
    changes: list[Change] = []
    for token in tokens:
        audit = _audit(
            command, moment, "token-revoke", owner.name, serial=token.serial, notice="revoked", why=str(reason)
        )
        changes += [SetTokenState(token.id, TokenState.REVOKED, reason, moment.now), audit]
    pairing = PAIRING_AFTER[By.ADMIN, reason]
    if pairing is not None:
        changes.append(SetPairing(owner.id, pairing, moment.now))
        owner = replace(owner, pairing=pairing, pairing_since=moment.now)
    changes.append(EndLoginsOf(owner.id))
    gone = {token.id for token in tokens}
    left = replace(snapshot, user=owner, tokens=tuple(t for t in snapshot.tokens if t.id not in gone))
    after = next_login(left, owner, moment.now)
    return Done(warnings=(after,), serials=tuple(t.serial for t in tokens)), tuple(changes)


def next_login(snapshot: Snapshot, user: User, now: float) -> str:
    """One sentence about what the next login of `user` does, wherever he comes from."""
    settings = _settings(snapshot, user)
    left = registrations(snapshot)
    if left:
        return f"{user.name} can still log in with {', '.join(t.serial for t in left)}."
    door = Door(proves_password=True, can_challenge=True, shows_key_in_clear=True)
    then = next_step(snapshot, user, door, settings, now)
    words = {
        Step.ONBOARD: "the next login pairs an app",
        Step.TICKET: "the next login hands out an enrolment ticket",
        Step.LET_IN: f"the next login needs no PIN ({then.reason})",
    }
    refused = f"the next login is refused ({then.reason}) until there is a new one"
    return f"{user.name} has no registration left: {words.get(then.step, refused)}."


def _set_token_use(snapshot: Snapshot, command: SetTokenUse, moment: Moment) -> Outcome:
    token = _known_token(snapshot, command.serial)
    to = TokenState.ACTIVE if command.enabled else TokenState.DISABLED
    if not may_move(token, to):
        raise Refused(f"token {token.serial} is {token.state} already" if token.state is to else _final(token))
    if command.enabled and snapshot.user is not None and kind_of(token.kind).is_registration:
        _check_room(snapshot, snapshot.user)
    event = "token-enable" if command.enabled else "token-disable"
    audit = _audit(command, moment, event, snapshot.token_owner or "", serial=token.serial)
    closing = () if command.enabled else (EndLoginsOf(token.user_id),)
    return Done(serials=(token.serial,)), (SetTokenState(token.id, to, None, moment.now), *closing, audit)


def _resync_token(snapshot: Snapshot, command: ResyncToken, moment: Moment) -> Outcome:
    """Refused attempts count like wrong PINs, so that a desk cannot be used for guessing (O-007)."""
    token, owner = _known_token(snapshot, command.serial), snapshot.user
    if owner is None or token.state is TokenState.REVOKED:
        raise Refused(_final(token))
    settings = _settings(snapshot, owner)
    if is_held(snapshot, settings, moment.now):
        raise Refused(f"{owner.name} is waiting after failures; twofold user unlock {owner.name}")
    match = KINDS[token.kind].resync(token, command.first, command.second, moment.now, window(settings))
    if match is None:
        throttle = after_failure(snapshot.throttle(Factor.PASSCODE), moment.now, settings)
        audit = _audit(command, moment, "token-resync", owner.name, serial=token.serial, outcome="refused")
        counting = (SetThrottle(owner.id, Factor.PASSCODE, throttle), audit)
        return Done(refused="these are not two values in a row that the token shows near now, unused"), counting
    audit = _audit(command, moment, "token-resync", owner.name, serial=token.serial, drift=str(match.drift))
    moved = Resynchronise(token.id, token.moving_factor, match.moving_factor, match.drift)
    return Done(serials=(token.serial,)), (moved, audit)


def _known_token(snapshot: Snapshot, serial: str) -> Token:
    if snapshot.token is None:
        raise Refused(f"there is no token {serial!r}; twofold token list shows all")
    return snapshot.token


def _final(token: Token) -> str:
    return f"token {token.serial} is revoked, which is final; enroll a new one"


# --- recovery codes and tickets ---------------------------------------------------------------------------------


def _issue_recovery(snapshot: Snapshot, command: IssueRecovery, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    codes = moment.new_recovery_codes(recovery_code.COUNT)
    sheet = Token(
        id=0,
        serial=moment.new_serial,
        user_id=user.id,
        kind="recovery_code",
        key=recovery_code.sheet_key(moment.new_salt, codes),
        created_at=moment.now,
        origin=Origin.ADMIN,
    )
    old = [t for t in snapshot.tokens if t.kind == "recovery_code" and t.state is not TokenState.REVOKED]
    retired = tuple(SetTokenState(t.id, TokenState.REVOKED, RevokeReason.OTHER, moment.now) for t in old)
    closing = (EndLoginsOf(user.id),) if old else ()  # one of its codes may have opened a reuse window
    audit = _audit(command, moment, "recovery-issue", user.name, serial=sheet.serial, notice="recovery-issued")
    shown = tuple(recovery_code.shown(code) for code in codes)
    return Done(serials=(sheet.serial,), shown_once=shown), (*retired, *closing, InsertToken(sheet), audit)


def _issue_ticket(snapshot: Snapshot, command: IssueTicket, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    if registrations(snapshot):
        raise Refused(f"{user.name} has a registration; a ticket is for users who have none. Revoke it first")
    if _settings(snapshot, user).enrolment not in ("self", "both"):
        raise Refused(f"policy enrolment lets {user.name} pair no app; twofold policy explain --user {user.name}")
    text = moment.new_ticket
    ticket = Ticket(ticket_digest(text), user.id, moment.now + TICKET_LIFETIME, by_admin=True)
    audit = _audit(command, moment, "ticket-issue", user.name)
    return Done(shown_once=(text,)), (InsertTicket(ticket, moment.now), audit)


# --- policies and texts -----------------------------------------------------------------------------------------


def _set_rule(snapshot: Snapshot, command: requests.SetRule, moment: Moment) -> Outcome:
    _check_scope(snapshot, command.scope)
    rule = Rule(0, command.key, check_rule(command.key, command.value, command.scope), command.scope)
    audit = _audit(command, moment, "policy-set", key=rule.key, value=rule.value, scope=str(rule.scope))
    warnings: tuple[str, ...] = ()
    if rule.key == "second_factor" and rule.value == "skip" and rule.scope == Scope():
        warnings = ("now nobody is asked for a PIN; name a --group, --client or --from to limit this",)
    if rule.key == "onboarding_over_radius" and rule.value == "key":
        warnings = ("Reply-Message is not encrypted: whoever can read the packets can copy the keys of new users",)
    return Done(warnings=warnings), (InsertRule(rule), audit)


def _unset_rule(snapshot: Snapshot, command: UnsetRule, moment: Moment) -> Outcome:
    if not any(rule.key == command.key and rule.scope == command.scope for rule in snapshot.book.rules):
        raise Refused(f"{command.key} is not set for {command.scope}; twofold policy show lists what is")
    audit = _audit(command, moment, "policy-unset", key=command.key, scope=str(command.scope))
    return Done(), (DeleteRule(command.key, command.scope), audit)


MAX_TEXT = 4000  # octets; a RADIUS reply holds 4096 with all else


def _set_text(snapshot: Snapshot, command: SetText, moment: Moment) -> Outcome:
    _check_scope(snapshot, command.scope)
    if command.key not in set(MessageKey):
        raise BadInput(f"{command.key!r} is not a text; choose one of {', '.join(MessageKey)}")
    if command.language not in ("", *DEFAULTS):
        raise BadInput(f"--lang: {command.language!r} is not known; choose one of {', '.join(DEFAULTS)}")
    check_text(MessageKey(command.key), command.text, MAX_TEXT)
    text = Text(command.key, command.language, command.text, command.scope)
    audit = _audit(command, moment, "message-set", key=text.key, language=text.language, scope=str(text.scope))
    return Done(), (InsertText(text), audit)


def _check_scope(snapshot: Snapshot, scope: Scope) -> None:
    if scope.client is not None and snapshot.client is None:
        raise Refused(f"there is no client {scope.client!r}; twofold client list shows all")
    for what, name in (("group", scope.group), ("service", scope.service)):
        if name is not None:
            check_name(what, name)


# --- clients ----------------------------------------------------------------------------------------------------


def _add_client(snapshot: Snapshot, command: AddClient, moment: Moment) -> Outcome:
    if snapshot.client is not None:
        raise Refused(f"client {command.name!r} exists already; change it with: twofold client set {command.name}")
    check_name("client", command.name)
    client = Client(
        name=command.name,
        network=command.network,
        secret=command.secret,
        mode=command.mode,
        message_authenticator=command.message_authenticator,
        status_server=command.status_server,
    )
    warnings = (*check_secret(client.secret), *_check_client(snapshot, client))
    audit = _audit(command, moment, "client-add", client=client.name, network=str(client.network))
    return Done(warnings=warnings), (InsertClient(client), audit)


def _set_client(snapshot: Snapshot, command: SetClient, moment: Moment) -> Outcome:
    client = _known_client(snapshot, command.name)
    if snapshot.damage is not None and command.secret is None:
        raise snapshot.damage  # only a new secret repairs it
    given = {
        "network": command.network,
        "secret": command.secret,
        "mode": command.mode,
        "message_authenticator": command.message_authenticator,
        "status_server": command.status_server,
    }
    new = {field: value for field, value in given.items() if value is not None}
    if not new:
        raise BadInput("nothing to change: name at least one option")
    client = replace(client, **new)  # type: ignore[arg-type]  # fields checked above
    warnings = check_secret(client.secret) if command.secret is not None else ()
    warnings = (*warnings, *_check_client(snapshot, client))
    changed = " ".join(field.replace("_", "-") for field in new)
    return Done(warnings=warnings), (
        ReplaceClient(client),
        _audit(command, moment, "client-set", client=client.name, changed=changed),
    )


def _check_client(snapshot: Snapshot, client: Client) -> tuple[str, ...]:
    """Two clients with the same prefix could not be told apart (R-022); `off` is worth a word."""
    for other in snapshot.clients:
        if other.name != client.name and other.network == client.network:
            raise Refused(f"{client.network} belongs to client {other.name!r} already; an address names one client")
    if client.message_authenticator == "off":
        return (
            "requests of this client need no Message-Authenticator, so whoever can send packets from "
            f"{client.network} can try passwords and, on the path, forge answers (CVE-2024-3596)",
        )
    return ()


def _remove_client(snapshot: Snapshot, command: RemoveClient, moment: Moment) -> Outcome:
    client = _known_client(snapshot, command.name)
    return Done(), (DeleteClient(client.name), _audit(command, moment, "client-remove", client=client.name))


def _remember_signer(snapshot: Snapshot, command: RememberSigner, moment: Moment) -> Outcome:
    client = _known_client(snapshot, command.name)
    if command.address in client.signed_sources:
        return Done(), ()
    audit = _audit(command, moment, "client-signed", client=client.name, source=command.address)
    return Done(), (AddSignedSource(client.name, command.address), audit)


def _known_client(snapshot: Snapshot, name: str) -> Client:
    if snapshot.client is None:
        raise Refused(f"there is no client {name!r}; twofold client list shows all")
    return snapshot.client


# --- shared -----------------------------------------------------------------------------------------------------


def _audit(
    command: Command,
    moment: Moment,
    event: str,
    user: str = "",
    client: str = "",
    serial: str = "",
    source: str = "",
    notice: str = "",
    **detail: str,
) -> Audit:
    return Audit(
        at=moment.now,
        event=event,
        decision="done",
        reason="",
        user=user,
        client=client,
        source=source,
        serial=serial,
        actor=command.actor,
        detail=dict(detail),
        notice=notice,
    )


# Damage must not keep a user from being locked, disabled or removed, a token from being revoked, or a client from being
# repaired or removed.
_MAY_TOUCH_DAMAGE = (ChangeUserState, RemoveUser, RevokeToken, RevokeUserTokens, RemoveClient, SetClient)

_HANDLERS: dict[type[Command], Callable[[Snapshot, Any, Moment], Outcome]] = {
    AddUser: _add_user,
    SetUser: _set_user,
    ChangeUserState: _change_user_state,
    RemoveUser: _remove_user,
    EnrollToken: _enroll_token,
    RevokeToken: _revoke_token,
    RevokeUserTokens: _revoke_user_tokens,
    AddClient: _add_client,
    SetClient: _set_client,
    RemoveClient: _remove_client,
    requests.SetPairing: _set_pairing,
    GiveBypass: _give_bypass,
    SetTokenUse: _set_token_use,
    ResyncToken: _resync_token,
    IssueRecovery: _issue_recovery,
    IssueTicket: _issue_ticket,
    requests.SetRule: _set_rule,
    UnsetRule: _unset_rule,
    SetText: _set_text,
    RememberSigner: _remember_signer,
}
