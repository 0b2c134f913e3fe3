"""Reply attributes: names in any case, values of each type good and bad, and octets as the RFCs draw them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.attributes import canonical, find, read
from validation.attributes.table import NOT_SET, TABLE, Attribute
from validation.errors import BadInput

NAMES = st.sampled_from([attribute.name for attribute in TABLE])


def refusal(name: str, text: str) -> str:
    with pytest.raises(BadInput) as refused:
        read(name, text)
    with pytest.raises(BadInput):
        canonical(name, text)
    return str(refused.value)


# --- names


def test_a_name_is_found_in_any_case_and_has_one_spelling() -> None:
    assert find("filter-ID").name == "Filter-Id"
    assert find("CISCO-AVPAIR") == find("Cisco-AVPair")


def test_an_attribute_tells_its_type_and_whether_several_may_stand_in_one_accept() -> None:
    assert (find("Class").many, find("Session-Timeout").many, find("Cisco-AVPair").many) == (True, False, True)
    assert [find(name).type_name for name in ("Filter-Id", "Class", "Framed-IP-Address", "Idle-Timeout")] == [
        "text",
        "octets",
        "IPv4 address",
        "integer",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Filter-ld", "'Filter-ld' is not a known reply attribute; did you mean Filter-Id?"),
        ("Framed-IP-Adress", "'Framed-IP-Adress' is not a known reply attribute; did you mean Framed-IP-Address?"),
        ("???", "'???' is not a known reply attribute; docs/radius/replies.md lists them"),
        ("", "'' is not a known reply attribute; docs/radius/replies.md lists them"),
        ("\x1b[2J", r"'\x1b[2J' is not a known reply attribute; docs/radius/replies.md lists them"),
        ("REPLY-Message", "REPLY-Message cannot be set as a reply attribute: texts for people are messages, see"),
        ("Tunnel-Password", "Tunnel-Password cannot be set as a reply attribute: keys and passwords are never sent"),
        ("Tunnel-Password:1", "Tunnel-Password cannot be set as a reply attribute: keys and passwords are never sent"),
        ("State", "State cannot be set as a reply attribute: the server sets it itself"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(name: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        find(name)
    assert str(refused.value).startswith(said)


def test_what_may_not_be_set_is_not_in_the_table_either() -> None:
    assert not set(NOT_SET) & {attribute.name.lower() for attribute in TABLE}


def test_no_two_attributes_share_a_name_or_a_number() -> None:
    assert len({attribute.name.lower() for attribute in TABLE}) == len(TABLE)
    assert len({(attribute.vendor, attribute.number) for attribute in TABLE}) == len(TABLE)


# --- values


def test_the_address_of_one_user() -> None:
    """R28: 10.10.1.44 becomes type 8 with these octets, and the typo is refused when it is set."""
    assert read("Framed-IP-Address", "10.10.1.44") == (8, bytes.fromhex("0a0a012c"))
    assert read("Framed-IP-Netmask", "255.255.255.255") == (9, b"\xff\xff\xff\xff")
    assert refusal("Framed-IP-Address", "10.10.1.444") == (
        "Framed-IP-Address: '10.10.1.444' cannot be: an IPv4 address such as 10.10.1.44"
    )


@pytest.mark.statement("R-018")
@pytest.mark.parametrize(
    ("name", "text", "shown", "kind", "octets"),
    [
        ("Filter-Id", "staff", "staff", 11, b"staff".hex()),
        ("Filter-Id", "x" * 253, "x" * 253, 11, "78" * 253),
        ("Filter-Id", "ä b\\", "ä b\\", 11, "c3a420625c"),
        ("Class", "OU=Staff;", "OU=Staff;", 25, b"OU=Staff;".hex()),
        ("Class", "0x00FF", "0x00ff", 25, "00ff"),
        ("Session-Timeout", "0", "0", 27, "00000000"),
        ("Session-Timeout", "4294967295", "4294967295", 27, "ffffffff"),
        ("Session-Timeout", "0028800", "28800", 27, "00007080"),
        ("Framed-MTU", "64", "64", 12, "00000040"),
        ("Framed-MTU", "65535", "65535", 12, "0000ffff"),
        ("Acct-Interim-Interval", "60", "60", 85, "0000003c"),
        ("Service-Type", "6", "Administrative-User", 6, "00000006"),
        ("Service-Type", "nas-prompt-user", "NAS-Prompt-User", 6, "00000007"),
        ("Termination-Action", "RADIUS-Request", "RADIUS-Request", 29, "00000001"),
        ("Framed-IP-Address", "255.255.255.254", "255.255.255.254", 8, "fffffffe"),
        ("Framed-IP-Netmask", "255.255.240.0", "255.255.240.0", 9, "fffff000"),
        ("Framed-IP-Netmask", "0.0.0.0", "0.0.0.0", 9, "00000000"),
        ("Framed-IPv6-Address", "2001:DB8:0::44", "2001:db8::44", 168, "20010db8000000000000000000000044"),
        # RFC 3162 2.3: reserved octet, length, prefix; RFC 8044 3.11: no more octets than the length needs
        ("Framed-IPv6-Prefix", "2001:db8:1::/48", "2001:db8:1::/48", 97, "003020010db80001"),
        ("Framed-IPv6-Prefix", "2001:db8:1:8000::/49", "2001:db8:1:8000::/49", 97, "003120010db8000180"),
        ("Framed-IPv6-Prefix", "::/0", "::/0", 97, "0000"),
        ("Delegated-IPv6-Prefix", "2001:db8::1/128", "2001:db8::1/128", 123, "0080" + "20010db8" + "0" * 23 + "1"),
        # RFC 2868 3.1: a number's tag is its first octet; 3.6: without a tag a text has no such octet
        ("Tunnel-Type", "13", "VLAN", 64, "0000000d"),
        ("Tunnel-Type:1", "vlan", "VLAN", 64, "0100000d"),
        ("tunnel-medium-type:31", "6", "IEEE-802", 65, "1f000006"),
        ("Tunnel-Preference:2", "16777215", "16777215", 83, "02ffffff"),
        ("Tunnel-Private-Group-Id", "20", "20", 81, "3230"),
        ("Tunnel-Private-Group-Id:1", "20", "20", 81, "013230"),
        # RFC 2865 5.26: vendor id, type, length, value
        ("Cisco-AVPair", "shell:priv-lvl=15", "shell:priv-lvl=15", 26, "000000090113" + b"shell:priv-lvl=15".hex()),
        ("Cisco-AVPair", "x" * 247, "x" * 247, 26, "0000000901f9" + "78" * 247),
        ("MS-Primary-DNS-Server", "192.0.2.53", "192.0.2.53", 26, "000001371c06c0000235"),
        ("ASA-Privilege-Level", "15", "15", 26, "00000c04dc060000000f"),
        ("Fortinet-Group-Name", "vpn", "vpn", 26, "00003044010576706e"),
        ("PaloAlto-User-Group", "vpn", "vpn", 26, "00006375050576706e"),
        ("Juniper-Local-User-Name", "ops", "ops", 26, "00000a4c01056f7073"),
        ("Citrix-User-Groups", "vpn", "vpn", 26, "00000042100576706e"),
        ("Mikrotik-Group", "full", "full", 26, "00003a8c030666756c6c"),
    ],
)
def test_a_good_value_becomes_these_octets(name: str, text: str, shown: str, kind: int, octets: str) -> None:
    assert read(name, text) == (kind, bytes.fromhex(octets))
    assert canonical(name, text) == shown
    assert (read(name, shown), canonical(name, shown)) == (read(name, text), shown)


@pytest.mark.parametrize(
    ("name", "text", "possible"),
    [
        ("Filter-Id", "", "a text of 1 to 253 octets without control characters"),
        ("Filter-Id", "x" * 254, "a text of 1 to 253 octets"),
        ("Filter-Id", "ä" * 127, "a text of 1 to 253 octets"),  # 254 octets
        ("Filter-Id", "a\nb", "a text of 1 to 253 octets"),
        ("Filter-Id", "a\0", "a text of 1 to 253 octets"),
        ("Filter-Id", "a\u202eb", "a text of 1 to 253 octets"),
        ("Filter-Id", "a\udc80", "a text of 1 to 253 octets"),
        ("Cisco-AVPair", "x" * 248, "a text of 1 to 247 octets"),
        ("Tunnel-Private-Group-Id", "x" * 253, "a text of 1 to 252 octets"),
        ("Class", "0x", "or 0x and two hex digits for each octet"),
        ("Class", "0x0", "or 0x and two hex digits for each octet"),
        ("Class", "0x0g", "or 0x and two hex digits for each octet"),
        ("Class", "0x" + "00" * 254, "a text of 1 to 253 octets"),
        ("Session-Timeout", "", "a whole number from 0 to 4294967295"),
        ("Session-Timeout", "4294967296", "a whole number from 0 to 4294967295"),
        ("Session-Timeout", "9" * 5000, "a whole number from 0 to 4294967295"),
        ("Session-Timeout", "-1", "a whole number"),
        ("Session-Timeout", "+1", "a whole number"),
        ("Session-Timeout", "1_0", "a whole number"),
        ("Session-Timeout", "8h", "a whole number"),
        ("Session-Timeout", "\u0661", "a whole number"),  # ARABIC-INDIC DIGIT ONE
        ("Framed-MTU", "63", "a whole number from 64 to 65535"),
        ("Framed-MTU", "65536", "a whole number from 64 to 65535"),
        ("Acct-Interim-Interval", "59", "a whole number from 60 to 4294967295"),
        ("Service-Type", "Admin", "one of Login-User (1), Framed-User (2)"),
        ("Service-Type", "8", "one of Login-User (1), Framed-User (2)"),  # Authenticate-Only, for requests
        ("Framed-IP-Address", "10.10.1", "an IPv4 address such as 10.10.1.44"),
        ("Framed-IP-Address", "010.10.1.44", "an IPv4 address"),
        ("Framed-IP-Address", "10.10.1.44 ", "an IPv4 address"),
        ("Framed-IP-Address", "10.10.1.44/32", "an IPv4 address"),
        ("Framed-IP-Address", "::1", "an IPv4 address"),
        ("Framed-IP-Netmask", "255.0.255.0", "an IPv4 netmask such as 255.255.255.0"),
        ("Framed-IP-Netmask", "0.0.0.255", "an IPv4 netmask"),
        ("Framed-IP-Netmask", "/24", "an IPv4 netmask"),
        ("Framed-IPv6-Address", "fe80::1%eth0", "an IPv6 address such as 2001:db8::44, without a zone"),
        ("Framed-IPv6-Address", "10.10.1.44", "an IPv6 address"),
        ("Framed-IPv6-Prefix", "2001:db8:1::1/48", "an IPv6 prefix such as 2001:db8:1::/48, with no bits set behind"),
        ("Framed-IPv6-Prefix", "2001:db8:1::", "an IPv6 prefix"),
        ("Framed-IPv6-Prefix", "2001:db8:1::/129", "an IPv6 prefix"),
        ("Framed-IPv6-Prefix", "fe80::%eth0/64", "an IPv6 prefix"),
        ("Tunnel-Type", "VLAN:1", "one of PPTP (1)"),
        ("Tunnel-Preference", "16777216", "a whole number from 0 to 16777215"),
        ("ASA-Privilege-Level", "16", "a whole number from 0 to 15"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_and_what_is_possible(name: str, text: str, possible: str) -> None:
    said = refusal(name, text)
    assert said.startswith(f"{name}: '")
    assert possible in said.partition("' cannot be: ")[2]


def test_a_refused_value_cannot_steer_the_terminal_that_shows_it() -> None:
    assert r"'\x1b[2J\x0aroot'" in refusal("Filter-Id", "\x1b[2J\nroot")
    assert len(refusal("Filter-Id", "x" * 10_000)) < 500


# --- tags


@pytest.mark.parametrize("tag", ["", "0", "32", "100", "-1", "a", "1:1", "\u0661", " 1"])
def test_a_tag_out_of_range_is_refused(tag: str) -> None:
    """RFC 2868 3.1: 0x01 to 0x1F."""
    assert "1 to 31 are possible" in refusal(f"Tunnel-Type:{tag}", "VLAN")


def test_only_tunnel_attributes_have_tags() -> None:
    assert refusal("Filter-Id:1", "staff") == "Filter-Id has no tag: write it without a colon"


def test_each_tag_is_an_attribute_of_its_own() -> None:
    assert [find(name).name for name in ("tunnel-type", "tunnel-type:1", "Tunnel-Type:01", "Tunnel-Type:2")] == [
        "Tunnel-Type",
        "Tunnel-Type:1",
        "Tunnel-Type:1",
        "Tunnel-Type:2",
    ]
    assert not find("Tunnel-Type:1").many


# --- whatever is typed

TYPED = st.one_of(
    st.text(max_size=300),
    st.text("0123456789.:/xabcdef-%", max_size=40),
    st.ip_addresses().map(str),
    st.integers(-(2**33), 2**33).map(str),
    st.binary(max_size=260).map(lambda octets: "0x" + octets.hex()),
)


@given(NAMES, TYPED)
def test_a_value_fits_its_attribute_or_is_bad_input(name: str, text: str) -> None:
    try:
        kind, value = read(name, text)
    except BadInput:
        return
    assert 1 <= len(value) <= 253
    shown = canonical(name, text)
    assert read(name, shown) == (kind, value)
    assert canonical(name, shown) == shown


@given(st.text(max_size=100), TYPED)
def test_a_made_up_name_is_bad_input(name: str, text: str) -> None:
    known = {attribute.name.lower() for attribute in TABLE}
    if name.partition(":")[0].lower() in known:
        return
    with pytest.raises(BadInput):
        read(name, text)


@pytest.mark.parametrize("attribute", TABLE, ids=[attribute.name for attribute in TABLE])
def test_each_attribute_of_the_table_can_be_set(attribute: Attribute) -> None:
    examples = ("1", "64", "10.10.1.44", "255.255.255.0", "2001:db8::44", "2001:db8::/48")
    read_well = [example for example in examples if attribute.kind.parse(example)]
    assert read_well
    assert all(len(read(attribute.name, example)[1]) <= 253 for example in read_well)
