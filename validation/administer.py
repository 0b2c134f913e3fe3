"""What an admin's command does: (Snapshot, command, Moment) -> done and changes.

Rules: a command that names something unknown, or is not allowed, raises Refused and changes nothing. Every command
that is carried out is an audit row with its actor. Revoking, disabling, locking and a new password close the
user's open challenges in the same transaction.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from validation.changes import (
    AddSignedSource,
    Audit,
    Change,
    CloseChallengesOf,
    DeleteClient,
    DeleteUser,
    InsertClient,
    InsertToken,
    InsertUser,
    ReplaceClient,
    ReplaceUser,
    SetThrottle,
    SetTokenState,
)
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.model import (
    Client,
    Factor,
    Moment,
    RevokeReason,
    Snapshot,
    Throttle,
    Token,
    TokenState,
    User,
)
from validation.policy import (
    check_label,
    check_name,
    check_secret,
    check_serial,
    may_move,
    usable,
)
from validation.requests import (
    AddClient,
    AddUser,
    ChangeUserState,
    Command,
    EnrollToken,
    RememberSigner,
    RemoveClient,
    RemoveUser,
    RevokeToken,
    RevokeUserTokens,
    SetClient,
    SetUser,
    UserAct,
)
from validation.tokens.kind import KEY_OCTETS_LEAST
from validation.tokens.registry import KINDS

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
    closes = (CloseChallengesOf(user.id),) if changed != ["groups"] else ()
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
            changes = (ReplaceUser(replace(user, locked=True)), CloseChallengesOf(user.id))
        case UserAct.DISABLE:
            changes = (ReplaceUser(replace(user, disabled=True)), CloseChallengesOf(user.id))
        case UserAct.ENABLE:
            changes = (ReplaceUser(replace(user, disabled=False)),)
        case UserAct.UNLOCK:
            waits = tuple(SetThrottle(user.id, factor, Throttle()) for factor in Factor)
            changes = (ReplaceUser(replace(user, locked=False)), *waits)
    return Done(), (*changes, _audit(command, moment, f"user-{command.act}", user=user.name))


def _remove_user(snapshot: Snapshot, command: RemoveUser, moment: Moment) -> Outcome:
    user = _known_user(snapshot, command.name)
    gone = [t for t in snapshot.tokens if t.state is not TokenState.REVOKED]
    revoked = tuple(SetTokenState(t.id, TokenState.REVOKED, RevokeReason.OTHER, moment.now) for t in gone)
    serials = tuple(t.serial for t in gone)
    audit = _audit(command, moment, "user-remove", user=user.name, serials=" ".join(serials))
    return Done(serials=serials), (CloseChallengesOf(user.id), *revoked, DeleteUser(user.id), audit)


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
    )
    _check_new_token(snapshot, command, token)
    audit = _audit(command, moment, "token-enroll", user=user.name, serial=token.serial, kind=token.kind)
    return Done(serials=(token.serial,), key=token.key), (InsertToken(token), audit)


def _check_new_token(snapshot: Snapshot, command: EnrollToken, token: Token) -> None:
    if token.kind not in KINDS:
        raise BadInput(f"kind: {token.kind} is not known; choose one of {', '.join(KINDS)}")
    check_serial(token.serial)
    check_label(token.label)
    KINDS[token.kind].check(token)
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
    token = snapshot.token
    if token is None:
        raise Refused(f"there is no token {command.serial!r}; twofold token list shows all")
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
    owner = snapshot.user.name if snapshot.user is not None else (snapshot.token_owner or "")
    gone = {token.id for token in tokens}
    changes: list[Change] = []
    for token in tokens:
        changes += [
            SetTokenState(token.id, TokenState.REVOKED, reason, moment.now),
            _audit(command, moment, "token-revoke", user=owner, serial=token.serial, why=str(reason)),
        ]
    changes += [CloseChallengesOf(user_id) for user_id in sorted({token.user_id for token in tokens})]
    left = [t.serial for t in snapshot.tokens if usable(t) and t.id not in gone]
    after = f"{owner} can still log in with {', '.join(left)}." if left else _nothing_left(owner)
    return Done(warnings=(after,), serials=tuple(t.serial for t in tokens)), tuple(changes)


def _nothing_left(owner: str) -> str:
    return f"{owner} has no other registration: the next login is refused until there is a new one."


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
    RememberSigner: _remember_signer,
}
