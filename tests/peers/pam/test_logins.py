"""Password and PIN at every login program, with the real module, the real helper and accounts of the system."""

import pytest

from tests.peers.pam.house import AGAIN, CLOSE, PASSWORD_PROMPT, PIN, WAYS, Entrance, House
from validation.model import Origin, RevokeReason
from validation.requests import ChangeUserState, SetText, UserAct
from validation.settings import Scope

pytestmark = pytest.mark.peer("login", "su", "sudo", "ssh", "sshd", "ssh-keygen", "nsenter", "unshare", "cc")

NOTICE = "Your token lies at the front desk, building 3."


def test_password_and_pin_let_in_and_the_pin_works_once(entrance: Entrance) -> None:
    alice = entrance.house.somebody()
    first = entrance.visit(alice, (PIN, alice.pin()))
    assert entrance.is_in(first, "alice"), first.screen + entrance.house.said()
    assert entrance.house.last() == ("accept", "passcode-right")
    again = entrance.visit(alice, (PIN, alice.last_pin()), (AGAIN, alice.last_pin()), (AGAIN, alice.last_pin()))
    assert again.who is None, again.screen
    assert [reason for _, reason in entrance.house.site.logins()[-3:]] == ["passcode-used", *["passcode-repeated"] * 2]


def test_a_wrong_pin_is_asked_again_inside_the_conversation(entrance: Entrance) -> None:
    alice = entrance.house.somebody()
    slip = entrance.visit(alice, (PIN, "000000"), (AGAIN, alice.pin()))
    assert entrance.is_in(slip, "alice"), slip.screen
    guesses = entrance.visit(alice, (PIN, "000000"), (AGAIN, "111111"), (AGAIN, "222222"))
    assert guesses.who is None, guesses.screen
    assert entrance.house.site.failures("alice")["passcode"] == 3


def test_a_pin_as_apps_show_it(entrance: Entrance) -> None:
    alice = entrance.house.somebody()
    pin = alice.pin()
    assert entrance.is_in(entrance.visit(alice, (PIN, f"{pin[:3]} {pin[3:]}")), "alice")


@pytest.mark.parametrize("act", [UserAct.LOCK, UserAct.DISABLE])
def test_who_is_locked_meets_the_same_questions_and_is_not_let_in(entrance: Entrance, act: UserAct) -> None:
    alice = entrance.house.somebody()
    entrance.house.site.gate.administer(ChangeUserState(actor="test", name="alice", act=act))
    barred = entrance.visit(alice, (PIN, alice.pin()), (AGAIN, alice.pin()), (AGAIN, alice.pin()))
    assert barred.who is None, barred.screen
    assert entrance.house.last() == ("reject", f"user-{act}ed".replace("disableed", "disabled"))


def test_an_account_that_twofold_does_not_know_is_not_let_in(entrance: Entrance) -> None:
    alice = entrance.house.somebody()
    entrance.house.forget("alice")
    said = len(entrance.house.said())
    unknown = entrance.visit(alice, (PIN, "123456"), (AGAIN, "123456"), (AGAIN, "123456"))
    assert unknown.who is None, unknown.screen
    assert "reason=user-unknown" in entrance.house.said()[said:]


def test_a_revoked_token_lets_nobody_in(entrance: Entrance) -> None:
    alice = entrance.house.somebody()
    other = entrance.house.site.enroll("alice")
    entrance.house.revoke(alice, RevokeReason.COMPROMISE)
    refused = entrance.visit(alice, (PIN, alice.pin()), (AGAIN, alice.pin()), (AGAIN, alice.pin()))
    assert refused.who is None, refused.screen
    assert entrance.house.site.token_row(other.serial)["failures"] == 3


def test_a_hardware_only_user_without_a_token_reads_the_notice(entrance: Entrance) -> None:
    house = entrance.house
    alice = house.somebody(token=False)
    house.policy("enrolment", "hardware-only")
    text = SetText(actor="test", key="hardware-only", language="", text=NOTICE, scope=Scope())
    house.site.gate.administer(text)
    refused = entrance.visit(alice, (CLOSE, ""))
    assert refused.who is None
    assert NOTICE in refused.screen
    assert house.last() == ("reject", "hardware-only")


def test_a_token_from_the_administrator_lets_in(entrance: Entrance) -> None:
    entrance.house.policy("enrolment", "hardware-only")
    alice = entrance.house.somebody(origin=Origin.ADMIN)
    assert entrance.is_in(entrance.visit(alice, (PIN, alice.pin())), "alice")


# --- password and PIN in one field


@pytest.mark.parametrize("way", WAYS)
def test_password_and_pin_in_one_field(house: House, way: str) -> None:
    house.no_policies()
    house.combined_stacks()
    alice, field = house.somebody(), "Password, then PIN, in one: ?$"

    def typed(text: str) -> str | None:
        return WAYS[way](house, "alice", ((field, text),)).who

    expected = "root" if way == "sudo" else "alice"
    assert typed(alice.password + alice.pin()) == expected, house.said()
    assert typed(alice.password + alice.last_pin()) is None, "used"
    assert typed(alice.password + "000000") is None
    pin = alice.pin()
    assert typed("wrong" + pin) is None
    assert typed(alice.password + pin) == expected, "a wrong password uses up no PIN"


def test_the_password_alone_is_asked_for_its_pin(house: House) -> None:
    house.no_policies()
    house.combined_stacks()
    alice = house.somebody()
    answers = (("in one: ?$", alice.password), (PIN, alice.pin()))
    assert WAYS["ssh"](house, "alice", answers).who == "alice"


# --- in front of others, and alone


def test_a_wrong_password_in_front_of_us_shows_no_secret_and_uses_up_no_pin(house: House) -> None:
    """`required pam_unix`: the stack goes on after a wrong password, to hide it."""
    house.no_policies()
    house.stack("sshd", "required pam_unix.so nodelay", "required {module}")
    alice = house.somebody()
    pin = alice.pin()
    wrong = WAYS["ssh"](house, "alice", ((PASSWORD_PROMPT, "wrong"), (PIN, pin), (AGAIN, pin), (AGAIN, pin)))
    assert wrong.who is None, wrong.screen
    assert WAYS["ssh"](house, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, pin))).who == "alice"
    newcomer = house.somebody("bob", token=False)
    wrong = WAYS["ssh"](house, "bob", ((PASSWORD_PROMPT, "wrong"), (PIN, "1"), (AGAIN, "2"), (AGAIN, "3")))
    assert (wrong.who, "secret=" in wrong.screen, "Scan" in wrong.screen) == (None, False, False)
    assert newcomer.serial == ""


def test_alone_a_pin_is_asked_of_who_has_a_token_and_nobody_is_onboarded(house: House) -> None:
    house.no_policies()
    house.stack("sshd", "required {module}")
    alice = house.somebody()
    assert WAYS["ssh"](house, "alice", ((PIN, alice.pin()),)).who == "alice"
    house.somebody("bob", token=False)
    refused = WAYS["ssh"](house, "bob", ((PIN, "123456"), (AGAIN, "123456"), (AGAIN, "123456")))
    assert (refused.who, "Scan" in refused.screen) == (None, False)


def test_below_a_sufficient_module_we_are_not_asked(house: House) -> None:
    """What `twofold doctor` warns of."""
    house.no_policies()
    house.stack("sshd", "sufficient pam_unix.so nodelay", "required {module}")
    alice = house.somebody()
    assert WAYS["ssh"](house, "alice", ((PASSWORD_PROMPT, alice.password),)).who == "alice"
