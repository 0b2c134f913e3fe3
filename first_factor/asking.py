"""The question of a server that is not root to root's helper: is this the password of this account?

It is one frame over one of the helper's sockets, and the answer is another: an octet of type, four of length (big
endian), and the payload.

    question  Q   name, NUL, password
    answer    V   a letter (`Answer`), then the name again

Rules: the server tells a password to root alone (SO_PEERCRED). It waits `time_limit` seconds in all, and only so many
questions are on their way. What is not one of the answers octet for octet, names another account, or does not come, is
neither right nor wrong. The helper decides who may ask; no account below uid 1000 is ever asked about there. A name
that no account can have is asked about as nobody's, which costs the same and is wrong.
"""

import logging
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import Enum

from first_factor.bounded import Bounded, NoAnswer
from first_factor.system import HELD, LONGEST, octets_of
from validation.decisions import Look
from validation.messages import printable
from validation.requests import FirstFactor, FirstFactorResult

_log = logging.getLogger("twofold.first_factor")

QUESTION, ANSWER = b"Q", b"V"
NAME_MOST = 256  # octets; useradd takes 32, and directories not many more
_HEADER = 5
_PEER = struct.Struct("iII")  # struct ucred: pid, uid, gid
_TIME = struct.Struct("ll")  # struct timeval
_COMPLAIN_EVERY = 1.0  # seconds


class Answer(Enum):
    """The values are those of the frame."""

    PROVED = b"S"
    WRONG = b"D"
    UNAVAILABLE = b"U"
    THROTTLED = b"T"
    NOT_ALLOWED = b"N"

    def encode(self, name: bytes) -> bytes:
        return _frame(ANSWER, self.value + name)


class BadQuestion(Exception):
    """What came is no question. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Question:
    name: bytes
    password: bytes = field(repr=False)

    def encode(self) -> bytes:
        return _frame(QUESTION, self.name + b"\0" + self.password)


def parse(payload: bytes) -> Question:
    """The payload of a question. Raises BadQuestion."""
    name, found, password = payload.partition(b"\0")
    if not found or b"\0" in password:
        raise BadQuestion("a question is a name, a NUL and a password")
    if len(name) > NAME_MOST:
        raise BadQuestion(f"a name of {len(name)} octets; {NAME_MOST} are possible")
    if not 0 < len(password) <= LONGEST:
        raise BadQuestion(f"a password of {len(password)} octets; 1 to {LONGEST} are possible")
    return Question(name, password)


def _frame(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


class HelperPasswords:
    """Asks the helper at the socket `path`, which must be run by the uid `trusted`."""

    def __init__(self, path: str, time_limit: float, threads: int, trusted: int = 0) -> None:
        self._path = path
        self._time_limit = time_limit
        self._trusted = trusted
        self._bounded = Bounded(threads, time_limit)
        self._complaints = _Complaints()

    def check(self, look: Look, password: str) -> FirstFactorResult:
        typed = octets_of(password)
        if not typed or b"\0" in typed:  # whoever is named
            return FirstFactorResult(FirstFactor.WRONG, look.password_version)
        name = octets_of(look.user)
        real = len(typed) <= LONGEST and 0 < len(name) <= NAME_MOST and b"\0" not in name
        answer = self._answer(Question(name if real else b"", typed[:LONGEST]))
        if answer is Answer.PROVED:
            status = FirstFactor.PROVED if real else FirstFactor.WRONG
        else:
            status = FirstFactor.WRONG if answer is Answer.WRONG else FirstFactor.UNAVAILABLE
        return FirstFactorResult(status, look.password_version, why=HELD if answer is Answer.THROTTLED else "")

    def _answer(self, question: Question) -> Answer:
        until = time.monotonic() + self._time_limit
        try:
            answer = self._bounded.run(lambda: self._ask(question, until))
        except NoAnswer as error:
            self._complain(str(error))
            return Answer.UNAVAILABLE
        except Exception as error:
            self._complain(type(error).__name__)
            _log.debug("where it happened", exc_info=error)
            return Answer.UNAVAILABLE
        if answer in _COMPLAINTS:
            self._complain(f"{_COMPLAINTS[answer]} (user={printable(question.name.decode())})")
        return answer

    def _complain(self, why: str) -> None:
        unsaid = self._complaints.due(time.monotonic())
        if unsaid is not None:
            more = f" ({unsaid} more before)" if unsaid else ""
            _log.error("passwords of the host's accounts cannot be checked: %s%s", why, more)

    def _ask(self, question: Question, until: float) -> Answer:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                self._connect(connection, until)
                connection.settimeout(_left(until))
                connection.sendall(question.encode())
                return _taken(connection, question.name, until)
        except OSError as error:
            why = error.strerror or "no answer in time"
            raise NoAnswer(f"no helper answers at {self._path} ({why}); is it running? twofold pam serve") from None

    def _connect(self, connection: socket.socket, until: float) -> None:
        """In the order of those who wait, where the helper has more callers than it takes: without SO_SNDTIMEO such a
        connect fails at once, and a crowd at the socket would keep the server out."""
        left = _left(until)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIME.pack(int(left), int(left % 1 * 1_000_000)))
        connection.connect(self._path)
        uid = uid_at_the_other_end(connection)
        if uid != self._trusted:
            raise NoAnswer(f"who listens at {self._path} is not root but uid {uid}; nothing was told to it")


def uid_at_the_other_end(connection: socket.socket) -> int:
    """SO_PEERCRED: as whom the other end listens."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


_COMPLAINTS = {
    Answer.UNAVAILABLE: "the helper's log says why",
    Answer.THROTTLED: "the helper lets this account wait, after wrong passwords",
    Answer.NOT_ALLOWED: "the helper answers the owner of the store alone, and we run as somebody else",
}


class _Complaints:
    """One line a second: whoever sends logins must not fill the log."""

    def __init__(self) -> None:
        self._next = 0.0
        self._unsaid = 0
        self._guard = threading.Lock()

    def due(self, now: float) -> int | None:
        """None: not now. Else how many were left out before this one."""
        with self._guard:
            if now < self._next:
                self._unsaid += 1
                return None
            self._next = now + _COMPLAIN_EVERY
            unsaid, self._unsaid = self._unsaid, 0
            return unsaid


def _taken(connection: socket.socket, name: bytes, until: float) -> Answer:
    """All answers are of one length, so no more is read than there may be."""
    length = _HEADER + 1 + len(name)
    octets = b""
    while len(octets) < length:
        connection.settimeout(_left(until))
        more = connection.recv(length - len(octets))
        if not more:
            raise NoAnswer("the helper hung up")
        octets += more
    return answer_in(octets, name)


def answer_in(octets: bytes, name: bytes) -> Answer:
    """Which answer about the account `name` these octets are. Raises NoAnswer if they are none."""
    for answer in Answer:
        if octets == answer.encode(name):
            return answer
    raise NoAnswer("the helper speaks otherwise than this server; both must be of one version")


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0.001:  # none at all would mean without an end
        raise NoAnswer("no answer in time")
    return left
