"""A user's care for his own registrations through the helper, and redeeming a ticket."""

import pytest

from pam_helper.rights import PROFILE_REQUESTS
from pam_helper.steps import End, Prompt, Verdict
from tests.pam_helper.talking import PASSWORD, Heard, Room
from tests.validation.engine import ACTOR
from validation.errors import StoreUnavailable
from validation.messages import DEFAULTS, MessageKey
from validation.model import Origin, Pairing, RevokeReason, Token, TokenState
from validation.policy import registrations
from validation.requests import EnrollToken, IssueRecovery, IssueTicket, SetPairing, SetText, SetTokenUse
from validation.settings import Scope
from validation.tokens.uri import base32, grouped

ASK = "PIN from your authenticator app: "
REFUSED = DEFAULTS["en"][MessageKey.REFUSED]


def hardware(room: Room, user: str = "alice") -> str:
    done = room.engine.gate.administer(EnrollToken(actor=ACTOR, user=user, origin=Origin.ADMIN))
    return done.serials[0]


def tokens_of(room: Room, user: str = "alice") -> dict[str, Token]:
    return {token.serial: token for token in registrations(room.engine.see(user=user))}


def ticket_for(room: Room, user: str = "alice") -> str:
    (text,) = room.engine.gate.administer(IssueTicket(actor=ACTOR, name=user)).shown_once
    return text


def state(room: Room, serial: str) -> TokenState:
    return room.engine.token(serial).state


# --- show -------------------------------------------------------------------------------------------------------


def test_the_list_names_what_one_has_and_what_comes_next_and_asks_nothing(room: Room, serial: str) -> None:
    brought = hardware(room)
    heard = room.care("profile-show")
    assert heard.verdict is Verdict.SUCCESS
    assert heard.shown[0] == "alice, 2 registrations"
    assert [serial in heard.shown[1], "yours" in heard.shown[1]] == [True, True]
    assert [brought in heard.shown[2], "from your administrator" in heard.shown[2]] == [True, True]
    assert "last used never" in heard.shown[1]
    assert heard.shown[-1] == "Next login: password, then PIN."


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ({}, "password, then an app is paired"),
        ({"second_factor": "skip"}, "password, no PIN"),
        ({"enrolment": "hardware-only"}, "refused"),
    ],
)
def test_the_list_tells_what_the_next_login_does(room: Room, alice: str, policies: dict[str, str], said: str) -> None:
    for key, value in policies.items():
        room.engine.set_policy(key, value)
    assert room.care("profile-show").shown == ["alice, 0 registrations", f"Next login: {said}."]


def test_who_is_not_registered_is_told_whom_to_ask(room: Room, alice: str) -> None:
    for request in PROFILE_REQUESTS:
        heard = room.care(request, user="carol")
        assert heard.errors == ["carol is not registered here; ask your administrator"]
        assert heard.verdict is Verdict.DENIED


@pytest.mark.statement("P-013")
def test_the_list_shows_no_key(room: Room, serial: str) -> None:
    key = room.engine.token(serial).key
    text = room.care("profile-show").text
    assert grouped(key) not in text
    assert base32(key) not in text


# --- add and reset ----------------------------------------------------------------------------------------------


def test_another_app_is_added_with_a_pin_of_a_present_one(room: Room, serial: str) -> None:
    heard = room.care("profile-add", room.engine.pin(serial), room.pin_from_screen())
    assert heard.asked == [ASK, "First PIN from the app: "]
    assert heard.verdict is Verdict.SUCCESS
    assert sorted(token.key for token in tokens_of(room).values()) == sorted([room.engine.token(serial).key, heard.key])
    assert room.passwords.checked == []


def test_the_first_of_all_is_added_with_the_password(room: Room, alice: str) -> None:
    heard = room.care("profile-add", PASSWORD, "s", room.pin_from_screen())
    assert heard.prompts[0] == Prompt("Password: ", hidden=True)
    assert heard.verdict is Verdict.SUCCESS
    assert len(tokens_of(room)) == 1


def test_without_the_password_there_is_no_first_one(room: Room, alice: str) -> None:
    heard = room.care("profile-add", "wrong", "s")
    assert (heard.asked, heard.errors, heard.verdict) == (["Password: "], [REFUSED], Verdict.DENIED)
    assert tokens_of(room) == {}


@pytest.mark.parametrize("hinder", ["token out of use", "pairing closed", "hardware-only"])
def test_the_password_alone_adds_nothing_where_a_login_would_pair_nothing(room: Room, serial: str, hinder: str) -> None:
    if hinder == "token out of use":
        room.engine.gate.administer(SetTokenUse(actor=ACTOR, serial=serial, enabled=False))
    else:
        room.engine.revoke(serial)
    if hinder == "pairing closed":
        room.engine.gate.administer(SetPairing(actor=ACTOR, name="alice", open=False))
    if hinder == "hardware-only":
        room.engine.set_policy("enrolment", "hardware-only")
    heard = room.care("profile-add", PASSWORD, "s")
    assert heard.verdict is Verdict.DENIED
    assert heard.asked == ["Password: "]
    assert tokens_of(room) == {}


@pytest.mark.parametrize("request_", ["profile-add", "profile-reset", "profile-revoke", "profile-key"])
def test_without_a_fresh_pin_nothing_is_shown_and_nothing_changes(room: Room, serial: str, request_: str) -> None:
    """Neither with a wrong one nor with one that was used, whatever policy would let pass at a login."""
    room.engine.set_policy("show_key", "on")
    used = room.engine.pin(serial)
    assert room.login(used).verdict is Verdict.SUCCESS
    room.engine.set_policy("second_factor", "skip")
    for answer in (used, room.wrong(serial), "", PASSWORD):
        heard = room.care(request_, answer)
        assert heard.asked[0] == ASK
        assert (heard.verdict, heard.errors, heard.shown) == (Verdict.DENIED, [REFUSED], [REFUSED])
        room.engine.clock.now += 3600
    assert list(tokens_of(room)) == [serial]


def test_an_app_is_made_anew_and_the_old_key_goes_with_the_first_pin_of_the_new(room: Room, serial: str) -> None:
    heard = room.care("profile-reset", room.engine.pin(serial), room.pin_from_screen())
    assert heard.verdict is Verdict.SUCCESS
    assert state(room, serial) is TokenState.REVOKED
    assert [token.key for token in tokens_of(room).values()] == [heard.key]


def test_with_two_of_ones_own_one_must_be_named(room: Room, serial: str) -> None:
    second = room.engine.enroll("alice")
    for request in ("profile-reset", "profile-revoke", "profile-key"):
        heard = room.care(request)
        assert heard.errors == [f"name one of your registrations: {serial}, {second}"]
        assert heard.verdict is Verdict.DENIED
    heard = room.care("profile-revoke", room.engine.pin(serial), serial=second)
    assert heard.verdict is Verdict.SUCCESS
    assert list(tokens_of(room)) == [serial]


def test_a_hardware_token_does_not_stand_in_the_way_of_the_only_one_of_ones_own(room: Room, serial: str) -> None:
    brought = hardware(room)
    heard = room.care("profile-revoke", room.engine.pin(brought))
    assert heard.verdict is Verdict.SUCCESS
    assert list(tokens_of(room)) == [brought]


def test_who_has_none_of_his_own_is_told_so(room: Room, alice: str) -> None:
    hardware(room)
    assert room.care("profile-revoke").errors == ["name one of your registrations: you have none of your own"]


# --- revoke -----------------------------------------------------------------------------------------------------


def test_the_last_one_is_revoked_with_a_pin_of_its_own_and_what_comes_next_is_said(room: Room, serial: str) -> None:
    heard = room.care("profile-revoke", room.engine.pin(serial), reason="lost")
    assert heard.asked == [ASK]
    assert heard.shown == [
        f"Revoked: {serial}.",
        "alice has no registration left: the next login pairs an app, or hands out a ticket for that.",
    ]
    row = next(row for row in room.engine.trail if row.event == "token-revoke")
    assert (row.actor, row.user, row.detail["why"]) == ("alice", "alice", "lost")
    assert state(room, serial) is TokenState.REVOKED


@pytest.mark.parametrize(
    ("reason", "pairing"), [("", Pairing.REOPENED), ("lost", Pairing.REOPENED), ("compromise", Pairing.CLOSED)]
)
def test_pairing_opens_again_unless_somebody_may_have_the_key(
    room: Room, serial: str, reason: str, pairing: Pairing
) -> None:
    assert room.care("profile-revoke", room.engine.pin(serial), reason=reason).verdict is Verdict.SUCCESS
    user = room.engine.see(user="alice").user
    assert user is not None
    assert user.pairing is pairing


def test_what_the_administrator_brought_is_not_the_users_to_revoke(room: Room, serial: str) -> None:
    brought = hardware(room)
    heard = room.care("profile-revoke", serial=brought)
    assert heard.errors == [DEFAULTS["en"][MessageKey.ADMIN_TOKEN]]
    assert (heard.prompts, heard.verdict) == ([], Verdict.DENIED)
    text = "Ask at the front desk."
    command = SetText(actor=ACTOR, scope=Scope(), key="admin-token", language="", text=text)
    room.engine.gate.administer(command)
    assert room.care("profile-revoke", serial=brought).errors == [text]
    assert state(room, brought) is TokenState.ACTIVE


@pytest.mark.statement("P-019")
@pytest.mark.parametrize("request_", ["profile-revoke", "profile-key", "profile-reset"])
def test_what_belongs_to_somebody_else_is_what_nobody_has(room: Room, serial: str, request_: str) -> None:
    room.engine.set_policy("show_key", "on")
    room.engine.add_user("bob")
    bobs, bobs_hardware = room.engine.enroll("bob"), hardware(room, "bob")
    told: list[tuple[list[str], str]] = []
    for named in (bobs, bobs_hardware, "NO-SUCH"):
        heard = room.care(request_, room.engine.pin(serial), serial=named)
        assert heard.verdict is Verdict.DENIED
        assert "otpauth" not in heard.text
        told.append((heard.asked, heard.text.replace(named, "?")))
        room.engine.clock.now += 30
    assert told[0] == told[1] == told[2]
    assert told[0][0] == ([] if request_ == "profile-revoke" else [ASK]), "no PIN is spent on a slip"
    assert {state(room, one) for one in (bobs, bobs_hardware, serial)} == {TokenState.ACTIVE}


@pytest.mark.statement("P-019", "W-020")
def test_nothing_is_revoked_without_a_pin_not_even_what_is_out_of_use(room: Room, serial: str) -> None:
    """Else whoever has a session and the password disables a token by wrong PINs, revokes it, and pairs a phone."""
    room.engine.gate.administer(SetTokenUse(actor=ACTOR, serial=serial, enabled=False))
    sheet = room.engine.gate.administer(IssueRecovery(actor=ACTOR, name="alice")).serials[0]
    for named in (serial, sheet):
        heard = room.care("profile-revoke", "000000", serial=named)
        assert heard.verdict is Verdict.DENIED
        assert heard.prompts == []
    assert (state(room, serial), state(room, sheet)) == (TokenState.DISABLED, TokenState.ACTIVE)
    assert room.care("profile-add", PASSWORD, "s").verdict is Verdict.DENIED


def test_a_reason_that_is_none_is_refused_and_nothing_asked(room: Room, serial: str) -> None:
    heard = room.care("profile-revoke", reason="because")
    assert heard.errors == [f"reason: choose one of {', '.join(RevokeReason)}"]
    assert (heard.verdict, state(room, serial)) == (Verdict.DENIED, TokenState.ACTIVE)


# --- the key once more ------------------------------------------------------------------------------------------


def test_where_policy_allows_it_the_key_is_shown_once_more_with_a_fresh_pin(room: Room, serial: str) -> None:
    room.engine.set_policy("show_key", "on")
    heard = room.care("profile-key", room.engine.pin(serial))
    assert heard.asked == [ASK]
    assert heard.key == room.engine.token(serial).key
    assert [line for line in heard.shown if set(line) & set("▀▄█")]
    assert heard.verdict is Verdict.SUCCESS
    assert [told.notice for told in room.engine.notices.told][-1] == "key_shown"


def test_where_it_does_not_no_key_is_shown(room: Room, serial: str) -> None:
    heard = room.care("profile-key", room.engine.pin(serial))
    assert heard.verdict is Verdict.DENIED
    assert heard.errors == [
        "keys are not shown again here; register another authenticator instead: twofold profile add"
    ]


def test_the_key_of_a_hardware_token_is_never_shown(room: Room, serial: str) -> None:
    room.engine.set_policy("show_key", "on")
    heard = room.care("profile-key", room.engine.pin(serial), serial=hardware(room))
    assert heard.errors == [DEFAULTS["en"][MessageKey.ADMIN_TOKEN]]
    assert heard.shown == heard.errors


# --- tickets ----------------------------------------------------------------------------------------------------


def test_a_ticket_and_the_password_pair_an_app_once(room: Room, alice: str) -> None:
    room.engine.clock.now += 30 * 86_400  # pairing is long closed
    text = ticket_for(room)
    heard = room.care("ticket-redeem", text, PASSWORD, room.pin_from_screen(), user="bob")
    assert heard.prompts[:2] == [Prompt("Ticket: ", hidden=False), Prompt("Password: ", hidden=True)]
    assert heard.verdict is Verdict.SUCCESS
    (token,) = tokens_of(room).values()
    assert token.key == heard.key
    room.engine.revoke(token.serial)
    again = room.care("ticket-redeem", text, PASSWORD, "000000")
    assert (again.asked, again.verdict) == (["Ticket: ", "Password: "], Verdict.DENIED)


@pytest.mark.parametrize(
    ("ticket", "password", "later"),
    [
        (None, "wrong", 0),
        (None, "", 0),
        (None, "\udcff", 0),
        (None, PASSWORD, 601),
        ("AAAA-BBBB", PASSWORD, 0),
        ("", PASSWORD, 0),
        ("\udcff", PASSWORD, 0),
        ("alice", PASSWORD, 0),
    ],
)
def test_without_ticket_password_or_time_there_is_the_same_refusal_and_no_key(
    room: Room, alice: str, ticket: str | None, password: str, later: float
) -> None:
    text = ticket_for(room) if ticket is None else ticket
    room.engine.clock.now += later
    heard = room.care("ticket-redeem", text, password)
    assert heard.asked == ["Ticket: ", "Password: "]
    assert (heard.shown, heard.verdict) == ([REFUSED], Verdict.DENIED)
    assert room.engine.faults.found == []
    assert tokens_of(room) == {}


def test_a_ticket_that_ran_out_while_the_app_was_set_up_pairs_nothing(room: Room, alice: str) -> None:
    def late(heard: Heard) -> str:
        room.engine.clock.now += 599.0 if len(heard.prompts) < 3 else 601.0
        return room.pin_from_screen()(heard)

    heard = room.care("ticket-redeem", ticket_for(room), PASSWORD, late)
    assert heard.verdict is Verdict.DENIED
    assert tokens_of(room) == {}


def test_wrong_passwords_beside_a_ticket_count_for_its_user(room: Room, alice: str) -> None:
    text = ticket_for(room)
    for _ in range(5):
        room.care("ticket-redeem", text, "wrong")
    assert room.care("ticket-redeem", text, PASSWORD).verdict is Verdict.DENIED, "a wait has begun"


# --- trouble ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", sorted(PROFILE_REQUESTS))
def test_without_the_store_nothing_is_done_and_it_is_said(room: Room, serial: str, request_: str) -> None:
    room.engine.store.trouble = StoreUnavailable("gone")
    heard = room.care(request_)
    assert heard.errors == ["The store cannot be reached now. Nothing was changed."]
    assert heard.verdict is Verdict.UNAVAILABLE


def test_a_store_that_is_lost_in_the_middle_is_said_too(room: Room, serial: str) -> None:
    room.engine.set_policy("show_key", "on")

    def answer(heard: Heard) -> str:
        pin = room.engine.pin(serial)
        room.engine.store.trouble = StoreUnavailable("gone")
        return pin

    heard = room.care("profile-key", answer)
    assert heard.errors == ["The store cannot be reached now. Nothing was changed."]
    assert heard.end == End(Verdict.UNAVAILABLE)


def test_where_the_password_cannot_be_checked_nothing_is_paired(room: Room, alice: str) -> None:
    room.passwords.down = True
    for request, answers in (("profile-add", [PASSWORD]), ("ticket-redeem", [ticket_for(room), PASSWORD])):
        heard = room.care(request, *answers)
        assert heard.verdict in (Verdict.DENIED, Verdict.UNAVAILABLE)
        assert tokens_of(room) == {}
