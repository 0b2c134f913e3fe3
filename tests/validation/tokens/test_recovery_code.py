"""Recovery codes: ten of 80 random bits, kept as keyed hashes, each good once, renewed without touching tokens."""

import base64
from dataclasses import replace

import pytest

from tests.builders import NOW, moment
from tests.validation.engine import CONSOLE, PORTAL, SSH, VPN, Engine
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.errors import BadInput, Refused
from validation.model import Factor, Origin, Token, TokenState
from validation.policy import registrations
from validation.requests import EnrollToken, IssueRecovery, typed_alone
from validation.tokens import recovery_code
from validation.tokens.kind import NOTHING, Comparison, Match, Window
from validation.tokens.recovery_code import RecoveryCode, sheet_key, shown

KIND = RecoveryCode()
WINDOW = Window(totp_window=1, drift_limit=10, look_ahead=10)
CODES = moment().new_recovery_codes(10)
SHEET = Token(
    id=1,
    serial="TF-SHEET",
    user_id=1,
    kind="recovery_code",
    key=sheet_key(moment().new_salt, CODES),
    origin=Origin.ADMIN,
)


def compare(typed: str, used: int = 0) -> Comparison:
    return KIND.compare(replace(SHEET, moving_factor=used), typed, NOW, WINDOW)


def issue(engine: Engine, user: str) -> tuple[str, list[str]]:
    """The serial of the sheet and its codes, as they are typed."""
    done = engine.gate.administer(IssueRecovery(actor="admin", name=user))
    return done.serials[0], [typed_alone(code) for code in done.shown_once]


# --- the codes


@pytest.mark.statement("O-052", "O-050")
def test_ten_codes_of_80_bits_that_all_come_from_the_dice() -> None:
    assert len(set(CODES)) == 10
    assert [len(base64.b32decode(code)) * 8 for code in CODES] == [80] * 10
    assert b"".join(base64.b32decode(code) for code in CODES) == moment().random[84:184]


def test_a_code_is_handed_out_in_groups_and_read_back_in_any_case() -> None:
    assert [len(group) for group in shown(CODES[0]).split("-")] == [4, 4, 4, 4]
    for typed in (shown(CODES[0]), shown(CODES[0]).replace("-", " "), CODES[0].lower(), f" {CODES[0]} "):
        assert compare(typed_alone(typed)).match == Match(1, 0)


@pytest.mark.statement("O-052", "O-053")
def test_what_is_kept_holds_no_code_and_differs_between_two_users_with_the_same_code() -> None:
    assert SHEET.key[:16] == moment().new_salt
    for code in CODES:
        assert code.encode() not in SHEET.key
        assert base64.b32decode(code) not in SHEET.key
    other = sheet_key(moment(seed=1).new_salt, CODES)
    assert not {SHEET.key[n : n + 32] for n in range(16, 336, 32)} & {other[n : n + 32] for n in range(16, 336, 32)}


@pytest.mark.statement("O-052", "O-046", "O-053")
def test_each_code_works_once_in_any_order() -> None:
    used = 0
    for n in (9, 0, 5, 1, 8, 2, 7, 3, 6, 4):
        match = compare(CODES[n], used).match
        assert match is not None
        assert match.moving_factor == used | 1 << n > used
        used = match.moving_factor
        assert recovery_code.left(replace(SHEET, moving_factor=used)) == 10 - used.bit_count()
        assert compare(CODES[n], used) == Comparison(used=True, against=range(1))
    assert [compare(code, used).match for code in CODES] == [None] * 10


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "A" * 15,
        "A" * 17,
        "0" * 16,
        "1" * 16,
        "A" * 15 + "=",
        "A" * 15 + "\u0391",
        "\uff21" * 16,
        "A" * 1_000_000,
        "a\0" * 8,
    ],
    ids=lambda typed: ascii(typed)[:20],
)
def test_what_is_no_code_is_compared_with_none(typed: str) -> None:
    assert compare(typed) == NOTHING


def test_a_wrong_code_costs_one_guess() -> None:
    assert compare("A" * 16) == Comparison(against=range(1))


FOREIGN = replace(SHEET, digits=8, key=sheet_key(moment().new_salt, ("12345678", "00000000")))


def test_a_sheet_from_elsewhere_has_codes_of_eight_digits() -> None:
    assert (KIND.lengths(FOREIGN), KIND.lengths(SHEET)) == ((8,), (16,))
    assert (recovery_code.count(FOREIGN), recovery_code.left(replace(FOREIGN, moving_factor=1))) == (2, 1)
    assert KIND.compare(FOREIGN, "00000000", NOW, WINDOW) == Comparison(Match(2, 0), against=range(2))
    assert KIND.compare(FOREIGN, "99999999", NOW, WINDOW) == Comparison(against=range(2))
    used = replace(FOREIGN, moving_factor=1)
    assert KIND.compare(used, "12345678", NOW, WINDOW) == Comparison(used=True, against=range(1))
    for typed in ("1234567", "123456789", "\u0661" * 8, "", CODES[0]):
        assert KIND.compare(FOREIGN, typed, NOW, WINDOW) == NOTHING
    assert compare("12345678") == NOTHING


@pytest.mark.parametrize(
    ("digits", "octets", "possible"),
    [(6, 16 + 320, True), (6, 16 + 288, False), (8, 16 + 32, True), (8, 16 + 32 * 32, True), (8, 16 + 32 * 33, False),
     (8, 16, False), (8, 16 + 33, False), (7, 16 + 32, False), (6, 0, False)],
)  # fmt: skip
def test_how_many_codes_a_sheet_can_have(digits: int, octets: int, possible: bool) -> None:
    sheet = replace(SHEET, digits=digits, key=bytes(octets))
    if possible:
        KIND.check(sheet)
        return
    with pytest.raises(BadInput):
        KIND.check(sheet)


def test_a_sheet_is_made_by_its_own_command_alone(engine: Engine, alice: str) -> None:
    for key in (None, b"k" * 20, SHEET.key):
        with pytest.raises(BadInput, match="recovery"):
            engine.gate.administer(EnrollToken(actor="x", user=alice, kind="recovery_code", key=key))
    with pytest.raises(Refused, match="there is no user 'bob'"):
        issue(engine, "bob")


def test_a_sheet_can_neither_be_scanned_nor_found_again() -> None:
    with pytest.raises(BadInput):
        KIND.uri(SHEET, "alice", "Twofold")
    with pytest.raises(BadInput):
        KIND.resync(SHEET, CODES[0], CODES[1], NOW, WINDOW)


# --- in logins


@pytest.mark.statement("O-052", "O-054", "O-046")
def test_a_code_helps_in_need_once_and_somebody_is_told(engine: Engine, serial: str) -> None:
    sheet, codes = issue(engine, "alice")
    engine.notices.told.clear()
    state = engine.challenge("alice")
    assert engine.answer("alice", state, codes[0]) == Accept("alice", Reason.PASSCODE_RIGHT, sheet, "recovery_code")
    (told,) = engine.notices.told
    assert (told.notice, told.user, told.serial, told.decision) == ("recovery_used", "alice", sheet, "accept")
    for client in (SSH, PORTAL):
        again = engine.log_in("alice", codes[0], client)
        assert isinstance(again, Reject)
        assert again.reason in (Reason.PASSCODE_USED, Reason.PASSCODE_REPEATED)
    assert isinstance(engine.log_in("alice", codes[1]), Accept)
    assert len(engine.notices.told) == 2
    assert engine.token(serial).moving_factor == 0


@pytest.mark.statement("O-052", "O-045")
def test_wrong_codes_are_throttled_like_wrong_pins(engine: Engine, serial: str) -> None:
    sheet, codes = issue(engine, "alice")
    for n in range(5):
        engine.log_in("alice", "ABCDEFGHIJKLMNO" + "PQRST"[n])
    assert engine.throttle("alice", Factor.PASSCODE).failures == 5
    outcome = engine.log_in("alice", codes[0])
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.WAITING
    assert engine.token(sheet).moving_factor == 0
    assert sum(engine.see(user="alice").guesses.values()) == 5, "one for each, and none for the app they cannot fit"


@pytest.mark.statement("O-052", "O-054")
def test_a_new_sheet_ends_the_old_one_touches_no_token_and_somebody_is_told(engine: Engine, serial: str) -> None:
    old, old_codes = issue(engine, "alice")
    before = engine.token(serial)
    engine.notices.told.clear()
    new, new_codes = issue(engine, "alice")
    assert [(told.notice, told.serial) for told in engine.notices.told] == [("recovery_issued", new)]
    assert engine.token(serial) == before
    assert (engine.token(old).state, engine.token(old).key) == (TokenState.REVOKED, b"")
    assert isinstance(engine.log_in("alice", old_codes[0]), Reject)
    assert isinstance(engine.log_in("alice", new_codes[0]), Accept)


def test_a_sheet_alone_is_no_registration(engine: Engine, alice: str) -> None:
    """It neither stops onboarding nor ends a grace; but with a registration gone, it does not let anybody in either."""
    _, codes = issue(engine, alice)
    seen = engine.see(user=alice)
    assert registrations(seen) == ()
    assert seen.user is not None
    assert seen.user.first_registered_at is None
    outcome = engine.log_in(alice, client=CONSOLE)
    assert isinstance(outcome, Challenge)
    assert outcome.reason is Reason.ONBOARDING
    assert isinstance(engine.log_in(alice, codes[0]), Reject)


def test_codes_and_salt_reach_neither_trail_nor_notice(engine: Engine, serial: str) -> None:
    _, codes = issue(engine, "alice")
    engine.answer("alice", engine.challenge("alice", VPN), codes[0])
    text = repr((engine.trail, engine.notices.told))
    assert not [code for code in codes if code in text or shown(code) in text]
