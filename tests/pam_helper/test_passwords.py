"""The helper asked by the RADIUS server: who may, what is answered, and that nobody else gets in the way.

Accounts of a real host: tests/peers/pam/test_asking_server.py.
"""

import logging
import os
import pwd
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from first_factor.asking import Answer, HelperPasswords, Question
from pam_helper.service import USUAL, Limits
from tests.pam_helper.host import Host, Peer, frame, hello, kinds, needs_root, until
from validation.decisions import Look
from validation.requests import FirstFactor, FirstFactorResult

DAEMON = pwd.getpwnam("daemon").pw_uid  # as whom the server runs
NOBODY = pwd.getpwnam("nobody").pw_uid
RIGHT = "pw-of-alice"

pytestmark = needs_root


class Accounts:
    """Alice's password; bob waits, carol's directory is away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def check(self, look: Look, password: str) -> FirstFactorResult:
        self.asked.append(look.user)
        assert self.open.wait(60)
        if look.user in ("bob", "carol"):
            return FirstFactorResult(FirstFactor.UNAVAILABLE, why="throttled" if look.user == "bob" else "")
        proved = (look.first_factor, look.user, password) == ("system", "alice", RIGHT)
        return FirstFactorResult(FirstFactor.PROVED if proved else FirstFactor.WRONG)


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    made = Accounts()
    yield made
    made.open.set()


def helper(folder: Path, accounts: Accounts, limits: Limits = USUAL) -> Host:
    host = Host(folder, limits)
    host.accounts = accounts
    os.chown(host.site.config.database, DAEMON, DAEMON)
    return host


@pytest.fixture
def asked(folder: Path, accounts: Accounts) -> Iterator[Host]:
    with helper(folder, accounts) as host:
        yield host


def question(name: str, password: str = RIGHT) -> bytes:
    return Question(name.encode(), password.encode()).encode()


def answer(host: Host, name: str, password: str = RIGHT, uid: int | None = DAEMON) -> tuple[str, bytes] | None:
    peer = host.peer(uid)
    peer.send(question(name, password))
    found = peer.take()
    assert peer.take() is None, "nothing comes after the answer"
    return found


def test_the_stores_owner_gets_a_yes_or_a_no(asked: Host) -> None:
    assert answer(asked, "alice") == ("V", b"Salice")
    assert answer(asked, "alice", RIGHT + "x") == ("V", b"Dalice")
    assert answer(asked, "dave") == ("V", b"Ddave")
    assert answer(asked, "") == ("V", b"D")


def test_what_is_neither_right_nor_wrong_is_told_apart(asked: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert answer(asked, "carol") == ("V", b"Ucarol")
    assert answer(asked, "bob") == ("V", b"Tbob")
    asked.until_idle()
    assert "no password of user=bob is checked now, after wrong ones" in caplog.text


def test_the_servers_own_side_understands_it(asked: Host) -> None:
    """From this process, which is root, as is the helper."""
    passwords = HelperPasswords(str(asked.path), 20.0, 8)
    found = [passwords.check(Look("system", None, 3, user=name), RIGHT) for name in ("alice", "dave", "bob", "carol")]
    assert found == [
        FirstFactorResult(FirstFactor.PROVED, 3),
        FirstFactorResult(FirstFactor.WRONG, 3),
        FirstFactorResult(FirstFactor.UNAVAILABLE, 3, why="throttled"),
        FirstFactorResult(FirstFactor.UNAVAILABLE, 3),
    ]


def test_nobody_else_gets_an_answer_and_it_is_written_down(
    asked: Host, accounts: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    asked.site.add_user("nobody")
    assert answer(asked, "alice", uid=NOBODY) == ("V", b"Nalice")
    asked.until_idle()
    assert accounts.asked == []
    assert f"refused uid {NOBODY}" in caplog.text
    assert "only the owner of the store may ask about passwords" in caplog.text
    assert answer(asked, "alice", uid=0) == ("V", b"Salice"), "root may"


def test_who_may_ask_goes_by_the_store_as_it_is_now(asked: Host) -> None:
    os.chown(asked.site.config.database, NOBODY, NOBODY)
    assert answer(asked, "alice") == ("V", b"Nalice")
    assert answer(asked, "alice", uid=NOBODY) == ("V", b"Salice")


def test_without_a_store_there_is_no_server(asked: Host, folder: Path) -> None:
    asked.site.config.database.rename(folder / "away")
    assert answer(asked, "alice") == ("V", b"Nalice")


def test_the_server_may_ask_nothing_else_that_others_may_not(asked: Host) -> None:
    """It is no relay, and its word counts nothing."""
    peer = asked.peer(DAEMON)
    peer.send(hello(service="login", user="alice", authtok=RIGHT))
    assert peer.until_asked() == [("F", b"Dalice")]


GARBAGE = {
    "no NUL": frame("Q", b"alice"),
    "no password": frame("Q", b"alice\0"),
    "a NUL in the password": frame("Q", b"alice\0a\0b"),
    "a long name": frame("Q", b"x" * 257 + b"\0geheim"),
    "a long password": frame("Q", b"alice\0" + b"x" * 4097),
    "an overlong frame": b"Q" + (65_537).to_bytes(4, "big"),
    "an answer": Answer.PROVED.encode(b"alice"),
}


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_question_gets_no_answer_and_the_next_is_served(
    asked: Host, accounts: Accounts, octets: bytes
) -> None:
    peer = asked.peer(DAEMON)
    peer.send(octets)
    assert "V" not in kinds(peer.until_asked())
    asked.until_idle()
    assert accounts.asked == []
    assert answer(asked, "alice") == ("V", b"Salice")


def test_a_name_that_is_no_text_is_nobodys(asked: Host, accounts: Accounts) -> None:
    peer = asked.peer(DAEMON)
    peer.send(frame("Q", b"\xff\xfe\0" + RIGHT.encode()))
    assert peer.take() == ("V", b"D\xff\xfe")
    assert accounts.asked == []


def test_a_question_in_the_middle_of_a_conversation_is_refused(asked: Host, accounts: Accounts) -> None:
    asked.site.add_user("daemon")
    peer = asked.peer(DAEMON)
    peer.send(hello(request="profile-add"))
    assert kinds(peer.until_asked()) == "P"
    peer.send(question("alice"))
    assert peer.until_asked()[-1][1][:1] == b"D"
    assert accounts.asked == []


def test_of_500_spoiled_questions_none_is_answered_with_yes(asked: Host) -> None:
    dice = random.Random(56)
    for _ in range(500):
        octets = bytearray(question("alice"))
        octets[dice.randrange(5, len(octets))] ^= 1 << dice.randrange(8)
        peer = Peer(asked.peer().connection)
        peer.send(bytes(octets))
        peer.connection.shutdown(1)
        for kind, payload in peer.until_asked():
            assert kind != "V" or payload[:1] != b"S" or bytes(octets) == question("alice"), bytes(octets)
        peer.close()
    asked.until_idle()


# --- places -----------------------------------------------------------------------------------------------------


def test_a_crowd_of_others_takes_no_place_of_the_server(folder: Path, accounts: Accounts) -> None:
    with helper(folder, accounts, Limits(others=2, account=2)) as host:
        crowd = host.peers(NOBODY, 2)
        until(lambda: host.helper.open == 2, "two conversations")
        assert host.peer(NOBODY).take() is None
        assert answer(host, "alice") == ("V", b"Salice")
        crowd[0].close()


def test_the_server_takes_no_place_of_others_and_has_an_end(folder: Path, accounts: Accounts) -> None:
    with helper(folder, accounts, Limits(others=2, account=2, server=3)) as host:
        accounts.open.clear()
        asking = host.peers(DAEMON, 3)
        for peer in asking:
            peer.send(question("alice"))
        until(lambda: len(accounts.asked) == 3, "three questions")
        assert host.peer(DAEMON).take() is None, "hung up on"
        host.site.add_user("nobody")
        _, frames = host.ask(NOBODY, request="profile-show")
        assert kinds(frames)[-1] == "F"
        accounts.open.set()
        assert [peer.take() for peer in asking] == [("V", b"Salice")] * 3


def test_a_server_that_hangs_up_leaves_nothing_behind(asked: Host, accounts: Accounts) -> None:
    accounts.open.clear()
    for peer in asked.peers(DAEMON, 5):
        peer.send(question("alice"))
    until(lambda: len(accounts.asked) == 5, "five questions")
    for peer in asked.peers(DAEMON, 5):
        peer.send(question("alice")[:-3])
        peer.close()
    accounts.open.set()
    asked.until_idle()
    assert answer(asked, "alice") == ("V", b"Salice")


@pytest.mark.statement("P-013")
def test_no_password_is_in_the_log(asked: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("alice", "bob", "carol", "dave"):
        answer(asked, name)
        answer(asked, name, uid=NOBODY)
    asked.peer(DAEMON).send(frame("Q", RIGHT.encode()))
    asked.until_idle()
    assert caplog.records
    assert RIGHT not in caplog.text
