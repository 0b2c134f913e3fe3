"""Users: added, changed, locked, removed; pairing opened, a forgotten phone bypassed."""

from dataclasses import replace

from validation import requests
from validation.administer.replies import merged
from validation.administer.rows import Outcome, audit_row, known_user
from validation.changes import (
    Change,
    ClearKnownSources,
    DeleteUser,
    EndLoginsOf,
    ForgetGuesses,
    InsertUser,
    ReplaceUser,
    SetBypass,
    SetPairing,
    SetThrottle,
    SetTokenState,
)
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.model import (
    Factor,
    FirstFactorKind,
    Moment,
    Pairing,
    RevokeReason,
    Snapshot,
    Throttle,
    TokenState,
    User,
)
from validation.policy import check_name
from validation.requests import AddUser, ChangeUserState, GiveBypass, RemoveUser, SetUser, UserAct
from validation.settings import HOUR


def add_user(snapshot: Snapshot, command: AddUser, moment: Moment) -> Outcome:
    if snapshot.user is not None:
        raise Refused(f"user {command.name!r} exists already; change it with: twofold user set {command.name}")
    check_name("user", command.name)
    check_groups(command.groups)
    place = place_of(command.first_factor, command.password_hash)
    has_password = command.password_hash is not None or command.first_factor not in (None, FirstFactorKind.LOCAL)
    user = User(
        id=0,
        name=command.name,
        created_at=moment.now,
        first_factor=place,
        groups=command.groups,
        password_hash=command.password_hash,
        replies=merged((), command.replies),
        password_version=new_version(0, moment) if has_password else 0,
        pairing_since=moment.now,
    )
    return Done(), (InsertUser(user), audit_row(command, moment, "user-add", user=user.name))


def set_user(snapshot: Snapshot, command: SetUser, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.name)
    changed: list[str] = []
    place = None if command.by_policy else command.first_factor or user.first_factor
    place = place_of(place, command.password_hash)
    user = _checked_at(user, place, moment)
    if command.first_factor is not None or command.by_policy:
        changed.append("first-factor")
    if command.groups is not None:
        check_groups(command.groups)
        user = replace(user, groups=command.groups)
        changed.append("groups")
    if command.password_hash is not None:
        user = replace(
            user, password_hash=command.password_hash, password_version=new_version(user.password_version, moment)
        )
        changed.append("password")
    closes = (EndLoginsOf(user.id),) if set(changed) - {"groups"} else ()
    if command.replies:
        user = replace(user, replies=merged(user.replies, command.replies))
        changed.extend(command.replies)
    if not changed:
        raise BadInput("nothing to change: name at least one option")
    audit = audit_row(command, moment, "user-set", user=user.name, changed=" ".join(changed))
    return Done(), (ReplaceUser(user), *closes, audit)


def _checked_at(user: User, kind: FirstFactorKind | None, moment: Moment) -> User:
    """A check at the old place that began before must not count at the new one."""
    if kind is user.first_factor:
        return user
    return replace(user, first_factor=kind, password_version=new_version(user.password_version, moment))


def place_of(kind: FirstFactorKind | None, password_hash: str | None) -> FirstFactorKind | None:
    """Where a password is checked from now on; a password that is given here is checked here."""
    if password_hash is not None and kind not in (None, FirstFactorKind.LOCAL):
        raise BadInput(f"a password given here would never be looked at: first factor {kind} is kept elsewhere")
    return FirstFactorKind.LOCAL if password_hash is not None else kind


def new_version(before: int, moment: Moment) -> int:
    """Greater than `before`, and not one that an earlier user of the same name had: a password check that began before
    he was removed must not count for this one."""
    return max(before + 1, int(moment.now * 1000))


def check_groups(groups: tuple[str, ...]) -> None:
    for group in groups:
        check_name("group", group)


def change_user_state(snapshot: Snapshot, command: ChangeUserState, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.name)
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
            changes = (
                ReplaceUser(replace(user, locked=False)),
                *waits,
                ForgetGuesses(user.id),
                ClearKnownSources(user.id),
            )
    notice = "locked" if command.act is UserAct.LOCK else ""
    return Done(), (*changes, audit_row(command, moment, f"user-{command.act}", user=user.name, notice=notice))


def set_pairing(snapshot: Snapshot, command: requests.SetPairing, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.name)
    pairing = Pairing.NEW if command.open else Pairing.CLOSED
    event = "user-pairing-open" if command.open else "user-pairing-close"
    closing = () if command.open else (EndLoginsOf(user.id, pairing_only=True),)
    return Done(), (
        SetPairing(user.id, pairing, moment.now),
        *closing,
        audit_row(command, moment, event, user=user.name),
    )


MAX_BYPASS_HOURS = 72


def give_bypass(snapshot: Snapshot, command: GiveBypass, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.name)
    if not 0 <= command.hours <= MAX_BYPASS_HOURS:
        raise BadInput(f"--hours: {command.hours} is not possible; 0 (to end it) to {MAX_BYPASS_HOURS} are")
    until = moment.now + command.hours * HOUR if command.hours else 0.0
    audit = audit_row(command, moment, "user-bypass", user=user.name, notice="bypass", hours=str(command.hours))
    return Done(), (SetBypass(user.id, until), audit)


def remove_user(snapshot: Snapshot, command: RemoveUser, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.name)
    gone = [t for t in snapshot.tokens if t.state is not TokenState.REVOKED]
    revoked = tuple(SetTokenState(t.id, TokenState.REVOKED, RevokeReason.OTHER, moment.now) for t in gone)
    serials = tuple(t.serial for t in gone)
    audit = audit_row(command, moment, "user-remove", user=user.name, serials=" ".join(serials))
    return Done(serials=serials), (EndLoginsOf(user.id), *revoked, DeleteUser(user.id), audit)
