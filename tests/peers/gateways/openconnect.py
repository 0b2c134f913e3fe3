"""A real ocserv on the gateway, as its page sets it up, and somebody at the traveller's terminal with openconnect.

Rules: Debian's own ocserv.conf is taken, with the lines of docs/radius/ocserv.md in place of those of the same name.
Whoever is in proves it by a ping through the tunnel, and ends the session himself. Nothing is typed before its question
is on the screen.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import files, steps, text_of
from tests.peers.pam.programs import Screen, screen
from tests.peers.road import GATEWAY as ADDRESS
from tests.peers.road import HOST, TRAVELLER, Road
from tests.site import eventually

PAGE = "radius/ocserv.md"
CONF, RADCLI, SERVERS = "/etc/ocserv/ocserv.conf", "/etc/radcli/radiusclient.conf", "/etc/radcli/servers"
LOG = "ocserv.log"
INSIDE = "192.168.1.1"  # the gateway's end of the tunnel, in Debian's configuration
PROGRAMS = ("ocserv", "openconnect", "ping")  # for pytest.mark.peer
_FIELD = r"Password\d*:"
_END = r"Configured as (?P<address>[\d.]+), with SSL connected|Failed to complete authentication"

# What stands above the field, as a pattern; what is typed, or how it follows from what is on the screen.
Answer = tuple[str, str | Callable[[str], str]]


@dataclass(frozen=True)
class Visit:
    """`address` is the person's in the tunnel; None: he did not get in."""

    screen: str
    address: str | None

    @property
    def told(self) -> list[str]:
        """What the person reads from the first field on, without what openconnect says of its own requests."""
        _, _, text = self.screen.partition("Please enter your username.\n")
        text = re.sub(rf"({_FIELD}).*", r"\1", text)  # typed before openconnect had turned the echo off
        lines = text.split("Got CONNECT response")[0].splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("POST ")]


@dataclass
class Gateway:
    """ocserv on port 443 of the gateway."""

    road: Road

    @property
    def log(self) -> str:
        return self.road.gateway.read(self.road.gateway.path / LOG)

    def visit(self, name: str, *answers: Answer) -> Visit:
        """Types each answer into the field that follows its text; at the end he is in, or gives up."""
        with screen(self.road.traveller, "openconnect", "--user", name, HOST) as shown:
            for above, typed in answers:
                found = shown.wait_for(rf"{above}.*\s*{_FIELD}|{_END}")
                if found is None or found["address"] or found[0].startswith("Failed"):
                    return self._left(shown, found["address"] if found else None)
                shown.type(typed if isinstance(typed, str) else typed(shown.text))
            found = shown.wait_for(f"{_END}|{_FIELD}")
            return self._left(shown, found["address"] if found else None)

    def _left(self, shown: Screen, address: str | None) -> Visit:
        if address:
            eventually(self._reached, what="a tunnel")  # its addresses are set while openconnect goes on
        text = shown.text
        shown.end()
        return Visit(text, address)

    def _reached(self) -> bool:
        ping = self.road.traveller.run("ping", "-c", "1", "-W", "2", INSIDE, check=False)
        return "1 received" in ping.stdout

    def points(self) -> int:
        """What ocserv holds against the traveller's address."""
        listed = self.road.gateway.run("occtl", "show", "ip", "ban", "points").stdout
        found = re.search(rf"{re.escape(TRAVELLER)}\s+(\d+)", listed)
        return int(found[1]) if found else 0

    def forgive(self) -> None:
        self.road.gateway.run("occtl", "unban", "ip", TRAVELLER, check=False)


def options() -> list[str]:
    """Those with which the page adds the client."""
    typed = steps(text_of(PAGE))[0].command.split()
    assert typed[:3] == ["twofold", "client", "add"], typed
    return [word for word in typed[5:] if word != "--generate-secret"]


def start(road: Road) -> Gateway:
    """As the page says, word for word but for the secret."""
    gateway, traveller = road.gateway, road.traveller
    parts = files(text_of(PAGE))
    gateway.write(CONF, with_lines(Path(CONF).read_text(), parts[CONF]))
    gateway.write(RADCLI, parts[RADCLI])
    gateway.write(SERVERS, parts[SERVERS].replace("SECRET", road.secret), 0o600)
    gateway.write("/etc/ocserv/server.pem", road.certificate.read_text())
    gateway.write("/etc/ocserv/server.key", road.key.read_text(), 0o600)
    gateway.start("ocserv", "--foreground", "--debug", "3", "--config", CONF, log=LOG)
    known = Gateway(road)
    eventually(lambda: "sec-mod initialized" in known.log, what="an ocserv that listens")
    traveller.run("sh", "-c", 'cat "$0" >>/etc/ssl/certs/ca-certificates.crt', road.ca)
    traveller.run("sh", "-c", 'echo "$0" >>/etc/hosts', f"{ADDRESS} {HOST}")
    return known


def with_lines(text: str, lines: str) -> str:
    """A configuration of `name = value` with these lines in place of those of the same name."""
    for line in lines.splitlines():
        name = line.partition("=")[0].strip()
        kept = [other for other in text.splitlines() if not re.match(rf"{re.escape(name)} *=", other)]
        text = "\n".join([*kept, line, ""])
    return text
