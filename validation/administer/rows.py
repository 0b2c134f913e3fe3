"""What every command needs: the rows it names, or a refusal; the settings of a user; the audit row.

Rule: what is unknown raises Refused with the listing that would show it.
"""

from typing import TypeAlias

from validation.changes import Audit, Change
from validation.decisions import Done
from validation.errors import Refused
from validation.model import Client, Moment, Snapshot, Token, User
from validation.requests import Command
from validation.settings import Settings, Whom

Outcome: TypeAlias = tuple[Done, tuple[Change, ...]]


def known_user(snapshot: Snapshot, name: str) -> User:
    if snapshot.user is None:
        raise snapshot.damage or Refused(f"there is no user {name!r}; twofold user list shows all")
    return snapshot.user


def known_token(snapshot: Snapshot, serial: str) -> Token:
    if snapshot.token is None:
        raise Refused(f"there is no token {serial!r}; twofold token list shows all")
    return snapshot.token


def known_client(snapshot: Snapshot, name: str) -> Client:
    if snapshot.client is None:
        raise Refused(f"there is no client {name!r}; twofold client list shows all")
    return snapshot.client


def settings_of(snapshot: Snapshot, user: User) -> Settings:
    """What applies to a user wherever he comes from."""
    return snapshot.book.settings(Whom(frozenset(user.groups)))


def audit_row(
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
