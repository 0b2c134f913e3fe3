"""Which format a file has, what no format has, and what holds for all of them."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.formats.choosing import FORMATS, choose
from store.formats.reading import MOST_OF_ANY, Contents, Format, Unlock
from tests.store.formats.files import BASE32, CASES, HEX, KEY, read
from validation.errors import BadInput

NAMES = [one.name for one in FORMATS]


def test_every_format_has_its_own_name() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_format_that_is_named_is_taken_whatever_the_content(name: str) -> None:
    assert choose(b"%PDF-1.7", "x.pdf", name).name == name


@pytest.mark.parametrize("wanted", [None, "", "auto"])
def test_without_a_name_the_content_decides(wanted: str | None) -> None:
    assert choose(f"A,{HEX},totp\n".encode(), "x.pdf", wanted).name == "oath-csv"


def test_a_format_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(BadInput) as caught:
        choose(f"A,{HEX},totp\n".encode(), "x", "excel")
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n\r\n", "empty"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\x03\x04\x14\x00", "an Excel workbook"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x89PNG\r\n\x1a\n\x00", "a picture"),
        (b"SQLite format 3\x00", "a database"),
        (b"-----BEGIN PGP MESSAGE-----\n\nhQ==\n", "encrypted with OpenPGP"),
        (b"\x7fELF\x00\x00", "no text"),
        ((CASES / "I05-not-pskc.xml").read_bytes(), "a web page"),
        (b"<!DOCTYPE html><p>expired</p>", "a web page"),
        (b"<?xml version='1.0'?><a:Others xmlns:a='b'/>", "XML with Others at the top"),
        (b"<", "XML, but incomplete"),
        (b'{"db": {"entries": []}}', "JSON of some other program"),
        (b"dear admin,\nthe seeds follow by mail\n", "a text in none of the known formats"),
    ],
)
def test_what_is_no_token_file_is_called_by_its_name(octets: bytes, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        choose(octets, "tokens.csv")
    assert what in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


def test_a_file_beyond_all_measure_is_refused_unread() -> None:
    with pytest.raises(BadInput, match="more than 256 MiB"):
        choose(bytes(MOST_OF_ANY + 1), "x")


def test_a_long_file_is_told_by_its_beginning() -> None:
    rows = "".join(f"{n:06},{HEX},totp,6,30\r\n" for n in range(5000))
    chosen = choose(rows.encode(), "x")
    assert chosen.name == "oath-csv"
    assert len(read(chosen, rows).items) == 5000


# What the formats are made of, so that nonsense gets past the first look at a line.
PIECES = st.sampled_from(
    [
        *(
            "\n",
            "\r\n",
            ",",
            ";",
            "\t",
            " ",
            "=",
            ":",
            '"',
            "'",
            "#",
            "- ",
            "  ",
            "    ",
            "<",
            ">",
            "/",
            "&",
            "?",
            "[{",
        ),
        *(HEX, BASE32, HEX[:15], "00", "0", "-1", "1.2E+09", "=x", "12-Jan", "²", "ß", "\x00", "\ud7ff", "9" * 40),
        *("serial", "seed", "secret key", "serial number", "time interval", "type", "totp", "hotp", "motp", "ocra"),
        *("Yubico OTP", "OATH-HOTP", "Static Password", "LOGGING START", "# ykksm 1", "cccccccccccc", "508327"),
        *("HOTP/T30/6", "HOTP/E/8", "HOTP", "bob", "+", "2006-12-07T00:00:00L", "otpauth://totp/a?secret="),
        *("otpauth://hotp/", "&counter=", '" TOTP_AUTH', '" HOTP_COUNTER ', '" DISALLOW_REUSE ', '" TIME_SKEW '),
        *("<Tokens>", "<Token serial='a'>", "<Seed>", "</Seed>", "</Token>", "</Tokens>", "sccTokenData: sccKey="),
        *("sccMode=T;", "sccAuthenticatorId: ", "otpkey: ", "info_list:", "timeStep: ", "gAAAA", "n/a", "a@b"),
        *("LinOtpTokenSerialnumber,LinOtpTokenType,LinOtpKeyEnc,LinOtpKeyIV", "HMAC", "count: ", '"otpkey"'),
    ]
)
NONSENSE = st.one_of(
    st.binary(max_size=300),
    st.lists(PIECES, max_size=30).map(lambda pieces: "".join(pieces).encode("utf-8", "surrogatepass")),
    st.lists(PIECES, max_size=30).map(lambda pieces: "".join(pieces).encode("utf-16", "surrogatepass")),
)
HAS_KEY = Unlock(key=lambda: bytes(range(96)), password=lambda: "geheim")


def read_or_refused(one: Format, octets: bytes) -> Contents | None:
    try:
        one.fits(octets, "x")
        return one.read(octets, HAS_KEY)
    except BadInput:
        return None


@pytest.mark.statement("O-103")
@pytest.mark.parametrize("one", FORMATS, ids=NAMES)
@settings(max_examples=150)
@given(octets=NONSENSE)
def test_no_octets_raise_anything_but_bad_input(one: Format, octets: bytes) -> None:
    found = read_or_refused(one, octets)
    assert found is None or (found.items and found.format == one.name)


@settings(max_examples=150)
@given(octets=NONSENSE)
def test_choosing_raises_nothing_but_bad_input(octets: bytes) -> None:
    try:
        name = choose(octets, "x").name
    except BadInput:
        name = NAMES[0]
    assert name in NAMES


AES = HEX[:32]
GOOD = {  # one good file for each format, with its key as {hex}, {b32} or {aes}
    "safenet": "<Tokens><Token serial='S1'><Seed>{hex}</Seed><MovingFactor>1</MovingFactor></Token></Tokens>",
    "entra-csv": "upn,serial number,secret key,time interval\nalice,S1,{b32},30\n",
    "otpauth": "otpauth://totp/a:b?secret={b32}&period=30&digits=6\n",
    "users-oath": "HOTP/T30/6\tbob\t-\t{hex}\t0\t123456\t2026-01-01T00:00:00L\n",
    "google-authenticator": '{b32}\n" TOTP_AUTH\n" TIME_SKEW 1\n12345678\n',
    "yubico-csv": "Yubico OTP,x,1,cccccccccccc,3151368d087a,{aes},,,0,0,0,0,0,0,0,0,0,0\n508326,,0,{hex},,2025,\n",
    "privacyidea": "alice@realm, S1, {hex}, hotp, 6\nn/a, S2, {hex}, totp, 6, 30\n",
    "multiotp-csv": "S1;ACME;HOTP;{hex};6;0\nS2;ACME;TOTP;{hex};6;30\n",
    "oath-csv": "S1,{hex},hotp,6,0\nS2,{hex},totp,6,30,sha1\n",
}


SECRETS = (HEX, BASE32, AES, base64.b64encode(KEY).decode(), repr(KEY), "12345678901")


def said_about(one: Format, text: str) -> str:
    try:
        return repr(one.read(text.encode(), Unlock()))
    except BadInput as error:
        return str(error)


@pytest.mark.statement("O-103")
@pytest.mark.parametrize("name", sorted(GOOD))
@settings(max_examples=150)
@given(data=st.data())
def test_a_damaged_file_never_repeats_its_key(name: str, data: st.DataObject) -> None:
    """One character is lost, doubled or changed, which may shift the columns or break a line inside the key."""
    text = GOOD[name].format(hex=HEX, b32=BASE32, aes=AES)
    assert choose(text.encode(), "x").name == name
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from(["", text[at] * 2, "z", "0", "8", "-", ",", "\n", '"', "=", " ", "<", "%"]))
    said = said_about(next(one for one in FORMATS if one.name == name), text[:at] + put + text[at + 1 :])
    assert not [secret for secret in SECRETS if secret[:12] in said]


def test_every_other_format_is_damaged_above() -> None:
    """What is encrypted or signed is damaged in tests of its own: test_linotp.py, test_pskc_fuzz.py."""
    assert set(NAMES) - set(GOOD) == {"linotp", "pskc"}
