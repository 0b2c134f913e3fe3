"""A scenario, measured: a round of every server in turn, several times over, and the median of each.

Rules: servers take turns, so that whatever else the machine does hits all alike. The first round of each only warms it
up, and tells how many people the next ones need. What was not answered as it should have been is an error.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.generator import Load, load
from benchmarks.people import Entries
from benchmarks.subjects import Subject

_WARM_UP = 200  # people


@dataclass(frozen=True)
class Scenario:
    """How logins are sent, and what should come back."""

    title: str
    people: Callable[[Subject, int], Entries]
    source: str = "127.0.0.1"
    window: int = 64
    rate: float = 0.0  # a second; 0: a closed loop
    seconds: float = 2.0
    refused: bool = False  # everybody is to be

    @property
    def options(self) -> dict[str, float]:
        """Of the load generator."""
        pace = {"rate": self.rate} if self.rate else {"window": float(self.window)}
        return {"seconds": self.seconds, **pace}


@dataclass(frozen=True)
class Round:
    load: Load
    cpu: float  # seconds

    def errors(self, refused: bool) -> int:
        """Answers that were wrong."""
        right = self.load.rejects if refused else self.load.accepts
        return self.load.finished - right + self.load.forged


@dataclass
class Result:
    """What one server did in one scenario."""

    subject: Subject
    scenario: Scenario
    rounds: list[Round] = field(default_factory=list)

    def median(self, value: Callable[[Round], float]) -> float:
        return statistics.median(map(value, self.rounds))

    @property
    def per_second(self) -> float:
        return self.median(lambda r: r.load.per_second)

    @property
    def cpu_us(self) -> float:
        """Of each login that was answered."""
        return self.median(lambda r: r.cpu / max(1, r.load.finished) * 1e6)

    @property
    def errors(self) -> int:
        """In all rounds."""
        return sum(r.errors(self.scenario.refused) for r in self.rounds)

    @property
    def lost(self) -> int:
        return sum(r.load.lost for r in self.rounds)

    @property
    def resent(self) -> int:
        return sum(r.load.resent for r in self.rounds)


def measured(
    scenario: Scenario, subjects: Sequence[Subject], repeats: int, before_each: Callable[[], object] = int
) -> list[Result]:
    results = [Result(subject, scenario) for subject in subjects]
    pace = {}
    for result in results:
        pace[result.subject.name] = max(one_round(result, _WARM_UP).load.per_second, 1.0)
    for _ in range(repeats):
        before_each()
        for result in results:
            done = one_round(result, needed(scenario, pace[result.subject.name]))
            pace[result.subject.name] = max(done.load.per_second, 1.0)
            result.rounds.append(done)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def needed(scenario: Scenario, pace: float) -> int:
    """As many people as keep it busy for its time; what is warm is quicker."""
    return int((scenario.rate or max(_WARM_UP, pace * 1.5)) * scenario.seconds)


def one_round(result: Result, count: int) -> Round:
    """At most `count` people."""
    subject, scenario = result.subject, result.scenario
    people, before = scenario.people(subject, count), list[float]()
    seen = load(
        subject.address,
        subject.secret,
        people,
        scenario.options,
        source=scenario.source,
        at_start=lambda _: before.append(subject.cpu()),
    )
    after = subject.cpu()
    subject.crowd.give_back(len(people) - seen.sent)
    return Round(seen, after - before[0])
