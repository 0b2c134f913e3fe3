"""The steps of a conversation: what is shown, asked and waited for, and how it ends.

Rules: a conversation is a generator of these. What is shown is free of control characters, and no line is longer than
every login program can show.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias, TypeVar

from pam_helper.key_outcomes import Outcome
from validation.messages import without_controls
from validation.tokens import qr

LINE_MOST = 500  # octets; PAM_MAX_MSG_SIZE is 512


@dataclass(frozen=True, slots=True)
class Show:
    text: str = field(repr=False)  # may hold a key
    error: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    hidden: bool = True


@dataclass(frozen=True, slots=True)
class SetAuthtok:
    """The password, for the modules that come after us."""

    text: str = field(repr=False)


class Verdict(Enum):
    """For the module; the values are those of the frame."""

    SUCCESS = b"S"
    DENIED = b"D"
    IGNORE = b"I"
    UNAVAILABLE = b"U"


@dataclass(frozen=True, slots=True)
class End:
    verdict: Verdict
    delay: float = 0.0  # seconds that the program should hold a refusal back
    reason: str = field(default="", compare=False)  # for the log alone


class Task(Protocol):
    """Something slow that is no typing, a key that is to be touched. It runs in a thread of its own, with the rights of
    this process, and what became of it the task itself can tell; but not before its wait is over."""

    @property
    def seconds(self) -> float:
        """How long it may take at most."""

    def run(self, cancelled: threading.Event, say: Callable[[str], None]) -> None:
        """Returns soon after `cancelled` is set. What it says is shown while it runs."""


class KeyTask(Task, Protocol):
    @property
    def outcome(self) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """For a task, or until the person types a line instead."""

    task: Task


T = TypeVar("T")
Step: TypeAlias = Show | Prompt | SetAuthtok | Waiting | End
# Sent back is what was typed, for a Prompt; for a Waiting the same, or None if nothing was. None for everything else.
Asking: TypeAlias = Generator[Step, str | None, T]
Talk: TypeAlias = Asking[None]


def question(text: str, hidden: bool = True) -> Asking[str]:
    """Its last line is asked; what stands above it is shown."""
    *above, last = lines(text.rstrip("\n"))
    yield from above
    typed = yield Prompt(last.text, hidden)
    if typed is None:
        raise TypeError("a prompt has an answer")
    return typed


def waiting(task: Task) -> Asking[str | None]:
    """The line that was typed instead, "" for Enter alone; None: the task has ended, or could not begin."""
    return (yield Waiting(task))


def picture(uri: str, columns: int) -> Iterator[Show]:
    drawn = qr.picture(uri).splitlines()
    if max(len(line) for line in drawn) > columns:
        yield Show("(This window is too narrow for the QR code.)")
        return
    yield from (Show(line) for line in drawn)


def lines(text: str, error: bool = False) -> Iterator[Show]:
    """Without control characters, cut between characters."""
    for line in text.split("\n"):
        piece = ""
        for char in without_controls(line):
            if len((piece + char).encode()) > LINE_MOST:
                yield Show(piece, error)
                piece = ""
            piece += char
        yield Show(piece, error)
