"""What the engine needs from outside, in memory: a store, a clock with dice, and a list of faults.

Rules: `FakeStore` keeps every promise of `validation.ports.Store`; tests/contract holds it and the real store to the
same ones. Beyond that it can be told to fail, and remembers what was asked of it.
"""

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tests.builders import NOW
from validation import changes as c
from validation.changes import Audit, Change
from validation.errors import Damaged
from validation.model import (
    MOMENT_RANDOM_OCTETS,
    Answered,
    Client,
    Factor,
    Holdings,
    KnownSource,
    Moment,
    PendingChallenge,
    ReuseWindow,
    Snapshot,
    SourceScore,
    Stage,
    Throttle,
    Ticket,
    Token,
    TokenState,
    User,
    canonical_key,
)
from validation.policy import is_registration
from validation.ports import Conflict, Transaction
from validation.requests import LoginRequest, Wanted, neighbourhood
from validation.settings import EMPTY, Book, Reply, Rule, Scope, Text


@dataclass
class _Flood:
    since: float
    suppressed: int = 0


@dataclass
class _Rows:
    """Everything the store knows. Values are frozen, so a copy of the containers is a copy of all."""

    users: dict[int, User] = field(default_factory=dict)
    tokens: dict[int, Token] = field(default_factory=dict)
    known_keys: dict[bytes, str] = field(default_factory=dict)
    throttles: dict[tuple[int, Factor], Throttle] = field(default_factory=dict)
    challenges: dict[str, PendingChallenge] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    floods: dict[str, _Flood] = field(default_factory=dict)
    guesses: dict[tuple[int, int], int] = field(default_factory=dict)
    reuse: dict[tuple[int, str, str], ReuseWindow] = field(default_factory=dict)
    known_sources: dict[tuple[int, str], KnownSource] = field(default_factory=dict)
    scores: dict[str, SourceScore] = field(default_factory=dict)
    tickets: dict[bytes, Ticket] = field(default_factory=dict)
    answers: dict[bytes, Answered] = field(default_factory=dict)
    book: Book = EMPTY
    trail: list[Audit] = field(default_factory=list)
    pruned: int = 0
    last_id: int = 0
    generation: int = 0

    def copied(self) -> "_Rows":
        copies = {f.name: copy.copy(getattr(self, f.name)) for f in fields(self)}
        return _Rows(**copies | {"floods": copy.deepcopy(self.floods)})

    def user_called(self, name: str | None) -> User | None:
        return next((user for user in self.users.values() if user.name == name), None)

    def token_with(self, serial: str | None) -> Token | None:
        return next((token for token in self.tokens.values() if token.serial == serial), None)


class FakeStore:
    """A `Store` that can be told to fail.

    `trouble` is raised by whatever is asked; each of `commit_troubles` spoils one commit; `damage` names users whose
    rows cannot be read. `journal` tells what happened in which order, `batches` which requests shared a transaction.
    """

    def __init__(self) -> None:
        self._rows = _Rows()
        self.trouble: Exception | None = None
        self.commit_troubles: list[Exception] = []
        self.damage: dict[str, Damaged] = {}
        self.journal: list[str] = []
        self.batches: list[list[Wanted]] = []

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self._raise_trouble()
        self.journal.append("begin")
        transaction = _Transaction(self, self._rows.copied())
        try:
            yield transaction
            transaction.finish()
            if self.commit_troubles:
                raise self.commit_troubles.pop(0)
        except BaseException:
            self.journal.append("rollback")
            raise
        self._rows = transaction.rows
        self.journal.append("commit")

    def look(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        self._raise_trouble()
        return _snapshots(self._rows, wanted, self.damage)

    def seal_ahead(self, tokens: Iterable[Token]) -> None:
        """Nothing is sealed here."""

    def clients(self) -> tuple[Client, ...]:
        self._raise_trouble()
        return tuple(self._rows.clients.values())

    def clients_generation(self) -> int:
        self._raise_trouble()
        return self._rows.generation

    def check(self) -> None:
        with self.transaction():
            pass

    @property
    def trail(self) -> list[Audit]:
        return self._rows.trail

    def _raise_trouble(self) -> None:
        if self.trouble is not None:
            raise self.trouble


def _snapshots(rows: _Rows, wanted: Sequence[Wanted], damage: dict[str, Damaged]) -> list[Snapshot]:
    return [_snapshot(rows, one, damage) for one in wanted]


def _snapshot(rows: _Rows, wanted: Wanted, damage: dict[str, Damaged]) -> Snapshot:
    token = rows.token_with(wanted.serial)
    owner = rows.users[token.user_id] if token is not None and token.user_id is not None else None
    challenge = rows.challenges.get(wanted.state or "")
    ticket = rows.tickets.get(wanted.ticket or (challenge.ticket if challenge is not None else b""))
    if wanted.user is None and ticket is not None:
        owner = rows.users[ticket.user_id]
    user = rows.user_called(wanted.user) if wanted.user is not None else owner
    mine = [t for t in rows.tokens.values() if user is not None and t.user_id == user.id]
    return Snapshot(
        user=user,
        tokens=tuple(t for t in sorted(mine, key=lambda t: t.id) if t.state is not TokenState.REVOKED),
        throttles={factor: t for (owner_id, factor), t in rows.throttles.items() if user and owner_id == user.id},
        challenge=challenge,
        client=rows.clients.get(wanted.client or ""),
        clients=tuple(rows.clients.values()) if wanted.all_clients else (),
        token=token,
        token_owner=owner.name if owner is not None else None,
        key_known_as=rows.known_keys.get(wanted.key) if wanted.key is not None else None,
        book=rows.book,
        guesses={day: n for (owner_id, day), n in rows.guesses.items() if user is not None and owner_id == user.id},
        reuse=rows.reuse.get((user.id, wanted.client or "", wanted.source or "")) if user is not None else None,
        known_source=rows.known_sources.get((user.id, wanted.source or "")) if user is not None else None,
        source_score=rows.scores.get(neighbourhood(wanted.source or "")),
        ticket=ticket,
        answered=rows.answers.get(wanted.packet or b""),
        holdings=_holdings(rows, wanted),
        damage=damage.get(user.name) if user is not None else None,
    )


def _holdings(rows: _Rows, wanted: Wanted) -> Holdings:
    found = {token.serial: token for token in rows.tokens.values() if token.serial in wanted.serials}
    if wanted.keys:
        found = {serial: replace(token, key=b"") for serial, token in found.items()}
    owners = {token.user_id for token in found.values()}
    users = {user.name: user for user in rows.users.values() if user.name in wanted.users or user.id in owners}
    mine = {user.id: [t for t in rows.tokens.values() if t.user_id == user.id] for user in users.values()}
    counts = {owner: sum(is_registration(token) for token in tokens) for owner, tokens in mine.items()}
    known = {key: rows.known_keys[key] for key in wanted.keys if key in rows.known_keys}
    sheets = frozenset(
        owner
        for owner, tokens in mine.items()
        if any(t.kind == "recovery_code" and t.state is not TokenState.REVOKED for t in tokens)
    )
    return Holdings(found, known, users, {owner: count for owner, count in counts.items() if count}, sheets)


class _Transaction:
    def __init__(self, store: FakeStore, rows: _Rows) -> None:
        self._store = store
        self.rows = rows
        self.answers: list[Answered] = []

    def snapshots(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        self._store.batches.append(list(wanted))
        return _snapshots(self.rows, wanted, self._store.damage)

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._apply(change)

    def finish(self) -> None:
        """Answers are kept when all else is done, and of the old ones some go."""
        if not self.answers:
            return
        kept = self.rows.answers | {one.packet: one for one in self.answers}
        before = max(one.at for one in self.answers) - 60
        old = sorted((one for one in kept.values() if one.at < before), key=lambda one: one.at)
        gone = {one.packet for one in old[: max(16, 2 * len(self.answers))]}
        self.rows.answers = {packet: one for packet, one in kept.items() if packet not in gone}

    def _forget_answers_of(self, *owners: int | None) -> None:
        gone = set(owners) - {None}
        self.rows.answers = {key: one for key, one in self.rows.answers.items() if one.user_id not in gone}

    def _apply(self, change: Change) -> None:
        match change:
            case c.UseToken():
                self._use_token(change)
            case c.UseSecurityKey():
                self._use_security_key(change)
            case c.CountTokenFailure():
                self._count_token_failure(change)
            case c.SetThrottle():
                _expect(change.user_id in self.rows.users, "no such user")
                self.rows.throttles[change.user_id, change.factor] = change.throttle
            case c.OpenChallenge():
                self._open_challenge(change)
            case c.CloseChallenge():
                _expect(self.rows.challenges.pop(change.state, None) is not None, "the challenge is not open")
            case c.EndLoginsOf():
                self._end_logins_of(change)
            case c.CountGuesses():
                self._count_guesses(change)
            case c.ForgetGuesses():
                self.rows.guesses = {key: n for key, n in self.rows.guesses.items() if key[0] != change.user_id}
            case c.Resynchronise():
                self._resynchronise(change)
            case c.PassSteps() | c.PassCounters() | c.NeedResync() | c.RevokeKind():
                self.rows.tokens = {id_: _guarded(token, change) for id_, token in self.rows.tokens.items()}
            case c.EndAllLogins():
                self.rows.challenges, self.rows.reuse, self.rows.tickets, self.rows.answers = {}, {}, {}, {}
            case c.PruneRows():
                self._prune(change)
            case c.OpenReuse():
                self._open_reuse(change)
            case c.SetKnownSource():
                self._set_known_source(change)
            case c.ClearKnownSources():
                for key, known in self.rows.known_sources.items():
                    if key[0] == change.user_id:
                        self.rows.known_sources[key] = replace(known, failures=0, blocked_until=0.0)
            case c.ForgetKnownSources():
                self._forget_known_sources(change.user_id)
            case c.SetSourceScore():
                self._set_source_score(change)
            case c.RecordAnswer():
                _expect(change.answered.user_id in {None, *self.rows.users}, "no such user")
                self.answers.append(change.answered)
            case c.InsertTicket():
                self._insert_ticket(change)
            case c.UseTicket():
                _expect(self.rows.tickets.pop(change.digest, None) is not None, "no such ticket")
            case c.SetPairing():
                self._change_user(change.user_id, pairing=change.pairing, pairing_since=change.since)
                self._forget_answers_of(change.user_id)
            case c.MarkRegistered():
                if change.user_id in self.rows.users and self.rows.users[change.user_id].first_registered_at is None:
                    self._change_user(change.user_id, first_registered_at=change.at)
            case c.SetBypass():
                self._change_user(change.user_id, bypass_until=change.until)
                self._forget_answers_of(change.user_id)
            case c.InsertRule():
                self._write_rules(change.rule.key, change.rule.scope, change.rule)
            case c.DeleteRule():
                self._write_rules(change.key, change.scope, None)
            case c.InsertText():
                self._write_text(change.text)
            case c.SetReply():
                self._write_reply(change.reply)
            case c.Rehash():
                self._rehash(change)
            case c.InsertUser() | c.ReplaceUser():
                self._write_user(change)
            case c.DeleteUser():
                self._delete_user(change.user_id)
            case c.AssignToken():
                self._assign_token(change)
            case c.InsertToken():
                self._insert_token(change.token)
            case c.SetTokenState():
                self._set_token_state(change)
            case c.InsertClient() | c.ReplaceClient():
                self._write_client(change)
            case c.DeleteClient():
                _expect(self.rows.clients.pop(change.name, None) is not None, "no such client")
                self.rows.generation += 1
            case c.AddSignedSource():
                self._add_signed_source(change)
            case c.Audit():
                self.rows.trail.append(change)
            case c.AuditFlood():
                self._audit_flood(change)

    def _use_token(self, change: c.UseToken) -> None:
        token = self._active(change.token_id)
        _expect(token.moving_factor == change.from_ < change.to, "the moving factor is another")
        self.rows.tokens[token.id] = replace(
            token, moving_factor=change.to, drift=change.drift, failures=0, last_used_at=change.used_at
        )

    def _use_security_key(self, change: c.UseSecurityKey) -> None:
        token = self._active(change.token_id)
        _expect(change.from_ < change.to or (change.stays and change.from_ == change.to), "a count never goes back")
        _expect(token.moving_factor == change.from_, "the sign count is another")
        self.rows.tokens[token.id] = replace(token, moving_factor=change.to, failures=0, last_used_at=change.used_at)

    def _assign_token(self, change: c.AssignToken) -> None:
        token = self.rows.tokens.get(change.token.id)
        _expect(token is not None and token.state is not TokenState.REVOKED, "no such token")
        _expect(token is not None and token.user_id == change.token.user_id, "somebody else's")
        self.rows.tokens[change.token.id] = replace(change.token, user_id=change.to)
        self._forget_answers_of(change.token.user_id, change.to)

    def _count_token_failure(self, change: c.CountTokenFailure) -> None:
        token = self._active(change.token_id)
        state = TokenState.DISABLED if change.disable else token.state
        self.rows.tokens[token.id] = replace(token, failures=change.failures, state=state)
        if change.disable:
            self._forget_answers_of(token.user_id)

    def _active(self, token_id: int) -> Token:
        token = self.rows.tokens.get(token_id)
        if token is None or token.state is not TokenState.ACTIVE:
            raise Conflict("no such active token")
        return token

    def _open_challenge(self, change: c.OpenChallenge) -> None:
        challenges = self.rows.challenges
        for expired in [state for state, open_ in challenges.items() if open_.expires_at <= change.now]:
            del challenges[expired]
        nobody = change.challenge.user_id is None and change.challenge.refusal
        _expect(bool(nobody) or change.challenge.user_id in self.rows.users, "no such user")
        _expect(change.challenge.state not in challenges, "this State is open already")
        _expect(change.challenge.tries_left >= 1, "no tries left")
        challenges[change.challenge.state] = change.challenge
        whose = change.challenge.user_id
        mine = [open_ for open_ in challenges.values() if open_.user_id == whose and open_.proved]
        for old in sorted(mine, key=lambda open_: -open_.expires_at)[c.CHALLENGES_OF_USER :]:
            del challenges[old.state]
        here, sort = change.challenge.client, change.challenge.proved
        theirs = [open_ for open_ in challenges.values() if (open_.client, open_.proved) == (here, sort)]
        for old in sorted(theirs, key=lambda open_: -open_.expires_at)[c.CHALLENGES_OF_CLIENT :]:
            del challenges[old.state]

    def _end_logins_of(self, change: c.EndLoginsOf) -> None:
        mine, pairing = change.user_id, change.pairing_only
        self._forget_answers_of(mine)
        self.rows.tickets = {key: ticket for key, ticket in self.rows.tickets.items() if ticket.user_id != mine}
        for state, open_ in list(self.rows.challenges.items()):
            if open_.user_id == mine and (not pairing or open_.stage not in (Stage.PIN, Stage.ASKED, Stage.KEY)):
                del self.rows.challenges[state]
        if not pairing:
            self.rows.reuse = {key: window for key, window in self.rows.reuse.items() if key[0] != mine}

    def _count_guesses(self, change: c.CountGuesses) -> None:
        _expect(change.user_id in self.rows.users, "no such user")
        kept = {
            key: n for key, n in self.rows.guesses.items() if key[0] != change.user_id or key[1] >= change.forget_before
        }
        here = (change.user_id, change.day)
        self.rows.guesses = kept | {here: kept.get(here, 0) + change.compared}

    def _resynchronise(self, change: c.Resynchronise) -> None:
        token = self.rows.tokens.get(change.token_id)
        if token is None or token.state is TokenState.REVOKED or not (token.moving_factor == change.from_ < change.to):
            raise Conflict("no such token, or the moving factor is another")
        self.rows.tokens[token.id] = replace(
            token, moving_factor=change.to, drift=change.drift, failures=0, needs_resync=False
        )

    def _open_reuse(self, change: c.OpenReuse) -> None:
        _expect(change.user_id in self.rows.users, "no such user")
        kept = {key: window for key, window in self.rows.reuse.items() if window.expires_at > change.now}
        here = (change.user_id, change.reuse.client, change.reuse.source)
        self.rows.reuse = kept | {here: change.reuse}

    def _set_known_source(self, change: c.SetKnownSource) -> None:
        _expect(change.user_id in self.rows.users, "no such user")
        sources = self.rows.known_sources
        sources[change.user_id, change.known.source] = change.known
        mine = [known for (owner_id, _), known in sources.items() if owner_id == change.user_id]
        for old in sorted(mine, key=lambda known: (-known.last_accepted_at, known.source))[change.keep :]:
            del sources[change.user_id, old.source]

    def _forget_known_sources(self, user_id: int) -> None:
        self.rows.known_sources = {k: known for k, known in self.rows.known_sources.items() if k[0] != user_id}

    def _prune(self, change: c.PruneRows) -> None:
        """There is one chain."""
        gone = self.rows.trail[: change.start.seq - change.after]
        _expect(change.after == self.rows.pruned, "somebody else has pruned this chain")
        _expect(len(gone) == change.start.seq - change.after < len(self.rows.trail), "the newest row of a chain stays")
        _expect(all(row.at < change.before or row.at > change.now for row in gone), "rows have changed")
        self.rows.trail, self.rows.pruned = self.rows.trail[len(gone) :], change.start.seq

    def _set_source_score(self, change: c.SetSourceScore) -> None:
        kept = self.rows.scores
        if change.score.score <= 1:
            kept = {source: s for source, s in kept.items() if s.at + s.score * 60 > change.now}
        self.rows.scores = kept | {change.source: change.score}

    def _insert_ticket(self, change: c.InsertTicket) -> None:
        _expect(change.ticket.user_id in self.rows.users, "no such user")
        kept = {
            key: ticket
            for key, ticket in self.rows.tickets.items()
            if ticket.expires_at > change.now
            and (ticket.user_id, ticket.by_admin) != (change.ticket.user_id, change.ticket.by_admin)
        }
        _expect(change.ticket.digest not in kept, "this ticket exists")
        self.rows.tickets = kept | {change.ticket.digest: change.ticket}

    def _change_user(self, user_id: int, **fields_: Any) -> None:
        _expect(user_id in self.rows.users, "no such user")
        self.rows.users[user_id] = replace(self.rows.users[user_id], **fields_)

    def _write_rules(self, key: str, scope: Scope, new: Rule | None) -> None:
        book = self.rows.book
        kept = tuple(rule for rule in book.rules if (rule.key, rule.scope) != (key, scope))
        added = (replace(new, id=self._new_id()),) if new is not None else ()
        self.rows.book = Book(book.generation + 1, (*kept, *added), book.texts, book.replies)

    def _write_text(self, text: Text) -> None:
        book = self.rows.book
        here = (text.key, text.language, text.scope)
        kept = tuple(other for other in book.texts if (other.key, other.language, other.scope) != here)
        self.rows.book = Book(book.generation + 1, book.rules, (*kept, text) if text.text else kept, book.replies)

    def _write_reply(self, reply: Reply) -> None:
        book = self.rows.book
        kept = tuple(
            other for other in book.replies if (other.attribute, other.scope) != (reply.attribute, reply.scope)
        )
        self.rows.book = replace(
            book, generation=book.generation + 1, replies=(*kept, reply) if reply.values else kept, _cache={}
        )

    def _rehash(self, change: c.Rehash) -> None:
        user = self.rows.users.get(change.user_id)
        if user is None or user.password_version != change.version:
            raise Conflict("the password is another")
        self.rows.users[user.id] = replace(
            user, password_hash=change.password_hash, password_version=change.version + 1
        )

    def _write_user(self, change: c.InsertUser | c.ReplaceUser) -> None:
        user = replace(change.user, id=self._new_id()) if isinstance(change, c.InsertUser) else change.user
        _expect(isinstance(change, c.InsertUser) or user.id in self.rows.users, "no such user")
        namesake = self.rows.user_called(user.name)
        _expect(namesake is None or namesake.id == user.id, "the name is taken")
        self.rows.users[user.id] = user
        self._forget_answers_of(user.id)

    def _delete_user(self, user_id: int) -> None:
        _expect(self.rows.users.pop(user_id, None) is not None, "no such user")
        self._end_logins_of(c.EndLoginsOf(user_id))
        self._forget_known_sources(user_id)
        self.rows.guesses = {key: n for key, n in self.rows.guesses.items() if key[0] != user_id}
        self.rows.tokens = {id_: token for id_, token in self.rows.tokens.items() if token.user_id != user_id}
        self.rows.throttles = {key: value for key, value in self.rows.throttles.items() if key[0] != user_id}

    def _insert_token(self, token: Token) -> None:
        _expect(token.user_id is None or token.user_id in self.rows.users, "no such user")
        _expect(self.rows.token_with(token.serial) is None, "the serial is taken")
        key = canonical_key(token.key, token.algorithm)
        _expect(key not in self.rows.known_keys, "the key is known")
        self.rows.known_keys[key] = token.serial
        new = replace(token, id=self._new_id())
        self.rows.tokens[new.id] = new

    def _set_token_state(self, change: c.SetTokenState) -> None:
        token = self.rows.tokens.get(change.token_id)
        if token is None or token.state is TokenState.REVOKED:
            raise Conflict("no such token, or revoked already")
        key = b"" if change.state is TokenState.REVOKED else token.key
        failures = 0 if change.state is TokenState.ACTIVE else token.failures
        self.rows.tokens[token.id] = replace(token, state=change.state, key=key, failures=failures)
        self._forget_answers_of(token.user_id)

    def _write_client(self, change: c.InsertClient | c.ReplaceClient) -> None:
        client = change.client
        found = self.rows.clients.get(client.name)
        if isinstance(change, c.InsertClient):
            _expect(found is None, "the name is taken")
        else:
            _expect(found is not None and found.version == client.version, "the client is another")
        others = [other for other in self.rows.clients.values() if other.name != client.name]
        _expect(all(other.network != client.network for other in others), "the network is taken")
        self.rows.generation += 1
        signed = found.signed_sources if found is not None else frozenset()
        self.rows.clients[client.name] = replace(client, version=self.rows.generation, signed_sources=signed)

    def _add_signed_source(self, change: c.AddSignedSource) -> None:
        client = self.rows.clients.get(change.client)
        if client is None or change.address in client.signed_sources:
            raise Conflict("no such client, or known already")
        self.rows.generation += 1
        self.rows.clients[client.name] = replace(client, signed_sources=client.signed_sources | {change.address})

    def _audit_flood(self, change: c.AuditFlood) -> None:
        flood, now = self.rows.floods.get(change.key), change.audit.at
        if flood is not None and flood.since <= now < flood.since + change.every:
            flood.suppressed += 1
            return
        detail = dict(change.audit.detail)
        if flood is not None and flood.suppressed:
            detail["suppressed"] = flood.suppressed
        self.rows.trail.append(replace(change.audit, detail=detail))
        self.rows.floods[change.key] = _Flood(now)

    def _new_id(self) -> int:
        self.rows.last_id += 1
        return self.rows.last_id


def _guarded(token: Token, change: c.PassSteps | c.PassCounters | c.NeedResync | c.RevokeKind) -> Token:
    if token.state is TokenState.REVOKED:
        return token
    match change:
        case c.PassSteps() if token.kind == "totp":
            return replace(
                token, moving_factor=max(token.moving_factor, int(change.now // token.period) + change.steps)
            )
        case c.PassCounters() if token.kind == change.kind:
            return replace(token, moving_factor=min(token.moving_factor + change.by, change.most))
        case c.NeedResync() if token.kind in change.kinds:
            return replace(token, needs_resync=True)
        case c.RevokeKind() if token.kind == change.kind:
            return replace(token, state=TokenState.REVOKED, key=b"")
        case _:
            return token


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        raise Conflict(otherwise)


class FakeMoments:
    """A clock that stands still until `now` is set, and dice that never fall the same way twice."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self._thrown = 0

    def moment(self) -> Moment:
        self._thrown += 1
        return Moment(self.now, hashlib.shake_128(b"%d" % self._thrown).digest(MOMENT_RANDOM_OCTETS))


class CollectedFaults:
    """The errors inside decisions, with the requests that met them, and what could not be told."""

    def __init__(self) -> None:
        self.found: list[tuple[LoginRequest, Exception]] = []
        self.untold: list[tuple[Audit, Exception]] = []

    def decision_failed(self, request: LoginRequest, error: Exception) -> None:
        self.found.append((request, error))

    def notice_failed(self, audit: Audit, error: Exception) -> None:
        self.untold.append((audit, error))


class CollectedNotices:
    """What somebody would have been told, in order."""

    def __init__(self) -> None:
        self.told: list[Audit] = []

    def tell(self, audit: Audit) -> None:
        self.told.append(audit)
