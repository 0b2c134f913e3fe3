"""Packets of somebody who does not know the secret change nothing; `python -m tests.radius_server.spoof` sends more."""

import random
from pathlib import Path

import pytest

from tests.flows.crowd import ask_all
from tests.radius_server.live import new_person
from tests.radius_server.spoof import AUTO, FRESH, OFF, REQUIRED, attack, let_through, new_site
from tests.site import PASSWORD, SECRET, Site
from tests.wire import REJECT, USER_PASSWORD, Request, access_request

PACKETS = 2000
SEED = 20250714


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path / "site")


@pytest.mark.statement("R-032", "R-046", "R-048")
@pytest.mark.parametrize("source", [REQUIRED, AUTO], ids=["required", "auto, has signed"])
def test_packets_of_somebody_without_the_secret_change_nothing(site: Site, source: str) -> None:
    """`attack` holds every row of the store against what it was before, and logs in at the end."""
    done = attack(site, source, PACKETS, random.Random(SEED))
    for reason in ("missing", "wrong", "length", "doubled"):
        assert done.dropped[f"message_authenticator_{reason}"] > 0
    assert done.lines < 20, "one for each reason"


@pytest.mark.statement("R-048")
@pytest.mark.parametrize("source", [OFF, FRESH], ids=["off", "auto, has not signed"])
def test_where_nothing_is_signed_a_wrong_secret_is_refused_and_counts_no_failure(site: Site, source: str) -> None:
    """One that could have been typed is one in 300,000. The rows that are written are told of in the threat model."""
    done = let_through(site, source, 200, random.Random(SEED))
    assert done.failures == 0
    assert done.reasons == {"request-unsupported": 200}


@pytest.mark.statement("R-048")
def test_the_risk_of_clients_that_need_not_sign_is_said_at_the_start(site: Site) -> None:
    with site.server() as server:
        pass
    (line,) = [line for line in server.log.splitlines() if "client-need-not-sign" in line]
    assert " WARNING client-need-not-sign client=off risk=" in line
    assert "twofold client set off --message-authenticator required" in line


def test_off_lets_somebody_on_the_path_make_a_user_wait(site: Site) -> None:
    """What the threat model says of `off`: a copy of an unsigned login in which one bit of the hidden password was
    changed is a wrong password like any other. A signed client's is dropped (`attack` sends such copies)."""
    alice = new_person(site, "alice")
    with site.server() as server, server.nas(source=OFF) as nas:
        seen = access_request(SECRET, "alice", PASSWORD, message_authenticator="none").data
        assert seen[-18:-16] == bytes([USER_PASSWORD, 18])
        changed = [
            Request(seen[:1] + bytes([n]) + seen[2:-16] + flip(seen[-16], n) + seen[-15:], SECRET) for n in range(5)
        ]
        assert {reply.code for reply in ask_all(nas, changed)} == {REJECT}
    assert alice.failures == 5
    assert {reason for _, reason in alice.logins} == {"password-wrong"}


def flip(octet: int, bit: int) -> bytes:
    return bytes([octet ^ 1 << bit])
