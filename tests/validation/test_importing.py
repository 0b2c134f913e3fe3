"""Tokens by the boxful, and out of the drawer: what is imported, refused, given and taken back."""

from dataclasses import replace

import pytest

from tests.builders import RFC_KEY
from tests.validation.engine import ACTOR, CONSOLE, SSH, Engine
from validation.decisions import Accept, Challenge, Done, Fate, Reason, Reject
from validation.errors import Refused
from validation.model import Origin, RevokeReason, Token, TokenState
from validation.requests import (
    AssignTokens,
    ImportTokens,
    IssueRecovery,
    NewToken,
    RevokeToken,
    RevokeUserTokens,
)


def row(number: int, user: str = "", **facts: object) -> NewToken:
    key = bytes([number]) * 20
    token = Token(0, f"BOX-{number}", None, "hotp", key, origin=Origin.ADMIN, moving_factor=5)
    return NewToken(f"line {number}", replace(token, **facts), user)  # type: ignore[arg-type]


def load(engine: Engine, *rows: NewToken, skip_bad: bool = False, allow_short_key: bool = False) -> Done:
    command = ImportTokens(actor=ACTOR, tokens=rows, file="box.csv", skip_bad=skip_bad, allow_short_key=allow_short_key)
    return engine.gate.administer(command)


def fates(done: Done) -> list[tuple[str, Fate]]:
    return [(one.place, one.fate) for one in done.rows]


def test_a_box_lies_in_the_drawer_until_it_is_given_out(engine: Engine) -> None:
    done = load(engine, row(1), row(2))
    assert fates(done) == [("line 1", Fate.READY), ("line 2", Fate.READY)]
    token = engine.token("BOX-1")
    assert (token.user_id, token.origin, token.moving_factor, token.created_at) == (
        None,
        Origin.ADMIN,
        5,
        engine.clock.now,
    )
    row_ = engine.trail[-1]
    assert (row_.event, row_.detail) == (
        "token-import",
        {"file": "box.csv", "count": "2", "first": "BOX-1", "last": "BOX-2"},
    )


def test_given_to_a_user_it_works_at_once_with_its_counter(engine: Engine, serial: str) -> None:
    load(engine, row(1))
    engine.gate.administer(AssignTokens(actor=ACTOR, serials=("BOX-1",), user="alice"))
    assert isinstance(engine.log_in("alice", engine.pin("BOX-1")), Accept)
    assert (engine.trail[-1].serial, engine.token("BOX-1").moving_factor) == ("BOX-1", 6)


def test_a_user_in_the_file_has_it_at_once(engine: Engine) -> None:
    engine.add_user("bob")
    load(engine, row(1, "bob"))
    assert isinstance(engine.log_in("bob", engine.pin("BOX-1")), Accept)
    assert [told.notice for told in engine.notices.told] == ["enrolled"]
    user = engine.see(user="bob").user
    assert user is not None
    assert user.first_registered_at is not None


def test_again_it_is_unchanged_whatever_was_done_with_it_since(engine: Engine, serial: str) -> None:
    load(engine, row(1), row(2))
    engine.gate.administer(AssignTokens(actor=ACTOR, serials=("BOX-1",), user="alice"))
    engine.log_in("alice", engine.pin("BOX-1"))
    before = engine.token("BOX-1"), engine.token("BOX-2"), len(engine.trail)
    done = load(engine, row(1), row(2), row(3))
    assert [fate for _, fate in fates(done)] == [Fate.UNCHANGED, Fate.UNCHANGED, Fate.READY]
    assert (engine.token("BOX-1"), engine.token("BOX-2")) == before[:2]
    assert [fate for _, fate in fates(load(engine, row(1), row(2), row(3)))] == [Fate.UNCHANGED] * 3
    assert len(engine.trail) == before[2] + 1


@pytest.mark.statement("O-103")
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (row(9, serial="BOX-1"), "serial BOX-1 stands twice in the file, first at line 1"),
        (row(9, key=bytes([1]) * 20), "the same key stands twice in the file, first at line 1"),
        (row(9, key=bytes([1]) * 20 + bytes(4)), "the same key stands twice in the file, first at line 1"),
        (row(9, key=RFC_KEY), "its key is here already, as HERE; a key belongs to one token"),
        (row(9, serial="HERE"), "serial HERE is here already, and is another token; nothing is overwritten"),
        (row(9, serial="HERE", key=RFC_KEY, digits=8), "serial HERE is here already, and is another token"),
        (row(9, serial="GONE"), "serial GONE is here already, revoked, which is final"),
        (row(9, key=b"k" * 15), "key: 120 bits; at least 128 are asked for"),
        (row(9, key=b"k" * 13), "key: 104 bits are too few"),
        (row(9, digits=9), "digits: 9 is not possible"),
        (row(9, serial="with blank"), "serial: use 1 to 64 printable"),
        (row(9, serial=""), "serial: use 1 to 64 printable"),
        (row(9, label="x" * 65), "label: at most 64"),
        (row(9, "nobody"), "user nobody is not known; twofold user add nobody"),
        (row(9, "full"), "user full would have more than 1 registrations"),
    ],
)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_one_bad_row_keeps_all_out_unless_it_is_to_be_skipped(
    engine: Engine, bad: NewToken, why: str, skip_bad: bool
) -> None:
    engine.add_user("full")
    engine.set_policy("max_registrations", "1")
    engine.enroll("full")
    engine.add_user("carol")
    load(engine, row(7, serial="HERE", key=RFC_KEY), row(8, serial="GONE"))
    engine.revoke("GONE")
    before, trail = dict(engine.store._rows.tokens), len(engine.trail)
    done = load(engine, row(1), bad, row(2), skip_bad=skip_bad)
    assert [one.fate for one in done.rows] == [Fate.READY, Fate.REFUSED, Fate.READY]
    assert done.rows[1].text.startswith(why)
    if skip_bad:
        assert {engine.token("BOX-1").serial, engine.token("BOX-2").serial} == {"BOX-1", "BOX-2"}
    else:
        assert done.refused == "nothing was imported, since 1 of 3 rows are refused"
        assert (engine.store._rows.tokens, len(engine.trail)) == (before, trail)


def test_a_short_key_is_taken_where_that_is_said(engine: Engine) -> None:
    assert not load(engine, row(1, key=b"k" * 15), allow_short_key=True).refused
    assert engine.token("BOX-1").key == b"k" * 15


def test_two_rows_of_one_user_count_together(engine: Engine) -> None:
    engine.add_user("bob")
    engine.set_policy("max_registrations", "1")
    done = load(engine, row(1, "bob"), row(2, "bob"))
    assert [one.fate for one in done.rows] == [Fate.READY, Fate.REFUSED]


def test_a_rehearsal_says_the_same_and_changes_nothing(engine: Engine) -> None:
    command = ImportTokens(actor=ACTOR, tokens=(row(1), row(2, digits=9)), file="box.csv")
    rehearsed = engine.gate.rehearse(command)
    assert not [t for t in engine.store._rows.tokens.values() if t.serial.startswith("BOX")]
    assert rehearsed == engine.gate.administer(command)


# --- given and taken back


def assign(engine: Engine, user: str | None, *serials: str) -> Done:
    return engine.gate.administer(AssignTokens(actor=ACTOR, serials=serials, user=user))


def test_a_token_has_one_owner_at_a_time(engine: Engine, serial: str) -> None:
    engine.add_user("bob")
    load(engine, row(1))
    assign(engine, "alice", "BOX-1")
    with pytest.raises(Refused, match="has an owner; twofold token unassign BOX-1"):
        assign(engine, "bob", "BOX-1")
    assign(engine, None, "BOX-1")
    assign(engine, "bob", "BOX-1")
    assert isinstance(engine.log_in("bob", engine.pin("BOX-1")), Accept)
    assert not isinstance(engine.log_in("alice", engine.pin("BOX-1", 1)), Accept)


def test_taken_back_it_ends_open_logins_and_what_was_used_stays_used(engine: Engine) -> None:
    engine.add_user("bob")
    load(engine, row(1))
    assign(engine, "bob", "BOX-1")
    used = engine.pin("BOX-1")
    assert isinstance(engine.log_in("bob", used), Accept)
    asked = engine.log_in("bob", client=CONSOLE)
    assert isinstance(asked, Challenge)
    assign(engine, None, "BOX-1")
    late = engine.answer("bob", asked.state, engine.pin("BOX-1"), CONSOLE)
    assert isinstance(late, Reject)
    assert late.reason is Reason.STATE_UNKNOWN
    engine.add_user("carol")
    assign(engine, "carol", "BOX-1")
    assert not isinstance(engine.log_in("carol", used), Accept)


def test_of_several_all_are_given_or_none(engine: Engine, serial: str) -> None:
    engine.set_policy("max_registrations", "2")
    load(engine, row(1), row(2))
    for serials in (("BOX-1", "NONE"), ("BOX-1", serial), ("BOX-1", "BOX-2")):
        with pytest.raises(Refused):
            assign(engine, "alice", *serials)
    assert engine.token("BOX-1").user_id is None
    with pytest.raises(Refused, match="there is no user 'nobody'"):
        assign(engine, "nobody", "BOX-1")


def test_what_a_user_brought_himself_and_what_is_revoked_is_not_taken_back(engine: Engine, serial: str) -> None:
    with pytest.raises(Refused, match="was brought by its user himself; twofold token revoke"):
        assign(engine, None, serial)
    load(engine, row(1))
    with pytest.raises(Refused, match="is nobody's already"):
        assign(engine, None, "BOX-1")
    engine.gate.administer(RevokeToken(actor=ACTOR, serial="BOX-1", reason=RevokeReason.LOST))
    assert engine.token("BOX-1").state is TokenState.REVOKED
    with pytest.raises(Refused, match="is revoked, which is final"):
        assign(engine, "alice", "BOX-1")


# --- in its time


@pytest.mark.statement("O-104", "V-012")
@pytest.mark.parametrize(
    ("starts", "ends", "works"),
    [
        (None, None, True),
        (-1.0, None, True),
        (0.0, None, True),
        (1.0, None, False),
        (None, 1.0, True),
        (None, 0.0, False),
    ],
)
def test_a_token_works_in_its_time_alone(engine: Engine, starts: float | None, ends: float | None, works: bool) -> None:
    engine.add_user("bob")
    now = engine.clock.now
    load(
        engine,
        row(
            1,
            "bob",
            starts_at=now + starts if starts is not None else None,
            expires_at=now + ends if ends is not None else None,
        ),
    )
    assert isinstance(engine.log_in("bob", engine.pin("BOX-1")), Accept) is works


def test_when_it_has_run_out_nobody_pairs_a_phone_in_its_place(engine: Engine) -> None:
    """Who knows the password must not; an administrator gives him another token."""
    engine.add_user("bob")
    load(engine, row(1, "bob", expires_at=engine.clock.now - 1))
    outcome = engine.log_in("bob", client=CONSOLE)
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.NO_TOKEN
    engine.gate.administer(RevokeUserTokens(actor=ACTOR, user="bob", reason=RevokeReason.LOST))
    assert isinstance(engine.log_in("bob", client=CONSOLE), Challenge)
    assert SSH


# --- recovery codes from elsewhere

CODES = ("12345678", "87654321", "00000001")


def with_codes(number: int, user: str, codes: tuple[str, ...] = CODES) -> NewToken:
    return replace(row(number, user), recovery_codes=codes)


def test_codes_come_along_as_a_sheet_of_the_owner_and_work_once(engine: Engine) -> None:
    engine.add_user("bob")
    done = load(engine, with_codes(1, "bob"))
    assert done.rows[0].text == "3 recovery codes come along, as BOX-1-codes; of 8 digits each, they are weak"
    sheet = engine.token("BOX-1-codes")
    assert (sheet.kind, sheet.digits, sheet.origin, sheet.label) == (
        "recovery_code",
        8,
        Origin.ADMIN,
        "weak: codes of 8 digits, imported",
    )
    assert not [code for code in CODES if code.encode() in sheet.key]
    for code in CODES:
        assert isinstance(engine.log_in("bob", code), Accept)
        assert not isinstance(engine.log_in("bob", code), Accept)
    assert engine.token("BOX-1").moving_factor == 5
    assert [told.notice for told in engine.notices.told][:2] == ["recovery_issued", "enrolled"]


@pytest.mark.statement("O-045")
def test_a_wrong_code_of_eight_digits_costs_as_many_guesses_as_codes_are_left(engine: Engine) -> None:
    engine.add_user("bob")
    load(engine, with_codes(1, "bob"))
    engine.log_in("bob", "11111111")
    assert sum(engine.see(user="bob").guesses.values()) == 3
    assert isinstance(engine.log_in("bob", CODES[1]), Accept)
    engine.log_in("bob", "22222222")
    assert sum(engine.see(user="bob").guesses.values()) == 3 + 2


def test_a_user_keeps_the_sheet_that_he_has(engine: Engine, serial: str) -> None:
    engine.add_user("bob")
    issued = engine.gate.administer(IssueRecovery(actor=ACTOR, name="alice"))
    done = load(engine, with_codes(1, "alice"), with_codes(2, "bob"), with_codes(3, "bob"), with_codes(4, ""))
    assert [one.text for one in done.rows] == [
        "3 recovery codes not carried over: alice has a sheet of them already",
        "3 recovery codes come along, as BOX-2-codes; of 8 digits each, they are weak",
        "3 recovery codes not carried over: bob has a sheet of them already",
        "3 recovery codes not carried over: the token is nobody's, and such codes are a user's",
    ]
    assert isinstance(engine.log_in("alice", issued.shown_once[0].replace("-", "")), Accept)
    assert not isinstance(engine.log_in("alice", CODES[0]), Accept)
    assert {t.serial for t in engine.store._rows.tokens.values() if t.kind == "recovery_code"} == {
        issued.serials[0],
        "BOX-2-codes",
    }


def test_a_second_import_makes_no_second_sheet(engine: Engine) -> None:
    engine.add_user("bob")
    load(engine, with_codes(1, "bob"))
    assert isinstance(engine.log_in("bob", CODES[0]), Accept)
    assert fates(load(engine, with_codes(1, "bob"))) == [("line 1", Fate.UNCHANGED)]
    assert not isinstance(engine.log_in("bob", CODES[0]), Accept)
    engine.gate.administer(RevokeToken(actor=ACTOR, serial="BOX-1-codes"))
    load(engine, with_codes(1, "bob"))
    assert engine.token("BOX-1-codes").state is TokenState.REVOKED


@pytest.mark.parametrize(
    ("codes", "why"),
    [
        (("1234567",), "recovery codes: each must have 8 digits"),
        (("１２３４５６７８",), "recovery codes: each must have 8 digits"),  # noqa: RUF001 - full-width digits
        (tuple(f"{n:08}" for n in range(33)), "recovery codes: 33; at most 32 of one token"),
    ],
)
def test_codes_of_another_form_refuse_their_row_without_being_shown(
    engine: Engine, codes: tuple[str, ...], why: str
) -> None:
    engine.add_user("bob")
    done = load(engine, with_codes(1, "bob", codes))
    assert (done.rows[0].fate, done.rows[0].text) == (Fate.REFUSED, why)
    assert codes[0] not in repr(done)


def test_a_sheet_takes_no_serial_that_is_there_or_in_the_file(engine: Engine) -> None:
    engine.add_user("bob")
    stands = load(engine, with_codes(1, "bob"), row(2, serial="BOX-1-codes"))
    assert stands.rows[1].text == "serial BOX-1-codes stands twice in the file, first at line 1"
    before = load(engine, row(2, serial="BOX-1-codes"), with_codes(1, "bob"))
    assert before.rows[1].text == "serial BOX-1-codes, which its recovery codes would get, stands in the file as well"
    load(engine, row(2, serial="BOX-1-codes"))
    there = load(engine, with_codes(1, "bob"))
    assert there.rows[0].text == "serial BOX-1-codes, which its recovery codes would get, is here already"


def test_a_token_that_was_disabled_there_is_disabled_here(engine: Engine) -> None:
    engine.add_user("bob")
    load(engine, row(1, "bob", state=TokenState.DISABLED))
    assert not isinstance(engine.log_in("bob", engine.pin("BOX-1")), Accept)
