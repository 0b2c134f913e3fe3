"""Doctor on passwords: whether the helper is there, for those who need it."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from first_factor.checks import checks
from tests.pam_helper.host import needs_root, open_folder
from tests.site import Site
from validation.findings import Severity
from validation.model import FirstFactorKind
from validation.requests import AddUser, SetRule
from validation.settings import Scope


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site", '[store]\nchain = "test"\n[pam]\nsocket = "/run/pam.sock"\n')


def add(site: Site, name: str) -> None:
    site.gate.administer(AddUser(actor="test", name=name, first_factor=FirstFactorKind.SYSTEM))


def found(site: Site, root: Path) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.text) for finding in checks(site.config, root)]


def test_where_nobody_needs_the_helper_nothing_is_said(site: Site, tmp_path: Path) -> None:
    assert list(checks(None)) == []
    site.add_user("local")
    site.add_client()
    assert found(site, tmp_path) == []
    site.config.database.unlink()
    assert found(site, tmp_path) == []


def test_a_host_without_radius_clients_has_its_own_checks(site: Site, tmp_path: Path) -> None:
    add(site, "alice")
    assert found(site, tmp_path) == []


def test_a_helper_that_is_missing_is_serious(site: Site, tmp_path: Path) -> None:
    site.add_client()
    add(site, "alice")
    ((severity, text),) = found(site, tmp_path)
    assert severity is Severity.SERIOUS
    assert text.startswith("1 user has the password of an account of this host, and no helper answers at /run/pam.sock")


def test_users_who_have_it_by_policy_need_the_helper_too(site: Site, tmp_path: Path) -> None:
    site.add_client()
    site.gate.administer(AddUser(actor="test", name="alice"))
    rule = SetRule(actor="test", key="first_factor", value="system", scope=Scope(client="vpn"))
    assert found(site, tmp_path) == []
    site.gate.administer(rule)
    ((severity, text),) = found(site, tmp_path)
    assert severity is Severity.SERIOUS
    assert text.startswith("by policy users have the password of an account of this host, and no helper answers")


@needs_root
def test_a_helper_of_root_is_fine(site: Site) -> None:
    site.add_client()
    for name in ("alice", "bob"):
        add(site, name)
    with open_folder() as root, socket.socket(socket.AF_UNIX) as helper:
        (root / "run").mkdir()
        helper.bind(str(root / "run/pam.sock"))
        helper.listen()
        ((severity, text),) = found(site, root)
    assert severity is Severity.OK
    assert text == "2 users have the password of an account of this host; the helper answers at /run/pam.sock"


LISTEN = """
import os, socket, sys
os.setgroups([]); os.setresgid(1, 1, 1); os.setresuid(1, 1, 1)
one = socket.socket(socket.AF_UNIX); one.bind(sys.argv[1]); one.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@needs_root
def test_somebody_else_in_its_place_is_serious(site: Site) -> None:
    site.add_client()
    add(site, "alice")
    with open_folder() as root, contextlib.ExitStack() as stack:
        (root / "run").mkdir()
        os.chown(root / "run", 1, 1)
        command = [sys.executable, "-I", "-S", "-c", LISTEN, str(root / "run/pam.sock")]
        pipe = subprocess.PIPE
        impostor = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe))
        assert impostor.stdout is not None
        assert impostor.stdout.readline() == b"listening\n"
        ((severity, text),) = found(site, root)
    assert severity is Severity.SERIOUS
    assert "who listens at /run/pam.sock is not root" in text
