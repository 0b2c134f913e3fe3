"""Frames: what one side encodes the other takes, however the octets are cut; what is no frame is an error at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_helper.frames import MOST, TO_HELPER, TO_MODULE, BadFrame, Frame, Parser, Type

BOTH = [TO_HELPER, TO_MODULE]

frames = st.builds(Frame, st.sampled_from(sorted(TO_HELPER)), st.binary(max_size=300))


def all_of(parser: Parser) -> list[Frame]:
    found = []
    while (frame := parser.take()) is not None:
        found.append(frame)
    return found


@pytest.mark.statement("P-020")
@given(st.lists(frames, max_size=6), st.data())
def test_what_is_encoded_is_taken_however_it_is_cut(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(frame.encode() for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser, taken = Parser(TO_HELPER), list[Frame]()
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        parser.feed(stream[begin:end])
        taken += all_of(parser)
    assert taken == sent
    assert parser.empty


@pytest.mark.statement("P-020")
def test_octet_by_octet_a_frame_is_taken_with_its_last_and_not_before() -> None:
    parser, octets = Parser(TO_MODULE), Frame(Type.FINAL, b"Salice").encode()
    taken: list[Frame] = []
    for octet in octets:
        assert not taken
        parser.feed(bytes([octet]))
        taken += all_of(parser)
    assert taken == [Frame(Type.FINAL, b"Salice")]


@pytest.mark.statement("P-001", "P-020")
@given(st.binary(max_size=64), st.sampled_from(BOTH))
def test_of_any_octets_nothing_is_taken_but_what_stands_there(octets: bytes, expected: frozenset[Type]) -> None:
    parser = Parser(expected)
    parser.feed(octets)
    taken: list[Frame] = []
    try:
        taken = all_of(parser)
    except BadFrame:
        return
    said = b"".join(frame.encode() for frame in taken)
    assert octets.startswith(said)
    assert {frame.type for frame in taken} <= expected
    assert parser.empty == (said == octets)


@pytest.mark.statement("P-020")
@pytest.mark.parametrize("length", [MOST + 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_a_length_that_is_too_great_is_refused_before_anything_of_it_has_come(length: int) -> None:
    parser = Parser(TO_HELPER)
    parser.feed(b"H" + length.to_bytes(4, "big"))
    with pytest.raises(BadFrame, match=str(length)):
        parser.take()


@pytest.mark.statement("P-020")
@pytest.mark.parametrize("kind", [octet for octet in range(256) if octet not in TO_HELPER])
def test_a_type_that_is_not_expected_is_refused_by_its_first_octet(kind: int) -> None:
    parser = Parser(TO_HELPER)
    parser.feed(bytes([kind]))
    with pytest.raises(BadFrame):
        parser.take()


def test_the_two_directions_share_no_type() -> None:
    assert frozenset(Type) == TO_HELPER | TO_MODULE
    assert not TO_HELPER & TO_MODULE


@pytest.mark.parametrize("kind", sorted(TO_HELPER))
def test_an_empty_and_the_longest_payload_pass_and_one_octet_more_is_not_sent(kind: Type) -> None:
    for payload in (b"", b"x" * MOST):
        parser = Parser(TO_HELPER)
        parser.feed(Frame(kind, payload).encode())
        assert parser.take() == Frame(kind, payload)
    with pytest.raises(ValueError, match="do not fit"):
        Frame(kind, b"x" * (MOST + 1)).encode()


@pytest.mark.statement("P-013")
def test_a_frame_does_not_show_its_payload() -> None:
    assert "geheim" not in repr(Frame(Type.REPLY, b"geheim"))
