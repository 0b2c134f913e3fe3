"""A Twofold server dies in the middle of things: how many logins FreeRADIUS loses, and that none is lost after that.

FreeRADIUS never moves a request that is on its way: it waits `response_window` for the dead server and refuses. The
README says how many logins that are with its settings, and this is where they are counted.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import road as roads
from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.front import OTHER, PROGRAMS, TWOFOLD, Front, settings
from tests.peers.road import Person
from tests.site import PASSWORD, eventually

pytestmark = pytest.mark.peer(*PROGRAMS)

LOST_ONE_BY_ONE = 1  # logins of somebody who tries again and again; README.md, "When a Twofold server dies"
EVERY = 0.5  # seconds between the logins of a crowd
CROWD = 12


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Twofold is two processes on one store."""
    with fronts.front(tmp_path, "--preset", "freeradius") as made:
        made.install("pap")
        made.write_settings(settings(servers="2"))
        made.start()
        made.server.end()
        with ExitStack() as stack:
            for address in (OTHER, TWOFOLD):
                made.server = stack.enter_context(roads.serving(made.site, made.other, f"{address}:1812"))
            yield made


def question(front: Front, person: Person) -> str:
    """The State of the question for a PIN."""
    asked = front.ask(person.name, PASSWORD)
    assert asked.code == "Access-Challenge", asked
    return str(asked.state)


def whole_login(front: Front, person: Person) -> str | None:
    first = front.ask(person.name, PASSWORD)
    if first.code != "Access-Challenge":
        return first.code
    return front.ask(person.name, person.pin(), f"State = {first.state}").code


def test_a_server_is_killed_between_the_two_steps_of_logins(front: Front, capsys: pytest.CaptureFixture[str]) -> None:
    waiting, person = [front.newcomer() for _ in range(3)], front.newcomer()
    assert whole_login(front, person) == "Access-Accept"
    states = [question(front, one) for one in waiting]
    front.server.kill()
    killed = time.monotonic()

    lost = 0
    while (code := whole_login(front, person)) != "Access-Accept":
        assert code == "Access-Reject", "not silence, which a gateway would take for a dead FreeRADIUS"
        lost += 1
        assert lost <= LOST_ONE_BY_ONE, front.log()[-3000:]
    with capsys.disabled():
        print(f"\n{lost} login failed; one works {time.monotonic() - killed:.1f} s after the server was killed")

    for one, state in zip(waiting, states, strict=True):
        assert front.ask(one.name, one.pin(), f"State = {state}").code == "Access-Accept", "asked by the dead one"
    assert [whole_login(front, front.newcomer()) for _ in range(5)] == ["Access-Accept"] * 5
    for one in (person, *waiting):
        assert set(front.reasons(one.name)) <= {"password-right", "passcode-right"}, "nobody was counted wrong"


@dataclass
class Begun:
    """A login of the crowd: seconds after the server was killed, and what its first step got."""

    began: float
    ended: float
    code: str | None


def test_in_a_crowd_only_those_are_lost_that_begin_before_the_first_is_given_up(
    front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever begins after that is asked by the other server, while the first is still dead."""
    people = [front.newcomer() for _ in range(CROWD)]
    question(front, people[0])
    front.server.kill()
    killed = time.monotonic()

    def begin(number: int) -> Begun:
        eventually(lambda: time.monotonic() >= killed + number * EVERY, seconds=60)
        began = time.monotonic() - killed
        code = front.ask(people[number].name, PASSWORD).code
        return Begun(began, time.monotonic() - killed, code)

    with ThreadPoolExecutor(CROWD) as pool:
        crowd = list(pool.map(begin, range(CROWD)))
    lost = [one for one in crowd if one.code != "Access-Challenge"]
    assert lost
    assert {one.code for one in lost} == {"Access-Reject"}
    given_up = min(one.ended for one in lost)
    assert [one for one in lost if one.began > given_up] == []
    assert [one for one in crowd if one.began > given_up], "some began later"
    with capsys.disabled():
        print(f"\n{len(lost)} of {CROWD} logins failed, all begun within {max(one.began for one in lost):.1f} s")
