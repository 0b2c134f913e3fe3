"""The load generator of the benchmarks tells the truth: what it counts is what happened."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.filling import fill
from benchmarks.generator import Load, load
from benchmarks.people import Crowd, Entries
from tests.benchmarks.answering import (
    SECRET,
    AnsweringServer,
    accepted,
    reply_to,
    unsigned_reply,
    with_response_authenticator,
    with_state,
)
from tests.site import Site, eventually
from tests.wire import ACCEPT, REJECT
from validation.model import Mode

pytestmark = pytest.mark.peer("cc", "make")

Answer = Callable[[str, str, bytes, bytes, int], list[bytes]]

COUNTED = ("accepts", "rejects", "challenges", "forged", "lost", "finished")


def changed(reply: bytes, at: int) -> bytes:
    return reply[:at] + bytes([reply[at] ^ 1]) + reply[at + 1 :]


LIES: dict[str, Callable[[bytes], bytes]] = {
    "response-authenticator": lambda request: changed(accepted(request), 4),
    "message-authenticator": lambda request: with_response_authenticator(changed(accepted(request), 22), request),
    "unsigned": lambda request: unsigned_reply(request, ACCEPT),
    "of-another-request": lambda request: accepted(changed(request, 4)),
    "length": lambda request: accepted(request) + b"\0",
    "torn": lambda request: accepted(request)[:10],
    "unknown-code": lambda request: reply_to(request, 5),
}


def behave(user: str, password: str, state: bytes, request: bytes, copy: int) -> list[bytes]:
    """As the name of the user says."""
    if user in LIES:
        return [LIES[user](request), reply_to(request, REJECT)]
    answers = {
        "right": [accepted(request)],
        "wrong": [reply_to(request, REJECT)],
        "silent": [],
        "second-copy": [accepted(request)] if copy > 1 else [],
        "twice": [accepted(request)] * 2,
    }
    return answers[user]


def against(program: Path, people: Entries, answer: Answer = behave, **options: float) -> Load:
    with AnsweringServer(answer) as server:
        seen = load(server.address, SECRET, people, {"timeout": 30.0, **options}, program=program)
    assert not server.complaints
    return seen


def check_counts(seen: Load, **expected: int) -> None:
    assert {name: getattr(seen, name) for name in COUNTED} == dict.fromkeys(COUNTED, 0) | expected


def test_accepts_and_rejects_are_told_apart(program: Path) -> None:
    check_counts(against(program, [("right", "1"), ("wrong", "1"), ("right", "2")]), accepts=2, rejects=1, finished=3)


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_genuine_answers_nothing(program: Path, lie: str) -> None:
    """The true answer, which comes after it, counts."""
    check_counts(against(program, [(lie, "1")]), forged=1, rejects=1, finished=1)


def test_what_is_never_answered_is_lost(program: Path) -> None:
    seen = against(program, [("silent", "1")], timeout=0.05, tries=3)
    check_counts(seen, lost=1)
    assert (seen.sent, seen.resent) == (1, 2)


def test_what_is_answered_the_second_time_is_not_lost(program: Path) -> None:
    seen = against(program, [("second-copy", "1")], timeout=0.1, tries=600)
    check_counts(seen, accepts=1, finished=1)
    assert seen.sent == 1
    assert seen.resent >= 1
    assert seen.p50_ms >= 100  # since it was sent first


def test_a_second_answer_is_no_second_login(program: Path) -> None:
    seen = against(program, [("twice", "1")] * 500, window=3)
    assert (seen.accepts, seen.finished, seen.forged, seen.lost) == (500, 500, 0, 0)
    assert seen.unasked >= 400  # of the last ones nobody waits


def test_more_logins_than_identifiers(program: Path) -> None:
    """Each slot is used twice, with another authenticator; passwords of every length arrive as they were typed."""
    typed: list[str] = []

    def answer(user: str, password: str, state: bytes, request: bytes, copy: int) -> list[bytes]:
        typed.append(password)
        return [accepted(request)]

    people: Entries = [("right", "x" * (n % 100)) for n in range(17_000)]
    seen = against(program, people, answer, window=16)
    assert (seen.accepts, seen.sent, seen.resent) == (17_000, 17_000, 0)
    assert sorted(map(len, typed)) == sorted(len(password) for _, password in people)


def test_a_second_step_carries_the_state_of_its_own_challenge(program: Path) -> None:
    def answer(user: str, password: str, state: bytes, request: bytes, copy: int) -> list[bytes]:
        if not state:
            return [with_state(request, f"state of {user}".encode())] if password == "first" else []
        right = state == f"state of {user}".encode() and password == f"pin of {user}"
        return [accepted(request) if right else reply_to(request, REJECT)]

    seen = against(program, [(f"u{n}", "first", f"pin of u{n}") for n in range(300)], answer)
    assert (seen.accepts, seen.finished, seen.challenges) == (300, 300, 0)  # the first steps are not measured


def test_who_is_not_asked_for_a_pin_stops_the_run(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended with 1"):
        against(program, [("right", "first", "pin")])
    assert "1 of 1 people were not asked for a PIN" in capfd.readouterr().err


def test_a_load_that_stands_still_is_not_excused(program: Path) -> None:
    """In the open loop 100 logins are due within 0.1 s. The generator is stopped for 0.4 s: what it should have sent
    meanwhile is late, though it is answered at once."""
    pids: list[int] = []
    stopped: list[int] = []

    def answer(user: str, password: str, state: bytes, request: bytes, copy: int) -> list[bytes]:
        if not stopped:
            eventually(lambda: pids)
            stopped.extend(pids)
            os.kill(pids[0], signal.SIGSTOP)
            until = time.monotonic() + 0.4
            eventually(lambda: time.monotonic() > until)
            os.kill(pids[0], signal.SIGCONT)
        return [accepted(request)]

    with AnsweringServer(answer) as server:
        seen = load(
            server.address,
            SECRET,
            [("right", "1")] * 100,
            {"rate": 1000, "timeout": 30},
            program=program,
            at_start=pids.append,
        )
    assert seen.accepts == 100
    assert seen.p50_ms >= 300
    assert seen.max_ms >= seen.p99_ms >= seen.p50_ms


def test_a_closed_loop_ends_in_time_and_an_open_one_sends_what_is_due(program: Path) -> None:
    closed = against(program, [("silent", "1")] * 64, window=4, seconds=0.05, timeout=0.1)
    assert (closed.sent, closed.lost) == (4, 4)
    opened = against(program, [("right", "1")] * 50, rate=1000)
    assert (opened.sent, opened.accepts) == (50, 50)
    assert opened.seconds >= 0.049  # the last is due then


def test_our_server_under_a_small_load(program: Path, tmp_path: Path) -> None:
    """Right PINs, second steps and wrong PINs, of a crowd that was put into the store past the gate."""
    site, crowd = Site(tmp_path / "site"), Crowd(90)
    site.add_client("passcodes", "127.0.0.1/32", secret=SECRET, mode=Mode.PASSCODE_ONLY)
    site.add_client("asked", "127.0.0.2/32", secret=SECRET, mode=Mode.PASSCODE_ONLY, always_challenge=True)
    assert site.command("policy", "set", "reject_delay", "0").returncode == 0
    fill(site.database, crowd, None, audit_rows=2)
    with site.server() as server:
        patient = {"timeout": 30.0}
        right = load(server.address, SECRET, crowd.right(30), patient, program=program)
        asked = [(name, "", pin) for name, pin in crowd.right(30)]
        second = load(server.address, SECRET, asked, patient, program=program, source="127.0.0.2")
        wrong = load(server.address, SECRET, crowd.wrong(30), patient, program=program)
    assert (right.accepts, second.accepts, wrong.rejects) == (30, 30, 30)
    assert site.logins().count(("accept", "passcode-right")) == 60 + 90 * 2
    for check in (("audit", "verify"), ("db", "check")):
        done = site.command(*check)
        assert done.returncode == 0, done.stdout + done.stderr
