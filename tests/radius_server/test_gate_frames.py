"""Between the server and the process of its gate everything arrives as it was, and what is spoiled is refused."""

import contextlib
import dataclasses
import socket
import types
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius_server import conversation, gate_frames
from radius_server.clients import Signature
from radius_server.gate_frames import Spoiled
from radius_server.packet import parse
from tests import builders
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.errors import RoomMade, StoreMismatch, StoreUnavailable
from validation.gate import Outcome
from validation.model import Encoding, Mode
from validation.requests import LoginRequest

T = TypeVar("T")

_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    bytes: st.binary(max_size=20),
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False),
    type(None): st.none(),
}


def every(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type, each field of a class drawn from its own type."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(every, inside))
    if origin is frozenset:
        return st.frozensets(every(*inside), max_size=4)
    if origin is tuple and inside[-1] is Ellipsis:
        return st.lists(every(inside[0]), max_size=4).map(tuple)
    if origin is tuple:
        return st.tuples(*map(every, inside))
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: every(hints[field.name]) for field in dataclasses.fields(kind)})


def troubles() -> st.SearchStrategy[StoreUnavailable]:
    return st.builds(
        lambda kind, text: kind(text), st.sampled_from([StoreUnavailable, StoreMismatch, RoomMade]), st.text()
    )


def outcomes() -> st.SearchStrategy[Outcome]:
    return st.one_of(every(Accept), every(Challenge), every(Reject), troubles())


def told(outcome: Outcome) -> object:
    """Exceptions are not equal to each other."""
    return (type(outcome), str(outcome)) if isinstance(outcome, StoreUnavailable) else outcome


@given(st.lists(every(LoginRequest), max_size=4), every(float))
def test_requests_arrive_as_they_were(requests: list[LoginRequest], until: float) -> None:
    assert gate_frames.requests_in(gate_frames.of_requests(requests, until)) == (until, requests)


@given(st.lists(outcomes(), max_size=4))
def test_outcomes_arrive_as_they_were_and_in_their_order(sent: list[Outcome]) -> None:
    arrived = gate_frames.outcomes_in(gate_frames.of_outcomes(sent), len(sent))
    assert list(map(told, arrived)) == list(map(told, sent))


@given(troubles())
def test_a_trouble_arrives_with_its_class_and_its_text(sent: StoreUnavailable) -> None:
    assert told(gate_frames.trouble_in(gate_frames.of_trouble(sent))) == told(sent)


def octets_of(attributes: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(bytes([kind, len(value) + 2]) + value for kind, value in attributes)
    return bytes([1, 1]) + (20 + len(body)).to_bytes(2, "big") + bytes(16) + body


_ATTRIBUTES = st.sampled_from([1, 2, 4, 24, 30, 31, 32])  # those whose text reaches the gate


@given(
    st.lists(st.tuples(_ATTRIBUTES, st.binary(min_size=1, max_size=253)), max_size=8),
    st.sampled_from(Mode),
    st.booleans(),
)
def test_whatever_a_client_sends_can_be_carried(sent: list[tuple[int, bytes]], mode: Mode, signed: bool) -> None:
    """One request that could not be would take its whole batch with it."""
    client = builders.client(mode=mode, encoding=Encoding.LATIN_1)
    packet = parse(octets_of(sent))
    entry = conversation.read(packet, client, Signature(signed, (client.secret,)))
    request = conversation.login_request(entry, client, "request", packet=b"digest")
    assert gate_frames.requests_in(gate_frames.of_requests([request], 1.0)) == (1.0, [request])


# --- what is spoiled


@given(st.binary(max_size=200))
def test_octets_that_are_no_bodies_are_refused(octets: bytes) -> None:
    readers: tuple[Callable[[bytes], object], ...]
    readers = gate_frames.requests_in, lambda body: gate_frames.outcomes_in(body, 1)
    for read in readers:
        with contextlib.suppress(Spoiled):
            assert isinstance(read(octets), list | tuple)


def test_outcomes_that_are_not_one_for_each_request_are_refused() -> None:
    body = gate_frames.of_outcomes([Reject(Reason.USER_UNKNOWN), Reject(Reason.USER_UNKNOWN)])
    for count in (0, 1, 3):
        with pytest.raises(Spoiled):
            gate_frames.outcomes_in(body, count)


def test_an_outcome_that_stands_there_twice_is_refused() -> None:
    twice = gate_frames._Outcomes([], [(0, Reject(Reason.USER_UNKNOWN)), (0, Reject(Reason.USER_LOCKED))], [], [])
    with pytest.raises(Spoiled):
        gate_frames.outcomes_in(gate_frames._encode(twice), 2)


def test_a_request_with_a_wrong_type_in_it_is_refused() -> None:
    body = gate_frames.of_requests([builders.request(user=7)], 1.0)
    with pytest.raises(Spoiled, match="user"):
        gate_frames.requests_in(body)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


Pair = tuple[socket.socket, socket.socket]


def test_frames_arrive_one_by_one(pair: Pair) -> None:
    gate_frames.send(pair[0], gate_frames.LOGINS, b"first")
    gate_frames.send(pair[0], gate_frames.CHECK)
    pair[0].close()
    assert gate_frames.receive(pair[1]) == (gate_frames.LOGINS, b"first")
    assert gate_frames.receive(pair[1]) == (gate_frames.CHECK, b"")
    assert gate_frames.receive(pair[1]) is None


@pytest.mark.parametrize("left", range(1, 9))
def test_half_a_frame_is_refused(pair: Pair, left: int) -> None:
    pair[0].sendall(b"L\0\0\0\x05octets"[:left])
    pair[0].close()
    with pytest.raises(Spoiled):
        gate_frames.receive(pair[1])


def test_a_length_that_nothing_has_is_refused_before_memory_is_taken(pair: Pair) -> None:
    pair[0].sendall(b"L\xff\xff\xff\xff")
    with pytest.raises(Spoiled, match="4294967295"):
        gate_frames.receive(pair[1])
