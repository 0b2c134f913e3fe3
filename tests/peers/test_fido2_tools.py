"""libfido2's own tools with the software key: to programs that share nothing with python-fido2, it is an honest key."""

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import peers
from tests.peers.terminal import Terminal
from tests.software_key.authenticator import CTAP2_0, SoftwareKey
from tests.software_key.knobs import EDDSA, ES256, RS256, UV, Attestation, Touch
from tests.software_key.log import Command
from tests.software_key.ports import Ports

pytestmark = [
    pytest.mark.peer("cc", "fido2-assert", "fido2-cred", "fido2-token"),
    # The key's threads are here while a terminal forks; its child does nothing but exec.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

RP_ID = "login.example.org"
DEVICE = "/dev/hidraw0"
PIN = "2468"
NAME_OF = {ES256: "es256", EDDSA: "eddsa", RS256: "rs256"}


def encoded(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


@dataclass
class Tools:
    """What each says goes to a file of the folder. `pin` is typed wherever one is asked for."""

    ports: Ports
    folder: Path
    pin: str | None = None

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        program, *rest = command
        line = self.ports.command(peers.require(str(program)), *rest)
        if self.pin is None:
            return subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
        with Terminal(line) as terminal:
            terminal.wait_for(f"Enter PIN for {DEVICE}: ")
            terminal.type(self.pin)
            return subprocess.CompletedProcess(line, terminal.status(), terminal.shown, "")

    def file(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.write_text("".join(line + "\n" for line in lines))
        return path

    def make(self, *options: str, algorithm: int = ES256) -> "subprocess.CompletedProcess[str]":
        asked = self.file("make", encoded(bytes(32)), RP_ID, "alice", encoded(b"handle"))
        made = self.folder / "made"
        return self.run("fido2-cred", "-M", *options, "-i", asked, "-o", made, DEVICE, NAME_OF[algorithm])

    def verify_made(self, *options: str, algorithm: int = ES256) -> "subprocess.CompletedProcess[str]":
        made, kept = self.folder / "made", self.folder / "kept"
        return without_pin(self).run("fido2-cred", "-V", *options, "-i", made, "-o", kept, NAME_OF[algorithm])

    def get(self, *options: str) -> "subprocess.CompletedProcess[str]":
        identity = (self.folder / "kept").read_text().splitlines()[0]
        asked = self.file("get", encoded(hashlib.sha256(b"challenge").digest()), RP_ID, identity)
        return self.run("fido2-assert", "-G", *options, "-i", asked, "-o", self.folder / "got", DEVICE)

    def verify_got(self, *options: str, algorithm: int = ES256) -> "subprocess.CompletedProcess[str]":
        public = self.file("public", *(self.folder / "kept").read_text().splitlines()[1:])
        got = self.folder / "got"
        return without_pin(self).run("fido2-assert", "-V", *options, "-i", got, public, NAME_OF[algorithm])


def without_pin(tools: Tools) -> Tools:
    return Tools(tools.ports, tools.folder)


def assert_done(*steps: "subprocess.CompletedProcess[str]") -> None:
    failed = [(step.args, step.returncode, step.stdout, step.stderr) for step in steps if step.returncode != 0]
    assert not failed


@pytest.fixture
def key() -> SoftwareKey:
    return SoftwareKey()


@pytest.fixture
def tools(key: SoftwareKey, tmp_path: Path) -> Iterator[Tools]:
    with Ports(tmp_path / "keys") as ports:
        assert ports.plug(key) == DEVICE
        yield Tools(ports, tmp_path)


def test_it_describes_itself(tools: Tools) -> None:
    told = tools.run("fido2-token", "-I", DEVICE)
    assert_done(told)
    for line in ("version strings: FIDO_2_0, FIDO_2_1", "pin protocols: 2, 1", "algorithms: es256 (public-key)"):
        assert line in told.stdout
    assert "noclientPin" in told.stdout
    assert "extension strings: credProtect" in told.stdout


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
def test_a_credential_is_made_and_used(key: SoftwareKey, tools: Tools, algorithm: int) -> None:
    key.knobs.algorithms = (algorithm,)
    assert_done(tools.make(algorithm=algorithm), tools.verify_made(algorithm=algorithm))
    assert_done(tools.get("-p"), tools.verify_got("-p", algorithm=algorithm))
    assert (key.blinks, len(key.credentials)) == (2, 1)


def test_a_credential_with_attestation_certificates(key: SoftwareKey, tools: Tools) -> None:
    key.knobs.attestation = Attestation.CHAIN
    assert_done(tools.make(), tools.verify_made())


def test_a_wrong_signature_is_found(key: SoftwareKey, tools: Tools) -> None:
    assert_done(tools.make(), tools.verify_made())
    key.knobs.wrong_signature = True
    assert_done(tools.get("-p"))
    assert tools.verify_got("-p").returncode == 1


def test_a_denied_touch(key: SoftwareKey, tools: Tools) -> None:
    key.knobs.touch = Touch.DENIED
    refused = tools.make()
    assert (refused.returncode, key.credentials) == (1, [])
    assert "FIDO_ERR_OPERATION_DENIED" in refused.stderr


def test_a_pin_is_set_and_changed(key: SoftwareKey, tools: Tools) -> None:
    with Terminal(tools.ports.command("fido2-token", "-S", DEVICE)) as terminal:
        for prompt in (f"Enter new PIN for {DEVICE}: ", "Enter the same PIN again: "):
            terminal.wait_for(prompt)
            terminal.type(PIN)
        assert terminal.status() == 0, terminal.shown
    with Terminal(tools.ports.command("fido2-token", "-C", DEVICE)) as terminal:
        for prompt, pin in (("Enter current PIN", PIN), ("Enter new PIN", "97531"), ("Enter the same", "97531")):
            terminal.wait_for(prompt)
            terminal.type(pin)
        assert terminal.status() == 0, terminal.shown
    told = tools.run("fido2-token", "-I", DEVICE)
    assert ", clientPin" in told.stdout
    tools.pin = "97531"
    assert_done(tools.make("-v"))


@pytest.mark.parametrize("protocol", [1, 2])
def test_with_a_pin(key: SoftwareKey, tools: Tools, protocol: int) -> None:
    key.set_pin(PIN)
    key.knobs.pin_protocols = (protocol,)
    tools.pin = PIN
    assert_done(tools.make("-v"), tools.verify_made("-v"), tools.get("-p", "-v"), tools.verify_got("-p", "-v"))
    assert [seen.uv for seen in key.log.of(Command.GET_ASSERTION)] == [True]


def test_without_the_pin_there_is_no_verified_user(key: SoftwareKey, tools: Tools) -> None:
    assert_done(tools.make(), tools.verify_made(), tools.get("-p"))
    assert tools.verify_got("-p", "-v").returncode == 1


def test_a_claim_is_signed_like_the_truth(key: SoftwareKey, tools: Tools) -> None:
    assert_done(tools.make(), tools.verify_made())
    key.knobs.flags_set = UV
    assert_done(tools.get("-p"), tools.verify_got("-p", "-v"))


def test_a_wrong_pin(key: SoftwareKey, tools: Tools) -> None:
    key.set_pin(PIN)
    tools.pin = "1357"
    refused = tools.make("-v")
    assert refused.returncode == 1
    assert "FIDO_ERR_PIN_INVALID" in refused.stdout
    assert (key.pin_retries, key.credentials) == (7, [])
    assert "pin retries: 7" in without_pin(tools).run("fido2-token", "-I", DEVICE).stdout


def test_an_older_key_with_a_pin(tmp_path: Path) -> None:
    """Of CTAP 2.0: tokens have no permissions there."""
    key = SoftwareKey(versions=CTAP2_0, pin=PIN)
    with Ports(tmp_path / "keys") as ports:
        ports.plug(key)
        tools = Tools(ports, tmp_path, PIN)
        assert_done(tools.make(), tools.verify_made("-v"), tools.get("-t", "pin=true"), tools.verify_got("-v"))


def test_a_reset_takes_everything(key: SoftwareKey, tools: Tools) -> None:
    assert_done(tools.make(), tools.run("fido2-token", "-R", DEVICE))
    assert key.credentials == []
