"""Writing what decisions want done: one function per change, each a conditional statement.

Rules: a change that expects something and does not find it (`rowcount` 0, a constraint, a trigger) is a Conflict; the
whole transaction is then undone. Audit rows of a transaction are written last, together, in the order of the changes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from itertools import groupby, islice
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Connection, Integer, Text, bindparam, cast, delete, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import Delete, Update

from store import audit as trail
from store import rows
from store.schema import (
    audit,
    audit_heads,
    challenges,
    clients,
    floods,
    guesses,
    known_keys,
    known_sources,
    meta,
    policies,
    reuse_windows,
    signed_sources,
    source_scores,
    texts,
    throttles,
    tickets,
    tokens,
    users,
)
from store.sealing import Sealer, fingerprint
from store.snapshots import BOOK_GENERATION
from validation import changes as c
from validation.changes import Audit, Change
from validation.model import Stage, Token, TokenState, canonical_key
from validation.ports import Conflict
from validation.settings import MINUTE, Scope

CLIENTS_GENERATION = "clients_generation"
_FORGET_FLOODS = 7 * 86_400.0  # seconds; anybody can make such rows

# The statements on the road of a login, built once: building them costs more than running them.
_USE_TOKEN = (
    update(tokens)
    .where(
        tokens.c.id == bindparam("id_"),
        tokens.c.moving_factor == bindparam("from_"),
        tokens.c.moving_factor < bindparam("to", type_=BigInteger),
        tokens.c.state == TokenState.ACTIVE,
    )
    .values(
        moving_factor=bindparam("to", type_=BigInteger),
        drift=bindparam("drift_"),
        failures=0,
        last_used_at=bindparam("at"),
    )
)
_COUNT_TOKEN_FAILURE = (
    update(tokens)
    .where(tokens.c.id == bindparam("id_"), tokens.c.state == TokenState.ACTIVE)
    .values(failures=bindparam("count"), state=bindparam("new"))
)
_insert_throttle = sqlite.insert(throttles)
_SET_THROTTLE = _insert_throttle.on_conflict_do_update(
    index_elements=["user_id", "factor"],
    set_={name: _insert_throttle.excluded[name] for name in ("failures", "blocked_until", "last_guess")},
)
_SWEEP_CHALLENGES = delete(challenges).where(challenges.c.expires_at <= bindparam("now"))
_INSERT_CHALLENGE = insert(challenges)
_CLOSE_CHALLENGE = delete(challenges).where(challenges.c.state == bindparam("state_"))
_END_CHALLENGES = delete(challenges).where(challenges.c.user_id == bindparam("id_"))
_END_PAIRINGS = _END_CHALLENGES.where(challenges.c.stage.not_in([Stage.PIN, Stage.KEY]))
_END_REUSE = delete(reuse_windows).where(reuse_windows.c.user_id == bindparam("id_"))
_END_TICKETS = delete(tickets).where(tickets.c.user_id == bindparam("id_"))
_SWEEP_REUSE = delete(reuse_windows).where(reuse_windows.c.expires_at <= bindparam("now"))
_insert_reuse = sqlite.insert(reuse_windows)
_OPEN_REUSE = _insert_reuse.on_conflict_do_update(
    index_elements=["user_id", "client", "source"],
    set_={name: _insert_reuse.excluded[name] for name in ("expires_at", "length", "passcode_mark")},
)
_insert_known_source = sqlite.insert(known_sources)
_SET_KNOWN_SOURCE = _insert_known_source.on_conflict_do_update(
    index_elements=["user_id", "source"],
    set_={name: _insert_known_source.excluded[name] for name in ("last_accepted_at", "failures", "blocked_until")},
)
_OF_THIS_USER = known_sources.c.user_id == bindparam("id_")
_DROP_OLD_SOURCES = delete(known_sources).where(
    _OF_THIS_USER,
    known_sources.c.source.not_in(
        select(known_sources.c.source)
        .where(_OF_THIS_USER)
        .order_by(known_sources.c.last_accepted_at.desc(), known_sources.c.source)
        .limit(bindparam("keep"))
    ),
)
_CLEAR_KNOWN_SOURCES = update(known_sources).where(_OF_THIS_USER).values(failures=0, blocked_until=0.0)
_FORGET_KNOWN_SOURCES = delete(known_sources).where(_OF_THIS_USER)
_insert_score = sqlite.insert(source_scores)
_SET_SCORE = _insert_score.on_conflict_do_update(
    index_elements=["source"],
    set_={name: _insert_score.excluded[name] for name in ("score", "blocked_until", "at")},
)
_SWEEP_SCORES = delete(source_scores).where(source_scores.c.at + source_scores.c.score * MINUTE <= bindparam("now"))
_insert_guesses = sqlite.insert(guesses)
_COUNT_GUESSES = _insert_guesses.on_conflict_do_update(
    index_elements=["user_id", "day"], set_={"compared": guesses.c.compared + _insert_guesses.excluded.compared}
)
_REHASH = (
    update(users)
    .where(users.c.id == bindparam("id_"), users.c.password_version == bindparam("version"))
    .values(password_hash=bindparam("hash"), password_version=users.c.password_version + 1)
)
_INSERT_TOKENS = insert(tokens)
_INSERT_KNOWN_KEYS = insert(known_keys)
_CHUNK = 1000  # rows of one statement
_INSERT_AUDIT = insert(audit)
_MOVE_HEAD = (
    update(audit_heads)
    .where(audit_heads.c.chain == bindparam("chain_"), audit_heads.c.seq == bindparam("seq_"))
    .values(seq=bindparam("new_seq"), mac=bindparam("new_mac"))
)


Place: TypeAlias = tuple[str, str, int | None, bytes]


def place_of(token: Token) -> Place:
    """What a sealed key depends on."""
    return token.serial, token.kind, token.user_id, token.key


class Writer:
    """Applies changes to one open transaction."""

    def __init__(
        self,
        connection: Connection,
        sealer: Sealer,
        fingerprint_key: bytes,
        audit_key: bytes,
        chain: str,
        sealed_ahead: Mapping[Place, bytes] | None = None,
    ) -> None:
        self._connection = connection
        self._sealed_ahead = sealed_ahead or {}
        self._sealer = sealer
        self._fingerprint_key = fingerprint_key
        self._audit_key = audit_key
        self._chain = chain
        self._audits: list[Audit] = []
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            c.UseToken: self._use_token,
            c.UseSecurityKey: self._use_security_key,
            c.CountTokenFailure: self._count_token_failure,
            c.SetThrottle: self._set_throttle,
            c.OpenChallenge: self._open_challenge,
            c.CloseChallenge: self._close_challenge,
            c.EndLoginsOf: self._end_logins_of,
            c.CountGuesses: self._count_guesses,
            c.ForgetGuesses: self._forget_guesses,
            c.Resynchronise: self._resynchronise,
            c.OpenReuse: self._open_reuse,
            c.SetKnownSource: self._set_known_source,
            c.ClearKnownSources: self._clear_known_sources,
            c.ForgetKnownSources: self._forget_known_sources,
            c.SetSourceScore: self._set_source_score,
            c.InsertTicket: self._insert_ticket,
            c.UseTicket: self._use_ticket,
            c.SetPairing: self._set_pairing,
            c.MarkRegistered: self._mark_registered,
            c.SetBypass: self._set_bypass,
            c.InsertRule: self._insert_rule,
            c.DeleteRule: self._delete_rule,
            c.InsertText: self._insert_text,
            c.Rehash: self._rehash,
            c.InsertUser: self._insert_user,
            c.ReplaceUser: self._replace_user,
            c.DeleteUser: self._delete_user,
            c.AssignToken: self._assign_token,
            c.SetTokenState: self._set_token_state,
            c.InsertClient: self._insert_client,
            c.ReplaceClient: self._replace_client,
            c.DeleteClient: self._delete_client,
            c.AddSignedSource: self._add_signed_source,
            c.Audit: self._audits.append,
            c.AuditFlood: self._audit_flood,
        }

    def apply(self, changes: Iterable[Change]) -> None:
        for kind, run in groupby(changes, type):
            if kind is c.InsertToken:
                self._insert_tokens(run)
                continue
            for change in run:
                self._handlers[kind](change)

    def finish(self) -> None:
        """Write the audit rows of this transaction and move the head of the chain."""
        if not self._audits:
            return
        head = read_head(self._connection, self._chain)
        made, new = trail.rows(self._audit_key, head or trail.Head(self._chain, 0, trail.GENESIS), self._audits)
        self._connection.execute(_INSERT_AUDIT, made)
        if head is None:
            self._connection.execute(insert(audit_heads).values(chain=new.chain, seq=new.seq, mac=new.mac))
            return
        values = {"chain_": head.chain, "seq_": head.seq, "new_seq": new.seq, "new_mac": new.mac}
        self._one(_MOVE_HEAD, values, "the audit head moved")

    def _one(self, statement: Update | Delete, values: dict[str, Any], otherwise: str) -> None:
        if self._connection.execute(statement, values).rowcount != 1:
            raise Conflict(otherwise)

    # --- logins ---------------------------------------------------------------------------------------------

    def _use_token(self, change: c.UseToken) -> None:
        moved = {"from_": change.from_, "to": change.to, "drift_": change.drift}
        values = {"id_": change.token_id, "at": change.used_at, **moved}
        self._one(_USE_TOKEN, values, "the passcode was used in the meantime")

    def _use_security_key(self, change: c.UseSecurityKey) -> None:
        if not (change.from_ < change.to or (change.stays and change.from_ == change.to)):
            raise Conflict("a sign count never goes back")
        here = (
            (tokens.c.id == change.token_id)
            & (tokens.c.moving_factor == change.from_)
            & (tokens.c.state == TokenState.ACTIVE)
        )
        values = {"moving_factor": change.to, "failures": 0, "last_used_at": change.used_at}
        self._one(update(tokens).where(here).values(values), {}, "the security key was used in the meantime")

    def _count_token_failure(self, change: c.CountTokenFailure) -> None:
        state = TokenState.DISABLED if change.disable else TokenState.ACTIVE
        values = {"id_": change.token_id, "count": change.failures, "new": str(state)}
        self._one(_COUNT_TOKEN_FAILURE, values, "the token's state changed")

    def _set_throttle(self, change: c.SetThrottle) -> None:
        values = {"user_id": change.user_id, "factor": str(change.factor), **asdict(change.throttle)}
        self._connection.execute(_SET_THROTTLE, values)

    def _open_challenge(self, change: c.OpenChallenge) -> None:
        self._connection.execute(_SWEEP_CHALLENGES, {"now": change.now})
        self._connection.execute(_INSERT_CHALLENGE, rows.challenge_columns(change.challenge, self._sealer))

    def _close_challenge(self, change: c.CloseChallenge) -> None:
        self._one(_CLOSE_CHALLENGE, {"state_": change.state}, "the challenge was closed in the meantime")

    def _end_logins_of(self, change: c.EndLoginsOf) -> None:
        values = {"id_": change.user_id}
        self._connection.execute(_END_TICKETS, values)
        if change.pairing_only:
            self._connection.execute(_END_PAIRINGS, values)
            return
        self._connection.execute(_END_CHALLENGES, values)
        self._connection.execute(_END_REUSE, values)

    def _count_guesses(self, change: c.CountGuesses) -> None:
        here = (guesses.c.user_id == change.user_id) & (guesses.c.day < change.forget_before)
        self._connection.execute(delete(guesses).where(here))
        values = {"user_id": change.user_id, "day": change.day, "compared": change.compared}
        self._connection.execute(_COUNT_GUESSES, values)

    def _forget_guesses(self, change: c.ForgetGuesses) -> None:
        self._connection.execute(delete(guesses).where(guesses.c.user_id == change.user_id))

    def _resynchronise(self, change: c.Resynchronise) -> None:
        here = (
            (tokens.c.id == change.token_id)
            & (tokens.c.moving_factor == change.from_)
            & (tokens.c.moving_factor < change.to)
            & (tokens.c.state != TokenState.REVOKED)
        )
        values = {"moving_factor": change.to, "drift": change.drift, "failures": 0}
        self._one(update(tokens).where(here).values(values), {}, "the token was used or revoked in the meantime")

    def _open_reuse(self, change: c.OpenReuse) -> None:
        values = {"user_id": change.user_id, **asdict(change.reuse)}
        self._connection.execute(_SWEEP_REUSE, {"now": change.now})
        self._connection.execute(_OPEN_REUSE, values)

    def _set_known_source(self, change: c.SetKnownSource) -> None:
        self._connection.execute(_SET_KNOWN_SOURCE, {"user_id": change.user_id, **asdict(change.known)})
        self._connection.execute(_DROP_OLD_SOURCES, {"id_": change.user_id, "keep": change.keep})

    def _clear_known_sources(self, change: c.ClearKnownSources) -> None:
        self._connection.execute(_CLEAR_KNOWN_SOURCES, {"id_": change.user_id})

    def _forget_known_sources(self, change: c.ForgetKnownSources) -> None:
        self._connection.execute(_FORGET_KNOWN_SOURCES, {"id_": change.user_id})

    def _set_source_score(self, change: c.SetSourceScore) -> None:
        """A count that begins sweeps out those that have ended: nothing else makes rows."""
        if change.score.score <= 1:
            self._connection.execute(_SWEEP_SCORES, {"now": change.now})
        self._connection.execute(_SET_SCORE, {"source": change.source, **asdict(change.score)})

    def _insert_ticket(self, change: c.InsertTicket) -> None:
        """A user has one ticket of a login and one of an admin at a time: whoever knows the password could otherwise
        take the admin's away."""
        ticket = change.ticket
        replaced = (tickets.c.user_id == ticket.user_id) & (tickets.c.by_admin == ticket.by_admin)
        self._connection.execute(delete(tickets).where((tickets.c.expires_at <= change.now) | replaced))
        self._connection.execute(insert(tickets).values(asdict(ticket)))

    def _use_ticket(self, change: c.UseTicket) -> None:
        self._one(
            delete(tickets).where(tickets.c.digest.in_([change.digest])), {}, "the ticket was used in the meantime"
        )

    def _rehash(self, change: c.Rehash) -> None:
        values = {"id_": change.user_id, "version": change.version, "hash": change.password_hash}
        self._one(_REHASH, values, "the password was changed in the meantime")

    # --- users and tokens -----------------------------------------------------------------------------------

    def _insert_user(self, change: c.InsertUser) -> None:
        self._connection.execute(insert(users).values(rows.user_columns(change.user)))

    def _replace_user(self, change: c.ReplaceUser) -> None:
        statement = update(users).where(users.c.id == change.user.id).values(rows.user_columns(change.user))
        self._one(statement, {}, "the user was removed")

    def _delete_user(self, change: c.DeleteUser) -> None:
        self._connection.execute(delete(tokens).where(tokens.c.user_id == change.user_id))
        self._one(delete(users).where(users.c.id == change.user_id), {}, "the user was removed")

    def _set_pairing(self, change: c.SetPairing) -> None:
        values = {"pairing": str(change.pairing), "pairing_since": change.since}
        self._one(update(users).where(users.c.id == change.user_id).values(values), {}, "the user was removed")

    def _mark_registered(self, change: c.MarkRegistered) -> None:
        here = (users.c.id == change.user_id) & (users.c.first_registered_at.is_(None))
        self._connection.execute(update(users).where(here).values(first_registered_at=change.at))

    def _set_bypass(self, change: c.SetBypass) -> None:
        statement = update(users).where(users.c.id == change.user_id).values(bypass_until=change.until)
        self._one(statement, {}, "the user was removed")

    def _insert_tokens(self, run: Iterable[Any]) -> None:
        """As many as come one after the other, which may be a boxful."""
        while chunk := [self._token_columns(change.token) for change in islice(run, _CHUNK)]:
            known = [{"fingerprint": columns["fingerprint"], "serial": columns["serial"]} for columns in chunk]
            self._connection.execute(_INSERT_KNOWN_KEYS, known)
            self._connection.execute(_INSERT_TOKENS, chunk)

    def _token_columns(self, token: Token) -> dict[str, Any]:
        mark = fingerprint(self._fingerprint_key, canonical_key(token.key, token.algorithm))
        return rows.token_columns(token, self._sealer, mark, self._sealed_ahead.get(place_of(token)))

    def _assign_token(self, change: c.AssignToken) -> None:
        token, owner = change.token, tokens.c.user_id
        sealed = rows.sealed_key(replace(token, user_id=change.to), self._sealer)
        here = (
            (tokens.c.id == token.id)
            & (owner.is_(None) if token.user_id is None else owner == token.user_id)
            & (tokens.c.state != TokenState.REVOKED)
        )
        values = {"user_id": change.to, "sealed_key": sealed}
        self._one(update(tokens).where(here).values(values), {}, "the token was given to somebody in the meantime")

    def _set_token_state(self, change: c.SetTokenState) -> None:
        values: dict[str, Any] = {"state": change.state}
        if change.state is TokenState.REVOKED:
            values |= {"sealed_key": None, "revoked_at": change.at, "revoke_reason": change.reason}
        if change.state is TokenState.ACTIVE:
            values |= {"failures": 0}
        here = (tokens.c.id == change.token_id) & (tokens.c.state != TokenState.REVOKED)
        self._one(update(tokens).where(here).values(values), {}, "the token was revoked in the meantime")

    # --- clients --------------------------------------------------------------------------------------------

    def _insert_client(self, change: c.InsertClient) -> None:
        values = rows.client_columns(change.client, self._sealer) | {"version": self._next_generation()}
        self._connection.execute(insert(clients).values(values))

    def _replace_client(self, change: c.ReplaceClient) -> None:
        values = rows.client_columns(change.client, self._sealer) | {"version": self._next_generation()}
        here = (clients.c.name == change.client.name) & (clients.c.version == change.client.version)
        self._one(update(clients).where(here).values(values), {}, "the client was changed in the meantime")

    def _delete_client(self, change: c.DeleteClient) -> None:
        self._next_generation()
        self._one(delete(clients).where(clients.c.name == change.name), {}, "the client was removed in the meantime")

    def _add_signed_source(self, change: c.AddSignedSource) -> None:
        self._next_generation()
        self._connection.execute(insert(signed_sources).values(client=change.client, address=change.address))

    # --- policies and texts ---------------------------------------------------------------------------------

    def _insert_rule(self, change: c.InsertRule) -> None:
        self._delete_rules(change.rule.key, change.rule.scope)
        scope = rows.scope_columns(change.rule.scope) | {"network": rows.network_column(change.rule.scope)}
        self._connection.execute(insert(policies).values(key=change.rule.key, value=change.rule.value, **scope))

    def _delete_rule(self, change: c.DeleteRule) -> None:
        self._delete_rules(change.key, change.scope)

    def _delete_rules(self, key: str, scope: Scope) -> None:
        self._next_generation(BOOK_GENERATION)
        wanted = {"key": key, **rows.scope_columns(scope), "network": rows.network_column(scope)}
        self._connection.execute(delete(policies).where(*(policies.c[n] == v for n, v in wanted.items())))

    def _insert_text(self, change: c.InsertText) -> None:
        self._next_generation(BOOK_GENERATION)
        text = change.text
        wanted = {"key": text.key, "language": text.language, **rows.scope_columns(text.scope)}
        self._connection.execute(delete(texts).where(*(texts.c[n] == v for n, v in wanted.items())))
        if text.text:
            self._connection.execute(insert(texts).values(text=text.text, **wanted))

    def _next_generation(self, which: str = CLIENTS_GENERATION) -> int:
        """Move a number that tells servers to read clients, or policies, anew. No client version is given twice."""
        here = meta.c.name == which
        number = cast(cast(meta.c.value, Integer) + 1, Text)
        self._connection.execute(update(meta).where(here).values(value=number))
        return int(self._connection.execute(select(meta.c.value).where(here)).scalar_one())

    # --- audit ----------------------------------------------------------------------------------------------

    def _audit_flood(self, change: c.AuditFlood) -> None:
        """A row at most every `every` seconds and key; in between they are counted."""
        here = floods.c.key == change.key
        now = change.audit.at
        found = self._connection.execute(select(floods.c.since, floods.c.suppressed).where(here)).one_or_none()
        if found is not None and found.since <= now < found.since + change.every:
            self._connection.execute(update(floods).where(here).values(suppressed=floods.c.suppressed + 1))
            return
        suppressed = found.suppressed if found is not None else 0
        detail = dict(change.audit.detail) | ({"suppressed": suppressed} if suppressed else {})
        self._audits.append(replace(change.audit, detail=detail))
        old = floods.c.since < now - _FORGET_FLOODS
        self._connection.execute(delete(floods).where(here | old))
        self._connection.execute(insert(floods).values(key=change.key, since=now, suppressed=0))


def read_head(connection: Connection, chain: str) -> trail.Head | None:
    found = connection.execute(select(audit_heads).where(audit_heads.c.chain == chain)).one_or_none()
    return trail.Head(found.chain, found.seq, found.mac) if found is not None else None
