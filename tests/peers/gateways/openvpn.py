"""A real OpenVPN server on the gateway, as its page sets it up, and somebody at the traveller's terminal with a client.

Rules: the settings are the blocks of docs/radius/openvpn.md; stood in for are the addresses of Twofold and of the host,
the secret, and the name in the certificate. Whoever is in proves it by a ping through the tunnel. Nothing is typed
before its question is on the screen, and before the client hides what it means to hide.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from tests.docs.pages import files, steps, text_of
from tests.gateways.programs import built
from tests.peers.pam.programs import Screen, screen
from tests.peers.road import GATEWAY, HOST, Road
from tests.peers.world import Running
from tests.site import eventually

PAGE = "radius/openvpn.md"
SCRIPT, PLUGIN = "With the script", "With the plugin"
CONF, CLIENT = "/etc/openvpn/server/server.conf", "/etc/openvpn/client/client.conf"
SETTINGS = "/etc/twofold/openvpn.toml"
PROGRAMS = ("openvpn", "ping", "useradd")  # for pytest.mark.peer
INSIDE = "10.8.0.1"  # the gateway's end of the tunnel
UP = "Initialization Sequence Completed"
ENDED = r"process exiting|Exiting due to fatal error"
NAME, PASSWORD, PIN = "Enter Auth Username:", "Enter Auth Password:", "CHALLENGE: PIN from your authenticator app:"
_NUMBERS = count()
_REFUSED = r"AUTH: Received control message: AUTH_FAILED(?!,CRV1:)"

# What stands before the cursor, as a pattern; what is typed, or how it follows from what is on the screen.
Answer = tuple[str, str | Callable[[str], str]]


@dataclass(frozen=True)
class Visit:
    screen: str
    entered: bool

    @property
    def told(self) -> list[str]:
        """What the person reads: questions, refusals, and that he is in; not what the client says of itself."""
        said = []
        for line in self.screen.splitlines():
            line, dated = re.subn(r"^\d{4}-\d\d-\d\d [\d:]+ ", "", line.rstrip())
            if line and (not dated or re.match(f"{_REFUSED}|{UP}", line)):
                said.append(line)
        return said


@dataclass
class Gateway:
    """OpenVPN on the gateway, and the file that a client of it needs."""

    road: Road
    server: Running
    file: Path
    client: str
    inside: str  # its address in the tunnel

    @property
    def log(self) -> str:
        return self.road.gateway.read(self.file)

    def visit(self, name: str, *answers: Answer, options: tuple[str, ...] = ()) -> Visit:
        """Gives a name, and then each answer to its question; at the end he is in, or gives up."""
        with self.at_the_terminal(*options) as shown:
            for above, typed in ((NAME, name), *answers):
                found = shown.wait_for(f"{above}|{UP}|{ENDED}")
                if found is None or re.match(f"{UP}|{ENDED}", found[0]):
                    return self._visit(shown, found is not None and found[0] == UP)
                if _hides(found[0], shown.text):  # the client throws away what was typed before it turned the echo off
                    eventually(lambda: shown.hides, what="a question that hides its answer")
                shown.type(typed if isinstance(typed, str) else typed(shown.text))
            found = shown.wait_for(rf"{UP}|{ENDED}|{NAME}|CHALLENGE: [^\n]*")
            return self._visit(shown, found is not None and found[0] == UP)

    @contextmanager
    def at_the_terminal(self, *options: str) -> Iterator[Screen]:
        """A client, killed at the end: while it asks, no other signal ends it."""
        world = self.road.traveller
        pid_file = world.path / f"client-{next(_NUMBERS)}.pid"
        command = "/usr/sbin/openvpn", "--config", self.client, "--writepid", str(pid_file)
        with screen(world, *command, *options) as shown:
            try:
                yield shown
            finally:
                world.run("sh", "-c", 'kill -KILL "$(cat "$0")"', pid_file, check=False)  # it may have ended itself

    def _visit(self, shown: Screen, entered: bool) -> Visit:
        if entered:
            eventually(self.reached, what="a tunnel")
        return Visit(shown.text, entered)

    def reached(self, packets: int = 1) -> bool:
        """Whether so many reach the gateway through the tunnel, and their answers the traveller."""
        counted = "-c", str(packets), "-i", "0.02", "-W", "5"
        ping = self.road.traveller.run("ping", *counted, self.inside, check=False)
        return f" {packets} received" in ping.stdout

    def login(self, name: str, password: str, *options: str) -> Visit:
        """Without anybody at the terminal."""
        with self.at_the_terminal(*self.once(name, password), *options) as shown:
            found = shown.wait_for(f"{UP}|{ENDED}")
            return self._visit(shown, found is not None and found[0] == UP)

    @contextmanager
    def in_the_tunnel(self, name: str, password: str, *options: str) -> Iterator[None]:
        """The same, for as long as there is something to do in it."""
        with self.at_the_terminal(*self.once(name, password), *options) as shown:
            assert shown.wait_for(f"{UP}|{ENDED}"), shown.text
            yield
            assert self.reached(), shown.text

    def once(self, name: str, password: str) -> list[str]:
        """Options for a client that takes them out of a file, and ends when they are refused."""
        file = self.road.traveller.path / "typed"
        self.road.traveller.write(file, f"{name}\n{password}\n", 0o600)
        return ["--auth-user-pass", str(file), "--auth-retry", "none"]


def _hides(question: str, text: str) -> bool:
    """Names are shown as they are typed, passwords are not, and answers as the challenge says (its flag E)."""
    flags = re.findall(r"CRV1:([A-Z,]*):", text)
    return question != NAME and not (question != PASSWORD and flags and "E" in flags[-1])


def options(number: int) -> list[str]:
    """Those with which the page adds its client for the script (0) or for the plugin (1)."""
    typed = steps(text_of(PAGE, "On the Twofold server"))[number].command.split()
    assert typed[:3] == ["twofold", "client", "add"], typed
    return [word for word in typed[5:] if word != "--generate-secret"]


class Setting:
    """Does on both hosts what the page says, short of starting the server."""

    def __init__(self, road: Road, part: str) -> None:
        self.road = road
        self._text = text_of(PAGE, part)
        gateway, traveller = road.gateway, road.traveller
        for path, content in self.files.items():
            gateway.write(path, content, 0o600 if "SECRET" in path else 0o644)
        gateway.write("/etc/openvpn/server/ca.pem", road.ca.read_text())
        gateway.write("/etc/openvpn/server/server.pem", road.certificate.read_text())
        gateway.write("/etc/openvpn/server/server.key", road.key.read_text(), 0o600)
        gateway.run("mkdir", "-p", "/etc/openvpn/server/ccd", "/run/openvpn-server")
        traveller.write("/etc/openvpn/client/ca.pem", road.ca.read_text())
        client = files(text_of(PAGE, "On the client"))[CLIENT]
        traveller.write(CLIENT, client.replace(f"verify-x509-name {HOST}", "verify-x509-name gateway"))
        traveller.run("sh", "-c", 'echo "$0" >>/etc/hosts', f"{GATEWAY} {HOST}")

    @cached_property
    def files(self) -> dict[str, str]:
        stood_in = {"SECRET": self.road.secret, "name=192.0.2.1": "name=127.0.0.1", '"192.0.2.1:': '"127.0.0.1:'}
        found = files(self._text)
        for page, here in stood_in.items():
            found = {path: content.replace(page, here) for path, content in found.items()}
        return found

    def type_commands(self) -> None:
        """Those behind `vpn#`, beside the program. /usr/local/bin is the world's own from here on."""
        gateway = self.road.gateway
        folder = self.road.ca.parent
        built("openvpn", folder)
        gateway.run("mount", "-t", "tmpfs", "tmpfs", "/usr/local/bin")
        for command in re.findall(r"^vpn# (.*)$", self._text, re.MULTILINE):
            gateway.run("sh", "-e", "-c", f"cd {folder}; {command}")

    def start(self, *before: str, name: str = "server", client: str = CLIENT, inside: str = INSIDE) -> Gateway:
        """The server of NAME.conf, by a command line that begins with `before`."""
        gateway, log = self.road.gateway, f"{name}.log"
        server = gateway.start(*before, "/usr/sbin/openvpn", "--config", f"/etc/openvpn/server/{name}.conf", log=log)
        known = Gateway(self.road, server, gateway.path / log, client, inside)
        eventually(lambda: UP in known.log or server.process.poll() is not None, what="a server")
        assert UP in known.log, known.log
        return known
