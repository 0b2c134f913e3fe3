"""The disk of the store full, or the store locked for longer than anybody waits, in the middle of real logins.

Rules: the store lies on a small disk of its own inside the world, which is filled and emptied while the helper runs.
Nobody gets in meanwhile, program and helper go on, and the trail has every login that was accepted and no other.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.test_storage_trouble import filled, lock_file_held, transaction_held
from tests.peers.pam.house import AGAIN, PASSWORD_PROMPT, PIN, WAYS, House, Person
from tests.peers.pam.programs import Visit
from tests.peers.world import USERS, Running, World
from tests.site import TWOFOLD, Site, eventually
from validation.model import FirstFactorKind
from validation.requests import AddUser, EnrollToken, SetRule
from validation.settings import Scope

pytestmark = pytest.mark.peer("login", "sudo", "mount", "nsenter", "unshare", "cc")

SAYS_NO = {"login": "Login incorrect", "sudo": "incorrect password attempt"}
AS_WHOM = {"login": "alice", "sudo": "root"}
FULL = "database or disk is full"
PATIENT = 30  # seconds that the module waits: longer than the helper waits for the store


def checked(visit: Visit, way: str) -> None:
    """Refused by the program's own words: it was not harmed."""
    assert visit.who is None, visit.screen
    assert SAYS_NO[way] in visit.screen, visit.screen


@dataclass
class Small:
    """A store on a disk of 2 MB, with a helper on it."""

    house: House
    site: Site
    disk: Path
    helper: Running
    alice: Person

    def visit(self, way: str, pin: str | Callable[[str], str]) -> Visit:
        return WAYS[way](self.house, "alice", ((PASSWORD_PROMPT, self.alice.password), (PIN, pin)))

    def said(self) -> str:
        return self.house.world.read(self.house.world.path / "small.log")

    def twofold(self, *arguments: str) -> str:
        command = [*TWOFOLD, "--config", str(self.site.config_file), *arguments]
        return self.house.world.run(*command).stdout

    def logins(self) -> list[tuple[str, str]]:
        rows = json.loads(self.twofold("audit", "list", "--user", "alice", "--json"))
        return [(row["decision"], row["reason"]) for row in rows if row["event"] == "login"]

    def check_nothing_lost(self, accepted: int) -> None:
        """Exactly the logins that got in were accepted, the trail is whole, and it is still the same helper."""
        assert [decision for decision, _ in self.logins()].count("accept") == accepted
        self.twofold("audit", "verify")
        assert self.helper.process.poll() is None, self.said()


def furnished(folder: Path) -> tuple[Site, Person]:
    """A store with alice in it, closed again: it is going to be moved."""
    site = Site(folder)
    site.gate.administer(AddUser(actor="test", name="alice", first_factor=FirstFactorKind.SYSTEM))
    site.gate.administer(SetRule(actor="test", key="reject_delay", value="0", scope=Scope()))
    done = site.gate.administer(EnrollToken(actor="test", user="alice", kind="hotp"))
    site.database.close()
    return site, Person("alice", done.serials[0], done.key or b"")


def on_a_small_disk(world: World, folder: Path, disk: Path, megabytes: int = 2) -> None:
    """From here on `folder` is that disk, as the world sees it."""
    world.run("mkdir", "-p", disk)
    world.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", disk)
    world.run("cp", "-a", f"{folder}/.", disk)
    world.run("mount", "--bind", disk, folder)


@pytest.fixture
def small(house: House, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Small]:
    """Of 2 MB, where no ballast is made, or of as many as the test says; `init` is run once more there."""
    world, disk = house.world, house.world.path / "disk"
    site, alice = furnished(tmp_path / "small")
    socket = world.path / "small.sock"
    world.run("rm", "-f", socket)
    on_a_small_disk(world, site.folder, disk, getattr(request, "param", 2))
    world.run(*TWOFOLD, "--config", str(site.config_file), "init")
    serve = [*TWOFOLD, "--config", str(site.config_file), "pam", "serve", "--socket", str(socket)]
    helper = world.start(*serve, log="small.log")
    eventually(lambda: world.outside(socket).exists() or helper.process.poll() is not None, what="the helper")
    for service in ("login", "sudo"):
        module = f"required {world.path}/pam_twofold.so socket={socket} timeout={PATIENT}"
        house.stack(service, "requisite pam_unix.so nodelay", module)
    yield Small(house, site, disk, helper, alice)
    helper.stop()
    world.run("umount", site.folder)
    world.run("umount", disk)


# --- full ---------------------------------------------------------------------------------------------------------


@pytest.mark.statement("P-026", "C-011")
@pytest.mark.parametrize("way", ["login", "sudo"])
def test_a_disk_that_fills_up_before_the_pin_lets_nobody_in_and_uses_up_no_pin(small: Small, way: str) -> None:
    pin, said = small.alice.pin(), len(small.said())
    with ExitStack() as full:

        def fill(screen: str) -> str:
            full.enter_context(filled(small.house.world.outside(small.disk)))
            return pin

        checked(small.visit(way, fill), way)
        (line,) = [line for line in small.said()[said:].splitlines() if FULL in line]
        assert f"login unavailable user=alice service={way} reason=the store " in line
    small.check_nothing_lost(accepted=0)
    assert small.visit(way, pin).who == AS_WHOM[way], small.said()
    small.check_nothing_lost(accepted=1)
    again = WAYS[way](small.house, "alice", ((PASSWORD_PROMPT, USERS["alice"]), (PIN, pin), (AGAIN, pin), (AGAIN, pin)))
    checked(again, way)
    small.check_nothing_lost(accepted=1)


@pytest.mark.statement("P-026")
def test_on_a_disk_that_is_full_already_nobody_is_asked_for_a_pin(small: Small) -> None:
    """Three logins, and two programs: no question is put whose answer could not be recorded."""
    with filled(small.house.world.outside(small.disk)):
        for way in ("login", "sudo", "sudo"):
            refused = small.visit(way, "123456")
            checked(refused, way)
            assert "PIN" not in refused.screen
    assert small.logins() == []
    assert small.visit("sudo", small.alice.pin()).who == "root", small.said()
    small.check_nothing_lost(accepted=1)


@pytest.mark.statement("P-026", "C-011")
@pytest.mark.parametrize("small", [64], indirect=True)
def test_with_a_ballast_people_get_in_on_a_full_disk_and_the_helper_makes_it_anew(small: Small) -> None:
    """It is given up with the rights of the store's owner."""
    ballast = small.house.world.outside(small.disk) / "twofold.db.ballast"
    assert ballast.exists()
    with filled(small.house.world.outside(small.disk)):
        for n, way in enumerate(("login", "sudo") * 4, 1):
            assert small.visit(way, small.alice.pin()).who == AS_WHOM[way], small.said()
            small.check_nothing_lost(accepted=n)
        assert not ballast.exists()
        assert small.said().count("twofold.db.ballast was given up") == 1
    eventually(lambda: "twofold.db.ballast was made" in small.said(), what="a ballast as before")
    assert ballast.exists()


# --- locked -------------------------------------------------------------------------------------------------------

Held = Callable[[Site], AbstractContextManager[None]]


def patient_stacks(house: House, timeout: int) -> None:
    for service in ("login", "sudo"):
        module = f"required {house.world.path}/pam_twofold.so socket={house.world.path}/pam.sock timeout={timeout}"
        house.stack(service, "requisite pam_unix.so nodelay", module)


@pytest.mark.statement("P-026", "C-010")
@pytest.mark.parametrize(("way", "held"), [("login", lock_file_held), ("sudo", transaction_held)])
def test_a_store_that_is_locked_for_longer_than_the_helper_waits(house: House, way: str, held: Held) -> None:
    """The module would wait on: it is the helper that gives up, says so, and can answer the next one."""
    house.no_policies()
    patient_stacks(house, PATIENT)
    alice, said, before = house.somebody(), len(house.said()), len(house.site.logins())
    pin = alice.pin()
    with ExitStack() as lock:

        def taken(screen: str) -> str:
            lock.enter_context(held(house.site))
            return pin

        checked(WAYS[way](house, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, taken))), way)
    lines = house.said()[said:].splitlines()
    assert [line for line in lines if f"login unavailable user=alice service={way} reason=" in line], lines
    assert not [decision for decision, _ in house.site.logins()[before:] if decision == "accept"]
    answers = ((PASSWORD_PROMPT, alice.password), (PIN, pin))
    assert WAYS[way](house, "alice", answers).who == AS_WHOM[way], "the PIN was not used up"


@pytest.mark.statement("P-018", "P-026")
def test_a_verdict_that_comes_when_the_module_has_given_up_lets_nobody_in_and_is_in_the_trail(house: House) -> None:
    """The module waits for less long than the helper, so the PIN is used up, and that is written down."""
    house.no_policies()
    patient_stacks(house, 3)
    alice, before, told = house.somebody(), len(house.site.logins()), len(house.world.log())
    pin = alice.pin()

    def gave_up() -> bool:
        return any("pam_twofold(sudo:auth): helper daemon:" in line for line in house.world.log()[told:])

    with ThreadPoolExecutor(1) as beside, ExitStack() as lock:

        def taken(screen: str) -> str:
            lock.enter_context(lock_file_held(house.site))
            return pin

        visit = beside.submit(WAYS["sudo"], house, "alice", ((PASSWORD_PROMPT, alice.password), (PIN, taken)))
        eventually(gave_up, what="the end of the module's patience")
        lock.close()
        checked(visit.result(60), "sudo")
    eventually(lambda: house.last() == ("accept", "passcode-right"), what="the row of the PIN that was used up")
    assert len(house.site.logins()[before:]) == 2, "the question and the PIN"
    answers = ((PASSWORD_PROMPT, alice.password), (PIN, pin), (AGAIN, alice.pin()))
    assert WAYS["sudo"](house, "alice", answers).who == "root"
    assert house.site.logins()[-2:] == [("again", "passcode-used"), ("accept", "passcode-right")]
