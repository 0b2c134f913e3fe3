"""Which client a datagram belongs to, and what it must carry."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from radius_server.clients import ClientTable, check_signature_rule, source_address
from radius_server.packet import Malformed, parse
from tests.builders import client
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import (
    NARROW_SECRET,
    WIDE_SECRET,
    Live,
    Person,
    Source,
    check_accepted,
    check_silence,
    new_person,
)
from tests.site import SECRET, Site, eventually
from tests.wire import PROXY_STATE, Attributes, access_request
from validation.model import Client, MessageAuthenticatorRule, Mode

REQUIRED, AUTO, OFF = MessageAuthenticatorRule
NAS_IP_ADDRESS, NAS_IDENTIFIER = 4, 32


def named(name: str, network: str) -> Client:
    return client(name=name, network=ip_network(network))


TABLE = ClientTable(
    [
        named("all", "0.0.0.0/0"),
        named("wide", "10.0.0.0/8"),
        named("middle", "10.1.0.0/16"),
        named("host", "10.1.0.1/32"),
        named("v6", "2001:db8::/48"),
        named("v6 host", "2001:db8::1/128"),
        named("links", "fe80::/10"),
    ]
)


@pytest.mark.statement("R-022")
@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("10.1.0.1", "host"),
        ("::ffff:10.1.0.1", "host"),
        ("10.1.0.2", "middle"),
        ("10.2.0.1", "wide"),
        ("192.0.2.1", "all"),
        ("2001:db8::1", "v6 host"),
        ("2001:db8::2", "v6"),
        ("fe80::1%eth0", "links"),
        ("2001:db9::1", None),
        ("::a01:1", None),
    ],
)
def test_the_longest_prefix_wins_and_a_mapped_address_is_ipv4(peer: str, name: str | None) -> None:
    found = TABLE.find(source_address(peer))
    assert (found.name if found is not None else None) == name
    for _ in range(2):  # looked for, and remembered
        assert TABLE.sender(peer) == (str(source_address(peer)), found)


def test_only_so_many_senders_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radius_server.clients.PEERS", 2)
    table = ClientTable([named("wide", "10.0.0.0/8"), named("host", "10.1.0.1/32")])
    for number in (1, 2, 3, 1):
        known = table.sender(f"10.1.0.{number}")
        assert known.client is table.find(ip_address(known.address))
        assert len(table._lately) <= 2


def test_nobody_is_a_client_of_an_empty_table() -> None:
    assert ClientTable().find(ip_address("127.0.0.1")) is None


# --- On the command line


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.mark.statement("R-022")
def test_a_second_client_with_the_same_prefix_is_refused(site: Site) -> None:
    assert site.command("client", "add", "a", "192.0.2.0/24", "--secret-stdin", stdin=SECRET).returncode == 0
    done = site.command("client", "add", "b", "192.0.2.0/24", "--secret-stdin", stdin=SECRET)
    assert done.returncode == 1
    assert "192.0.2.0/24 belongs to client 'a' already" in done.stderr
    assert site.command("client", "add", "b", "192.0.2.0/25", "--secret-stdin", stdin=SECRET).returncode == 0
    assert [c.name for c in site.gate.clients()] == ["a", "b"]


@pytest.mark.statement("R-023")
@pytest.mark.parametrize("stdin", ["", "\n"], ids=["nothing", "an empty line"])
def test_an_empty_secret_is_refused(site: Site, stdin: str) -> None:
    done = site.command("client", "add", "vpn", "192.0.2.1", "--secret-stdin", stdin=stdin)
    assert done.returncode == 2
    assert "secret: must not be empty" in done.stderr
    assert site.gate.clients() == ()


@pytest.mark.statement("R-023")
def test_no_secret_is_replaced_by_an_empty_one(site: Site) -> None:
    site.add_client("vpn", "192.0.2.1/32")
    assert site.command("client", "set", "vpn", "--secret-stdin", stdin="\n").returncode == 2
    assert [c.secret for c in site.gate.clients()] == [SECRET]


# --- What a request must carry


def reason(rule: MessageAuthenticatorRule, *, must_sign: bool = False, code: int = 1, **extra: bytes) -> str | None:
    """Why an unsigned request is dropped; None if it is not."""
    attributes = [({"eap": 79, "proxy": PROXY_STATE}[name], value) for name, value in extra.items()]
    octets = access_request(SECRET, "alice", "x", extra=attributes, code=code, message_authenticator="none").data
    try:
        check_signature_rule(parse(octets), client(message_authenticator=rule), False, must_sign)
    except Malformed as error:
        return error.reason
    return None


MISSING = "message-authenticator-missing"


@pytest.mark.statement("R-033")
def test_required_is_looked_at_before_everything_else() -> None:
    assert reason(REQUIRED) == MISSING
    assert reason(REQUIRED, eap=b"\2\0\0\4", proxy=b"x") == MISSING


@pytest.mark.statement("R-034")
@pytest.mark.parametrize("rule", list(MessageAuthenticatorRule))
def test_status_server_must_be_signed_whatever_the_rule_for_logins_says(rule: MessageAuthenticatorRule) -> None:
    assert reason(rule, code=12) == MISSING


@pytest.mark.statement("R-042")
@pytest.mark.parametrize("rule", [AUTO, OFF])
def test_eap_must_be_signed_whatever_the_rule_says(rule: MessageAuthenticatorRule) -> None:
    assert reason(rule, eap=b"\2\0\0\4") == "eap-without-message-authenticator"


@pytest.mark.statement("R-039")
def test_auto_limits_proxy_state_to_signed_requests() -> None:
    assert reason(AUTO) is None
    assert reason(AUTO, proxy=b"x") == "proxy-state-without-message-authenticator"
    assert reason(AUTO, must_sign=True) == MISSING
    assert reason(OFF, proxy=b"x") is None


@pytest.mark.parametrize("rule", list(MessageAuthenticatorRule))
def test_a_signed_request_passes_every_rule(rule: MessageAuthenticatorRule) -> None:
    request = parse(access_request(SECRET, "alice", "x", extra=[(79, b"\2\0\0\4"), (PROXY_STATE, b"x")]).data)
    assert check_signature_rule(request, client(message_authenticator=rule), True, True) is None  # type: ignore[func-returns-value]


# --- On the wire


@pytest.mark.statement("R-020")
def test_strangers_get_silence_and_one_line_in_the_log(live: Live, person: Person) -> None:
    with (
        live.site.server() as server,
        server.nas(source="127.0.9.8") as stranger,
        server.nas(source="127.0.9.9") as other,
        server.nas(source=Source.PASSCODE) as nas,
    ):
        for _ in range(50):
            stranger.send(access_request(SECRET, person.name, person.pin()).data)
            other.send(access_request(SECRET, person.name, person.pin()).data)
        check_silence(nas)  # a probe from another address: what the strangers sent was read before
        assert stranger.receive(0.01) is other.receive(0.01) is None
        eventually(lambda: "reason=unknown-client" in server.log, what="a line")  # it may come after the reply
        (line,) = [line for line in server.log.splitlines() if "reason=unknown-client" in line]
        assert "from=127.0.9.8" in line
        check_accepted(nas, person)


@pytest.mark.statement("R-021")
@pytest.mark.parametrize(
    "claim",
    [
        [(NAS_IP_ADDRESS, ip_address("127.0.2.8").packed)],  # belongs to the client `wide`
        [(NAS_IDENTIFIER, b"wide")],
        [(NAS_IDENTIFIER, b"127.0.2.8")],
    ],
    ids=["NAS-IP-Address", "its name", "its address as NAS-Identifier"],
)
def test_what_a_nas_says_of_itself_does_not_choose_the_secret(
    nas_from: NasFrom, person: Person, claim: Attributes
) -> None:
    nas = nas_from(Source.NARROW, NARROW_SECRET)
    check_silence(nas, access_request(WIDE_SECRET, person.name, person.pin(), extra=claim).data)
    check_accepted(nas, person, extra=claim)


@pytest.mark.statement("R-022")
@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [(Source.NARROW, NARROW_SECRET, WIDE_SECRET), ("127.0.2.8", WIDE_SECRET, NARROW_SECRET)],
    ids=["the address", "the rest of the network"],
)
def test_a_client_inside_the_network_of_another_has_its_own_secret(
    nas_from: NasFrom, person: Person, source: str, right: bytes, wrong: bytes
) -> None:
    nas = nas_from(source, right)
    check_silence(nas, access_request(wrong, person.name, person.pin()).data)
    check_accepted(nas, person)


ALL_OCTETS = bytes(range(256))
SECRETS = [ALL_OCTETS, ALL_OCTETS[128:], b"s" * 32, b"s" * 64, '# "schlüssel" 0x00'.encode()]


@pytest.mark.statement("R-024", "R-025")
def test_secrets_of_any_octets_and_any_length_work(tmp_path: Path) -> None:
    """From the store to an answer that is signed with them; the command takes text (`store/cli/test_client.py`)."""
    site = Site(tmp_path / "site")
    person = new_person(site, "alice")
    for number, secret in enumerate(SECRETS, 1):
        site.add_client(f"c{number}", f"127.0.0.{number}/32", secret, Mode.PASSCODE_ONLY)
    with site.server() as server:
        for number, secret in enumerate(SECRETS, 1):
            with server.nas(secret, f"127.0.0.{number}") as nas:
                check_accepted(nas, person, number - 1)
