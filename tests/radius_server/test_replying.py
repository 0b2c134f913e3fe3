"""What becomes of decisions: each by itself, although they come together."""

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from radius_server import replying
from radius_server.conversation import Entry
from radius_server.jobs import Job
from radius_server.listening import Door, Way
from radius_server.log import Line
from radius_server.packet import parse
from radius_server.reception import request_ids
from radius_server.replying import NOBODIES_AT_ONCE, Replies
from radius_server.work import Lane
from store.config import Listen
from tests.builders import client
from tests.wire import ACCEPT, Reply, Request, access_request
from validation.decisions import Accept, Challenge, Decision, Reason, Reject

SECRET = b"a-secret-of-24-characters"
NAMES = ["alice", "bob", "carol"]


class Room:
    """Replies, a door they leave by, and who waits outside; three logins are in work."""

    def __init__(self) -> None:
        self.replies = Replies()
        self.door = Door(Listen("127.0.0.1", 0))
        self.nas = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.nas.bind(("127.0.0.1", 0))
        self.nas.setblocking(False)
        self.requests = {name: access_request(SECRET, name, "123456", identifier=at) for at, name in enumerate(NAMES)}
        self.jobs = [self.job(name, request) for name, request in self.requests.items()]

    def job(self, name: str, request: Request) -> Job:
        packet, way = parse(request.data), Way(self.door, self.nas.getsockname())
        flow, mark, now = (*way.flow, packet.identifier), name.encode(), time.monotonic()
        entry = Entry(name, secret=SECRET)
        job = Job(packet, client(secret=SECRET), way, "127.0.0.1", now, Lane.LOGIN, entry, flow, mark, "0" * 16)
        self.replies.duplicates.take(flow, mark, now)
        self.replies.work.enter(job.load)
        return job

    def decide(self) -> None:
        self.replies.decided([(job, Accept(job.entry.user, Reason.PASSCODE_RIGHT)) for job in self.jobs])

    def answered(self) -> list[str]:
        """Who got his reply, which is right."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                reply = Reply(self.nas.recv(4096))
                name = NAMES[reply.identifier]
                assert reply.check(self.requests[name]).code == ACCEPT
                found.append(name)
        return found

    def close(self) -> None:
        self.door.close()
        self.nas.close()


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.close()


def test_each_of_a_batch_is_answered_and_has_its_line(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        room.decide()
    assert room.answered() == NAMES
    assert [text.split()[1] for text in caplog.messages] == [f"user={name}" for name in NAMES]
    assert (room.replies.work.count, room.replies.duplicates.in_work) == (0, 0)


def test_what_is_wrong_with_one_takes_no_other_with_it(
    room: Room, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Replies._line

    def sometimes(replies: Replies, job: Job, decision: Decision) -> Line | None:
        if job.entry.user == "bob":
            raise ValueError("a defect")
        return right(replies, job, decision)

    monkeypatch.setattr(Replies, "_line", sometimes)
    with caplog.at_level(logging.INFO):
        room.decide()
    assert room.answered() == ["alice", "carol"]
    assert [text.split()[:2] for text in caplog.messages] == [
        ["internal-error", "where=decided"],
        ["accept", "user=alice"],
        ["accept", "user=carol"],
    ]
    assert (room.replies.work.count, room.replies.duplicates.in_work) == (0, 0)


@pytest.mark.parametrize(
    "decision",
    [
        Reject(Reason.USER_UNKNOWN, "no"),
        Reject(Reason.REQUEST_UNSUPPORTED, "no"),
        Reject(Reason.STATE_UNKNOWN, "no"),
        Reject(Reason.STATE_FOREIGN, "no"),
        Reject(Reason.SOURCE_HELD, "no"),
        Challenge("0" * 32, ("PIN: ",), 60.0, Reason.ASKED, 3),
    ],
    ids=lambda decision: str(decision.reason),
)
def test_names_that_are_made_up_do_not_fill_the_log_whatever_becomes_of_them(
    room: Room, decision: Reject | Challenge, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway that speaks CHAP, a State of nowhere, an address that is held, a client where everybody is asked."""
    request = access_request(SECRET, "nobody", "123456")

    async def decided() -> None:
        for number in range(1000):
            room.replies.decided([(room.job(f"nobody{number}", request), decision)])

    with caplog.at_level(logging.INFO):
        asyncio.run(decided())
    assert NOBODIES_AT_ONCE <= len(caplog.messages) < 2 * NOBODIES_AT_ONCE


def test_the_log_says_it_before_the_client_does(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    answered_before: list[list[str]] = []
    monkeypatch.setattr(replying, "log_together", lambda lines: answered_before.append(room.answered()))
    room.decide()
    assert answered_before == [[]]
    assert room.answered() == NAMES


def test_names_of_requests_are_64_bits_that_do_not_come_again() -> None:
    names = list(islice(request_ids(), 2000))
    assert len(set(names)) == 2000
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in names)
