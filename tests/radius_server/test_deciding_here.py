"""The stage whose gate is in the server's own process."""

from collections.abc import Callable, Sequence

from radius_server.deciding_here import DecidingHere
from radius_server.jobs import DECIDE_WITHIN, Job
from radius_server.replying import Replies
from radius_server.work import Lane
from tests.radius_server.test_deciding_afar import Told, _job, accepted
from validation.decisions import Accept, Reason
from validation.gate import Gate, Outcome
from validation.requests import LoginRequest


class SlowToCheck(Gate):
    """Accepts everybody. When it has been asked whether it is well, nobody waits for `late` any more."""

    def __init__(self, late: Job) -> None:
        self._late = late

    def check(self) -> None:
        self._late.arrival -= 2 * DECIDE_WITHIN

    def login(self, requests: Sequence[LoginRequest]) -> list[Outcome]:
        return [Accept(request.user, Reason.PASSCODE_RIGHT) for request in requests]


def decided(replies: Replies, gate: Gate, *jobs: Job) -> None:
    def tell(function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)

    stage = DecidingHere(gate, replies, tell)
    with stage.gathering():
        for job in jobs:
            replies.work.enter(job.load)
            stage.submit(job)
    stage.close(None)


def test_who_shares_a_batch_with_a_health_check_that_took_long_is_not_decided_too_late() -> None:
    replies, now, late = Told(), _job("now"), _job("late")
    decided(replies, SlowToCheck(late), _job("probe", Lane.PROBE), now, late)
    assert replies.said == [("probe", "healthy"), *accepted(["now"])]
    assert replies.drops.counters["too-late"] == 1
