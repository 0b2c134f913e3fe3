"""docs/radius/pam_radius.md is followed to the letter: the server's part in a store of its own, the host's part in a
world of its own. What people see is what the page shows.

Stood in for: the two addresses of the page are addresses of the loopback here, SECRET is the secret that was made, and
apt and systemctl do nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import Host, files, steps, text_of
from tests.peers.pam import programs
from tests.peers.pam.programs import Sshd
from tests.peers.world import World, world_or_skip
from tests.site import PASSWORD, ServerProcess, eventually, pin

PAGE = "radius/pam_radius.md"
SERVER, GUARDED = "192.0.2.1:1812", "192.0.2.10"
HERE = "127.0.0.10"  # stands for GUARDED
NO_PROGRAMS = "apt() { :; }; systemctl() { :; }; "
ASKED, PIN, AGAIN = "Password: ?$", "authenticator app: ?$", r"\d tr(y|ies) left: ?$"

pytestmark = pytest.mark.peer("pam_radius_auth.so", "ssh", "sshd", "ssh-keygen", "nsenter", "unshare")


@dataclass
class Followed:
    """Everything on the page has been done."""

    host: Host
    server: ServerProcess
    ssh: Sshd


def follow_on_the_host(world: World, server: ServerProcess, secret: str) -> dict[str, str]:
    """Writes the files of the page and types its commands; the settings that sshd gets."""
    part = text_of(PAGE, "On the host")
    world.write("/etc/pam.d/sshd", Path("/etc/pam.d/sshd").read_text())  # as Debian has it
    address, port = server.address
    for path, content in files(part).items():
        content = content.replace(SERVER, f"{address}:{port}").replace(GUARDED, HERE).replace("SECRET", secret)
        world.write(path, content)
    for step in steps(part):
        world.run("sh", "-e", "-c", NO_PROGRAMS + step.command)
    assert world.run("stat", "-c", "%a", "/etc/pam_radius_auth.conf").stdout == "600\n"
    lines = world.read("/etc/ssh/sshd_config.d/twofold.conf").splitlines()
    return {key: value for key, _, value in (line.partition(" ") for line in lines)}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    host = Host(tmp_path_factory.mktemp("page") / "host")
    part = text_of(PAGE, "On the Twofold server")
    said = host.follow(part.replace(GUARDED, HERE))
    (secret,) = re.findall(r"^Secret +(\S+)$", "\n".join(said), re.MULTILINE)
    with world_or_skip() as world, host.server("--listen", "127.0.0.1:0") as server:
        settings = follow_on_the_host(world, server, secret)
        yield Followed(host, server, programs.sshd(world, **settings))


def shown_on_the_page() -> list[str]:
    """The screens under "What the person sees"."""
    part = text_of(PAGE, "What the person sees")
    return re.findall(r"^```text\n\$ ssh alice@web\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def as_on_the_page(screen: str) -> list[str]:
    """A real screen with the names of the page; digits that were typed are as good as others."""
    lines = screen.replace("\r", "").replace("alice@127.0.0.1", "alice@web").splitlines()
    return [re.sub(r"\d{6}$", "PIN", line.strip()) for line in lines if line.strip() and not line.startswith("IN-")]


def test_what_people_see_is_what_the_page_shows(followed: Followed) -> None:
    followed.host.add_user("alice")
    token = followed.host.enroll("alice", kind="hotp")
    right, slip, wrong = map(as_on_the_page, shown_on_the_page())
    entered = followed.ssh.visit("alice", ((ASKED, PASSWORD), (PIN, pin(token))))
    assert (entered.who, as_on_the_page(entered.screen)) == ("alice", right), followed.server.log
    entered = followed.ssh.visit("alice", ((ASKED, PASSWORD), (PIN, "000000"), (AGAIN, pin(token, 1))))
    assert (entered.who, as_on_the_page(entered.screen)) == ("alice", slip)
    refused = followed.ssh.visit("alice", ((ASKED, "wrong"),))
    assert (refused.who, as_on_the_page(refused.screen)) == (None, wrong)


def test_the_whole_ticket_text_of_the_page_is_shown(followed: Followed) -> None:
    followed.host.add_user("bob")
    whole = r"Ticket [0-9A-Z-]+, 10 minutes: run twofold ticket redeem, then type a new PIN here: ?$"
    refused = followed.ssh.visit("bob", ((ASKED, PASSWORD), (whole, "1"), (AGAIN, "2"), (AGAIN, "3")))
    assert refused.who is None, refused.screen


def test_an_account_of_the_host_that_twofold_does_not_know_is_refused(followed: Followed) -> None:
    followed.ssh.world.add_user("carol", "pw-carol")
    assert followed.ssh.visit("carol", "pw-carol").who is None
    eventually(lambda: "reason=user-unknown" in followed.server.log, what="the line of the reject")
