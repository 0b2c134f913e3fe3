"""The real `radclient` of FreeRADIUS keeps accounts and asks for our health; it checks every reply."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import peers
from tests.peers.test_radclient import Heard, run_radclient
from tests.site import SECRET, ServerProcess, Site, eventually

pytestmark = pytest.mark.peer("radclient")

SESSION = [
    'User-Name = "alice"',
    'Acct-Session-Id = "0815"',
    "Acct-Status-Type = Start",
    "NAS-IP-Address = 192.0.2.7",
    "NAS-Port-Type = Virtual",
    'Cisco-AVPair = "group=staff"',
    'Proxy-State = "through a proxy"',
]


class AccountingPort:
    """What `run_radclient` needs of a server."""

    def __init__(self, server: ServerProcess) -> None:
        self.address = server.addresses[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(
        tmp_path_factory.mktemp("site"),
        '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n'
        'accounting = "books.jsonl"\naccounting_listen = ["127.0.0.1:0"]\n',
    )
    site.add_client()
    return site


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[ServerProcess]:
    with site.server() as server:
        eventually(lambda: len(server.addresses) == 2)
        yield server


def ask(server: ServerProcess, kind: str, attributes: list[str], secret: bytes = SECRET, timeout: int = 5) -> Heard:
    peers.require("radclient")
    return run_radclient(AccountingPort(server), kind, attributes, secret, timeout)  # type: ignore[arg-type]


def records(site: Site) -> list[dict[str, object]]:
    file: Path = site.folder / "books.jsonl"
    return [json.loads(line)["attributes"] for line in file.read_text().splitlines()]


@pytest.mark.statement("R-140", "R-141")
def test_a_session_is_written_down_and_answered(site: Site, server: ServerProcess) -> None:
    heard = ask(server, "acct", SESSION)
    assert (heard.code, heard.ok) == ("Accounting-Response", True), heard.output
    assert "through a proxy" in heard.output or "0x7468726f75676820612070726f7879" in heard.output
    assert records(site)[-1] == {
        "User-Name": "alice",
        "Acct-Session-Id": "0815",
        "Acct-Status-Type": "Start",
        "NAS-IP-Address": "192.0.2.7",
        "NAS-Port-Type": 5,
        "Vendor-9": "0x010d67726f75703d7374616666",
    }


@pytest.mark.statement("R-140")
def test_under_another_secret_there_is_silence_and_no_record(site: Site, server: ServerProcess) -> None:
    before = len(records(site))
    assert ask(server, "acct", SESSION, b"another secret", timeout=1).code is None
    assert len(records(site)) == before


@pytest.mark.statement("R-131")
def test_status_server_is_answered_at_the_accounting_port(server: ServerProcess) -> None:
    heard = ask(server, "status", ["Message-Authenticator = 0x00"])
    assert heard.code == "Accounting-Response", heard.output


@pytest.mark.statement("R-145")
@pytest.mark.parametrize("kind", ["coa", "disconnect"])
def test_who_wants_to_end_a_session_hears_nothing(server: ServerProcess, kind: str) -> None:
    """1 s of waiting for an answer that must not come."""
    assert ask(server, kind, ['User-Name = "alice"', 'Acct-Session-Id = "0815"'], timeout=1).code is None
    assert "reason=code-not-served" in server.log
