"""Which attributes of an upstream Access-Accept go on, and which never do."""

import pytest

from first_factor.radius_replies import ENCRYPTED, NEVER, UNREADABLE, ReplyFilter
from validation.attributes.table import TABLE
from validation.errors import BadInput


def vendor(number: int, *pairs: tuple[int, bytes]) -> tuple[int, bytes]:
    return 26, number.to_bytes(4, "big") + b"".join(bytes([kind, len(value) + 2]) + value for kind, value in pairs)


CISCO = vendor(9, (1, b"shell:priv-lvl=15"))
CISCO_TWO = vendor(9, (1, b"a"), (2, b"b"))
FORTINET = vendor(12356, (1, b"staff"))
RAGGED = (26, b"\0\0\0\x09\x01\xff")
CLASS, FILTER, TIMEOUT = (25, b"\x01"), (11, b"staff"), (27, b"\0\0\x0e\x10")
ALL = (CLASS, FILTER, TIMEOUT, CISCO, CISCO_TWO, FORTINET, RAGGED)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("drop", ()),
        ("keep", ALL),
        ((), ()),
        (("Filter-Id",), (FILTER,)),
        ((11, "25"), (CLASS, FILTER)),
        (("filter-id", "Cisco-AVPair"), (FILTER, CISCO)),
        (("26",), (CISCO, CISCO_TWO, FORTINET, RAGGED)),
        (("26.9",), (CISCO, CISCO_TWO, RAGGED)),
        (("26.9.1",), (CISCO,)),
        (("26.9.1", "26.9.2"), (CISCO, CISCO_TWO)),
        (("26.12356.1", "Session-Timeout"), (TIMEOUT, FORTINET)),
    ],
)
def test_what_goes_on(rule: str | tuple[str | int, ...], kept: tuple[tuple[int, bytes], ...]) -> None:
    assert ReplyFilter(rule)(ALL) == kept


def test_order_and_repetition_are_kept_and_empty_ones_are_not() -> None:
    filters = [(11, b"b"), (11, b"a"), (11, b"")]
    assert ReplyFilter("keep")(filters) == ((11, b"b"), (11, b"a"))


SECRETS = [vendor(number, (kind, b"hidden")) for number, kinds in ENCRYPTED.items() for kind in kinds]


@pytest.mark.parametrize("rule", ["keep", ("26", "11"), ("26.311", "26.529")])
def test_what_never_goes_on(rule: str | tuple[str | int, ...]) -> None:
    """Names, the conversation, and what is encrypted with a secret that the gateway does not have: also beside others
    in one VSA, and in one that cannot be taken apart."""
    beside = vendor(311, (1, b"x"), (17, b"hidden"))
    ragged = [(26, number.to_bytes(4, "big") + b"\x10\xff") for number in ENCRYPTED]
    foreign = [(26, number.to_bytes(4, "big") + b"\x05\x04xx") for number in UNREADABLE]
    nothing = [(26, b"\0\0\0\x09"), (26, b"\0")]
    never = [(kind, b"x") for kind in NEVER]
    assert ReplyFilter(rule)([*never, *SECRETS, beside, *ragged, *foreign, *nothing]) == ()


def test_the_known_secrets_are_in_the_table() -> None:
    assert {1, 2, 3, 18, 24, 33, 69, 79, 80} <= NEVER
    assert ENCRYPTED[311] == {12, 16, 17}
    assert not NEVER & {attribute.number for attribute in TABLE if not attribute.vendor}
    assert not [a.name for a in TABLE if a.vendor in UNREADABLE or a.number in ENCRYPTED.get(a.vendor, ())]


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ("Filter-ld", "is not a known reply attribute; did you mean Filter-Id"),
        ("State", "the server sets it itself"),
        ("Tunnel-Password", "never sent"),
        ("Tunnel-Type:1", "write it without"),
        ("0", "is no attribute"),
        ("256", "is no attribute"),
        ("-1", "is not a known"),
        ("11.9.1", "is no attribute"),
        ("26.9.0", "is no attribute"),
        ("26.9.1.2", "is no attribute"),
        ("26.", "is not a known"),
        ("\u0661", "is not a known"),
        (True, "is not a known"),
        ("33", "never goes on"),
        (1, "never goes on"),
        ("26.311.17", "never goes on"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(chosen: str | int, says: str) -> None:
    with pytest.raises(BadInput, match=f"first_factor.radius.reply: .*{says}"):
        ReplyFilter((chosen,))
