"""The real `radclient` of FreeRADIUS logs in at a real server; it checks the signatures of every reply.

Each test runs twice: with a Message-Authenticator in the requests, which is what a client must send unless told
otherwise, and without, after `twofold client set NAME --message-authenticator off`. `radclient` sends one only when its
input has `Message-Authenticator = 0x00`.
"""

import itertools
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.flows.crowd import wrong_pins
from tests.peers import peers
from tests.peers.oathtool import oathtool, totp_now
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually
from validation.model import Mode, Token

pytestmark = pytest.mark.peer("radclient", "oathtool")

STRANGER = "127.0.0.99"


@dataclass(frozen=True)
class Heard:
    """What `radclient` made of the reply. `code` is None where there was none that it could trust."""

    code: str | None
    text: str
    state: str | None  # as 0x…, ready to be sent back
    output: str
    ok: bool  # its exit status: an Access-Accept came


def heard(done: "subprocess.CompletedProcess[str]") -> Heard:
    _, received, reply = done.stdout.partition("Received ")
    state = re.search(r"^\tState = (0x[0-9a-f]+)$", reply, re.MULTILINE)
    text = re.search(r'^\tReply-Message = "(.*)"$', reply, re.MULTILINE)
    return Heard(
        code=reply.split()[0] if received else None,
        text=text[1] if text else "",
        state=state[1] if state else None,
        output=done.stdout + done.stderr,
        ok=done.returncode == 0,
    )


def run_radclient(
    server: ServerProcess, kind: str, attributes: list[str], secret: bytes = SECRET, timeout: int = 5
) -> Heard:
    """One packet, sent once."""
    address, port = server.address
    command = [peers.require("radclient"), "-x", "-r", "1", "-t", str(timeout)]
    done = subprocess.run(
        [*command, f"{address}:{port}", kind, secret.decode()],
        input="\n".join(attributes),
        capture_output=True,
        text=True,
        timeout=30,
    )
    return heard(done)


@dataclass
class House:
    """A server with a gateway in each mode, told apart by their addresses. Each test brings its own users."""

    site: Site
    server: ServerProcess
    signed: bool
    addresses: dict[Mode, str]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def newcomer(self, kind: str = "totp", password: str = PASSWORD) -> tuple[str, Token]:
        name = f"user{next(self._numbers)}"
        self.site.add_user(name, password)
        return name, self.site.enroll(name, kind=kind)

    def ask(
        self,
        mode: Mode | str,
        name: str,
        typed: str,
        state: str | None = None,
        *,
        secret: bytes = SECRET,
        timeout: int = 5,
    ) -> Heard:
        source = self.addresses[mode] if isinstance(mode, Mode) else mode
        attributes = [f"Packet-Src-IP-Address = {source}", f'User-Name = "{name}"', f'User-Password = "{typed}"']
        attributes += [f"State = {state}"] if state else []
        return self.send("auth", attributes, secret, timeout)

    def send(self, kind: str, attributes: list[str], secret: bytes = SECRET, timeout: int = 5) -> Heard:
        signature = ["Message-Authenticator = 0x00"] if self.signed else []
        return run_radclient(self.server, kind, attributes + signature, secret, timeout)

    def challenged(self, name: str, password: str = PASSWORD) -> Heard:
        challenge = self.ask(Mode.CHALLENGE, name, password)
        assert challenge.code == "Access-Challenge", challenge.output
        return challenge

    def reasons(self, name: str) -> list[object]:
        """Why the logins of `name` ended as they did, from old to new."""
        return [row["reason"] for row in self.site.audit() if row["user"] == name and row["event"] == "login"]


@pytest.fixture(scope="module", params=[True, False], ids=["signed", "unsigned"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    site = Site(tmp_path_factory.mktemp("house"))
    addresses = {mode: f"127.0.0.{number}" for number, mode in enumerate(Mode, start=2)}
    for mode, address in addresses.items():
        run(site, "client", "add", mode, address, "--mode", mode, "--secret-stdin", stdin=SECRET)
        if not request.param:
            run(site, "client", "set", mode, "--message-authenticator", "off")
    with site.server() as server:
        yield House(site, server, request.param, addresses)


def run(site: Site, *command: str, stdin: bytes = b"") -> None:
    done = site.command(*command, stdin=stdin)
    assert done.returncode == 0, done.stderr


# --- Getting in -------------------------------------------------------------------------------------------------


def test_login_in_two_steps(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    assert challenge.text == "PIN from your authenticator app: "
    accepted = house.ask(Mode.CHALLENGE, name, totp_now(token.key), challenge.state)
    assert (accepted.code, accepted.ok) == ("Access-Accept", True), accepted.output


def test_password_and_pin_in_one_field(house: House) -> None:
    name, token = house.newcomer()
    assert house.ask(Mode.APPEND, name, PASSWORD + totp_now(token.key)).ok


def test_a_pin_alone(house: House) -> None:
    name, token = house.newcomer()
    assert house.ask(Mode.PASSCODE_ONLY, name, totp_now(token.key)).ok


@pytest.mark.statement("R-052")
@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 127, 128])
def test_passwords_of_every_length_arrive_whole(house: House, length: int) -> None:
    password = ("0123456789abcdef" * 8)[:length]
    name, _ = house.newcomer(password=password)
    assert house.ask(Mode.CHALLENGE, name, password).code == "Access-Challenge"


def test_a_password_with_signs_and_umlauts_arrives_as_it_is(house: House) -> None:
    password = "Übel, o weh; 50% {x} 'y' #z \N{EURO SIGN}"
    name, _ = house.newcomer(password=password)
    assert house.ask(Mode.CHALLENGE, name, password).code == "Access-Challenge"


# --- Not getting in ---------------------------------------------------------------------------------------------


def test_a_wrong_pin_is_asked_again(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    again = house.ask(Mode.CHALLENGE, name, wrong_pins(token)[0], challenge.state)
    assert (again.code, again.ok) == ("Access-Challenge", False), again.output
    assert again.text == "That PIN was not accepted. Wait for a new one. 2 tries left: "
    assert again.state != challenge.state
    assert house.ask(Mode.CHALLENGE, name, totp_now(token.key), again.state).ok


def test_a_wrong_pin_in_one_field_is_refused_and_the_next_try_may_be_right(house: House) -> None:
    name, token = house.newcomer()
    refused = house.ask(Mode.APPEND, name, PASSWORD + wrong_pins(token)[0])
    assert (refused.code, refused.text) == ("Access-Reject", "The login was refused.")
    assert house.ask(Mode.APPEND, name, PASSWORD + totp_now(token.key)).ok


def test_a_replayed_pin_does_not_let_in(house: House) -> None:
    name, token = house.newcomer("hotp")
    (passcode,) = oathtool(token.key, "--counter", "0")
    assert house.ask(Mode.CHALLENGE, name, passcode, house.challenged(name).state).ok
    again = house.ask(Mode.CHALLENGE, name, passcode, house.challenged(name).state)
    assert again.code == "Access-Challenge"
    assert house.ask(Mode.APPEND, name, PASSWORD + passcode).code == "Access-Reject"
    assert house.reasons(name)[-2:] == ["passcode-used", "passcode-repeated"]


def test_a_token_revoked_before_its_pin_arrives(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    run(house.site, "token", "revoke", token.serial)
    refused = house.ask(Mode.CHALLENGE, name, totp_now(token.key), challenge.state)
    assert (refused.code, refused.state) == ("Access-Reject", None), refused.output


@pytest.mark.statement("R-020", "R-133")
def test_an_unknown_client_hears_nothing(house: House) -> None:
    """2 s of waiting for two answers that must not come."""
    name, token = house.newcomer()
    assert house.ask(STRANGER, name, PASSWORD + totp_now(token.key), timeout=1).code is None
    probe = [f"Packet-Src-IP-Address = {STRANGER}", "Message-Authenticator = 0x00"]
    assert run_radclient(house.server, "status", probe, timeout=1).code is None
    assert house.server.log.count(f"drop from={STRANGER} reason=unknown-client") == 1, "one line, not one for each"
    assert house.reasons(name) == []


# --- Health, and signatures -------------------------------------------------------------------------------------


@pytest.mark.statement("R-130")
def test_status_server_is_answered_if_it_is_signed(house: House) -> None:
    """Also by a client whose logins need no signature."""
    source = f"Packet-Src-IP-Address = {house.addresses[Mode.CHALLENGE]}"
    assert run_radclient(house.server, "status", [source, "Message-Authenticator = 0x00"]).ok
    assert run_radclient(house.server, "status", [source], timeout=1).code is None
    wrong = [source, "Message-Authenticator = 0x00"]
    assert run_radclient(house.server, "status", wrong, b"another secret", timeout=1).code is None


@pytest.mark.statement("R-037")
def test_radclient_trusts_our_signatures_because_they_are_right(house: House) -> None:
    """The control: with another secret on its side it gets silence, or a reply that it throws away."""
    name, _ = house.newcomer()
    house.challenged(name)
    other = house.ask(Mode.CHALLENGE, name, PASSWORD, secret=b"another secret", timeout=2)
    if house.signed:
        assert "Received" not in other.output
        assert "reason=message-authenticator-wrong" in house.server.log
    else:
        assert "Reply verification failed" in other.output
    assert other.code is None
    assert not other.ok


@pytest.mark.statement("R-033")
def test_an_unsigned_request_hears_nothing_until_the_client_is_set_to_off(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.add_user("alice")
    site.enroll("alice")
    site.add_client()
    request = ['User-Name = "alice"', f'User-Password = "{PASSWORD}"']
    with site.server() as server:
        assert run_radclient(server, "auth", request, timeout=1).code is None
        assert site.logins() == []
        run(site, "client", "set", "vpn", "--message-authenticator", "off")
        eventually(lambda: run_radclient(server, "auth", request, timeout=1).code, what="an answer")
