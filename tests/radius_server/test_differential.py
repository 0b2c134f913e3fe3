"""Our codec and pyrad's are given the same packets; `differential` says what is compared, and what pyrad does wrong.

TWOFOLD_DIFFERENTIAL_SEED and TWOFOLD_DIFFERENTIAL_PACKETS choose another run; `python -m
tests.radius_server.differential` makes a long one.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from radius_client import wire
from radius_server import packet
from radius_server.attributes import Attribute
from radius_server.packet import Packet
from tests.radius_server import differential
from tests.radius_server.differential import DEFECTS, SHARES, run

SEED = int(os.environ.get("TWOFOLD_DIFFERENTIAL_SEED", "20250714"))
PACKETS = int(os.environ.get("TWOFOLD_DIFFERENTIAL_PACKETS", "20000"))


@pytest.mark.statement("R-013", "R-030", "R-036", "R-076", "R-120")
@pytest.mark.timeout(900)  # for a longer run by TWOFOLD_DIFFERENTIAL_PACKETS
def test_what_pyrad_takes_apart_verifies_and_writes_so_do_we() -> None:
    print(f"TWOFOLD_DIFFERENTIAL_SEED={SEED} TWOFOLD_DIFFERENTIAL_PACKETS={PACKETS}")
    result = run(PACKETS, SEED)
    print(result)
    assert result.wrong == []
    assert result.kinds.total() == PACKETS
    assert set(result.kinds) == set(SHARES)
    assert set(result.agreed) == COMPARED
    assert set(result.defects) == set(DEFECTS), "a defect that is not met any more needs a look"


COMPARED = {
    "refused",
    "header",
    "attributes",
    "sub-attributes",
    "signature",
    "password",
    "entry",
    "Proxy-States",
    "reply",
    "reply of ours",
    "verified",
    "Request Authenticator",
    "Accounting-Response",
    "hidden password",
    "request",
}


def test_a_seed_brings_the_same_run_back() -> None:
    once, again = run(500, SEED), run(500, SEED)
    assert (once.kinds, once.agreed, once.defects) == (again.kinds, again.agreed, again.defects)


# --- That it can fail


def _last_attribute_lost(data: bytes) -> Packet:
    found = wire.parse(data)
    return replace(found, attributes=found.attributes[:-1])


def _overrun_taken(data: bytes) -> Packet:
    try:
        return wire.parse(data)
    except packet.Malformed as error:
        if error.reason != "attribute-overrun":
            raise
        return Packet(data[0], data[1], data[4:20], data, ())


def _always_signed(packet: Packet, secret: bytes) -> bool:
    return any(kind == Attribute.MESSAGE_AUTHENTICATOR for kind, _, _ in packet.attributes)


def _first_signature_alone(asked: Packet, secret: bytes) -> bool:
    """As pyrad does it."""
    found = [one for one in asked.attributes if one[0] == Attribute.MESSAGE_AUTHENTICATOR]
    others = tuple([one for one in asked.attributes if one[0] != Attribute.MESSAGE_AUTHENTICATOR])
    return wire.signed(replace(asked, attributes=(*others, *found[:1])), secret)


def _any_length_taken(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """As pyrad does it."""
    return packet.unhide(hidden[:128], secret, authenticator)


def _only_the_first_block(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    return packet.unhide(hidden, secret, authenticator)[:16]


def _blanks_lost(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    return packet.unhide(hidden, secret, authenticator).rstrip(b" ")


def _proxy_states_turned(asked: Packet, *others: Any) -> bytes:
    return packet.encode_reply(replace(asked, attributes=asked.attributes[::-1]), *others)


def _signed_last(*arguments: Any) -> bytes:
    written = packet.encode_reply(*arguments)
    return written[:20] + written[38:] + written[20:38]


def _accepts_whatever_is_signed(data: bytes, code: int, identifier: int, authenticator: bytes, secret: bytes) -> Packet:
    return wire.parse(data)


FAULTS: dict[str, Callable[..., object]] = {
    "last attribute lost": _last_attribute_lost,
    "overrun taken": _overrun_taken,
    "always signed": _always_signed,
    "second signature overlooked": _first_signature_alone,
    "long passwords taken": _any_length_taken,
    "only the first block": _only_the_first_block,
    "blanks lost": _blanks_lost,
    "Proxy-States turned": _proxy_states_turned,
    "signed last": _signed_last,
    "replies not verified": _accepts_whatever_is_signed,
}
PLACES = ("parse", "parse", "signed", "signed", "unhide", "unhide", "unhide", "encode_reply", "encode_reply", "answer")


@pytest.mark.parametrize(("place", "fault"), list(zip(PLACES, FAULTS.values(), strict=True)), ids=list(FAULTS))
def test_a_fault_is_seen(place: str, fault: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(1000, SEED).wrong == []
    monkeypatch.setattr(differential, place, fault)
    assert run(1000, SEED).wrong != []
