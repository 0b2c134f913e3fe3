"""A real FreeRADIUS that stands in front of Twofold and passes logins on: radclient asks it, as a gateway would.

There are three ways: through one FreeRADIUS, through two, and through two radsecproxies with TLS between them. A relay
before Twofold keeps what is said there.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.crowd import wrong_pins
from tests.peers import freeradius, peers
from tests.peers.authority import Authority
from tests.peers.freeradius import free_port, proxy
from tests.peers.relay import Relay, relay_to
from tests.peers.test_radclient import Heard, heard
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually, pin
from tests.wire import PROXY_STATE, Reply
from validation.model import Token

pytestmark = pytest.mark.peer("freeradius", "radclient", "radsecproxy")

NAS_SECRET = "the-secret-of-the-gateway"
BETWEEN = "the-secret-between-two-proxies"
WAYS = ("one proxy", "two proxies", "radsecproxy")
# Entry and exit: from the gateway to TLS, and from TLS to Twofold. No Proxy-State is added by either.
ENTRY = """
ListenUDP 127.0.0.1:{entry}
tls default {{
    CACertificateFile {ca}
    CertificateFile {certificate}
    CertificateKeyFile {key}
}}
client gateway {{
    host 127.0.0.1
    type udp
    secret {secret}
}}
server exit {{
    host 127.0.0.1
    port {tls}
    type tls
    secret radsec
    certificateNameCheck on
    matchCertificateAttribute SubjectAltName:DNS:/^radsec\\.test$/
}}
realm * {{
    server exit
}}
"""
EXIT = """
ListenTLS 127.0.0.1:{tls}
ListenUDP 127.0.0.1:{unused}
tls default {{
    CACertificateFile {ca}
    CertificateFile {certificate}
    CertificateKeyFile {key}
}}
client entry {{
    host 127.0.0.1
    type tls
    secret radsec
    certificateNameCheck off
    matchCertificateAttribute SubjectAltName:DNS:/^radsec\\.test$/
}}
server home {{
    host 127.0.0.1
    port {home}
    type udp
    secret {home_secret}
}}
realm * {{
    server home
}}
"""


@dataclass(frozen=True)
class Way:
    """Where a gateway asks, with which secret, and how many Proxy-States are added on the way."""

    port: int
    secret: str
    proxy_states: int


@dataclass
class Chain:
    """radclient, a way, the relay, Twofold."""

    site: Site
    server: ServerProcess
    relay: Relay
    ways: dict[str, Way]
    _users: int = 0

    def newcomer(self) -> tuple[str, Token]:
        self._users += 1
        name = f"user{self._users}"
        self.site.add_user(name)
        return name, self.site.enroll(name)

    def ask(self, at: Way, name: str, typed: str, *more: str, timeout: int = 10) -> Heard:
        attributes = [f'User-Name = "{name}"', f'User-Password = "{typed}"', "Message-Authenticator = 0x00", *more]
        command = [peers.require("radclient"), "-x", "-r", "1", "-t", str(timeout)]
        done = subprocess.run(
            [*command, f"127.0.0.1:{at.port}", "auth", at.secret],
            input="\n".join(attributes),
            capture_output=True,
            text=True,
            timeout=60,
        )
        return heard(done)


def free_tcp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def radsecproxy(folder: Path, name: str, configuration: str, ready: str) -> Iterator[None]:
    """One that runs in the foreground and has said `ready`."""
    file, log = folder / f"{name}.conf", folder / f"{name}.log"
    file.write_text(configuration)
    with log.open("w") as output:
        command = [peers.require("radsecproxy"), "-f", "-d", "2", "-i", str(folder / f"{name}.pid"), "-c", str(file)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        eventually(lambda: ready in log.read_text() or process.poll() is not None, what=f"radsecproxy {name}")
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def through_tls(folder: Path, home: tuple[str, int]) -> Iterator[Way]:
    folder.mkdir()
    authority = Authority(folder, "ca")
    certificate, key = authority.sign("radsec", "radsec.test", "127.0.0.1", client=True)
    entry = free_port()
    values = {"ca": authority.file, "certificate": certificate, "key": key, "tls": free_tcp_port(), "home": home[1]}
    values |= {"entry": entry, "unused": free_port(), "secret": NAS_SECRET, "home_secret": SECRET.decode()}
    with (
        radsecproxy(folder, "exit", EXIT.format(**values), "listening for tls"),
        radsecproxy(folder, "entry", ENTRY.format(**values), "TLS connection to exit"),
    ):
        yield Way(entry, NAS_SECRET, 0)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    site = Site(folder / "site")
    site.add_client("front", "127.0.0.1/32")
    with ExitStack() as stack:
        server = stack.enter_context(site.server())
        relay = stack.enter_context(relay_to(server.address))
        ports = free_port(), free_port()
        far = proxy(ports[1], relay.address, BETWEEN, SECRET.decode())
        near = proxy(ports[0], ("127.0.0.1", ports[1]), NAS_SECRET, BETWEEN)
        stack.enter_context(freeradius.running(folder / "far", ports[1], far))
        stack.enter_context(freeradius.running(folder / "near", ports[0], near))
        tls = stack.enter_context(through_tls(folder / "radsec", relay.address))
        ways = Way(ports[1], BETWEEN, 1), Way(ports[0], NAS_SECRET, 2), tls
        yield Chain(site, server, relay, dict(zip(WAYS, ways, strict=True)))


@pytest.fixture(params=WAYS)
def at(request: pytest.FixtureRequest, chain: Chain) -> Way:
    return chain.ways[request.param]


def test_a_login_in_two_steps(chain: Chain, at: Way) -> None:
    name, token = chain.newcomer()
    asked = chain.ask(at, name, PASSWORD)
    assert (asked.code, asked.text) == ("Access-Challenge", "PIN from your authenticator app: "), asked.output
    accepted = chain.ask(at, name, pin(token), f"State = {asked.state}")
    assert (accepted.code, accepted.ok) == ("Access-Accept", True), accepted.output
    assert "Message-Authenticator = 0x" in accepted.output.partition("Received")[2]


def test_a_wrong_password_and_a_wrong_pin_are_refused(chain: Chain, at: Way) -> None:
    name, token = chain.newcomer()
    assert chain.ask(at, name, "wrong").code == "Access-Reject"
    asked = chain.ask(at, name, PASSWORD)
    again = chain.ask(at, name, wrong_pins(token, 1)[0], f"State = {asked.state}")
    assert (again.code, again.ok) == ("Access-Challenge", False)
    assert again.state != asked.state
    assert chain.ask(at, name, pin(token), f"State = {asked.state}").code == "Access-Reject", "good for one answer"


@pytest.mark.statement("R-120", "R-121")
def test_every_proxy_state_comes_back_unchanged_and_in_order(chain: Chain, at: Way) -> None:
    """Those of the gateway first, then that of each proxy; on Challenge, Accept and Reject."""
    name, token = chain.newcomer()
    ours = ["Proxy-State = 0x00ff00", "Proxy-State = 0x32", "Proxy-State = 0x31"]
    before = len(chain.relay.exchanges)
    asked = chain.ask(at, name, PASSWORD, *ours)
    chain.ask(at, name, pin(token), f"State = {asked.state}", *ours)
    chain.ask(at, name, "wrong", *ours)
    exchanges = chain.relay.exchanges[before:]
    assert [reply[0] for _, reply in exchanges] == [11, 2, 3]
    for request, reply in exchanges:
        sent = Reply(request).values(PROXY_STATE)
        assert sent[:3] == [b"\x00\xff\x00", b"2", b"1"]
        assert len(sent) == 3 + at.proxy_states
        assert Reply(reply).values(PROXY_STATE) == sent
        assert reply[20:22] == bytes([80, 18])


def test_no_proxy_state_reaches_the_gateway_that_sent_none(chain: Chain, at: Way) -> None:
    name, _ = chain.newcomer()
    asked = chain.ask(at, name, PASSWORD)
    assert asked.code == "Access-Challenge"
    assert "Proxy-State" not in asked.output


def test_a_health_check_of_the_proxy_is_answered(tmp_path: Path, chain: Chain) -> None:
    """It asks when a login was not answered: here the relay loses logins."""
    with relay_to(chain.server.address) as relay:
        relay.drop = lambda datagram: datagram[0] == 1
        port = free_port()
        configuration = proxy(port, relay.address, BETWEEN, SECRET.decode(), window=1)
        with freeradius.running(tmp_path / "checking", port, configuration) as checking:
            assert chain.ask(Way(port, BETWEEN, 1), "nobody", "x", timeout=5).code in (None, "Access-Reject")
            eventually(lambda: relay.exchanges, 60, "an answer to a Status-Server")
            eventually(lambda: "Received response to status check" in checking.log, what="the proxy's word for it")
        request, reply = relay.exchanges[0]
        assert (request[0], reply[0]) == (12, 2)


def test_what_the_gateway_says_arrives_in_policy_and_the_reply_at_the_gateway(chain: Chain, at: Way) -> None:
    """A rule for one NAS-Identifier, one for source addresses; attributes of an Access-Accept, a vendor's too."""
    said = ("Filter-Id=staff", "Class=OU=staff;", "Framed-IP-Address=198.51.100.9", "Cisco-AVPair=shell:priv-lvl=15")
    for words in (
        ("policy", "set", "second_factor", "skip", "--nas", "kiosk"),
        ("policy", "set", "second_factor", "skip", "--from", "198.51.100.0/24"),
        ("reply", "set", *said, "--client", "front"),
    ):
        assert chain.site.command(*words).returncode == 0
    name, _ = chain.newcomer()
    assert chain.ask(at, name, PASSWORD, 'NAS-Identifier = "vpn"').code == "Access-Challenge"
    assert chain.ask(at, name, PASSWORD, 'Calling-Station-Id = "203.0.113.7"').code == "Access-Challenge"
    for more in ('NAS-Identifier = "kiosk"', 'Calling-Station-Id = "198.51.100.7"'):
        accepted = chain.ask(at, name, PASSWORD, more)
        assert accepted.code == "Access-Accept", accepted.output
        reply = accepted.output.partition("Received")[2]
        for line in ('Filter-Id = "staff"', "Class = 0x4f553d73746166663b", "Framed-IP-Address = 198.51.100.9"):
            assert line in reply
        assert 'Cisco-AVPair = "shell:priv-lvl=15"' in reply
