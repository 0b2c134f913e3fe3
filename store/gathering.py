"""What logins write, each kind of change in one go: for a batch a statement costs little more than for one login.

Rules: gathered are changes whose rows belong to one user, one challenge or one source, so those of several logins may
change places, and within a kind they keep their order. Whoever writes anything else, or ends the transaction, writes
these first. A conditional change that does not find what it expects is a Conflict, which undoes all of them; the gate
then decides each login by itself.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from store import rows
from store.prepared import Driver, Prepared, Query
from store.schema import SCORE_ENDS, answers, challenges, guesses, known_sources, source_scores, throttles, tokens
from store.sealing import Sealer
from store.upsert import Upsert, same
from validation import changes as c
from validation.model import TokenState
from validation.ports import Conflict


def sweep(table: Table, where: ColumnElement[bool]) -> Delete:
    """Rows that belong to others and are of no use any more; one that somebody is just at work on stays for now, so
    nobody waits for it."""
    keys = list(table.primary_key.columns)
    free = select(*keys).where(where).with_for_update(skip_locked=True)
    return delete(table).where(tuple_(*keys).in_(free) if len(keys) > 1 else keys[0].in_(free))


# Built once: building a statement costs more than running it.
_USE_TOKEN = Prepared(
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
_COUNT_TOKEN_FAILURE = Prepared(
    update(tokens)
    .where(tokens.c.id == bindparam("id_"), tokens.c.state == TokenState.ACTIVE)
    .values(failures=bindparam("count"), state=bindparam("new"))
)
_FORGET_ANSWERS_OF_OWNER = Prepared(
    delete(answers).where(answers.c.user_id.in_(select(tokens.c.user_id).where(tokens.c.id == bindparam("token_id"))))
)
_SET_THROTTLE = Upsert(throttles, ["user_id", "factor"], same("failures", "blocked_until", "last_guess"))
_FORGET_OLD_GUESSES = Prepared(
    delete(guesses).where(guesses.c.user_id == bindparam("id_"), guesses.c.day < bindparam("before"))
)
_COUNT_GUESSES = Upsert(
    guesses, ["user_id", "day"], lambda excluded: {"compared": guesses.c.compared + excluded.compared}
)
_SET_KNOWN_SOURCE = Upsert(known_sources, ["user_id", "source"], same("last_accepted_at", "failures", "blocked_until"))
_OF_THIS_USER = known_sources.c.user_id == bindparam("id_")
_DROP_OLD_SOURCES = Prepared(
    delete(known_sources).where(
        _OF_THIS_USER,
        known_sources.c.source.not_in(
            select(known_sources.c.source)
            .where(_OF_THIS_USER)
            .order_by(known_sources.c.last_accepted_at.desc(), known_sources.c.source)
            .limit(bindparam("keep"))
        ),
    )
)
_sources = select(known_sources.c.user_id, func.count().label("count")).group_by(known_sources.c.user_id)
_COUNT_SOURCES = Query(known_sources.c.user_id, _sources.where)
_SET_SCORE = Upsert(source_scores, ["source"], same("score", "blocked_until", "at"))
_SWEEP_SCORES = Prepared(sweep(source_scores, bindparam("now") >= SCORE_ENDS))
_CLOSE_CHALLENGE = Prepared(delete(challenges).where(challenges.c.state == bindparam("state_")))
_SWEEP_CHALLENGES = Prepared(sweep(challenges, challenges.c.expires_at <= bindparam("now")))
_INSERT_CHALLENGE = Prepared(insert(challenges))


def _drop_old(whose: ColumnElement[bool]) -> Prepared:
    """Of those that are `proved_`, or of those that are not: they do not make room for each other."""
    here = whose & (challenges.c.proved == bindparam("proved_"))
    kept = select(challenges.c.state).where(here).order_by(challenges.c.expires_at.desc())
    return Prepared(sweep(challenges, challenges.c.state.in_(kept.offset(bindparam("keep")))))


_DROP_OLD_OF_USER = _drop_old(challenges.c.user_id == bindparam("id_"))
_DROP_OLD_OF_CLIENT = _drop_old(challenges.c.client == bindparam("client_"))


class Gathering:
    """Of one transaction. `sealer` is asked for when something is to be sealed."""

    def __init__(self, driver: Driver, sealer: Callable[[], Sealer]) -> None:
        self._driver = driver
        self._sealer = sealer
        self._gathered: dict[type[Any], list[Any]] = {}

    def add(self, kind: type[Any], changes: Iterable[Any]) -> None:
        self._gathered.setdefault(kind, []).extend(changes)

    def write(self) -> None:
        """In one order of kinds, whoever comes first: servers must not wait for each other in a circle."""
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, {}
        for kind, write in _WRITERS.items():
            if kind in gathered:
                write(self, gathered[kind])

    def _all(self, statement: Prepared, values: Sequence[dict[str, Any]], otherwise: str) -> None:
        if statement.run(self._driver, values) != len(values):
            raise Conflict(otherwise)

    # --- tokens, failures -----------------------------------------------------------------------------------

    def _use_tokens(self, changes: Sequence[c.UseToken]) -> None:
        values = [
            {"id_": one.token_id, "from_": one.from_, "to": one.to, "drift_": one.drift, "at": one.used_at}
            for one in changes
        ]
        self._all(_USE_TOKEN, values, "the passcode was used in the meantime")

    def _count_token_failures(self, changes: Sequence[c.CountTokenFailure]) -> None:
        values = [
            {
                "id_": one.token_id,
                "count": one.failures,
                "new": str(TokenState.DISABLED if one.disable else TokenState.ACTIVE),
            }
            for one in changes
        ]
        self._all(_COUNT_TOKEN_FAILURE, values, "the token's state changed")
        if disabled := [{"token_id": one.token_id} for one in changes if one.disable]:
            _FORGET_ANSWERS_OF_OWNER.run(self._driver, disabled)

    def _set_throttles(self, changes: Sequence[c.SetThrottle]) -> None:
        values = [
            {
                "user_id": one.user_id,
                "factor": str(one.factor),
                "failures": one.throttle.failures,
                "blocked_until": one.throttle.blocked_until,
                "last_guess": one.throttle.last_guess,
            }
            for one in changes
        ]
        _SET_THROTTLE.run(self._driver, values)

    def _count_guesses(self, changes: Sequence[c.CountGuesses]) -> None:
        old = [{"id_": one.user_id, "before": one.forget_before} for one in changes]
        _FORGET_OLD_GUESSES.run(self._driver, old)
        values = [{"user_id": one.user_id, "day": one.day, "compared": one.compared} for one in changes]
        _COUNT_GUESSES.run(self._driver, values)

    # --- sources --------------------------------------------------------------------------------------------

    def _set_known_sources(self, changes: Sequence[c.SetKnownSource]) -> None:
        values = [
            {
                "user_id": one.user_id,
                "source": one.known.source,
                "last_accepted_at": one.known.last_accepted_at,
                "failures": one.known.failures,
                "blocked_until": one.known.blocked_until,
            }
            for one in changes
        ]
        _SET_KNOWN_SOURCE.run(self._driver, values)
        kept = {one.user_id: one.keep for one in changes}
        counted = _COUNT_SOURCES.rows(self._driver, sorted(kept))
        crowded = [row["user_id"] for row in counted if row["count"] > kept[row["user_id"]]]
        if crowded:
            _DROP_OLD_SOURCES.run(self._driver, [{"id_": id_, "keep": kept[id_]} for id_ in crowded])

    def _set_source_scores(self, changes: Sequence[c.SetSourceScore]) -> None:
        """A count that begins sweeps out those that have ended: nothing else makes rows."""
        if begun := [one.now for one in changes if one.score.score <= 1]:
            _SWEEP_SCORES.run(self._driver, [{"now": max(begun)}])
        values = [
            {
                "source": one.source,
                "score": one.score.score,
                "blocked_until": one.score.blocked_until,
                "at": one.score.at,
            }
            for one in changes
        ]
        _SET_SCORE.run(self._driver, values)

    # --- challenges -----------------------------------------------------------------------------------------

    def _close_challenges(self, changes: Sequence[c.CloseChallenge]) -> None:
        values = [{"state_": one.state} for one in changes]
        self._all(_CLOSE_CHALLENGE, values, "the challenge was closed in the meantime")

    def _open_challenges(self, changes: Sequence[c.OpenChallenge]) -> None:
        """The oldest make room: of one client, and of one user who has proved his password (R-097). Of those of a
        client it is done for one State in sixteen: they are random, so it cannot be avoided. Nobody who has proved
        nothing makes room in what a user has, and names that are nobody's are treated like his."""
        _SWEEP_CHALLENGES.run(self._driver, [{"now": max(one.now for one in changes)}])
        opened = [one.challenge for one in changes]
        _INSERT_CHALLENGE.run(self._driver, [rows.challenge_columns(one, self._sealer()) for one in opened])
        users = sorted({one.user_id for one in opened if one.user_id is not None and one.proved})
        if users:
            of_users = [{"id_": id_, "proved_": True, "keep": c.CHALLENGES_OF_USER} for id_ in users]
            _DROP_OLD_OF_USER.run(self._driver, of_users)
        counted = sorted({(one.client, one.proved) for one in opened if one.state.startswith("0")})
        if counted:
            keep = c.CHALLENGES_OF_CLIENT
            of_clients = [{"client_": client, "proved_": proved, "keep": keep} for client, proved in counted]
            _DROP_OLD_OF_CLIENT.run(self._driver, of_clients)


_WRITERS: dict[type[Any], Callable[[Gathering, Sequence[Any]], None]] = {
    c.UseToken: Gathering._use_tokens,
    c.CountTokenFailure: Gathering._count_token_failures,
    c.SetThrottle: Gathering._set_throttles,
    c.CountGuesses: Gathering._count_guesses,
    c.SetKnownSource: Gathering._set_known_sources,
    c.SetSourceScore: Gathering._set_source_scores,
    c.CloseChallenge: Gathering._close_challenges,
    c.OpenChallenge: Gathering._open_challenges,
}

GATHERED = frozenset(_WRITERS)
