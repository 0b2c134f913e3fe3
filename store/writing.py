"""Writing what decisions want done: one function per change, each a conditional statement.

Rules: a change that expects something and does not find it (`rowcount` 0, a constraint, a trigger) is a Conflict; the
whole transaction is then undone. Recorded answers are written when all else is, together, and after them the audit rows
of the transaction, in the order of the changes.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from itertools import groupby, islice
from typing import Any, TypeAlias

from sqlalchemy import (
    Connection,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.sql.dml import Delete, Update

from store import audit as trail
from store import rows
from store.gathering import GATHERED, Gathering, sweep
from store.prepared import Driver, Prepared, Query
from store.schema import (
    answers,
    audit,
    audit_heads,
    audit_starts,
    challenges,
    clients,
    floods,
    guesses,
    known_keys,
    known_sources,
    meta,
    policies,
    replies,
    reuse_windows,
    signed_sources,
    texts,
    tickets,
    tokens,
    users,
)
from store.sealing import Sealer, fingerprint, key_id_of
from store.snapshots import BOOK_GENERATION, CLIENTS_GENERATION, FACTS, KEY_ID
from store.upsert import Upsert, same
from validation import changes as c
from validation.changes import Audit, Change
from validation.model import Answered, Stage, Token, TokenState, canonical_key
from validation.ports import Conflict
from validation.repeating import LIFETIME
from validation.settings import Scope

_BEYOND = 1_000_000  # policies and clients are not changed as often between a backup and its restore
_FORGET_FLOODS = 7 * 86_400.0  # seconds; anybody can make such rows


# The statements on the road of a login, built once: building them costs more than running them.
_END_CHALLENGES = delete(challenges).where(challenges.c.user_id == bindparam("id_"))
_END_PAIRINGS = _END_CHALLENGES.where(challenges.c.stage.not_in([Stage.PIN, Stage.ASKED, Stage.KEY]))
_END_REUSE = delete(reuse_windows).where(reuse_windows.c.user_id == bindparam("id_"))
_END_TICKETS = delete(tickets).where(tickets.c.user_id == bindparam("id_"))
_SWEEP_REUSE = sweep(reuse_windows, reuse_windows.c.expires_at <= bindparam("now"))
_OPEN_REUSE = Upsert(reuse_windows, ["user_id", "client", "source"], same("expires_at", "length", "passcode_mark"))
_OF_THIS_USER = known_sources.c.user_id == bindparam("id_")
_CLEAR_KNOWN_SOURCES = update(known_sources).where(_OF_THIS_USER).values(failures=0, blocked_until=0.0)
_FORGET_KNOWN_SOURCES = delete(known_sources).where(_OF_THIS_USER)
# With its place: one that is written anew would else stand before the old ones for ever, and the sweep stop there.
_RECORD_ANSWERS = Upsert(answers, ["packet"], same("id", "user_id", "at", "generation", "sealed_decision"))
_SWEPT_AT_LEAST = 16
# One that is of a moment far ahead is of no use either, and must not stand in the way of those behind it.
_oldest = select(answers.c.id).order_by(answers.c.id).limit(bindparam("most"))
_of_no_use = (answers.c.at < bindparam("before")) | (answers.c.at > bindparam("ahead"))
_SWEEP_ANSWERS = Prepared(sweep(answers, answers.c.id.in_(_oldest) & _of_no_use))
_FORGET_ANSWERS = delete(answers).where(answers.c.user_id == bindparam("id_"))
_FORGET_ANSWERS_OF_OWNER = delete(answers).where(
    answers.c.user_id.in_(select(tokens.c.user_id).where(tokens.c.id == bindparam("token_id")))
)
_SWEEP_TICKETS = sweep(tickets, tickets.c.expires_at <= bindparam("now"))
_FLOOD = select(floods.c.since, floods.c.suppressed).where(floods.c.key == bindparam("key_"))
_COUNT_FLOOD = update(floods).where(floods.c.key == bindparam("key_")).values(suppressed=floods.c.suppressed + 1)
_BEGIN_FLOOD = Upsert(floods, ["key"], same("since", "suppressed"))
_SWEEP_FLOODS = sweep(floods, floods.c.since < bindparam("old"))
_REHASH = (
    update(users)
    .where(users.c.id == bindparam("id_"), users.c.password_version == bindparam("version"))
    .values(password_hash=bindparam("hash"), password_version=users.c.password_version + 1)
)
_INSERT_TOKENS = insert(tokens)
_INSERT_KNOWN_KEYS = insert(known_keys)
_CHUNK = 1000  # rows of one statement
_INSERT_AUDIT = Prepared(insert(audit))
_HEAD = Query(audit_heads.c.chain, select(audit_heads).where)
_HEAD_TO_MOVE = Query(audit_heads.c.chain, select(audit_heads).with_for_update().where)
_MOVE_HEAD = Prepared(
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
        self.driver = Driver(connection)
        self._sealed_ahead = sealed_ahead or {}
        self._any_sealer = sealer
        self._fingerprint_key = fingerprint_key
        self._audit_key = audit_key
        self._chain = chain
        self._gathering = Gathering(self.driver, lambda: self._sealer)
        self._answers: list[Answered] = []
        self._entries: list[Audit | c.AuditFlood] = []

    @cached_property
    def _sealer(self) -> Sealer:
        """Sealing with the key that this transaction finds: a rotation waits for it, and then finds what it sealed."""
        (fact,) = FACTS.rows(self.driver, [KEY_ID])
        return self._any_sealer.under(bytes.fromhex(fact["value"]))

    def apply(self, changes: Iterable[Change]) -> None:
        for kind, run in groupby(changes, type):
            self._apply(kind, run)

    def _apply(self, kind: type[Any], run: Iterable[Any]) -> None:
        if kind in GATHERED:
            self._gathering.add(kind, run)
        elif kind in (Audit, c.AuditFlood):
            self._entries += run
        elif kind is c.RecordAnswer:
            self._answers += (change.answered for change in run)
        elif kind is c.InsertToken:
            self._insert_tokens(run)
        else:
            self._gathering.write()
            for change in run:
                _HANDLERS[kind](self, change)

    def _write_answers(self) -> None:
        """In the order of their packets, as every server does: no user's row stands for an answer to nobody. Twice as
        many old ones go as new ones come."""
        if not self._answers:
            return
        made = [rows.answered_columns(answered, self._sealer) for answered in self._answers]
        _RECORD_ANSWERS.run(self.driver, sorted(made, key=lambda columns: columns["packet"]))
        now = max(answered.at for answered in self._answers)
        most = max(_SWEPT_AT_LEAST, 2 * len(made))
        bounds = {"before": now - 2 * LIFETIME, "ahead": now + 2 * LIFETIME, "most": most}
        _SWEEP_ANSWERS.run(self.driver, [bounds])

    def _forget_answers(self, user_id: int) -> None:
        self._connection.execute(_FORGET_ANSWERS, {"id_": user_id})

    def _one(self, statement: Update | Delete, values: dict[str, Any], otherwise: str) -> None:
        if self._connection.execute(statement, values).rowcount != 1:
            raise Conflict(otherwise)

    # --- logins ---------------------------------------------------------------------------------------------

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

    def _end_logins_of(self, change: c.EndLoginsOf) -> None:
        values = {"id_": change.user_id}
        self._connection.execute(_END_TICKETS, values)
        self._forget_answers(change.user_id)
        if change.pairing_only:
            self._connection.execute(_END_PAIRINGS, values)
            return
        self._connection.execute(_END_CHALLENGES, values)
        self._connection.execute(_END_REUSE, values)

    def _forget_guesses(self, change: c.ForgetGuesses) -> None:
        self._connection.execute(delete(guesses).where(guesses.c.user_id == change.user_id))

    def _resynchronise(self, change: c.Resynchronise) -> None:
        here = (
            (tokens.c.id == change.token_id)
            & (tokens.c.moving_factor == change.from_)
            & (tokens.c.moving_factor < change.to)
            & (tokens.c.state != TokenState.REVOKED)
        )
        values = {"moving_factor": change.to, "drift": change.drift, "failures": 0, "needs_resync": False}
        self._one(update(tokens).where(here).values(values), {}, "the token was used or revoked in the meantime")

    # --- all at once, after the store was taken back ----------------------------------------------------------

    def _pass_steps(self, change: c.PassSteps) -> None:
        of_kind = (tokens.c.kind == "totp") & (tokens.c.state != TokenState.REVOKED)
        for period in self._connection.execute(select(tokens.c.period).where(of_kind).distinct()).scalars().all():
            first = int(change.now // period) + change.steps
            here = of_kind & (tokens.c.period == period) & (tokens.c.moving_factor < first)
            self._connection.execute(update(tokens).where(here).values(moving_factor=first))

    def _pass_counters(self, change: c.PassCounters) -> None:
        last = change.most - change.by
        at = tokens.c.moving_factor
        moved = case((at > last, change.most), else_=at + change.by)
        here = (tokens.c.kind == change.kind) & (tokens.c.state != TokenState.REVOKED)
        self._connection.execute(update(tokens).where(here).values(moving_factor=moved))

    def _need_resync(self, change: c.NeedResync) -> None:
        here = tokens.c.kind.in_(change.kinds) & (tokens.c.state != TokenState.REVOKED)
        self._connection.execute(update(tokens).where(here).values(needs_resync=True))

    def _revoke_kind(self, change: c.RevokeKind) -> None:
        here = (tokens.c.kind == change.kind) & (tokens.c.state != TokenState.REVOKED)
        gone = {"state": TokenState.REVOKED, "sealed_key": None}
        values = gone | {"revoked_at": change.at, "revoke_reason": change.reason}
        self._connection.execute(update(tokens).where(here).values(values))

    def _end_all_logins(self, _: c.EndAllLogins) -> None:
        for table in (challenges, reuse_windows, tickets, answers):
            self._connection.execute(delete(table))
        for which in (BOOK_GENERATION, CLIENTS_GENERATION):
            self._next_generation(which, _BEYOND)  # servers may remember numbers that the store has forgotten

    def _open_reuse(self, change: c.OpenReuse) -> None:
        values = {"user_id": change.user_id, **asdict(change.reuse)}
        self._connection.execute(_SWEEP_REUSE, {"now": change.now})
        _OPEN_REUSE.run(self.driver, values)

    def _clear_known_sources(self, change: c.ClearKnownSources) -> None:
        self._connection.execute(_CLEAR_KNOWN_SOURCES, {"id_": change.user_id})

    def _forget_known_sources(self, change: c.ForgetKnownSources) -> None:
        self._connection.execute(_FORGET_KNOWN_SOURCES, {"id_": change.user_id})

    def _insert_ticket(self, change: c.InsertTicket) -> None:
        """A user has one ticket of a login and one of an admin at a time: whoever knows the password could otherwise
        take the admin's away."""
        ticket = change.ticket
        replaced = (tickets.c.user_id == ticket.user_id) & (tickets.c.by_admin == ticket.by_admin)
        self._connection.execute(_SWEEP_TICKETS, {"now": change.now})
        self._connection.execute(delete(tickets).where(replaced))
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
        self._forget_answers(change.user.id)

    def _delete_user(self, change: c.DeleteUser) -> None:
        self._connection.execute(delete(tokens).where(tokens.c.user_id == change.user_id))
        self._one(delete(users).where(users.c.id == change.user_id), {}, "the user was removed")

    def _set_pairing(self, change: c.SetPairing) -> None:
        values = {"pairing": str(change.pairing), "pairing_since": change.since}
        self._one(update(users).where(users.c.id == change.user_id).values(values), {}, "the user was removed")
        self._forget_answers(change.user_id)

    def _mark_registered(self, change: c.MarkRegistered) -> None:
        here = (users.c.id == change.user_id) & (users.c.first_registered_at.is_(None))
        self._connection.execute(update(users).where(here).values(first_registered_at=change.at))

    def _set_bypass(self, change: c.SetBypass) -> None:
        statement = update(users).where(users.c.id == change.user_id).values(bypass_until=change.until)
        self._one(statement, {}, "the user was removed")
        self._forget_answers(change.user_id)

    def _insert_tokens(self, run: Iterable[Any]) -> None:
        """As many as come one after the other, which may be a boxful."""
        while chunk := [self._token_columns(change.token) for change in islice(run, _CHUNK)]:
            known = [{"fingerprint": columns["fingerprint"], "serial": columns["serial"]} for columns in chunk]
            self._connection.execute(_INSERT_KNOWN_KEYS, known)
            self._connection.execute(_INSERT_TOKENS, chunk)

    def _token_columns(self, token: Token) -> dict[str, Any]:
        mark = fingerprint(self._fingerprint_key, canonical_key(token.key, token.algorithm))
        ahead = self._sealed_ahead.get(place_of(token))
        sealed = ahead if ahead is not None and key_id_of(ahead) == self._sealer.key_id else None
        return rows.token_columns(token, self._sealer, mark, sealed)

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
        for owner_id in (token.user_id, change.to):
            if owner_id is not None:
                self._forget_answers(owner_id)

    def _set_token_state(self, change: c.SetTokenState) -> None:
        values: dict[str, Any] = {"state": change.state}
        if change.state is TokenState.REVOKED:
            values |= {"sealed_key": None, "revoked_at": change.at, "revoke_reason": change.reason}
        if change.state is TokenState.ACTIVE:
            values |= {"failures": 0}
        here = (tokens.c.id == change.token_id) & (tokens.c.state != TokenState.REVOKED)
        self._one(update(tokens).where(here).values(values), {}, "the token was revoked in the meantime")
        self._connection.execute(_FORGET_ANSWERS_OF_OWNER, {"token_id": change.token_id})

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
        scope = rows.rule_scope_columns(change.rule.scope)
        self._connection.execute(insert(policies).values(key=change.rule.key, value=change.rule.value, **scope))

    def _delete_rule(self, change: c.DeleteRule) -> None:
        self._delete_rules(change.key, change.scope)

    def _delete_rules(self, key: str, scope: Scope) -> None:
        self._next_generation(BOOK_GENERATION)
        wanted = {"key": key, **rows.rule_scope_columns(scope)}
        self._connection.execute(delete(policies).where(*(policies.c[n] == v for n, v in wanted.items())))

    def _insert_text(self, change: c.InsertText) -> None:
        self._next_generation(BOOK_GENERATION)
        text = change.text
        wanted = {"key": text.key, "language": text.language, **rows.scope_columns(text.scope)}
        self._connection.execute(delete(texts).where(*(texts.c[n] == v for n, v in wanted.items())))
        if text.text:
            self._connection.execute(insert(texts).values(text=text.text, **wanted))

    def _set_reply(self, change: c.SetReply) -> None:
        self._next_generation(BOOK_GENERATION)
        reply = change.reply
        wanted = {"attribute": reply.attribute, "group": reply.scope.group or "", "client": reply.scope.client or ""}
        self._connection.execute(delete(replies).where(*(replies.c[n] == v for n, v in wanted.items())))
        if reply.values:
            self._connection.execute(insert(replies).values(wanted | {"values": json.dumps(reply.values)}))

    def _next_generation(self, which: str = CLIENTS_GENERATION, by: int = 1) -> int:
        """Move a number that tells servers to read clients, or policies, anew. No client version is given twice."""
        here = meta.c.name == which
        number = cast(cast(meta.c.value, Integer) + by, Text)
        self._connection.execute(update(meta).where(here).values(value=number))
        return int(self._connection.execute(select(meta.c.value).where(here)).scalar_one())

    # --- audit ----------------------------------------------------------------------------------------------

    def _prune_rows(self, change: c.PruneRows) -> None:
        """First where the rest starts, which the next to prune this chain waits for."""
        start = change.start
        here = audit_starts.c.chain == start.chain
        values = {"seq": start.seq, "mac": start.mac, "began": start.began, "seal": trail.seal(self._audit_key, start)}
        if change.after:
            moved = update(audit_starts).where(here, audit_starts.c.seq == change.after).values(values)
            self._one(moved, {}, "somebody else has pruned this chain")
        else:
            self._connection.execute(insert(audit_starts).values(chain=start.chain, **values))
        of_chain = audit.c.chain == start.chain
        if self._connection.execute(select(audit.c.seq).where(of_chain, audit.c.seq == start.seq + 1)).first() is None:
            raise Conflict("the newest row of a chain stays")
        old = (audit.c.at < change.before) | (audit.c.at > change.now)
        gone = delete(audit).where(of_chain, audit.c.seq > change.after, audit.c.seq <= start.seq, old)
        if self._connection.execute(gone).rowcount != start.seq - change.after:
            raise Conflict("rows of the trail have changed in the meantime")

    def finish(self) -> None:
        """Write the answers and the audit rows of this transaction, and move the head of the chain, which is locked
        last of all."""
        self._gathering.write()
        self._write_answers()
        if not self._entries:
            return
        head = _read_head(self.driver, self._chain, _HEAD_TO_MOVE)
        before = head or trail.Head(self._chain, 0, trail.GENESIS)
        told = [audit for entry in self._entries for audit in self._told(entry, before)]
        made, new = trail.rows(self._audit_key, before, told)
        if made:
            _INSERT_AUDIT.run(self.driver, made)
        if head is None:
            self._connection.execute(insert(audit_heads).values(chain=new.chain, seq=new.seq, mac=new.mac))
            return
        values = {"chain_": head.chain, "seq_": head.seq, "new_seq": new.seq, "new_mac": new.mac}
        if _MOVE_HEAD.run(self.driver, [values]) != 1:
            raise Conflict("the audit head moved")

    def _told(self, entry: Audit | c.AuditFlood, head: trail.Head) -> Iterator[Audit]:
        """What is written of an entry: of a flood, a row at most every `every` seconds, key and chain; in between they
        are counted."""
        if isinstance(entry, Audit):
            yield entry
            return
        key, now = f"{self._chain}|{entry.key}", entry.audit.at
        found = self._connection.execute(_FLOOD, {"key_": key}).one_or_none()
        if found is not None and found.since <= now < found.since + entry.every:
            # One that is only counted costs what a written one costs: else its time tells who does not exist.
            trail.rows(self._audit_key, head, [entry.audit])
            self._connection.execute(_COUNT_FLOOD, {"key_": key})
            return
        suppressed = found.suppressed if found is not None else 0
        yield replace(entry.audit, detail=dict(entry.audit.detail) | ({"suppressed": suppressed} if suppressed else {}))
        self._connection.execute(_SWEEP_FLOODS, {"old": now - _FORGET_FLOODS})
        _BEGIN_FLOOD.run(self.driver, {"key": key, "since": now, "suppressed": 0})


_HANDLERS: dict[type[Any], Callable[[Writer, Any], None]] = {
    c.UseSecurityKey: Writer._use_security_key,
    c.EndLoginsOf: Writer._end_logins_of,
    c.ForgetGuesses: Writer._forget_guesses,
    c.Resynchronise: Writer._resynchronise,
    c.PassSteps: Writer._pass_steps,
    c.PassCounters: Writer._pass_counters,
    c.NeedResync: Writer._need_resync,
    c.RevokeKind: Writer._revoke_kind,
    c.EndAllLogins: Writer._end_all_logins,
    c.OpenReuse: Writer._open_reuse,
    c.ClearKnownSources: Writer._clear_known_sources,
    c.ForgetKnownSources: Writer._forget_known_sources,
    c.InsertTicket: Writer._insert_ticket,
    c.UseTicket: Writer._use_ticket,
    c.SetPairing: Writer._set_pairing,
    c.MarkRegistered: Writer._mark_registered,
    c.SetBypass: Writer._set_bypass,
    c.InsertRule: Writer._insert_rule,
    c.DeleteRule: Writer._delete_rule,
    c.InsertText: Writer._insert_text,
    c.SetReply: Writer._set_reply,
    c.Rehash: Writer._rehash,
    c.InsertUser: Writer._insert_user,
    c.ReplaceUser: Writer._replace_user,
    c.DeleteUser: Writer._delete_user,
    c.AssignToken: Writer._assign_token,
    c.SetTokenState: Writer._set_token_state,
    c.InsertClient: Writer._insert_client,
    c.ReplaceClient: Writer._replace_client,
    c.DeleteClient: Writer._delete_client,
    c.AddSignedSource: Writer._add_signed_source,
    c.PruneRows: Writer._prune_rows,
}


def read_head(connection: Connection, chain: str) -> trail.Head | None:
    return _read_head(Driver(connection), chain, _HEAD)


def _read_head(driver: Driver, chain: str, query: Query) -> trail.Head | None:
    found = query.rows(driver, [chain])
    return trail.Head(**found[0]) if found else None
