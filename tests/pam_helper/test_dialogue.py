"""A login as a conversation: what is asked and shown on every way to a verdict, and what nobody can tell apart."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from pam_helper.dialogue import PACE, login, may_touch
from pam_helper.hello import Hello
from pam_helper.rights import Asked
from pam_helper.steps import LINE_MOST, End, Prompt, Show, Verdict, lines
from tests.pam_helper.talking import PASSWORD, Heard, Room
from tests.validation.engine import ACTOR
from validation.errors import Damaged, StoreUnavailable
from validation.messages import DEFAULTS, MessageKey
from validation.model import Factor, Origin, TokenState
from validation.policy import registrations
from validation.requests import (
    AddUser,
    ChangeUserState,
    Command,
    EnrollToken,
    FirstFactor,
    GiveBypass,
    IssueRecovery,
    SetText,
    SetTokenUse,
    UserAct,
)
from validation.settings import DEFAULTS as SETTINGS
from validation.settings import Book, Scope

ASK = "PIN from your authenticator app: "
BY_KEY = "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n"
SOURCE = "192.0.2.77"


def again(left: str) -> str:
    return f"That PIN was not accepted. Wait for a new one. {left}: "


THREE_TIMES = [ASK, again("2 tries left"), again("1 try left")]


def administer(room: Room, command: Command) -> None:
    room.engine.gate.administer(command)


def set_text(room: Room, key: MessageKey, text: str, **scope: Any) -> None:
    administer(room, SetText(actor=ACTOR, scope=Scope(**scope), key=str(key), language="", text=text))


def reasons(room: Room) -> list[str]:
    """Of the logins in the trail."""
    return [str(row.reason) for row in room.engine.trail if row.event == "login"]


# --- the password was proved by us ------------------------------------------------------------------------------


def test_a_right_password_and_a_right_pin_let_in(room: Room, serial: str) -> None:
    heard = room.login(room.engine.pin(serial))
    assert heard.steps == [Prompt(ASK, hidden=True), End(Verdict.SUCCESS)]
    assert room.passwords.checked == [PASSWORD], "exactly one check"
    assert reasons(room) == ["password-right", "passcode-right"]


@pytest.mark.parametrize("shape", ["{} {}", "{}-{}", " {}{} ", "{}\u00a0{}"])
def test_blanks_and_dashes_of_a_pin_do_not_count(room: Room, serial: str, shape: str) -> None:
    pin = room.engine.pin(serial)
    assert room.login(shape.format(pin[:3], pin[3:])).verdict is Verdict.SUCCESS


def test_a_wrong_pin_is_asked_for_again_and_the_last_may_be_right(room: Room, serial: str) -> None:
    heard = room.login(room.wrong(serial), room.wrong(serial), lambda _: room.engine.pin(serial))
    assert heard.asked == THREE_TIMES
    assert heard.verdict is Verdict.SUCCESS


def test_after_the_last_wrong_pin_it_is_refused_and_the_program_is_told_to_wait(room: Room, serial: str) -> None:
    heard = room.login(room.wrong(serial))
    assert heard.asked == THREE_TIMES
    assert heard.end == End(Verdict.DENIED, delay=1.0)
    assert not heard.shown, "the program says that it was refused"


@pytest.mark.parametrize("empty", ["", " ", "\x00", "--"])
@pytest.mark.statement("P-005")
def test_an_empty_answer_is_a_wrong_pin(room: Room, serial: str, empty: str) -> None:
    assert room.login(empty).end.verdict is Verdict.DENIED
    assert room.engine.token(serial).moving_factor == 0


def test_a_pin_works_once(room: Room, serial: str) -> None:
    used = room.engine.pin(serial)
    assert room.login(used).verdict is Verdict.SUCCESS
    assert room.login(used).asked == THREE_TIMES
    assert room.login(used).verdict is Verdict.DENIED
    room.engine.clock.now += 30
    assert room.login(room.engine.pin(serial)).verdict is Verdict.SUCCESS


@pytest.mark.statement("P-030")
def test_tries_are_counted_over_conversations_by_us(room: Room, serial: str) -> None:
    """sshd may begin as many as it likes: after the fifth failure nothing is compared, and it looks the same."""
    for _ in range(2):
        assert room.login(room.wrong(serial)).verdict is Verdict.DENIED
    heard = room.login(lambda _: room.engine.pin(serial))
    assert (heard.asked, heard.verdict) == (THREE_TIMES, Verdict.DENIED)
    assert room.engine.token(serial).moving_factor == 0
    room.engine.clock.now += 3600
    assert room.login(room.engine.pin(serial)).verdict is Verdict.SUCCESS


def test_a_recovery_code_is_accepted_once(room: Room, serial: str) -> None:
    code, *_ = room.engine.gate.administer(IssueRecovery(actor=ACTOR, name="alice")).shown_once
    assert room.login(code).verdict is Verdict.SUCCESS
    assert room.login(code).verdict is Verdict.DENIED


@pytest.mark.parametrize("octets", [b"\xff\xfe", b"12345\xff", "\uff11".encode() * 6, b"\x1b[2J", b"9" * 60_000])
def test_whatever_octets_are_typed_as_a_pin_they_are_a_wrong_one(room: Room, serial: str, octets: bytes) -> None:
    typed = octets.decode("utf-8", "surrogateescape")
    for authtok in (PASSWORD, None):
        heard = room.login(typed, authtok=authtok)
        assert (heard.asked, heard.verdict) == (THREE_TIMES, Verdict.DENIED)
        room.engine.clock.now += 3600
    assert room.engine.faults.found == []


# --- onboarding -------------------------------------------------------------------------------------------------


@pytest.mark.statement("P-032")
def test_a_first_login_pairs_an_app_and_the_next_asks_for_its_pin(room: Room, alice: str) -> None:
    heard = room.login("s", room.pin_from_screen())
    welcome, first_pin = heard.prompts
    assert welcome == Prompt(DEFAULTS["en"][MessageKey.WELCOME], hidden=False)
    assert first_pin == Prompt("First PIN from the app: ", hidden=False)
    drawn = [line for line in heard.shown if set(line) & set("▀▄█")]
    assert len(drawn) > 15
    assert max(map(len, drawn)) <= 80
    assert [line for line in heard.shown if line.startswith("otpauth://totp/Twofold:alice?secret=")]
    assert heard.shown[-1] == DEFAULTS["en"][MessageKey.REGISTERED]
    assert heard.verdict is Verdict.SUCCESS
    (token,) = registrations(room.engine.see(user=alice))
    assert (token.key, token.origin) == (heard.key, Origin.SELF)
    room.engine.clock.now += 30
    assert room.login(room.engine.pin(token.serial)).steps == [Prompt(ASK), End(Verdict.SUCCESS)]


def test_a_heading_stands_before_the_picture_and_each_line_is_a_message(room: Room, alice: str) -> None:
    """ssh puts (user@host) before the first line of what it shows."""
    steps = room.login("s", room.pin_from_screen()).steps
    first = next(step for step in steps if isinstance(step, Show))
    assert first.text == "Scan this with the app:"
    assert not [step for step in steps if isinstance(step, Show) and "\n" in step.text]


def test_instructions_are_shown_to_whoever_asks_for_them(room: Room, alice: str) -> None:
    heard = room.login("n", "s", room.pin_from_screen())
    assert heard.asked[1] == DEFAULTS["en"][MessageKey.APPS]
    assert heard.verdict is Verdict.SUCCESS


def test_in_a_narrow_window_there_is_no_picture_but_the_key_as_always(room: Room, alice: str) -> None:
    room.width = 40
    heard = room.login("s", room.pin_from_screen(), tty="/dev/tty1")
    assert room.widths_of == ["/dev/tty1"] * len(room.widths_of)
    assert "(This window is too narrow for the QR code.)" in heard.shown
    assert not set(heard.text) & set("▀▄█")
    assert heard.verdict is Verdict.SUCCESS, "the key was there to be typed"


def test_a_picture_inside_a_line_of_the_administrators_is_drawn_too(room: Room, alice: str) -> None:
    set_text(room, MessageKey.KEY_ON_SCREEN, "Scan {qr} or type\n{key}\n{uri}")
    heard = room.login("s", room.pin_from_screen())
    assert "{qr}" not in heard.text
    assert [heard.shown[0], heard.shown.count(" or type")] == ["Scan ", 1]
    assert set(heard.text) >= set("▀▄█")


def test_a_wrong_first_pin_may_be_corrected_and_three_leave_nothing(room: Room, alice: str) -> None:
    gave_up = room.login("s", "000000", "000000", "000000")
    assert gave_up.verdict is Verdict.DENIED
    assert registrations(room.engine.see(user=alice)) == ()
    heard = room.login("s", "000000", room.pin_from_screen())
    assert heard.asked[2].startswith("That PIN is not right")
    assert heard.verdict is Verdict.SUCCESS


def test_who_leaves_in_the_middle_leaves_nothing(room: Room, alice: str) -> None:
    talk = login(Asked(Hello("alice", "sshd", authtok=PASSWORD), "alice", pin_only=False), room.desk)
    assert isinstance(next(talk), Prompt)
    assert isinstance(talk.send("s"), Show)
    talk.close()
    assert registrations(room.engine.see(user=alice)) == ()


NOTICES = {
    "hardware-only": MessageKey.HARDWARE_ONLY,
    "off": MessageKey.LOST_TOKEN,
}


@pytest.mark.parametrize("enrolment", NOTICES)
def test_who_may_not_pair_reads_why_and_is_held_until_enter(room: Room, alice: str, enrolment: str) -> None:
    """ssh shows a text only together with a question that follows."""
    room.engine.set_policy("enrolment", enrolment)
    heard = room.login("")
    assert heard.steps == [
        Show(DEFAULTS["en"][NOTICES[enrolment]], error=True),
        Prompt("Press Enter to close: ", hidden=False),
        End(Verdict.DENIED, delay=1.0),
    ]


def test_the_administrators_words_are_those_of_the_users_group(room: Room) -> None:
    administer(room, AddUser(actor=ACTOR, name="alice", groups=("staff",), password_hash="hash"))
    room.engine.set_policy("enrolment", "hardware-only", Scope(group="staff"))
    set_text(room, MessageKey.HARDWARE_ONLY, "Front desk,\nbuilding 3", group="staff")
    assert room.login("").errors == ["Front desk,", "building 3"]


def test_who_was_never_paired_in_time_is_told_and_offered_no_key(room: Room, alice: str) -> None:
    room.engine.clock.now += 15 * 86_400
    heard = room.login("")
    assert heard.errors == [DEFAULTS["en"][MessageKey.LOST_TOKEN]]
    assert reasons(room)[-1] == "pairing-closed"


# --- the stack checks the password: PINs alone ------------------------------------------------------------------


def test_without_a_password_the_pin_is_asked_for_and_lets_in(room: Room, serial: str) -> None:
    heard = room.login(room.engine.pin(serial), authtok=None)
    assert heard.steps == [Prompt(ASK), End(Verdict.SUCCESS)]
    assert room.passwords.checked == []


def test_where_a_pin_is_all_that_counts_it_is_asked_for_before_anybody_is_looked_up(room: Room, serial: str) -> None:
    """And decided about in one transaction; who leaves at the question has written nothing."""
    asked = Asked(Hello("alice", "sudo"), "alice", pin_only=False)
    talk = login(asked, room.desk)
    assert next(talk) == Prompt(ASK)
    talk.close()
    assert reasons(room) == []
    assert room.login(room.engine.pin(serial), authtok=None).verdict is Verdict.SUCCESS
    assert reasons(room) == ["passcode-right"]


@pytest.mark.parametrize(
    ("may", "asked"),
    [
        (True, Asked(Hello("a", "login", authtok=PASSWORD), "a", pin_only=False)),
        (True, Asked(Hello("a", "login", combined=True), "a", pin_only=False)),
        (True, Asked(Hello("a", "swaylock"), "a", own=True)),
        (True, Asked(Hello("a", "sshd", ssh_auth_info=BY_KEY), "a", pin_only=False)),
        (False, Asked(Hello("a", "sudo"), "a", pin_only=False)),
        (False, Asked(Hello("a", "nginx"), "a", actor="www-data")),
    ],
)
def test_where_he_sits_is_looked_at_only_where_a_key_may_be_asked_for(may: bool, asked: Asked) -> None:
    assert may_touch(asked) is may


def test_policy_and_lock_are_looked_at_when_that_pin_is_decided_about(room: Room, serial: str) -> None:
    pin = room.engine.pin(serial)

    def answer(heard: Heard) -> str:
        locked(room)
        return pin

    heard = room.login(answer, authtok=None)
    assert (heard.asked, heard.verdict) == (THREE_TIMES, Verdict.DENIED)
    assert room.engine.token(serial).moving_factor == 0


def test_a_pin_alone_that_is_wrong_counts_once_each_time(room: Room, serial: str) -> None:
    room.login(room.wrong(serial), authtok=None)
    assert room.engine.throttle("alice", Factor.PASSCODE).failures == 3
    assert reasons(room) == ["passcode-wrong"] * 3


def test_a_store_that_goes_away_behind_the_question_lets_nobody_in(room: Room, serial: str) -> None:
    pin = room.engine.pin(serial)

    def answer(heard: Heard) -> str:
        room.engine.store.commit_troubles = [StoreUnavailable("disk full")]
        return pin

    heard = room.login(answer, authtok=None)
    assert heard.steps == [Prompt(ASK), End(Verdict.UNAVAILABLE)]
    assert room.login(pin, authtok=None).verdict is Verdict.SUCCESS, "it was not used up"


@pytest.mark.statement("P-011")
def test_what_is_read_for_a_refusal_is_read_before_its_time_is_over(room: Room, serial: str) -> None:
    """Else its question would come later than that after a wrong PIN."""
    read_when_held: list[int] = []
    policies = room.engine.gate.policies

    def reading() -> Book:
        read_when_held.append(len(room.held) - room.waited)
        return policies()

    room.engine.gate.policies = reading  # type: ignore[method-assign]
    room.login("000000", authtok=None, user="nobody")
    assert read_when_held == [0, 1], "the first question, and all that follow"


@pytest.mark.statement("P-006")
def test_without_a_proved_password_nobody_is_onboarded(room: Room, alice: str) -> None:
    heard = room.login("s", authtok=None)
    assert (heard.asked, heard.verdict) == (THREE_TIMES, Verdict.DENIED)
    assert not heard.shown
    assert registrations(room.engine.see(user=alice)) == ()


WAYS_PAST: dict[str, Callable[[Room], None]] = {
    "skip": lambda room: room.engine.set_policy("second_factor", "skip"),
    "grace": lambda room: room.engine.set_policy("grace", "7d"),
    "bypass": lambda room: administer(room, GiveBypass(actor=ACTOR, name="alice", hours=1)),
}
PIN_ONLY: dict[str, dict[str, Any]] = {
    "nothing heard": {"authtok": None},
    "a locker": {"authtok": PASSWORD, "pin_only": True, "service": "swaylock"},
    "a relay": {"authtok": PASSWORD, "pin_only": True, "actor": "www-data", "service": "nginx"},
    "a relay without a password": {"authtok": None, "pin_only": True, "actor": "www-data", "service": "nginx"},
    "a relay's one field": {"authtok": PASSWORD, "pin_only": True, "actor": "www-data", "combined": True},
}


@pytest.mark.statement("P-002", "P-019")
@pytest.mark.parametrize("way", WAYS_PAST)
@pytest.mark.parametrize("door", PIN_ONLY)
def test_no_way_past_the_pin_is_open_where_pins_alone_count(room: Room, alice: str, way: str, door: str) -> None:
    WAYS_PAST[way](room)
    heard = room.login("123456", **PIN_ONLY[door])
    assert heard.verdict is Verdict.DENIED
    assert not [text for text in heard.shown if "otpauth" in text]
    assert registrations(room.engine.see(user=alice)) == ()


@pytest.mark.statement("P-002", "P-031")
@pytest.mark.parametrize("door", PIN_ONLY)
def test_a_reuse_window_is_none_where_pins_alone_count(room: Room, serial: str, door: str) -> None:
    """Its PIN is used there, whoever opened it and where."""
    room.engine.set_policy("reuse_window", "1h")
    service = str(PIN_ONLY[door].get("service", "sshd"))
    pin = room.engine.pin(serial)
    assert room.login(pin, source=SOURCE, service=service).verdict is Verdict.SUCCESS
    assert room.login(source=SOURCE, service=service).verdict is Verdict.IGNORE, "there is a window"
    heard = room.login(pin, source=SOURCE, **PIN_ONLY[door])
    assert heard.verdict is Verdict.DENIED


def test_the_password_that_a_relay_hands_on_is_checked_and_that_of_a_locker_is_not(room: Room, serial: str) -> None:
    pin = room.engine.pin(serial)
    refused = room.login(pin, authtok="wrong", pin_only=True, actor="www-data", service="nginx")
    assert (refused.asked, refused.verdict) == (THREE_TIMES, Verdict.DENIED)
    assert room.passwords.checked == ["wrong"]
    assert room.login(pin, authtok="wrong", pin_only=True, service="swaylock").verdict is Verdict.SUCCESS
    assert room.passwords.checked == ["wrong"]


def test_who_asked_stands_in_the_trail(room: Room, serial: str) -> None:
    room.login(room.engine.pin(serial), pin_only=True, actor="www-data", service="nginx")
    row = room.engine.trail[-1]
    assert (row.actor, row.client, row.user) == ("www-data", "nginx@host", "alice")


# --- nobody can be told from anybody ----------------------------------------------------------------------------


def disabled(room: Room) -> None:
    administer(room, ChangeUserState(actor=ACTOR, name="alice", act=UserAct.DISABLE))


def locked(room: Room) -> None:
    administer(room, ChangeUserState(actor=ACTOR, name="alice", act=UserAct.LOCK))


def waiting(room: Room) -> None:
    for _ in range(6):
        room.engine.log_in("alice", password=FirstFactor.WRONG)


def token_disabled(room: Room) -> None:
    (token,) = registrations(room.engine.see(user="alice"))
    administer(room, SetTokenUse(actor=ACTOR, serial=token.serial, enabled=False))


def revoked(room: Room) -> None:
    (token,) = registrations(room.engine.see(user="alice"))
    room.engine.revoke(token.serial)


def damaged(room: Room) -> None:
    room.engine.store.damage["alice"] = Damaged("a row")


def as_is(room: Room) -> None:
    return None


STATES = [as_is, disabled, locked, waiting, token_disabled, revoked, damaged]
OTHERS = ["nobody", "root", "", "-x", "al\udcffice", "a" * 300, "alice "]


def typed_wrong(room: Room, **options: Any) -> Heard:
    """What somebody sees who guesses."""
    room.held, room.waited = [], 0
    heard = room.login("000000", "111111", "222222", "333333", **options)
    assert room.held == [PACE] * 3, "each answer takes its time"
    assert room.waited == 3
    return heard


def usual(room: Room, serial: str, **options: Any) -> Heard:
    """What somebody with a token sees who proved no password and types wrong PINs; none is right by chance."""
    assert {room.engine.pin(serial, n) for n in (-1, 0, 1)}.isdisjoint({"000000", "111111", "222222"})
    return typed_wrong(room, **{"authtok": None, **options})


@pytest.mark.statement("P-011")
@pytest.mark.parametrize("authtok", [None, "wrong password", "", "\udcff"])
@pytest.mark.parametrize("state", STATES)
def test_whatever_stands_against_a_user_the_conversation_is_the_same(
    room: Room, serial: str, state: Callable[[Room], None], authtok: str | None
) -> None:
    expected = usual(room, serial)
    room.engine.clock.now += 7200
    state(room)
    seen = typed_wrong(room, authtok=authtok)
    assert seen.steps == expected.steps


@pytest.mark.statement("P-011", "P-006")
@pytest.mark.parametrize("authtok", [None, PASSWORD, "wrong password"])
@pytest.mark.parametrize("name", OTHERS)
def test_who_is_unknown_is_asked_like_everybody(room: Room, serial: str, name: str, authtok: str | None) -> None:
    assert typed_wrong(room, user=name, authtok=authtok).steps == usual(room, serial).steps


@pytest.mark.statement("P-011")
@pytest.mark.parametrize("authtok", [None, "wrong password"])
def test_who_has_no_token_is_asked_like_everybody(room: Room, serial: str, authtok: str | None) -> None:
    room.engine.add_user("bob")
    assert typed_wrong(room, user="bob", authtok=authtok).steps == usual(room, serial).steps


@pytest.mark.statement("P-011")
@pytest.mark.parametrize("scope", [Scope(), Scope(service="sshd"), Scope(network=ip_network("192.0.2.0/24"))], ids=str)
def test_policies_and_texts_of_a_door_are_everybodys(room: Room, serial: str, scope: Scope) -> None:
    for key, value in {"language": "de", "tries": "5", "reject_delay": "3"}.items():
        room.engine.set_policy(key, value, scope)
    if scope.network is None:
        administer(
            room, SetText(actor=ACTOR, scope=scope, key="ask-pin", language="", text="Zwei Zeilen\nund eine Frage: ")
        )
    known = room.login("000000", "111111", authtok=None, source=SOURCE)
    unknown = room.login("000000", "111111", authtok=None, source=SOURCE, user="nobody")
    wrong = room.login("000000", "111111", authtok="wrong", source=SOURCE)
    assert known.steps == unknown.steps == wrong.steps
    assert len(known.prompts) == 5
    assert "angenommen" in known.asked[1]


@pytest.mark.statement("P-011")
@pytest.mark.parametrize(("key", "value"), [("tries", "1"), ("tries", "7"), ("language", "de")])
def test_a_group_is_not_told_by_what_is_asked(room: Room, serial: str, key: str, value: str) -> None:
    administer(room, AddUser(actor=ACTOR, name="bob", groups=("staff",), password_hash="hash"))
    bobs = room.engine.enroll("bob")
    room.engine.set_policy(key, value, Scope(group="staff"))
    set_text(room, MessageKey.ASK_PIN, "PIN of the staff: ", group="staff")
    assert usual(room, bobs, user="bob").steps == usual(room, serial).steps


def typed_slowly(room: Room, user: str, seconds: float) -> Heard:
    """Wrong PINs where no password is proved, so long after one another."""

    def wrong(heard: Heard) -> str:
        room.engine.clock.now += seconds
        return f"00000{len(heard.prompts)}"

    return room.login(wrong, user=user, authtok=None)


@pytest.mark.statement("P-011")
def test_how_long_questions_stand_does_not_tell_who_exists(room: Room, serial: str) -> None:
    """An open challenge runs out, and nobody's cannot."""
    lifetime = SETTINGS.challenge_lifetime
    expected = typed_slowly(room, "nobody", lifetime + 1)
    assert len(expected.prompts) == 3
    assert typed_slowly(room, "alice", lifetime + 1).steps == expected.steps
    room.engine.set_policy("challenge_lifetime", "10s", Scope(group="staff"))
    administer(room, AddUser(actor=ACTOR, name="bob", groups=("staff",), password_hash="hash"))
    room.engine.enroll("bob")
    assert typed_slowly(room, "bob", 11).steps == expected.steps
    assert room.engine.throttle("bob", Factor.PASSCODE).failures == 3, "the lifetime is not that of his group"


@pytest.mark.statement("P-011")
def test_a_wait_that_begins_between_two_questions_does_not_tell_who_exists(room: Room, serial: str) -> None:
    room.engine.set_policy("tries", "7")
    expected = typed_slowly(room, "nobody", 0.0)
    assert len(expected.prompts) == 7
    assert typed_slowly(room, "alice", 0.0).steps == expected.steps
    assert room.engine.throttle("alice", Factor.PASSCODE).failures == SETTINGS.lock_from


@pytest.mark.statement("P-011")
@pytest.mark.parametrize("state", [as_is, disabled, locked, waiting, token_disabled, revoked])
def test_a_right_pin_beside_a_wrong_password_is_refused_and_not_used_up(
    room: Room, serial: str, state: Callable[[Room], None]
) -> None:
    pin = room.engine.pin(serial)
    state(room)
    heard = room.login(pin, authtok="wrong password")
    assert (heard.asked, heard.verdict) == (THREE_TIMES, Verdict.DENIED)
    if state is as_is:
        assert room.login(pin).verdict is Verdict.SUCCESS


def test_a_wrong_password_counts_once_and_no_pin_after_it_counts(room: Room, serial: str) -> None:
    room.login("000000", "111111", "222222", authtok="wrong password")
    assert room.engine.throttle("alice", Factor.PASSWORD).failures == 1
    assert room.engine.throttle("alice", Factor.PASSCODE).failures == 0
    assert room.engine.token(serial).failures == 0


# --- an ssh key -------------------------------------------------------------------------------------------------


def test_a_proved_ssh_key_and_a_pin_let_in_without_a_password(room: Room, serial: str) -> None:
    heard = room.login(room.engine.pin(serial), authtok=None, ssh_auth_info=BY_KEY)
    assert heard.steps == [Prompt(ASK), End(Verdict.SUCCESS)]
    assert room.passwords.checked == []


def test_with_a_proved_ssh_key_an_app_may_be_paired(room: Room, alice: str) -> None:
    heard = room.login("s", room.pin_from_screen(), authtok=None, ssh_auth_info=BY_KEY)
    assert heard.verdict is Verdict.SUCCESS
    assert len(registrations(room.engine.see(user=alice))) == 1


@pytest.mark.statement("P-023")
@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "publickey",
        "publickey\n",
        "Publickey ssh-ed25519 AAAA",
        " publickey ssh-ed25519 AAAA",
        "password",
        "password publickey ssh-ed25519 AAAA",
        "keyboard-interactive/pam",
        "hostbased ssh-ed25519 AAAA",
        "hostbased x\x0bpublickey ssh-ed25519 AAAA",
        "hostbased x\u2028publickey ssh-ed25519 AAAA",
        "hostbased x\rpublickey ssh-ed25519 AAAA",
    ],
)
def test_only_a_line_of_sshd_that_begins_with_publickey_proves_one(room: Room, alice: str, said: str | None) -> None:
    heard = room.login("s", authtok=None, ssh_auth_info=said)
    assert (heard.asked, heard.verdict) == (THREE_TIMES, Verdict.DENIED)


def test_it_may_stand_in_any_line(room: Room, serial: str) -> None:
    room.engine.set_policy("second_factor", "skip")
    said = f"password\n{BY_KEY}"
    assert room.login(authtok=None, ssh_auth_info=said).verdict is Verdict.SUCCESS


@pytest.mark.statement("P-023")
@pytest.mark.parametrize("other", [{"service": "sudo"}, {"service": "sshd2"}, {"service": ""}, {"pin_only": True}])
def test_nobody_but_roots_sshd_proves_an_ssh_key(room: Room, alice: str, other: dict[str, Any]) -> None:
    heard = room.login("s", **{"authtok": None, "ssh_auth_info": BY_KEY, **other})
    assert (heard.asked, heard.verdict) == (THREE_TIMES, Verdict.DENIED)


# --- IGNORE -----------------------------------------------------------------------------------------------------


@pytest.mark.statement("P-002", "P-026")
@pytest.mark.parametrize("way", WAYS_PAST)
def test_let_in_without_a_pin_the_stack_judges_the_password(room: Room, alice: str, way: str) -> None:
    WAYS_PAST[way](room)
    heard = room.login()
    assert heard.verdict is Verdict.IGNORE
    assert heard.prompts == []
    assert bool(heard.shown) is (way == "grace"), "only a grace has something to say"


@pytest.mark.statement("P-002")
@pytest.mark.parametrize("way", WAYS_PAST)
def test_after_an_ssh_key_there_is_nothing_else_to_judge(room: Room, alice: str, way: str) -> None:
    WAYS_PAST[way](room)
    assert room.login(authtok=None, ssh_auth_info=BY_KEY).verdict is Verdict.SUCCESS


def test_in_a_reuse_window_nothing_is_asked(room: Room, serial: str) -> None:
    room.engine.set_policy("reuse_window", "1h")
    assert room.login(room.engine.pin(serial), source=SOURCE).verdict is Verdict.SUCCESS
    assert room.login(source=SOURCE).steps == [End(Verdict.IGNORE)]
    other: dict[str, Any]
    for other in ({"source": None}, {"source": "192.0.2.78"}, {"source": SOURCE, "service": "sudo"}):
        assert room.login("000000", **other).verdict is Verdict.DENIED


@pytest.mark.statement("P-002")
@pytest.mark.parametrize("way", WAYS_PAST)
@pytest.mark.parametrize("authtok", [None, "wrong password", ""])
def test_with_a_password_that_we_did_not_prove_nothing_is_ignored(
    room: Room, alice: str, way: str, authtok: str | None
) -> None:
    WAYS_PAST[way](room)
    assert room.login("000000", authtok=authtok).verdict is Verdict.DENIED


# --- what does not answer ---------------------------------------------------------------------------------------


@pytest.mark.statement("P-002", "P-003")
@pytest.mark.parametrize("way", [*WAYS_PAST, None])
def test_where_the_password_cannot_be_checked_there_is_no_answer(room: Room, alice: str, way: str | None) -> None:
    if way is not None:
        WAYS_PAST[way](room)
    room.passwords.down = True
    assert room.login().steps == [End(Verdict.UNAVAILABLE)]
    assert room.login("geheim123456", authtok=None, combined=True).verdict is Verdict.UNAVAILABLE


@pytest.mark.statement("P-002", "P-003")
def test_a_store_that_cannot_be_reached_lets_nobody_in(room: Room, serial: str) -> None:
    pin = room.engine.pin(serial)
    room.engine.store.trouble = StoreUnavailable("gone")
    assert room.login(pin, authtok=None).steps == [End(Verdict.UNAVAILABLE)]
    options: dict[str, Any]
    for options in ({"authtok": PASSWORD}, {"authtok": PASSWORD + pin, "combined": True}):
        with pytest.raises(StoreUnavailable):  # the service makes the same of it
            room.login(pin, **options)


@pytest.mark.statement("P-001", "P-002")
def test_a_commit_that_fails_lets_nobody_in_and_leaves_the_pin_unused(room: Room, serial: str) -> None:
    pin = room.engine.pin(serial)

    def answer(heard: Heard) -> str:
        room.engine.store.commit_troubles = [StoreUnavailable("disk full")]
        return pin

    assert room.login(answer).verdict is Verdict.UNAVAILABLE
    assert room.login(pin).verdict is Verdict.SUCCESS


@pytest.mark.statement("P-002")
def test_a_row_that_cannot_be_trusted_lets_nobody_in(room: Room, serial: str) -> None:
    room.engine.set_policy("second_factor", "skip")
    damaged(room)
    assert room.login("000000").verdict is Verdict.DENIED


# --- password and PIN in one field ------------------------------------------------------------------------------


@pytest.mark.statement("P-008")
def test_password_and_pin_in_one_field_let_in_and_the_password_goes_on(room: Room, serial: str) -> None:
    heard = room.login(PASSWORD + room.engine.pin(serial), authtok=None, combined=True)
    assert heard.asked == ["Password, then PIN, in one: "]
    assert heard.prompts[0].hidden
    assert heard.authtoks == [PASSWORD]
    assert heard.verdict is Verdict.SUCCESS


@pytest.mark.statement("P-008")
def test_what_the_stack_has_heard_is_taken_for_the_field(room: Room, serial: str) -> None:
    heard = room.login(authtok=PASSWORD + room.engine.pin(serial), combined=True)
    assert (heard.prompts, heard.authtoks, heard.verdict) == ([], [PASSWORD], Verdict.SUCCESS)


@pytest.mark.statement("P-008", "P-011")
@pytest.mark.parametrize("name", ["alice", "bob", "nobody"])
def test_of_one_field_a_wrong_pin_and_a_wrong_password_are_the_same_refusal(room: Room, serial: str, name: str) -> None:
    room.engine.add_user("bob")
    pin, wrong = room.engine.pin(serial), room.engine.wrong_pin(serial)
    for entry in ("wrong" + pin, "wrong" + wrong, pin, "", "x", "wrong \udcff" + wrong):
        heard = room.login(entry, authtok=None, combined=True, user=name)
        assert heard.steps == [Prompt("Password, then PIN, in one: "), End(Verdict.DENIED, delay=1.0)], entry
    assert room.login(PASSWORD + wrong, authtok=None, combined=True).steps == heard.steps
    room.engine.clock.now += 3600
    if name == "nobody":
        now = room.engine.pin(serial)
        room.login("wrong" + now, authtok=None, combined=True)
        assert room.login(PASSWORD + now, authtok=None, combined=True).verdict is Verdict.SUCCESS, "it was not used up"


@pytest.mark.statement("O-073")
def test_one_field_may_hold_more_than_radius_carries(room: Room, serial: str) -> None:
    """128 octets there; here what PAM carries."""
    room.passwords.right = "é" * 200
    wrong = room.login(room.passwords.right[:-1] + room.engine.pin(serial), authtok=None, combined=True)
    right = room.login(room.passwords.right + room.engine.pin(serial), authtok=None, combined=True)
    assert (wrong.verdict, right.verdict, right.authtoks) == (Verdict.DENIED, Verdict.SUCCESS, [room.passwords.right])


def test_in_one_field_who_has_no_token_is_onboarded(room: Room, alice: str) -> None:
    heard = room.login(PASSWORD, "s", room.pin_from_screen(), authtok=None, combined=True)
    assert (heard.authtoks, heard.verdict) == ([PASSWORD], Verdict.SUCCESS)
    assert len(registrations(room.engine.see(user=alice))) == 1


@pytest.mark.parametrize("password", [PASSWORD, "geheim und lang"])
def test_the_password_alone_in_one_field_is_asked_for_the_pin(room: Room, serial: str, password: str) -> None:
    room.passwords.right = password
    heard = room.login(password, room.engine.pin(serial), authtok=None, combined=True)
    assert heard.asked == ["Password, then PIN, in one: ", ASK]
    assert (heard.authtoks, heard.verdict) == ([password], Verdict.SUCCESS)
    assert room.passwords.checked == [password]


@pytest.mark.statement("P-008")
def test_no_password_goes_on_but_with_an_accept(room: Room, serial: str) -> None:
    heard = room.login(PASSWORD, room.wrong(serial), authtok=None, combined=True)
    assert (heard.authtoks, heard.verdict) == ([], Verdict.DENIED)
    room.engine.clock.now += 3600
    room.engine.set_policy("second_factor", "skip")
    assert room.login(PASSWORD, authtok=None, combined=True).verdict is Verdict.IGNORE


def test_an_ssh_key_does_not_prove_the_password_of_one_field(room: Room, serial: str) -> None:
    entry = "wrong" + room.engine.pin(serial)
    heard = room.login(entry, authtok=None, combined=True, ssh_auth_info=BY_KEY)
    assert (heard.verdict, heard.authtoks) == (Verdict.DENIED, [])


# --- what is shown ----------------------------------------------------------------------------------------------


@pytest.mark.statement("P-032")
@pytest.mark.parametrize("char", ["x", "ä", "€", "𝄞", "a\u0301"])
def test_a_long_line_is_cut_between_characters_and_nothing_is_lost(char: str) -> None:
    text = char * 700
    pieces = [show.text for show in lines(text)]
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert max(len(piece.encode()) for piece in pieces) <= LINE_MOST < 512


@pytest.mark.statement("P-032")
def test_control_characters_are_taken_out_and_lines_are_kept() -> None:
    text = "one\x1b[2J\a two\n\x00\x7f\x9bthree\r\n\nfour\u2028\udcff"
    assert [show.text for show in lines(text)] == ["one[2J two", "three", "", "four"]


@pytest.mark.statement("P-032")
@pytest.mark.parametrize("key", [MessageKey.ASK_PIN, MessageKey.PASSWORD_AND_PIN, MessageKey.CLOSE, MessageKey.WELCOME])
def test_a_question_of_many_lines_is_shown_and_its_last_is_asked(room: Room, alice: str, key: MessageKey) -> None:
    """However long an administrator's text is, no message is longer than PAM's."""
    set_text(room, key, f"First line\n{'ä' * 400}\nAnd now: \n")
    talks: dict[MessageKey, Callable[[], Heard]] = {
        MessageKey.ASK_PIN: lambda: room.login("000000", authtok=None),
        MessageKey.PASSWORD_AND_PIN: lambda: room.login("wrong", authtok=None, combined=True),
        MessageKey.WELCOME: lambda: room.login("s", "000000"),
        MessageKey.CLOSE: lambda: room.login(""),
    }
    if key is MessageKey.CLOSE:
        room.engine.set_policy("enrolment", "off")
    heard = talks[key]()
    assert "And now: " in heard.asked
    assert "First line" in heard.shown
    texts = [*heard.shown, *heard.asked]
    assert max(len(text.encode()) for text in texts) <= LINE_MOST
    assert not [text for text in texts if "\n" in text]


@pytest.mark.statement("P-013")
def test_no_step_shows_its_secrets(room: Room, alice: str) -> None:
    heard = room.login(PASSWORD, "s", room.pin_from_screen(), authtok=None, combined=True)
    shown = repr(heard.steps)
    assert PASSWORD not in shown
    assert "otpauth" not in shown


def test_tokens_that_an_administrator_brought_log_in_too(room: Room, alice: str) -> None:
    done = room.engine.gate.administer(EnrollToken(actor=ACTOR, user=alice, origin=Origin.ADMIN))
    assert room.login(room.engine.pin(done.serials[0])).verdict is Verdict.SUCCESS
    assert room.engine.token(done.serials[0]).state is TokenState.ACTIVE
