"""Real login programs while the helper waits for a key: Enter ends the wait, Ctrl-C ends program and wait.

The helper is a script that waits; the module, PAM and the programs are real.
"""

import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.pam_helper.module.hostile import Connection, Hostile, frame, verdict
from tests.peers import peers
from tests.peers.pam.house import REST, ROOT
from tests.peers.pam.programs import PASSWORD, PROOF, WAIT, Screen, screen
from tests.peers.world import USERS, World

pytestmark = pytest.mark.peer("login", "su", "sudo", "cc", "unshare", "nsenter")

CUE = "Touch your key, or press Enter"
NOW = "Waiting"
WAYS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "login": (("login", "alice"), None),
    "su": (("su", "alice", "-c", PROOF), "bob"),
    "sudo": (("sudo", "-k", "sh", "-c", PROOF), "alice"),
}


@dataclass
class Helper:
    """Waits in each conversation, and keeps the answer; "" when the program has gone."""

    heard: list[tuple[str, bytes]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    end_wait: threading.Event = field(default_factory=threading.Event)

    def script(self, connection: Connection) -> None:
        user = connection.hello()["user"]
        connection.send(frame("I", CUE) + frame("T", (60_000).to_bytes(4, "big")) + frame("I", NOW))
        if self.end_wait.is_set():
            connection.send(frame("t"))
        self.heard.append(connection.hear())
        self.ended.set()
        if self.heard[-1][0]:
            connection.send(verdict("S", user))


@pytest.fixture(scope="module")
def module(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("module")
    built = ["make", "--silent", "--directory", str(ROOT), "module", f"BUILD={folder}"]
    subprocess.run(built, check=True, capture_output=True, timeout=120)
    path = world.path / "pam_waiting.so"
    world.run("install", "--mode=644", folder / "pam_twofold.so", path)
    return path


@pytest.fixture
def helper(world: World, module: Path) -> Iterator[Helper]:
    path = world.path / "waiting.sock"
    for service in ("login", "su", "sudo"):
        auth = f"auth required pam_unix.so nodelay\nauth required {module} socket={path}\n"
        world.pam_service(service, auth + REST)
    made = Helper()
    with Hostile(world.outside(path), [made.script]):
        yield made


def waiting_in(world: World, way: str, then: Callable[[Screen], None]) -> str:
    """The screen in the end. What is done is done when the module waits."""
    (program, *words), user = WAYS[way]
    password = USERS["alice"]
    with screen(world, peers.require(program), *words, user=user) as shown:
        assert shown.wait_for(PASSWORD)
        shown.type(password)
        assert shown.wait_for(CUE)
        assert shown.wait_for(NOW)
        then(shown)
        return shown.text


def is_in(shown: Screen, way: str) -> None:
    if way == "login":
        assert shown.wait_for(r"\$ $")
        shown.type(f"{PROOF}; exit")
    assert shown.wait_for("IN-root" if way == "sudo" else "IN-alice")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("typed", ["", "123456"])
def test_a_line_ends_the_wait(world: World, helper: Helper, way: str, typed: str) -> None:
    def then(shown: Screen) -> None:
        shown.type(typed)
        is_in(shown, way)

    waiting_in(world, way, then)
    assert helper.heard == [("L", typed.encode())]


@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_the_wait_lets_in(world: World, helper: Helper, way: str) -> None:
    helper.end_wait.set()
    waiting_in(world, way, lambda shown: is_in(shown, way))
    assert helper.heard == [("N", b"")]


@pytest.mark.statement("P-017")
@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_ends_program_and_wait(world: World, helper: Helper, way: str) -> None:
    """sudo does not hear of it before it has an answer, so the module gives up for it."""

    def then(shown: Screen) -> None:
        shown.end()
        assert helper.ended.wait(WAIT), shown.text
        assert "IN-" not in shown.text, "the program has ended"

    waiting_in(world, way, then)
    assert helper.heard == [("X" if way == "sudo" else "", b"")]


@pytest.mark.statement("P-017")
@pytest.mark.parametrize("way", WAYS)
def test_closing_the_window_ends_the_wait(world: World, helper: Helper, way: str) -> None:
    waiting_in(world, way, lambda shown: None)
    assert helper.ended.wait(WAIT)
    assert helper.heard[0][0] in ("X", "")
