"""W-010: an assertion lets in once, and one sign count once, however many processes hand it in at the same time."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.builders import NOW
from tests.desk import Desk
from tests.flows.worker import PROCESSES, Order, Workers
from tests.site import Site
from tests.validation.signing_key import SigningKey
from validation.requests import LoginRequest

ROUNDS = 5
SHARE = 5  # submissions of one assertion by one process in one round


@pytest.fixture
def key(site: Site) -> tuple[SigningKey, str]:
    site.add_user("alice", password=None)
    return Desk(site, NOW).registered()


def named(answers: list[LoginRequest], process: int) -> Order:
    """The answers of one process, each a call of its own."""
    calls = [[replace(answer, request_id=f"{process}-{n}")] for n, answer in enumerate(answers)]
    return Order(NOW, calls)


@pytest.mark.statement("W-010", "C-001")
def test_one_assertion_from_4_processes_lets_in_once(site: Site, workers: Workers, key: tuple[SigningKey, str]) -> None:
    signing, serial = key
    for count in range(10, 10 + ROUNDS):
        answer = Desk(site, NOW).touched(signing, count=count)
        outcomes = workers.submit([named([answer] * SHARE, process) for process in range(PROCESSES)])
        rest = PROCESSES * SHARE - 1
        assert Counter(outcomes.values()) == {("accept", "security-key-right"): 1, ("reject", "state-unknown"): rest}
        assert site.token_row(serial)["moving_factor"] == count
    check_trail(site, ROUNDS)


@pytest.mark.statement("W-010", "W-009")
def test_of_assertions_with_one_sign_count_one_lets_in(
    site: Site, workers: Workers, key: tuple[SigningKey, str]
) -> None:
    """A key and its copies, each for a login of its own: every State and every signature is good."""
    signing, serial = key
    for count in range(10, 10 + ROUNDS):
        answers = [[Desk(site, NOW).touched(signing, count=count) for _ in range(SHARE)] for _ in range(PROCESSES)]
        outcomes = workers.submit([named(mine, process) for process, mine in enumerate(answers)])
        rest = PROCESSES * SHARE - 1
        told = {("accept", "security-key-right"): 1, ("reject", "security-key-counter"): rest}
        assert Counter(outcomes.values()) == told
        assert site.token_row(serial)["moving_factor"] == count
    check_trail(site, ROUNDS)


def check_trail(site: Site, accepted: int) -> None:
    rows = [row for row in site.audit() if row["reason"] == "security-key-right"]
    assert len(rows) == accepted
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
