"""The last stage: the gate decides a batch in one transaction. Off the packet loop, so no socket waits for a commit.

Rules: who answers a challenge of ours goes before new logins, and each client in turn. What has waited too long is not
decided: a PIN would be used up for a login that nobody waits for any more. Status-Server is answered if the store can
be written, and a batch with such a question asks that first. A batch holds a few of one user: each is a transaction of
its own, and a gate with 64 of them in a row would be taken for one that hangs.

Where the gate is says a subclass: here (`deciding_here`), or in a process of its own (`deciding_afar`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from radius_server.batches import Batches
from radius_server.conversation import login_request
from radius_server.jobs import Job, Post
from radius_server.patience import PatientQueue
from radius_server.replying import Replies
from radius_server.work import Lane
from validation.errors import StoreUnavailable
from validation.gate import Outcome
from validation.requests import LoginRequest


class Deciding(ABC):
    def __init__(self, waiting: Batches[Job] | PatientQueue[Job], replies: Replies, tell: Post) -> None:
        """`tell`: calls functions of `replies` in the event loop."""
        self._waiting = waiting
        self._replies = replies
        self._tell = tell

    @abstractmethod
    def submit(self, job: Job) -> None: ...

    @abstractmethod
    def gathering(self) -> AbstractContextManager[None]:
        """For who submits several in a row: they are decided together."""

    @abstractmethod
    def busy_for(self) -> float:
        """How many seconds the batch that is being decided has taken."""

    @abstractmethod
    def close(self, within: float | None) -> None:
        """`within`: seconds for what is being decided; the rest is dropped. None: all that waits is decided."""

    # --- what waits ---------------------------------------------------------------------------------------------

    def drop_late(self, now: float) -> None:
        self._replies.too_late(self._waiting.take_while(lambda job: job.is_late(now)))

    def is_tried(self) -> bool:
        """Whether more comes in than can be decided."""
        return self._waiting.is_tried()

    @property
    def waiting(self) -> dict[str, int]:
        return {"gate": len(self._waiting)}

    # --- a batch ------------------------------------------------------------------------------------------------

    def _in_time(self, jobs: list[Job]) -> list[Job]:
        """Without those that have waited too long, after a store was locked: a retransmission is worked on afresh."""
        now = time.monotonic()
        if late := [job for job in jobs if job.is_late(now)]:
            self._tell(self._replies.too_late, late)
        if waited := [job for job in jobs if self._waited(job, now)]:
            self._tell(self._replies.waited, waited)
        return [job for job in jobs if not (job.is_late(now) or self._waited(job, now))]

    def _waited(self, job: Job, now: float) -> bool:
        """Those that have cost a password check, or answer a challenge, are decided all the same."""
        return job.lane is Lane.LOGIN and not job.is_late(now) and self._waiting.patience.is_over(job.arrival, now)

    def _probed(self, probes: list[Job], logins: list[Job], trouble: Exception | None) -> list[Job]:
        """The logins that are to be decided after `probes` have been asked for, which may have taken long."""
        if trouble is None:
            self._tell(self._replies.healthy, probes)
        else:
            self._tell(self._replies.no_answer, probes, trouble)
        if logins and isinstance(trouble, StoreUnavailable):  # waiting for it once is enough
            self._tell(self._replies.no_answer, logins, trouble)
            return []
        return self._in_time(logins)

    def _decided(self, logins: list[Job], outcomes: Sequence[Outcome]) -> None:
        self._tell(self._replies.decided, list(zip(logins, outcomes, strict=True)))


def sorted_out(jobs: list[Job]) -> tuple[list[Job], list[Job]]:
    """Probes, and logins."""
    return [job for job in jobs if job.lane is Lane.PROBE], [job for job in jobs if job.lane is not Lane.PROBE]


def companions_of(job: Job) -> tuple[tuple[str, str], ...]:
    """By what a request is decided after another one, and not together with it."""
    if job.lane is Lane.PROBE:
        return ()
    user, state = job.entry.user, job.entry.state
    return (("user", user),) if state is None else (("user", user), ("state", state))


def request_of(job: Job) -> LoginRequest:
    return login_request(job.entry, job.client, job.request_id, job.look, job.result, job.fingerprint)
