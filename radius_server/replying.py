"""What becomes of a request in the end: its reply leaves, or there is silence. In the event loop.

Rules: every request that entered leaves here, once. A refusal leaves at arrival plus delay and holds nobody up. A store
that does not answer means silence, so that the client asks its next server; the first of a row is logged, and the
recovery. So does a request whose client was changed while it was under way: its retransmission is read anew.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from radius_server import conversation
from radius_server.attributes import Code
from radius_server.counts import Counts, word_of
from radius_server.duplicates import Duplicates
from radius_server.jobs import Job
from radius_server.limits import Allowance
from radius_server.listening import Way
from radius_server.log import Drops, Line, RateLimit, line, log, log_together
from radius_server.packet import ReplyTooLong, encode_reply
from radius_server.states import States
from radius_server.work import Work
from validation.decisions import Accept, Challenge, Decision, Reason, Reject
from validation.errors import StoreUnavailable, TwofoldError

# Lines about names that may be nobody's, for each client.
NOBODIES_A_SECOND = 10.0
NOBODIES_AT_ONCE = 100.0
JITTER = 0.25  # of the reject delay (draft-ietf-radext-deprecating-radius, "Delaying Access-Rejects")

# Neither right nor wrong. What comes again is decided by what is there then: no admin's change refuses anybody.
_SILENT = frozenset({Reason.FIRST_FACTOR_UNAVAILABLE, Reason.CLIENT_CHANGED})


class Replies:
    def __init__(self) -> None:
        self.duplicates = Duplicates()
        self.work = Work()
        self.states = States()
        self.drops = Drops()
        self.counts = Counts()
        self._line_limit = RateLimit(every=1.0)
        self._nobodies = Allowance(NOBODIES_A_SECOND, NOBODIES_AT_ONCE)
        self._unsaid = Counter[str]()
        self._jitter = secrets.SystemRandom()
        self._idle: asyncio.Event | None = None

    async def idle(self) -> None:
        """Wait until nothing is in work."""
        self._idle = asyncio.Event()
        if self.work.count:
            await self._idle.wait()

    # --- replies ------------------------------------------------------------------------------------------------

    def decided(self, outcomes: Iterable[tuple[Job, Decision | StoreUnavailable]]) -> None:
        """Logged first, all by one write, then answered."""
        decided: list[tuple[Job, Decision]] = []
        lines: list[Line] = []
        for job, outcome in outcomes:
            if isinstance(outcome, StoreUnavailable):
                self.no_answer([job], outcome)
                continue
            try:
                self._note(job, outcome)
                shown = self._line(job, outcome)
            except Exception as error:  # what is wrong with one must not take the others with it
                self.failed("decided", error)
                self.forget(job)
                continue
            decided.append((job, outcome))
            if shown is not None:
                lines.append(shown)
        log_together(lines)
        for job, decision in decided:
            if isinstance(decision, Reject) and decision.reason in _SILENT:
                self.forget(job)
            else:
                self._answer(job, decision)

    def _note(self, job: Job, decision: Decision) -> None:
        self.store_answers()
        self.work.decided(job.load)
        job.decided = True
        self.counts.decision(job, decision, time.monotonic())

    def _answer(self, job: Job, decision: Decision) -> None:
        try:
            code, attributes = conversation.reply_to(decision, job.entry)
            reply = encode_reply(job.packet, job.entry.secret, code, attributes)
        except ReplyTooLong as error:
            self.drop(job, "reply-too-long", str(error))
            return
        except Exception as error:
            self.failed("reply", error)
            self.forget(job)
            return
        self._note_states(job, decision)
        if isinstance(decision, Reject):
            delay = decision.delay * (1 + self._jitter.uniform(0, JITTER))
            left = max(0.0, job.arrival + delay - time.monotonic())
            asyncio.get_running_loop().call_later(left, self.reply, job, reply)
        else:
            self.reply(job, reply)

    def _note_states(self, job: Job, decision: Decision) -> None:
        if job.entry.state is not None:
            self.states.forget(job.client.name, job.entry.state)
        if isinstance(decision, Challenge):
            now = time.monotonic()
            self.states.remember(job.client.name, decision.state, now + decision.lifetime, now)

    def healthy(self, jobs: Iterable[Job]) -> None:
        """Status-Server: the store can be written."""
        self.store_answers()
        for job in jobs:  # RFC 5997 3: Access-Accept at the authentication port
            self.reply(job, encode_reply(job.packet, job.entry.secret, Code.ACCESS_ACCEPT, []))

    def reply(self, job: Job, reply: bytes) -> None:
        if self._leave(job, reply):
            self.send(reply, job.way)

    def send(self, reply: bytes, way: Way) -> None:
        try:
            way.door.send(reply, way)
        except OSError as error:
            self.drops.drop(time.monotonic(), "send-failed", str(way.peer[0]), hint=str(error.strerror))

    # --- silence ------------------------------------------------------------------------------------------------

    def forget(self, job: Job) -> None:
        """No reply: a retransmission is worked on afresh."""
        self._leave(job, None)

    def drop(self, job: Job, reason: str, hint: str = "") -> None:
        self.drops.drop(time.monotonic(), reason, job.source, job.client.name, hint)
        self.forget(job)

    def too_late(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.drop(job, "too-late")

    def waited(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.drop(job, "overload-waited")

    def no_answer(self, jobs: Sequence[Job], error: Exception) -> None:
        self.store_silent(error)
        for job in jobs:
            self.drops.counters["store-unavailable"] += 1
            self.forget(job)

    def store_silent(self, error: Exception) -> None:
        if self.counts.store_available:
            what = str(error) if isinstance(error, TwofoldError) else type(error).__name__
            log.error(line("store-unavailable", error=what, effect="no answers until it is back"))
            log.debug("store unavailable, where it happened", exc_info=error)
        self.counts.store_available = False

    def store_answers(self) -> None:
        if not self.counts.store_available:
            log.warning(line("store-back"))
        self.counts.store_available = True

    def failed(self, where: str, error: Exception) -> None:
        """A defect of ours: it is seen, and the request gets no answer."""
        self.drops.counters["internal-error"] += 1
        log.error(line("internal-error", where=where, error=type(error).__name__))
        log.debug("internal error, where it happened", exc_info=error)

    def _leave(self, job: Job, reply: bytes | None) -> bool:
        """The request is done with; False if a newer one has taken its place. None: no reply, nothing is kept."""
        self.work.leave(job.load, job.decided)
        valid = self.duplicates.finish(job.flow, job.fingerprint, reply, time.monotonic())
        if self._idle is not None and not self.work.count:
            self._idle.set()
        return valid

    # --- what is logged -----------------------------------------------------------------------------------------

    def _line(self, job: Job, decision: Decision) -> Line | None:
        """None: this decision gets no line."""
        more = self._unsaid_before(job, decision)
        if more is None:
            return None
        shown = {
            "user": job.entry.user,
            "client": job.client.name,
            "from": job.source,
            "reason": decision.reason,
            "token": decision.serial if isinstance(decision, Accept) else None,
            "failures": decision.failures or None if isinstance(decision, Reject) else None,
            "tries_left": decision.tries_left if isinstance(decision, Challenge) else None,
            "why": job.entry.unsupported or job.result.why,
            "nas": job.entry.nas_shown,
            "request": job.request_id,
            "ms": round((time.monotonic() - job.arrival) * 1000, 1),
            "suppressed": more or None,
        }
        return Line(_word(decision), shown)

    def _unsaid_before(self, job: Job, decision: Decision) -> int | None:
        """None: this decision gets no line. Else how many of the kind got none before it."""
        now, client = time.monotonic(), job.client.name
        # Names that nobody has can be made up by the thousand.
        if decision.reason in _OF_ANYBODY and not self._nobodies.takes(client, now):
            self._unsaid[client] += 1
            return None
        more = self._line_limit.allows((client, job.entry.user, decision.reason), now)
        return more if more is None else more + self._unsaid.pop(client, 0)


# Reasons that a decision can have whoever is named: before it was looked whose the name is, or so that nobody can tell.
_OF_ANYBODY = frozenset(
    {
        Reason.USER_UNKNOWN,
        Reason.REQUEST_UNSUPPORTED,
        Reason.CLIENT_CHANGED,
        Reason.STATE_UNKNOWN,
        Reason.STATE_FOREIGN,
        Reason.SOURCE_HELD,
        Reason.ASKED,
    }
)
_FIRST_QUESTIONS = frozenset({Reason.PASSWORD_RIGHT, Reason.ONBOARDING, Reason.ASKED})


def _word(decision: Decision) -> str:
    if isinstance(decision, Challenge) and decision.reason not in _FIRST_QUESTIONS:
        return "again"
    return word_of(decision)
