"""contrib/freeradius/README.md is followed to the letter: the server's part in a store of its own, the host's part on
an untouched FreeRADIUS in a world of its own.

Stood in for: apt and systemctl (which starts FreeRADIUS), the secrets of the page, the folder that was copied, and the
PINs, which the token shows now.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import File, Host, Step, blocks, same, text_of
from tests.peers import road as roads
from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.front import CONTRIB, OTHER, TWOFOLD, Front
from tests.peers.road import Person

pytestmark = pytest.mark.peer("eapol_test", *fronts.PROGRAMS)

PAGE = "../contrib/freeradius/README.md"
GATEWAYS = {"SECRET-OF-THE-VPN-GATEWAY": "the-secret-of-the-vpn-gateway", "SECRET-OF-THE-TRIAL": "the-secret-of-trial"}
PIN = re.compile(r"(?<=geheim)\d{6}")


@dataclass
class Followed:
    front: Front
    secret: str
    alice: Person

    @property
    def folder(self) -> Path:
        return self.front.contrib

    def follow(self, heading: str) -> None:
        for block in blocks(text_of(PAGE, heading)):
            if isinstance(block, File):
                self.write(block)
            else:
                for step in block:
                    self.type(step)

    def put_in(self, text: str, used: bool = False) -> str:
        """Secrets and PINs for those of the page; what is to be refused gets the PIN that was used."""
        for name, value in GATEWAYS.items():
            text = text.replace(name, value)
        text = text.replace('"SECRET"', f'"{self.secret}"').replace("/etc/ssl/ca.pem", str(self.front.ca))
        return PIN.sub(lambda _: self.alice.last_pin if used else self.alice.pin(), text)

    def write(self, file: File) -> None:
        content = self.put_in(file.content)
        if file.name == "network.conf":
            (self.folder / file.name).write_text(content)
        else:
            self.front.write_settings(edited(self.front.world.read(file.name), content))

    def type(self, step: Step) -> None:
        command = self.put_in(step.command, used=step.fails)
        if command == "systemctl restart freeradius":
            self.front.start()
            return
        script = f"apt() {{ :; }}\ncd {self.folder}\n{command.replace('/root/freeradius', str(self.folder))}"
        done = self.front.world.run("sh", "-e", "-c", script, check=False)
        said = done.stdout + done.stderr
        assert (done.returncode != 0) is step.fails, (command, said)
        assert not step.shown or same(step.shown, said.splitlines()), (command, step.shown, said)


def edited(text: str, lines: str) -> str:
    """A line in the place of that of its name, a section in the place of the section."""
    if lines.startswith("clients"):
        parts = [(r"^clients twofold \{\n.*?^\}\n", lines)]
    else:
        parts = [(rf"^{line.partition(' ')[0]} = [^\n]*\n", f"{line}\n") for line in lines.splitlines()]
    for pattern, part in parts:
        found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
        assert found, part
        text = text[: found.start()] + part + text[found.end() :]
    return text


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    folder = tmp_path_factory.mktemp("page")
    host = Host(folder / "host")
    said = host.follow(text_of(PAGE, "On the Twofold server"))
    (secret,) = re.findall(r"^Secret +(\S+)$", "\n".join(said), re.MULTILINE)
    host.add_user("alice")
    alice = Person("alice", host.enroll("alice", kind="hotp"))
    with (
        fronts.untouched(folder) as (world, other, ca),
        roads.serving(host, other, f"{TWOFOLD}:1812", f"{OTHER}:1812") as server,
    ):
        made = Followed(Front(world, other, host, server, ca, fronts.copied(folder)), secret, alice)
        yield made
        made.front.stop()


def test_from_zero_to_a_login_to_wifi_and_out_again(followed: Followed) -> None:
    """In the order of the page: each part builds on the one before."""
    followed.follow("On the host of FreeRADIUS")
    assert followed.front.reasons("alice") == ["passcode-right", "passcode-used"]
    followed.follow("EAP: Wi-Fi, 802.1X, IKEv2")
    assert followed.front.reasons("alice")[2:] == ["passcode-right"]
    followed.follow("FreeRADIUS checks the password")
    checked = followed.front.world.run("sh", "-c", f"{followed.folder}/install.sh --check")
    assert checked.stdout.endswith("all is well\n")
    followed.follow("Out again")
    assert followed.front.world.run("freeradius", "-XC").stdout.endswith("Configuration appears to be OK\n")


def test_the_numbers_of_the_page_are_those_of_the_files() -> None:
    home = (CONTRIB / "raddb" / "twofold" / "home_server.conf").read_text()
    section = text_of(PAGE, "When a Twofold server dies")
    said = re.findall(r"`((?:response|zombie|status|check|num)_\w+ = [\w.-]+)`", section)
    assert len(said) == 6
    assert [line for line in said if f"{line}\n" not in home] == []
