"""SafeNet and Aladdin XML, SafeWord records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.safenet import MOST_DEPTH, SafeNet
from tests.store.formats.files import CASES, HEX, KEY, bad_rows, one_bad, one_seed, read, seeds
from validation.errors import BadInput

SAFENET = SafeNet()


def token(serial: str = "00040008CFA5", seed: str = HEX, factor: str = "1", more: str = "") -> str:
    return (
        f'<Token serial="{serial}"><CaseModel>5</CaseModel><ProductName>eToken PASS</ProductName>\n'
        f"<Applications><Application ConnectorID='{{ab}}'><Seed>{seed}</Seed>{more}\n"
        f"<MovingFactor>{factor}</MovingFactor></Application></Applications></Token>\n"
    )


def xml(*tokens: str) -> str:
    return f"<Tokens>\n{''.join(tokens)}</Tokens>\n"


def record(data: str, serial: str = "ETOKEN01", kind: str = "eToken-PASS-ES") -> str:
    return (
        f"dn: sccAuthenticatorId={serial}\nobjectclass: sccCompatibleToken\nsccAuthenticatorId: {serial}\n"
        f"sccTokenType: {kind}\nsccTokenData: {data}\nsccSignature: MC0C\n gIBAQ==   \n"
    )


HEAD = "# ===== SafeWord Authenticator Records $Version: 100$ =====\n"


def test_xml_in_either_dress() -> None:
    text = xml(token(), token(serial="0001", factor="17"))
    for name in ("tokens.xml", "tokens.dat"):
        assert choose(text.encode(), name).name == "safenet"
    first, second = seeds(read(SAFENET, f'\ufeff<?xml version="1.0" encoding="utf-16"?>\n{text}'))
    assert (first.place, first.serial, first.key) == ("Token 1 (serial 00040008CFA5)", "00040008CFA5", KEY)
    assert (first.kind, first.digits, first.algorithm, first.label) == ("hotp", 6, "sha1", "eToken PASS")
    assert [s.moving_factor for s in (first, second)] == [1, 17]
    assert first.notes == ("the file does not say, so: hotp, 6 digits",)


def test_a_longer_key_means_another_hash_and_that_is_said() -> None:
    seed = one_seed(read(SAFENET, xml(token(seed=bytes(range(32)).hex()))))
    assert seed.algorithm == "sha256"
    assert "sha256, because the key has 32 octets" in seed.notes[1]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (token(seed="123412354"), "Seed"),
        (token(seed=HEX + "zz"), "Seed"),
        (token(seed=""), "Seed"),
        (token(more=f"<Seed>{HEX}</Seed>"), "Seed"),
        (token(factor="-1"), "MovingFactor"),
        (token(serial="1.2E+09"), "serial"),
    ],
)
def test_a_bad_token_is_named_by_element_and_stops_no_other(bad: str, field: str) -> None:
    found = read(SAFENET, xml(bad, token(serial="0002")))
    (row,) = bad_rows(found)
    assert row.place.startswith("Token 1")
    assert row.field == field
    assert HEX[:8] not in repr(row)
    assert [s.serial for s in seeds(found)] == ["0002"]


@pytest.mark.statement("O-103")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (xml(token()).replace("</CaseModel>", "</Model>"), "damaged or incomplete at line 2, column"),
        (xml(token())[:-20], "damaged or incomplete at line"),
        ("<Tokens/>", "holds no token"),
        ("<Others/>", "no element Tokens"),
        (f"<Tokens>{'<a>' * MOST_DEPTH}{'</a>' * MOST_DEPTH}</Tokens>", "nested more than"),
        ('<!DOCTYPE Tokens SYSTEM "file:///etc/passwd"><Tokens/>', "document type or entities"),
        ('<?xml version="1.0"?>\n<!doctype k [<!entity a "b">]><Tokens/>', "document type or entities"),
    ],
)
def test_a_broken_or_hostile_file_is_refused_as_a_whole(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        read(SAFENET, text)
    assert HEX[:8] not in str(caught.value)


def test_an_entity_bomb_is_not_parsed_in_any_encoding() -> None:
    bomb = (CASES / "I21-xml-bomb.xml").read_text()
    for octets in (bomb.encode(), bomb.encode("utf-16"), b"\xef\xbb\xbf" + bomb.encode()):
        with pytest.raises(BadInput, match="document type or entities"):
            read(SAFENET, octets)


def test_records_of_safeword() -> None:
    text = HEAD + record(f"sccKey={HEX.upper()};sccMode=E;sccPwLen=8;sccVer=6.20;") + "\n"
    text += record(
        f"sccKey={bytes(32).hex()};sccMode=T;sccPwLen=6;sccTick=60;sccPrTime=2013/03/12 00:00:00;crypto=HmacSHA256",
        serial="ETOKEN02",
        kind="eToken-PASS-TS",
    )
    assert choose(text.encode(), "x.dat").name == "safenet"
    event, time = seeds(read(SAFENET, text))
    assert (event.place, event.serial, event.kind, event.key) == ("line 2", "ETOKEN01", "hotp", KEY)
    assert (event.digits, event.algorithm, event.label, event.notes) == (8, "sha1", "eToken-PASS-ES", ())
    assert (time.serial, time.kind, time.period, time.algorithm) == ("ETOKEN02", "totp", 60, "sha256")
    assert time.notes == ("some of these tokens count time from 2000 and not 1970; test one before handing them out",)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (f"sccKey=(aes:{HEX});sccMode=E;sccPwLen=6", "sccKey"),
        (f"sccKey={HEX}0;sccMode=E;sccPwLen=6", "sccKey"),
        ("sccMode=E;sccPwLen=6", "sccKey"),
        (f"sccKey={HEX};sccMode=X;sccPwLen=6", "sccMode"),
        (f"sccKey={HEX};sccMode=T;sccPwLen=4", "digits"),
        (f"sccKey={HEX};sccMode=T;sccTick=0", "sccTick"),
        (f"sccKey={HEX};sccMode=T;crypto=HmacMD5", "crypto"),
    ],
)
def test_a_bad_record_is_named_by_line(data: str, field: str) -> None:
    bad = one_bad(read(SAFENET, HEAD + record(data)))
    assert (bad.place, bad.field, bad.serial) == ("line 2", field, "ETOKEN01")
    assert HEX[:8] not in repr(bad)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 10**9), st.binary(min_size=1, max_size=64), st.integers(0, 2**62)), min_size=1
    )
)
def test_what_is_written_is_read_back(rows: list[tuple[int, bytes, int]]) -> None:
    text = xml(*(token(f"{serial:010}", key.hex(), str(factor)) for serial, key, factor in rows))
    found = seeds(read(SAFENET, text))
    assert [(int(s.serial), s.key, s.moving_factor) for s in found] == rows
