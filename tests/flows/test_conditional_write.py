"""C-004 and C-005: what a decision rests on is asked for again by the statement that writes, and trouble refuses.

In the first half isolation is lost: a gate is shown, inside its transaction, what was true before somebody else got in.
In the second the database answers one statement of a login with "database is locked", each in turn.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from sqlalchemy import Engine, event

from store import opening
from store.notices import NoNotices
from tests.builders import NOW
from tests.desk import PROVED, Desk
from tests.flows.worker import FixedMoments, told
from tests.postgres import on_both
from tests.site import Site, pin
from tests.vectors import yubico
from validation.decisions import Accept, Challenge
from validation.errors import StoreUnavailable
from validation.gate import Gate
from validation.model import Mode, Snapshot
from validation.ports import Store, Transaction
from validation.requests import (
    Channel,
    FirstFactor,
    FirstFactorResult,
    IssueRecovery,
    LoginRequest,
    RevokeToken,
    Wanted,
    typed_alone,
)

FAILED = ("reject", "decision-failed")


class Stale:
    """A store whose transactions show what was true when this was made. What is written is written to the real one."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self._store = store
        self.seen = store.look([wanted])

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._store.transaction() as transaction:
            yield cast(Transaction, _StaleTransaction(transaction, self.seen))


class _StaleTransaction:
    def __init__(self, transaction: Transaction, seen: list[Snapshot]) -> None:
        self.apply = transaction.apply
        self._seen = seen

    def snapshots(self, _wanted: Sequence[Wanted]) -> list[Snapshot]:
        return self._seen


def gate_on(store: object) -> Gate:
    return Gate(cast(Store, store), FixedMoments(NOW), opening.LoggedFaults(), NoNotices())


def by_pin(site: Site, passcode: str, user: str = "alice") -> LoginRequest:
    (client,) = site.gate.clients()
    return LoginRequest(user, Channel.for_mode(client.mode), client.name, client.version, passcode=passcode)


def accepts(site: Site) -> int:
    return [decision for decision, _ in site.logins()].count("accept")


def totp(site: Site) -> tuple[LoginRequest, LoginRequest]:
    passcode = pin(site.enroll("alice"), now=NOW)
    return by_pin(site, passcode), by_pin(site, passcode)


def hotp(site: Site) -> tuple[LoginRequest, LoginRequest]:
    passcode = pin(site.enroll("alice", kind="hotp"))
    return by_pin(site, passcode), by_pin(site, passcode)


def recovery_code(site: Site) -> tuple[LoginRequest, LoginRequest]:
    site.enroll("alice")
    code, *_ = site.gate.administer(IssueRecovery(actor="test", name="alice")).shown_once
    return by_pin(site, typed_alone(code)), by_pin(site, typed_alone(code))


def yubikey(site: Site) -> tuple[LoginRequest, LoginRequest]:
    key, codes = yubico.CHAIN
    site.enroll("alice", kind="yubico_otp", key=bytes.fromhex(key.aes + key.private_id), public_id=key.public_id)
    return by_pin(site, codes[0].text), by_pin(site, codes[0].text)


def security_key(site: Site) -> tuple[LoginRequest, LoginRequest]:
    """Two logins, each with its own State, and one count."""
    key, _ = Desk(site, NOW).registered()
    return Desk(site, NOW).touched(key, count=7), Desk(site, NOW).touched(key, count=7)


def state(site: Site) -> tuple[LoginRequest, LoginRequest]:
    """One question, answered twice, each time with a recovery code of its own: only the State is the same."""
    site.enroll("alice")
    one, other, *_ = site.gate.administer(IssueRecovery(actor="test", name="alice")).shown_once
    asks = LoginRequest("alice", Channel.console(), "login@web-7", 0, first_factor=PROVED)
    (asked,) = gate_on(site.database).login([asks])
    assert isinstance(asked, Challenge), asked
    answer = replace(asks, state=asked.state, first_factor=FirstFactorResult(FirstFactor.NOT_CHECKED))
    return replace(answer, passcode=typed_alone(one)), replace(answer, passcode=typed_alone(other))


@pytest.mark.statement("C-004")
@on_both
@pytest.mark.parametrize("factor", [totp, hotp, recovery_code, yubikey, security_key, state])
def test_who_was_shown_what_is_no_longer_true_lets_nobody_in(
    site: Site, factor: Callable[[Site], tuple[LoginRequest, LoginRequest]]
) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    first, second = factor(site)
    stale = Stale(site.database, second.wanted)
    before = accepts(site)
    (accepted,) = gate_on(site.database).login([first])
    assert isinstance(accepted, Accept), accepted
    (refused,) = gate_on(stale).login([second])
    assert told(refused) == FAILED
    assert accepts(site) == before + 1


@pytest.mark.statement("C-004")
@on_both
def test_who_saw_a_token_before_it_was_revoked_lets_nobody_in(site: Site) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    token = site.enroll("alice", kind="hotp")
    asked = by_pin(site, pin(token))
    stale = Stale(site.database, asked.wanted)
    site.gate.administer(RevokeToken(actor="test", serial=token.serial))
    (refused,) = gate_on(stale).login([asked])
    assert told(refused) == FAILED
    assert accepts(site) == 0


# --- "database is locked"


@contextmanager
def locked_at(site: Site, statement: int) -> Iterator[list[str]]:
    """Statement number `statement` from now on is answered with SQLITE_BUSY; what was asked for, one by one."""
    asked: list[str] = []

    def refuse(_cursor: Any, text: str, _values: Any, _context: Any) -> None:
        asked.append(text)
        if len(asked) == statement:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    def refuse_without(cursor: Any, text: str, context: Any) -> None:
        refuse(cursor, text, None, context)

    listening: list[tuple[str, Callable[..., None]]]
    listening = [("do_execute", refuse), ("do_executemany", refuse), ("do_execute_no_params", refuse_without)]
    for name, listener in listening:
        event.listen(Engine, name, listener)
    try:
        yield asked
    finally:
        for name, listener in listening:
            event.remove(Engine, name, listener)


@pytest.mark.statement("C-005")
def test_a_statement_that_meets_a_lock_refuses_the_login_and_leaves_nothing(site: Site) -> None:
    """S01: SQLite has waited by then, as long as it may. Whatever the statement, nothing is written, and the next try
    gets in."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    token = site.enroll("alice", kind="hotp")
    request = by_pin(site, pin(token))
    gate = gate_on(site.database)
    (before,) = site.database.look([request.wanted])
    for statement in range(1, 100):
        with locked_at(site, statement) as asked:
            (outcome,) = gate.login([request])
        if len(asked) < statement:
            break
        assert isinstance(outcome, StoreUnavailable), (asked[-1], outcome)
        assert len(asked) == statement, "it is not tried again: the wait was the trying"
        assert site.logins() == []
        assert site.database.look([request.wanted]) == [before]
    assert statement > 5
    assert isinstance(outcome, Accept)
    assert site.logins() == [("accept", "passcode-right")]
