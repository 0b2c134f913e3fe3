"""Software keys as /dev/hidraw0 of a program of its own, in which python-fido2 is unmodified."""

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin, PinProtocolV2

from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ctaphid import plugged
from tests.software_key.knobs import Fault
from tests.software_key.log import Command
from tests.software_key.ports import Ports

pytestmark = pytest.mark.peer("cc")
ROOT = Path(__file__).resolve().parents[2]


class Program:
    """`discovery` as a process."""

    def __init__(self, ports: Ports) -> None:
        self._process = subprocess.Popen(
            ports.command(sys.executable, "-m", "tests.software_key.discovery"),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, line: str) -> Any:
        self.say(line)
        return self.hear()

    def end(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    with Ports(tmp_path / "keys") as ports:
        yield ports


@pytest.fixture
def program(ports: Ports) -> Iterator[Program]:
    program = Program(ports)
    yield program
    program.end()


def test_keys_are_found_while_they_are_plugged_in(ports: Ports, program: Program) -> None:
    first, second = SoftwareKey("First", "A1"), SoftwareKey("Second", "B2")
    assert program.ask("list") == []
    assert (ports.plug(first), ports.plug(second)) == ("/dev/hidraw0", "/dev/hidraw1")
    assert sorted(program.ask("list")) == [["/dev/hidraw0", "First", "A1"], ["/dev/hidraw1", "Second", "B2"]]
    ports.unplug(first)
    assert program.ask("list") == [["/dev/hidraw1", "Second", "B2"]]
    assert ports.plug(first) == "/dev/hidraw0"
    assert len(program.ask("list")) == 2


def test_a_key_is_spoken_to(ports: Ports, program: Program) -> None:
    key = SoftwareKey()
    ports.plug(key)
    assert program.ask("probe") == [["/dev/hidraw0", ["FIDO_2_0", "FIDO_2_1"]]]
    assert [seen.command for seen in key.log.seen] == [Command.INIT, Command.GET_INFO]


def test_plugging_it_in_anew_makes_old_tokens_worthless(ports: Ports) -> None:
    key = SoftwareKey(pin="2468")
    with plugged(key) as device:
        ctap = Ctap2(device)
        protocol = PinProtocolV2()
        token = ClientPin(ctap, protocol).get_pin_token("2468", ClientPin.PERMISSION.GET_ASSERTION, "example.org")
        ports.plug(key)
        proof = protocol.authenticate(token, bytes(32))
        with pytest.raises(CtapError, match="PIN_AUTH_INVALID"):
            ctap.get_assertion("example.org", bytes(32), pin_uv_param=proof, pin_uv_protocol=2)


def test_no_key_is_no_device(program: Program) -> None:
    assert program.ask("/dev/hidraw0") == errno.ENOENT


def test_other_files_are_as_ever(program: Program) -> None:
    assert program.ask("/dev/null") == "opened"
    assert program.ask("/dev/hidraw") == errno.ENOENT


def test_a_device_that_may_not_be_opened(ports: Ports, program: Program) -> None:
    key = SoftwareKey()
    path = ports.plug(key, denied=True)
    assert program.ask(path) == errno.EACCES
    assert program.ask("list") == [], "python-fido2 passes over it"
    ports.allow(key)
    assert program.ask(path) == "opened"


def test_who_waits_for_a_key_that_is_pulled_out_learns_it(ports: Ports, program: Program) -> None:
    key = SoftwareKey()
    ports.plug(key)
    assert program.ask("hold") == "held"
    program.say("packet")
    ports.unplug(key)
    assert program.hear() == errno.EIO
    assert program.ask("write") == errno.ENODEV


def test_a_key_that_vanishes_is_unplugged(ports: Ports, program: Program) -> None:
    key = SoftwareKey()
    key.knobs.fault, key.knobs.fault_at = Fault.VANISH, frozenset({Command.GET_INFO})
    ports.plug(key)
    assert program.ask("probe") == errno.EIO
    assert program.ask("list") == []
