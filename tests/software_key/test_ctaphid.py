"""CTAPHID packet by packet: channels, fragments, what is said meanwhile, and every refusal."""

import struct
from collections.abc import Iterator

import pytest
from fido2.ctap import STATUS, CtapError
from fido2.hid import CTAPHID, CtapHidDevice

from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ctaphid import BROADCAST, LONGEST, SocketConnection, connect, packets, plugged
from tests.software_key.knobs import Touch
from tests.software_key.log import Command

ERR = CtapError.ERR
SELECTION = b"\x0b"
GET_INFO = b"\x04"


class Line:
    """One connection, seen as packets."""

    def __init__(self, key: SoftwareKey) -> None:
        self.wire: SocketConnection = connect(key)

    def open(self) -> int:
        """A channel of its own."""
        self.say(BROADCAST, CTAPHID.INIT, b"12345678")
        channel, command, payload = self.hear()
        assert (channel, command, payload[:8]) == (BROADCAST, CTAPHID.INIT, b"12345678")
        return int.from_bytes(payload[8:12], "big")

    def say(self, channel: int, command: int, payload: bytes = b"") -> None:
        for packet in packets(channel, command, payload):
            self.wire.write_packet(packet)

    def hear(self) -> tuple[int, int, bytes]:
        """A packet that is a message of its own."""
        packet = self.wire.read_packet()
        channel, command, length = struct.unpack_from(">IBH", packet)
        return channel, command & 0x7F, packet[7 : 7 + length]

    def hear_answer(self) -> tuple[int, int, bytes]:
        while (heard := self.hear())[1] == CTAPHID.KEEPALIVE:
            pass
        return heard


@pytest.fixture
def lines(key: SoftwareKey) -> Iterator[tuple[Line, Line]]:
    """Two programs that have the key open."""
    both = Line(key), Line(key)
    yield both
    for line in both:
        line.wire.close()


@pytest.fixture
def line(lines: tuple[Line, Line]) -> Line:
    return lines[0]


def error(channel: int, code: int) -> tuple[int, int, bytes]:
    return channel, CTAPHID.ERROR, bytes([code])


def test_each_program_gets_a_channel_of_its_own(line: Line) -> None:
    assert line.open() != line.open()


@pytest.mark.parametrize("length", [0, 1, 57, 58, 116, 117, 1000, LONGEST])
def test_messages_of_each_length_come_back_whole(device: CtapHidDevice, length: int) -> None:
    message = bytes(n % 251 for n in range(length))
    assert device.ping(message) == message


def test_the_report_number_of_linux_is_passed_over(line: Line) -> None:
    (packet,) = packets(BROADCAST, CTAPHID.INIT, b"12345678")
    line.wire.write_packet(b"\0" + packet)
    assert line.hear()[1] == CTAPHID.INIT


def test_a_channel_that_was_not_given_is_refused(line: Line) -> None:
    line.say(17, CTAPHID.PING)
    assert line.hear() == error(17, ERR.INVALID_CHANNEL)


def test_a_channel_of_another_program_is_refused(lines: tuple[Line, Line]) -> None:
    channel = lines[0].open()
    lines[1].say(channel, CTAPHID.PING)
    assert lines[1].hear() == error(channel, ERR.INVALID_CHANNEL)


@pytest.mark.parametrize("command", [CTAPHID.LOCK, CTAPHID.MSG, CTAPHID.VENDOR_FIRST])
def test_what_it_does_not_do_is_refused(line: Line, command: int) -> None:
    channel = line.open()
    line.say(channel, command, b"\1")
    assert line.hear() == error(channel, ERR.INVALID_COMMAND)


def test_a_message_that_says_it_is_too_long(line: Line) -> None:
    channel = line.open()
    line.wire.write_packet(struct.pack(">IBH", channel, 0x80 | CTAPHID.PING, LONGEST + 1).ljust(64, b"\0"))
    assert line.hear() == error(channel, ERR.INVALID_LENGTH)


def test_packets_out_of_order(line: Line) -> None:
    channel = line.open()
    first, second, third = packets(channel, CTAPHID.PING, bytes(150))
    line.wire.write_packet(first)
    line.wire.write_packet(third)
    assert line.hear() == error(channel, ERR.INVALID_SEQ)
    line.wire.write_packet(second)  # stray: passed over
    line.say(channel, CTAPHID.PING, b"still there")
    assert line.hear() == (channel, CTAPHID.PING, b"still there")


def test_a_message_whose_rest_does_not_come(key: SoftwareKey, line: Line) -> None:
    key.knobs.rest_within = 0.0
    channel = line.open()
    line.wire.write_packet(next(packets(channel, CTAPHID.PING, bytes(150))))
    assert line.hear() == error(channel, ERR.TIMEOUT)


def test_another_channel_must_not_speak_in_between(line: Line) -> None:
    one, other = line.open(), line.open()
    first, second = packets(one, CTAPHID.PING, b"x" * 60)
    line.wire.write_packet(first)
    line.say(other, CTAPHID.PING)
    assert line.hear() == error(other, ERR.CHANNEL_BUSY)
    line.wire.write_packet(second)
    assert line.hear()[:2] == (one, CTAPHID.PING)


def test_it_says_that_it_waits_for_a_touch(key: SoftwareKey, line: Line) -> None:
    key.knobs.touch = Touch.NEVER
    channel = line.open()
    line.say(channel, CTAPHID.CBOR, SELECTION)
    waiting = (channel, CTAPHID.KEEPALIVE, bytes([STATUS.UPNEEDED]))
    assert [line.hear() for _ in range(3)] == [waiting] * 3
    key.press()
    assert line.hear_answer() == (channel, CTAPHID.CBOR, b"\0")


def test_a_slow_key_says_that_it_works(key: SoftwareKey, line: Line) -> None:
    key.knobs.delay = 30.0
    channel = line.open()
    line.say(channel, CTAPHID.CBOR, GET_INFO)
    assert line.hear() == (channel, CTAPHID.KEEPALIVE, bytes([STATUS.PROCESSING]))
    line.say(channel, CTAPHID.CANCEL)
    assert line.hear_answer() == (channel, CTAPHID.CBOR, bytes([ERR.KEEPALIVE_CANCEL]))


def test_a_key_at_work_is_busy_for_everybody_else(key: SoftwareKey, lines: tuple[Line, Line]) -> None:
    key.knobs.touch = Touch.NEVER
    mine, other, elsewhere = lines[0].open(), lines[0].open(), lines[1].open()
    lines[0].say(mine, CTAPHID.CBOR, SELECTION)
    key.wait_for_blink()
    lines[0].say(other, CTAPHID.CBOR, GET_INFO)
    assert lines[0].hear_answer() == error(other, ERR.CHANNEL_BUSY)
    lines[1].say(elsewhere, CTAPHID.CBOR, GET_INFO)
    assert lines[1].hear() == error(elsewhere, ERR.CHANNEL_BUSY)


def test_a_cancel_from_another_channel_is_none(key: SoftwareKey, line: Line) -> None:
    key.knobs.touch = Touch.NEVER
    mine, other = line.open(), line.open()
    line.say(mine, CTAPHID.CBOR, SELECTION)
    key.wait_for_blink()
    line.say(other, CTAPHID.CANCEL)
    line.say(other, CTAPHID.PING, b"after it")
    assert line.hear_answer() == (other, CTAPHID.PING, b"after it")
    key.press()
    assert line.hear_answer() == (mine, CTAPHID.CBOR, b"\0")
    assert key.cancels == 0


def test_init_ends_what_its_channel_was_at(key: SoftwareKey, line: Line) -> None:
    key.knobs.touch = Touch.NEVER
    channel = line.open()
    line.say(channel, CTAPHID.CBOR, SELECTION)
    key.wait_for_blink()
    line.say(channel, CTAPHID.INIT, b"12345678")
    assert line.hear_answer()[1] == CTAPHID.INIT
    key.press()
    line.say(channel, CTAPHID.PING, b"next")
    assert line.hear_answer() == (channel, CTAPHID.PING, b"next"), "and the old answer never comes"


def test_who_hangs_up_leaves_the_key_free(key: SoftwareKey, line: Line) -> None:
    key.knobs.touch = Touch.NEVER
    channel = line.open()
    line.say(channel, CTAPHID.CBOR, SELECTION)
    key.wait_for_blink()
    line.wire.close()
    with plugged(key) as device:
        device.call(CTAPHID.CBOR, GET_INFO)
    assert (key.cancels, len(key.log.of(Command.GET_INFO)) >= 1) == (0, True)
