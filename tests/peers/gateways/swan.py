"""A real strongSwan on a gateway, as its page sets it up, and somebody at a terminal with charon-cmd.

Rules: what the page says to write is written, word for word but for secrets. Stood in for: the kernel of a test machine
may have no ESP, so kernel-libipsec carries the tunnel on both sides, which needs `encap = yes`. Whoever is in proves it
by a ping to an address behind the gateway, and ends the session himself.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import text_of
from tests.peers import peers
from tests.peers.pam.programs import Screen, screen
from tests.peers.world import World
from tests.site import eventually

PAGE = "radius/strongswan.md"
HOST = "vpn.test"  # the name in the certificate
INSIDE = "10.10.0.1"  # of the network behind the gateway
RADIUS_PLUGIN, CONNECTION = "/etc/strongswan.d/charon/eap-radius.conf", "/etc/swanctl/conf.d/twofold.conf"
LIBIPSEC = "/etc/strongswan.d/charon/kernel-libipsec.conf"
LOG = "charon.log"
PROGRAMS = (
    "charon",
    "charon-cmd",
    "libstrongswan-eap-radius.so",
    "libstrongswan-openssl.so",
    "libstrongswan-xauth-generic.so",
    "ping",
    "setsid",
    "swanctl",
)  # for pytest.mark.peer
_LOGGING = "charon {{\n  filelog {{\n    test {{\n      path = {path}\n      flush_line = yes\n    }}\n  }}\n}}\n"
_QUESTION = r"^(?:EAP password|PIN): $"
_END = r"CHILD_SA \w+\{\d+\} established|authentication .*failed|received EAP_FAILURE|deleting IKE_SA|giving up"


@dataclass(frozen=True)
class Visit:
    """`address` is the person's in the tunnel; None: he did not get in."""

    screen: str
    address: str | None

    @property
    def asked(self) -> list[str]:
        """Every line that is a question and not charon-cmd's log."""
        return [line.strip() for line in self.screen.splitlines() if re.match("(?:EAP password|PIN):", line)]


@dataclass
class Gateway:
    world: World
    traveller: World
    ca: Path

    @property
    def log(self) -> str:
        return self.world.read(self.world.path / LOG)

    def load(self, connection: str) -> None:
        """In place of what was loaded before."""
        self.world.write(CONNECTION, connection)
        self.world.run("swanctl", "--load-all", "--clear")

    def visit(self, name: str, profile: str, *typed: str) -> Visit:
        """Types each into the next question; at the end he is in or not."""
        program = (peers.require("charon-cmd"), "--host", HOST, "--identity", name, "--cert", self.ca)
        with screen(self.traveller, *program, "--profile", profile) as shown:
            for text in typed:
                found = shown.wait_for(f"(?m:(?P<question>{_QUESTION})|{_END})")
                if found is None or found["question"] is None:
                    break
                shown.type(text)
            found = shown.wait_for(_END)
            return self._left(shown, found is not None and found[0].startswith("CHILD_SA"))

    def _left(self, shown: Screen, entered: bool) -> Visit:
        if entered:
            eventually(self._reached, what="a tunnel")
        text = shown.text
        shown.end()
        address = re.search(r"installing new virtual IP (\S+)", text)
        return Visit(text, address[1] if entered and address else None)

    def _reached(self) -> bool:
        return "1 received" in self.traveller.run("ping", "-c", "1", "-W", "2", INSIDE, check=False).stdout


def block(name: str, which: int = 0) -> str:
    """A file of the page, of several of the same name that one."""
    found = re.findall(rf"^```text {re.escape(name)}\n(.*?)^```$", text_of(PAGE), re.MULTILINE | re.DOTALL)
    return str(found[which])


def on_the_page() -> list[list[str]]:
    """The questions under "What the person sees"."""
    return [
        screen.splitlines() for screen in re.findall(r"^# charon-cmd .*\n((?:[^`].*\n)+)", text_of(PAGE), re.MULTILINE)
    ]


def over_udp(connection: str) -> str:
    """What libipsec needs."""
    return connection.replace("        pools =", "        encap = yes\n        pools =")


def start(world: World, traveller: World, address: str, signed: tuple[Path, Path, Path], secret: str) -> Gateway:
    """Up to the connection, which `load` brings. `signed` are certificate, key and authority of the gateway."""
    certificate, key, ca = signed
    for each in (world, traveller):
        each.write(LIBIPSEC, "kernel-libipsec {\n    load = 100\n    allow_peer_ts = yes\n}\n")
    world.run("ip", "address", "add", f"{INSIDE}/24", "dev", "lo")
    world.write(RADIUS_PLUGIN, block(RADIUS_PLUGIN).replace("SECRET", secret), 0o600)
    world.write("/etc/swanctl/x509/vpn.pem", certificate.read_text())
    world.write("/etc/swanctl/private/vpn.key", key.read_text(), 0o600)
    world.write("/etc/strongswan.d/charon-logging.conf", _LOGGING.format(path=world.path / LOG))
    world.start(peers.require("charon"))
    eventually(lambda: world.outside("/run/charon.vici").exists(), what="charon")
    traveller.write(
        "/etc/strongswan.conf", Path("/etc/strongswan.conf").read_text().replace("charon {", "charon-cmd {")
    )
    traveller.run("sh", "-c", 'echo "$0" >>/etc/hosts', f"{address} {HOST}")
    return Gateway(world, traveller, ca)
