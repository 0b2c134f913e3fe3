"""The helper gone, stopped or started anew, and a store that does not answer: refused in time, and nobody is harmed."""

import signal
import sqlite3

import pytest

from tests.peers.pam.house import PASSWORD_PROMPT, PIN, WAYS, Entrance, House
from tests.peers.world import Running
from tests.site import eventually

pytestmark = pytest.mark.peer("login", "su", "sudo", "ssh", "sshd", "ssh-keygen", "nsenter", "unshare", "cc")


def _ended(helper: Running) -> bool:
    """nsenter, which waits for the helper, stops itself when that is stopped, and must be told to go on."""
    helper.process.send_signal(signal.SIGCONT)
    return helper.process.poll() is not None


def check_next_login(entrance: Entrance) -> None:
    alice = entrance.house.somebody()
    assert entrance.is_in(entrance.visit(alice, (PIN, alice.pin())), "alice"), entrance.house.said()


@pytest.mark.statement("P-017", "P-018", "P-026")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_helper_that_dies_or_stops_in_the_middle_refuses_and_the_next_login_works(
    entrance: Entrance, number: signal.Signals
) -> None:
    house = entrance.house
    alice = house.somebody()
    pin = alice.pin()

    def struck(screen: str) -> str:
        house.helper.send(number)
        return pin

    refused = entrance.visit(alice, (PIN, struck))
    assert refused.who is None, refused.screen
    if number is signal.SIGSTOP:
        house.helper.send(signal.SIGTERM)
        house.helper.send(signal.SIGCONT)
        eventually(lambda: _ended(house.helper), what="the end of the helper")
    else:
        house.helper.process.wait(60)
    house.helper = house.start_helper()
    check_next_login(entrance)


def test_without_a_helper_nobody_gets_in_and_the_log_says_why(entrance: Entrance) -> None:
    house = entrance.house
    alice = house.somebody()
    house.helper.stop()
    before = len(house.world.log())
    refused = entrance.visit(alice, (PIN, "123456"))
    assert refused.who is None
    said = house.world.log()[before:]
    assert any("helper daemon: connect" in line for line in said), said
    house.helper = house.start_helper()
    check_next_login(entrance)


def test_a_helper_that_is_started_anew_between_password_and_pin(entrance: Entrance) -> None:
    house = entrance.house
    alice = house.somebody()
    pin = alice.pin()

    def restarted(screen: str) -> str:
        house.helper.stop()
        house.helper = house.start_helper()
        return pin

    assert entrance.visit(alice, (PIN, restarted)).who is None
    again = entrance.visit(alice, (PIN, pin))
    assert entrance.is_in(again, "alice"), "the PIN was not used up"


def test_while_the_store_is_locked_nobody_gets_in(house: House) -> None:
    house.no_policies()
    house.usual_stacks()
    alice = house.somebody()
    with sqlite3.connect(house.site.config.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = WAYS["sudo"](house, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, alice.pin())))
        other.execute("ROLLBACK")
    other.close()
    assert refused.who is None
    assert WAYS["sudo"](house, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, alice.pin()))).who == "root"
