"""Tokens that come from another program go on with the codes of `oathtool`, and what was used there stays used."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.oathtool import oathtool
from tests.site import Site
from tests.store.cli.boxes import Desk, write
from validation.tokens.uri import base32

pytestmark = pytest.mark.peer("oathtool")

KEY = bytes.fromhex("3d69dc311d8d74e1ce092e408027fe7cc9ca5f76")
NOW = 1_780_000_020.0  # in the middle of a step
STEP = int(NOW) // 30


def google() -> str:
    """Its codes of the last step and of this one were used there."""
    return f'{base32(KEY)}\n" RATE_LIMIT 3 30\n" DISALLOW_REUSE {STEP - 1} {STEP}\n" TOTP_AUTH\n12345678\n'


def users_oath() -> str:
    """The code of this step was used there, at a time in the zone of that host."""
    used = time.strftime("%Y-%m-%dT%H:%M:%SL", time.gmtime(NOW))
    return f"HOTP/T30\talice\t-\t{KEY.hex()}\t0\t{code(0)}\t{used}\n"


def privacyidea() -> str:
    """`count` is the first step that is still acceptable."""
    return (
        f"- serial: PI1\n  type: totp\n  otpkey: {KEY.hex()}\n  count: {STEP + 1}\n  otplen: 6\n  owner: alice@realm\n"
        "  description: ''\n  active: true\n  revoked: false\n  info_list:\n    hashlib: sha1\n    timeStep: '30'\n"
    )


def code(ahead: int) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(NOW + 30 * ahead))
    (found,) = oathtool(KEY, "--totp", f"--now={at}")
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    yield site
    site.database.close()


@pytest.mark.statement("O-105")
@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        (".google_authenticator", google, "google-authenticator"),
        ("users.oath", users_oath, "users-oath"),
        ("tokens.yaml", privacyidea, "privacyidea"),
    ],
)
def test_it_goes_on_with_the_next_code(site: Site, tmp_path: Path, name: str, text: object, form: str) -> None:
    assert callable(text)
    site.add_user("alice", None)
    done = site.command("token", "import", str(write(tmp_path, name, text())), "--user", "alice")
    assert done.returncode == 0, done
    assert done.stdout.startswith(form)
    desk = Desk(site)
    desk.moments.now = NOW
    assert not desk.lets_in("alice", code(0)), "it was used before the move"
    assert desk.lets_in("alice", code(1))
    assert not desk.lets_in("alice", code(1))
    desk.moments.now = NOW + 60
    assert desk.lets_in("alice", code(2))


def test_a_counter_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    site.add_user("alice", None)
    codes = oathtool(KEY, "--counter=7", "--window=1")
    text = f"HOTP/E/6 alice - {KEY.hex()} 7 {codes[0]} 2026-01-01T00:00:00L\n"
    assert site.command("token", "import", str(write(tmp_path, "users.oath", text))).returncode == 0
    desk = Desk(site)
    assert not desk.lets_in("alice", codes[0])
    assert desk.lets_in("alice", codes[1])
