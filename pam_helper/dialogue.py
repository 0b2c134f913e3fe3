"""A login as a conversation: what is shown and asked, in which order, until there is a verdict.

Rules: nothing is decided here. The password is checked once, the gate decides every step, and what it answers is
shown. Until the password was proved by us everybody meets the same questions: who is unknown, locked, or has typed a
wrong password is asked for PINs like anybody else, and refused at the end. PAM_IGNORE stands for one thing: the gate
let somebody in without a PIN, and the rest of the stack must judge the password as it would without us.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol, TypeAlias, TypeVar

from first_factor import Checker
from pam_helper.hello import without_surrogates
from pam_helper.rights import Asked
from validation.decisions import Accept, Challenge, Decision, Reason, Reject
from validation.errors import StoreUnavailable
from validation.gate import Gate, Outcome
from validation.messages import QR_LINE, MessageKey, default_text, fill, tries_text, without_controls
from validation.model import Mode
from validation.names import Spelling
from validation.requests import (
    NOT_CHECKED,
    Channel,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    LookRequest,
    typed_alone,
)
from validation.settings import EMPTY, Book, Whom
from validation.tokens import qr

SSHD = "sshd"
PACE = 0.05  # seconds from an answer that lets nobody in to what follows, at least: time tells nothing of the reason
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


class Task(Protocol):
    """Something slow that is no typing, a key that is to be touched. It runs in a thread of its own, and what became of
    it the task itself can tell; but not before its wait is over."""

    @property
    def seconds(self) -> float:
        """How long it may take at most."""

    def run(self, cancelled: threading.Event, say: Callable[[str], None]) -> None:
        """Returns soon after `cancelled` is set. What it says is shown while it runs."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """For a task, or until the person types a line instead."""

    task: Task


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


T = TypeVar("T")
Step: TypeAlias = Show | Prompt | SetAuthtok | Waiting | End
# Sent back is what was typed, for a Prompt; for a Waiting the same, or None if nothing was. None for everything else.
Asking: TypeAlias = Generator[Step, str | None, T]
Talk: TypeAlias = Asking[None]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a conversation needs."""

    gate: Gate
    checker: Checker
    names: Spelling
    host: str
    issuer: str
    columns: Callable[[str | None], int]  # how wide the terminal called so is
    hold: Callable[[float], Callable[[], None]]  # begins a span of seconds; the call waits for its end

    def book(self) -> Book:
        """The texts; the defaults while the store cannot be read."""
        try:
            return self.gate.policies()
        except StoreUnavailable:
            return EMPTY

    def text(self, key: MessageKey, whom: Whom, tries: int | None = None) -> str:
        """As a stranger reads it: `whom` knows no groups."""
        book = self.book()
        language = book.settings(whom).language
        text = book.text(key, language, whom) or default_text(key, language)
        return fill(text, {"tries": tries_text(tries, language)} if tries is not None else {})

    def decide(self, request: LoginRequest) -> Outcome:
        (outcome,) = self.gate.login([request])
        return outcome


# --- a login ----------------------------------------------------------------------------------------------------


def login(asked: Asked, desk: Desk) -> Talk:
    """Everything from the hello to the verdict."""
    if asked.hello.combined:
        yield from _combined(asked, desk)
        return
    request = _first_step(asked, desk)
    outcome = desk.decide(request)
    if isinstance(outcome, Reject) and request.first_factor.status is not FirstFactor.PROVED:
        yield from _as_if(asked, desk, outcome)
        return
    decision = yield from conversation(request, outcome, desk, asked.hello.tty)
    yield from _verdict(decision, desk, asked, by_key=proved_by_ssh_key(asked))


def _first_step(asked: Asked, desk: Desk) -> LoginRequest:
    """Who it is, and what is known of his password."""
    hello = asked.hello
    name, way = spelled(asked, desk), f"{hello.service}@{desk.host}"
    proves, result = True, NOT_CHECKED
    if proved_by_ssh_key(asked):
        result = FirstFactorResult(FirstFactor.PROVED)
    elif hello.authtok is not None and (not asked.pin_only or asked.actor):
        look_request = LookRequest(name, way, Mode.CHALLENGE, hello.authtok, asked.source, service=hello.service)
        (look,) = desk.gate.look([look_request])
        result = desk.checker.check(look, hello.authtok)
    else:  # the stack has checked it, or will
        proves = False
    return LoginRequest(
        user=name,
        channel=Channel.console(proves, asked.pin_only),
        client=way,
        client_version=0,
        first_factor=result,
        source=asked.source,
        service=hello.service or None,
        actor=asked.actor,
    )


def spelled(asked: Asked, desk: Desk) -> str:
    """The canonical spelling. What cannot be a name is nobody, and refused like nobody."""
    return desk.names.canonical(asked.user) or without_surrogates(asked.user)


def stranger(asked: Asked) -> Whom:
    return Whom(service=asked.hello.service or None, source=asked.source)


def proved_by_ssh_key(asked: Asked) -> bool:
    """sshd, which runs as root, says in the PAM environment which methods were passed."""
    hello = asked.hello
    if asked.pin_only or hello.service != SSHD:
        return False
    return any(line.startswith("publickey ") for line in (hello.ssh_auth_info or "").split("\n"))


def conversation(
    request: LoginRequest, outcome: Outcome, desk: Desk, tty: str | None
) -> Asking[Decision | StoreUnavailable]:
    """Show and ask what the gate says, until it asks no more."""
    while isinstance(outcome, Challenge):
        yield from _shown(outcome, desk.columns(tty))
        typed = yield from question(outcome.texts[-1], hidden=outcome.reason not in _TYPED_IN_THE_OPEN)
        held = desk.hold(PACE)
        passcode = typed_alone(without_surrogates(typed))
        answer = replace(request, first_factor=NOT_CHECKED, passcode=passcode, state=outcome.state)
        outcome = desk.decide(answer)
        if not isinstance(outcome, Accept):
            held()
    return outcome


# Where nothing typed is worth hiding: pages to turn, and the PIN of an app that is not registered yet.
_TYPED_IN_THE_OPEN = frozenset({Reason.ONBOARDING, Reason.FIRST_PIN_WRONG})


def _shown(challenge: Challenge, columns: int) -> Iterator[Show]:
    """One message for each line: ssh shows the whole at once, and some programs cut long ones."""
    for text in challenge.texts[:-1]:
        before, found, after = text.partition(QR_LINE)
        if before or not found:
            yield from lines(before)
        if found and challenge.provisioning is not None:
            yield from picture(challenge.provisioning.uri, columns)
        if after:
            yield from lines(after)


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


# --- verdicts ---------------------------------------------------------------------------------------------------

# Let in without a PIN: the stack goes on as if we were not there. Over an ssh key there is nothing else to judge.
_LET_IN_AS_IS = frozenset({Reason.SKIPPED, Reason.BYPASS, Reason.GRACE, Reason.REUSED})
# A refusal that tells its user something he can act upon.
_NOTICES = frozenset({Reason.HARDWARE_ONLY, Reason.NO_TOKEN, Reason.PAIRING_CLOSED})


def _verdict(outcome: Outcome, desk: Desk, asked: Asked, by_key: bool = False) -> Talk:
    match outcome:
        case Accept():
            for text in outcome.texts:
                yield from lines(text)
            ignored = outcome.reason in _LET_IN_AS_IS and not by_key
            yield End(Verdict.IGNORE if ignored else Verdict.SUCCESS, reason=outcome.reason)
        case Reject(reason=Reason.FIRST_FACTOR_UNAVAILABLE):
            yield End(Verdict.UNAVAILABLE, reason=outcome.reason)
        case StoreUnavailable():
            yield End(Verdict.UNAVAILABLE, reason=str(outcome))
        case Reject():
            if outcome.reason in _NOTICES:
                yield from lines(outcome.text, error=True)
                yield from question(desk.text(MessageKey.CLOSE, stranger(asked)), hidden=False)
            yield End(Verdict.DENIED, outcome.delay, outcome.reason)
        case Challenge():
            yield End(Verdict.UNAVAILABLE)


def _as_if(asked: Asked, desk: Desk, refused: Reject) -> Talk:
    """The questions that somebody with a token meets who types wrong PINs."""
    if refused.reason is Reason.FIRST_FACTOR_UNAVAILABLE:
        yield End(Verdict.UNAVAILABLE, reason=refused.reason)
        return
    whom = stranger(asked)
    tries = desk.book().settings(whom).tries
    yield from question(desk.text(MessageKey.ASK_PIN, whom))
    for left in range(tries - 1, 0, -1):
        desk.hold(PACE)()
        yield from question(desk.text(MessageKey.ASK_PIN_AGAIN, whom, left))
    desk.hold(PACE)()
    yield End(Verdict.DENIED, refused.delay, refused.reason)


# --- password and PIN in one field ------------------------------------------------------------------------------


def _combined(asked: Asked, desk: Desk) -> Talk:
    """Both are checked here; then the password alone goes to the modules that follow."""
    hello = asked.hello
    typed = hello.authtok
    if typed is None:
        typed = yield from question(desk.text(MessageKey.PASSWORD_AND_PIN, stranger(asked)))
    look_request = LookRequest(
        spelled(asked, desk), f"{hello.service}@{desk.host}", Mode.APPEND, typed, asked.source, service=hello.service
    )
    (look,) = desk.gate.look([look_request])
    password = look.split.password if look.split is not None else ""
    request = replace(
        _first_step(replace(asked, hello=replace(hello, authtok=None)), desk),
        channel=Channel.console(pin_only=asked.pin_only),
        first_factor=desk.checker.check(look, password),
        passcode=(without_surrogates(look.split.passcode) or None) if look.split is not None else None,
    )
    outcome = yield from conversation(request, desk.decide(request), desk, hello.tty)
    if isinstance(outcome, Accept):
        yield SetAuthtok(password)
    yield from _verdict(outcome, desk, asked)
