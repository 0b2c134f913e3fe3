"""Security keys behind /dev/hidraw, in a program of their own: finding and opening them as on any Linux."""

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.source import ROOT
from tests.pam_helper.keys import SOON, registered
from tests.software_key.authenticator import SoftwareKey
from tests.software_key.knobs import Touch as Finger
from tests.software_key.ports import Ports

pytestmark = pytest.mark.peer("cc")


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    with Ports(tmp_path / "keys") as made:
        yield made


class Asking:
    def __init__(self, ports: Ports, what: str, *credentials: bytes, seconds: float = 60) -> None:
        arguments = (what, str(seconds), *(credential.hex() for credential in credentials))
        self._process = subprocess.Popen(
            ports.command(sys.executable, "-m", "tests.pam_helper.asking_keys", *arguments),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def first_line_of_log(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.readline()

    def end(self) -> tuple[list[Any], str]:
        """What it said, line by line, and its log."""
        out, log = self._process.communicate(timeout=SOON)
        assert self._process.returncode == 0, log
        return [json.loads(line) for line in out.splitlines()], log


def test_a_look_at_what_is_plugged_in(ports: Ports) -> None:
    key, stranger, denied = SoftwareKey("Right"), SoftwareKey("Other"), SoftwareKey("Denied")
    credential = registered(key)
    ports.plug(key)
    ports.plug(stranger)
    path = ports.plug(denied, denied=True)
    said, log = Asking(ports, "probe", credential).end()
    assert said == [[["Right"], ["Other"], [[path, errno.EACCES]]]]
    assert [line for line in log.splitlines() if line.startswith("WARNING")] == [
        f"WARNING twofold.pam security key: cannot open {path}: Permission denied [errno {errno.EACCES}]"
    ]
    assert (key.blinks, stranger.blinks, denied.blinks) == (1, 0, 0)


def test_a_key_is_plugged_in_pulled_out_and_touched(ports: Ports) -> None:
    key = SoftwareKey("Right")
    credential = registered(key)
    key.knobs.touch = Finger.NEVER
    asking = Asking(ports, "touch", credential)
    ports.plug(key)
    key.wait_for_blink(2)
    ports.unplug(key)
    ports.plug(key)
    key.wait_for_blink(3)
    key.press()
    said, log = asking.end()
    assert said[-1] == ["Signed"]
    assert said[0] == "touch Right"
    assert "fido2" not in log


def test_rights_come_while_it_waits(ports: Ports) -> None:
    """Case F09."""
    key = SoftwareKey("Right")
    credential = registered(key)
    path = ports.plug(key, denied=True)
    asking = Asking(ports, "touch", credential)
    first = asking.first_line_of_log()
    assert (path in first, "errno 13" in first) == (True, True)
    ports.allow(key)
    said, log = asking.end()
    assert said[-1] == ["Signed"]
    assert "errno" not in log
