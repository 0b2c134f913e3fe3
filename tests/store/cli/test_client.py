"""`twofold client`: which gateways may ask, with which secret."""

import re

import pytest

from tests.site import Site
from tests.store.cli.command import Twofold
from validation.model import Client

SECRET = "a-secret-of-24-characters"


def the_client(site: Site) -> Client:
    (client,) = site.gate.clients()
    return client


def test_a_client_with_the_defaults(twofold: Twofold, site: Site) -> None:
    result = twofold.done("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin=SECRET + "\n")
    assert result.out == "Client vpn added; servers know it within a second.\n"
    assert result.err == ""
    client = the_client(site)
    assert (str(client.network), client.secret) == ("192.0.2.10/32", SECRET.encode())
    assert (client.mode, client.message_authenticator, client.status_server) == ("challenge", "required", True)


def test_every_option_of_a_client(twofold: Twofold, site: Site) -> None:
    options = ["--mode", "append", "--message-authenticator", "auto", "--no-status-server", "--secret-stdin"]
    twofold.done("client", "add", "vpn", "2001:db8::/48", *options, stdin=SECRET)
    client = the_client(site)
    assert str(client.network) == "2001:db8::/48"
    assert (client.mode, client.message_authenticator, client.status_server) == ("append", "auto", False)


@pytest.mark.statement("R-024")
def test_a_generated_secret_is_shown_once(twofold: Twofold, site: Site) -> None:
    said = twofold.done("client", "add", "vpn", "192.0.2.10", "--generate-secret").out
    (secret,) = re.findall(r"^Secret  (\S+)$", said, re.MULTILINE)
    assert the_client(site).secret == secret.encode()
    assert len(secret) >= 24
    for arguments in (["client", "list"], ["client", "list", "--json"], ["client", "show", "vpn"], ["audit", "list"]):
        assert secret not in twofold.done(*arguments).out
    again = twofold.done("client", "set", "vpn", "--generate-secret").out
    assert secret not in again
    assert the_client(site).secret.decode() in again


def test_a_short_secret_is_taken_with_a_note(twofold: Twofold, site: Site) -> None:
    """On standard error, so that scripts that read the output are not surprised."""
    result = twofold.done("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin="x" * 23)
    assert result.err == "note: the secret has 23 characters; 24 or more are advised, --generate-secret makes one\n"
    assert twofold.done("client", "set", "vpn", "--secret-stdin", stdin="x" * 24).err == ""
    assert the_client(site).secret == b"x" * 24


@pytest.mark.statement("R-024")
@pytest.mark.parametrize("octets", [1, 12, 13, 23, 24, 32, 64, 128])
def test_a_secret_under_24_octets_is_noted_and_long_ones_are_kept_whole(
    twofold: Twofold, site: Site, octets: int
) -> None:
    """Stricter than the draft, which warns up to 12 and advises 24."""
    secret = "".join(chr(33 + n % 90) for n in range(octets))
    result = twofold.done("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin=secret)
    assert ("24 or more are advised" in result.err) is (octets < 24)
    assert the_client(site).secret == secret.encode()


SPELLINGS = ["#no comment", " blanks ", "\"'`$(x)\\", "0x0102", "\ttabs\t", "schlüssel-ключ-鍵", "a\nb", "%s{}"]


@pytest.mark.statement("R-025")
@pytest.mark.parametrize("secret", SPELLINGS, ids=ascii)
def test_a_secret_is_taken_as_it_is_typed(twofold: Twofold, site: Site, secret: str) -> None:
    """Nothing is a comment, a quote, an escape or hex; the final line break alone does not belong to it."""
    for ending in ("", "\n", "\r\n"):
        twofold.done("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin=secret + ending)
        assert the_client(site).secret == secret.encode()
        twofold.done("client", "remove", "vpn")
    twofold.done("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin="x")
    twofold.done("client", "set", "vpn", "--secret-stdin", stdin=secret)
    assert the_client(site).secret == secret.encode()


@pytest.mark.statement("R-023")
@pytest.mark.parametrize("typed", ["", "\n", "\r\n"])
def test_an_empty_secret_is_refused(twofold: Twofold, site: Site, typed: str) -> None:
    result = twofold("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin=typed)
    assert (result.status, result.out) == (2, "")
    assert result.sentence == "twofold: secret: must not be empty (RFC 2865 section 3)"
    assert site.gate.clients() == ()
    twofold.done("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin=SECRET)
    assert twofold("client", "set", "vpn", "--secret-stdin", stdin=typed).status == 2
    assert the_client(site).secret == SECRET.encode()


@pytest.mark.statement("R-022")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("192.0.2.10", "192.0.2.10/32"),
        ("192.0.2.0/24", "192.0.2.0/255.255.255.0"),
        ("2001:db8::1", "2001:DB8:0:0::1/128"),
        ("192.0.2.10", "::ffff:192.0.2.10"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("0.0.0.0/0", "::ffff:0:0/96"),
    ],
)
def test_one_prefix_belongs_to_one_client(twofold: Twofold, site: Site, first: str, second: str) -> None:
    """However it is spelled: with two, a request could be read under either secret."""
    twofold.done("client", "add", "one", first, "--generate-secret")
    result = twofold("client", "add", "two", second, "--generate-secret")
    assert (result.status, result.out) == (1, "")
    assert "belongs to client 'one' already; an address names one client" in result.sentence
    twofold.done("client", "add", "two", "198.51.100.1", "--generate-secret")
    assert twofold("client", "set", "two", "--address", second).status == 1
    assert {client.name: str(client.network) for client in site.gate.clients()}["two"] == "198.51.100.1/32"


@pytest.mark.statement("R-022")
def test_prefixes_of_other_lengths_may_overlap(twofold: Twofold, site: Site) -> None:
    for name, network in (("all", "0.0.0.0/0"), ("net", "192.0.2.0/24"), ("host", "192.0.2.10/32"), ("six", "::/0")):
        twofold.done("client", "add", name, network, "--generate-secret")
    assert len(site.gate.clients()) == 4


def test_set_changes_what_is_named(twofold: Twofold, site: Site) -> None:
    twofold.done("client", "add", "vpn", "192.0.2.10", "--secret-stdin", stdin=SECRET)
    for option, value, field in (
        ("--address", "198.51.100.0/24", "network"),
        ("--mode", "passcode-only", "mode"),
        ("--message-authenticator", "auto", "message_authenticator"),
    ):
        said = twofold.done("client", "set", "vpn", option, value).out
        assert said == "Client vpn changed; servers follow within a second.\n"
        assert str(getattr(the_client(site), field)) == value
    twofold.done("client", "set", "vpn", "--no-status-server")
    assert the_client(site).status_server is False
    twofold.done("client", "set", "vpn", "--status-server")
    client = the_client(site)
    assert (client.status_server, client.secret, client.mode) == (True, SECRET.encode(), "passcode-only")


def test_a_client_that_need_not_sign_is_worth_a_note(twofold: Twofold) -> None:
    twofold.done("client", "add", "vpn", "192.0.2.10", "--generate-secret")
    note = twofold.done("client", "set", "vpn", "--message-authenticator", "off").err
    assert note.startswith("note: requests of this client need no Message-Authenticator")
    assert "CVE-2024-3596" in note


def test_list_and_show(twofold: Twofold) -> None:
    assert twofold.done("client", "list", "--json").json == []
    twofold.done("client", "add", "vpn", "192.0.2.10", "--generate-secret")
    twofold.done("client", "add", "mail", "2001:db8::/48", "--mode", "append", "--generate-secret")
    vpn = {
        "name": "vpn",
        "address": "192.0.2.10/32",
        "mode": "challenge",
        "message_authenticator": "required",
        "status_server": True,
        "always_challenge": False,
        "encoding": "utf-8",
        "cut_at_nul": False,
        "old_secret_until": None,
        "replies": {},
    }
    mail = vpn | {"name": "mail", "address": "2001:db8::/48", "mode": "append"}
    assert twofold.done("client", "list", "--json").json == [mail, vpn]
    assert twofold.done("client", "show", "vpn", "--json").json == vpn
    table = [line.split() for line in twofold.done("client", "list").out.splitlines()]
    assert table == [
        ["name", "address", "mode", "message-authenticator", "status-server"],
        ["mail", "2001:db8::/48", "append", "required", "yes"],
        ["vpn", "192.0.2.10/32", "challenge", "required", "yes"],
    ]
    shown = dict(line.split(None, 1) for line in twofold.done("client", "show", "vpn").out.splitlines())
    assert shown["address"] == "192.0.2.10/32"


def test_remove(twofold: Twofold, site: Site) -> None:
    twofold.done("client", "add", "vpn", "192.0.2.10", "--generate-secret")
    assert twofold.done("client", "remove", "vpn").out == "Client vpn removed.\n"
    assert site.gate.clients() == ()
    assert [row["event"] for row in site.audit()][-2:] == ["client-add", "client-remove"]
