"""What doctor says of the RADIUS servers that check passwords."""

from pathlib import Path

import pytest

from first_factor.radius_checks import checks
from store.cli.doctor import CHECKS
from tests.first_factor.upstream import SECRET, Answers, accept, reply, silence, upstream
from tests.site import Site
from validation.findings import Severity
from validation.model import FirstFactorKind
from validation.requests import AddUser


def site_with(folder: Path, section: str) -> Site:
    folder.mkdir()
    secret = folder / "upstream.secret"
    secret.touch(0o600)
    secret.write_bytes(SECRET)
    return Site(folder, f'[store]\nchain = "test"\n{section}')


def section(port: int, more: str = "") -> str:
    return (
        f'[first_factor.radius]\nsecret_file = "upstream.secret"\nservers = ["127.0.0.1:{port}"]\nretries = 0\n{more}'
    )


def found(site: Site) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.text) for finding in checks(site.config)]


def test_doctor_asks_them() -> None:
    assert ("first_factor.radius_checks:checks", False) in CHECKS


def test_nothing_is_said_where_nobody_needs_them(tmp_path: Path) -> None:
    assert found(site_with(tmp_path / "site", "")) == []
    assert list(checks(None)) == []


def test_users_without_a_server_are_named(tmp_path: Path) -> None:
    site = site_with(tmp_path / "site", "")
    site.gate.administer(AddUser(actor="test", name="alice", first_factor=FirstFactorKind.RADIUS))
    ((severity, text),) = found(site)
    assert severity is Severity.SERIOUS
    assert text == "1 user has the first factor radius, and [first_factor.radius] is missing: they cannot log in."


@pytest.mark.parametrize(
    ("answers", "severity", "said"),
    [
        (accept, Severity.OK, "answers, and signs"),
        (silence, Severity.ADVICE, "does not answer a Status-Server: no reply within 2 s."),
        (lambda request: [reply(request, signature="none")], Severity.ADVICE, "1 message-authenticator-missing."),
    ],
    ids=["signed", "silent", "unsigned"],
)
def test_each_server_is_asked_without_a_name(tmp_path: Path, answers: Answers, severity: Severity, said: str) -> None:
    with upstream(answers) as server:
        ((how, text),) = found(site_with(tmp_path / "site", section(server.address[1])))
        assert (how, text.endswith(said)) == (severity, True), text
        assert [request[0] for request in server.requests] == [12]


@pytest.mark.parametrize("more", ['reply = ["State"]', 'reply = ["Nothing"]'])
def test_what_keeps_the_server_from_starting_is_serious(tmp_path: Path, more: str) -> None:
    ((severity, text),) = found(site_with(tmp_path / "site", section(9, more)))
    assert (severity, "first_factor.radius.reply" in text) == (Severity.SERIOUS, True)


def test_a_secret_that_others_can_read_is_serious(tmp_path: Path) -> None:
    site = site_with(tmp_path / "site", section(9))
    (site.folder / "upstream.secret").chmod(0o644)
    ((severity, text),) = found(site)
    assert (severity, "others can get at it" in text) == (Severity.SERIOUS, True)
