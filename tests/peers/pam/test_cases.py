"""Reports from other systems as small scenes, each with the outcome that is right. Named after the case."""

import sqlite3
from pathlib import Path

import pytest

from tests.peers import peers
from tests.peers.pam.house import AGAIN, PASSWORD_PROMPT, PIN, WAYS, House
from tests.peers.pam.programs import Answers, Visit, visit
from tests.site import eventually

pytestmark = pytest.mark.peer("login", "su", "sudo", "ssh", "sshd", "pamtester", "nsenter", "unshare", "cc")


@pytest.fixture
def at(house: House) -> House:
    house.no_policies()
    house.usual_stacks()
    return house


def pamtester(house: House, name: str, *answers: tuple[str, str], user: str | None = None) -> bool:
    """Whether a program without a terminal dialogue of its own lets `name` in, by the service `scene`."""
    command = (peers.require("pamtester"), "scene", name, "authenticate")
    return "successfully authenticated" in visit(house.world, command, answers, user=user).screen


def ssh(house: House, name: str, *answers: tuple[str, str]) -> Visit:
    found: Answers = answers
    return WAYS["ssh"](house, name, found)


def test_p01_after_a_key_one_question_and_none_for_whom_policy_asks_for_no_pin(at: House) -> None:
    """The stack holds us alone: what is ignored there is no success, so after a key that was proved we say one."""
    at.usual_stacks(ssh_keys=True)
    alice = at.somebody()
    seen = WAYS["ssh-key"](at, "alice", ((PIN, alice.pin()),))
    assert (seen.who, seen.screen.count("PIN")) == ("alice", 1), seen.screen
    wrong = WAYS["ssh-key"](at, "alice", ((PIN, "000000"), (AGAIN, "000000"), (AGAIN, "000000")))
    assert wrong.who is None, wrong.screen
    at.policy("second_factor", "skip")
    at.somebody("bob", token=False)
    assert WAYS["ssh-key"](at, "bob", ()).who == "bob", at.said()
    at.forget("bob")
    assert WAYS["ssh-key"](at, "bob", ((PIN, "1"), (AGAIN, "2"), (AGAIN, "3"))).who is None


def test_p03_who_needs_no_second_factor_is_still_asked_for_his_password(at: House) -> None:
    """A stack that ends with our success must not take `ignore` for one."""
    at.stack("scene", "[success=done new_authtok_reqd=done ignore=ignore default=die] {module}", "required pam_unix.so")
    alice = at.somebody()
    assert pamtester(at, "alice", (PIN, alice.pin()))
    assert not pamtester(at, "alice", (PIN, "000000"), (AGAIN, "000000"), (AGAIN, "000000"))
    at.policy("second_factor", "skip")
    alice = at.somebody()
    assert not pamtester(at, "alice", (PIN, "000000"), (AGAIN, "000000"), (AGAIN, "000000")), "no password, no skip"
    at.stack(
        "scene",
        "required pam_unix.so nodelay",
        "[success=done new_authtok_reqd=done ignore=ignore default=die] {module}",
    )
    assert pamtester(at, "alice", (PASSWORD_PROMPT, alice.password))
    assert not pamtester(at, "alice", (PASSWORD_PROMPT, "wrong"), (PIN, "1"), (AGAIN, "2"), (AGAIN, "3"))


def test_p04_who_has_no_token_is_refused_and_the_log_says_why(at: House) -> None:
    at.policy("enrolment", "off")
    at.somebody("bob", token=False)
    refused = WAYS["sudo"](at, "bob", ((PASSWORD_PROMPT, "pw-bob"), ("Press Enter to close: ?$", "")))
    assert refused.who is None
    assert "denied user=bob service=sudo reason=no-token" in at.said()


def test_p06_a_used_pin_that_cannot_be_written_lets_nobody_in(at: House) -> None:
    alice = at.somebody()
    pin, said = alice.pin(), len(at.said())
    with sqlite3.connect(at.site.config.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            refused = ssh(at, "alice", (PASSWORD_PROMPT, alice.password), (PIN, pin))
            assert refused.who is None
        other.execute("ROLLBACK")
    other.close()
    eventually(lambda: _complaint_about_store(at.said()[said:]), what="a line that names what could not be written")
    assert ssh(at, "alice", (PASSWORD_PROMPT, alice.password), (PIN, pin)).who == "alice"


def _complaint_about_store(said: str) -> bool:
    return any("user=alice" in line and ("unavailable" in line or "no answer" in line) for line in said.splitlines())


def test_p08_nothing_is_read_from_a_home_that_is_not_there(at: House) -> None:
    alice = at.somebody()
    home = at.world.path / "home" / "alice"
    at.world.run("chmod", "000", home)
    try:
        assert WAYS["su"](at, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, alice.pin()))).who == "alice"
    finally:
        at.world.run("chmod", "755", home)


def test_p10_a_locker_with_one_field_for_its_own_user(at: House) -> None:
    """It runs as its user and answers every question with one text."""
    at.stack("scene", "requisite {module} combined", "required pam_unix.so use_first_pass nodelay")
    alice = at.somebody()
    one_field = "in one: ?$"
    for typed, good in (("pw-alice000000", False), ("wrong" + alice.pin(), False), ("pw-alice" + alice.pin(), True)):
        assert pamtester(at, "alice", (one_field, typed)) == good, typed
    at.stack("scene", "requisite pam_unix.so nodelay", "required {module}")
    for _ in range(3):  # without the one field: refused cleanly, and the token is as it was
        answers = ((PASSWORD_PROMPT, "pw-alice"), (PIN, "pw-alice"), (AGAIN, "pw-alice"), (AGAIN, "pw-alice"))
        assert not pamtester(at, "alice", *answers)
    assert at.site.token_row(alice.serial)["state"] == "active"


def test_p11_umlauts_arrive_and_a_pin_is_not_echoed(at: House) -> None:
    at.policy("language", "de")
    alice = at.somebody()
    pin = alice.pin()
    question = r"PIN aus Ihrer Authenticator-App: ?$"
    seen = ssh(at, "alice", (PASSWORD_PROMPT, alice.password), (question, "000000"), ("Noch 2 Versuche: ?$", pin))
    assert seen.who == "alice", seen.screen
    assert pin not in seen.screen
    assert alice.password not in seen.screen


def test_p12_passwd_goes_on_working_with_the_module_in_its_stack(at: House) -> None:
    module = f"{at.module}"
    lines = (f"password required {module}", "password required pam_unix.so sha512", "account required pam_unix.so")
    at.world.pam_service("passwd", "\n".join(lines) + "\n")
    answers = (
        ("Current password: ?$", "pw-bob"),
        ("New password: ?$", "pw-NEW-7-bob"),
        ("Retype.*: ?$", "pw-NEW-7-bob"),
    )
    changed = visit(at.world, ("passwd",), answers, user="bob")
    assert "password updated successfully" in changed.screen, changed.screen
    at.world.set_password("bob", "pw-bob")


def test_p14_without_a_helper_it_is_refused_in_time_and_said(at: House) -> None:
    alice, before = at.somebody(), len(at.world.log())
    at.helper.stop()
    try:
        refused = WAYS["sudo"](at, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, "123456")))
    finally:
        at.helper = at.start_helper()
    assert refused.who is None
    assert any("pam_twofold(sudo:auth): helper daemon: connect" in line for line in at.world.log()[before:])


def test_p15_a_program_that_does_not_run_as_root_gets_a_clean_no(at: House) -> None:
    """Never `no token`, which a stack might take for a reason to go on."""
    at.stack("scene", "required {module}")
    at.somebody()
    assert not pamtester(at, "alice", (PIN, "123456"), user="carol")
    assert "carol may not log in as somebody else" in at.said()


def test_a_user_may_ask_for_himself_by_a_locker_and_for_nobody_else(at: House, tmp_path: Path) -> None:
    at.stack("scene", "required {module}")
    config = at.site.config_file
    before = config.read_text()
    config.write_text(before + 'lockers = ["scene"]\n')
    at.helper.stop()
    at.helper = at.start_helper()
    try:
        alice, _ = at.somebody(), at.somebody("bob")
        assert pamtester(at, "alice", (PIN, alice.pin()), user="alice")
        assert not pamtester(at, "bob", (PIN, "123456"), user="alice")
        at.stack("other", "required {module}")
        command = (peers.require("pamtester"), "other", "alice", "authenticate")
        assert "successfully" not in visit(at.world, command, ((PIN, alice.pin()),), user="alice").screen
        for _ in range(6):
            pamtester(at, "alice", (PIN, "000000"), (AGAIN, "111111"), (AGAIN, "222222"), user="alice")
        assert at.last() == ("reject", "waiting-after-failures"), "no guessing beyond the throttle"
    finally:
        config.write_text(before)
        at.helper.stop()
        at.helper = at.start_helper()


def test_p18_in_front_of_pam_unix_without_a_password_the_pin_is_used_up(at: House) -> None:
    """Which is why the shipped stacks put us behind it."""
    at.stack("scene", "required {module}", "required pam_unix.so nodelay")
    alice = at.somebody()
    pin = alice.pin()
    assert not pamtester(at, "alice", (PIN, pin), (PASSWORD_PROMPT, "wrong"))
    repeat = ((PIN, pin), (AGAIN, pin), (AGAIN, pin), (PASSWORD_PROMPT, alice.password))
    assert not pamtester(at, "alice", *repeat)
    assert ("again", "passcode-used") in at.site.logins()
    assert pamtester(at, "alice", (PIN, alice.pin()), (PASSWORD_PROMPT, alice.password))
