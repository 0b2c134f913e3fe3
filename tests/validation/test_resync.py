"""Finding a token again that has run away (RFC 4226 7.4, RFC 6238 6), and drift that is learned from logins."""

from collections.abc import Iterator

import pytest

from tests.builders import NOW, RFC_KEY, hotp_token, totp_token
from tests.validation.engine import SSH, Engine
from tests.vectors import reference
from validation.decisions import Accept, Done, Reason, Reject
from validation.errors import Refused
from validation.model import Factor, Throttle, TokenState
from validation.requests import ChangeUserState, ResyncToken, SetTokenUse, UserAct
from validation.tokens.hotp import RESYNC_AHEAD, Hotp
from validation.tokens.kind import Match, Window
from validation.tokens.totp import Totp

WINDOW = Window(totp_window=1, drift_limit=10, look_ahead=10)
STEP = int(NOW) // 30


def value(n: int) -> str:
    return reference.hotp(RFC_KEY, n)


def resync(engine: Engine, serial: str, first: str, second: str) -> Done:
    return engine.gate.administer(ResyncToken(actor="admin", serial=serial, first=first, second=second))


@pytest.fixture
def hotp(engine: Engine, alice: str) -> str:
    """A button with the key of the RFC, whose first value was used."""
    serial = engine.enroll(alice, "hotp", RFC_KEY)
    assert isinstance(engine.log_in(alice, value(0)), Accept)
    return serial


# --- which two values


@pytest.mark.statement("O-007")
@pytest.mark.parametrize("ahead", [0, 1, 10, 11, 500, RESYNC_AHEAD - 1])
def test_two_values_in_a_row_find_a_counter_token_far_ahead(ahead: int) -> None:
    token = hotp_token(moving_factor=5)
    assert Hotp().resync(token, value(5 + ahead), value(6 + ahead), NOW, WINDOW) == Match(7 + ahead, 0)


def pairs(base: int, ahead: int) -> Iterator[tuple[str, str, str]]:
    """Pairs that must not find a token whose next value is that of `base` and whose window is `ahead`."""
    yield "the same value twice", value(base), value(base)
    yield "a gap", value(base), value(base + 2)
    yield "the wrong way round", value(base + 1), value(base)
    yield "the first one used", value(base - 1), value(base)
    yield "both used", value(base - 2), value(base - 1)
    yield "beyond the window", value(base + ahead), value(base + ahead + 1)
    yield "too short", value(base)[1:], value(base + 1)
    yield "full width", value(base).translate({n: n + 0xFEE0 for n in range(48, 58)}), value(base + 1)
    yield "nothing", "", ""


@pytest.mark.statement("O-007", "O-008")
@pytest.mark.parametrize(("what", "first", "second"), [*pairs(5, RESYNC_AHEAD)], ids=lambda value: str(value)[:20])
def test_other_pairs_do_not_find_a_counter_token(what: str, first: str, second: str) -> None:
    assert Hotp().resync(hotp_token(moving_factor=5), first, second, NOW, WINDOW) is None, what


@pytest.mark.statement("O-007", "O-008")
@pytest.mark.parametrize(("what", "first", "second"), [*pairs(STEP, 10)], ids=lambda value: str(value)[:20])
def test_other_pairs_do_not_find_a_clock_token(what: str, first: str, second: str) -> None:
    assert Totp().resync(totp_token(moving_factor=STEP), first, second, NOW, WINDOW) is None, what


@pytest.mark.statement("O-007", "O-027")
@pytest.mark.parametrize("limit", [0, 1, 10])
def test_a_clock_token_is_found_within_the_drift_limit_and_its_drift_is_learned(limit: int) -> None:
    """The second value is the one it shows now."""
    window = Window(1, limit, 10)
    found = {
        drift: match
        for drift in range(-limit - 3, limit + 4)
        if (match := Totp().resync(totp_token(), value(STEP + drift - 1), value(STEP + drift), NOW, window))
    }
    assert found == {drift: Match(STEP + drift + 1, drift) for drift in range(-limit + 1, limit + 1)}


# --- as a command


@pytest.mark.statement("O-007", "O-028")
def test_after_a_resynchronisation_the_next_value_logs_in_and_the_two_do_not(engine: Engine, hotp: str) -> None:
    assert isinstance(engine.log_in("alice", value(300)), Reject)
    assert resync(engine, hotp, value(299), value(300)) == Done(serials=(hotp,))
    assert engine.token(hotp).moving_factor == 301
    for n in (299, 300):
        assert isinstance(engine.log_in("alice", value(n)), Reject)
    assert isinstance(engine.log_in("alice", value(301)), Accept)
    row = next(row for row in engine.trail if row.event == "token-resync")
    assert (row.user, row.serial, row.actor, row.detail) == ("alice", hotp, "admin", {"drift": "0"})


@pytest.mark.statement("O-007", "O-008")
def test_a_pair_works_once(engine: Engine, hotp: str) -> None:
    resync(engine, hotp, value(299), value(300))
    assert resync(engine, hotp, value(299), value(300)).refused
    assert resync(engine, hotp, value(300), value(301)).refused
    assert engine.token(hotp).moving_factor == 301


@pytest.mark.statement("O-007", "O-045", "O-010")
def test_refused_attempts_are_throttled_together_with_wrong_pins_and_written_down(engine: Engine, hotp: str) -> None:
    for _ in range(2):
        engine.log_in("alice", engine.wrong_pin(hotp))
    for failures in (3, 4, 5):
        done = resync(engine, hotp, value(0), value(1))
        assert (done.refused != "", done.serials) == (True, ())
        assert engine.throttle("alice", Factor.PASSCODE).failures == failures
    with pytest.raises(Refused, match="alice is waiting after failures; twofold user unlock alice"):
        resync(engine, hotp, value(299), value(300))
    outcome = engine.log_in("alice", value(1))
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.WAITING
    assert [row.detail.get("outcome") for row in engine.trail if row.event == "token-resync"] == ["refused"] * 3
    engine.gate.administer(ChangeUserState(actor="admin", name="alice", act=UserAct.UNLOCK))
    assert resync(engine, hotp, value(299), value(300)) == Done(serials=(hotp,))


def test_a_disabled_token_is_found_again_and_stays_disabled(engine: Engine, hotp: str) -> None:
    engine.gate.administer(SetTokenUse(actor="admin", serial=hotp, enabled=False))
    resync(engine, hotp, value(299), value(300))
    assert (engine.token(hotp).state, engine.token(hotp).moving_factor) == (TokenState.DISABLED, 301)


def test_what_cannot_be_found_again_is_refused(engine: Engine, hotp: str) -> None:
    with pytest.raises(Refused, match="there is no token 'NONE'"):
        resync(engine, "NONE", value(1), value(2))
    engine.revoke(hotp)
    with pytest.raises(Refused, match="revoked, which is final"):
        resync(engine, hotp, value(1), value(2))
    assert engine.throttle("alice", Factor.PASSCODE) == Throttle()


# --- drift


@pytest.mark.statement("O-027")
def test_a_token_that_drifts_a_step_a_login_is_followed_up_to_the_limit(engine: Engine, serial: str) -> None:
    """Beyond the limit it is refused, until it is found again on purpose; and refusals teach nothing."""
    reached = []
    for n in range(1, 15):
        engine.clock.now += 3600
        outcome = engine.log_in("alice", engine.pin(serial, -n))
        reached.append((isinstance(outcome, Accept), engine.token(serial).drift))
    assert reached == [(n <= 11, -min(n, 10)) for n in range(1, 15)]


@pytest.mark.statement("O-027", "O-011")
def test_only_success_changes_the_drift(engine: Engine, serial: str) -> None:
    engine.log_in("alice", engine.pin(serial, 1))
    drift = engine.token(serial).drift
    assert drift == 1
    for typed in (engine.pin(serial, 5), engine.pin(serial, 1), engine.wrong_pin(serial), "", "x"):
        assert isinstance(engine.log_in("alice", typed, SSH), Reject)
        assert engine.token(serial).drift == drift
