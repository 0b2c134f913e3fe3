"""Asking root's helper: whom a password is told, what counts as an answer, and how long one is waited for.

The helper here is a socket that says what a test wants; the real one: tests/pam_helper/test_passwords.py.
"""

import contextlib
import logging
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from first_factor import asking
from first_factor.asking import NAME_MOST, Answer, BadQuestion, HelperPasswords, Question
from first_factor.bounded import NoAnswer
from first_factor.system import LONGEST
from validation.decisions import Look
from validation.requests import FirstFactor, FirstFactorResult

SECRET = "s3cret-of-a-user"
US = os.geteuid()
LIMIT = 0.3  # seconds, where a test waits for it to pass
Says = Callable[[bytes], bytes]


class Fake:
    """Listens, keeps what it is told, and says `says(question)`; None: nothing, and the line stays open."""

    def __init__(self, path: Path, says: Says | None) -> None:
        self.told: list[bytes] = []
        self._says = says
        self._open: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            octets = b""
            while len(octets) < 5 or len(octets) < 5 + int.from_bytes(octets[1:5], "big"):
                more = connection.recv(65_536)
                if not more:
                    break
                octets += more
            self.told.append(octets)
            if self._says is not None:
                with contextlib.suppress(OSError):
                    connection.sendall(self._says(octets))
                connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        for each in (self._socket, *self._open):
            each.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="twofold-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def helper(folder: Path) -> Iterator[Callable[[Says | None], Fake]]:
    made: list[Fake] = []

    def start(says: Says | None) -> Fake:
        made.append(Fake(folder / "s", says))
        return made[-1]

    yield start
    for fake in made:
        fake.close()


def asked(folder: Path, time_limit: float = 20.0, threads: int = 8) -> HelperPasswords:
    return HelperPasswords(str(folder / "s"), time_limit, threads, trusted=US)


def look(user: str = "alice") -> Look:
    return Look("system", None, 5, user=user)


def name_in(question: bytes) -> bytes:
    return question[5:].partition(b"\0")[0]


def with_letter(letter: bytes) -> Says:
    def says(question: bytes) -> bytes:
        name = name_in(question)
        return b"V" + (1 + len(name)).to_bytes(4, "big") + letter + name

    return says


Start = Callable[[Says | None], Fake]


@pytest.mark.parametrize(
    ("letter", "status", "why"),
    [
        (b"S", FirstFactor.PROVED, ""),
        (b"D", FirstFactor.WRONG, ""),
        (b"U", FirstFactor.UNAVAILABLE, ""),
        (b"T", FirstFactor.UNAVAILABLE, "throttled"),
        (b"N", FirstFactor.UNAVAILABLE, ""),
        (b"I", FirstFactor.UNAVAILABLE, ""),
        (b"s", FirstFactor.UNAVAILABLE, ""),
        (b"\0", FirstFactor.UNAVAILABLE, ""),
    ],
)
def test_each_answer_has_its_meaning(folder: Path, helper: Start, letter: bytes, status: FirstFactor, why: str) -> None:
    fake = helper(with_letter(letter))
    assert asked(folder).check(look(), SECRET) == FirstFactorResult(status, 5, why=why)
    assert fake.told == [b"Q\0\0\0" + bytes([len(SECRET) + 6]) + b"alice\0" + SECRET.encode()]


NO_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "half a header": b"V\0\0",
    "no name": b"V\0\0\0\1S",
    "half a name": b"V\0\0\0\6Sali",
    "somebody else": b"V\0\0\0\6Sbobby",
    "a shorter name": b"V\0\0\0\4Sali",
    "a longer one": b"V\0\0\0\7Salices",
    "the verdict of a login": b"F\0\0\0\6Salice",
    "a refusal of a login": b"F\0\0\0\1D",
    "four gibibytes": b"V\xff\xff\xff\xffSalice",
    "text": b"HTTP/1.1 200 OK\r\n",
}


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_about_this_account_is_neither_right_nor_wrong(
    folder: Path, helper: Start, said: bytes
) -> None:
    helper(lambda question: said)
    assert asked(folder).check(look(), SECRET).status is FirstFactor.UNAVAILABLE


@pytest.mark.statement("C-034")
@pytest.mark.parametrize("user", ["", "nul\0in", "x" * (NAME_MOST + 1), "\ud800"])
def test_whoever_can_have_no_account_costs_the_same_question_and_is_wrong(
    folder: Path, helper: Start, user: str
) -> None:
    fake = helper(with_letter(b"S"))
    assert asked(folder).check(look(user), SECRET).status is FirstFactor.WRONG
    assert [name_in(question) for question in fake.told] == [b""]


@pytest.mark.statement("R-053", "R-054")
@pytest.mark.parametrize("password", ["", "\0", SECRET + "\0", SECRET + "\0more", "half a character \ud800"])
def test_what_cannot_be_a_password_is_wrong_and_nothing_is_asked(folder: Path, helper: Start, password: str) -> None:
    fake = helper(with_letter(b"S"))
    assert asked(folder).check(look(), password).status is FirstFactor.WRONG
    assert fake.told == []


def test_a_password_that_is_too_long_is_wrong_after_the_same_question(folder: Path, helper: Start) -> None:
    fake = helper(with_letter(b"S"))
    assert asked(folder).check(look(), "x" * LONGEST).status is FirstFactor.PROVED
    assert asked(folder).check(look(), "x" * (LONGEST + 1)).status is FirstFactor.WRONG
    assert fake.told[1] == Question(b"", b"x" * LONGEST).encode()


def test_without_a_helper_there_is_no_answer_and_that_is_said_once_a_second(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = asked(folder)
    assert [passwords.check(look(), SECRET).status for _ in range(20)] == [FirstFactor.UNAVAILABLE] * 20
    assert "is it running? twofold pam serve" in caplog.text
    assert len(caplog.records) < 20


@pytest.mark.statement("P-013")
@pytest.mark.parametrize("letter", [b"S", b"D", b"U", b"T", b"N", b"?"])
def test_no_log_line_shows_the_password(
    folder: Path, helper: Start, caplog: pytest.LogCaptureFixture, letter: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    helper(with_letter(letter))
    passwords = asked(folder)
    result = passwords.check(look(), SECRET)
    shown = caplog.text + repr(passwords) + repr(result) + repr(Question(b"alice", SECRET.encode()))
    assert SECRET not in shown
    assert bool(caplog.records) is (letter not in b"SD")


LISTEN = """
import os, socket, sys
os.setgroups([]); os.setresgid(1, 1, 1); os.setresuid(1, 1, 1)
one = socket.socket(socket.AF_UNIX); one.bind(sys.argv[1]); one.listen()
print("listening", flush=True)
connection, _ = one.accept()
sys.stdout.buffer.write(connection.recv(65536)); sys.stdout.flush()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a helper that is not root's is made by root alone")
def test_who_is_not_root_is_told_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.chmod(0o777)
    command = [sys.executable, "-I", "-S", "-c", LISTEN, str(folder / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as impostor:
        assert impostor.stdout is not None
        assert impostor.stdout.readline() == b"listening\n"
        assert asked(folder).check(look(), SECRET).status is FirstFactor.UNAVAILABLE
        assert impostor.stdout.read() == b""
    assert "is not root but uid 1; nothing was told to it" in caplog.text


# --- a helper that hangs ----------------------------------------------------------------------------------------


def test_a_helper_that_hangs_holds_nobody_for_longer_than_the_limit(folder: Path, helper: Start) -> None:
    """More ask at once than there are places: all have their answer, and the next is not kept waiting for ever."""
    helper(None)
    passwords = asked(folder, LIMIT, threads=2)
    found: list[FirstFactor] = []
    threads = [threading.Thread(target=lambda: found.append(passwords.check(look(), SECRET).status)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [FirstFactor.UNAVAILABLE] * 10


def test_an_answer_that_trickles_gets_no_more_time_than_none(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        ended = threading.Event()

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                for octet in Answer.PROVED.encode(b"alice") * 1000:
                    connection.sendall(bytes([octet]))
                    if ended.wait(LIMIT / 4):
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        assert asked(folder, LIMIT).check(look(), SECRET).status is FirstFactor.UNAVAILABLE
        ended.set()
        thread.join(60)


def test_a_helper_with_more_callers_than_it_takes_is_waited_for(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as crowd:
        listener.bind(str(folder / "s"))
        listener.listen(0)
        first = crowd.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(str(folder / "s"))  # and now its queue is full
        found: list[FirstFactor] = []
        thread = threading.Thread(target=lambda: found.append(asked(folder).check(look(), SECRET).status))
        thread.start()
        listener.accept()[0].close()
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(Answer.PROVED.encode(b"alice"))
        thread.join(60)
        assert found == [FirstFactor.PROVED]


def test_a_helper_that_takes_no_caller_holds_nobody_for_longer_than_the_limit(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(folder / "s"))
        listener.listen(0)
        first.connect(str(folder / "s"))
        assert asked(folder, LIMIT).check(look(), SECRET).status is FirstFactor.UNAVAILABLE


# --- both parsers -----------------------------------------------------------------------------------------------

names = st.binary(max_size=NAME_MOST).filter(lambda octets: b"\0" not in octets)
passwords_ = st.binary(min_size=1, max_size=LONGEST).filter(lambda octets: b"\0" not in octets)


@given(names, passwords_)
def test_a_question_is_read_as_it_was_written(name: bytes, password: bytes) -> None:
    question = Question(name, password)
    assert asking.parse(question.encode()[5:]) == question


@given(st.binary(max_size=600))
def test_of_any_octets_nothing_is_read_but_what_stands_there(payload: bytes) -> None:
    try:
        question = asking.parse(payload)
    except BadQuestion:
        return
    assert question.encode()[5:] == payload
    assert len(question.name) <= NAME_MOST
    assert 0 < len(question.password) <= LONGEST


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"alice",
        b"alice\0",
        b"alice\0geheim\0",
        b"alice\0ge\0heim",
        b"x" * (NAME_MOST + 1) + b"\0geheim",
        b"alice\0" + b"x" * (LONGEST + 1),
    ],
    ids=["empty", "no NUL", "no password", "a NUL at the end", "a NUL within", "a long name", "a long password"],
)
def test_what_is_no_question_is_refused_without_being_shown(payload: bytes) -> None:
    with pytest.raises(BadQuestion) as caught:
        asking.parse(payload)
    assert "geheim" not in str(caught.value)


def test_of_20_000_spoiled_answers_none_is_taken_for_a_right_one() -> None:
    """Octets changed, cut, added or made up; a seed makes them the same each time."""
    dice, right, taken = random.Random(56), Answer.PROVED.encode(b"alice"), 0
    for _ in range(20_000):
        octets = bytearray(dice.choice(list(Answer)).encode(b"alice"))
        for _ in range(dice.randrange(1, 4)):
            match dice.randrange(4):
                case 0 if octets:
                    octets[dice.randrange(len(octets))] ^= 1 << dice.randrange(8)
                case 1:
                    del octets[dice.randrange(len(octets) + 1) :]
                case 2:
                    octets.insert(dice.randrange(len(octets) + 1), dice.randrange(256))
                case _:
                    octets = bytearray(dice.randbytes(dice.randrange(24)))
        try:
            answer = asking.answer_in(bytes(octets), b"alice")
        except NoAnswer:
            continue
        taken += 1
        assert bytes(octets) == answer.encode(b"alice")
        assert (answer is Answer.PROVED) is (bytes(octets) == right)
    assert taken < 20_000


def test_the_limit_is_one_for_all_parts_of_a_question(folder: Path, helper: Start) -> None:
    """Nothing is begun when no time is left."""
    fake = helper(with_letter(b"S"))
    passwords = asked(folder)
    with pytest.raises(NoAnswer, match="in time"):
        passwords._ask(Question(b"alice", b"x"), time.monotonic() - 1)
    assert fake.told == []
