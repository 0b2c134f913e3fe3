"""Recorded answers in a file that somebody else can write: each is of its packet, user and moment, or damage."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.site import Site, pin
from tests.store import raw
from validation.decisions import Accept, Reason, Reject
from validation.gate import Outcome
from validation.model import Mode
from validation.requests import Channel, LoginRequest, packet_mark


def login(site: Site, user: str, passcode: str, octets: bytes) -> Outcome:
    (client,) = site.gate.clients()
    request = LoginRequest(user, Channel.for_mode(Mode.PASSCODE_ONLY), "vpn", client.version, passcode=passcode)
    (outcome,) = site.gate.login([replace(request, packet=packet_mark(client, octets))])
    return outcome


TAMPERED = {
    "for another packet": "UPDATE answers SET packet = zeroblob(32)",
    "for another user": "UPDATE answers SET user_id = (SELECT id FROM users WHERE name = 'bob')",
    "made younger": "UPDATE answers SET at = at + 1",
    "of other policies": "UPDATE answers SET generation = generation + 1",
    "another decision": "UPDATE answers SET sealed_decision = (SELECT sealed_secret FROM clients)",
    "cut": "UPDATE answers SET sealed_decision = x''",
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_record_that_was_tampered_with_lets_nobody_in(tmp_path: Path, what: str) -> None:
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    for name in ("alice", "bob"):
        site.add_user(name, None)
    right = pin(site.enroll("alice", kind="hotp"))
    site.enroll("bob", kind="hotp")
    accepted = login(site, "alice", right, b"first")
    assert isinstance(accepted, Accept)
    assert login(site, "alice", right, b"first") == accepted
    raw.tamper(site.config.database, TAMPERED[what])
    outcome = login(site, "alice", right, b"first")
    assert isinstance(outcome, Reject)
    assert outcome.reason in (Reason.DECISION_FAILED, Reason.PASSCODE_USED)
    assert (outcome.reason is Reason.PASSCODE_USED) == (what == "for another packet")
    if what == "for another packet":
        (client,) = site.gate.clients()
        request = LoginRequest("bob", Channel.for_mode(Mode.PASSCODE_ONLY), "vpn", client.version, packet=bytes(32))
        (moved,) = site.gate.login([request])
        assert isinstance(moved, Reject)
        assert moved.reason is Reason.DECISION_FAILED
    site.database.close()


def test_nothing_of_an_answer_can_be_read_in_the_file(tmp_path: Path) -> None:
    """Not even its text."""
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", None)
    site.enroll("alice", kind="hotp")
    login(site, "alice", "000000", b"first")
    ((sealed,),) = raw.rows(site.config.database, "SELECT sealed_decision FROM answers")
    assert len(sealed) > 50
    assert not any(word in sealed for word in (b"Reject", b"reason", b"passcode", b"alice"))
    site.database.close()
