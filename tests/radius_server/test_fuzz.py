"""Tens of thousands of spoiled requests over the whole way through a running server, from a seed.

TWOFOLD_FUZZ_SEED and TWOFOLD_FUZZ_PACKETS choose another run. Takes about 15 seconds: the packets that
get through their checks are decided and committed like every other.
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows.crowd import ask_all, numbered
from tests.radius_server.live import Person, new_person
from tests.radius_server.test_server import arrived
from tests.site import PASSWORD, SECRET, ServerProcess, Site
from tests.wire import (
    ACCEPT,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    REJECT,
    STATE,
    USER_NAME,
    USER_PASSWORD,
    Nas,
    access_request,
    encode,
    sign,
    status_server,
)
from validation.model import MessageAuthenticatorRule, Mode

SEED = int(os.environ.get("TWOFOLD_FUZZ_SEED", "20250714"))
PACKETS = int(os.environ.get("TWOFOLD_FUZZ_PACKETS", "20000"))
WARM_UP = 4000
AT_ONCE = 50
GROWTH_MOST = 20 * 1024  # KiB

SIGNED, LOOSE, APPEND = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Mutator:
    """Good requests, spoiled in one to three ways."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._ways: list[Callable[[bytes], bytes]] = [
            self._flip_bits,
            self._flip_bits,
            self._cut,
            self._length_field,
            self._attribute_length,
            self._double_attribute,
            self._shuffle_attributes,
            self._noise_inside,
            self._noise_behind,
            self._random_attributes,
        ]

    def spoiled(self, re_sign: bool) -> bytes:
        data = self._good()
        for _ in range(self._dice.randint(1, 3)):
            data = self._dice.choice(self._ways)(data)
        return signed_again(data) if re_sign else data

    def _good(self) -> bytes:
        dice = self._dice
        extra: list[tuple[int, bytes]] = []
        if dice.random() < 0.5:
            kinds = (4, 5, 6, 8, 26, 30, 31, 32, PROXY_STATE, 60, 61, 70, 79, 87, 241)
            extra = [(dice.choice(kinds), dice.randbytes(dice.randint(0, 60))) for _ in range(dice.randint(1, 6))]
        if dice.random() < 0.1:
            return status_server(SECRET, extra=extra).data
        user = dice.choice(["alice", "alice", f"user{dice.randint(0, 99)}", "jürgen", "a\0b"])
        typed = ["755224", f"{dice.randint(0, 999_999):06}", PASSWORD]
        password = dice.choice(typed).encode() if dice.random() < 0.7 else dice.randbytes(dice.randint(0, 128))
        return access_request(
            SECRET,
            user,
            password,
            state=dice.randbytes(16).hex().encode() if dice.random() < 0.2 else None,
            extra=extra,
            authenticator=dice.randbytes(16),
            identifier=dice.randint(0, 255),
            message_authenticator=dice.choice(["first", "last", "none"]),
        ).data

    def _at(self, data: bytes | bytearray) -> int:
        return self._dice.randrange(len(data)) if data else 0

    def _flip_bits(self, data: bytes) -> bytes:
        octets = bytearray(data)
        for _ in range(self._dice.randint(1, 4) if octets else 0):
            octets[self._at(octets)] ^= 1 << self._dice.randrange(8)
        return bytes(octets)

    def _cut(self, data: bytes) -> bytes:
        return data[: self._at(data)]

    def _length_field(self, data: bytes) -> bytes:
        length = self._dice.choice(
            [0, 19, 20, 21, len(data) - 1, len(data) + 1, 4096, 4097, self._dice.randrange(65_536)]
        )
        return data[:2] + (length % 65_536).to_bytes(2, "big") + data[4:]

    def _attribute_length(self, data: bytes) -> bytes:
        starts = attribute_starts(data)
        if not starts:
            return data
        at = self._dice.choice(starts)
        return (
            data[: at + 1] + bytes([self._dice.choice([0, 1, 2, 3, 255, self._dice.randrange(256)])]) + data[at + 2 :]
        )

    def _double_attribute(self, data: bytes) -> bytes:
        attributes = taken_apart(data)
        return rebuilt(data, [*attributes, self._dice.choice(attributes)]) if attributes else data

    def _shuffle_attributes(self, data: bytes) -> bytes:
        attributes = taken_apart(data)
        self._dice.shuffle(attributes)
        return rebuilt(data, attributes)

    def _noise_inside(self, data: bytes) -> bytes:
        at = self._at(data)
        return data[:at] + self._dice.randbytes(self._dice.randint(1, 20)) + data[at:]

    def _noise_behind(self, data: bytes) -> bytes:
        return data + self._dice.randbytes(self._dice.randint(1, 600))

    def _random_attributes(self, data: bytes) -> bytes:
        dice = self._dice
        kinds = [USER_NAME, USER_PASSWORD, STATE, MESSAGE_AUTHENTICATOR, dice.randrange(256), dice.randrange(256)]
        more = [(dice.choice(kinds), dice.randbytes(dice.randint(0, 253))) for _ in range(dice.randint(1, 20))]
        return rebuilt(data, [*taken_apart(data), *more])


def attribute_starts(data: bytes) -> list[int]:
    starts, at = [], 20
    while at + 2 <= len(data) and data[at + 1] >= 2:
        starts.append(at)
        at += data[at + 1]
    return starts


def taken_apart(data: bytes) -> list[tuple[int, bytes]]:
    return [(data[at], data[at + 2 : at + data[at + 1]]) for at in attribute_starts(data)]


def rebuilt(data: bytes, attributes: list[tuple[int, bytes]]) -> bytes:
    body = encode(attributes)
    return data[:2].ljust(2, b"\1") + (20 + len(body)).to_bytes(2, "big") + data[4:20].ljust(16, b"\0") + body


def signed_again(data: bytes) -> bytes:
    """With one Message-Authenticator that is right for what the packet has become."""
    others = [attribute for attribute in taken_apart(data) if attribute[0] != MESSAGE_AUTHENTICATOR]
    return sign(rebuilt(data, [(MESSAGE_AUTHENTICATOR, bytes(16)), *others]), SECRET)


class Run:
    """Sends spoiled packets, a few at a time, and waits each time until the server is through with them."""

    def __init__(self, server: ServerProcess, dice: random.Random) -> None:
        self._dice = dice
        self._mutator = Mutator(dice)
        self._nas = {source: server.nas(source=source) for source in (SIGNED, LOOSE, APPEND)}
        self._probe = server.nas()
        self.replies = 0

    def warm_up(self) -> None:
        """Every thread that hashes passwords keeps its 19 MiB once it has used them; then the other caches fill."""
        crowd = numbered(SECRET, [(f"nobody{n}", "geheim123456") for n in range(64)])
        assert {reply.code for reply in ask_all(self._nas[APPEND], crowd)} == {REJECT}
        self.send(WARM_UP)

    def send(self, count: int) -> None:
        for _ in range(0, count, AT_ONCE):
            for _ in range(AT_ONCE):
                (source,) = self._dice.choices([SIGNED, LOOSE, APPEND], [60, 38, 2])
                self._nas[source].send(self._mutator.spoiled(source == SIGNED and self._dice.random() < 0.25))
            assert self._probe.ask(status_server(SECRET), timeout=30).code == ACCEPT
            self.replies += sum(arrived(nas) for nas in self._nas.values())

    def close(self) -> None:
        for nas in (*self._nas.values(), self._probe):
            nas.sock.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.add_client("signed", f"{SIGNED}/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("loose", f"{LOOSE}/32", mode=Mode.PASSCODE_ONLY, rule=MessageAuthenticatorRule.OFF)
    site.add_client("append", f"{APPEND}/32", mode=Mode.APPEND, rule=MessageAuthenticatorRule.OFF)
    new_person(site, "alice")
    return site


@pytest.fixture
def server(site: Site) -> Iterator[ServerProcess]:
    with site.server() as server:
        yield server


@pytest.fixture
def run(server: ServerProcess) -> Iterator[Run]:
    run = Run(server, random.Random(SEED))
    yield run
    run.close()


@pytest.mark.timeout(900)  # for a longer run by TWOFOLD_FUZZ_PACKETS
def test_spoiled_packets_neither_break_nor_bloat_the_server(site: Site, server: ServerProcess, run: Run) -> None:
    print(f"TWOFOLD_FUZZ_SEED={SEED} TWOFOLD_FUZZ_PACKETS={PACKETS}")
    bob: Person = new_person(site, "bob")
    run.warm_up()
    before = server.resident_kib()
    run.send(PACKETS)
    grown = server.resident_kib() - before
    print(f"replies {run.replies}, resident memory {before} KiB + {grown} KiB")

    assert server.process.poll() is None
    assert grown < GROWTH_MOST
    assert 0 < run.replies <= WARM_UP + PACKETS
    with Nas(server.address, SECRET, SIGNED) as nas:
        assert nas.login("bob", bob.pin()).code == ACCEPT
    server.end()
    assert server.process.returncode == 0
    for word in ("Traceback", "Exception", "decision failed", "asyncio", "internal-error", "-failed"):
        assert word not in server.log, [line for line in server.log.splitlines() if word in line]
