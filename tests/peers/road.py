"""A gateway and a traveller, each a world with a network of its own, on one cable; Twofold runs beside the gateway.

Rules: the traveller (192.0.2.2) reaches the gateway (192.0.2.1) alone. Twofold listens on the gateway's own loopback,
port 1812, so a gateway's configuration is written as in the documents. People are made anew for each test, with
counter tokens, so that nothing waits for a clock. Certificates are signed by an authority of the test's own.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.peers.authority import Authority
from tests.peers.world import World, world_or_skip
from tests.site import PASSWORD, SECRET, TWOFOLD, ServerProcess, Site
from tests.vectors import reference
from validation.model import Token

GATEWAY, TRAVELLER, NETWORK = "192.0.2.1", "192.0.2.2", "192.0.2.0/24"
HOST = "vpn.test"  # the name in the gateway's certificate
RADIUS = ("127.0.0.1", 1812)
PROGRAMS = ("ip", "nsenter", "unshare")  # for pytest.mark.peer


@dataclass
class Person:
    """Somebody with a password and a counter token."""

    name: str
    token: Token
    password: str = PASSWORD
    _counter: "count[int]" = field(default_factory=count)
    last_pin: str = ""

    def pin(self) -> str:
        """The next one, as the button shows it; `last_pin` keeps it for a replay."""
        self.last_pin = reference.hotp(self.token.key, next(self._counter))
        return self.last_pin

    def wrong_pin(self) -> str:
        """One that the token does not show in the next hundred."""
        near = {reference.hotp(self.token.key, counter) for counter in range(120)}
        return next(text for text in (f"{number:06}" for number in range(200)) if text not in near)


@dataclass
class Road:
    gateway: World
    traveller: World
    site: Site
    server: ServerProcess
    certificate: Path  # of the gateway, HOST and GATEWAY in it
    key: Path
    ca: Path
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def secret(self) -> str:
        return SECRET.decode()

    def newcomer(self, groups: tuple[str, ...] = ()) -> Person:
        name = f"user{next(self._numbers)}"
        self.site.add_user(name, groups=groups)
        return Person(name, self.site.enroll(name, kind="hotp"))

    def reasons(self, name: str) -> list[object]:
        """Why each login of `name` was let in or refused, from old to new."""
        return [row["reason"] for row in self.site.audit() if row["event"] == "login" and row["user"] == name]


@contextmanager
def road(folder: Path, *client: str, host: str = HOST, config: str | None = None) -> Iterator[Road]:
    """With the gateway a client of Twofold: `client` are the options of `twofold client add gateway 127.0.0.1 …`. Its
    certificate is for `host`."""
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(folder / "site", config)
    added = site.command("client", "add", "gateway", "127.0.0.1", *client, "--secret-stdin", stdin=SECRET + b"\n")
    assert added.returncode == 0, added.stderr
    authority = Authority(folder, "ca")
    certificate, key = authority.sign("gateway", host, GATEWAY)
    with ExitStack() as stack:
        gateway, traveller = (stack.enter_context(world_or_skip(network=True)) for _ in range(2))
        gateway.cable(traveller, f"{GATEWAY}/24", f"{TRAVELLER}/24")
        server = stack.enter_context(serving(site, gateway))
        yield Road(gateway, traveller, site, server, certificate, key, authority.file)


@contextmanager
def serving(site: Site, world: World, *addresses: str) -> Iterator[ServerProcess]:
    """A Twofold server on the network of `world`."""
    listen = [word for address in addresses or (":".join(map(str, RADIUS)),) for word in ("--listen", address)]
    program: Sequence[str] = world.among_our_processes(*TWOFOLD)
    with site.server(*listen, program=program) as server:
        yield server
