"""So many rounds with one seed, and what came of them.

Rules: the seed draws who does what and what breaks when; how it comes out depends on the machine, too, so a finding is
told whole: the rule, and the story of the user it concerns. The trail is verified at the end of every world.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from store import opening
from tests.chaos.checker import Broken, check
from tests.chaos.history import History, Outcome
from tests.chaos.people import numbers
from tests.chaos.round import SECONDS, Rounds
from tests.chaos.world import world
from tests.postgres import Postgres

STORY = 120  # lines


@dataclass
class Report:
    seed: int
    rounds: int = 0
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        verdict = "every rule held" if not self.broken else "BROKEN"
        return f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.0f} s: {counted}: {verdict}"

    def add(self, history: History) -> None:
        for outcome in Outcome:
            self.done[f"{outcome}s heard"] += history.count(outcome)
        self.done["packets"] += sum(len(request.sent) for request in history.requests)
        self.done["late or second answers"] += sum(max(0, len(request.heard) - 1) for request in history.requests)
        self.done["acts of an admin"] += sum(act.done for act in history.acts)
        self.done["accept rows nobody heard of"] += _unheard(history)

    def judge(self, history: History) -> None:
        self.broken += check(history)
        if self.broken and not self.story:
            first = self.broken[0]
            lines = list(history.tell(first.user or (history.users() or [""])[0]))
            self.story = lines[:STORY]


def _unheard(history: History) -> int:
    accepted = {row.number for row in history.rows if row.decision == "accept"}
    return sum(request.number in accepted and not request.has_heard(Outcome.ACCEPT) for request in history.requests)


def run(
    folder: Path,
    rounds: int,
    seed: int,
    database: Postgres | None = None,
    fault: str = "",
    seconds: float = SECONDS,
    say: Callable[[str], None] = lambda line: None,
    until: Collection[str] = (),
) -> Report:
    """Until a rule breaks, one of `until` if it names some, or all rounds are done."""
    report, began = Report(seed), time.monotonic()
    with world(folder, database, fault) as made:
        these = Rounds(made, numbers())
        for number in range(rounds):
            history, nemesis = these.play(random.Random(f"{seed} {number}"), seconds)
            report.rounds, report.seconds = number + 1, time.monotonic() - began
            report.done += nemesis.done
            report.add(history)
            if number == rounds - 1:
                history.problems = opening.read_trail(made.site.config).problems
            report.judge(history)
            if report.broken if not until else {broken.rule for broken in report.broken} & set(until):
                break
            if (number + 1) % 10 == 0:
                say(str(report))
    report.seconds = time.monotonic() - began
    return report
