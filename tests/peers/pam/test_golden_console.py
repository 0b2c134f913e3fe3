"""The console rows of the golden table, through `pamtester`, the real module and the real helper.

What PAM cannot bring about is left out: that a password which was typed is not checked.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.golden import ADDRESSES, ROWS, Row
from tests.flows.test_golden import WRONG_PASSWORD, House, Person, built
from tests.peers import peers
from tests.peers.pam.house import ROOT
from tests.peers.pam.programs import Screen, screen
from tests.peers.world import World
from tests.site import PASSWORD, TWOFOLD, eventually

pytestmark = pytest.mark.peer("pamtester", "nsenter", "unshare", "cc")

SERVICE = "golden"
QUESTION = r"(?P<asked>: \Z)"
END = "(?P<end>successfully authenticated|Authentication failure|Permission denied|cannot retrieve)"
# pam_unix knows none of these people: it asks for the password, which is for us to check. A verdict of PAM_IGNORE
# leaves the word to pam_permit.
STACK = """\
auth [default=ignore] pam_unix.so nodelay
auth required {module}
auth required pam_permit.so
"""
CONSOLE = [row for row in ROWS if row.door == "console" and row.first != "NOT_CHECKED"]


@dataclass
class Console:
    world: World
    house: House

    def walk(self, row: Row, person: Person) -> bool:
        """Whether the person got in. Who is asked more than the row answers hangs up."""
        source = ADDRESSES[row.source]
        rhost = ("-I", f"rhost={source}") if source is not None else ()
        command = (peers.require("pamtester"), *rhost, SERVICE, person.name, "authenticate")
        with screen(self.world, *command) as shown:
            answers = [WRONG_PASSWORD if row.first == "WRONG" else PASSWORD]
            return self._answer(shown, answers, row.answers, person)

    def _answer(self, shown: Screen, passwords: list[str], words: list[str], person: Person) -> bool:
        while True:
            found = shown.wait_for(f"{END}|{QUESTION}")
            if found is None or found["end"] is not None:
                return found is not None and found["end"] == "successfully authenticated"
            if passwords:
                shown.type(passwords.pop())
            elif words:
                shown.type(person.typed(words.pop(0), shown.text, self.house.clock.now))
            else:
                return False


@pytest.fixture(scope="module")
def console(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("golden")
    house = built(folder)
    house.console = f"{SERVICE}@{house.site.config.chain}"
    command = ["make", "--silent", "--directory", str(ROOT), "module", f"BUILD={folder}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    socket = Path(world.path / "golden.sock")
    world.pam_service(SERVICE, STACK.format(module=f"{folder}/pam_twofold.so socket={socket}"))
    serve = [*TWOFOLD, "--config", str(house.site.config_file), "pam", "serve", "--socket", str(socket)]
    helper = world.start(*serve, log="golden.log")
    eventually(lambda: world.outside(socket).exists(), what="the helper")
    yield Console(world, house)
    helper.stop()


@pytest.mark.parametrize("row", CONSOLE, ids=lambda row: row.id)
def test_a_console_gets_what_the_table_says(console: Console, row: Row) -> None:
    person = console.house.settle(row, f"p{row.number}", broken=row.first == "UNAVAILABLE")
    got_in = console.walk(row, person)
    assert got_in == (row.decision == "accept")
    assert console.house.last_login(person.name) == (row.decision, row.reason)


def test_the_table_has_console_rows_of_every_sort() -> None:
    assert {row.decision for row in CONSOLE} == {"accept", "challenge", "again", "reject"}
    assert {"onboard", "ask", "let-in", "refuse"} == {row.next for row in CONSOLE}
    assert len(CONSOLE) > 20
