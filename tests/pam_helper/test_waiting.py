"""A conversation that waits for a task: what ends it, what the task may do, and what no peer can do with it.

The helper, its socket and its threads are real; what it waits for stands in `waits.py`.
"""

import logging
import os
import random
import threading
from pathlib import Path

import pytest

from pam_helper import waiting
from pam_helper.service import Limits
from tests.pam_helper.host import WITHIN, Host, frame, hello, kinds, needs_root, until
from tests.pam_helper.waits import Key, Waits, tasks

pytestmark = needs_root

YES = ("F", b"Salice")
STOP, STOPPED = ("t", b""), frame("N")


# --- what ends it -----------------------------------------------------------------------------------------------


def test_a_key_that_is_touched_ends_it(host: Host, waits: Waits) -> None:
    peer, key = waits.asked(host)
    key.touch()
    assert peer.take() == STOP
    peer.send(STOPPED)
    assert (peer.take(), waits.answers) == (YES, [None])


@pytest.mark.parametrize(
    ("line", "answer"), [(b"", ""), (b"123456", "123456"), (b"\xff", "\udcff"), (b"1" * 512, "1" * 512)]
)
def test_a_line_ends_it_and_the_key_is_left_alone(host: Host, waits: Waits, line: bytes, answer: str) -> None:
    peer, key = waits.asked(host)
    peer.send(frame("L", line))
    assert peer.take() == ("P", b"PIN: "), "no end is sent: the line was it"
    assert (key.cancelled, key.ended.is_set(), waits.answers) == (True, True, [answer])
    assert peer.reply("123456") == [YES]


@pytest.mark.statement("P-001")
def test_a_line_that_crosses_the_end_comes_too_late(host: Host, waits: Waits) -> None:
    peer, key = waits.asked(host)
    key.touch()
    assert peer.take() == STOP
    peer.send(frame("L", b"654321"))
    assert (peer.take(), waits.answers) == (YES, [None])


def test_a_line_that_came_before_its_wait_is_taken_for_it(host: Host, waits: Waits) -> None:
    peer = host.peer()
    peer.send(hello(service="login", user="alice") + frame("L", b"1") + frame("R", b"123456"))
    assert kinds([peer.take() or ("", b"") for _ in range(4)]) == "ITPF"
    assert waits.answers == ["1"]


@pytest.mark.statement("P-017")
@pytest.mark.parametrize("how", ["hangs up", "gives up"])
def test_a_peer_that_leaves_ends_it_at_once(host: Host, waits: Waits, how: str) -> None:
    """Ctrl-C in sudo: the key stops blinking."""
    peer, key = waits.asked(host)
    if how == "hangs up":
        peer.close()
    else:
        peer.send(frame("X"))
    assert key.ended.wait(WITHIN)
    assert key.cancelled
    host.until_idle()
    assert waits.answers == []


def test_a_key_that_nobody_touches_is_told_to_end_when_its_time_is_over(
    host: Host, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    waits.make = lambda: Key(seconds=0.1)
    peer, key = waits.asked(host)
    assert peer.take() == STOP
    assert key.cancelled
    peer.send(STOPPED)
    assert (peer.take(), waits.answers) == (("P", b"PIN: "), [None])


@pytest.mark.statement("P-018")
@pytest.mark.parametrize(("seconds", "told"), [(20.0, 25_000), (0.0, 5_000), (10_000.0, 300_000)])
def test_the_module_is_told_how_long_it_may_take_at_most(host: Host, waits: Waits, seconds: float, told: int) -> None:
    waits.make = lambda: Key(seconds)
    peer = host.peer()
    peer.send(hello(service="login", user="alice"))
    assert [peer.take() for _ in range(2)][1] == ("T", told.to_bytes(4, "big"))


def test_when_the_helper_stops_the_key_is_told_to_end(host: Host, waits: Waits) -> None:
    peer, key = waits.asked(host)
    stopping = threading.Thread(target=host.helper.stop, args=(WITHIN,))
    stopping.start()
    assert peer.take() == STOP
    peer.send(STOPPED)
    assert peer.take() == ("P", b"PIN: ")
    assert peer.reply("123456") == [YES]
    stopping.join(WITHIN)
    assert (stopping.is_alive(), key.cancelled) == (False, True)


def test_two_wait_apart(host: Host, waits: Waits) -> None:
    (one, one_key), (other, other_key) = waits.asked(host), waits.asked(host)
    other.send(frame("L"))
    assert other.take() == ("P", b"PIN: ")
    assert (one_key.ended.is_set(), other_key.cancelled) == (False, True)
    one_key.touch()
    assert one.take() == STOP


# --- what a task may do -----------------------------------------------------------------------------------------


@pytest.mark.statement("P-032")
def test_what_it_says_is_shown_meanwhile_and_before_the_end(host: Host, waits: Waits) -> None:
    peer, key = waits.asked(host)
    key.say("wrong\x1b[2J key")
    assert peer.take() == ("I", b"wrong[2J key")
    for n in range(100):
        key.say(str(n))
    key.touch()
    assert [peer.take() for _ in range(101)] == [*(("I", str(n).encode()) for n in range(100)), STOP]


@pytest.mark.statement("P-001")
def test_what_it_says_too_late_is_not_shown(host: Host, waits: Waits) -> None:
    """It would come while the module has the turn, and be the end of the login."""
    peer, key = waits.asked(host)
    peer.send(frame("L"))
    assert peer.take() == ("P", b"PIN: ")
    key.say("too late")
    assert peer.reply("123456") == [YES]


@pytest.mark.statement("P-013")
def test_one_that_fails_has_ended_and_the_log_names_no_more_than_the_kind_of_error(
    host: Host, waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    waits.make = lambda: Key(fails=True)
    peer, key = waits.asked(host)
    key.touch()
    assert peer.take() == STOP
    peer.send(STOPPED)
    assert peer.take() == ("P", b"PIN: ")
    assert "a wait failed: RuntimeError" in caplog.text
    assert "geheim" not in caplog.text


def test_it_has_the_rights_of_this_process_and_not_those_of_the_stores_owner(host: Host, waits: Waits) -> None:
    os.chown(host.site.config.database, 1, 1)
    peer, key = waits.asked(host)
    assert key.uid == os.geteuid()
    peer.send(frame("L"))
    assert peer.take() == ("P", b"PIN: ")


# --- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.statement("P-018")
def test_one_that_does_not_end_is_left_behind_and_too_many_are_the_end_of_it(
    host: Host, waits: Waits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "PARTING", 0.01)
    waits.make = lambda: Key(deaf=True)
    for _ in range(waiting.STUCK_MOST + 1):
        peer, _ = waits.asked(host)
        peer.send(frame("L"))
        assert peer.take() == ("P", b"PIN: ")
        assert peer.reply("123456") == [YES]
    assert "is left behind" in caplog.text

    def next_frames() -> str:
        peer = host.peer()
        peer.send(hello(service="login", user="alice"))
        return "".join((peer.take() or ("", b""))[0] for _ in range(2))

    assert next_frames() == "IP", "nothing is waited for, and the PIN is asked for"
    assert waits.answers[-1] is None
    assert "9 earlier waits have not ended" in caplog.text
    waits.keys[0].touch()
    until(lambda: len(tasks()) == waiting.STUCK_MOST, "the end of one")
    assert next_frames() == "IT"


def test_without_a_thread_the_pin_is_asked_for(
    host: Host, waits: Waits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer = host.peer()
    until(lambda: host.helper.open == 1, "a conversation")
    before = threading.stack_size()
    threading.stack_size(1 << 47)  # more than there is to be had
    try:
        peer.send(hello(service="login", user="alice"))
        assert [peer.take() for _ in range(2)] == [("I", b"Touch it"), ("P", b"PIN: ")]
    finally:
        threading.stack_size(before)
    assert "no thread can be started" in caplog.text
    assert peer.reply("123456") == [YES]


WRONG = {
    "an answer to nothing": frame("R", b"123456"),
    "stopped, without a stop": STOPPED,
    "a hello": hello(service="login", user="alice"),
    "a line of 513 octets": frame("L", b"1" * 513),
    "a line with a NUL": frame("L", b"1\0"),
    "a line of 4 GiB": b"L\xff\xff\xff\xff",
    "a verdict": frame("F", b"Salice"),
    "a wait": frame("T", bytes(4)),
    "a stop": frame("t"),
    "garbage": b"garbage",
}


@pytest.mark.statement("P-001", "P-020")
@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_belong_into_a_wait_is_refused_and_the_key_is_left_alone(
    host: Host, waits: Waits, what: str
) -> None:
    peer, key = waits.asked(host)
    peer.send(WRONG[what])
    assert peer.take() == ("F", b"Dalice")
    assert key.cancelled
    assert waits.answers == []


@pytest.mark.statement("P-001", "P-020")
@pytest.mark.parametrize("octets", [frame("R", b"1"), frame("L", b"1" * 513), frame("N")[:-1], b"N\0\0\0\1x", b""])
def test_what_is_no_answer_to_the_end_of_a_wait_is_none(folder: Path, waits: Waits, octets: bytes) -> None:
    with Host(folder, Limits(sent=0.3)) as host:
        peer, key = waits.asked(host)
        key.touch()
        assert peer.take() == STOP
        peer.send(octets)
        assert peer.take() in (None, ("F", b"Dalice"))
        assert waits.answers == []
        host.until_idle()


@pytest.mark.statement("P-018")
def test_a_peer_that_reads_nothing_ends_it(folder: Path, waits: Waits) -> None:
    with Host(folder, Limits(sent=0.3)) as host:
        _, key = waits.asked(host)
        for _ in range(20_000):
            key.say("x" * 400)
        assert key.ended.wait(WITHIN)
        assert key.cancelled
        host.until_idle()


@pytest.mark.statement("P-001", "P-020")
def test_of_500_random_streams_in_a_wait_none_is_let_in_and_nothing_is_left(folder: Path, waits: Waits) -> None:
    dice = random.Random(20_261_125)
    pieces = [frame("L"), frame("L", b"12"), STOPPED, frame("R", b"1"), frame("X"), b"L\0\0", b"\0", frame("H")]
    with Host(folder, Limits(sent=0.5, answer=5.0)) as host:
        for _ in range(500):
            peer, key = waits.asked(host)
            noise = b"".join(dice.choice([*pieces, dice.randbytes(6)]) for _ in range(dice.randrange(4)))
            peer.send(noise)
            peer.connection.shutdown(1)
            while (one := peer.take()) is not None:
                assert one[0] != "F" or one[1][:1] == b"D", noise.hex()
            assert key.ended.wait(WITHIN), noise.hex()
            peer.close()
        host.until_idle()
    assert tasks() == []


@pytest.mark.statement("P-016")
def test_after_200_waits_no_descriptor_and_no_thread_is_left(host: Host, waits: Waits) -> None:
    def one(n: int) -> None:
        peer, key = waits.asked(host)
        if n % 3 == 0:
            key.touch()
            assert peer.take() == STOP
            peer.send(STOPPED)
            assert peer.take() == YES
        elif n % 3 == 1:
            peer.send(frame("L"))
            assert peer.take() == ("P", b"PIN: ")
        peer.close()

    def open_now() -> tuple[int, int]:
        host.until_idle()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    one(0)
    before = open_now()
    for n in range(200):
        one(n)
    assert open_now() == before
    assert tasks() == []


@pytest.mark.statement("P-013")
def test_what_was_typed_is_in_no_log(host: Host, waits: Waits, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for line in (b"geheim-1", b"geheim-2\0", b"geheim-3" * 100):
        peer, _ = waits.asked(host)
        peer.send(frame("L", line))
        peer.take()
        peer.close()
    host.until_idle()
    assert "geheim" not in caplog.text
