"""A user's care for his own registrations: another app, or the same one anew. Only after a fresh second factor."""

import pytest

from tests.validation.engine import CONSOLE, PORTAL, SSH, VPN, Engine, Pairing
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.gate import Outcome
from validation.messages import MessageKey, default_text
from validation.model import Origin, Purpose, TokenState
from validation.policy import registrations
from validation.requests import EnrollToken, FirstFactor, IssueRecovery, IssueTicket, typed_alone

CARES = [Purpose.ADD, Purpose.RESET]


def care(engine: Engine, purpose: Purpose, passcode: str, serial: str = "") -> Outcome:
    """Password, then `passcode`; what comes after it."""
    state = engine.challenge("alice", CONSOLE, purpose=purpose, replaces=serial)
    return engine.answer("alice", state, passcode, CONSOLE)


def shown(engine: Engine, purpose: Purpose, serial: str) -> Pairing:
    """The key that is shown after a PIN of `serial`, which a reset is also to replace."""
    replaced = serial if purpose is Purpose.RESET else ""
    return Pairing(engine, "alice", CONSOLE, care(engine, purpose, engine.pin(serial), replaced))


def let_in(engine: Engine, passcode: str) -> bool:
    return isinstance(engine.log_in("alice", passcode), Accept)


# --- the same app anew


def test_the_old_key_works_until_the_first_pin_of_the_new_one(engine: Engine, serial: str) -> None:
    reset = shown(engine, Purpose.RESET, serial)
    assert reset.key != engine.token(serial).key
    engine.clock.now += 30
    assert not let_in(engine, reset.pin())
    assert let_in(engine, engine.pin(serial))
    engine.clock.now += 60
    old = engine.pin(serial)
    engine.notices.told.clear()
    assert isinstance(reset.confirm(), Accept)
    assert [(told.notice, told.serial) for told in engine.notices.told] == [("enrolled", reset.serial)]
    assert engine.token(serial).state is TokenState.REVOKED
    assert not let_in(engine, old)
    engine.clock.now += 30
    assert let_in(engine, reset.pin())
    assert [token.serial for token in registrations(engine.see(user="alice"))] == [reset.serial]


def test_a_reset_that_is_not_finished_changes_nothing(engine: Engine, serial: str) -> None:
    """Neither one that is left alone nor one with wrong first PINs; its key is never good for anything."""
    for give_up in (False, True):
        reset = shown(engine, Purpose.RESET, serial)
        for _ in range(3 if give_up else 0):
            last = reset.confirm("000000" if reset.pin() != "000000" else "000001")
        engine.clock.now += 601
        assert isinstance(reset.confirm(), Reject)
        assert not let_in(engine, reset.pin())
        assert let_in(engine, engine.pin(serial))
        engine.clock.now += 60
    assert isinstance(last, Reject)
    assert [token.serial for token in registrations(engine.see(user="alice"))] == [serial]


def test_only_an_app_of_ones_own_is_made_anew(engine: Engine, serial: str) -> None:
    engine.add_user("bob")
    bobs = engine.enroll("bob")
    hardware = engine.gate.administer(EnrollToken(actor="admin", user="alice", origin=Origin.ADMIN)).serials[0]
    for other in (bobs, hardware, "NOSUCH", ""):
        outcome = care(engine, Purpose.RESET, engine.pin(serial), other)
        assert isinstance(outcome, Reject), other
        engine.clock.now += 30
    assert {engine.token(one).state for one in (serial, bobs, hardware)} == {TokenState.ACTIVE}


# --- another app


@pytest.mark.statement("O-055")
def test_another_app_is_paired_after_a_fresh_pin_with_a_key_of_its_own_and_told(engine: Engine, serial: str) -> None:
    added = shown(engine, Purpose.ADD, serial)
    assert added.key != engine.token(serial).key
    engine.notices.told.clear()
    assert isinstance(added.confirm(), Accept)
    assert [(told.notice, told.user, told.serial) for told in engine.notices.told] == [
        ("enrolled", "alice", added.serial)
    ]
    engine.clock.now += 30
    assert let_in(engine, added.pin())
    assert let_in(engine, engine.pin(serial)), "both work, each by itself"
    assert not let_in(engine, added.pin())


def test_an_app_that_is_added_takes_no_place_whatever_the_request_names(engine: Engine, serial: str) -> None:
    hardware = engine.gate.administer(EnrollToken(actor="admin", user="alice", origin=Origin.ADMIN)).serials[0]
    added = Pairing(engine, "alice", CONSOLE, care(engine, Purpose.ADD, engine.pin(serial), hardware))
    assert isinstance(added.confirm(), Accept)
    assert engine.token(hardware).state is TokenState.ACTIVE


@pytest.mark.statement("O-055")
@pytest.mark.parametrize("purpose", CARES)
def test_without_a_fresh_pin_of_a_present_token_no_key_is_made(engine: Engine, serial: str, purpose: Purpose) -> None:
    """However wide the way past the second factor is, and with an open pairing window."""
    engine.set_policy("reuse_window", "1d")
    used = engine.pin(serial)
    assert let_in(engine, used)
    engine.set_policy("second_factor", "skip")
    engine.set_policy("grace", "30d")
    for passcode in (used, engine.wrong_pin(serial), "", "s", "n"):
        outcome = care(engine, purpose, passcode, serial)
        assert isinstance(outcome, Challenge | Reject)
        assert getattr(outcome, "provisioning", None) is None, passcode
    wrong = engine.log_in(
        "alice", engine.pin(serial, 1), CONSOLE, password=FirstFactor.WRONG, purpose=purpose, replaces=serial
    )
    assert isinstance(wrong, Reject)
    assert [token.serial for token in registrations(engine.see(user="alice"))] == [serial]


@pytest.mark.statement("O-055")
def test_a_ticket_or_a_first_login_pairs_no_further_app(engine: Engine, alice: str) -> None:
    """A ticket that was issued before the first app is worth nothing after it."""
    (ticket,) = engine.gate.administer(IssueTicket(actor="admin", name=alice)).shown_once
    begun, first = engine.pair(alice), engine.pair(alice)
    assert isinstance(first.confirm(), Accept)
    assert isinstance(begun.confirm(), Reject)
    refused = engine.log_in(alice, client=CONSOLE, purpose=Purpose.REDEEM, ticket=ticket)
    assert isinstance(refused, Reject)
    assert len(registrations(engine.see(user=alice))) == 1


def test_a_recovery_code_is_a_fresh_second_factor_once(engine: Engine, serial: str) -> None:
    code, *_ = engine.gate.administer(IssueRecovery(actor="admin", name="alice")).shown_once
    added = Pairing(engine, "alice", CONSOLE, care(engine, Purpose.ADD, typed_alone(code)))
    again = care(engine, Purpose.ADD, typed_alone(code))
    assert isinstance(again, Challenge)
    assert again.provisioning is None
    assert isinstance(added.confirm(), Accept)


@pytest.mark.parametrize("purpose", CARES)
@pytest.mark.parametrize("enrolment", ["off", "hardware-only"])
def test_where_no_app_may_be_paired_the_pin_is_used_and_no_key_shown(
    engine: Engine, serial: str, purpose: Purpose, enrolment: str
) -> None:
    right = engine.pin(serial)
    engine.set_policy("enrolment", enrolment)
    outcome = care(engine, purpose, right, serial)
    assert isinstance(outcome, Reject)
    assert not let_in(engine, right)


def test_there_are_no_more_apps_than_the_policy_allows(engine: Engine, serial: str) -> None:
    """Looked at again when the first PIN comes: of two that are added at once, one is too many."""
    engine.set_policy("max_registrations", "2")
    first = shown(engine, Purpose.ADD, serial)
    engine.clock.now += 30
    second = shown(engine, Purpose.ADD, serial)
    assert isinstance(first.confirm(), Accept)
    assert isinstance(second.confirm(), Reject)
    engine.clock.now += 30
    assert isinstance(care(engine, Purpose.ADD, engine.pin(serial)), Reject)
    assert len(registrations(engine.see(user="alice"))) == 2


# --- what a gateway cannot do


@pytest.mark.parametrize("client", [SSH, PORTAL])
def test_in_one_step_no_key_is_shown(engine: Engine, serial: str, client: str) -> None:
    """Not that a gateway could ask for it: a face says what a login is for."""
    outcome = engine.log_in("alice", engine.wrong_pin(serial), client, purpose=Purpose.ADD)
    assert isinstance(outcome, Reject)
    assert len(registrations(engine.see(user="alice"))) == 1


# --- a disabled token


def test_wrong_pins_until_the_token_is_disabled_open_no_pairing(engine: Engine, alice: str) -> None:
    """Whoever knows the password could else pair a phone of his own, by whatever door, within the window."""
    serial = engine.enroll(alice)
    engine.set_policy("disable_at", "3")
    engine.set_policy("onboarding_over_radius", "key")
    for _ in range(3):
        engine.log_in(alice, engine.wrong_pin(serial))
    assert engine.token(serial).state is TokenState.DISABLED
    for client in (CONSOLE, VPN, SSH):
        outcome = engine.log_in(alice, client=client)
        assert isinstance(outcome, Reject), client
        assert (outcome.reason, outcome.text) == (Reason.NO_TOKEN, default_text(MessageKey.LOST_TOKEN, "en"))
    for purpose in CARES:
        assert isinstance(engine.log_in(alice, client=CONSOLE, purpose=purpose, replaces=serial), Reject)
    engine.revoke(serial)
    assert isinstance(engine.log_in(alice, client=CONSOLE), Challenge), "the window itself was open all the time"
