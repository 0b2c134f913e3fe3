"""Real requests of every kind, spoiled: for runs that look for what breaks the server.

Rule: everything comes from the dice that are handed in, so a seed brings a run back.
"""

import random
from collections.abc import Callable
from pathlib import Path

from tests.site import PASSWORD, SECRET
from tests.wire import (
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    STATE,
    USER_NAME,
    USER_PASSWORD,
    access_request,
    encode,
    packet,
    sign,
    status_server,
)

REPORTED = [
    bytes.fromhex(file.read_text()) for file in sorted((Path(__file__).parents[1] / "vectors" / "cases").glob("R*.hex"))
]
OTHER_CODES = (0, 2, 3, 4, 5, 11, 13, 40, 41, 43, 44, 255)  # replies, accounting, CoA, Disconnect, nothing
VENDORS = (9, 311, 2636, 3845, 12356, 14988, 25461, 99999)
USED_OFTEN = (4, 5, 6, 8, 26, 30, 31, 32, PROXY_STATE, 60, 61, 70, 76, 79, 87, 95, 241, 245)


class Mutator:
    """Good requests, spoiled in one to three ways. `states` are those that the server has given out lately."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.states: list[bytes] = []
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
            self._vendor_attribute,
            self._other_code,
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
            extra = [(dice.choice(USED_OFTEN), self._value()) for _ in range(dice.randint(1, 6))]
        kind = dice.random()
        if kind < 0.1:
            number, authenticator = dice.randint(0, 255), dice.randbytes(16)
            return status_server(SECRET, extra=extra, identifier=number, authenticator=authenticator).data
        if kind < 0.2:
            return dice.choice(REPORTED)
        if kind < 0.25:
            return packet(
                dice.choice(OTHER_CODES), dice.randint(0, 255), dice.randbytes(16), [(40, b"\0\0\0\1"), *extra]
            )
        return self._login(extra)

    def _login(self, extra: list[tuple[int, bytes]]) -> bytes:
        dice = self._dice
        user = dice.choice(["alice", "alice", f"user{dice.randint(0, 99)}", "jürgen", "a\0b"])
        typed = ["755224", f"{dice.randint(0, 999_999):06}", PASSWORD]
        password = dice.choice(typed).encode() if dice.random() < 0.7 else dice.randbytes(dice.randint(0, 128))
        return access_request(
            SECRET if dice.random() < 0.95 else dice.randbytes(16),
            user,
            password,
            state=self._state() if dice.random() < 0.2 else None,
            extra=extra,
            authenticator=dice.randbytes(16),
            identifier=dice.randint(0, 255),
            message_authenticator=dice.choice(["first", "last", "none"]),
        ).data

    def _state(self) -> bytes:
        given = self._dice.choice(self.states) if self.states and self._dice.random() < 0.7 else b""
        return given or self._dice.randbytes(16).hex().encode()

    def _value(self) -> bytes:
        return self._dice.randbytes(self._dice.randint(0, 60))

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

    def _vendor_attribute(self, data: bytes) -> bytes:
        """With sub-attributes whose lengths add up, or not."""
        dice = self._dice
        inner = b"".join(
            bytes([dice.randrange(256), len(value) + dice.choice([2, 2, 2, 0, 1, 200])]) + value
            for value in (dice.randbytes(dice.randint(0, 20)) for _ in range(dice.randint(0, 4)))
        )
        vendor = dice.choice(VENDORS).to_bytes(4, "big")
        return rebuilt(data, [*taken_apart(data), (26, (vendor + inner)[: dice.choice([3, 4, 5, 253])])])

    def _other_code(self, data: bytes) -> bytes:
        return bytes([self._dice.randrange(256)]) + data[1:]


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
