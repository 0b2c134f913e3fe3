"""Log lines that cannot be forged, limits that keep a flood short, counters that stay exact."""

import logging
import re
import shlex
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius_server.log import LINES_A_SECOND, LINES_AT_ONCE, Drops, RateLimit, line
from tests.radius_server.live import check_silence, new_person
from tests.radius_server.test_framing import stopped
from tests.site import SECRET, Site
from tests.wire import MESSAGE_AUTHENTICATOR, PROXY_STATE, access_request, status_server
from validation.messages import printable
from validation.model import MessageAuthenticatorRule, Mode

HOSTILE = ["a\r\nreject user=bob", "\x1b[2J", "a\0b", "\u2028", "\u202eecila", 'a" user="bob', "x" * 65_536, "a=b c"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_stays_one_value_of_one_line(name: str) -> None:
    shown = line("reject", user=name, client="vpn")
    assert len(shown.splitlines()) == 1
    assert shown.isprintable()
    assert len(shown) < 600
    word, user, client = shlex.split(shown)
    assert (word, user[:5], client) == ("reject", "user=", "client=vpn")


@given(st.text())
def test_every_name_stays_one_value_of_one_line(name: str) -> None:
    shown = line("reject", user=name, client="vpn")
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert shown.startswith("reject")
    assert shown.endswith(" client=vpn")


def test_what_is_not_known_is_left_out() -> None:
    assert line("accept", user="alice", token=None, why="", ms=0) == "accept user=alice ms=0"


def test_one_line_per_key_and_minute_and_the_count_of_the_others() -> None:
    limit = RateLimit(every=60.0)
    assert limit.allows("key", 0.0) == 0
    assert [limit.allows("key", at) for at in (0.0, 1.0, 59.9)] == [None, None, None]
    assert limit.allows("other key", 59.9) == 0
    assert limit.allows("key", 60.0) == 3
    assert limit.allows("key", 121.0) == 0


def test_only_so_many_keys_are_remembered() -> None:
    limit = RateLimit(every=60.0, keys=2)
    for key in ("a", "b", "c"):
        assert limit.allows(key, 0.0) == 0
    assert limit.allows("b", 1.0) is None
    assert limit.allows("c", 1.0) is None
    assert limit.allows("a", 1.0) == 0, "the oldest was forgotten"


@pytest.mark.statement("R-020", "R-046")
def test_10_000_packets_of_strangers_are_two_lines_and_an_exact_count(caplog: pytest.LogCaptureFixture) -> None:
    """Each from another address, as an attacker can make them up."""
    drops = Drops()
    with caplog.at_level(logging.INFO):
        for number in range(10_000):
            drops.drop(number / 1000, "unknown-client", f"192.0.{number // 256}.{number % 256}", hint="add it")
        drops.drop(60.0, "unknown-client", "192.0.2.9", hint="add it")
    assert drops.counters == {"unknown-client": 10_001}
    assert caplog.messages == [
        'drop from=192.0.0.0 reason=unknown-client hint="add it"',
        'drop from=192.0.2.9 reason=unknown-client hint="add it" (9999 more in the last minute)',
    ]


@pytest.mark.statement("R-046")
def test_each_address_and_reason_of_a_known_client_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    drops = Drops()
    for _ in range(3):
        drops.drop(0.0, "lone-octet", "192.0.2.1", "vpn")
        drops.drop(0.0, "lone-octet", "192.0.2.2", "vpn")
        drops.drop(0.0, "code-not-served", "192.0.2.1", "vpn")
    assert len(caplog.messages) == 3


@pytest.mark.statement("R-046")
def test_addresses_that_are_made_up_in_a_clients_network_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An IPv6 /64 has more addresses than anybody can remember."""
    drops = Drops()
    for number in range(20_000):
        drops.drop(number / 1000, "message-authenticator-wrong", f"2001:db8::{number:x}", "office", hint="secrets")
    assert LINES_AT_ONCE <= len(caplog.messages) <= LINES_AT_ONCE + 20 * LINES_A_SECOND + 1
    assert drops.counters["message-authenticator-wrong"] == 20_000
    drops.drop(20.0, "lone-octet", "192.0.2.1", "vpn")
    assert caplog.messages[-1] == "drop client=vpn from=192.0.2.1 reason=lone-octet", "nor keep others from it"
    said = len(caplog.messages) - 1
    drops.drop(1000.0, "lone-octet", "2001:db8::f:1", "office")
    told = [int(found[1]) for text in caplog.messages if (found := re.search(r"\((\d+) more", text))]
    assert said + sum(told) == 20_000, "each is in a line or in a count"


SIGNS, OFF, AUTO, QUIET = (f"127.0.0.{number}" for number in range(1, 5))
SENT = 3


def discards(pin: str, wrong: str) -> dict[tuple[str, str], bytes]:
    """A packet for each kind of discard, by where it is sent from and the reason."""

    def login(form: str = "none", *extra: tuple[int, bytes], password: str = pin, code: int = 1) -> bytes:
        return access_request(SECRET, "alice", password, extra=extra, message_authenticator=form, code=code).data

    def ending(octets: bytes) -> bytes:
        data = login() + octets
        return data[:2] + len(data).to_bytes(2, "big") + data[4:]

    return {
        (OFF, "shorter-than-header"): login()[:10],
        (OFF, "length-out-of-range"): login()[:2] + b"\0\x13" + login()[4:],
        (OFF, "shorter-than-length"): login()[:-1],
        (OFF, "attribute-length"): ending(b"\x20\x01"),
        (OFF, "attribute-overrun"): ending(b"\x20\x03"),
        (OFF, "lone-octet"): ending(b"\x20"),
        (OFF, "code-not-served"): login(code=2),
        (OFF, "message-authenticator-length"): login("none", (MESSAGE_AUTHENTICATOR, bytes(15))),
        (OFF, "message-authenticator-doubled"): login("first", (MESSAGE_AUTHENTICATOR, bytes(16))),
        (OFF, "eap-without-message-authenticator"): login("none", (79, b"\2\1\0\4")),
        (SIGNS, "message-authenticator-missing"): login(),
        (SIGNS, "message-authenticator-wrong"): access_request(b"another secret", "alice", pin).data,
        (SIGNS, "duplicate-in-work"): login("first", password=wrong),
        (AUTO, "proxy-state-without-message-authenticator"): login("none", (PROXY_STATE, b"x")),
        (QUIET, "status-server-off"): status_server(SECRET).data,
    }


@pytest.mark.statement("R-046")
def test_each_kind_of_discard_is_one_line_with_client_and_reason_and_is_counted(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    rules = {OFF: MessageAuthenticatorRule.OFF, AUTO: MessageAuthenticatorRule.AUTO}
    for source in (SIGNS, OFF, AUTO, QUIET):
        rule = rules.get(source, MessageAuthenticatorRule.REQUIRED)
        site.add_client(
            f"from-{source}", f"{source}/32", mode=Mode.PASSCODE_ONLY, rule=rule, status_server=source != QUIET
        )
    person = new_person(site, "alice")
    packets = discards(person.pin(), person.pin(50))
    with site.server() as server:
        for (source, reason), data in packets.items():
            with server.nas(source=source) as nas:
                for _ in range(SENT + (reason == "duplicate-in-work")):  # the first of these is worked on
                    nas.send(data)
        with server.nas(source=SIGNS) as nas:
            check_silence(nas)
        counted = stopped(server)
        lines = re.findall(r" drop client=from-(\S+) from=(\S+) reason=(\S+)", server.log)
    assert sorted(lines) == sorted((source, source, reason) for source, reason in packets)
    assert server.log.count(" drop ") == len(packets)
    assert counted == {reason.replace("-", "_"): SENT for _, reason in packets}


@given(st.one_of(st.text(max_size=300), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300)))
def test_the_short_way_of_plain_values_comes_to_the_same(value: str) -> None:
    if value:
        shown = printable(value)
        quoted = any(mark in shown for mark in ' "=')
        assert line("x", v=value) == "x v=" + ('"' + shown.replace('"', '\\"') + '"' if quoted else shown)
