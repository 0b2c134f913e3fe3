"""Accounting (RFC 2866) against a running server: a record on the disk before the answer, or no answer."""

import contextlib
import hashlib
import json
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually
from tests.vectors import radius_rfc5997
from tests.wire import (
    ACCOUNTING_RESPONSE,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    START,
    STOP,
    USER_PASSWORD,
    Nas,
    Request,
    access_request,
    accounting_request,
    check_accounting,
    packet,
    session,
    sign,
    status_server,
)

VENDOR_SPECIFIC, NAS_IP_ADDRESS, CALLING_STATION_ID = 26, 4, 31
CISCO, MICROSOFT = 9, 311


@dataclass
class Books:
    """A server that keeps accounts, and its two ports."""

    site: Site
    server: ServerProcess
    file: Path

    def nas(self, port: int = 1, source: str = "127.0.0.1", secret: bytes = SECRET) -> Nas:
        """`port` 0 is for authentication, 1 for accounting."""
        return Nas(self.server.addresses[port], secret, source)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


def make_site(folder: Path, more: str = "") -> Site:
    site = Site(
        folder / "site",
        '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\naccounting_listen = ["127.0.0.1:0"]\n' + more,
    )
    site.add_client()
    site.add_client("rfc", "127.0.0.7/32", radius_rfc5997.SECRET)
    return site


@contextlib.contextmanager
def keeping(site: Site, **options: Any) -> Iterator[Books]:
    with site.server(**options) as server:
        eventually(lambda: len(server.addresses) == 2)
        yield Books(site, server, site.folder / "books.jsonl")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    with keeping(make_site(tmp_path_factory.mktemp("books"), 'accounting = "books.jsonl"\n')) as books:
        yield books
        assert "Traceback" not in books.server.log


@pytest.fixture
def nas(books: Books) -> Iterator[Nas]:
    with books.nas() as nas:
        yield nas


def account(nas: Nas, request: Request) -> bytes:
    nas.send(request.data)
    reply = nas.receive()
    assert reply is not None, "no reply"
    return check_accounting(reply, request).data


def check_silence(nas: Nas, *datagrams: bytes) -> None:
    """Nothing comes back for any of them; two records that are answered show that all were read and worked on."""
    for data in datagrams:
        nas.send(data)
    for number in range(2):
        account(nas, accounting_request(SECRET, session(number=f"probe{number}"), identifier=200 + number))


def test_a_record_says_who_what_when_and_where(books: Books, nas: Nas) -> None:
    extra = [
        (NAS_IP_ADDRESS, bytes([192, 0, 2, 7])),
        (CALLING_STATION_ID, "Zürich\n".encode()),
        (VENDOR_SPECIFIC, CISCO.to_bytes(4, "big") + b"\x01\x05abc"),
        (VENDOR_SPECIFIC, CISCO.to_bytes(4, "big") + b"\x01\x05def"),
    ]
    account(nas, accounting_request(SECRET, session("alice", START, "who", extra)))
    (record,) = [one for one in books.records if one["attributes"]["Acct-Session-Id"] == "who"]
    assert (record["client"], record["from"]) == ("vpn", "127.0.0.1")
    assert record["time"].endswith("+00:00")
    assert record["attributes"] == {
        "User-Name": "alice",
        "Acct-Status-Type": "Start",
        "Acct-Session-Id": "who",
        "NAS-IP-Address": "192.0.2.7",
        "Calling-Station-Id": "Zürich\n",
        "Vendor-9": ["0x0105616263", "0x0105646566"],
    }


def test_no_password_and_no_key_gets_into_the_file(books: Books, nas: Nas) -> None:
    hidden, key, eap = b"hidden-password!", b"a-key-of-microsoft", b"an-eap-message-of-somebody"
    extra = [
        (USER_PASSWORD, hidden),
        (3, b"\1" + hidden),
        (24, b"state-of-somebody"),
        (69, b"\1\2\3" + hidden),
        (79, eap),
        (VENDOR_SPECIFIC, MICROSOFT.to_bytes(4, "big") + b"\x10\x14" + key),
        (200, b"of no known kind"),
    ]
    account(nas, accounting_request(SECRET, session(number="secrets", extra=extra)))
    (line,) = [line for line in books.file.read_text().splitlines() if "secrets" in line]
    assert set(json.loads(line)["attributes"]) == {"User-Name", "Acct-Status-Type", "Acct-Session-Id"}
    for octets in (hidden, key, eap, b"state-of-somebody", SECRET, PASSWORD.encode()):
        assert octets.hex() not in line
        assert octets.decode() not in line


def test_the_response_brings_back_proxy_states_and_nothing_else(nas: Nas) -> None:
    states = [(PROXY_STATE, b"one"), (PROXY_STATE, b"two")]
    request = accounting_request(SECRET, session(number="proxy", extra=states))
    assert account(nas, request)[20:] == b"\x21\x05one\x21\x05two"


@pytest.mark.statement("R-034")
def test_no_message_authenticator_is_needed_and_one_that_is_there_must_be_right(books: Books, nas: Nas) -> None:
    def signed(secret: bytes) -> bytes:
        """Message-Authenticator over the zeroed authenticator first, then the Request Authenticator over it."""
        attributes = [(MESSAGE_AUTHENTICATOR, bytes(16)), *session(number="signed")]
        data = sign(packet(4, 7, bytes(16), attributes), secret)
        return accounting_request(SECRET, [(MESSAGE_AUTHENTICATOR, data[22:38]), *attributes[1:]], identifier=7).data

    check_silence(nas, signed(b"another secret"))
    account(nas, Request(signed(SECRET), SECRET))
    assert [one["attributes"]["Acct-Session-Id"] for one in books.records].count("signed") == 1


@pytest.mark.statement("R-140")
def test_a_bit_that_was_changed_anywhere_gets_silence_and_no_record(books: Books, nas: Nas) -> None:
    right = accounting_request(SECRET, session(number="flipped")).data
    wrong = [right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :] for at in range(1, len(right))]
    check_silence(nas, *wrong, accounting_request(b"another secret", session(number="flipped")).data)
    assert "flipped" not in books.file.read_text()
    eventually(lambda: "reason=request-authenticator-wrong" in books.server.log)


@pytest.mark.statement("R-142")
@pytest.mark.parametrize(
    "bad",
    [(41, b"\0\0\1"), (41, b"\0\0\0\0\1"), (NAS_IP_ADDRESS, b"\1\2\3"), (95, bytes(4)), (44, b""), (PROXY_STATE, b"")],
    ids=["short number", "long number", "short address", "short IPv6 address", "empty text", "empty octets"],
)
def test_an_impossible_length_gets_silence_and_no_record(books: Books, nas: Nas, bad: tuple[int, bytes]) -> None:
    check_silence(nas, accounting_request(SECRET, session(number="length", extra=[bad])).data)
    assert "length" not in books.file.read_text()


@pytest.mark.statement("R-142")
@pytest.mark.parametrize("tail", [b"\x2c\x00", b"\x2c\x01", b"\x2c\x09ab", b"\x2c"])
def test_an_attribute_that_does_not_fit_gets_silence_and_no_record(books: Books, nas: Nas, tail: bytes) -> None:
    data = accounting_request(SECRET, session(number="tail")).data
    zeroed = data[:2] + (len(data) + len(tail)).to_bytes(2, "big") + bytes(16) + data[20:] + tail
    check_silence(nas, zeroed[:4] + hashlib.md5(zeroed + SECRET).digest() + zeroed[20:])
    assert "tail" not in books.file.read_text()


@pytest.mark.statement("R-110")
def test_copies_get_the_same_octets_and_one_record(books: Books, nas: Nas) -> None:
    request = accounting_request(SECRET, session("alice", STOP, "copies"))
    assert len({account(nas, request) for _ in range(5)}) == 1
    assert [one["attributes"]["Acct-Session-Id"] for one in books.records].count("copies") == 1


def test_each_port_serves_what_it_is_for(books: Books, nas: Nas) -> None:
    """Access-Request at the accounting port, Accounting-Request at the other."""
    check_silence(nas, access_request(SECRET, "alice", PASSWORD).data)
    with books.nas(0) as other:
        other.send(accounting_request(SECRET, session(number="wrong port")).data)
        assert other.ask(status_server(SECRET)).code == 2
        assert other.ask(status_server(SECRET)).code == 2
    assert "wrong port" not in books.file.read_text()


@pytest.mark.statement("R-145")
@pytest.mark.parametrize("code", [0, 2, 3, 5, 11, 13, 40, 41, 43, 44, 255])
@pytest.mark.parametrize("port", [0, 1], ids=["authentication", "accounting"])
def test_disconnect_coa_and_unknown_codes_get_silence(books: Books, nas: Nas, port: int, code: int) -> None:
    """40 and 43 are Disconnect-Request and CoA-Request, signed as RFC 5176 2.3 wants."""
    request = accounting_request(SECRET, session(number="code"), code=code)
    if port == 1:
        check_silence(nas, request.data)
    else:
        with books.nas(0) as other:
            other.send(request.data)
            for _ in range(2):
                assert other.ask(status_server(SECRET)).code == 2
    assert '"code"' not in books.file.read_text()


@pytest.mark.statement("R-131")
def test_status_server_gets_an_accounting_response_at_this_port(books: Books) -> None:
    """RFC 5997 6.2; ours is signed, too."""
    exchange = radius_rfc5997.SECTION_6[1]
    with books.nas(1, "127.0.0.7", radius_rfc5997.SECRET) as nas:
        reply = nas.ask(Request(exchange.request, radius_rfc5997.SECRET))
    assert (reply.code, len(reply.attributes)) == (ACCOUNTING_RESPONSE, 1)


def test_the_file_is_for_its_owner_and_group(books: Books) -> None:
    assert books.file.stat().st_mode & 0o777 == 0o640


@pytest.mark.statement("R-143")
def test_where_no_file_is_configured_both_ports_are_silent(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with keeping(site) as books:
        with books.nas(0) as nas, books.nas(1) as other:
            for asked in (nas, other):
                asked.send(accounting_request(SECRET, session()).data)
            for _ in range(2):
                assert nas.ask(status_server(SECRET)).code == 2
            eventually(lambda: "reason=accounting-off" in books.server.log)
            assert other.receive(0.01) is None
        eventually(lambda: "reason=code-not-served" in books.server.log)
        assert not books.file.exists()


@pytest.mark.statement("R-141")
def test_a_record_that_cannot_be_stored_is_not_answered_and_leaves_no_half_line(tmp_path: Path) -> None:
    """The limit is one for the size of files, so nothing else of the server can be written either."""
    site = make_site(tmp_path, 'accounting = "books.jsonl"\n')
    with keeping(site) as books, books.nas() as nas:
        account(nas, accounting_request(SECRET, session(number="first")))
        size = books.file.stat().st_size
        resource.prlimit(books.server.process.pid, resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
        request = accounting_request(SECRET, session(number="second"))
        nas.send(request.data)
        eventually(lambda: "accounting-failed error=" in books.server.log)
        assert books.file.stat().st_size == size
        resource.prlimit(books.server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        account(nas, request)
        eventually(lambda: "accounting-back" in books.server.log)
        assert [one["attributes"]["Acct-Session-Id"] for one in books.records] == ["first", "second"]


@pytest.mark.statement("R-141")
def test_every_answered_record_is_there_after_the_server_was_killed(tmp_path: Path) -> None:
    site = make_site(tmp_path, 'accounting = "books.jsonl"\n')
    with keeping(site) as books, books.nas() as nas:
        requests = {n: accounting_request(SECRET, session(number=f"s{n}"), identifier=n) for n in range(200)}
        for request in requests.values():
            nas.send(request.data)
        answered = set()
        for _ in range(50):
            reply = nas.receive()
            assert reply is not None
            check_accounting(reply, requests[reply.identifier])
            answered.add(f"s{reply.identifier}")
        books.server.kill()
        written = [json.loads(line)["attributes"]["Acct-Session-Id"] for line in books.file.read_text().splitlines()]
        assert answered <= set(written)
        assert len(written) == len(set(written))


def test_after_logrotate_and_sighup_records_go_into_a_new_file(tmp_path: Path) -> None:
    site = make_site(tmp_path, 'accounting = "books.jsonl"\n')
    with keeping(site) as books, books.nas() as nas:
        account(nas, accounting_request(SECRET, session(number="old")))
        moved = books.file.rename(books.file.with_suffix(".1"))
        account(nas, accounting_request(SECRET, session(number="still old")))
        books.server.process.send_signal(signal.SIGHUP)
        eventually(lambda: " reloaded" in books.server.log)
        account(nas, accounting_request(SECRET, session(number="new")))
        assert len(moved.read_text().splitlines()) == 2
        assert [one["attributes"]["Acct-Session-Id"] for one in books.records] == ["new"]
        os.unlink(books.file)
        account(nas, accounting_request(SECRET, session(number="made again")))
        assert [one["attributes"]["Acct-Session-Id"] for one in books.records] == ["made again"]


@pytest.mark.parametrize("what", ["directory", "link", "pipe", "no folder"])
def test_what_is_no_file_is_refused_at_the_start(tmp_path: Path, what: str) -> None:
    site = make_site(tmp_path, 'accounting = "there/books.jsonl"\n')
    file = site.folder / "there/books.jsonl"
    if what != "no folder":
        file.parent.mkdir()
    if what == "directory":
        file.mkdir()
    elif what == "link":
        file.symlink_to("elsewhere")
    elif what == "pipe":
        os.mkfifo(file)
    done = site.command("radius", "serve")
    assert done.returncode == 2
    assert f"[radius] accounting: {file}" in done.stderr
    assert not (file.parent / "elsewhere").exists()
