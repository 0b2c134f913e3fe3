"""Conversations with a security key: what is shown and asked, and that they go on without one."""

from typing import Any

import pytest

from pam_helper.key_outcomes import (
    AlreadyRegistered,
    Blocked,
    Denied,
    Key,
    NoKey,
    NoPinSet,
    PinBlocked,
    PinNeeded,
    PinWrong,
    Plugged,
    TimedOut,
    Trouble,
    WrongKey,
)
from pam_helper.steps import Verdict
from tests.pam_helper.talking import PASSWORD, Heard, Room
from tests.validation.signing_key import UP, UV, SigningKey
from validation.messages import MessageKey, default_text
from validation.model import TokenState

TOUCH = "Touch your security key now, or press Enter to use a PIN.   (login on tty1, host host)"
ASK_PIN = default_text(MessageKey.ASK_PIN, "en")
KEY_PIN = default_text(MessageKey.KEY_PIN, "en")
PLUGGED = Plugged("/dev/hidraw0", 1)
A_KEY = Key(PLUGGED, "a key")


def text(key: MessageKey, **values: str) -> str:
    filled = default_text(key, "en")
    for name, value in values.items():
        filled = filled.replace(f"{{{name}}}", value)
    return filled


def login(room: Room, *answers: Any, **more: Any) -> Heard:
    return room.login(*answers, service="login", tty="/dev/tty1", local=True, **more)


@pytest.fixture
def room() -> Room:
    room = Room()
    room.engine.add_user("alice")
    return room


@pytest.fixture
def serial(room: Room) -> str:
    return room.engine.enroll("alice")


def add_key(room: Room, *answers: Any, name: str = "blue", **key: Any) -> SigningKey:
    """Registered at the desk, and put into the drawer."""
    made = SigningKey(**key)
    room.drawer.plugged.insert(0, made)
    heard = room.care("profile-device-add", *answers, name=name, local=True)
    assert heard.verdict is Verdict.SUCCESS, heard.text
    room.engine.clock.now += 60
    room.drawer.asked.clear()
    room.drawer.pins.clear()
    return made


@pytest.fixture
def key(room: Room, serial: str) -> SigningKey:
    return add_key(room, lambda heard: room.engine.pin(serial))


# --- a login


def test_a_touch_lets_in_without_a_question(room: Room, key: SigningKey) -> None:
    heard = login(room)
    assert (heard.verdict, heard.shown, heard.asked) == (Verdict.SUCCESS, [TOUCH], [])


def test_enter_asks_for_a_pin_instead(room: Room, key: SigningKey, serial: str) -> None:
    room.drawer.says = [""]
    heard = login(room, lambda _: room.engine.pin(serial))
    assert (heard.verdict, heard.shown, heard.asked) == (Verdict.SUCCESS, [TOUCH], [ASK_PIN])


def test_a_pin_typed_at_once_is_taken_for_one(room: Room, key: SigningKey, serial: str) -> None:
    pin = room.engine.pin(serial)
    room.drawer.says = [f"{pin[:3]} {pin[3:]}"]
    heard = login(room)
    assert (heard.verdict, heard.asked) == (Verdict.SUCCESS, [])


@pytest.mark.statement("W-017")
@pytest.mark.parametrize(
    ("outcome", "hint"),
    [
        (NoKey(), MessageKey.KEY_ABSENT),
        (WrongKey((A_KEY,)), MessageKey.KEY_FOREIGN),
        (TimedOut(), MessageKey.KEY_TIMED_OUT),
        (Denied(A_KEY), MessageKey.KEY_UNUSABLE),
        (Trouble("mute"), MessageKey.KEY_UNUSABLE),
        (PinBlocked(Blocked.UNPLUG, 5, A_KEY), MessageKey.KEY_PIN_BLOCKED),
        (NoPinSet(A_KEY), MessageKey.KEY_PIN_UNSET),
    ],
)
def test_whenever_a_key_is_of_no_use_its_user_is_told_and_asked_for_a_pin(
    room: Room, key: SigningKey, serial: str, outcome: Any, hint: MessageKey
) -> None:
    room.drawer.says = [outcome]
    heard = login(room, lambda _: room.engine.pin(serial))
    assert heard.errors == [text(hint)]
    assert (heard.verdict, heard.asked) == (Verdict.SUCCESS, [ASK_PIN])
    room.drawer.says = [outcome]
    assert login(room, "000000").verdict is Verdict.DENIED


def test_who_has_no_key_hears_nothing_of_keys(room: Room, serial: str) -> None:
    heard = login(room, lambda _: room.engine.pin(serial))
    assert (heard.shown, heard.asked, room.drawer.asked) == ([], [ASK_PIN], [])


@pytest.mark.parametrize("door", [{"local": False}, {"local": True, "authtok": None}, {"local": True, "authtok": "x"}])
def test_elsewhere_and_before_the_password_is_proved_no_key_is_touched(
    room: Room, key: SigningKey, serial: str, door: dict[str, Any]
) -> None:
    heard = room.login("000000", service="login", **door)
    assert (room.drawer.asked, heard.asked[0]) == ([], ASK_PIN)
    assert heard.verdict is Verdict.DENIED


# --- the PIN of the key


@pytest.mark.statement("W-016")
def test_the_pin_of_a_key_is_asked_for_as_such_and_tried_once(room: Room, key: SigningKey, serial: str) -> None:
    room.drawer.says = [PinNeeded(8, A_KEY), PinWrong(7, A_KEY)]
    heard = login(room, "its pin", lambda _: room.engine.pin(serial))
    assert heard.asked == [KEY_PIN, ASK_PIN]
    assert "security key" in KEY_PIN
    assert heard.errors == [text(MessageKey.KEY_PIN_WRONG, tries="7 tries left")]
    assert room.drawer.pins == [None, "its pin"]
    assert heard.verdict is Verdict.SUCCESS


def test_the_right_pin_is_followed_by_a_touch(room: Room, key: SigningKey) -> None:
    room.engine.set_policy("user_verification", "required")
    room.drawer.says = [PinNeeded(8, A_KEY)]
    key.flags = UP | UV
    heard = login(room, "its pin")
    assert (heard.verdict, heard.asked, heard.shown[-1]) == (Verdict.SUCCESS, [KEY_PIN], TOUCH)


def test_no_pin_of_the_key_means_one_of_the_app(room: Room, key: SigningKey, serial: str) -> None:
    room.drawer.says = [PinNeeded(8, A_KEY)]
    heard = login(room, "", lambda _: room.engine.pin(serial))
    assert (heard.verdict, heard.asked, room.drawer.pins) == (Verdict.SUCCESS, [KEY_PIN, ASK_PIN], [None])


@pytest.mark.statement("W-023")
def test_the_pin_of_a_key_goes_nowhere_but_to_the_key(room: Room, key: SigningKey, serial: str) -> None:
    room.drawer.says = [PinNeeded(8, A_KEY), PinWrong(7, A_KEY)]
    heard = login(room, "4711-its-pin", lambda _: room.engine.pin(serial))
    assert "4711" not in repr(room.engine.trail)
    assert "4711" not in repr(heard)
    assert not [text for text in room.passwords.checked if "4711" in text]


# --- a key and nothing else


@pytest.fixture
def only(room: Room) -> SigningKey:
    return add_key(room, PASSWORD)


def test_who_has_nothing_else_is_asked_to_plug_in_his_key(room: Room, only: SigningKey) -> None:
    room.drawer.plugged.clear()
    room.drawer.says = [TimedOut()]
    heard = login(room)
    where = "login on tty1, host host"
    assert heard.shown == [
        text(MessageKey.KEY_PLUG_IN, where=where),
        text(MessageKey.ASK_KEY, where=where)[:0] or text(MessageKey.KEY_TIMED_OUT),
        text(MessageKey.KEY_NEEDED),
    ]
    assert (heard.verdict, heard.asked) == (Verdict.DENIED, [])


def test_a_line_typed_by_mistake_does_not_end_it(room: Room, only: SigningKey) -> None:
    room.drawer.says = ["oops", ""]
    assert login(room).verdict is Verdict.SUCCESS
    room.drawer.says = ["a", "b", "c"]
    assert login(room).verdict is Verdict.DENIED


def test_over_the_network_he_is_told_where_it_works(room: Room, only: SigningKey) -> None:
    heard = room.login("")
    assert heard.errors == [text(MessageKey.KEY_ELSEWHERE)]
    assert heard.asked == [text(MessageKey.CLOSE)]


# --- registering


def test_a_first_login_at_the_machine_registers_a_key(room: Room) -> None:
    room.drawer.plugged.append(SigningKey())
    heard = login(room, "k", "blue key")
    assert heard.verdict is Verdict.SUCCESS
    assert heard.asked == [text(MessageKey.WELCOME_OR_KEY), text(MessageKey.KEY_NAME)]
    assert heard.shown == [
        text(MessageKey.NEW_KEY, where="login on tty1, host host"),
        text(MessageKey.KEY_REGISTERED),
        text(MessageKey.KEY_ALONE),
    ]
    (token,) = room.engine.see(user="alice").tokens
    assert token.label == "blue key"
    room.engine.clock.now += 60
    assert login(room).verdict is Verdict.SUCCESS


def test_a_registration_that_comes_to_nothing_leaves_nothing(room: Room) -> None:
    for outcome in (TimedOut(), AlreadyRegistered(A_KEY), PinNeeded(8, A_KEY), "given up"):
        room.drawer.says = [outcome, PinWrong(7, A_KEY)]
        heard = login(room, "k", "blue", "its pin")
        assert heard.verdict is Verdict.DENIED
        assert room.engine.see(user="alice").tokens == ()


def test_a_key_may_ask_for_its_pin_when_it_is_registered(room: Room) -> None:
    room.drawer.plugged.append(SigningKey())
    room.drawer.says = [PinNeeded(8, A_KEY)]
    heard = login(room, "k", "blue", "its pin")
    assert (heard.verdict, heard.asked[-1], room.drawer.pins) == (Verdict.SUCCESS, KEY_PIN, [None, "its pin"])


# --- twofold profile device


def test_a_device_is_added_after_a_fresh_pin_and_listed(room: Room, serial: str) -> None:
    room.drawer.plugged.append(SigningKey())
    heard = room.care("profile-device-add", lambda _: room.engine.pin(serial), "my key", local=True)
    assert heard.asked == [ASK_PIN, text(MessageKey.KEY_NAME)]
    assert heard.shown[-1] == text(MessageKey.KEY_REGISTERED)
    shown = room.care("profile-show").text
    assert "security key  my key  yours" in shown
    assert "on consoles only" in shown
    assert "Next login: password, then PIN or security key." in shown


def test_a_wrong_pin_adds_no_device(room: Room, serial: str) -> None:
    room.drawer.plugged.append(SigningKey())
    heard = room.care("profile-device-add", room.wrong(serial), name="blue", local=True)
    assert heard.verdict is Verdict.DENIED
    assert room.drawer.asked == []


@pytest.mark.parametrize("request_", ["profile-device-add", "profile-device-test"])
def test_over_the_network_a_device_is_neither_added_nor_tested(room: Room, key: SigningKey, request_: str) -> None:
    heard = room.care(request_, name="green")
    assert (heard.verdict, heard.asked, room.drawer.asked) == (Verdict.DENIED, [], [])
    assert heard.errors == [text(MessageKey.KEY_NOT_HERE)]


def test_a_device_is_tested(room: Room, key: SigningKey, serial: str) -> None:
    heard = room.care("profile-device-test", local=True)
    assert (heard.verdict, heard.shown[-1]) == (Verdict.SUCCESS, "The security key blue works.")
    room.drawer.says = [""]
    heard = room.care("profile-device-test", lambda _: room.engine.pin(serial), local=True)
    assert heard.verdict is Verdict.DENIED
    assert heard.errors == ["No security key was touched, so none was tested."]


def test_a_device_is_revoked_by_its_name_after_a_pin_or_a_touch(room: Room, key: SigningKey, serial: str) -> None:
    heard = room.care("profile-revoke", lambda _: room.engine.pin(serial), serial="BLUE")
    assert heard.verdict is Verdict.SUCCESS
    assert [t.state for t in room.engine.see(user="alice").tokens if t.kind == "webauthn"] in ([], [TokenState.REVOKED])
    heard = login(room, lambda _: room.engine.pin(serial, 1))
    assert (heard.verdict, room.drawer.asked) == (Verdict.SUCCESS, [])


def test_with_his_only_key_gone_a_user_is_welcomed_again(room: Room, only: SigningKey) -> None:
    heard = room.care("profile-revoke", serial="blue", local=True)
    assert heard.verdict is Verdict.SUCCESS
    assert "the next login pairs an app" in heard.text
    assert login(room, "s", "000000").asked[0] == text(MessageKey.WELCOME_OR_KEY)


def test_a_key_can_be_neither_shown_nor_made_anew(room: Room, key: SigningKey, serial: str) -> None:
    room.engine.set_policy("show_key", "on")
    for request in ("profile-key", "profile-reset"):
        heard = room.care(request, lambda _: room.engine.pin(serial), serial="blue")
        assert heard.verdict is Verdict.DENIED
        room.engine.clock.now += 60
