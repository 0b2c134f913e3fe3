"""The RADIUS server as its own user, root's helper beside it, accounts of a real host, and `radclient` at the door."""

import itertools
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from first_factor.asking import Question
from first_factor.guesses import ACCOUNT_FREE
from tests.pam_helper.host import open_folder
from tests.peers.test_radclient import Heard, run_radclient
from tests.peers.world import Running, World
from tests.site import TWOFOLD, ServerProcess, Site, eventually, pin
from tests.wire import access_request
from validation.model import FirstFactorKind, Mode, Token
from validation.requests import AddUser

pytestmark = pytest.mark.peer("nsenter", "unshare", "useradd", "chpasswd", "radclient")

SHIPPED = Path(__file__).resolve().parents[3] / "contrib" / "pam" / "twofold-first-factor"
SERVER = "radiusd"  # the account of the server
WRONG = "pw-wrong"
APPEND = "127.0.0.2"
LIMIT = 2  # seconds that the helper is waited for
CAPS = "-all,+dac_read_search"  # for the folder of Python, which root alone may be able to enter

ASK = """
import json, socket, sys
path, name, questions = json.load(sys.stdin)
answers = []
for question in questions:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(30)
        one.connect(path)
        one.sendall(bytes.fromhex(question))
        answers.append(one.recv(1000)[5:6].decode())
print(json.dumps(answers))
"""


class Place:
    """A host where the server runs as `SERVER`, to whom the store belongs."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        world.pam_service("twofold-first-factor", SHIPPED.read_text())
        world.run("useradd", "--system", SERVER)
        self.uid = int(world.run("id", "-u", SERVER).stdout)
        self.socket = world.path / "asking" / "pam.sock"
        self.log = world.path / "asking.log"
        world.run("mkdir", "-p", self.socket.parent)
        self.site = Site(
            folder,
            f'[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n[pam]\nsocket = "{self.socket}"\n'
            f"[first_factor.system]\ntime_limit = {LIMIT}\n",
        )
        self.site.add_client()
        self.site.add_client("vpn2", f"{APPEND}/32", mode=Mode.APPEND)
        for path in (folder, *folder.iterdir()):
            if path != self.site.config_file:
                os.chown(path, self.uid, self.uid)
        self._names = (f"user{number}" for number in itertools.count())
        self.helper = self.start_helper()

    def start_helper(self) -> Running:
        self.world.run("rm", "-f", self.socket)
        serve = ["pam", "serve", "--socket", str(self.socket)]
        running = self.world.start(*TWOFOLD, "--config", self.site.config_file, *serve, log="asking.log")
        eventually(
            lambda: self.world.outside(self.socket).exists() or running.process.poll() is not None, what="the helper"
        )
        assert running.process.poll() is None, self.world.read(self.log)
        return running

    def restart_helper(self) -> None:
        self.helper.stop()
        self.helper = self.start_helper()

    def as_uid(self, uid: int) -> list[str]:
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
        return self.world.among_our_processes(*become, f"--inh-caps={CAPS}", f"--ambient-caps={CAPS}", "--")

    def somebody(self, *options: str, account: bool = True, name: str = "") -> tuple[str, str, Token]:
        """Name, password of the account, and a counter token."""
        name = name or next(self._names)
        password = f"pw-of-{name}"
        if account:
            self.world.add_user(name, password, *options)
        self.site.gate.administer(AddUser(actor="test", name=name, first_factor=FirstFactorKind.SYSTEM))
        return name, password, self.site.enroll(name, kind="hotp")

    def ask(self, uid: int, name: str, *passwords: str) -> str:
        """The letters of the helper's answers, asked directly as `uid`."""
        questions = [Question(name.encode(), password.encode()).encode().hex() for password in passwords]
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        caps = [f"--inh-caps={CAPS}", f"--ambient-caps={CAPS}", "--"]
        given = json.dumps([str(self.socket), name, questions])
        done = self.world.run(*become, *caps, sys.executable, "-I", "-S", "-c", ASK, stdin=given)
        return "".join(json.loads(done.stdout))

    def pam_said(self, since: int) -> str:
        return "\n".join(line for line in self.world.log()[since:] if "twofold-first-factor" in line)


@pytest.fixture(scope="module")
def place(world: World) -> Iterator[Place]:
    with open_folder() as folder:
        made = Place(world, folder / "site")
        yield made
        made.helper.stop()


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[ServerProcess]:
    with place.site.server(program=[*place.as_uid(place.uid), *TWOFOLD]) as running:
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        assert f"Uid:\t{place.uid}\t{place.uid}\t{place.uid}\t{place.uid}" in status
        yield running


def login(server: ServerProcess, name: str, typed: str, state: str = "", source: str = "", timeout: int = 10) -> Heard:
    attributes = [f'User-Name = "{name}"', f'User-Password = "{typed}"', "Message-Authenticator = 0x00"]
    attributes += [f"State = {state}"] if state else []
    attributes += [f"Packet-Src-IP-Address = {source}"] if source else []
    return run_radclient(server, "auth", attributes, timeout=timeout)


def check_right(server: ServerProcess, somebody: tuple[str, str, Token], ahead: int = 0) -> None:
    name, password, token = somebody
    asked = login(server, name, password)
    assert asked.code == "Access-Challenge", server.log
    assert asked.state is not None
    assert login(server, name, pin(token, ahead), asked.state).code == "Access-Accept"


def test_the_accounts_password_and_then_a_pin(place: Place, server: ServerProcess) -> None:
    check_right(server, place.somebody())


def test_password_and_pin_in_one_field(place: Place, server: ServerProcess) -> None:
    name, password, token = place.somebody()
    assert login(server, name, password + pin(token), source=APPEND).code == "Access-Accept"
    assert login(server, name, WRONG + pin(token, 1), source=APPEND).code == "Access-Reject"


def test_a_wrong_password_is_one_failure(place: Place, server: ServerProcess) -> None:
    name, *_ = place.somebody()
    assert login(server, name, WRONG).code == "Access-Reject"
    assert place.site.failures(name)["password"] == 1


@pytest.mark.statement("C-034")
def test_accounts_of_the_hosts_own_are_refused_and_pam_never_hears_their_names(
    place: Place, server: ServerProcess
) -> None:
    place.world.set_password("root", "pw-of-root")
    root = place.somebody(account=False, name="root")
    system = place.somebody("--system")
    before = len(place.world.log())
    for name, password, _ in (root, system):
        assert login(server, name, password).code == "Access-Reject"
        assert place.site.failures(name)["password"] == 1
        assert name not in place.pam_said(before)
    assert place.pam_said(before).count("check pass; user unknown") == 2


def test_who_has_no_account_is_wrong(place: Place, server: ServerProcess) -> None:
    name, password, _ = place.somebody(account=False)
    assert login(server, name, password).code == "Access-Reject"
    assert place.site.failures(name)["password"] == 1


@pytest.mark.statement("V-012")
@pytest.mark.parametrize(
    "ended", [("passwd", "--lock"), ("chage", "--expiredate", "1970-01-02")], ids=["locked", "expired"]
)
def test_an_account_that_the_host_has_ended_is_wrong(
    place: Place, server: ServerProcess, ended: tuple[str, ...]
) -> None:
    somebody = place.somebody()
    check_right(server, somebody)
    place.world.run(*ended, somebody[0])
    assert login(server, somebody[0], somebody[1]).code == "Access-Reject"
    assert place.site.failures(somebody[0])["password"] == 1


def test_while_the_helper_is_stopped_there_is_silence_and_nothing_is_counted(
    place: Place, server: ServerProcess
) -> None:
    somebody = place.somebody()
    place.helper.stop()
    assert login(server, somebody[0], somebody[1], timeout=1).code is None
    assert login(server, somebody[0], WRONG, timeout=1).code is None
    assert place.site.logins()[-2:] == [("reject", "first-factor-unavailable")] * 2
    assert place.site.failures(somebody[0]).get("password", 0) == 0
    assert f"no helper answers at {place.socket}" in server.log
    place.helper = place.start_helper()
    check_right(server, somebody)


def test_a_helper_that_hangs_holds_up_nobody_else(place: Place, server: ServerProcess) -> None:
    """More logins than may wait for it; then a user whose password is elsewhere."""
    somebody, before = place.somebody(), len(place.site.logins())
    place.site.add_user("local")
    place.site.enroll("local")
    place.helper.send(signal.SIGSTOP)
    try:
        with server.nas() as nas:
            for _ in range(30):
                nas.send(access_request(nas.secret, somebody[0], somebody[1]).data)
            assert login(server, "local", "geheim").code == "Access-Challenge"
            eventually(lambda: len(place.site.logins()) == before + 31, what="the end of all logins")
    finally:
        place.helper.send(signal.SIGCONT)
    reasons = [reason for _, reason in place.site.logins()[before:]]
    assert reasons.count("first-factor-unavailable") == 30
    assert place.site.failures(somebody[0]).get("password", 0) == 0
    check_right(server, somebody)


@pytest.mark.statement("P-019")
def test_another_account_gets_no_answer_and_is_written_down(place: Place) -> None:
    name, password, _ = place.somebody()
    uid = int(place.world.run("id", "-u", name).stdout)
    assert place.ask(uid, name, password, WRONG) == "NN"
    assert f"refused uid {uid}" in place.world.read(place.log)
    assert place.ask(place.uid, name, password, WRONG) == "SD"


def test_a_server_that_was_broken_into_cannot_try_passwords_for_ever(place: Place, server: ServerProcess) -> None:
    somebody, other = place.somebody(), place.somebody()
    name, password, _ = somebody
    tried = place.ask(place.uid, name, *[WRONG] * (ACCOUNT_FREE + 5), password)
    assert tried == "D" * ACCOUNT_FREE + "T" * 6, "not even the right one is told"
    assert f"no password of user={name} is checked now" in place.world.read(place.log)
    assert login(server, name, password, timeout=2).code is None
    assert place.site.logins()[-1] == ("reject", "first-factor-unavailable")
    assert place.site.failures(name).get("password", 0) == 0
    assert f"the helper lets this account wait, after wrong passwords (user={name})" in server.log
    check_right(server, other)
    place.restart_helper()
    check_right(server, somebody)


@pytest.mark.statement("P-013")
def test_no_password_was_logged_on_either_side(place: Place, server: ServerProcess) -> None:
    name, password, _ = place.somebody()
    login(server, name, password)
    login(server, name, WRONG)
    said = server.log + place.world.read(place.log) + "\n".join(place.world.log())
    assert name in said
    for secret in (password, WRONG):
        assert secret not in said
