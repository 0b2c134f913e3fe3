"""Read-only views for people: lists of users, tokens and audit rows. Nothing here decides or unseals a token key."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from store import migrations
from store.audit import Finding, Head, Telling, Verifier, is_sealed
from store.prepared import as_it_is
from store.schema import (
    audit,
    audit_heads,
    audit_starts,
    challenges,
    clients,
    policies,
    replies,
    texts,
    throttles,
    tokens,
    users,
)
from validation.model import TrailStart
from validation.tokens.registry import KINDS

Row = dict[str, Any]

_REGISTRATIONS = [name for name, kind in KINDS.items() if kind.is_registration]

_TOKEN_COLUMNS = [column for column in tokens.c if column.name not in ("sealed_key", "fingerprint")]


def user_rows(connection: Connection, name: str | None = None) -> list[Row]:
    """Users with the number of their active tokens, by name."""
    active = (
        select(func.count())
        .where(tokens.c.user_id == users.c.id, tokens.c.state == "active", tokens.c.kind.in_(_REGISTRATIONS))
        .scalar_subquery()
    ).label("active_tokens")
    has_password = users.c.password_hash.is_not(None).label("has_password")
    columns = [c for c in users.c if c.name != "password_hash"]
    statement = select(*columns, has_password, active).order_by(users.c.name)
    if name is not None:
        statement = statement.where(users.c.name == name)
    return [row | _readable(row) for row in _found(connection, statement)]


def _found(connection: Connection, statement: Select[Any]) -> list[Row]:
    """Also those that are no UTF-8, as they are."""
    found, _ = as_it_is(connection, lambda: connection.execute(statement).mappings().all())
    return [dict(row) for row in found]


def _readable(row: Mapping[str, Any]) -> Row:
    """A listing shows what it can: a damaged row must not hide the others."""
    return {"groups": _values(row["groups"]), "replies": _values_by_name(row["replies"])}


def _values_by_name(text: str) -> dict[str, list[str]]:
    try:
        return {str(name): [str(value) for value in values] for name, values in json.loads(text).items()}
    except (AttributeError, TypeError, ValueError):
        return {"(damaged)": []}


def throttle_rows(connection: Connection, user_id: int) -> list[Row]:
    return [dict(r) for r in connection.execute(select(throttles).where(throttles.c.user_id == user_id)).mappings()]


def open_challenges(connection: Connection, user_id: int, now: float) -> int:
    here = (challenges.c.user_id == user_id) & (challenges.c.expires_at > now)
    return int(connection.execute(select(func.count()).select_from(challenges).where(here)).scalar_one())


def token_rows(
    connection: Connection, user: str | None = None, serial: str | None = None, unassigned: bool = False
) -> list[Row]:
    """A token that is nobody's has None for its user."""
    owned = tokens.outerjoin(users, users.c.id == tokens.c.user_id)
    statement = select(*_TOKEN_COLUMNS, users.c.name.label("user")).select_from(owned)
    if user is not None:
        statement = statement.where(users.c.name == user)
    if serial is not None:
        statement = statement.where(tokens.c.serial == serial)
    if unassigned:
        statement = statement.where(tokens.c.user_id.is_(None))
    return _found(connection, statement.order_by(users.c.name, tokens.c.id))


def replies_of_clients(connection: Connection) -> dict[str, dict[str, list[str]]]:
    """By client: the attributes that are bound to it alone, and their values."""
    found: dict[str, dict[str, list[str]]] = {}
    bound = select(replies).where(replies.c.client != "", replies.c.group == "").order_by(replies.c.attribute)
    for row in connection.execute(bound).mappings():
        found.setdefault(row["client"], {})[row["attribute"]] = _values(row["values"])
    return found


def _values(text: str) -> list[str]:
    try:
        return [str(value) for value in json.loads(text)]
    except (TypeError, ValueError):
        return ["(damaged)"]


@dataclass(frozen=True, slots=True)
class Status:
    """Of a whole store. `chains` are hosts: name, rows, time of the newest."""

    database: str
    schema: str
    counts: Mapping[str, int]
    chains: tuple[Row, ...]


def status(connection: Connection) -> Status:
    """What an administrator asks first."""
    counted = (users, tokens, clients, audit)
    counts = {
        table.name.replace("audit", "audit rows"): int(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
        )
        for table in counted
    }
    kept = (audit_heads.c.seq - func.coalesce(audit_starts.c.seq, 0)).label("rows")
    heads = audit_heads.join(audit, (audit.c.chain == audit_heads.c.chain) & (audit.c.seq == audit_heads.c.seq))
    pruned = heads.outerjoin(audit_starts, audit_starts.c.chain == audit_heads.c.chain)
    newest = select(audit_heads.c.chain, kept, audit.c.at).select_from(pruned)
    chains = tuple(dict(row) for row in connection.execute(newest.order_by(audit_heads.c.chain)).mappings())
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[connection.dialect.name]
    return Status(f"{name} {version}".strip(), migrations.current(connection) or "", counts, chains)


def policy_rows(connection: Connection) -> list[Row]:
    return _found(connection, select(policies).order_by(policies.c.id))


def text_rows(connection: Connection) -> list[Row]:
    return _found(connection, select(texts).order_by(texts.c.key))


def client_rows(connection: Connection) -> list[Row]:
    columns = [c for c in clients.c if c.name not in ("sealed_secret", "sealed_old_secret")]
    return _found(connection, select(*columns).order_by(clients.c.name))


def audit_rows(
    connection: Connection,
    names: Collection[str] | None = None,
    since: float | None = None,
    limit: int | None = None,
) -> Iterator[Row]:
    """Audit rows from old to new; with `limit`, the newest so many."""
    statement = select(audit)
    if names is not None:
        statement = statement.where(audit.c.user.in_(names))
    if since is not None:
        statement = statement.where(audit.c.at >= since)
    if limit is None:
        ordered = connection.execute(statement.order_by(audit.c.at, audit.c.chain, audit.c.seq)).mappings()
    else:
        newest = statement.order_by(audit.c.at.desc(), audit.c.chain.desc(), audit.c.seq.desc()).limit(limit)
        ordered = reversed(connection.execute(newest).mappings().all())  # type: ignore[assignment]
    for row in ordered:
        mac = row["mac"].hex() if isinstance(row["mac"], bytes) else str(row["mac"])
        yield dict(row) | {"detail": _detail(row["detail"]), "mac": mac}


def _detail(text: Any) -> dict[str, Any]:
    """The details of a row. One that was tampered with is shown as it is; `verify` says which."""
    try:
        detail = json.loads(text)
    except (TypeError, ValueError):
        detail = None
    return detail if isinstance(detail, dict) else {"unreadable": str(text)}


def chain_heads(connection: Connection) -> dict[str, Head]:
    """The stored head of every chain."""
    return {row.chain: Head(row.chain, row.seq, row.mac) for row in connection.execute(select(audit_heads))}


def chain_starts(connection: Connection, key: bytes) -> tuple[dict[str, TrailStart], list[Finding]]:
    """Where chains start that were pruned; and of which it is said by somebody who does not have the key."""
    starts: dict[str, TrailStart] = {}
    findings: list[Finding] = []
    for row in connection.execute(select(audit_starts).order_by(audit_starts.c.chain)):
        start = TrailStart(row.chain, row.seq, row.mac, row.began)
        if is_sealed(key, start, row.seal):
            starts[start.chain] = start
        else:
            findings.append(Finding(row.chain, 0, "where the rest starts after pruning was changed"))
    return starts, findings


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk over all chains has found: what is wrong, where each ends, what was pruned, and which anchors lie in
    that, so that there is nothing to compare them with."""

    findings: list[Finding]
    heads: list[Head]
    pruned: dict[str, Telling]
    passed: list[Head]

    def rows(self, head: Head) -> int:
        """How many rows the chain has."""
        return head.seq - (self.pruned[head.chain].start.seq if head.chain in self.pruned else 0)


def verify(connection: Connection, key: bytes, own_chain: str, anchors: Mapping[str, Head]) -> Walk:
    """Walk every chain from its first row, or from where its pruning has left off.

    A host whose chain has not begun yet is no fault, but a chain that is anchored, or the only one, must be there. One
    chain begins with the creation of the store; else a trail that was removed whole would pass once a new one began.
    """
    stored = chain_heads(connection)
    starts, findings = chain_starts(connection, key)
    verifiers = {
        chain: Verifier(key, chain, anchors.get(chain), starts.get(chain)) for chain in {*stored, *anchors, *starts}
    }
    statement = select(audit).order_by(audit.c.chain, audit.c.seq).execution_options(yield_per=1000)
    for row in connection.execute(statement).mappings():
        chain = row["chain"]
        if chain not in verifiers:
            verifiers[chain] = Verifier(key, chain)
        verifiers[chain].add(dict(row))
    if not verifiers:
        verifiers[own_chain] = Verifier(key, own_chain)
    walked = [verifiers[chain] for chain in sorted(verifiers, key=str)]
    findings += [finding for verifier in walked for finding in verifier.finish(stored.get(verifier.head.chain))]
    told = _newest(telling for verifier in walked for telling in verifier.told)
    findings += _untold(starts, told)
    if not findings and not any(verifier.begins_with == "store-create" for verifier in walked):
        findings.append(Finding(own_chain, 1, "row 1 is missing, which the creation of the store wrote: a new trail"))
    passed = [anchors[verifier.head.chain] for verifier in walked if verifier.anchor_pruned]
    return Walk(findings, [verifier.head for verifier in walked], told, passed)


def _newest(told: Iterable[Telling]) -> dict[str, Telling]:
    """By chain. What was told again is of when it was told first."""
    newest: dict[str, Telling] = {}
    for one in sorted(told, key=lambda one: one.at, reverse=True):
        known = newest.get(one.start.chain)
        if known is None or one.start.seq >= known.start.seq:
            newest[one.start.chain] = one
    return newest


def _untold(starts: Mapping[str, TrailStart], told: Mapping[str, Telling]) -> Iterator[Finding]:
    """A start that was genuine once, in another copy of this store, is none here."""
    for chain in sorted({*starts, *told}):
        start, said = starts.get(chain), told[chain].start if chain in told else None
        if start is not None and (said is None or said.seq < start.seq):
            yield Finding(
                chain, start.seq, f"rows up to {start.seq} are gone, and no row of the trail tells who pruned them"
            )
        elif said is not None and start != said:
            yield Finding(
                chain, said.seq, f"rows up to {said.seq} were pruned, but the store does not know of it any more"
            )
