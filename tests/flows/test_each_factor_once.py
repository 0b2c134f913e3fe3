"""C-001 for what is no PIN of a token: 200 submissions at once, over 4 processes, of one recovery code, one enrolment
ticket, one State, one assertion of a security key. On PostgreSQL the processes are of two hosts."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from store import opening
from store.notices import NoNotices
from tests.builders import NOW
from tests.desk import PROVED, Desk
from tests.flows.worker import PROCESSES, FixedMoments, Order, Workers
from tests.postgres import on_both
from tests.site import Site, pin
from validation.decisions import Challenge
from validation.gate import Gate
from validation.model import Mode, Purpose, Token
from validation.requests import Channel, IssueRecovery, IssueTicket, LoginRequest, typed_alone

SHARE = 50  # submissions by one process
DOORS = 10  # pairings that one ticket has begun


def submitted(workers: Workers, requests: Callable[[int], LoginRequest]) -> Counter[tuple[str, str]]:
    """Each process hands in `requests(0)` to `requests(SHARE - 1)`, one by one; what all were told."""
    orders = []
    for process in range(PROCESSES):
        mine = [replace(requests(n), request_id=f"{process}-{n}") for n in range(SHARE)]
        orders.append(Order(NOW, [[request] for request in mine]))
    return Counter(workers.submit(orders).values())


def check(site: Site, told: Counter[tuple[str, str]]) -> None:
    assert sum(told.values()) == PROCESSES * SHARE
    assert sum(count for (what, _), count in told.items() if what == "accept") == 1, told
    assert [decision for decision, _ in site.logins()].count("accept") == 1
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.statement("C-001")
@on_both
def test_a_recovery_code(site: Site, workers: Workers) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    site.enroll("alice")  # whose phone is lost
    code, *_ = site.gate.administer(IssueRecovery(actor="test", name="alice")).shown_once
    (client,) = site.gate.clients()
    login = LoginRequest("alice", Channel.for_mode(client.mode), "vpn", client.version, passcode=typed_alone(code))
    told = submitted(workers, lambda _: login)
    check(site, told)
    assert told["accept", "passcode-right"] == 1


@pytest.mark.statement("C-001", "W-010")
@on_both
def test_an_assertion_of_a_security_key(site: Site, workers: Workers) -> None:
    """Two hundred logins, each with a State of its own, and a key that counts no further."""
    site.add_user("alice", password=None)
    key, serial = Desk(site, NOW).registered()
    answers = [Desk(site, NOW).touched(key, count=7) for _ in range(DOORS)]
    told = submitted(workers, lambda n: answers[n % DOORS])
    assert told["accept", "security-key-right"] == 1
    assert sum(told.values()) == PROCESSES * SHARE
    assert sum(count for (what, _), count in told.items() if what == "accept") == 1
    assert site.token_row(serial)["moving_factor"] == 7


@pytest.mark.statement("C-001")
@on_both
def test_an_enrolment_ticket(site: Site, workers: Workers) -> None:
    """Ten people who found it begin at once, and each of them types the first PIN of his own app."""
    site.add_user("alice", password=None)
    (ticket,) = site.gate.administer(IssueTicket(actor="test", name="alice")).shown_once
    gate = Gate(site.database, FixedMoments(NOW), opening.LoggedFaults(), NoNotices())
    asked = LoginRequest(
        "alice", Channel.console(local=True), "ticket", 0, first_factor=PROVED, purpose=Purpose.REDEEM, ticket=ticket
    )
    answers = [answer(gate, asked) for _ in range(DOORS)]
    told = submitted(workers, lambda n: answers[n % DOORS])
    assert sum(count for (what, _), count in told.items() if what == "accept") == 1, told
    assert sum(told.values()) == PROCESSES * SHARE
    assert len(site.command("token", "list", "--json").stdout.split('"serial"')) == 2, "one token, no more"


def answer(gate: Gate, asked: LoginRequest) -> LoginRequest:
    (shown,) = gate.login([asked])
    assert isinstance(shown, Challenge), shown
    assert shown.provisioning is not None
    (secret,) = re.findall(r"secret=([A-Z2-7]+)", shown.provisioning.uri)
    token = Token(0, "", 0, "totp", key_of(secret), created_at=NOW)
    return replace(asked, state=shown.state, passcode=pin(token, now=NOW), first_factor=PROVED)


def key_of(text: str) -> bytes:
    import base64

    return base64.b32decode(text + "=" * (-len(text) % 8))
