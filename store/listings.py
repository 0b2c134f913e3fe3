"""Read-only views for people: lists of users, tokens and audit rows. Nothing here decides or unseals a token key."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from store.audit import Finding, Head, Verifier
from store.schema import audit, audit_heads, challenges, clients, policies, texts, throttles, tokens, users
from store.writing import read_head

Row = dict[str, Any]

_TOKEN_COLUMNS = [column for column in tokens.c if column.name not in ("sealed_key", "fingerprint")]


def user_rows(connection: Connection, name: str | None = None) -> list[Row]:
    """Users with the number of their active tokens, by name."""
    active = (
        select(func.count()).where(tokens.c.user_id == users.c.id, tokens.c.state == "active").scalar_subquery()
    ).label("active_tokens")
    has_password = users.c.password_hash.is_not(None).label("has_password")
    columns = [c for c in users.c if c.name != "password_hash"]
    statement = select(*columns, has_password, active).order_by(users.c.name)
    if name is not None:
        statement = statement.where(users.c.name == name)
    return [dict(row) | {"groups": json.loads(row["groups"])} for row in connection.execute(statement).mappings()]


def throttle_rows(connection: Connection, user_id: int) -> list[Row]:
    return [dict(r) for r in connection.execute(select(throttles).where(throttles.c.user_id == user_id)).mappings()]


def open_challenges(connection: Connection, user_id: int, now: float) -> int:
    here = (challenges.c.user_id == user_id) & (challenges.c.expires_at > now)
    return int(connection.execute(select(func.count()).select_from(challenges).where(here)).scalar_one())


def token_rows(connection: Connection, user: str | None = None, serial: str | None = None) -> list[Row]:
    statement = select(*_TOKEN_COLUMNS, users.c.name.label("user")).join(users, users.c.id == tokens.c.user_id)
    if user is not None:
        statement = statement.where(users.c.name == user)
    if serial is not None:
        statement = statement.where(tokens.c.serial == serial)
    return [dict(row) for row in connection.execute(statement.order_by(users.c.name, tokens.c.id)).mappings()]


def policy_rows(connection: Connection) -> list[Row]:
    return [dict(row) for row in connection.execute(select(policies).order_by(policies.c.id)).mappings()]


def text_rows(connection: Connection) -> list[Row]:
    return [dict(row) for row in connection.execute(select(texts).order_by(texts.c.key)).mappings()]


def client_rows(connection: Connection) -> list[Row]:
    columns = [c for c in clients.c if c.name != "sealed_secret"]
    return [dict(row) for row in connection.execute(select(*columns).order_by(clients.c.name)).mappings()]


def audit_rows(
    connection: Connection, user: str | None = None, since: float | None = None, limit: int | None = None
) -> Iterator[Row]:
    """Audit rows from old to new; with `limit`, the newest so many."""
    statement = select(audit)
    if user is not None:
        statement = statement.where(audit.c.user == user)
    if since is not None:
        statement = statement.where(audit.c.at >= since)
    if limit is None:
        ordered = connection.execute(statement.order_by(audit.c.at, audit.c.chain, audit.c.seq)).mappings()
    else:
        newest = statement.order_by(audit.c.at.desc(), audit.c.chain.desc(), audit.c.seq.desc()).limit(limit)
        ordered = reversed(connection.execute(newest).mappings().all())  # type: ignore[assignment]
    for row in ordered:
        yield dict(row) | {"detail": json.loads(row["detail"]), "mac": row["mac"].hex()}


def chain_heads(connection: Connection) -> dict[str, Head]:
    """The stored head of every chain."""
    return {row.chain: Head(row.chain, row.seq, row.mac) for row in connection.execute(select(audit_heads))}


def verify(
    connection: Connection, key: bytes, own_chain: str, anchors: Mapping[str, Head]
) -> tuple[list[Finding], list[Head]]:
    """Walk every chain from its first row: what is wrong, and where each ends.

    A host whose chain has not begun yet is no fault, but a chain that is anchored, or the only one, must be there.
    """
    findings: list[Finding] = []
    heads: list[Head] = []
    named = {*connection.execute(select(audit.c.chain).distinct()).scalars(), *chain_heads(connection), *anchors}
    for chain in sorted(named | {own_chain}):
        found, head = _verify_chain(connection, key, chain, anchors.get(chain))
        if chain in named or not named:
            findings += found
            heads.append(head)
    return findings, heads


def _verify_chain(connection: Connection, key: bytes, chain: str, anchor: Head | None) -> tuple[list[Finding], Head]:
    verifier = Verifier(key, chain, anchor)
    statement = select(audit).where(audit.c.chain == chain).order_by(audit.c.seq)
    for row in connection.execute(statement.execution_options(yield_per=1000)).mappings():
        verifier.add(dict(row))
    return verifier.finish(read_head(connection, chain)), verifier.head
