"""A real server under full load is killed (SIGKILL) at a moment that dice choose, and what is left is looked at.

Rules: everybody logs in once, with one PIN, in a closed loop of 64. What came in before the kill counts as heard, also
what is read after it. The store is looked at while no server runs; then one is started at the same address, and is sent
again what was not answered, the same octets from the same port, and every used PIN in a packet of its own.

`python -m tests.faults.kill --rounds N --seed S` does many rounds.
"""

import argparse
import random
import select
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func
from sqlalchemy import select as rows_of

from benchmarks.filling import fill
from benchmarks.people import Crowd
from store.schema import answers, audit, tokens, users
from tests.site import PATIENCE, SECRET, Site
from tests.wire import ACCEPT, REJECT, Nas, Reply, Request, access_request
from validation.model import Mode
from validation.requests import SetRule
from validation.settings import Scope

WINDOW = 64
LEAST, MOST = 200, 1200  # accepts before the kill
SOON = 0.03  # seconds in which it then comes
SPARE = 600  # requests that may still be sent in that time
REFUSED_AS_USED = {"passcode-used", "passcode-repeated"}


@dataclass
class Logins:
    """What one sender has sent, and heard."""

    requests: Sequence[Request]
    sent: int = 0
    heard: dict[int, Reply] = field(default_factory=dict)  # by the number of the request
    _waiting: dict[int, int] = field(default_factory=dict)  # identifier -> number

    @property
    def unanswered(self) -> list[int]:
        return [number for number in range(self.sent) if number not in self.heard]

    def codes(self) -> Counter[int]:
        """Of the replies, each of which is genuine."""
        return Counter(reply.check(self.requests[number]).code for number, reply in self.heard.items())

    def turn(self, nas: Nas) -> None:
        """Send what there is room for, and read what has come."""
        while len(self._waiting) < WINDOW and self.sent < len(self.requests):
            data = self.requests[self.sent].data
            assert data[1] not in self._waiting, "an Identifier that is still in use"
            self._waiting[data[1]] = self.sent
            nas.send(data)
            self.sent += 1
        self.read(nas)

    def read(self, nas: Nas, wait: float = 0.002) -> None:
        while select.select([nas.sock], [], [], wait)[0]:
            reply, wait = Reply(nas.sock.recv(4096)), 0.0
            number = self._waiting.pop(reply.identifier, None)
            if number is not None:
                self.heard[number] = reply

    def to_the_end(self, nas: Nas) -> None:
        until = time.monotonic() + PATIENCE
        while len(self.heard) < len(self.requests) and time.monotonic() < until:
            self.turn(nas)
        assert len(self.heard) == len(self.requests), f"{len(self.requests) - len(self.heard)} were not answered"


@dataclass(frozen=True)
class Traces:
    """What the store holds of one user: all of it, or nothing."""

    accepts: int  # rows of the audit trail
    used: int  # the moving factor
    answers: int  # recorded for retransmissions


@dataclass
class Killed:
    """One round."""

    accepted: list[str]  # who has heard an Access-Accept before the server was dead
    unanswered: list[str]
    wrong: list[str] = field(default_factory=list)  # what should not be, as sentences


class Killing:
    """Rounds on one store, which goes from one to the next. `program`: another server than ours."""

    def __init__(self, site: Site, dice: random.Random, rounds: int, program: Sequence[str] = ()) -> None:
        self.site = site
        self._dice = dice
        self._program = program
        self._accepts = [dice.randint(LEAST, MOST) for _ in range(rounds)]
        self._crowd = Crowd(sum(self._accepts) + rounds * SPARE, "hotp")
        self._address = "127.0.0.1:0"
        site.add_client(mode=Mode.PASSCODE_ONLY)
        site.gate.administer(SetRule(actor="test", key="reject_delay", value="0", scope=Scope()))
        fill(site.database, self._crowd, None)
        site.database.close()

    def rounds(self) -> Iterator[Killed]:
        return map(self._round, self._accepts)

    def _round(self, accepts: int) -> Killed:
        typed = {entry[0]: entry[1] for entry in self._crowd.right(accepts + SPARE)}
        first = Logins(_requests(typed))
        with self.site.server("--listen", self._address, program=self._program) as server:
            self._address = "{}:{}".format(*server.address)
            nas = server.nas()
            _load(first, nas, accepts, self._dice.uniform(0, SOON), server.kill)
        with nas:
            names = list(typed)
            done = Killed([names[number] for number in first.heard], [names[number] for number in first.unanswered])
            done.wrong += _not_all_accepted("a first answer", first.codes())
            done.wrong += self._looked_at(done)
            with self.site.server("--listen", self._address, program=self._program) as server:
                self._sent_again(first, nas, done)
                self._used_again({name: typed[name] for name in done.accepted + done.unanswered}, server.nas(), done)
        done.wrong += self._whole()
        return done

    # --- while no server runs

    def _looked_at(self, done: Killed) -> Iterator[str]:
        yield from self._whole()
        traces = self._traces()
        for name in done.accepted:
            if traces[name] != Traces(1, 1, 1):
                yield f"{name} was let in, and of that the store has {traces[name]}"
        for name in done.unanswered:
            if traces[name] not in (Traces(0, 0, 0), Traces(1, 1, 1)):
                yield f"{name} was not answered, and of that the store has half: {traces[name]}"

    def _whole(self) -> Iterator[str]:
        """`db check` has SQLite look at its pages and indexes, and reads every row."""
        for command in (("audit", "verify"), ("db", "check")):
            found = self.site.command(*command)
            if found.returncode != 0:
                yield f"twofold {' '.join(command)}: {found.stdout}{found.stderr}"

    def _traces(self) -> dict[str, Traces]:
        accepted = audit.c.event == "login", audit.c.decision == "accept"
        owner = users.c.id == tokens.c.user_id
        with self.site.database.connections.reading() as connection:
            accepts = Counter(connection.execute(rows_of(audit.c.user).where(*accepted)).scalars())
            answered = Counter(connection.execute(rows_of(answers.c.user_id)).scalars())
            everybody = connection.execute(rows_of(users.c.id, users.c.name, tokens.c.moving_factor).where(owner)).all()
        self.site.database.close()
        return {name: Traces(accepts[name], used, answered[id_]) for id_, name, used in everybody}

    # --- after the restart

    def _sent_again(self, first: Logins, nas: Nas, done: Killed) -> None:
        """Recorded or not, the login was right: who was recorded is told so, who was not is let in now."""
        again = Logins([first.requests[number] for number in first.unanswered])
        again.to_the_end(nas)
        done.wrong += _not_all_accepted("what was sent again", again.codes())
        traces = self._traces()
        for name in done.accepted + done.unanswered:
            if (traces[name].accepts, traces[name].used) != (1, 1):
                done.wrong.append(f"{name} is not let in once, but {traces[name]}")

    def _used_again(self, typed: dict[str, str], nas: Nas, done: Killed) -> None:
        before = self._refused()
        with nas:
            replayed = Logins(_requests(typed))
            replayed.to_the_end(nas)
        for number, name in enumerate(typed):
            if replayed.heard[number].check(replayed.requests[number]).code != REJECT:
                done.wrong.append(f"the PIN of {name} was good twice")
        if self._refused() != before + len(typed):
            done.wrong.append(f"{self._refused() - before} of {len(typed)} were refused because their PIN was used")

    def _refused(self) -> int:
        """Logins whose PIN was used, by the trail."""
        with self.site.database.connections.reading() as connection:
            statement = rows_of(func.count()).where(audit.c.event == "login", audit.c.reason.in_(REFUSED_AS_USED))
            found: int = connection.execute(statement).scalar_one()
        self.site.database.close()
        return found


def _requests(typed: dict[str, str]) -> list[Request]:
    return [access_request(SECRET, name, pin, identifier=n % 256) for n, (name, pin) in enumerate(typed.items())]


def _load(logins: Logins, nas: Nas, accepts: int, later: float, kill: Callable[[], None]) -> None:
    """At full speed; so long after so many have been heard the server is killed."""
    until = time.monotonic() + PATIENCE
    due = 0.0
    while not due or time.monotonic() < due:
        logins.turn(nas)
        if not due and len(logins.heard) >= accepts:
            due = time.monotonic() + later
        assert time.monotonic() < until, f"{len(logins.heard)} of {accepts} were answered in {PATIENCE} s"
    kill()
    logins.read(nas, 0.0)  # what it had sent


def _not_all_accepted(what: str, codes: Counter[int]) -> list[str]:
    return [f"{what} was {code}, {count} times" for code, count in codes.items() if code != ACCEPT]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    accepted = unanswered = bad = 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="twofold-kill-") as folder:
        killing = Killing(Site(Path(folder) / "site"), random.Random(given.seed), given.rounds)
        for number, done in enumerate(killing.rounds()):
            accepted += len(done.accepted)
            unanswered += len(done.unanswered)
            bad += bool(done.wrong)
            for line in done.wrong[:10]:
                print(f"round {number}: {line}")
    print(
        f"seed {given.seed}: {given.rounds} kills in {time.monotonic() - begun:.0f} s, {accepted} accepts heard, "
        f"{unanswered} logins in flight, {bad} bad rounds"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
