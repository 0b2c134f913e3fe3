"""The last stage: the gate decides a batch in one transaction. Off the packet loop, so no socket waits for a commit.

Rules: who answers a challenge of ours goes before new logins, and each client in turn. What has waited too long is not
decided: a PIN would be used up for a login that nobody waits for any more. Status-Server is answered if the store can
be written.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from radius_server.batches import Batches
from radius_server.conversation import login_request
from radius_server.jobs import Job, Post
from radius_server.replying import Replies
from radius_server.work import Lane
from validation.errors import StoreUnavailable
from validation.gate import Outcome
from validation.requests import LoginRequest


class Decides(Protocol):
    """A `Gate`, or one in a process of its own."""

    def login(self, requests: Sequence[LoginRequest]) -> list[Outcome]: ...

    def check(self) -> None: ...


class Deciding:
    def __init__(self, gate: Decides, replies: Replies, post: Post, at_once: int = 1) -> None:
        """`at_once`: so many batches are handed to the gate before the first has its answer."""
        self._gate = gate
        self._replies = replies
        self._post = post
        self._logins: Batches[Job] = Batches("twofold-gate", self._decide, threads=at_once)

    def submit(self, job: Job) -> None:
        self._logins.submit(job, job.place)

    def gathering(self) -> AbstractContextManager[None]:
        return self._logins.gathering()

    def _decide(self, jobs: list[Job]) -> None:
        jobs = self._in_time(jobs)
        logins = [job for job in jobs if job.lane is not Lane.PROBE]
        probes = [job for job in jobs if job.lane is Lane.PROBE]
        if probes:
            trouble = self._store_trouble()
            if trouble is None:
                self._post(self._replies.healthy, probes)
            else:
                self._post(self._replies.no_answer, probes, trouble)
            if isinstance(trouble, StoreUnavailable):  # waiting for it once is enough
                self._post(self._replies.no_answer, logins, trouble)
                return
        if not logins:
            return
        try:
            outcomes = self._gate.login([_request(job) for job in logins])
        except Exception as error:
            self._post(self._replies.no_answer, logins, error)
            return
        self._post(self._replies.decided, list(zip(logins, outcomes, strict=True)))

    def _in_time(self, jobs: list[Job]) -> list[Job]:
        """Without those that have waited too long, after a store was locked: a retransmission is worked on afresh."""
        now = time.monotonic()
        if late := [job for job in jobs if job.is_late(now)]:
            self._post(self._replies.too_late, late)
        if waited := [job for job in jobs if self._waited(job, now)]:
            self._post(self._replies.waited, waited)
        return [job for job in jobs if not (job.is_late(now) or self._waited(job, now))]

    def _waited(self, job: Job, now: float) -> bool:
        """Those that have cost a password check, or answer a challenge, are decided all the same."""
        return job.lane is Lane.LOGIN and not job.is_late(now) and self._logins.patience.is_over(job.arrival, now)

    def _store_trouble(self) -> Exception | None:
        try:
            self._gate.check()
        except Exception as error:
            return error
        return None

    def drop_late(self, now: float) -> None:
        self._replies.too_late(self._logins.take_while(lambda job: job.is_late(now)))

    def is_tried(self) -> bool:
        """Whether more comes in than can be decided."""
        return self._logins.is_tried()

    @property
    def waiting(self) -> dict[str, int]:
        return {"gate": len(self._logins)}

    def busy_for(self) -> float:
        """How many seconds the batch that is being decided has taken."""
        return self._logins.busy_for()

    def close(self, within: float | None) -> None:
        """`within`: seconds for what is being decided; the rest is dropped. None: all that waits is decided."""
        self._logins.close(drop=within is not None, within=within)


def _request(job: Job) -> LoginRequest:
    return login_request(job.entry, job.client, job.request_id, job.look, job.result, job.fingerprint)
