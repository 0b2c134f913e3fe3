"""A host's addresses while name servers answer, are silent, or know nothing."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from first_factor.lookups import Lookups
from tests.site import eventually

HOST = "ldap.example.org"
AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class NameServer:
    """Says what it is told to; while it is `silent`, nothing."""

    def __init__(self) -> None:
        self.says: list[str] | Exception = ["192.0.2.1", "2001:db8::1"]
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        assert self.answers.wait(60)
        if isinstance(self.says, Exception):
            raise self.says
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.says]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.answers.set()


def soon() -> float:
    return time.monotonic() + 0.05


def late() -> float:
    return time.monotonic() + 60


def test_a_name_is_looked_up_each_time_and_an_address_never(name_server: NameServer) -> None:
    lookups = Lookups()
    assert lookups.addresses(HOST, late()) == ["192.0.2.1", "2001:db8::1"]
    name_server.says = ["192.0.2.2"]
    assert lookups.addresses(HOST, late()) == ["192.0.2.2"]
    assert lookups.addresses("2001:db8::7", late()) == ["2001:db8::7"]
    assert name_server.asked == 2


def test_nobody_waits_past_his_deadline_and_the_next_has_what_was_found(name_server: NameServer) -> None:
    lookups = Lookups()
    name_server.answers.clear()
    for _ in range(3):
        with pytest.raises(TimeoutError, match="do the name servers answer"):
            lookups.addresses(HOST, soon())
    assert name_server.asked == 1, "one at a time"
    name_server.answers.set()
    assert lookups.addresses(HOST, late()) == ["192.0.2.1", "2001:db8::1"]


def test_what_was_found_last_is_good_while_no_name_server_answers(name_server: NameServer) -> None:
    lookups = Lookups()
    lookups.addresses(HOST, late())
    name_server.answers.clear()
    assert lookups.addresses(HOST, late()) == ["192.0.2.1", "2001:db8::1"]
    name_server.says = AWAY
    name_server.answers.set()
    for _ in range(3):
        assert lookups.addresses(HOST, late()) == ["192.0.2.1", "2001:db8::1"]
    name_server.says = ["192.0.2.3"]
    eventually(lambda: lookups.addresses(HOST, late()) == ["192.0.2.3"])


def test_that_there_is_no_such_name_is_an_answer(name_server: NameServer) -> None:
    lookups = Lookups()
    lookups.addresses(HOST, late())
    for says in (NO_SUCH_NAME, AWAY):  # and then nothing is known any more
        name_server.says = says
        with pytest.raises(socket.gaierror) as caught:
            lookups.addresses(HOST, late())
        assert caught.value is says


def test_what_nobody_can_be_asked_about_is_an_error_like_any_other(name_server: NameServer) -> None:
    name_server.says = UnicodeError("label empty or too long")
    with pytest.raises(OSError, match="cannot be looked up"):
        Lookups().addresses("x" * 64 + ".example.org", late())
