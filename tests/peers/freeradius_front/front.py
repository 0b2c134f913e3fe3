"""Debian's FreeRADIUS in front of Twofold, put there by contrib/freeradius/install.sh.

Rules: FreeRADIUS runs in a world of its own (192.0.2.10), in which /etc/freeradius is as the package has it; Twofold in
another (192.0.2.1 and 192.0.2.2), at the other end of a cable. Gateways ask from FreeRADIUS's own loopback, and a third
world can be the device of a person. Nothing is set but what README.md tells to set.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.architecture.source import ROOT
from tests.gateways.programs import built
from tests.peers import road as roads
from tests.peers.authority import Authority
from tests.peers.road import Person
from tests.peers.test_radclient import Heard, heard
from tests.peers.world import Running, World, world_or_skip
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually

TWOFOLD, OTHER, FRONT = "192.0.2.1", "192.0.2.2", "192.0.2.10"
HOST = "radius.example.org"  # the name in the certificate
NAS_SECRET = "the-secret-of-the-gateway"
CONTRIB = ROOT / "contrib" / "freeradius"
RADDB = "/etc/freeradius/3.0"
SETTINGS = f"{RADDB}/twofold.conf"
CERTIFICATE, KEY = f"{RADDB}/certs/radius.pem", f"{RADDB}/certs/radius.key"
PROGRAMS = ("freeradius", "radclient", "openssl", *roads.PROGRAMS)  # for pytest.mark.peer


def settings(secret: str = SECRET.decode(), client: str = "", **values: str) -> str:
    """The administrator's file with what he has to put in, a client on loopback, and `values` as he likes."""
    text = (CONTRIB / "raddb" / "twofold.conf").read_text()
    named = {"secret": secret, "certificate": CERTIFICATE, "private_key": KEY} | values
    for name, value in named.items():
        text, changed = re.subn(rf'^(twofold_{name}) = "[^"]*"$', rf'\1 = "{value}"', text, flags=re.MULTILINE)
        assert changed == 1, name
    text = text.replace("192.0.2.20", "127.0.0.1").replace("put-the-secret-of-the-gateway-here", NAS_SECRET)
    return text.replace("# plain_gtc = yes\n    }\n", f"# plain_gtc = yes\n    }}\n{client}")


@dataclass
class Front:
    """The host of FreeRADIUS, with Twofold behind."""

    world: World
    other: World  # where Twofold is
    site: Site
    server: ServerProcess
    ca: Path
    contrib: Path  # contrib/freeradius with the program in it, as it is copied to a host
    radius: Running | None = None
    people: list[Person] = field(default_factory=list)

    def newcomer(self, name: str = "", password: str = PASSWORD, groups: tuple[str, ...] = ()) -> Person:
        name = name or f"user{len(self.people) + 1}"
        self.site.add_user(name, password, groups)
        self.people.append(Person(name, self.site.enroll(name, kind="hotp"), password))
        return self.people[-1]

    def reasons(self, name: str) -> list[object]:
        """Why each login of `name` was let in or refused, from old to new."""
        return [row["reason"] for row in self.site.audit() if row["event"] == "login" and row["user"] == name]

    def install(self, site: str) -> str:
        return self.world.run(self.contrib / "install.sh", site).stdout

    def check(self) -> "subprocess.CompletedProcess[str]":
        return self.world.run(self.contrib / "install.sh", "--check", check=False)

    def write_settings(self, text: str) -> None:
        """As an editor does: owner and rights stay."""
        self.world.run("sh", "-c", f"cat >{SETTINGS}", stdin=text)

    def start(self) -> None:
        """What `systemctl restart freeradius` does."""
        self.stop()
        self.world.run("install", "-d", "-o", "freerad", "-g", "freerad", "/run/freeradius", "/var/log/freeradius")
        self.world.run("sh", "-c", f": >{self.world.path}/freeradius.log")
        command = ("freeradius", "-f", "-xx", "-l", "stdout")
        self.radius = self.world.start(*command, log="freeradius.log")
        ended = self.radius.process.poll
        eventually(lambda: "Ready to process requests" in self.log() or ended() is not None, 60, "FreeRADIUS")
        assert ended() is None, self.log()[-3000:]

    def stop(self) -> None:
        if self.radius is not None:
            self.radius.stop()
            self.radius = None

    def log(self) -> str:
        return self.world.read(self.world.path / "freeradius.log")

    def ask(self, name: str, typed: str, *more: str, kind: str = "auth", timeout: int = 20) -> Heard:
        """One packet of a gateway on FreeRADIUS's own host."""
        attributes = [f'User-Name = "{name}"', f'User-Password = "{typed}"', "Message-Authenticator = 0x00", *more]
        return self.send(attributes, kind, timeout)

    def send(self, attributes: list[str], kind: str = "auth", timeout: int = 20) -> Heard:
        command = ("radclient", "-x", "-r", "1", "-t", str(timeout), "127.0.0.1:1812", kind, NAS_SECRET)
        return heard(self.world.run(*command, stdin="\n".join(attributes), check=False))


def copied(folder: Path) -> Path:
    """contrib/freeradius with the program in it, as it is copied to a host."""
    place = folder / "freeradius"
    shutil.copytree(CONTRIB, place)
    built("freeradius", place)
    return place


@contextmanager
def untouched(folder: Path) -> Iterator[tuple[World, World, Path]]:
    """The host of FreeRADIUS as its package left it, with a certificate; that of Twofold, with nothing on it yet; and
    the authority of the certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder, "ca")
    certificate, key = authority.sign("radius", HOST)
    with world_or_skip(network=True) as world, world_or_skip(network=True) as other:
        world.cable(other, f"{FRONT}/24", f"{TWOFOLD}/24")
        other.run("ip", "address", "add", f"{OTHER}/24", "dev", "eth0")
        world.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/usr/local/sbin")
        for source, place in ((certificate, CERTIFICATE), (key, KEY)):
            world.run("install", "-o", "root", "-g", "freerad", "-m", "640", source, place)
        yield world, other, authority.file


@contextmanager
def front(folder: Path, *client: str, config: str | None = None) -> Iterator[Front]:
    """With Twofold running. `client` are the options of `twofold client add front ADDRESS …`."""
    site = Site(folder / "site", config)
    added = site.command("client", "add", "front", FRONT, *client, "--secret-stdin", stdin=SECRET + b"\n")
    assert added.returncode == 0, added.stderr
    with (
        untouched(folder) as (world, other, ca),
        roads.serving(site, other, f"{TWOFOLD}:1812", f"{OTHER}:1812") as server,
    ):
        made = Front(world, other, site, server, ca, copied(folder))
        yield made
        made.stop()
