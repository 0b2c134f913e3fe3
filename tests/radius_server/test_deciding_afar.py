"""The stage that asks a gate in another process, without that process: the test answers instead of it."""

import asyncio
import errno
import queue
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from radius_server import deciding_afar
from radius_server import gate_frames as frames
from radius_server.conversation import Entry
from radius_server.deciding_afar import DecidingAfar
from radius_server.gate_keeper import Keeper
from radius_server.gate_process import GateProcess
from radius_server.jobs import DECIDE_WITHIN, Job
from radius_server.listening import Way
from radius_server.packet import parse
from radius_server.replying import Replies
from radius_server.work import Lane
from tests.builders import client
from tests.wire import access_request
from validation.decisions import Accept, Decision, Reason
from validation.errors import StoreUnavailable

SECRET = b"a-secret-of-24-characters"
PACKET = parse(access_request(SECRET, "alice", "123456").data)


class Forks(Keeper):
    """Of no process: the other ends of their lines are kept here, and end when they are told to."""

    def __init__(self) -> None:
        self.gates: list[socket.socket] = []
        self.killed: list[int] = []
        self._ends: queue.Queue[int] = queue.Queue()

    def start(self, number: int) -> socket.socket:
        ours, its = socket.socketpair()
        its.settimeout(60)
        frames.send(its, frames.READY)
        self.gates.append(its)
        return ours

    def end(self) -> None:
        self.gates[-1].close()
        self._ends.put(-9)

    def kill(self, number: int) -> None:
        self.killed.append(number)

    def ended(self) -> int:
        return self._ends.get()

    def close(self) -> None:
        for gate in self.gates:
            gate.close()


class Told(Replies):
    """What became of each job."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str]] = []

    def decided(self, outcomes: Any) -> None:
        for job, outcome in outcomes:
            self._say(str(outcome) if isinstance(outcome, StoreUnavailable) else type(outcome).__name__, [job])

    def healthy(self, jobs: Any) -> None:
        self._say("healthy", jobs)

    def no_answer(self, jobs: Sequence[Job], error: Exception) -> None:
        self._say(str(error) if isinstance(error, StoreUnavailable) else type(error).__name__, jobs)

    def _say(self, what: str, jobs: Sequence[Job]) -> None:
        self.said += [(job.entry.user, what) for job in jobs]


class Stage:
    def __init__(self) -> None:
        self.keeper = Forks()
        self.replies = Told()
        self.gate = GateProcess(self.keeper)
        self.gate.start()
        self.stage = DecidingAfar(self.gate, self.replies, asyncio.get_running_loop().call_soon_threadsafe)

    def submit(self, *names: str, lane: Lane = Lane.LOGIN) -> None:
        with self.stage.gathering():
            for name in names:
                entry = Entry(name, secret=SECRET)
                way = Way(None, ("127.0.0.1", 1))  # type: ignore[arg-type] # nothing leaves
                self.stage.submit(Job(PACKET, client(), way, "127.0.0.1", time.monotonic(), lane, entry))

    def asked(self) -> list[str]:
        """Who is in the batch that the gate reads next, or `check`."""
        frame = frames.receive(self.keeper.gates[-1])
        assert frame is not None
        if frame[0] == frames.CHECK:
            return ["check"]
        return [request.user for request in frames.requests_in(frame[1])[1]]

    def nothing_asked(self) -> bool:
        gate = self.keeper.gates[-1]
        gate.setblocking(False)
        try:
            return not gate.recv(1)
        except BlockingIOError:
            return True
        finally:
            gate.settimeout(60)

    def accept(self, *names: str) -> None:
        accepts: list[Decision] = [Accept(name, Reason.PASSCODE_RIGHT) for name in names]
        frames.send(self.keeper.gates[-1], frames.OUTCOMES, frames.of_outcomes(accepts))

    async def until_told(self, count: int) -> list[tuple[str, str]]:
        await until(lambda: len(self.replies.said) >= count)
        return self.replies.said

    def close(self) -> None:
        self.keeper._ends.put(0)
        self.gate.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)


def run(story: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        stage = Stage()
        try:
            await story(stage)
        finally:
            stage.close()

    asyncio.run(whole())


def names(first: int, last: int) -> list[str]:
    return [f"user{number}" for number in range(first, last)]


def accepted(people: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, "Accept") for name in people]


LOST = "the process that decides logins has ended; it is started again"


def test_what_is_read_together_leaves_together_and_two_batches_are_on_their_way() -> None:
    async def story(stage: Stage) -> None:
        for name in "abc":
            stage.submit(name, name * 2)
        stage.submit("d")
        assert stage.asked() == ["a", "aa"]
        assert stage.asked() == ["b", "bb"]
        assert stage.nothing_asked()
        stage.accept("a", "aa")
        assert await stage.until_told(2) == accepted(["a", "aa"])
        assert stage.asked() == ["c", "cc", "d"], "all that waited"
        stage.accept("b", "bb")
        stage.accept("c", "cc", "d")
        assert await stage.until_told(7) == accepted(["a", "aa", "b", "bb", "c", "cc", "d"])
        assert stage.stage.busy_for() == 0.0

    run(story)


def test_a_batch_is_64_at_most_and_a_full_one_does_not_wait_for_more() -> None:
    async def story(stage: Stage) -> None:
        with stage.stage.gathering():
            for name in names(0, 64):
                stage.stage.submit(_job(name))
            assert stage.asked() == names(0, 64)
            for name in names(64, 70):
                stage.stage.submit(_job(name))
            assert stage.nothing_asked()
        assert stage.asked() == names(64, 70)

    run(story)


def test_of_one_user_a_few_are_in_a_batch() -> None:
    """Each is a transaction of its own: with 64 of them a gate that works would be taken for one that hangs."""

    async def story(stage: Stage) -> None:
        stage.submit(*["alice"] * 6, "bob", *["carol"] * 5)
        assert stage.asked() == ["alice"] * 4
        assert stage.asked() == ["alice", "alice", "bob", *["carol"] * 4]
        stage.accept(*["alice"] * 4)
        assert await stage.until_told(4) == accepted(["alice"] * 4)
        assert stage.asked() == ["carol"]

    run(story)


def test_of_one_state_a_few_are_in_a_batch_whoever_sends_it_and_of_health_checks_all() -> None:
    async def story(stage: Stage) -> None:
        with stage.stage.gathering():
            for name in names(0, 5):
                stage.stage.submit(_job(name, state="the same"))
        assert [stage.asked(), stage.asked()] == [names(0, 4), names(4, 5)]
        stage.submit(*["probe"] * 9, lane=Lane.PROBE)
        stage.accept(*names(0, 4))
        await stage.until_told(4)
        assert stage.asked() == ["check"]
        stage.accept(*names(4, 5))
        frames.send(stage.keeper.gates[-1], frames.READY)
        assert (await stage.until_told(14))[5:] == [("probe", "healthy")] * 9

    run(story)


def test_while_much_is_read_answers_are_heard_and_the_next_batch_leaves() -> None:
    async def story(stage: Stage) -> None:
        with stage.stage.gathering():
            for name in names(0, 130):
                stage.stage.submit(_job(name))
            assert [stage.asked(), stage.asked()] == [names(0, 64), names(64, 128)]
            stage.accept(*names(0, 64))
            for name in names(130, 192):
                stage.stage.submit(_job(name))
            assert stage.asked() == names(128, 192)
            assert stage.replies.said == accepted(names(0, 64))

    run(story)


def _job(name: str, lane: Lane = Lane.LOGIN, state: str | None = None) -> Job:
    way = Way(None, ("127.0.0.1", 1))  # type: ignore[arg-type] # nothing leaves
    return Job(PACKET, client(), way, "127.0.0.1", time.monotonic(), lane, Entry(name, state=state, secret=SECRET))


def _late(stage: Stage, name: str) -> Job:
    """One that nobody waits for any more."""
    job = _job(name)
    job.arrival -= 2 * DECIDE_WITHIN
    stage.replies.work.enter(job.load)
    return job


def test_killed_with_two_on_their_way_it_costs_these_and_what_waits_goes_to_the_next() -> None:
    async def story(stage: Stage) -> None:
        for name in "abc":
            stage.submit(name)
        assert stage.asked() == ["a"]
        stage.keeper.end()
        assert await stage.until_told(2) == [("a", LOST), ("b", LOST)]
        await until(lambda: len(stage.keeper.gates) == 2 and stage.gate.is_there)
        assert stage.asked() == ["c"]
        stage.accept("c")
        assert (await stage.until_told(3))[2:] == accepted(["c"])

    run(story)


def test_what_it_said_before_it_ended_counts() -> None:
    async def story(stage: Stage) -> None:
        stage.submit("a")
        stage.submit("b")
        assert [stage.asked(), stage.asked()] == [["a"], ["b"]]
        stage.accept("a")
        stage.keeper.end()
        assert await stage.until_told(2) == [("a", "Accept"), ("b", LOST)]

    run(story)


def test_the_last_answers_of_one_that_has_ended_take_no_more_into_its_grave() -> None:
    async def story(stage: Stage) -> None:
        people = _more_than_two_batches(stage)
        stage.gate._ended(1)
        assert stage.replies.said == accepted(people[:128])
        assert stage.stage.waiting == {"gate": 192}

    run(story)


def test_one_that_cannot_be_asked_any_more_costs_one_batch() -> None:
    """Whose end has not been told yet."""

    async def story(stage: Stage) -> None:
        people = _more_than_two_batches(stage)
        stage.keeper.gates[0].close()
        stage.gate.hear()
        assert stage.replies.said == accepted(people[:128])
        assert stage.stage.waiting == {"gate": 128}
        assert not stage.gate.is_there

    run(story)


def _more_than_two_batches(stage: Stage) -> list[str]:
    """Two are answered, which nobody has heard yet."""
    people = names(0, 320)
    stage.submit(*people)
    for asked in (stage.asked(), stage.asked()):
        stage.accept(*asked)
    return people


def test_answers_that_do_not_fit_their_questions_are_the_end_of_it() -> None:
    async def story(stage: Stage) -> None:
        stage.submit("a")
        stage.submit("b")
        stage.accept("a", "b")
        said = dict(await stage.until_told(2))
        assert said.keys() == {"a", "b"}
        assert all("2 outcomes for 1 requests" in what for what in said.values())
        assert stage.keeper.killed == [1]
        assert not stage.gate.is_there

    run(story)


def test_health_is_asked_first_and_trouble_is_waited_for_once() -> None:
    async def story(stage: Stage) -> None:
        stage.submit("probe", lane=Lane.PROBE)
        assert stage.asked() == ["check"]
        with stage.stage.gathering():
            stage.submit("second probe", lane=Lane.PROBE)
            stage.submit("a")
        frames.send(stage.keeper.gates[-1], frames.READY)
        assert await stage.until_told(1) == [("probe", "healthy")]
        trouble = StoreUnavailable("locked")
        assert stage.asked() == ["check"]
        frames.send(stage.keeper.gates[-1], frames.TROUBLE, frames.of_trouble(trouble))
        await stage.until_told(2)
        assert ("second probe", "locked") in stage.replies.said

    run(story)


def test_who_shares_a_batch_with_a_health_check_waits_no_longer_than_others() -> None:
    """From when they left: the check may have waited behind another batch, and taken long itself."""

    async def story(stage: Stage) -> None:
        now = _job("now")
        later = _job("later")
        for job in (now, later):
            stage.replies.work.enter(job.load)
        with stage.stage.gathering():
            stage.stage.submit(_job("probe", Lane.PROBE))
            stage.stage.submit(now)
            stage.stage.submit(later)
        left = time.monotonic()
        assert stage.asked() == ["check"]
        later.arrival -= 2 * DECIDE_WITHIN
        frames.send(stage.keeper.gates[-1], frames.READY)
        assert await stage.until_told(1) == [("probe", "healthy")]
        frame = frames.receive(stage.keeper.gates[-1])
        assert frame is not None
        until, requests = frames.requests_in(frame[1])
        assert [request.user for request in requests] == ["now"]
        assert until - deciding_afar.BEHIND <= left
        assert stage.replies.drops.counters["too-late"] == 1

    run(story)


def test_where_a_health_check_took_too_long_for_all_beside_it_the_next_batch_leaves() -> None:
    async def story(stage: Stage) -> None:
        late = _job("late")
        stage.replies.work.enter(late.load)
        with stage.stage.gathering():
            stage.stage.submit(_job("probe", Lane.PROBE))
            stage.stage.submit(late)
        stage.submit("a")
        stage.submit("b")
        assert [stage.asked(), stage.asked()] == [["check"], ["a"]]
        late.arrival -= 2 * DECIDE_WITHIN
        frames.send(stage.keeper.gates[-1], frames.READY)
        await stage.until_told(1)
        assert stage.asked() == ["b"]

    run(story)


def test_without_one_requests_wait_a_while_and_then_get_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding_afar, "WAITS", 0.2)
    monkeypatch.setattr(deciding_afar, "AGAIN", 0.01)

    async def story(stage: Stage) -> None:
        stage.keeper.start = _none  # type: ignore[method-assign]
        stage.keeper.end()
        await until(lambda: not stage.gate.is_there)
        stage.submit("a")
        assert stage.replies.said == []
        ((name, what),) = await stage.until_told(1)
        assert name == "a"
        assert "is not running" in what

    run(story)


def _none(number: int) -> socket.socket:
    raise StoreUnavailable("none can be had")


def test_a_server_that_can_start_none_for_want_of_a_descriptor_says_so() -> None:
    async def story(stage: Stage) -> None:
        stage.keeper.start = _no_descriptor  # type: ignore[method-assign] # the system's refusal cannot be had otherwise
        with pytest.raises(StoreUnavailable, match="can be started: Too many open files"):
            GateProcess(stage.keeper).start()

    run(story)


def _no_descriptor(number: int) -> socket.socket:
    raise OSError(errno.EMFILE, "Too many open files")


def test_one_that_cannot_be_written_costs_its_batch_and_the_next_one_leaves() -> None:
    async def story(stage: Stage) -> None:
        stage.submit("\ud800")
        stage.submit("\ud800")
        stage.submit("a")
        assert stage.asked() == ["a"]
        assert [what for _, what in stage.replies.said] == ["UnicodeEncodeError"] * 2

    run(story)


@pytest.mark.parametrize("within", [None, 60.0])
def test_who_closes_waits_for_what_is_on_its_way(within: float | None) -> None:
    async def story(stage: Stage) -> None:
        for name in "abc":
            stage.submit(name)
        closing = asyncio.get_running_loop().run_in_executor(None, stage.stage.close, within)
        await until(lambda: stage.stage._closed is not None)
        stage.accept("a")
        await stage.until_told(1)
        assert not closing.done()
        stage.accept("b")
        if within is None:
            await stage.until_told(2)
            stage.accept("c")
        await closing
        assert stage.replies.said == accepted("abc" if within is None else "ab")

    run(story)


async def _closing_with_one_too_late(stage: Stage) -> threading.Thread:
    """Two batches are on their way, and what waits behind them will not make another."""
    stage.submit("a")
    stage.submit("b")
    stage.stage.submit(_late(stage, "c"))
    closing = threading.Thread(target=stage.stage.close, args=(None,), daemon=True)
    closing.start()
    await until(lambda: stage.stage._closed is not None)
    return closing


def test_who_closes_need_not_wait_for_another_process_when_all_that_is_left_is_too_late() -> None:
    """No batch leaves for it, so no answer comes by which the end would be seen."""

    async def story(stage: Stage) -> None:
        closing = await _closing_with_one_too_late(stage)
        stage.keeper.end()
        await until(lambda: not closing.is_alive())
        assert stage.replies.said == [("a", LOST), ("b", LOST)]
        assert stage.replies.drops.counters["too-late"] == 1

    run(story)


def test_who_closes_need_not_wait_where_all_that_was_read_together_is_too_late() -> None:
    async def story(stage: Stage) -> None:
        closing = await _closing_with_one_too_late(stage)
        with stage.stage.gathering():
            stage.accept("a")
            stage.accept("b")
            stage.gate.hear()
        await until(lambda: not closing.is_alive())
        assert stage.replies.said == accepted("ab")

    run(story)
