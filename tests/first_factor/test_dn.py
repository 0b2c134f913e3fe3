"""Where a group stands and what it is called, whatever its name looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from first_factor.dn import name_below, parts

BASE = "ou=Groups,dc=Example,dc=org"


@pytest.mark.parametrize(
    ("dn", "name"),
    [
        ("cn=vpn,ou=groups,dc=example,dc=org", "vpn"),
        ("CN=VPN Users,OU=x,OU=groups, DC=example,DC=org", "VPN Users"),
        (r"cn=a\, b\\\+\"\;\<\>\#\=,ou=groups,dc=example,dc=org", 'a, b\\+";<>#='),
        (r"cn=\C3\BCber,ou=groups,dc=example,dc=org", "über"),
        (r"cn=blank\ ,ou=groups,dc=example,dc=org", "blank "),
        ("cn=blank  ,ou=groups,dc=example,dc=org", "blank"),
        ("cn=vpn,ou=mine,dc=example,dc=org", None),
        (r"cn=vpn\,ou\=groups\,dc\=example\,dc\=org,ou=mine,dc=example,dc=org", None),
        (r"cn=vpn\2cou=groups\2cdc=example\2cdc=org", None),
        ("ou=groups,dc=example,dc=org", None),
        ("ou=vpn,ou=groups,dc=example,dc=org", None),
        ("cn=a+cn=b,ou=groups,dc=example,dc=org", None),
        ("cn=#0403,ou=groups,dc=example,dc=org", None),
        ('cn="vpn",ou=groups,dc=example,dc=org', None),
        (r"cn=\FF,ou=groups,dc=example,dc=org", None),
        ("cn=vpn,ou=groups,dc=example,dc=org,", None),
        ("cn=vpn,,ou=groups,dc=example,dc=org", None),
        ("vpn", None),
        ("", None),
    ],
)
def test_a_group_has_a_name_where_it_stands_below_the_base(dn: str, name: str | None) -> None:
    assert name_below(dn, parts(BASE), "cn") == name


@given(st.text(min_size=1))
def test_a_name_in_which_everything_is_escaped_is_read_back(name: str) -> None:
    try:
        escaped = "".join(f"\\{octet:02x}" for octet in name.encode())
    except UnicodeEncodeError:  # half a character
        return
    assert name_below(f"cn={escaped},{BASE}", parts(BASE), "cn") == name


@given(st.text(st.sampled_from('cn=vpo,\\"+;<># u\0é'), max_size=40))
def test_any_text_is_read_or_refused_with_one_error(text: str) -> None:
    try:
        found = parts(text)
    except ValueError:
        return
    assert found
    assert all(attribute and attribute == attribute.lower() for attribute, _ in found)
