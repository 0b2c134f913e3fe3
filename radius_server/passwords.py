"""The stage before the gate: a read-only look, then exactly one password check, off the packet loop.

Rules: looks have a thread of their own, so that no password waits for a commit; each check has one of a bounded
number of threads. Passwords that are kept here are hashed by as many as there are cores, and those of another place
are asked for by others, so that neither waits for the other. Who is next says the queue, each client in turn. What has
waited too long is not checked any more.
"""

import os
import time

from first_factor import Checker
from radius_server import conversation
from radius_server.batches import Batches
from radius_server.deciding import Deciding
from radius_server.jobs import Job, Post
from radius_server.log import line, log
from radius_server.replying import Replies
from validation.gate import Gate
from validation.model import FirstFactorKind
from validation.requests import FirstFactor, FirstFactorResult

# Each kind has a smaller bound of its own (system: 32 at most), so that one that hangs leaves room for the others.
ASKED_AT_ONCE = 40


class Passwords:
    def __init__(self, gate: Gate, checker: Checker, deciding: Deciding, replies: Replies, post: Post) -> None:
        self.checker = checker
        self._gate = gate
        self._deciding = deciding
        self._replies = replies
        self._post = post
        self._looks: Batches[Job] = Batches("twofold-look", self._look_at)
        self._here = self._checks("twofold-hash", os.cpu_count() or 1)
        self._elsewhere = self._checks("twofold-ask", ASKED_AT_ONCE)

    def _checks(self, name: str, threads: int) -> Batches[Job]:
        checks: Batches[Job] = Batches(name, lambda jobs: self._check(jobs, checks), most=1, threads=threads)
        return checks

    def submit(self, job: Job) -> None:
        self._looks.submit(job, job.place)

    def _look_at(self, jobs: list[Job]) -> None:
        """In the look thread: one read for the batch, then each password to those who check it."""
        try:
            looks = self._gate.look([conversation.look_request(j.entry, j.client, j.fingerprint) for j in jobs])
        except Exception as error:
            self._post(self._replies.no_answer, jobs, error)
            return
        for job, look in zip(jobs, looks, strict=True):
            job.look = look
            checks = self._here if look.first_factor == FirstFactorKind.LOCAL else self._elsewhere
            checks.submit(job, job.place)

    def _check(self, jobs: list[Job], checks: Batches[Job]) -> None:
        (job,) = jobs
        if checks.patience.is_over(job.arrival, time.monotonic()):
            self._post(self._replies.waited, jobs)
            return
        try:
            if job.look is not None:
                password = conversation.password_of(job.entry, job.client, job.look)
                job.result = self.checker.check(job.look, password)
        except Exception as error:
            log.error(line("password-check-failed", client=job.client.name, error=type(error).__name__))
            log.debug("password check failed, where it happened", exc_info=error)
            job.result = FirstFactorResult(FirstFactor.UNAVAILABLE)
        self._post(self._checked, job)

    def _checked(self, job: Job) -> None:
        self._replies.counts.password(job)
        self._deciding.submit(job)

    def drop_late(self, now: float) -> None:
        """What nobody waits for any more holds no place."""
        for stage in (self._looks, self._here, self._elsewhere):
            self._replies.too_late(stage.take_while(lambda job: job.is_late(now)))

    def is_tried(self) -> bool:
        """Whether more comes in than can be checked."""
        return self._here.is_tried() or self._elsewhere.is_tried()

    @property
    def waiting(self) -> dict[str, int]:
        return {"look": len(self._looks), "password": len(self._here) + len(self._elsewhere)}

    def busy_for(self) -> float:
        """How many seconds the look thread has been at it; a back end for passwords may take its time."""
        return self._looks.busy_for()

    def close(self, within: float | None) -> None:
        """`within`: seconds for what is being checked; the rest is dropped."""
        self._looks.close(drop=within is not None, within=within)
        self._here.close(drop=True, within=within)
        self._elsewhere.close(drop=True, within=within)
