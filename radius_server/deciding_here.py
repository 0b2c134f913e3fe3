"""Decisions by a gate in this process: a thread takes what is waiting, has it decided, and tells the event loop."""

from contextlib import AbstractContextManager

from radius_server.batches import Batches
from radius_server.deciding import Deciding, companions_of, request_of, sorted_out
from radius_server.jobs import Job, Post
from radius_server.replying import Replies
from validation.gate import Gate


class DecidingHere(Deciding):
    def __init__(self, gate: Gate, replies: Replies, post: Post) -> None:
        self._gate = gate
        self._logins: Batches[Job] = Batches("twofold-gate", self._decide, marks=companions_of)
        super().__init__(self._logins, replies, post)

    def submit(self, job: Job) -> None:
        self._logins.submit(job, job.place)

    def gathering(self) -> AbstractContextManager[None]:
        return self._logins.gathering()

    def _decide(self, jobs: list[Job]) -> None:
        probes, logins = sorted_out(self._in_time(jobs))
        if probes:
            logins = self._probed(probes, logins, self._store_trouble())
        if not logins:
            return
        try:
            outcomes = self._gate.login([request_of(job) for job in logins])
        except Exception as error:
            self._tell(self._replies.no_answer, logins, error)
            return
        self._decided(logins, outcomes)

    def _store_trouble(self) -> Exception | None:
        try:
            self._gate.check()
        except Exception as error:
            return error
        return None

    def busy_for(self) -> float:
        return self._logins.busy_for()

    def close(self, within: float | None) -> None:
        self._logins.close(drop=within is not None, within=within)
