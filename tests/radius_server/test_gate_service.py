"""The process that decides, without the process: what it answers to what comes over its line."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from radius_server import gate_frames as frames
from radius_server import gate_service
from tests.site import Site, pin
from validation.decisions import Accept
from validation.errors import StoreUnavailable
from validation.model import Mode
from validation.requests import Channel, LoginRequest


class Line:
    """The server's end of it, which waits for each answer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, kind: int, body: bytes = b"") -> None:
        frames.send(self._sock, kind, body)

    def receive(self) -> tuple[int, bytes]:
        frame = frames.receive(self._sock)
        assert frame is not None
        return frame

    def ask(self, kind: int, body: bytes = b"") -> tuple[int, bytes]:
        self.send(kind, body)
        return self.receive()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    site.add_user("alice")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    yield site
    site.database.close()


@pytest.fixture
def line(site: Site) -> Iterator[Line]:
    ours, its = socket.socketpair()
    with ours, its:
        serving = threading.Thread(target=gate_service.serve, args=(its, site.config))
        serving.start()
        ours.settimeout(60)
        line = Line(ours)
        assert line.receive() == (frames.READY, b"")
        yield line
        ours.shutdown(socket.SHUT_RDWR)
        serving.join(60)
        assert not serving.is_alive()


def logins(site: Site, count: int = 1) -> list[LoginRequest]:
    token = site.enroll("alice", kind="hotp")
    (client,) = site.gate.clients()
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    return [LoginRequest("alice", channel, "vpn", client.version, passcode=pin(token, n)) for n in range(count)]


def test_it_decides_and_says_so(site: Site, line: Line) -> None:
    said, body = line.ask(frames.LOGINS, frames.of_requests(logins(site), time.monotonic() + 60))
    (outcome,) = frames.outcomes_in(body, 1)
    assert said == frames.OUTCOMES
    assert isinstance(outcome, Accept)


def test_two_questions_at_once_have_their_own_answers(site: Site, line: Line) -> None:
    """In the order of asking, each a batch of another size."""
    requests = logins(site, 8)
    for count in (8, 1, 7, 2):
        line.send(frames.LOGINS, frames.of_requests(requests[:count], time.monotonic() + 60))
        line.send(frames.CHECK)
    for count in (8, 1, 7, 2):
        said, body = line.receive()
        assert said == frames.OUTCOMES
        assert len(frames.outcomes_in(body, count)) == count
        assert line.receive() == (frames.READY, b"")


def test_what_waited_too_long_is_not_decided(site: Site, line: Line) -> None:
    (request,) = logins(site)
    said, body = line.ask(frames.LOGINS, frames.of_requests([request], time.monotonic() - 0.001))
    assert said == frames.TROUBLE
    assert "not decided any more" in str(frames.trouble_in(body))
    assert site.logins() == []


def test_what_cannot_be_read_costs_its_batch_alone(site: Site, line: Line) -> None:
    said, body = line.ask(frames.LOGINS, b"\xc1")
    assert said == frames.TROUBLE
    assert type(frames.trouble_in(body)) is StoreUnavailable
    said, _ = line.ask(frames.LOGINS, frames.of_requests(logins(site), time.monotonic() + 60))
    assert said == frames.OUTCOMES


def test_health_is_that_of_the_store(site: Site, line: Line) -> None:
    assert line.ask(frames.CHECK) == (frames.READY, b"")
    moved = site.config.database.rename(site.config.database.with_suffix(".elsewhere"))
    said, body = line.ask(frames.CHECK)
    moved.rename(site.config.database)
    assert said == frames.TROUBLE
    assert str(frames.trouble_in(body))
    assert line.ask(frames.CHECK) == (frames.READY, b"")


def test_a_frame_of_no_known_kind_is_the_end(site: Site) -> None:
    ours, its = socket.socketpair()
    with ours, its:
        frames.send(ours, ord("?"), b"what is this")
        with pytest.raises(frames.Spoiled, match="kind 63"):
            gate_service.serve(its, site.config)
