"""systemd itself reads the units, and says how much they leave open."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from radius_server.server import DRAIN_ON_STOP
from tests.architecture.source import ROOT
from tests.peers import peers

pytestmark = pytest.mark.peer("systemd-analyze")

UNITS = [
    *("twofold-pam.service", "twofold-pam.socket"),
    "twofold-radius.service",
    *("twofold-web.service", "twofold-web.socket"),
]
# How each begins; a program of one file is isolated by its first line.
STARTS = {
    "twofold-pam.service": "/opt/twofold/bin/python -I /opt/twofold/bin/twofold ",
    "twofold-radius.service": "/opt/twofold/bin/python -I /opt/twofold/bin/twofold ",
    "twofold-web.service": "/usr/local/bin/twofold-web",
}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that is there: systemd checks that, too."""
    for unit in UNITS:
        text = (ROOT / "contrib/systemd" / unit).read_text()
        for program in ("/opt/twofold/bin/python", "/usr/local/bin/twofold-web"):
            text = text.replace(program, sys.executable)
        (tmp_path / unit).write_text(text)
    return tmp_path


def analyze(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = peers.require("systemd-analyze")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


def test_systemd_has_nothing_to_complain_of(units: Path) -> None:
    done = analyze(units, "verify", "--man=no", *(f"./{unit}" for unit in UNITS))
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "twofold" in line]
    assert (done.returncode, complaints) == (0, [])


def test_a_slip_in_a_unit_would_be_found(units: Path) -> None:
    unit = units / "twofold-pam.service"
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSytem=strict"))
    done = analyze(units, "verify", "--man=no", "./twofold-pam.service")
    assert "ProtectSytem" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("service", "at_most"),
    [("twofold-pam.service", 3.5), ("twofold-radius.service", 2.0), ("twofold-web.service", 1.5)],
)
def test_services_leave_little_open(units: Path, service: str, at_most: float) -> None:
    done = analyze(units, "security", "--no-pager", "--offline=true", f"./{service}")
    (level,) = re.findall(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(level) <= at_most, done.stdout


@pytest.mark.parametrize("service", STARTS)
def test_services_start_isolated_leave_no_core_and_come_back(service: str) -> None:
    lines = (ROOT / "contrib/systemd" / service).read_text().splitlines()
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start.startswith(f"ExecStart={STARTS[service]}")
    assert {"LimitCORE=0", "Restart=always", "NoNewPrivileges=yes", "ProtectSystem=strict"} <= set(lines)


def test_the_login_pages_have_a_user_of_their_own_and_only_the_web_server_reaches_them() -> None:
    service, listener = ((ROOT / f"contrib/systemd/twofold-web.{kind}").read_text() for kind in ("service", "socket"))
    assert {"User=twofold-web", "CapabilityBoundingSet=", "PrivateDevices=yes"} <= set(service.splitlines())
    assert "LoadCredential=web.toml:/etc/twofold/web.toml" in service
    assert "ExecStart=/usr/local/bin/twofold-web --settings %d/web.toml" in service
    assert {"SocketUser=root", "SocketGroup=www-data", "SocketMode=0660"} <= set(listener.splitlines())
    (path,) = re.findall(r"^ListenStream=(.*)$", listener, re.MULTILINE)
    assert f"server unix:{path};" in (ROOT / "contrib/web/nginx/twofold.conf").read_text()


def test_the_radius_server_says_that_it_is_ready_and_lives_and_reads_its_configuration_again() -> None:
    lines = (ROOT / "contrib/systemd/twofold-radius.service").read_text().splitlines()
    assert {"Type=notify", "WatchdogSec=30", "ExecReload=/bin/kill -HUP $MAINPID"} <= set(lines)
    (stop,) = [float(line.partition("=")[2]) for line in lines if line.startswith("TimeoutStopSec=")]
    assert stop > DRAIN_ON_STOP + 2, "what is in work would be cut off"


def test_the_helper_says_that_it_is_ready_and_lives() -> None:
    lines = (ROOT / "contrib/systemd/twofold-pam.service").read_text().splitlines()
    assert {"Type=notify", "WatchdogSec=30"} <= set(lines)


def test_the_helper_has_keys_and_terminals_of_all_devices() -> None:
    lines = (ROOT / "contrib/systemd/twofold-pam.service").read_text().splitlines()
    allowed = [line.partition("=")[2] for line in lines if line.startswith("DeviceAllow=")]
    assert allowed == ["char-hidraw rw", "char-tty r", "char-ttyS r"]
    assert "DevicePolicy=closed" in lines
    assert not [line for line in lines if line.startswith("PrivateDevices=")]
    # Allowed by the name of a driver, which must be there before the helper is.
    assert {"Wants=modprobe@hid.service", "After=modprobe@hid.service"} <= set(lines)


def test_the_udev_rules_that_are_shipped_only_take_access_away() -> None:
    (file,) = (ROOT / "contrib/udev").iterdir()
    assert 70 < int(file.name.partition("-")[0]) < 73  # after access was granted, before that is carried out
    rules = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    (rule,) = [line for line in rules if "MODE" in line]
    assert rule.split(", ") == [
        'SUBSYSTEM=="hidraw"',
        'ENV{ID_FIDO_TOKEN}=="1"',
        'TAG-="uaccess"',
        'OWNER="root"',
        'GROUP="root"',
        'MODE="0600"',
    ]
    assert not re.search(r"\+=|RUN|PROGRAM|IMPORT", "\n".join(rules))


def test_each_socket_has_the_mode_and_the_place_that_module_and_helper_expect() -> None:
    from store.config import PamSection

    lines = (ROOT / "contrib/systemd/twofold-pam.socket").read_text().splitlines()
    pam = PamSection()
    assert [line for line in lines if line.startswith("ListenStream=")] == [
        f"ListenStream={pam.root_socket}",
        f"ListenStream={pam.socket}",
    ]
    assert {"SocketMode=0666", f"ExecStartPost=/bin/chmod 0600 {pam.root_socket}"} <= set(lines)
    assert "ExecStartPre=/bin/mkdir -p -m 0700 /run/twofold/priv" in lines
