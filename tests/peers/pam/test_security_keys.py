"""Whole logins with a security key: the real module, helper and login programs, and a key that is scripted."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers import peers
from tests.peers.pam.desk import KEY_PIN, LOCKER, TOUCH, TOUCH_ONLY, Desk
from tests.peers.pam.house import CLOSE, PASSWORD_PROMPT, PIN, WAYS, Person
from tests.peers.pam.programs import PROOF, Screen, Visit, screen
from tests.software_key.authenticator import SoftwareKey
from tests.software_key.call import Call
from tests.software_key.knobs import UV, Fault, Touch
from tests.software_key.log import Command
from validation.requests import RevokeToken

LOCAL = ("login", "su", "sudo")


@pytest.fixture(params=LOCAL)
def way(desk: Desk, request: pytest.FixtureRequest) -> str:
    return at(desk, str(request.param))


@pytest.fixture
def login(desk: Desk) -> str:
    """Where the program makes no difference."""
    return at(desk, "sudo")


def at(desk: Desk, way: str) -> str:
    desk.house.no_policies()
    desk.house.usual_stacks()
    return way


def visit(desk: Desk, way: str, person: Person, *answers: tuple[str, str]) -> Visit:
    return WAYS[way](desk.house, person.name, ((PASSWORD_PROMPT, person.password), *answers))


def is_in(way: str, visit: Visit, person: Person) -> bool:
    return visit.who == ("root" if way == "sudo" else person.name)


COMMANDS: dict[str, tuple[str, ...]] = {"login": ("login", "alice"), "su": ("su", "alice", "-c", PROOF)}


@contextmanager
def at_password(desk: Desk, way: str, person: Person) -> Iterator[Screen]:
    """A login of alice, whose password was typed."""
    command = COMMANDS.get(way, ("sudo", "-k", "sh", "-c", PROOF))
    user = {"login": None, "su": "carol", "sudo": "alice"}[way]
    with screen(desk.house.world, peers.require(command[0]), *command[1:], user=user) as shown:
        shown.wait_for(PASSWORD_PROMPT)
        shown.type(person.password)
        yield shown


# --- a touch


def test_a_touch_lets_in(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    with desk.plugged(key):
        seen = visit(desk, way, alice)
    assert is_in(way, seen, alice), seen.screen
    tty = seen.screen.partition(" on ")[2].partition(",")[0]
    assert f"press Enter to use a PIN.   ({way} on {tty}, host web-7)" in seen.screen
    assert desk.house.last() == ("accept", "security-key-right")
    assert [asked.up for asked in key.log.of(Command.GET_ASSERTION)][-2:] == [False, True]


def test_enter_stops_the_blinking_and_asks_for_a_pin(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    key.knobs.touch = Touch.NEVER
    with desk.plugged(key), at_password(desk, way, alice) as shown:
        shown.wait_for(TOUCH)
        key.wait_for_blink(key.blinks)
        shown.type("")
        shown.wait_for(PIN)
        key.wait_for_cancel()
        shown.type(alice.pin())
        shown.wait_for(r"IN-|\$ $")
    assert desk.house.last() == ("accept", "passcode-right")


def test_a_pin_may_be_typed_while_the_key_blinks(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    key.knobs.touch = Touch.NEVER
    with desk.plugged(key):
        seen = visit(desk, way, alice, (TOUCH, alice.pin()))
    assert is_in(way, seen, alice), seen.screen
    assert desk.house.last() == ("accept", "passcode-right")


@pytest.mark.statement("W-017")
def test_nobody_touches_it(desk: Desk, way: str) -> None:
    """The time is over, the key stops blinking, and a PIN is asked for."""
    alice = desk.house.somebody()
    key = desk.register(alice)
    key.knobs.touch = Touch.NEVER
    with desk.plugged(key):
        seen = visit(desk, way, alice, (PIN, alice.pin()))
        key.wait_for_cancel()
    assert is_in(way, seen, alice), seen.screen
    assert "The security key was not touched in time." in seen.screen


def test_ctrl_c_stops_the_blinking(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    key.knobs.touch = Touch.NEVER
    with desk.plugged(key):
        before = key.blinks
        with at_password(desk, way, alice) as shown:
            shown.wait_for(TOUCH)
            key.wait_for_blink(before + 1)
            shown.press(b"\x03")
            key.wait_for_cancel()
        key.knobs.touch = Touch.AT_ONCE
        seen = visit(desk, way, alice)
    assert is_in(way, seen, alice), seen.screen


# --- which key is there


def test_no_key_is_plugged_in(desk: Desk, way: str) -> None:
    """F03: who has an app, too, is asked for its PIN at once, with a hint; who has none hears nothing of keys."""
    alice = desk.house.somebody()
    desk.register(alice)
    seen = visit(desk, way, alice, (PIN, alice.pin()))
    assert is_in(way, seen, alice), seen.screen
    assert "No security key was found." in seen.screen
    desk.house.forget("alice")
    alice = desk.house.somebody()
    seen = visit(desk, way, alice, (PIN, alice.pin()))
    assert is_in(way, seen, alice)
    assert "security key" not in seen.screen


def test_who_has_a_key_alone_may_plug_it_in_late(desk: Desk, login: str) -> None:
    alice = desk.house.somebody(token=False)
    key = desk.register(alice)
    with at_password(desk, login, alice) as shown:
        shown.wait_for(r"Plug in your security key, then touch it\. ")
        with desk.plugged(key):
            assert shown.wait_for(TOUCH_ONLY)
            assert shown.wait_for("IN-root")


def test_who_has_a_key_alone_and_not_here_is_refused_in_time(desk: Desk, way: str) -> None:
    alice = desk.house.somebody(token=False)
    desk.register(alice)
    seen = visit(desk, way, alice)
    assert seen.who is None
    assert "Plug in your security key" in seen.screen
    assert "Your account needs a security key here." in seen.screen
    assert desk.house.last() == ("reject", "security-key-missing")


def test_a_wrong_key_never_blinks(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    desk.register(alice)
    bob = desk.house.somebody("bob")
    his = desk.register(bob)
    before = his.blinks
    with desk.plugged(his):
        seen = visit(desk, way, alice, (PIN, alice.pin()))
    assert is_in(way, seen, alice), seen.screen
    assert "This security key is not registered for you." in seen.screen
    assert his.blinks == before


@pytest.mark.parametrize("which", [0, 1])
def test_of_two_registered_keys_the_one_that_is_there_works(desk: Desk, login: str, which: int) -> None:
    """F01, in both orders, each of them twice."""
    alice = desk.house.somebody()
    keys = [desk.register(alice, name) for name in ("main", "backup")]
    for turn in (which, 1 - which, which):
        with desk.plugged(keys[turn]):
            assert is_in(login, visit(desk, login, alice), alice)


def test_of_two_that_are_plugged_in_the_one_that_is_touched_wins(desk: Desk, login: str) -> None:
    alice = desk.house.somebody()
    keys = [desk.register(alice, name) for name in ("main", "backup")]
    for key in keys:
        key.knobs.touch = Touch.NEVER
    for touched in keys:
        (other,) = [key for key in keys if key is not touched]
        blinks, cancels = [key.blinks for key in keys], other.cancels
        with desk.plugged(*keys), at_password(desk, login, alice) as shown:
            for key, number in zip(keys, blinks, strict=True):
                key.wait_for_blink(number + 1)
            touched.press()
            assert shown.wait_for("IN-root")
            other.wait_for_cancel(cancels + 1)


def test_a_key_pulled_out_midway(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    key.knobs.touch = Touch.NEVER
    before = key.blinks
    desk.ports.plug(key)
    with at_password(desk, way, alice) as shown:
        key.wait_for_blink(before + 1)
        desk.ports.unplug(key)
        shown.wait_for(PIN)
        shown.type(alice.pin())
        shown.wait_for(r"IN-|\$ $")
    assert desk.house.last() == ("accept", "passcode-right")


@pytest.mark.parametrize("fault", [Fault.MUTE, Fault.GARBAGE, Fault.ENDLESS_KEEPALIVE, Fault.WRONG_CHANNEL])
def test_a_key_that_talks_nonsense_or_nothing_keeps_nobody_waiting(desk: Desk, login: str, fault: Fault) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    key.knobs.fault = fault
    with desk.plugged(key):
        seen = visit(desk, login, alice, (PIN, alice.pin()))
    assert is_in(login, seen, alice), seen.screen
    assert "security key" in seen.screen


def test_without_access_to_the_device_it_is_as_without_a_key_and_the_log_says_why(desk: Desk, login: str) -> None:
    """F09."""
    alice = desk.house.somebody()
    key = desk.register(alice)
    desk.ports.plug(key, denied=True)
    seen = visit(desk, login, alice, (PIN, alice.pin()))
    desk.ports.unplug(key)
    assert is_in(login, seen, alice), seen.screen
    assert "No security key was found." in seen.screen
    assert "/dev/hidraw" in desk.house.said()
    assert "Permission denied" in desk.house.said()


# --- the PIN of the key


def test_the_pin_of_the_key_and_a_touch(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    desk.house.policy("user_verification", "required")
    key = desk.register(alice, pin="2468")
    with desk.plugged(key):
        seen = visit(desk, way, alice, (KEY_PIN, "2468"))
    assert is_in(way, seen, alice), seen.screen
    assert desk.house.last() == ("accept", "security-key-right")


@pytest.mark.statement("W-016")
def test_a_wrong_pin_costs_one_try_and_no_touch(desk: Desk, way: str) -> None:
    """F05: also where somebody types his password."""
    alice = desk.house.somebody()
    desk.house.policy("user_verification", "required")
    key = desk.register(alice, pin="2468")
    blinks, tries = key.blinks, key.pin_retries
    with desk.plugged(key):
        seen = visit(desk, way, alice, (KEY_PIN, alice.password), (PIN, alice.pin()))
    assert is_in(way, seen, alice), seen.screen
    assert (key.blinks, key.pin_retries) == (blinks, tries - 1)
    assert f"That is not the PIN of the security key. {tries - 1} tries left." in seen.screen
    assert alice.password not in desk.house.said()


def test_a_key_without_a_pin_where_one_is_needed(desk: Desk, login: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    desk.house.policy("user_verification", "required")
    with desk.plugged(key):
        seen = visit(desk, login, alice, (PIN, alice.pin()))
    assert is_in(login, seen, alice), seen.screen
    assert "This security key has no PIN yet" in seen.screen


@pytest.mark.statement("W-004", "V-017")
def test_a_key_that_only_says_it_verified_its_user(desk: Desk, way: str) -> None:
    """It took the PIN, and did not sign that it did."""
    alice = desk.house.somebody()
    desk.house.policy("user_verification", "required")
    key = desk.register(alice, pin="2468")
    key.knobs.flags_cleared = UV
    with desk.plugged(key):
        seen = visit(desk, way, alice, (KEY_PIN, "2468"))
    assert seen.who is None
    assert "This security key was not accepted." in seen.screen
    assert desk.house.last() == ("reject", "security-key-user-unverified")


# --- keys that lie


def test_a_counter_that_goes_back(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    key.counter = 40
    with desk.plugged(key):
        assert is_in(way, visit(desk, way, alice), alice)
        key.counter = 20
        seen = visit(desk, way, alice)
        assert seen.who is None
        assert desk.house.last() == ("reject", "security-key-counter")
        assert "alarm security_key_copied" in desk.house.said()
        key.counter = 60
        assert is_in(way, visit(desk, way, alice), alice)


class Parrot(SoftwareKey):
    """Says again what it said first, whatever it is asked."""

    said: bytes = b""

    def ctap2(self, message: bytes, call: Call) -> bytes:
        answer = super().ctap2(message, call)
        if self.log.seen[-1].command is not Command.GET_ASSERTION or not self.log.seen[-1].up:
            return answer
        self.said = self.said or answer
        return self.said


def test_what_a_key_signed_before_lets_nobody_in(desk: Desk, login: str) -> None:
    """For another login, for another program, and for another user."""
    alice = desk.house.somebody()
    parrot = desk.register(alice, key=Parrot("parrot"))
    assert isinstance(parrot, Parrot)
    with desk.plugged(parrot):
        assert is_in("sudo", visit(desk, "sudo", alice), alice)
        for way in LOCAL:
            assert visit(desk, way, alice).who is None
            assert desk.house.last() == ("reject", "security-key-wrong")
    bob = desk.house.somebody("bob")
    his = desk.register(bob, key=Parrot("another"))
    assert isinstance(his, Parrot)
    his.said = parrot.said
    with desk.plugged(his):
        assert visit(desk, login, bob).who is None
    assert desk.house.last() == ("reject", "security-key-wrong")


# --- the host has another name


@pytest.mark.statement("W-002")
def test_a_host_that_is_renamed_keeps_the_keys_of_its_users(desk: Desk, login: str) -> None:
    """What a key is registered with is the site's name; the host's is in what is signed, each time anew."""
    alice = desk.house.somebody()
    key = desk.register(alice)
    assert is_in(login, _with_key(desk, login, alice, key), alice)
    config = desk.house.site.config_file
    before = config.read_text()
    config.write_text(before.replace('chain = "web-7"', 'chain = "renamed"'))
    desk.house.helper.stop()
    desk.house.helper = desk.house.start_helper()
    seen = _with_key(desk, login, alice, key)
    assert "host renamed" in seen.screen
    assert is_in(login, seen, alice), seen.screen
    config.write_text(before)
    desk.house.helper.stop()
    desk.house.helper = desk.house.start_helper()


def _with_key(desk: Desk, way: str, person: Person, key: SoftwareKey) -> Visit:
    with desk.plugged(key):
        return visit(desk, way, person)


# --- revoked


def test_a_revoked_key_is_not_asked_for(desk: Desk, way: str) -> None:
    alice = desk.house.somebody()
    key = desk.register(alice)
    ahead = desk.house.site.gate.outlook("alice")
    assert ahead is not None
    (serial,) = [serial for serial in ahead.serials if serial != alice.serial]
    desk.house.site.gate.administer(RevokeToken(actor="alice", own="alice", serial=serial))
    before = key.blinks
    with desk.plugged(key):
        seen = visit(desk, way, alice, (PIN, alice.pin()))
    assert is_in(way, seen, alice)
    assert ("security key" in seen.screen, key.blinks) == (False, before)


# --- a first login


def test_a_first_login_registers_a_key_and_the_next_asks_for_it(desk: Desk, way: str) -> None:
    alice = desk.house.somebody(token=False)
    key = SoftwareKey("new")
    with desk.plugged(key):
        seen = visit(desk, way, alice, ("or n for instructions: ?$", "k"), ("for example blue: ?$", "my key"))
        assert is_in(way, seen, alice), seen.screen
        assert "pair an app too" in seen.screen
        seen = visit(desk, way, alice)
        assert is_in(way, seen, alice), seen.screen
    assert desk.house.last() == ("accept", "security-key-right")


def test_where_policy_wants_a_key_it_is_registered_after_the_pin(desk: Desk, login: str) -> None:
    desk.house.policy("security_key", "required")
    alice = desk.house.somebody()
    with desk.plugged(SoftwareKey("new")):
        seen = visit(desk, login, alice, (PIN, alice.pin()), ("for example blue: ?$", "blue"))
        assert is_in(login, seen, alice), seen.screen
        seen = visit(desk, login, alice)
        assert is_in(login, seen, alice), seen.screen
    assert "or press Enter" not in seen.screen
    over_ssh = WAYS["ssh"](desk.house, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, alice.pin())))
    assert over_ssh.who == "alice"


# --- never from elsewhere


def saw_nothing(key: SoftwareKey) -> bool:
    """Since it was registered."""
    return not [seen for seen in key.log.seen if seen.command is Command.GET_ASSERTION]


@pytest.fixture
def owner(office: Desk) -> Person:
    office.house.no_policies()
    office.house.usual_stacks()
    return office.house.somebody()


@pytest.mark.statement("W-021")
@pytest.mark.parametrize("way", ["ssh", "login", "su", "sudo"])
def test_without_a_session_at_a_seat_no_key_is_asked_for(office: Desk, owner: Person, way: str) -> None:
    """ssh brings an rhost; the others a terminal at which nobody sits, as inside ssh."""
    key = office.register(owner)
    with office.plugged(key):
        seen = visit(office, way, owner, (PIN, owner.pin()))
    assert is_in(way, seen, owner), seen.screen
    assert ("security key" in seen.screen, saw_nothing(key)) == (False, True)


REMOTE = {"REMOTE": "1", "REMOTE_HOST": "192.0.2.7", "SERVICE": "sshd"}
SEATED = {"REMOTE": "0", "SEAT": "seat0", "TTY": "tty2", "SERVICE": "login"}


@pytest.mark.statement("W-021")
@pytest.mark.parametrize("program", ["sudo", "su"])
@pytest.mark.parametrize(("session", "offered"), [(REMOTE, False), (SEATED, True)], ids=["over ssh", "at the seat"])
def test_inside_a_session_logind_says_whether_somebody_sits_here(
    office: Desk, owner: Person, program: str, session: dict[str, str], offered: bool
) -> None:
    key = office.register(owner)
    world = office.house.world
    command = {"sudo": f"sudo -k sh -c '{PROOF}'", "su": f"su alice -c '{PROOF}'"}[program]
    caller = "alice" if program == "sudo" else "carol"
    world.run("sh", "-c", f"rm -f {world.path}/gate && mkfifo -m 666 {world.path}/gate")
    script = f"echo AT-$$; read _ <{world.path}/gate; exec {command}"
    with office.plugged(key), screen(world, "sh", "-c", script, user=caller) as shown:
        found = shown.wait_for(r"AT-(?P<pid>\d+)\s")
        assert found is not None
        office.put_into_session(found["pid"], Person(caller, "", b""), **session)
        world.run("sh", "-c", f"echo >{world.path}/gate")
        shown.wait_for(PASSWORD_PROMPT)
        shown.type(owner.password)
        if not offered:
            shown.wait_for(PIN)
            shown.type(owner.pin())
        shown.wait_for("IN-")
    assert saw_nothing(key) is not offered
    world.run("rm", "-f", "/run/systemd/sessions/7")


@pytest.mark.parametrize("claims", [(), ("-I", "tty=/dev/tty1"), ("-I", "rhost=", "-I", "tty=:0")])
def test_a_program_of_a_user_without_a_session_cannot_make_a_key_blink(
    office: Desk, owner: Person, claims: tuple[str, ...]
) -> None:
    """A service of his, or whoever got in over ssh: it says of itself what it likes."""
    key = office.register(owner)
    command = (peers.require("pamtester"), *claims, LOCKER, "alice", "authenticate")
    with office.plugged(key), screen(office.house.world, *command, user="alice") as shown:
        shown.wait_for(PIN)
        shown.type(owner.pin())
        shown.wait_for("successfully authenticated")
        assert "security key" not in shown.text
    assert saw_nothing(key)


def test_a_screen_locker_at_the_seat_is_unlocked_by_a_touch(office: Desk, owner: Person) -> None:
    key = office.register(owner)
    world = office.house.world
    world.run("sh", "-c", f"rm -f {world.path}/gate && mkfifo -m 666 {world.path}/gate")
    command = f"{peers.require('pamtester')} {LOCKER} alice authenticate"
    script = f"echo AT-$$; read _ <{world.path}/gate; exec {command}"
    with office.plugged(key), screen(world, "sh", "-c", script, user="alice") as shown:
        found = shown.wait_for(r"AT-(?P<pid>\d+)\s")
        assert found is not None
        office.put_into_session(found["pid"], owner, **SEATED)
        world.run("sh", "-c", f"echo >{world.path}/gate")
        shown.wait_for("successfully authenticated")
        assert "Touch your security key now, or press Enter to use a PIN." in shown.text
    world.run("rm", "-f", "/run/systemd/sessions/7")


def test_who_has_a_key_alone_is_told_so_over_ssh(office: Desk) -> None:
    office.house.no_policies()
    office.house.usual_stacks()
    alice = office.house.somebody(token=False)
    key = office.register(alice)
    with office.plugged(key):
        seen = visit(office, "ssh", alice, (CLOSE, ""))
    assert seen.who is None
    assert "works only at the machine itself" in seen.screen
    assert saw_nothing(key)
