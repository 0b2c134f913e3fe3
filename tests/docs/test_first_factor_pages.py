"""docs/first-factor: the example for OpenLDAP is run against a slapd, every key is named, every log line exists."""

import re
from pathlib import Path

import msgspec
import pytest

from first_factor import checker
from first_factor.ldap_checks import checks
from store.config import Config, parse
from store.ldap_section import GroupsSection, LdapSection, Protection
from tests.architecture.source import ROOT
from tests.docs.pages import files, text_of
from tests.peers.ldap.slapd import GROUPS, READERS, Slapd
from tests.site import Site
from validation.decisions import Look
from validation.findings import Severity
from validation.requests import FirstFactor

PAGE = text_of("first-factor/ldap.md")
MODULES = ("__init__.py", "ldap.py", "directory.py", "bounded.py", "lookups.py")
SOURCES = (
    "".join((ROOT / "first_factor" / name).read_text() for name in MODULES)
    + (ROOT / "store" / "sealing.py").read_text()
)


def example(kind: str) -> str:
    return files(PAGE)[kind]


@pytest.mark.peer("slapd", "ldapadd", "ldapmodify", "ldapsearch")
def test_the_example_for_openldap_checks_passwords(tmp_path: Path) -> None:
    """As it stands there, but for the names of the servers."""
    with Slapd(tmp_path / "slapd") as slapd:
        text = example("openldap").replace("ldaps://ldap1.example.org", slapd.tls_url)
        site = Site(
            tmp_path / "site", '[store]\nchain = "test"\n' + text.replace("ldap://ldap2.example.org", slapd.url)
        )
        (site.folder / "ldap-ca.pem").write_bytes(slapd.authority.file.read_bytes())
        secret = site.folder / "ldap.password"
        secret.touch(0o640)
        secret.write_text(READERS + "\n")
        dn = slapd.add_person("alice", "pw-of-alice")
        for name in ("VPN Users", "others"):
            slapd.add(f"dn: cn={name},{GROUPS}\nobjectClass: groupOfNames\ncn: {name}\nmember: {dn}\n")

        found = checker(site.config).check(Look("ldap", None, 1, user="alice"), "pw-of-alice")
        assert (found.status, found.groups) == (FirstFactor.PROVED, ("vpn",))
        assert [one.severity for one in checks(site.config)] == [Severity.OK] * 2


def config(text: str) -> Config:
    return parse(text, Path("/etc/twofold/twofold.toml"))


def test_the_example_for_active_directory_is_read() -> None:
    ldap = config(example("active directory")).ldap
    assert ldap is not None
    assert [server.protection for server in ldap.servers] == [Protection.TLS] * 2
    assert checker(config(example("active directory")))


@pytest.mark.parametrize("section", [LdapSection, GroupsSection], ids=["ldap", "groups"])
def test_every_key_stands_in_the_table_with_its_default(section: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(section):
        if field.name == "groups":
            continue
        if field.required:
            wanted = "must be set"
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else ""
            wanted = f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "empty"
        assert f"| `{field.name}` | {wanted} |" in PAGE.replace("\\|", "|"), field.name


def test_every_line_of_the_log_that_the_page_explains_is_written_somewhere() -> None:
    (table,) = re.findall(r"## From a log line to its cause\n(.*?)\n\n[^|]", PAGE, re.DOTALL)
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    lines = [line for row in rows for line in re.findall(r"`([^`]+)`", row)]
    from_outside = {"Connection refused", "timed out"}
    assert len(lines) > 20
    for line in lines:
        if line not in from_outside:
            # What is filled in, and where the source breaks a line, is left out.
            pieces = [piece for piece in re.split(r"…|\(|\)|\d+|: |\[\S*\]", line) if len(piece.strip()) > 3]
            missing = [piece for piece in pieces if piece.strip(" ,;:") not in SOURCES]
            assert not missing, (line, missing)
