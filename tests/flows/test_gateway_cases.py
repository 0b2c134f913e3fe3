"""Real reports about gateways: probes that log in, IPv6, long prompts, a PIN sent twice, challenges left alone."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.crowd import ask_all, numbered
from tests.flows.namespace import Namespace, net_namespace
from tests.radius_server.live import Person, new_person
from tests.site import PASSWORD, SECRET, TWOFOLD, ServerProcess, Site
from tests.validation.engine import VPN, Engine
from tests.wire import ACCEPT, CHALLENGE, REJECT, REPLY_MESSAGE, Nas, status_server
from validation.decisions import Accept, Reject
from validation.model import Mode
from validation.requests import FirstFactor

NAS_IDENTIFIER = 32
OTHER_SECRET = b"another-secret-of-24-octets"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


# --- R21 --------------------------------------------------------------------------------------------------------


def probe_for_an_hour(engine: Engine, name: str) -> list[Reject]:
    """A login each 5 seconds, as a load balancer does it, with a password that is wrong."""
    found = []
    for _ in range(720):
        outcome = engine.log_in(name, client=VPN, password=FirstFactor.WRONG)
        assert isinstance(outcome, Reject)
        found.append(outcome)
        engine.clock.now += 5
    return found


def test_r21_a_probe_that_logs_in_as_nobody_locks_nobody_and_is_a_row_a_minute() -> None:
    """The documented way, where a health check must be a login. Others are not slowed, nor is the probe."""
    engine = Engine()
    engine.add_user("alice")
    serial = engine.enroll("alice", "hotp")
    before = len(engine.trail)
    rejects = probe_for_an_hour(engine, "nsprobe")
    assert {(reject.delay, reject.text) for reject in rejects} == {(1.0, "The login was refused.")}
    assert len(engine.trail) - before == 60
    outcome = engine.answer("alice", engine.challenge("alice"), engine.pin(serial))
    assert isinstance(outcome, Accept)


def test_r21_a_probe_with_a_user_of_its_own_is_answered_as_quickly_but_is_a_row_each_time() -> None:
    """It waits like everybody who fails, which a probe that wants a Reject does not notice."""
    engine = Engine()
    engine.add_user("nsprobe")
    before = len(engine.trail)
    rejects = probe_for_an_hour(engine, "nsprobe")
    assert {(reject.delay, reject.text) for reject in rejects} == {(1.0, "The login was refused.")}
    assert len(engine.trail) - before == 720


def test_r21_a_probe_is_answered_on_the_wire_by_a_reject_and_status_server_writes_nothing(site: Site) -> None:
    """Both in one row, so that the delays of the refusals pass together."""
    site.add_client()
    with site.server() as server, server.nas() as nas:
        replies = ask_all(nas, numbered(SECRET, [("nsprobe", "fixed")] * 20))
        assert {reply.code for reply in replies} == {REJECT}
        rows = len(site.audit())
        assert {nas.ask(status_server(SECRET)).code for _ in range(20)} == {ACCEPT}
    assert len(site.audit()) == rows
    assert site.logins() == [("reject", "user-unknown")], "one row of twenty"


# --- R26 --------------------------------------------------------------------------------------------------------

FOUR, SIX, OUTSIDE, LINK = "192.0.2.10", "2001:db8:1::5", "2001:db8:2::9", "fe80::7"
CLOSE = "2001:db8:1::6"  # in the network of a client, and a client of its own


@pytest.fixture
def net() -> Iterator[Namespace]:
    with net_namespace(f"{FOUR}/32", *(f"{address}/64" for address in (SIX, CLOSE, OUTSIDE, LINK))) as net:
        yield net


def nas_in(net: Namespace, address: str, port: int, secret: bytes = SECRET) -> Nas:
    """A client at `address` that asks the server at `address`."""
    return net.call(lambda: Nas((address, port), secret, None if address == LINK else address))


def link_local(nas: Nas, port: int) -> None:
    """A link-local address means something together with its zone alone; the loopback interface is the first one."""
    nas.sock.bind((LINK, 0, 0, 1))
    nas.server = (LINK, port, 0, 1)  # type: ignore[assignment]


@pytest.mark.peer("ip", "nsenter", "unshare")
def test_r26_clients_over_ipv6_link_local_and_ipv4_beside_it(site: Site, net: Namespace) -> None:
    """Each has its secret; the longest prefix wins; outside is silence and one line."""
    site.add_client("four", f"{FOUR}/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("six", "2001:db8:1::/48", mode=Mode.PASSCODE_ONLY)
    site.add_client("close", f"{CLOSE}/128", OTHER_SECRET, mode=Mode.PASSCODE_ONLY)
    site.add_client("link", "fe80::/10", mode=Mode.PASSCODE_ONLY)
    alice = new_person(site, "alice")
    listen = ("--listen", "0.0.0.0:0", "--listen", "[::]:0")
    with site.server(*listen, program=net.inside(*TWOFOLD)) as server:
        (_, four), (_, six) = server.addresses
        doors = [(FOUR, four, SECRET), (SIX, six, SECRET), (CLOSE, six, OTHER_SECRET), (LINK, six, SECRET)]
        for ahead, (address, port, secret) in enumerate(doors):
            with nas_in(net, address, port, secret) as nas:
                if address == LINK:
                    link_local(nas, port)
                assert nas.login("alice", alice.pin(ahead)).code == ACCEPT, address
        check_stranger_is_ignored(net, six)
    for name, source in {"four": FOUR, "six": SIX, "close": CLOSE, "link": LINK}.items():
        assert re.search(rf"accept user=alice client={name} from={source} ", server.log), server.log
    (line,) = [line for line in server.log.splitlines() if "unknown-client" in line]
    assert f"from={OUTSIDE} " in line


def check_stranger_is_ignored(net: Namespace, port: int) -> None:
    with nas_in(net, OUTSIDE, port) as stranger, nas_in(net, SIX, port) as known:
        for _ in range(3):
            stranger.send(status_server(SECRET).data)
        assert known.ask(status_server(SECRET)).code == ACCEPT
        assert stranger.receive(0.01) is None


# --- R29 --------------------------------------------------------------------------------------------------------

LONG = "x" * 252 + "üöä" + "y" * 41 + ": "  # 301 octets; the 253rd is the first half of ü


@pytest.mark.parametrize("name", ["ask-pin", "refused"])
def test_r29_a_long_text_arrives_whole_in_pieces_cut_between_characters(site: Site, name: str) -> None:
    """Its blank at the end, too: terminals show what is typed right behind it."""
    site.add_client()
    new_person(site, "alice")
    assert site.command("message", "set", name, LONG).returncode == 0
    with site.server() as server, server.nas() as nas:
        reply = nas.login("alice", PASSWORD if name == "ask-pin" else "wrong")
    pieces = reply.values(REPLY_MESSAGE)
    assert reply.code == (CHALLENGE if name == "ask-pin" else REJECT)
    assert [len(piece) for piece in pieces] == [252, len(LONG.encode()) - 252]
    assert [piece.decode() for piece in pieces] == [LONG[:252], LONG[252:]]


def test_r29_a_line_break_begins_another_attribute_and_no_other_control_character_is_taken(site: Site) -> None:
    site.add_client()
    new_person(site, "alice")
    assert site.command("message", "set", "ask-pin", "First line.\\nPIN: ").returncode == 0
    for control in ("\x1b[2J", "\r", "\x07", "\u2028"):
        done = site.command("message", "set", "ask-pin", f"PIN{control}: ")
        assert done.returncode == 2, control
    with site.server() as server, server.nas() as nas:
        assert nas.login("alice", PASSWORD).values(REPLY_MESSAGE) == [b"First line.", b"PIN: "]


# --- R32 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def append(site: Site) -> Iterator[ServerProcess]:
    site.add_client(mode=Mode.APPEND)
    with site.server() as server:
        yield server


def test_r32_a_portal_and_its_gateway_send_the_same_pin(site: Site, append: ServerProcess) -> None:
    """Ten days in a row: in at the portal, refused as used at the gateway, in with the next PIN; and never locked."""
    alice = new_person(site, "alice")
    portal, gateway = [(NAS_IDENTIFIER, b"gp-portal")], [(NAS_IDENTIFIER, b"gp-gateway")]
    for day in range(0, 20, 2):
        with append.nas() as first, append.nas() as second:
            today, fresh = (PASSWORD + alice.pin(day + ahead) for ahead in range(2))
            assert first.login("alice", today, extra=portal).code == ACCEPT
            assert second.login("alice", today, extra=gateway).code == REJECT
            assert second.login("alice", fresh, extra=gateway).code == ACCEPT
    assert Counter(alice.logins) == {("accept", "passcode-right"): 20, ("reject", "passcode-used"): 10}
    assert alice.failures == 0
    assert re.search("reject user=alice .*reason=passcode-used", append.log)


# --- R34 --------------------------------------------------------------------------------------------------------


def test_r34_a_challenge_is_no_failure_answered_or_not(site: Site) -> None:
    """Twenty logins in two steps, then ten that end after the first: twice what makes a user wait."""
    site.add_client()
    alice: Person = new_person(site, "alice")
    with site.server() as server, server.nas() as nas:
        for ahead in range(20):
            state = nas.login("alice", PASSWORD).state
            assert nas.login("alice", alice.pin(ahead), state=state).code == ACCEPT
        assert alice.failures == 0
        states = [nas.login("alice", PASSWORD).state for _ in range(10)]
        assert alice.failures == 0
        assert nas.login("alice", alice.pin(20), state=states[0]).code == ACCEPT
    shown = json.loads(site.command("user", "show", "alice", "--json").stdout)
    assert "waiting" not in json.dumps(shown).casefold()
