"""What happened in one round: what clients sent and heard, what admins did, and what the store says afterwards.

Rules: plain data, no clock and no I/O. All times are of one monotonic clock, that of the process whose threads play
clients and admins. A request names itself by its number, which it sends as its source address, so that a row of the
audit trail says which request it speaks of.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    CHALLENGE = "CHALLENGE"
    UNKNOWN = "UNKNOWN"  # nothing was heard in time


@dataclass(frozen=True)
class Pin:
    """What `text` is: the value of token `serial` at `position`, a counter, a time step or the place on a sheet.

    Without a position it is wrong for every token of its user.
    """

    text: str
    serial: str = ""
    position: int | None = None


NO_PIN = Pin("")  # a step that asks to be asked


@dataclass(frozen=True)
class Sent:
    at: float
    host: str  # the audit chain of the server it went to


@dataclass(frozen=True)
class Heard:
    at: float
    host: str
    run: int  # of the server's process; each start is another
    outcome: Outcome
    octets: bytes = field(repr=False, default=b"")
    state: str = ""  # that a challenge brought


@dataclass
class Request:
    """One packet, or one conversation of the helper; `sent` again are copies of the same octets."""

    number: int
    user: str
    client: str
    pin: Pin = NO_PIN
    state: str = ""
    inv: float = 0.0  # when somebody decided to ask
    ret: float = 0.0  # when he had an answer, or went away
    outcome: Outcome = Outcome.UNKNOWN  # as of `ret`
    sent: list[Sent] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)  # late ones, too

    def has_heard(self, *outcomes: Outcome) -> bool:
        return any(heard.outcome in outcomes for heard in self.heard)


@dataclass(frozen=True)
class Act:
    """What an admin did: `bar` is shut or opened for a user, or for one token of his."""

    bar: str  # "user-lock", "user-disable", "token-disable", "token-revoke"
    shuts: bool
    user: str
    serial: str
    inv: float
    ret: float
    done: bool  # False: it failed, or nobody knows


@dataclass(frozen=True)
class Row:
    """One row of the audit trail."""

    order: float  # of its commit, among the rows of one user
    chain: str
    seq: int
    event: str
    decision: str
    reason: str
    user: str
    client: str
    serial: str
    number: int | None  # of the request it names
    failures: int = 0


@dataclass(frozen=True)
class Token:
    """A token at the end of the round."""

    serial: str
    user: str
    kind: str
    began: int  # its moving factor before the round
    moving_factor: int


@dataclass
class History:
    requests: list[Request]
    acts: list[Act] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)  # of this round's users
    tokens: list[Token] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)  # wrong PINs that stand against each user at the end
    problems: tuple[str, ...] = ()  # what verifying the trail found
    silent: tuple[str, ...] = ()  # doors that let nobody in when nothing was broken any more
    faults: list[tuple[float, str]] = field(default_factory=list)  # what was done to the servers, for people
    one_answer: bool = False  # servers share what they answered, so that copies get the same everywhere

    def users(self) -> list[str]:
        return sorted({request.user for request in self.requests})

    def count(self, outcome: Outcome) -> int:
        return sum(request.outcome is outcome for request in self.requests)

    def tell(self, user: str) -> Iterator[str]:
        """The story of one user, line by line."""
        events = [*self._told_requests(user), *self._told_acts(user), *self.faults]
        start = min((at for at, _ in events), default=0.0)
        yield from (f"{at - start:8.3f}  {what}" for at, what in sorted(events))
        for row in sorted(self._of(user), key=lambda row: row.order):
            yield (
                f"     row  {row.chain}#{row.seq} {row.event} {row.decision} {row.reason} {row.client} "
                f"{row.serial} request {row.number} failures {row.failures}"
            )
        yield from (f"   store  {token}" for token in self.tokens if token.user == user)
        yield f"   store  failures {self.failures.get(user)}"

    def _of(self, user: str) -> Iterable[Row]:
        numbers = {request.number for request in self.requests if request.user == user}
        return (row for row in self.rows if row.user == user or row.number in numbers)

    def _told_requests(self, user: str) -> Iterator[tuple[float, str]]:
        for one in (request for request in self.requests if request.user == user):
            what = f"{one.client} {one.pin.serial or 'no PIN of his'}@{one.pin.position} state {one.state[:6] or '-'}"
            yield one.inv, f"request {one.number}: {what}"
            yield from ((sent.at, f"request {one.number} -> {sent.host}") for sent in one.sent)
            for heard in one.heard:
                yield (
                    heard.at,
                    f"request {one.number} <- {heard.host}.{heard.run}: {heard.outcome} {heard.state[:6]}",
                )
            yield one.ret, f"request {one.number} is {one.outcome}"

    def _told_acts(self, user: str) -> Iterator[tuple[float, str]]:
        for act in (act for act in self.acts if act.user == user):
            what = f"admin: {act.bar} {'shut' if act.shuts else 'opened'} {act.serial}"
            yield act.inv, f"{what} begins"
            yield act.ret, f"{what}: {'done' if act.done else 'nobody knows'}"
