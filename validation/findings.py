"""What `twofold doctor` has to say about one thing: how bad it is, what is so, and what to change.

Rule: a finding that is not fine says what to do, in words that can be typed or written into a file.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The values are what people see."""

    OK = "ok"
    ADVICE = "!"
    SERIOUS = "!!"  # lets somebody in without a second factor, or keeps logins from working


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    topic: str
    text: str
    remedy: str = ""


def fine(topic: str, text: str) -> Finding:
    return Finding(Severity.OK, topic, text)


def advice(topic: str, text: str, remedy: str) -> Finding:
    return Finding(Severity.ADVICE, topic, text, remedy)


def serious(topic: str, text: str, remedy: str) -> Finding:
    return Finding(Severity.SERIOUS, topic, text, remedy)
