"""Several servers: whom a login goes to when one is silent, and how that one comes back."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from first_factor.radius_servers import PROBE_EVERY, RadiusServers
from first_factor.turns import ASIDE
from radius_client.client import NoReply, RadiusClient
from radius_client.wire import Code
from tests.first_factor.upstream import SECRET, Upstream, accept, reject, silence, upstream
from tests.site import eventually

TIMEOUT = 0.3  # seconds a silent server is waited for


class House:
    """Two servers, and a clock that can be moved on."""

    def __init__(self, first: Upstream, second: Upstream) -> None:
        self.first, self.second = first, second
        self.later = 0.0
        clients = [RadiusClient(server.address, SECRET, retries=0) for server in (first, second)]
        self.servers = RadiusServers(clients, TIMEOUT, self.clock)

    def clock(self) -> float:
        return time.monotonic() + self.later

    def login(self, user: str, time_limit: float = 10.0) -> Code:
        return self.servers.login(user, b"geheim", self.clock() + time_limit)[1].code


@pytest.fixture
def house() -> Iterator[House]:
    with ExitStack() as stack:
        yield House(stack.enter_context(upstream()), stack.enter_context(upstream()))


def answers_logins_alone(request: bytes) -> list[bytes]:
    """As NPS: Status-Server is unknown to it."""
    return accept(request) if request[0] == 1 else []


def test_the_first_is_asked_and_its_refusal_is_final(house: House) -> None:
    house.first.answers = reject
    assert [house.login("alice"), house.login("bob")] == [Code.ACCESS_REJECT] * 2
    assert (house.first.users, house.second.users) == (["alice", "bob"], [])


def test_a_silent_server_is_left_aside_and_said_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.first.answers = silence
    assert [house.login(user) for user in ("alice", "bob", "carol")] == [Code.ACCESS_ACCEPT] * 3
    assert (house.first.users, house.second.users) == (["alice"], ["alice", "bob", "carol"])
    assert caplog.text.count("does not answer: no reply within 0.3 s; it is left aside") == 1


def test_it_comes_back_when_it_answers_a_probe(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.first.answers = silence
    house.login("alice")
    house.later += PROBE_EVERY
    house.login("bob")
    eventually(lambda: house.first.probes, what="a Status-Server")
    house.login("carol")
    assert house.first.probes == 1, "one at a time, however many log in"
    house.first.answers = accept
    house.later += PROBE_EVERY + TIMEOUT
    assert house.login("dave") is Code.ACCESS_ACCEPT
    eventually(lambda: "answers again" in caplog.text, what="a line in the log")
    house.login("erin")
    # Nobody waits for a probe: dave may have been asked for before or after its answer.
    assert [user for user in house.first.users if user != "dave"] == ["alice", "erin"]
    house.later += PROBE_EVERY + TIMEOUT
    house.login("frank")
    assert house.first.probes == 2, "a server that answers is not probed"


def test_one_that_knows_no_status_server_is_tried_by_one_login(house: House) -> None:
    house.first.answers = silence
    house.login("alice")
    house.first.answers = answers_logins_alone
    house.later += ASIDE
    house.login("bob")
    house.login("carol")
    assert house.first.users == ["alice", "bob", "carol"]


def test_where_all_are_silent_all_are_asked_each_time(house: House) -> None:
    """A server that came back is not waited for."""
    house.first.answers = house.second.answers = silence
    for user in ("alice", "bob"):
        with pytest.raises(NoReply) as caught:
            house.login(user)
        assert str(caught.value).count("no reply within 0.3 s") == 2
    house.second.answers = accept
    assert house.login("carol") is Code.ACCESS_ACCEPT
    assert house.first.users[:2] == ["alice", "bob"]


def test_no_server_is_asked_past_the_end(house: House) -> None:
    house.first.answers = silence
    with pytest.raises(NoReply, match=r"^[^;]+$"):
        house.login("alice", TIMEOUT + 0.1)
    assert house.second.users == []
    with pytest.raises(NoReply, match="no time was left to ask"):
        house.login("bob", 0.0)


def test_who_answers_others_meanwhile_is_not_dead(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Else a name that a server never answers would take it out of use for everybody."""
    caplog.set_level(logging.INFO)
    house.first.answers = lambda request: [] if b"mallory" in request else accept(request)
    mallory = threading.Thread(target=house.login, args=("mallory",))
    mallory.start()
    eventually(lambda: house.first.requests, what="the request of mallory")
    house.login("alice")
    mallory.join()
    house.login("bob")
    assert house.first.users == ["mallory", "alice", "bob"]
    assert house.second.users == ["mallory"]
    assert caplog.text == ""
