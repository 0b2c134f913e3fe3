"""One round: new users log in while things break and an admin shuts people out; then all is mended, and looked at.

Rules: the users of a round are its own, so a history is whole. What the store says is read in one view after the last
answer was heard, so whoever was let in stands in it. When everything is mended each door must let somebody in.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, literal_column, select

from store.schema import audit, metadata, throttles, tokens, users
from tests.chaos.history import Act, History, Row
from tests.chaos.history import Token as Kept
from tests.chaos.nemesis import Nemesis
from tests.chaos.people import Person, Wallet, number_of
from tests.chaos.world import PASSWORD_HASH, World
from validation.errors import TwofoldError
from validation.model import Token
from validation.requests import AddUser, ChangeUserState, Command, IssueRecovery, RevokeToken, SetTokenUse, UserAct

SECONDS = 1.2  # of logins
_DRAIN = 0.25  # seconds for late answers
_HEALED_WITHIN = 20.0
_STAYS = 0.3  # of the bars stay up: on a busy machine a login takes longer than the others do
_KINDS = ("hotp", "hotp", "hotp", "totp", "totp", "totp")
_SHARED = "answers" in metadata.tables  # the store keeps what was answered
_COMMITTED: ColumnElement[Any] = literal_column("extract(epoch FROM pg_xact_commit_timestamp(audit.xmin))::float8")


@dataclass
class Rounds:
    """Round after round on one world."""

    world: World
    numbers: Iterator[int]
    count: int = 0
    seen: dict[str, int] = field(default_factory=dict)  # rows of each chain that belong to earlier rounds

    def play(self, dice: random.Random, seconds: float = SECONDS) -> tuple[History, Nemesis]:
        self.count += 1
        first = next(self.numbers)
        people = [self._person(kind, place, dice) for place, kind in enumerate(_KINDS)]
        prober = self._person("hotp", len(people), dice)
        nemesis = Nemesis(self.world, random.Random(dice.random()), seconds)
        admin = Admin(self.world, people, random.Random(dice.random()))
        _at_once(seconds, [nemesis.run, admin.run, *(person.play for person in people)])
        self.world.heal()
        silent = self._probe(prober)
        for person in people:
            person.drain(_DRAIN / len(people))
        everyone = [*people, prober]
        for person in everyone:
            person.close()
        requests = [request for person in everyone for request in person.requests]
        # On one file each process goes by its own clock, and an answer is good for half a minute.
        one_answer = _SHARED and (self.world.database is not None or not nemesis.done["clocks"])
        history = History(requests, admin.acts, silent=silent, faults=nemesis.faults, one_answer=one_answer)
        self._look(history, everyone, first)
        return history, nemesis

    def _person(self, kind: str, place: int, dice: random.Random) -> Person:
        name = f"r{self.count}-{place}"
        self.world.gate.administer(AddUser(actor="test", name=name, password_hash=PASSWORD_HASH))
        wallets = [Wallet(self._clear_token(name, kind))]
        if place == 0:
            wallets.append(self._sheet(name))
        return Person(name, wallets, self.world, self.numbers, random.Random(dice.random()))

    def _clear_token(self, name: str, kind: str) -> Token:
        """One that shows no PIN twice in reach, so that an accepted PIN says which it was."""
        while True:
            token = self.world.site.enroll(name, kind=kind)
            if Wallet(token).is_clear():
                return token
            self.world.gate.administer(RevokeToken(actor="test", serial=token.serial))

    def _sheet(self, name: str) -> Wallet:
        done = self.world.gate.administer(IssueRecovery(actor="test", name=name))
        token = Token(id=0, serial=done.serials[0], user_id=0, kind="recovery_code", key=b"")
        return Wallet(token, tuple(code.replace("-", "") for code in done.shown_once))

    def _probe(self, prober: Person) -> tuple[str, ...]:
        until = time.monotonic() + _HEALED_WITHIN
        shut = {host.name: host for host in self.world.hosts}
        while shut and time.monotonic() < until:
            shut = {name: host for name, host in shut.items() if not prober.probe(host)}
        return tuple(shut)

    # --- what the store says ------------------------------------------------------------------------------------

    def _look(self, history: History, everyone: list[Person], first: int) -> None:
        names = [person.name for person in everyone]
        began = {wallet.token.serial: wallet.token.moving_factor for person in everyone for wallet in person.wallets}
        with self.world.site.database.connections.reading() as connection:
            found = list(self._rows(connection))
            history.rows = [row for row in found if row.user in names or not self._is_old(row, first)]
            history.tokens = [_kept(row, began) for row in connection.execute(_tokens_of(names))]
            history.failures = dict.fromkeys(names, 0)
            history.failures |= {row.name: row.failures for row in connection.execute(_failures_of(names))}
        for row in found:
            self.seen[row.chain] = max(self.seen.get(row.chain, 0), row.seq)

    def _is_old(self, row: Row, first: int) -> bool:
        """Of somebody who was given up in an earlier round; or no login at all."""
        return row.event != "login" or (row.number is not None and row.number < first)

    def _rows(self, connection: Connection) -> Iterator[Row]:
        order: ColumnElement[Any] = _COMMITTED if self.world.database is not None else audit.c.seq
        statement = select(audit, order.label("committed"))
        for chain, seq in self.seen.items():
            statement = statement.where((audit.c.chain != chain) | (audit.c.seq > seq))
        for row in connection.execute(statement).mappings():
            yield row_from(dict(row))


def row_from(row: Mapping[str, Any]) -> Row:
    return Row(
        order=row["committed"],
        number=number_of(row["source"]),
        failures=json.loads(row["detail"]).get("failures", 0),
        **{name: row[name] for name in ("chain", "seq", "event", "decision", "reason", "user", "client", "serial")},
    )


def _tokens_of(names: list[str]) -> Select[Any]:
    columns = (tokens.c.serial, users.c.name, tokens.c.kind, tokens.c.moving_factor)
    return select(*columns).join(users, users.c.id == tokens.c.user_id).where(users.c.name.in_(names))


def _failures_of(names: list[str]) -> Select[Any]:
    here = throttles.c.factor == "passcode"
    return (
        select(users.c.name, throttles.c.failures)
        .join(users, users.c.id == throttles.c.user_id)
        .where(here, users.c.name.in_(names))
    )


def _kept(row: Any, began: dict[str, int]) -> Kept:
    return Kept(row.serial, row.name, row.kind, began.get(row.serial, row.moving_factor), row.moving_factor)


class Admin:
    """Shuts people out and lets them in again, now and then; what he did is in `acts`."""

    def __init__(self, world: World, people: list[Person], dice: random.Random) -> None:
        self.acts: list[Act] = []
        self._gate = world.gate
        self._people = people
        self._dice = dice

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._dice.uniform(0.05, 0.3)):
            person = self._dice.choice(self._people)
            what = self._dice.random()
            if what < 0.1:
                self._revoke(person)
            elif what < 0.4:
                self._for_a_while(stop, person, "token-disable")
            else:
                self._for_a_while(stop, person, self._dice.choice(["user-lock", "user-disable"]))

    def _for_a_while(self, stop: threading.Event, person: Person, bar: str) -> None:
        self._do(bar, True, person)
        if self._dice.random() < _STAYS:
            return
        stop.wait(self._dice.uniform(0.05, 0.25))
        self._do(bar, False, person)

    def _revoke(self, person: Person) -> None:
        self._do("token-revoke", True, person)

    def _do(self, bar: str, shuts: bool, person: Person) -> None:
        token = self._dice.choice(person.wallets).token
        serial = token.serial if bar.startswith("token") else ""
        inv, done = time.monotonic(), True
        try:
            self._gate.administer(_command(bar, shuts, person.name, serial))
        except TwofoldError:
            done = False
        self.acts.append(Act(bar, shuts, person.name, serial, inv, time.monotonic(), done))


def _command(bar: str, shuts: bool, user: str, serial: str) -> Command:
    match bar:
        case "user-lock":
            return ChangeUserState(actor="admin", name=user, act=UserAct.LOCK if shuts else UserAct.UNLOCK)
        case "user-disable":
            return ChangeUserState(actor="admin", name=user, act=UserAct.DISABLE if shuts else UserAct.ENABLE)
        case "token-disable":
            return SetTokenUse(actor="admin", serial=serial, enabled=not shuts)
        case _:
            return RevokeToken(actor="admin", serial=serial)


def _at_once(seconds: float, runs: Sequence[Callable[[threading.Event], None]]) -> None:
    """All for so long. What one of them raises is raised here."""
    stop = threading.Event()
    troubles: list[BaseException] = []

    def guarded(run: Callable[[threading.Event], None]) -> None:
        try:
            run(stop)
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=guarded, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]
