"""A host that Twofold guards: the real module in real stacks, the real helper, accounts of the system.

Rules: people are made anew for each test, with counter tokens, so that nothing waits for a clock. The stacks stand in
the world's own /etc/pam.d.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import peers
from tests.peers.pam import programs
from tests.peers.pam.programs import KEY_AND_KEYBOARD, KEYBOARD, Answers, Visit
from tests.peers.world import USERS, Running, World
from tests.site import TWOFOLD, Site, eventually
from tests.software_key.ports import Ports
from tests.vectors import reference
from validation.model import FirstFactorKind, Origin, RevokeReason
from validation.requests import AddUser, EnrollToken, RemoveUser, RevokeToken, SetRule, SetText, UnsetRule
from validation.settings import Scope

ROOT = Path(__file__).resolve().parents[3]
REST = "account required pam_unix.so\nsession required pam_permit.so\npassword required pam_deny.so\n"
TIMEOUT = 4  # seconds that the module waits for the helper; long enough for a busy machine

PASSWORD_PROMPT = programs.PASSWORD
PIN = "PIN from your authenticator app: ?$"
AGAIN = r"That PIN was not accepted\. Wait for a new one\. \d tr(y|ies) left: ?$"
CLOSE = "Press Enter to close: ?$"


@dataclass
class Person:
    """Somebody with an account and a counter token."""

    name: str
    serial: str
    key: bytes
    counter: int = 0

    @property
    def password(self) -> str:
        return USERS[self.name]

    def pin(self) -> str:
        """The next one, as the button shows it."""
        self.counter += 1
        return reference.hotp(self.key, self.counter - 1)

    def last_pin(self) -> str:
        return reference.hotp(self.key, self.counter - 1)


class House:
    def __init__(self, world: World, folder: Path, settings: str = "", ports: Ports | None = None) -> None:
        """`settings` are further lines of the configuration. With `ports` the helper finds software keys there."""
        self.world = world
        self._ports = ports
        lines = f'[store]\nchain = "web-7"\n[pam]\nsocket = "{world.path}/pam.sock"\n'
        self.site = Site(folder, lines + settings)
        built = ["make", "--silent", "--directory", str(ROOT), "module", f"BUILD={folder}"]
        subprocess.run(built, check=True, capture_output=True, timeout=120)
        module = world.path / "pam_twofold.so"  # where every user can load it
        world.run("install", "--mode=644", folder / "pam_twofold.so", module)
        self.module = f"{module} socket={world.path}/pam.sock timeout={TIMEOUT}"
        world.pam_service("twofold-first-factor", (ROOT / "contrib/pam/twofold-first-factor").read_text())
        self.helper = self.start_helper()
        self.ssh = {methods: programs.sshd(world, methods) for methods in (KEYBOARD, KEY_AND_KEYBOARD)}

    # --- the helper

    def start_helper(self) -> Running:
        socket = self.world.path / "pam.sock"
        self.world.run("rm", "-f", socket)
        command = [*TWOFOLD, "--config", str(self.site.config_file), "pam", "serve", "--socket", str(socket)]
        if self._ports is not None:
            command = self._ports.command(*command)
        running = self.world.start(*command, log="helper.log")
        eventually(lambda: self.world.outside(socket).exists() or running.process.poll() is not None, what="the helper")
        assert running.process.poll() is None, self.said()
        return running

    def said(self) -> str:
        return self.world.read(self.world.path / "helper.log")

    # --- stacks

    def stack(self, service: str, *lines: str) -> None:
        """Of `service`; `{module}` is ours."""
        auth = "".join(f"auth {line}\n" for line in lines).format(module=self.module)
        self.world.pam_service(service, auth + REST)

    def usual_stacks(self, ssh_keys: bool = False) -> None:
        """Password, then PIN. With `ssh_keys` the key stands for the password, and sshd asks for the PIN alone."""
        for service in ("login", "su", "su-l", "sudo", "sshd"):
            alone = ssh_keys and service == "sshd"
            self.stack(service, *([] if alone else ["requisite pam_unix.so nodelay"]), "required {module}")

    def combined_stacks(self) -> None:
        for service in ("login", "su", "su-l", "sudo", "sshd"):
            self.stack(service, "requisite {module} combined", "required pam_unix.so use_first_pass nodelay")

    # --- people and policies

    def somebody(self, name: str = "alice", token: bool = True, origin: Origin = Origin.SELF) -> Person:
        """Made anew, without a past."""
        self.forget(name)
        add = AddUser(actor="test", name=name, first_factor=FirstFactorKind.SYSTEM)
        self.site.gate.administer(add)
        if not token:
            return Person(name, "", b"")
        done = self.site.gate.administer(EnrollToken(actor="test", user=name, kind="hotp", origin=origin))
        return Person(name, done.serials[0], done.key or b"")

    def forget(self, name: str) -> None:
        if self.site.gate.outlook(name) is not None:
            self.site.gate.administer(RemoveUser(actor="test", name=name))

    def revoke(self, person: Person, reason: RevokeReason = RevokeReason.OTHER) -> None:
        self.site.gate.administer(RevokeToken(actor="test", serial=person.serial, reason=reason))

    def policy(self, key: str, value: str) -> None:
        self.site.gate.administer(SetRule(actor="test", key=key, value=value, scope=Scope()))

    def no_policies(self) -> None:
        book = self.site.gate.policies()
        for rule in book.rules:
            self.site.gate.administer(UnsetRule(actor="test", key=rule.key, scope=rule.scope))
        for text in book.texts:
            command = SetText(actor="test", key=text.key, language=text.language, text="", scope=text.scope)
            self.site.gate.administer(command)
        self.policy("reject_delay", "0")

    def last(self) -> tuple[object, object]:
        return self.site.logins()[-1]


# --- the ways in ------------------------------------------------------------------------------------------------

Way = Callable[[House, str, Answers], Visit]


def _sudo(house: House, name: str, answers: Answers) -> Visit:
    return programs.sudo(house.world, name, answers)


WAYS: dict[str, Way] = {
    "login": lambda house, name, answers: programs.login(house.world, name, answers),
    "su": lambda house, name, answers: programs.su(house.world, name, answers, by="carol"),
    "sudo": _sudo,
    "ssh": lambda house, name, answers: house.ssh[KEYBOARD].visit(name, answers),
    "ssh-key": lambda house, name, answers: house.ssh[KEY_AND_KEYBOARD].visit(name, answers, KEY_AND_KEYBOARD),
}


@dataclass(frozen=True)
class Entrance:
    """One way in, and how its questions begin."""

    house: House
    way: str

    def visit(self, person: Person, *answers: tuple[str, str | Callable[[str], str]], password: str = "") -> Visit:
        """The password comes first, where one is asked for."""
        first = () if self.way == "ssh-key" else ((PASSWORD_PROMPT, password or person.password),)
        return WAYS[self.way](self.house, person.name, (*first, *answers))

    def is_in(self, visit: Visit, name: str) -> bool:
        return visit.who == ("root" if self.way == "sudo" else name)


@pytest.fixture(scope="session")
def house(world: World, tmp_path_factory: pytest.TempPathFactory) -> House:
    for program in ("cc", "make"):
        peers.require(program)
    world.add_user("carol", "pw-carol")
    return House(world, tmp_path_factory.mktemp("house"))


@pytest.fixture(params=list(WAYS))
def entrance(house: House, request: pytest.FixtureRequest) -> Entrance:
    house.no_policies()
    house.usual_stacks(ssh_keys=request.param == "ssh-key")
    return Entrance(house, request.param)
