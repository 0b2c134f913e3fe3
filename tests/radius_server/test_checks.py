"""`twofold doctor` on RADIUS clients: weak secrets, requests that need no signature, keys in clear."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from radius_server.checks import checks
from tests.site import Site
from validation.findings import Severity
from validation.model import MessageAuthenticatorRule
from validation.requests import SetRule
from validation.settings import Scope


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    yield site
    if "database" in vars(site):
        site.database.close()


def found(site: Site) -> list[tuple[str, str]]:
    return [(str(f.severity), f.topic) for f in checks(site.config) if f.severity is not Severity.OK]


def test_clients_that_are_signed_and_well_keyed_are_fine(site: Site) -> None:
    site.add_client()
    site.add_client("auto", "192.0.2.1/32", b"s" * 24, rule=MessageAuthenticatorRule.AUTO)
    assert found(site) == []
    assert [finding.text for finding in checks(site.config)] == ["2 RADIUS clients, signed and well keyed"]


def test_a_short_secret_is_named_and_not_shown(site: Site) -> None:
    site.add_client("vpn2", "192.0.2.2/32", b"radius123")
    (finding,) = checks(site.config)
    assert (finding.severity, finding.topic) == (Severity.ADVICE, "client vpn2")
    assert "9 characters" in finding.text
    assert finding.remedy == "twofold client set vpn2 --generate-secret"
    assert "radius123" not in repr(finding)


def test_a_client_that_need_not_sign_is_named(site: Site) -> None:
    site.add_client("old", "192.0.2.3/32", rule=MessageAuthenticatorRule.OFF)
    assert found(site) == [("!", "client old")]


def test_keys_in_clear_are_named_but_on_loopback(site: Site) -> None:
    site.add_client("near", "127.0.0.1/32")
    site.add_client("far", "192.0.2.4/32")
    site.gate.administer(SetRule(actor="test", key="onboarding_over_radius", value="key", scope=Scope()))
    assert found(site) == [("!", "client far")]


def test_a_store_that_cannot_be_read_is_found_elsewhere(site: Site) -> None:
    site.key_file.unlink()
    assert list(checks(site.config)) == []
    assert list(checks(None)) == []
