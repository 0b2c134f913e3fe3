"""Work that would tell by time who exists, or which of two secrets was wrong: it is the same for everybody.

Counted on a real store and with real password hashes, from what was typed to the decision, as the server goes. No
time is measured here; the delay of refusals comes on top.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import event

from first_factor import checker
from radius_server.conversation import Entry, login_request, look_request, password_of
from tests.flows.crowd import wrong_pins
from tests.site import PASSWORD, Site, pin
from validation.decisions import Accept, Reason, Reject
from validation.gate import Outcome
from validation.model import Mode, Token
from validation.requests import ChangeUserState, UserAct
from validation.tokens.totp import Totp

COSTS = "$argon2id$v=19$m=19456,t=2,p=1$"


@dataclass
class Work:
    """What one login has cost."""

    hashes: list[str] = field(default_factory=list)  # that a password was held against
    compared: list[str] = field(default_factory=list)  # PINs that were held against a token
    looked: list[str] = field(default_factory=list)  # statements before the password check
    read: list[str] = field(default_factory=list)  # statements of the gate that read what decisions see
    written: list[str] = field(default_factory=list)  # all later ones


class House:
    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        for number, mode in enumerate((Mode.CHALLENGE, Mode.APPEND)):
            site.add_client(str(mode), f"192.0.2.{number}/32", mode=mode)
        self._clients = {client.mode: client for client in site.gate.clients()}
        self._checker = checker(site.config)
        self._work = Work()
        self._statements: list[str] = []
        self._count(monkeypatch)

    def _count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Listens, and lets everything take its way."""
        verify, compare = PasswordHasher.verify, Totp.compare

        def counted_verify(hasher: PasswordHasher, stored: str, password: str) -> bool:
            self._work.hashes.append(stored)
            return verify(hasher, stored, password)

        def counted_compare(kind: Totp, token: Token, passcode: str, *rest: object) -> object:
            self._work.compared.append(passcode)
            return compare(kind, token, passcode, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(PasswordHasher, "verify", counted_verify)
        monkeypatch.setattr(Totp, "compare", counted_compare)
        engine = self.site.database.connections._engine
        event.listen(engine, "before_cursor_execute", lambda *a: self._statements.append(a[2]))

    def newcomer(self, name: str) -> Token:
        self.site.add_user(name)
        return self.site.enroll(name)

    def log_in(self, name: str, typed: str, mode: Mode) -> tuple[Outcome, Work]:
        self._work, self._statements[:] = Work(), []
        entry, client = Entry(name, typed), self._clients[mode]
        packet = os.urandom(32)
        (look,) = self.site.gate.look([look_request(entry, client, packet)])
        self._work.looked, self._statements[:] = _shapes(self._statements), []
        result = self._checker.check(look, password_of(entry, client, look))
        (outcome,) = self.site.gate.login([login_request(entry, client, "", look, result, packet)])
        reads = [text for text in self._statements if _reads_for_decisions(text)]
        self._work.read = _shapes(reads)
        self._work.written = self._statements[len(reads) :]
        return outcome, self._work


def _reads_for_decisions(statement: str) -> bool:
    return statement.startswith(("BEGIN", "SELECT")) and "audit_heads" not in statement and "floods" not in statement


def _shapes(statements: list[str]) -> list[str]:
    """By table; how many values a list has does not count."""
    return [text.partition("FROM ")[2].partition(" ")[0].strip() or text for text in statements]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(Site(tmp_path / "site"), monkeypatch)


def locked(house: House, name: str) -> None:
    house.site.gate.administer(ChangeUserState(actor="test", name=name, act=UserAct.LOCK))


def disabled(house: House, name: str) -> None:
    house.site.gate.administer(ChangeUserState(actor="test", name=name, act=UserAct.DISABLE))


def waiting(house: House, name: str) -> None:
    for _ in range(5):
        house.log_in(name, "wrong", Mode.CHALLENGE)


BARRED: dict[Callable[[House, str], None], Reason] = {
    locked: Reason.USER_LOCKED,
    disabled: Reason.USER_DISABLED,
    waiting: Reason.WAITING,
}


def check_same_work(work: Work, usual: Work) -> None:
    """One hash of the same costs, and the same reads before and inside the transaction."""
    assert [stored[: len(COSTS)] for stored in work.hashes] == [COSTS]
    assert len(usual.hashes) == 1
    assert (work.looked, work.read) == (usual.looked, usual.read)
    assert "tokens" in usual.looked
    assert "throttles" in usual.read


@pytest.mark.statement("C-034", "R-066", "V-039")
@pytest.mark.parametrize("mode", [Mode.CHALLENGE, Mode.APPEND])
def test_an_unknown_user_costs_one_hash_and_the_reads_of_a_known_one(house: House, mode: Mode) -> None:
    """And writes no more, from the second time within a minute on: a flood is counted."""
    house.newcomer("alice")
    refused, usual = house.log_in("alice", "wrong-000000", mode)
    assert isinstance(refused, Reject)
    assert refused.reason is Reason.PASSWORD_WRONG
    for _ in range(2):
        unknown, work = house.log_in("nobody", "wrong-000000", mode)
        assert isinstance(unknown, Reject)
        assert unknown.reason is Reason.USER_UNKNOWN
        check_same_work(work, usual)
    assert 0 < len(work.written) <= len(usual.written)


@pytest.mark.statement("C-034", "R-066")
@pytest.mark.parametrize("bar", BARRED, ids=lambda bar: bar.__name__)
def test_whoever_is_barred_costs_the_same_too(house: House, bar: Callable[[House, str], None]) -> None:
    house.newcomer("alice")
    house.newcomer("bob")
    _, usual = house.log_in("alice", "wrong-000000", Mode.APPEND)
    bar(house, "bob")
    refused, work = house.log_in("bob", "wrong-000000", Mode.APPEND)
    assert isinstance(refused, Reject)
    assert refused.reason is BARRED[bar]
    check_same_work(work, usual)


@pytest.mark.statement("O-071")
def test_in_one_field_both_parts_are_looked_at_whichever_is_wrong(house: House) -> None:
    """The look holds the PIN against the token, then the password is hashed: each once in all four cases. What came of
    both is joined in the gate, which compares again only what may let somebody in."""
    token = house.newcomer("alice")
    right, wrong = pin(token), wrong_pins(token)[0]
    reasons, costs = [], []
    for typed in ("wrong" + wrong, "wrong" + right, PASSWORD + wrong, PASSWORD + right):
        outcome, work = house.log_in("alice", typed, Mode.APPEND)
        assert isinstance(outcome, Accept | Reject)
        reasons.append(outcome.reason)
        costs.append((len(work.hashes), work.compared[0], work.looked, work.read))
        assert work.compared == [typed[-6:]] * (1 + typed.startswith(PASSWORD))
    assert reasons == [Reason.PASSWORD_WRONG, Reason.PASSWORD_WRONG, Reason.PASSCODE_WRONG, Reason.PASSCODE_RIGHT]
    assert costs == [(1, shown, costs[0][2], costs[0][3]) for shown in (wrong, right, wrong, right)]
