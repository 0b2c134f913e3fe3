"""`[first_factor.ldap]`: what it may say, and that no password can be sent in clear by a slip in it."""

from pathlib import Path

import pytest

from store.config import parse
from store.ldap_section import GroupsSection, Ldap, LdapServer, Protection
from validation.errors import BadInput

FILE = Path("/etc/twofold/twofold.toml")
BASE = 'base = "dc=example,dc=org"'


def read(text: str) -> Ldap:
    found = parse(f"[first_factor.ldap]\n{text}", FILE).ldap
    assert found is not None
    return found


def servers(*urls: str, more: str = "") -> list[LdapServer]:
    listed = ", ".join(f'"{url}"' for url in urls)
    return list(read(f"servers = [{listed}]\n{BASE}\n{more}").servers)


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        read(text)
    return str(caught.value)


def test_without_the_section_there_is_no_directory() -> None:
    assert parse("", FILE).ldap is None


def test_every_key_is_taken() -> None:
    found = read(
        """
        servers = ["ldaps://a.example.org"]
        base = "ou=people,dc=example,dc=org"
        filter = "(cn={user})"
        ca_file = "ca.pem"
        bind_dn = "cn=x"
        bind_password_file = "/run/secrets/ldap"
        time_limit = 3
        threads = 4
        [first_factor.ldap.groups]
        base = "ou=groups"
        filter = "(member={dn})"
        member_of = true
        name = "ou"
        names = {"VPN Users" = "vpn"}
        """
    )
    assert found == Ldap(
        servers=(LdapServer("a.example.org", 636, Protection.TLS),),
        base="ou=people,dc=example,dc=org",
        filter="(cn={user})",
        ca_file=Path("/etc/twofold/ca.pem"),
        bind_dn="cn=x",
        bind_password_file=Path("/run/secrets/ldap"),
        time_limit=3.0,
        threads=4,
        groups=GroupsSection("ou=groups", "(member={dn})", True, "ou", {"VPN Users": "vpn"}),
    )


@pytest.mark.parametrize(
    ("url", "server", "shown"),
    [
        ("ldaps://a.b", LdapServer("a.b", 636, Protection.TLS), "ldaps://a.b:636"),
        ("ldaps://a.b:6636/", LdapServer("a.b", 6636, Protection.TLS), "ldaps://a.b:6636"),
        ("ldap://A.b", LdapServer("a.b", 389, Protection.START_TLS), "ldap://a.b:389"),
        ("ldap://127.0.0.1:3890", LdapServer("127.0.0.1", 3890, Protection.START_TLS), "ldap://127.0.0.1:3890"),
        ("LDAPS://[2001:db8::1]", LdapServer("2001:db8::1", 636, Protection.TLS), "ldaps://[2001:db8::1]:636"),
        ("ldapi://%2Frun%2Fldapi", LdapServer("/run/ldapi", 0, Protection.THIS_HOST), "ldapi:///run/ldapi"),
    ],
)
def test_a_server_is_read_and_shown(url: str, server: LdapServer, shown: str) -> None:
    assert servers(url) == [server]
    assert str(server) == shown


@pytest.mark.parametrize("url", ["ldap://127.0.0.1", "ldap://127.3.2.1:3890", "ldap://[::1]"])
def test_in_clear_is_asked_only_this_host(url: str) -> None:
    (server,) = servers(url, more="unencrypted = true")
    assert server.protection is Protection.THIS_HOST
    assert [each.protection for each in servers("ldaps://a.b", url, more="unencrypted = true")] == [
        Protection.TLS,
        Protection.THIS_HOST,
    ]


@pytest.mark.parametrize(
    "url", ["ldap://192.0.2.1", "ldap://ldap.example.org", "ldap://localhost", "ldap://[2001:db8::1]"]
)
def test_no_password_crosses_a_network_in_clear(url: str) -> None:
    """A name is what a resolver makes of it, `localhost` too."""
    said = refusal(f'servers = ["{url}"]\n{BASE}\nunencrypted = true')
    assert said.startswith(f"{FILE}, line 2: first_factor.ldap.servers {url!r} is not an address of this host")


@pytest.mark.parametrize(
    "url",
    [
        *["", "a.b", "http://a.b", "ldap:a.b", "ldap://", "ldaps://:636", "ldap://a.b:0", "ldap://a.b:65536", "ldap://a.b:x"],
        *["ldap://u@a.b", "ldap://u:p@a.b", "ldap://a.b/dc=x", "ldap://a.b?x", "ldap://a.b#x", "ldap://a b", "ldap://-a"],
        *["ldap://a_b", "ldap://[::1", "ldapi://", "ldapi://run", "ldapi://%2Fa%00b", "ldapi://%2F" + "x" * 107],
    ],
)  # fmt: skip
def test_what_names_no_server_is_refused_with_an_example(url: str) -> None:
    said = refusal(f'servers = ["{url}"]\n{BASE}')
    assert said.startswith(f"{FILE}, line 2: first_factor.ldap.servers ")
    assert "write ldap" in said


GOOD = f'servers = ["ldaps://a.b"]\n{BASE}\n'
GROUPS = GOOD + "[first_factor.ldap.groups]\nbase = 'x'\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BASE, "line 1: first_factor.ldap is not right: object missing required field `servers`"),
        (f"servers = []\n{BASE}", "line 2: first_factor.ldap.servers is not right"),
        ('servers = ["ldaps://a.b"]\nbase = ""', "line 3: first_factor.ldap.base is not right"),
        (GOOD + "colour = 1", "line 4: first_factor.ldap.colour is not a known key"),
        (GOOD + 'password = "x"', "line 4: first_factor.ldap.password is not a known key"),
        (GOOD + 'bind_dn = "cn=x"', "line 4: first_factor.ldap.bind_dn needs the other one, too"),
        (GOOD + 'bind_password_file = "x"', "line 4: first_factor.ldap.bind_password_file needs the other one"),
        (GOOD + 'filter = "(uid=alice)"', "line 4: first_factor.ldap.filter must say where the name goes"),
        (GOOD + 'filter = "uid={user}"', "line 4: first_factor.ldap.filter 'uid={user}' is no filter"),
        (GOOD + 'filter = "((uid={user})"', "is no filter in round brackets"),
        (GOOD + "time_limit = 0", "line 4: first_factor.ldap.time_limit is not right"),
        (GOOD + "threads = 17", "line 4: first_factor.ldap.threads is not right"),
        (GOOD + "[first_factor.ldap.groups]", "line 4: first_factor.ldap.groups is not right"),
        (GROUPS + "filter = ''", "line 6: first_factor.ldap.groups.filter is empty"),
        (GROUPS + "filter = '(a=b)'", "line 6: first_factor.ldap.groups.filter must say where the name goes"),
        (GROUPS + "name = 'a*'", "line 6: first_factor.ldap.groups.name is not right"),
        (GROUPS + "names = {a='-b'}", "line 6: first_factor.ldap.groups.names '-b': group name: must not begin"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(text: str, sentence: str) -> None:
    said = refusal(text)
    assert said.startswith(str(FILE))
    assert sentence in said
    assert "\n" not in said
