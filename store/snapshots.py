"""Reading what decisions may see: a batch of `Wanted` becomes a batch of `Snapshot`, in few statements.

Rule: a row that cannot be read damages only the snapshots that need it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, func, select

from store import rows
from store.prepared import Driver, Query, as_it_is
from store.schema import (
    answers,
    challenges,
    clients,
    guesses,
    known_keys,
    known_sources,
    meta,
    policies,
    replies,
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
from validation.errors import Damaged, StoreUnavailable
from validation.model import (
    Answered,
    Client,
    Factor,
    Holdings,
    KnownSource,
    PendingChallenge,
    ReuseWindow,
    Snapshot,
    SourceScore,
    Throttle,
    Ticket,
    Token,
    TokenState,
    User,
)
from validation.requests import Wanted, neighbourhood
from validation.settings import Book
from validation.tokens.registry import KINDS

_users_by_name = Query(users.c.name, select(users).where)
_users_by_id = Query(users.c.id, select(users).where)
_tokens_of = Query(tokens.c.user_id, select(tokens).where(tokens.c.state != TokenState.REVOKED.value).where)
_tokens_by_serial = Query(tokens.c.serial, select(tokens).where)
_throttles_of = Query(throttles.c.user_id, select(throttles).where)
_challenges_by_state = Query(challenges.c.state, select(challenges).where)
_clients_by_name = Query(clients.c.name, select(clients).where)
_tickets_by_digest = Query(tickets.c.digest, select(tickets).where)
_reuse_of = Query(reuse_windows.c.user_id, select(reuse_windows).where)
_known_sources_of = Query(known_sources.c.user_id, select(known_sources).where)
_scores_of = Query(source_scores.c.source, select(source_scores).where)
_answers_to = Query(answers.c.packet, select(answers).where)
_guesses_of = Query(guesses.c.user_id, select(guesses).where)
_known_keys = Query(known_keys.c.fingerprint, select(known_keys).where)

_registrations = select(tokens.c.user_id, func.count().label("count")).where(
    tokens.c.state == TokenState.ACTIVE.value,
    tokens.c.kind.in_([bindparam(None, kind.name) for kind in KINDS.values() if kind.is_registration]),
)
_registrations_of = Query(tokens.c.user_id, _registrations.group_by(tokens.c.user_id).where)
_sheets = select(tokens.c.user_id).where(tokens.c.state != TokenState.REVOKED.value, tokens.c.kind == "recovery_code")
_sheets_of = Query(tokens.c.user_id, _sheets.where)

_NOBODY = -1  # an id that the store gives to no user

# What a row that was written past the product can raise when it is read: a value of another type, JSON of another form
# or nested deeply.
_BROKEN = (Damaged, AttributeError, LookupError, RecursionError, TypeError, ValueError)

_Row = Mapping[str, Any]
_Made = TypeVar("_Made")

BOOK_GENERATION = "book_generation"
FROZEN = "frozen"
KEY_ID = "key_id"  # of the master key that the store is sealed with
OLD_KEY_ID = "old_key_id"  # of the one before, while some values are still sealed with it
CLIENTS_GENERATION = "clients_generation"  # moves with every change of a client
_NAMES = [BOOK_GENERATION, CLIENTS_GENERATION, FROZEN, KEY_ID, OLD_KEY_ID]
FACTS = Query(meta.c.name, select(meta).where)  # what the store says of itself


@dataclass(frozen=True, slots=True)
class _Clients:
    """Those of one generation that were asked for, by name, and what is wrong with some."""

    generation: int
    readable: dict[str, Client] = field(default_factory=dict)
    damaged: dict[str, Damaged] = field(default_factory=dict)


class SnapshotReader:
    """Reads snapshots; keeps the policies and texts, and the clients, of the newest generation it has seen."""

    def __init__(self, sealer: Sealer, fingerprint_key: bytes) -> None:
        self._sealer = sealer
        self._fingerprint_key = fingerprint_key
        self.forget()

    def read(self, connection: Connection, driver: Driver, wanted: Sequence[Wanted]) -> list[Snapshot]:
        standing = self.standing(driver)
        book, clients = self._book_of(connection, standing), self._clients_of(standing)
        return _Batch(connection, driver, self._sealer, self._fingerprint_key, wanted, book, clients).snapshots()

    def forget(self) -> None:
        self._book = Book(generation=-1)
        self._clients = _Clients(generation=-1)

    def book(self, connection: Connection) -> Book:
        """Policies and texts as of this transaction; read anew only when they have changed. Raises StoreUnavailable."""
        return self._book_of(connection, self.standing(Driver(connection)))

    def clients(self, connection: Connection) -> tuple[Client, ...]:
        """Those that are whole, all read anew and then kept. Raises StoreUnavailable."""
        generation = int(self.standing(Driver(connection))[CLIENTS_GENERATION])
        kept = self._clients = _Clients(generation, *read_clients(connection, self._sealer))
        return tuple(client for name, client in kept.readable.items() if name not in kept.damaged)

    def _clients_of(self, standing: dict[str, str]) -> _Clients:
        generation = int(standing[CLIENTS_GENERATION])
        clients = self._clients
        if clients.generation != generation:
            clients = self._clients = _Clients(generation)
        return clients

    def _book_of(self, connection: Connection, standing: dict[str, str]) -> Book:
        generation = int(standing[BOOK_GENERATION])
        book = self._book
        if book.generation != generation:
            book = Book(
                generation,
                tuple(rows.rule_from(dict(r)) for r in connection.execute(select(policies)).mappings()),
                tuple(rows.text_from(dict(r)) for r in connection.execute(select(texts)).mappings()),
                tuple(rows.reply_from(dict(r)) for r in connection.execute(select(replies)).mappings()),
            )
            self._book = book
        return book

    def standing(self, driver: Driver) -> dict[str, str]:
        """Raises StoreUnavailable in a store that has moved elsewhere: what is written there would be lost; and if this
        host lacks a key that it is sealed with: what cannot be opened here is not damaged."""
        standing = {fact["name"]: fact["value"] for fact in FACTS.rows(driver, _NAMES)}
        if FROZEN in standing:
            raise StoreUnavailable(standing[FROZEN])
        for name in (KEY_ID, OLD_KEY_ID):
            if name in standing and not self._sealer.holds(bytes.fromhex(standing[name])):
                raise StoreUnavailable(
                    f"the store is sealed with key {standing[name]}, which this host does not hold; "
                    "name it in [key] of the configuration"
                )
        return standing


def read_clients(connection: Connection, sealer: Sealer) -> tuple[dict[str, Client], dict[str, Damaged]]:
    """All clients by name, and what is wrong with some. One whose secret does not open comes with an empty one."""
    found, _ = as_it_is(connection, lambda: connection.execute(select(clients)).mappings().all())
    return _clients(connection, sealer, found)


def _clients(
    connection: Connection, sealer: Sealer, found: Iterable[Any]
) -> tuple[dict[str, Client], dict[str, Damaged]]:
    signed: dict[str, set[str]] = defaultdict(set)
    readable: dict[str, Client] = {}
    damaged: dict[str, Damaged] = {}
    listed = list(found)
    if any(row["message_authenticator"] == "auto" for row in listed):
        for client, address in connection.execute(select(signed_sources.c.client, signed_sources.c.address)):
            signed[client].add(address)
    for row in listed:
        name = row["name"]
        try:
            readable[name] = rows.client_from(rows.legible(row), frozenset(signed[name]))
            readable[name] = rows.with_secrets(readable[name], row, sealer)
        except _BROKEN as error:
            damaged[name] = Damaged(f"client {name}: {error}; set its secret anew, or remove it")
    return readable, damaged


def _refuse(row: _Row, error: Exception) -> None:
    """For who needs all of them."""
    what = f"token {row['serial']}" if "serial" in row else f"user {row['name']}"
    raise error if isinstance(error, Damaged) else Damaged(f"{what}: {error}; restore the row from a backup")


class _Batch:
    """The rows of one batch, each kind read once."""

    def __init__(
        self,
        connection: Connection,
        driver: Driver,
        sealer: Sealer,
        fingerprint_key: bytes,
        wanted: Sequence[Wanted],
        book: Book,
        clients: _Clients,
    ) -> None:
        self._connection = connection
        self._driver = driver
        self._sealer = sealer
        self._fingerprint_key = fingerprint_key
        self._wanted = wanted
        self._book = book
        self._any_odd = False  # whether a text was found that is no UTF-8
        self._damage_of_name: dict[str, Damaged] = {}
        self._damage_of_user: dict[int, Damaged] = {}
        self._damage_of_serial: dict[str, Damaged] = {}
        self._damage_of_state: dict[str, Damaged] = {}
        self._damage_of_packet: dict[bytes, Damaged] = {}
        self._users = {user.name: user for user in self._read_users(_users_by_name, {w.user for w in wanted})}
        self._challenges = self._read_challenges()
        self._tickets = self._read_tickets()
        self._named_tokens = self._read_named_tokens()
        self._owners = self._read_owners()
        ids = {u.id for u in self._users.values()} | set(self._owners)
        if any(w.user is not None for w in wanted):
            ids = ids or {_NOBODY}  # an unknown user costs the statements of a known one
        self._tokens = self._read_tokens(ids)
        self._throttles = self._read_throttles(ids)
        self._guesses = self._read_guesses(ids)
        self._reuse = self._read_reuse(ids)
        self._known_sources = self._read_known_sources(ids)
        self._scores = self._read_scores()
        self._answers = self._read_answers()
        self._clients = self._read_clients(clients)
        self._known_keys = self._read_known_keys()

    def snapshots(self) -> list[Snapshot]:
        return [self._snapshot(wanted) for wanted in self._wanted]

    def _snapshot(self, wanted: Wanted) -> Snapshot:
        token = self._named_tokens.get(wanted.serial or "")
        owner = self._owners.get(token.user_id) if token is not None and token.user_id is not None else None
        challenge = self._challenges.get(wanted.state or "")
        ticket = self._tickets.get(wanted.ticket or (challenge.ticket if challenge is not None else b""))
        if wanted.user is None and ticket is not None:
            owner = self._owners.get(ticket.user_id)
        user = self._users.get(wanted.user) if wanted.user is not None else owner
        return Snapshot(
            user=user,
            tokens=tuple(self._tokens[user.id]) if user is not None else (),
            throttles=self._throttles[user.id] if user is not None else {},
            challenge=challenge,
            client=self._clients.readable.get(wanted.client or ""),
            clients=tuple(self._clients.readable.values()) if wanted.all_clients else (),
            token=token,
            token_owner=owner.name if owner is not None else None,
            key_known_as=self._known_keys.get(self._fingerprint(wanted.key)) if wanted.key is not None else None,
            book=self._book,
            guesses=self._guesses[user.id] if user is not None else {},
            reuse=self._reuse.get((user.id, wanted.client or "", wanted.source or "")) if user is not None else None,
            known_source=self._known_sources.get((user.id, wanted.source or "")) if user is not None else None,
            source_score=self._scores.get(neighbourhood(wanted.source or "")),
            ticket=ticket,
            answered=self._answers.get(wanted.packet or b""),
            holdings=self._holdings(wanted),
            damage=self._damage(wanted, user),
        )

    def _holdings(self, wanted: Wanted) -> Holdings:
        """For commands about many tokens. Keys are unsealed only where the tokens are to be moved."""
        if not (wanted.serials or wanted.keys or wanted.users):
            return Holdings()
        whole = bool(wanted.serials) and not wanted.keys
        held = self._each(_tokens_by_serial, wanted.serials, lambda row: self._held(row, whole), _refuse)
        tokens_ = {token.serial: token for token in held}
        marks = {self._fingerprint(key): key for key in wanted.keys}
        known = {marks[row["fingerprint"]]: row["serial"] for row in self._rows(_known_keys, marks)}
        users_ = list(self._each(_users_by_name, wanted.users, rows.user_from, _refuse))
        owners = {token.user_id for token in tokens_.values() if token.user_id is not None}
        users_ += self._each(_users_by_id, owners, rows.user_from, _refuse)
        ids = [user.id for user in users_]
        counts = {row["user_id"]: row["count"] for row in self._rows(_registrations_of, ids)}
        sheets = frozenset(row["user_id"] for row in self._rows(_sheets_of, ids))
        return Holdings(tokens_, known, {user.name: user for user in users_}, counts, sheets)

    def _held(self, row: Any, whole: bool) -> Token:
        """Raises Damaged if the seal of a token that is to be moved does not open."""
        return rows.token_from(row if whole else {**row, "sealed_key": None}, self._sealer)

    def _damage(self, wanted: Wanted, user: User | None) -> Damaged | None:
        if wanted.user is not None and wanted.user in self._damage_of_name:
            return self._damage_of_name[wanted.user]
        if user is not None and user.id in self._damage_of_user:
            return self._damage_of_user[user.id]
        if wanted.serial is not None and wanted.serial in self._damage_of_serial:
            return self._damage_of_serial[wanted.serial]
        if wanted.state is not None and wanted.state in self._damage_of_state:
            return self._damage_of_state[wanted.state]
        if wanted.packet is not None and wanted.packet in self._damage_of_packet:
            return self._damage_of_packet[wanted.packet]
        return self._clients.damaged.get(wanted.client or "")

    def _rows(self, query: Query, wanted: Iterable[Any]) -> list[dict[str, Any]]:
        values = [value for value in wanted if value is not None and rows.can_stand_in_a_row(value)]
        if not values:
            return []
        found, odd = as_it_is(self._connection, lambda: query.rows(self._driver, values))
        self._any_odd |= odd
        return found

    def _each(
        self,
        query: Query,
        wanted: Iterable[Any],
        read: Callable[[_Row], _Made],
        note: Callable[[_Row, Exception], None],
    ) -> Iterator[_Made]:
        """What `read` makes of the rows; of one that nothing can be made of, the damage is noted."""
        for row in self._rows(query, wanted):
            try:
                made = read(self._whole(row))
            except _BROKEN as error:
                note(row, error)
            else:
                yield made

    def _whole(self, row: _Row) -> _Row:
        return rows.legible(row) if self._any_odd else row

    def _note_of_user(self, row: _Row, error: Exception) -> None:
        """Of a row that is his and neither he himself nor a token."""
        self._damage_of_user[row["user_id"]] = Damaged(f"a row of user number {row['user_id']}: {error}")

    def _read_users(self, query: Query, wanted: Iterable[Any]) -> Iterator[User]:
        def note(row: _Row, error: Exception) -> None:
            damage = Damaged(f"user {row['name']}: {error}; restore the row from a backup")
            self._damage_of_name[row["name"]] = damage

        return self._each(query, wanted, rows.user_from, note)

    def _read_named_tokens(self) -> dict[str, Token]:
        found: dict[str, Token] = {}
        for row in self._rows(_tokens_by_serial, {w.serial for w in self._wanted}):
            found[row["serial"]] = self._token(row)
        return found

    def _read_owners(self) -> dict[int, User]:
        ids = {token.user_id for token in self._named_tokens.values() if token.user_id is not None}
        ids |= {ticket.user_id for ticket in self._tickets.values()}
        return {user.id: user for user in self._read_users(_users_by_id, ids)}

    def _read_tokens(self, user_ids: set[int]) -> dict[int, list[Token]]:
        found: dict[int, list[Token]] = defaultdict(list)
        for row in self._rows(_tokens_of, user_ids):
            found[row["user_id"]].append(self._token(row))
        for tokens_of_user in found.values():
            tokens_of_user.sort(key=lambda token: token.id)
        return found

    def _token(self, row: Any) -> Token:
        """The token; without its key, and with its damage noted, if the seal does not open."""
        try:
            return rows.token_from(self._whole(row), self._sealer)
        except _BROKEN as error:
            damage = error if isinstance(error, Damaged) else Damaged(f"token {row['serial']}: {error}")
            if row["user_id"] is not None:
                self._damage_of_user[row["user_id"]] = damage
            self._damage_of_serial[row["serial"]] = damage
            return rows.token_without_key(row, self._sealer)

    def _read_throttles(self, user_ids: set[int]) -> dict[int, dict[Factor, Throttle]]:
        def read(row: _Row) -> tuple[int, Factor, Throttle]:
            throttle = Throttle(row["failures"], row["blocked_until"], row["last_guess"])
            return row["user_id"], Factor(row["factor"]), throttle

        found: dict[int, dict[Factor, Throttle]] = defaultdict(dict)
        for user_id, factor, throttle in self._each(_throttles_of, user_ids, read, self._note_of_user):
            found[user_id][factor] = throttle
        return found

    def _read_guesses(self, user_ids: set[int]) -> dict[int, dict[int, int]]:
        """By user and day. Days too old to count may still be there: they go when a newer one is written."""
        found: dict[int, dict[int, int]] = defaultdict(dict)
        for row in self._rows(_guesses_of, user_ids):
            found[row["user_id"]][row["day"]] = row["compared"]
        return found

    def _read_reuse(self, user_ids: set[int]) -> dict[tuple[int, str, str], ReuseWindow]:
        asked = user_ids if any(w.source for w in self._wanted) else set()
        found = self._each(_reuse_of, asked, lambda row: (row["user_id"], rows.reuse_from(row)), self._note_of_user)
        return {(user_id, reuse.client, reuse.source): reuse for user_id, reuse in found}

    def _read_known_sources(self, user_ids: set[int]) -> dict[tuple[int, str], KnownSource]:
        asked = user_ids if any(w.source for w in self._wanted) else set()
        found = self._each(
            _known_sources_of, asked, lambda row: (row["user_id"], rows.known_source_from(row)), self._note_of_user
        )
        return {(user_id, known.source): known for user_id, known in found}

    def _read_scores(self) -> dict[str, SourceScore]:
        found = self._rows(
            _scores_of, {neighbourhood(w.source) if w.source is not None else None for w in self._wanted}
        )
        return {row["source"]: rows.source_score_from(row) for row in found}

    def _read_answers(self) -> dict[bytes, Answered]:
        """Not before the users: what another server has just committed for one of them is seen then."""

        def note(row: _Row, error: Exception) -> None:
            damage = error if isinstance(error, Damaged) else Damaged(f"a recorded answer: {error}")
            self._damage_of_packet[row["packet"]] = damage

        wanted = {w.packet for w in self._wanted}
        found = self._each(_answers_to, wanted, lambda row: rows.answered_from(row, self._sealer), note)
        return {answered.packet: answered for answered in found}

    def _read_challenges(self) -> dict[str, PendingChallenge]:
        def note(row: _Row, error: Exception) -> None:
            self._damage_of_state[row["state"]] = Damaged(f"an open challenge: {error}")

        wanted = {w.state for w in self._wanted}
        found = self._each(_challenges_by_state, wanted, lambda row: rows.challenge_from(row, self._sealer), note)
        return {challenge.state: challenge for challenge in found}

    def _read_tickets(self) -> dict[bytes, Ticket]:
        wanted = {w.ticket for w in self._wanted} | {c.ticket for c in self._challenges.values()} - {b""}
        return {row["digest"]: rows.ticket_from(row) for row in self._rows(_tickets_by_digest, wanted)}

    def _read_clients(self, kept: _Clients) -> _Clients:
        """For a list of all of them none is kept: it says what is there now, whoever has changed it."""
        if any(w.all_clients for w in self._wanted):
            return _Clients(kept.generation, *read_clients(self._connection, self._sealer))
        missing = {w.client for w in self._wanted} - kept.readable.keys()
        if missing:
            found = self._rows(_clients_by_name, missing)
            readable, damaged = _clients(self._connection, self._sealer, found) if found else ({}, {})
            kept.damaged.update(damaged)
            kept.readable.update(readable)
        return kept

    def _read_known_keys(self) -> dict[bytes, str]:
        wanted = {self._fingerprint(w.key) for w in self._wanted if w.key is not None}
        return {row["fingerprint"]: row["serial"] for row in self._rows(_known_keys, wanted)}

    def _fingerprint(self, key: bytes) -> bytes:
        return fingerprint(self._fingerprint_key, key)
