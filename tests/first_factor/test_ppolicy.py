"""The control of draft-behera-ldap-password-policy, to the octet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from first_factor.ppolicy import Policy, active_directory, read_control


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        (None, Policy()),
        (b"\x30\x00", Policy()),
        (b"\x30\x03\x81\x01\x00", Policy("expired")),
        (b"\x30\x03\x81\x01\x01", Policy("locked")),
        (b"\x30\x03\x81\x01\x02", Policy("must-change")),
        (b"\x30\x03\x81\x01\x03", Policy("password-policy")),
        (b"\x30\x05\xa0\x03\x81\x01\x02", Policy("", 2)),
        (b"\x30\x06\xa0\x04\x80\x02\x0e\x10", Policy()),
        (b"\x30\x08\xa0\x03\x81\x01\x00\x81\x01\x02", Policy("must-change", 0)),
    ],
)
def test_the_control_says_what_stands_against_a_password(value: bytes | None, policy: Policy) -> None:
    assert read_control(value) == policy


@given(st.binary(max_size=16))
def test_any_octets_are_read_or_refused_with_one_error(value: bytes) -> None:
    """Read as no objection is only what ends where it says, with a warning or nothing inside."""
    try:
        found = read_control(value)
    except ValueError:
        return
    assert value[0] == 0x30
    assert len(value) == value[1] + 2
    assert found.objection or value == b"\x30\x00" or value[2] == 0xA0


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 775, v2580", "locked"),
        ("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v2580", ""),
        ("data 775", ""),
        ("AcceptSecurityContext error, data 7750, v", ""),
        ("AcceptSecurityContext error, data ", ""),
        ("", ""),
    ],
)
def test_the_words_of_active_directory(message: str, word: str) -> None:
    assert active_directory(message) == word
