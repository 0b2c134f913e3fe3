"""The event loop and the process that decides, without the process: its end of the line is in the hands of the test."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from radius_server import gate_frames as frames
from radius_server.gate_line import Line
from validation.errors import StoreUnavailable

LOST = StoreUnavailable("lost")
FAR_OFF = 60.0  # seconds
BIG = bytes(1024 * 1024)  # more than a socket takes at once


class End:
    """A line, what came of its questions, and the other end of it."""

    def __init__(self, hung: float) -> None:
        ours, self.its = socket.socketpair()
        self.its.setblocking(False)
        self.said: list[Any] = []
        self.errors: list[Exception] = []
        self.line = Line(1, ours, self._lost, hung)

    def _lost(self, error: Exception) -> StoreUnavailable:
        self.errors.append(error)
        return LOST

    def ask(self, name: str, body: bytes = b"") -> None:
        self.line.ask(frames.LOGINS, body, lambda _, body: body.decode(), lambda said: self.said.append((name, said)))

    async def send(self, octets: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.its, octets)

    async def receive(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            got += await asyncio.get_running_loop().sock_recv(self.its, count - len(got))
        return got

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def end(hung: float = FAR_OFF) -> AsyncIterator[End]:
    one = End(hung)
    with one.its:
        yield one
        one.line.end()


def answer(text: str) -> bytes:
    return frames.frame(frames.OUTCOMES, text.encode())


def test_an_answer_in_pieces_is_put_together() -> None:
    async def story() -> None:
        async with end() as one:
            one.ask("a")
            for octet in answer("whole"):
                assert one.said == []
                await one.send(bytes([octet]))
                await one.until(lambda: not one.line.hear())
            await one.until(lambda: one.said)
            assert one.said == [("a", "whole")]

    asyncio.run(story())


def test_two_on_their_way_have_their_own_answers_also_when_these_come_together() -> None:
    async def story() -> None:
        async with end() as one:
            one.ask("a")
            one.ask("b")
            together = answer("first") + answer("second")
            await one.send(together[:-1])
            await one.until(lambda: one.said)
            assert one.said == [("a", "first")]
            await one.send(together[-1:])
            await one.until(lambda: len(one.said) == 2)
            assert one.said == [("a", "first"), ("b", "second")]
            assert one.line.busy_for() == 0.0

    asyncio.run(story())


def test_what_finds_no_room_leaves_when_there_is_some_and_in_its_order() -> None:
    """The other side stops reading; the event loop goes on."""

    async def story() -> None:
        async with end() as one:
            one.ask("a", BIG)
            one.ask("b", b"after it")
            one.line.tell(frames.LOG_FORMAT, b"json")
            said = [(frames.LOGINS, BIG), (frames.LOGINS, b"after it"), (frames.LOG_FORMAT, b"json")]
            octets = b"".join(frames.frame(*frame) for frame in said)
            assert await one.receive(len(octets)) == octets
            one.ask("c")
            assert await one.receive(5) == frames.frame(frames.LOGINS), "the way is free again"

    asyncio.run(story())


@pytest.mark.parametrize("body", [b"", BIG])
def test_one_that_says_nothing_is_lost_whether_it_reads_or_not(body: bytes) -> None:
    async def story() -> None:
        async with end(hung=0.05) as one:
            one.ask("a", body)
            one.ask("b")
            await one.until(lambda: len(one.said) == 2)
            assert one.said == [("a", LOST), ("b", LOST)]
            assert [type(error) for error in one.errors] == [TimeoutError]

    asyncio.run(story())


def test_one_that_answers_one_after_the_other_is_not_silent() -> None:
    """The second may have waited for longer than that, behind the first."""

    async def story() -> None:
        async with end() as one:
            one.ask("a")
            one.ask("b")
            await one.send(answer("first"))
            await one.until(lambda: one.said)
            one.line._heard, one.line._hung = one.line._heard + FAR_OFF, 0.0  # as if that were all the time there is
            one.line._listen()
            assert one.errors == []

    asyncio.run(story())


def test_what_was_answered_before_the_end_is_heard_and_the_rest_is_lost() -> None:
    async def story() -> None:
        async with end() as one:
            one.ask("a")
            one.ask("b")
            await one.send(answer("first"))
            one.its.close()
            one.ask("c")  # cannot even be sent
            await one.until(lambda: len(one.said) == 3)
            assert one.said == [("a", "first"), ("b", LOST), ("c", LOST)]
            assert len(one.errors) == 1

    asyncio.run(story())


def test_who_is_told_of_its_end_has_heard_all_of_it() -> None:
    async def story() -> None:
        async with end() as one:
            one.ask("a")
            one.ask("b")
            await one.send(answer("first"))
            one.line.finish()
            assert one.said == [("a", "first"), ("b", LOST)]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (answer("first")[:-1], "half a frame"),
        (answer("first")[:3], "half a frame"),
        (b"o\xff\xff\xff\xff", "4294967295"),
        (answer("a") + answer("b") + answer("c"), "an answer to nothing"),
    ],
)
def test_what_is_spoiled_is_the_end_of_the_line(octets: bytes, why: str) -> None:
    async def story() -> None:
        async with end() as one:
            one.ask("a")
            one.ask("b")
            await one.receive(len(2 * frames.frame(frames.LOGINS)))  # who leaves something unread resets the line
            await one.send(octets)
            one.its.close()
            await one.until(lambda: one.errors)
            (error,) = one.errors
            assert isinstance(error, frames.Spoiled)
            assert why in str(error)
            assert len(one.said) == 2

    asyncio.run(story())


def test_an_answer_that_cannot_be_read_costs_all_that_was_asked() -> None:
    async def story() -> None:
        async with end() as one:
            one.line.ask(frames.CHECK, b"", _unreadable, lambda said: one.said.append(("a", said)))
            one.ask("b")
            await one.send(answer("first") + answer("second"))
            await one.until(lambda: one.said)
            assert one.said == [("a", LOST), ("b", LOST)]

    asyncio.run(story())


def _unreadable(kind: int, body: bytes) -> None:
    raise frames.Spoiled("not this")
