"""The one door: read, decide, commit, answer.

Rules: a decision leaves `login` only after the transaction that recorded it has been committed. Two requests of one
user, or with one State, never share a transaction. A request whose decision raises is refused alone. A batch that
conflicts is replayed one by one; a request that conflicts is decided anew a few times, then refused. What met a full
disk is decided anew if room has been made. When the store cannot answer there is no decision at all: the outcome is the
StoreUnavailable itself, and the face stays silent or refuses.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from validation import administer, decide, looking
from validation.changes import Audit, Change, InsertToken, SetSourceScore
from validation.decide import Verdict
from validation.decisions import Decision, Done, Look, Reason, Reject
from validation.errors import Damaged, RoomMade, StoreUnavailable
from validation.explaining import Outlook, outlook
from validation.model import Client, Site, Snapshot, SourceScore
from validation.ports import Conflict, Faults, Moments, Notices, Store
from validation.requests import Channel, Command, ImportTokens, LoginRequest, LookRequest, Wanted, neighbourhood
from validation.settings import Book

Outcome: TypeAlias = Decision | StoreUnavailable

_PROVES_NOTHING = Look(first_factor="local", password_version=-1)
_TRIES = 3  # a fresh serial may collide, another server or admin may have been quicker


class Gate:
    """`login` for faces, `administer` for the command line, `look` before a password check."""

    def __init__(
        self, store: Store, moments: Moments, faults: Faults, notices: Notices, site: Site = decide.USUAL_SITE
    ) -> None:
        self._store = store
        self._moments = moments
        self._faults = faults
        self._notices = notices
        self._site = site

    def login(self, requests: Sequence[LoginRequest]) -> list[Outcome]:
        """Decide `requests`; the outcomes come in their order, each already committed. Never raises."""
        outcomes: dict[int, Outcome] = {}
        waiting = list(enumerate(requests))
        while waiting:
            batch, waiting = _without_companions(waiting)
            decided = self._decide_batch([request for _, request in batch])
            outcomes.update((index, outcome) for (index, _), outcome in zip(batch, decided, strict=True))
            if isinstance(trouble := decided[-1], StoreUnavailable):  # do not wait for it again for each of the rest
                outcomes.update((index, trouble) for index, _ in waiting)
                break
        return [outcomes[index] for index in range(len(requests))]

    def _decide_batch(self, batch: Sequence[LoginRequest], tries: int = _TRIES) -> Sequence[Outcome]:
        try:
            return self._transact(batch)
        except StoreUnavailable as error:
            if isinstance(error, RoomMade) and tries > 1:
                return self._decide_batch(batch, tries - 1)
            return [error] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                return [outcome for request in batch for outcome in self._decide_batch([request])]
            if isinstance(error, Conflict) and tries > 1:  # nothing was written: look again, at what is there now
                return self._decide_batch(batch, tries - 1)
            return [self._record_failure(batch[0], error)]

    def _transact(self, batch: Sequence[LoginRequest]) -> list[Decision]:
        with self._store.transaction() as transaction:
            snapshots = transaction.snapshots([request.wanted for request in batch])
            verdicts = list(self._verdicts(snapshots, batch))
            transaction.apply(change for verdict in verdicts for change in verdict.changes)
        self._tell(change for verdict in verdicts for change in verdict.changes)
        return [verdict.decision for verdict in verdicts]

    def _verdicts(self, snapshots: Sequence[Snapshot], batch: Sequence[LoginRequest]) -> Iterator[Verdict]:
        """Each request sees what those before it did to their common source: else a batch would count as one."""
        scores: dict[str | None, SourceScore | None] = {}
        for snapshot, request in zip(snapshots, batch, strict=True):
            source = neighbourhood(request.source or "")
            if source in scores:
                snapshot = replace(snapshot, source_score=scores[source])
            verdict = self._verdict(snapshot, request)
            scores.update((c.source, c.score) for c in verdict.changes if isinstance(c, SetSourceScore))
            yield verdict

    def _verdict(self, snapshot: Snapshot, request: LoginRequest) -> Verdict:
        moment = self._moments.moment()
        try:
            return decide.login(snapshot, request, moment, self._site)
        except Exception as error:  # refused alone: one bad row must not silence a batch
            self._faults.decision_failed(request, error)
            return decide.failed(request, moment)

    def _record_failure(self, request: LoginRequest, error: Exception) -> Outcome:
        """The changes of this request could not be written: refuse it, and write that down."""
        self._faults.decision_failed(request, error)
        try:
            verdict = decide.failed(request, self._moments.moment())
            with self._store.transaction() as transaction:
                transaction.apply(verdict.changes)
        except StoreUnavailable as unavailable:
            return unavailable
        except Exception as second:
            self._faults.decision_failed(request, second)
            return Reject(Reason.DECISION_FAILED)
        return verdict.decision

    def look(self, requests: Sequence[LookRequest]) -> list[Look]:
        """Read-only. Raises StoreUnavailable. A request whose look raises gets one that proves nothing, alone."""
        try:
            snapshots = self._store.look([request.wanted for request in requests])
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(requests) > 1:
                return [look for request in requests for look in self.look([request])]
            return [self._look_failed(request, error) for request in requests]
        return [self._look(s, r) for s, r in zip(snapshots, requests, strict=True)]

    def _look(self, snapshot: Snapshot, request: LookRequest) -> Look:
        try:
            return looking.look(snapshot, request, self._moments.moment())
        except Damaged:  # the gate will say so when it decides
            return _PROVES_NOTHING
        except Exception as error:  # one bad row must not silence a batch
            return self._look_failed(request, error)

    def _look_failed(self, request: LookRequest, error: Exception) -> Look:
        asked = LoginRequest(request.user, Channel.for_mode(request.mode), request.client, client_version=-1)
        self._faults.decision_failed(asked, error)
        return _PROVES_NOTHING

    def administer(self, command: Command) -> Done:
        """Carry out an admin's command. Raises Refused, BadInput, Damaged or StoreUnavailable; then nothing changed."""
        if isinstance(command, ImportTokens):
            self._prepare(command)
        for _ in range(_TRIES - 1):
            try:
                return self._administer_once(command)
            except (Conflict, RoomMade):
                continue
        try:
            return self._administer_once(command)
        except Conflict as error:
            raise StoreUnavailable(f"somebody else is changing the same rows ({error}); try again") from error

    def _administer_once(self, command: Command) -> Done:
        with self._store.transaction() as transaction:
            (snapshot,) = transaction.snapshots([command.wanted])
            done, changes = administer.run(snapshot, command, self._moments.moment())
            transaction.apply(changes)
        self._tell(changes)
        return done

    def _prepare(self, command: ImportTokens) -> None:
        """Sealing a boxful of keys takes seconds, in which nobody else could write."""
        (snapshot,) = self._store.look([command.wanted])
        _, changes = administer.run(snapshot, command, self._moments.moment())
        self._store.seal_ahead(change.token for change in changes if isinstance(change, InsertToken))

    def rehearse(self, command: Command) -> Done:
        """What `administer` would say now; nothing is changed. Raises the same."""
        (snapshot,) = self._store.look([command.wanted])
        done, _ = administer.run(snapshot, command, self._moments.moment())
        return done

    def _tell(self, changes: Iterable[Change]) -> None:
        """After the commit, and never in its way: hand over what somebody asked to be told."""
        for change in changes:
            if isinstance(change, Audit) and change.notice:
                try:
                    self._notices.tell(change)
                except Exception as error:  # what is committed would else be decided a second time
                    self._faults.notice_failed(change, error)

    def policies(self) -> Book:
        """Policies and texts as they are now. Raises StoreUnavailable."""
        (snapshot,) = self._store.look([Wanted()])
        return snapshot.book

    def outlook(self, name: str) -> Outlook | None:
        """What a user has, and what his next login does; None if there is no such user. Raises StoreUnavailable, or
        Damaged if a row of his cannot be trusted."""
        (snapshot,) = self._store.look([Wanted(user=name)])
        if snapshot.damage is not None:
            raise snapshot.damage
        if snapshot.user is None:
            return None
        return outlook(snapshot, snapshot.user, self._moments.moment().now)

    def clients(self) -> tuple[Client, ...]:
        return self._store.clients()

    def clients_generation(self) -> int:
        return self._store.clients_generation()

    def check(self) -> None:
        """Raises StoreUnavailable if no login could be recorded now."""
        try:
            self._store.check()
        except RoomMade:
            self._store.check()


_Indexed: TypeAlias = list[tuple[int, LoginRequest]]


def _without_companions(waiting: _Indexed) -> tuple[_Indexed, _Indexed]:
    """Split off a batch in which no user and no State appears twice; the rest keeps its order."""
    batch: _Indexed = []
    later: _Indexed = []
    users: set[str] = set()
    states: set[str] = set()
    for index, request in waiting:
        together = request.user not in users and request.state not in states
        (batch if together else later).append((index, request))
        # Of those that wait too: else a later request of the same user would overtake.
        users.add(request.user)
        if request.state is not None:
            states.add(request.state)
    return batch, later
