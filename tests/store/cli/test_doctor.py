"""`twofold doctor`: the store's own checks, how findings are shown, and the exit status."""

import json
import os
import sqlite3
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import pytest

from store import opening
from store.ballast import LEAST_FREE
from store.cli import doctor
from store.cli.checks import checks, synchronised
from store.cli.main import NOUNS
from tests.flows.namespace import mount_namespace
from tests.site import TWOFOLD, Site
from tests.store.cli.command import Twofold
from validation.findings import Finding, Severity
from validation.requests import GiveBypass, SetRule
from validation.settings import Scope

usage = namedtuple("usage", ["total", "used", "free"])


@pytest.fixture
def site(site: Site) -> Site:
    """As `init` makes it."""
    opening.create_ballast(site.config)
    return site


def found(site: Site, in_step: bool = True) -> list[tuple[str, str]]:
    """Severity and topic of what is not fine."""
    seen = checks(site.config, in_step=lambda: in_step)
    return [(str(one.severity), one.topic) for one in seen if one.severity is not Severity.OK]


def of_topic(site: Site, topic: str) -> Finding:
    (one,) = [one for one in checks(site.config, in_step=lambda: True) if one.topic == topic]
    return one


def test_a_store_that_is_right_has_nothing_to_mend(site: Site) -> None:
    site.add_user("alice")
    assert found(site) == []
    assert of_topic(site, "store").text.startswith("SQLite, schema 0009, 1 user, disk ")


@pytest.mark.parametrize("damage", ["no key", "loose key", "no store"])
def test_a_store_that_cannot_be_used_is_serious(site: Site, damage: str) -> None:
    match damage:
        case "no key":
            site.key_file.unlink()
        case "loose key":
            site.key_file.chmod(0o644)
        case _:
            site.config.database.unlink()
    assert found(site) == [("!!", "store")]


def test_a_folder_that_others_can_write_is_serious(site: Site) -> None:
    site.folder.chmod(0o777)
    assert found(site) == [("!!", "files")]
    assert of_topic(site, "files").remedy == f"chmod go-w {site.folder}"


@pytest.mark.peer("mount", "unshare")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_store_that_cannot_be_written_to_is_serious(site: Site, what: str) -> None:
    """While a server has it open it can be read, and so all else is well; but nobody is let in."""
    place = site.folder if what == "folder" else site.config.database
    site.add_user("alice")
    with mount_namespace() as namespace:
        namespace.run("mount", "--bind", place, place)
        namespace.run("mount", "-o", "remount,bind,ro", place)
        command = namespace.inside(*TWOFOLD, "--config", site.config_file, "doctor", "--json")
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    said = [one["text"] for one in json.loads(done.stdout) if (one["severity"], one["topic"]) == ("!!", "store")]
    assert said == [f"{place} cannot be written to: no login can be recorded, so nobody gets in."]


def test_a_client_that_is_damaged_and_so_not_served_is_serious(site: Site) -> None:
    site.add_client("vpn")
    site.add_client("wlan", network="192.0.2.7/32")
    with sqlite3.connect(site.config.database) as connection:
        connection.execute("UPDATE clients SET sealed_secret = x'00' WHERE name = 'vpn'")
    connection.close()
    assert found(site) == [("!!", "client vpn")]
    assert of_topic(site, "client vpn").remedy == "twofold client set vpn --generate-secret"


@pytest.mark.parametrize(
    ("free", "remedy"), [(LEAST_FREE, "A running server makes it"), (LEAST_FREE - 1, "Make room on")]
)
def test_a_ballast_that_was_given_up_is_named_with_how_much_is_free(
    site: Site, monkeypatch: pytest.MonkeyPatch, free: int, remedy: str
) -> None:
    (site.folder / "twofold.db.ballast").unlink()
    monkeypatch.setattr("store.ballast.Ballast.room", free)
    assert found(site) == [("!", "ballast")]
    said = of_topic(site, "ballast")
    assert f"{free >> 20} MB are free" in said.text
    assert said.remedy.startswith(remedy)


def test_a_file_system_that_tells_no_size_hides_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.cli.checks.shutil.disk_usage", lambda _: usage(total=0, used=0, free=0))
    assert found(site, in_step=False) == [("!", "clock")]


def test_a_clock_that_nobody_keeps_right_is_named(site: Site) -> None:
    assert found(site, in_step=False) == [("!", "clock")]
    assert synchronised() in (True, False)


def test_a_clock_behind_the_trail_is_serious(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add_user("alice")
    before = time.time() - 3600
    monkeypatch.setattr("store.cli.checks.time.time", lambda: before)
    assert ("!!", "clock") in found(site)


def test_a_policy_that_lets_everybody_past_is_serious_and_others_are_advice(site: Site) -> None:
    site.gate.administer(SetRule(actor="test", key="second_factor", value="skip", scope=Scope()))
    site.gate.administer(SetRule(actor="test", key="tries", value="5", scope=Scope(group="nobody-is-in")))
    assert found(site) == [("!!", "policy"), ("!", "policy")]


def test_a_bypass_is_named_until_it_ends(site: Site) -> None:
    site.add_user("alice")
    site.gate.administer(GiveBypass(actor="test", name="alice", hours=8))
    assert found(site) == [("!", "user alice")]
    site.gate.administer(GiveBypass(actor="test", name="alice", hours=0))
    assert found(site) == []


# --- the command


@pytest.fixture
def own_checks(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the command finds is what is put into this list."""
    planted: list[Finding] = []
    monkeypatch.setattr("tests.store.cli.test_doctor.planted", lambda _config, _root: iter(planted))
    monkeypatch.setattr(doctor, "CHECKS", (("tests.store.cli.test_doctor:planted", False),))
    return planted


def planted(_config: object, _root: Path) -> list[Finding]:
    raise NotImplementedError


SERIOUS = Finding(Severity.SERIOUS, "pam sudo", "sudo skips the second factor.", "See docs/pam/sudo.md")
ADVICE = Finding(Severity.ADVICE, "client vpn2", "secret has 9 characters.", "Make a new one")
FINE = Finding(Severity.OK, "store", "SQLite")


def test_each_finding_is_shown_with_what_to_do(twofold: Twofold, own_checks: list[Finding]) -> None:
    own_checks += [FINE, SERIOUS, ADVICE]
    result = twofold("doctor")
    assert result.status == 1
    shown = result.out.splitlines()
    shown = shown[2:] if os.geteuid() != 0 else shown
    assert shown == [
        "ok   store         SQLite",
        "!!   pam sudo      sudo skips the second factor.",
        "                   See docs/pam/sudo.md",
        "!    client vpn2   secret has 9 characters.",
        "                   Make a new one",
        "1 finding lets somebody in without a second factor, or keeps logins from working.",
    ]


def test_advice_alone_is_no_failure(twofold: Twofold, own_checks: list[Finding]) -> None:
    own_checks += [FINE, ADVICE]
    assert twofold("doctor").status == 0


def test_one_document_for_programs(twofold: Twofold, own_checks: list[Finding]) -> None:
    own_checks += [SERIOUS]
    result = twofold("doctor", "--json")
    assert result.status == 1
    assert json.loads(result.out)[-1] == {
        "severity": "!!",
        "topic": "pam sudo",
        "text": "sudo skips the second factor.",
        "remedy": "See docs/pam/sudo.md",
    }


def test_control_characters_do_not_reach_the_terminal(twofold: Twofold, own_checks: list[Finding]) -> None:
    own_checks += [Finding(Severity.ADVICE, "policy", "a\x1b[2Jb", "c\x07d")]
    shown = twofold("doctor").out
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_check_that_fails_does_not_hide_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_config: object, _root: Path) -> list[Finding]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pam_helper.checks.checks", fails)
    said = list(doctor.findings(str(site.config_file), site.folder))
    assert [one.severity for one in said if one.topic == "pam_helper"] == [Severity.SERIOUS]
    assert [one.text for one in said if one.topic == "clients"] == ["0 RADIUS clients, signed and well keyed"]


def test_without_a_configuration_pam_is_looked_at_all_the_same(tmp_path: Path) -> None:
    said = list(doctor.findings(str(tmp_path / "none.toml"), tmp_path))
    assert [(one.severity, one.topic) for one in said if one.topic in ("config", "pam")] == [
        (Severity.SERIOUS, "config"),
        (Severity.OK, "pam"),
    ]


def test_every_part_that_a_login_passes_brings_its_checks() -> None:
    assert [place for place, _ in doctor.CHECKS] == [
        "store.cli.checks:checks",
        "first_factor.ldap_checks:checks",
        "first_factor.radius_checks:checks",
        "radius_server.checks:checks",
        "first_factor.checks:checks",
        "pam_helper.checks:checks",
    ]
    assert "doctor" in NOUNS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the rights of somebody else")
def test_roots_look_leaves_the_store_to_its_owner(site: Site) -> None:
    """SQLite makes files beside the database; those of root would keep the server out."""
    nobody = 65_534
    give_away(site, nobody)
    said = list(doctor.findings(str(site.config_file), site.folder))
    assert [one.severity for one in said if one.topic == "store"] == [Severity.OK], said
    assert {path.stat().st_uid for path in site.folder.iterdir()} == {nobody}
    assert (os.geteuid(), os.getegid()) == (0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the rights of somebody else")
def test_a_lock_file_that_its_owner_cannot_open_is_serious(site: Site) -> None:
    """Root's, say, in a store of the service's user."""
    site.add_user("alice")
    give_away(site, 65_534)
    lock = site.folder / "twofold.db.lock"
    os.chown(lock, 0, 0)
    found = [one.text for one in doctor.findings(str(site.config_file), site.folder) if one.topic == "store"]
    assert f"{lock} cannot be written to: no login can be recorded, so nobody gets in." in found


def give_away(site: Site, owner: int) -> None:
    """The store to somebody who may enter the folders above it."""
    for path in [site.folder, *site.folder.iterdir()]:
        os.chown(path, owner, owner)
    for folder in site.folder.parents:
        if folder.name.startswith(("pytest-", "popen-")) or folder == site.folder.parent:
            folder.chmod(0o755)
