"""What has happened since the start, as numbers. Counted in the event loop.

Rules: what a number is told apart by comes from our own words and from the clients an administrator has added, never
from a request, so that nobody makes it grow; no user names. Status-Server is no Access-Request (RFC 5997 4.6.1).
"""

from bisect import bisect_left
from collections import Counter

from radius_server.attributes import Code
from radius_server.jobs import Job
from validation.decisions import Accept, Challenge, Decision

# Seconds from arrival to decision, without the delay of a refusal.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CODES = {int(code): code.name.lower().replace("_", "-") for code in Code}


class Histogram:
    """How many values were at most as large as each of BUCKETS, and larger."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.sum += value


class Counts:
    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()  # client, code; those that are signed as they must be
        self.decisions: Counter[tuple[str, str, str]] = Counter()  # client, decision, reason
        self.passwords: Counter[tuple[str, str]] = Counter()  # kind, outcome
        self.records: Counter[str] = Counter()  # client
        self.seconds = {word: Histogram() for word in ("accept", "challenge", "reject")}
        self.store_available = True

    def request(self, client: str, code: int) -> None:
        self.requests[client, _CODES[code]] += 1

    def decision(self, job: Job, decision: Decision, now: float) -> None:
        word = word_of(decision)
        self.decisions[job.client.name, word, str(decision.reason)] += 1
        self.seconds[word].add(now - job.arrival)

    def password(self, job: Job) -> None:
        if job.look is not None:
            self.passwords[str(job.look.first_factor), job.result.status.value] += 1

    def record(self, client: str) -> None:
        self.records[client] += 1


def word_of(decision: Decision) -> str:
    match decision:
        case Accept():
            return "accept"
        case Challenge():
            return "challenge"
        case _:
            return "reject"
