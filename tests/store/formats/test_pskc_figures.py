"""The figures of RFC 6030, with the values of the RFC."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from store.formats.pskc import Pskc
from store.formats.reading import BadRow, Seed, Skipped
from tests.store.formats.pskc_files import FIGURES, SECRET, items, never_asked, only_bad, only_seed, read
from validation.errors import BadInput
from validation.model import Token
from validation.tokens.hotp import value_at
from validation.tokens.registry import kind_of

CASES = Path(__file__).parent / "cases"


@pytest.mark.statement("O-100")
@pytest.mark.parametrize("figure", [3, 5, 6, 7, 9])
def test_a_figure_of_the_rfc_has_its_key(figure: int) -> None:
    seed = items(FIGURES[figure]())[0]
    assert isinstance(seed, Seed)
    assert (seed.kind, seed.key, seed.moving_factor, seed.algorithm) == ("hotp", SECRET, 0, "sha1")
    assert seed.digits == (6 if figure == 9 else 8)
    assert seed.serial == ("0755225266" if figure == 9 else "987654321")


@pytest.mark.statement("O-100")
def test_figure_2_says_no_more_than_a_key_and_its_id() -> None:
    seed = only_seed(FIGURES[2]())
    assert (seed.key, seed.serial, seed.digits) == (b"1234", "12345678", 6)
    assert any("Id of the key" in note for note in seed.notes)
    assert any("6 digits" in note for note in seed.notes)


@pytest.mark.statement("O-100")
def test_figure_3_names_its_user() -> None:
    assert only_seed(FIGURES[3]()).user == "jsmith"


@pytest.mark.statement("O-100")
def test_figure_4_holds_no_key_and_says_where_it_is() -> None:
    bad = only_bad(FIGURES[4]())
    assert (bad.field, bad.serial) == ("Secret", "987654321")
    assert "MasterKeyLabel" in bad.text


@pytest.mark.statement("O-100")
def test_figure_5_holds_a_pin_which_is_no_token() -> None:
    _, pin = items(FIGURES[5]())
    assert pin == Skipped("KeyPackage 2 (SerialNo 987654321)", "the PIN of a device")


@pytest.mark.statement("O-100")
def test_figure_6_is_verified() -> None:
    assert "encrypted with AES-128-CBC, MAC verified" in read(FIGURES[6]()).facts


@pytest.mark.statement("O-100")
def test_figure_8_is_for_somebody_with_another_key_and_none_is_asked_for() -> None:
    (bad,) = Pskc().read(FIGURES[8](), never_asked()).items
    assert isinstance(bad, BadRow)
    assert (bad.field, bad.serial) == ("Secret", "987654321")
    assert "rsa_1_5" in bad.text


def test_figure_9_is_signed_and_that_nobody_checked_it_is_said() -> None:
    assert "the file is signed; the signature was not checked" in read(FIGURES[9]()).facts


@pytest.mark.statement("O-100", "O-104")
def test_figure_10_has_four_keys_with_their_dates() -> None:
    seeds = [item for item in items(FIGURES[10]()) if isinstance(item, Seed)]
    assert [seed.serial for seed in seeds] == ["654321", "123456", "9999999:3", "9999999:4"]
    assert {seed.key for seed in seeds} == {SECRET}
    assert seeds[3].starts_at == datetime(2006, 4, 1, tzinfo=UTC).timestamp()
    assert seeds[3].expires_at == datetime(2006, 4, 30, tzinfo=UTC).timestamp()


def test_a_password_with_letters_beyond_ascii_opens_a_file_with_prefixes() -> None:
    password = (CASES / "I02-password.txt").read_text(encoding="utf-8").rstrip("\n")
    totp, hotp = items((CASES / "I02-pbe.pskc").read_bytes(), password=password)
    assert isinstance(totp, Seed)
    assert isinstance(hotp, Seed)
    assert (totp.kind, totp.serial, totp.digits, totp.period) == ("totp", "ZZ8000000101", 8, 30)
    assert totp.key.hex() == "c34a8b7bcc8e7f233c2f59f280efd482c3e7bb4f"
    assert [value_at(_token(hotp), counter) for counter in (0, 1)] == ["919955", "083453"]


def test_a_yubikey_verifies_its_own_codes() -> None:
    seed = only_seed((CASES / "I07a-yubikey-aes.pskc").read_bytes())
    assert (seed.kind, seed.serial, seed.public_id) == ("yubico_otp", "19999903", "ccccccrcvvuu")
    kind = kind_of("yubico_otp")
    kind.check(_token(seed))
    from validation.tokens.kind import Window

    for code in ("ccccccrcvvuuguredkrurhjfbtnrvhhrrvddvlcncvnr", "ccccccrcvvuuhbfnhhfbinikbthfchffiunhkdfbgnbt"):
        assert kind.compare(_token(seed), code, 0.0, Window(1, 10, 10)).match is not None


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        ((CASES / "I05-not-pskc.xml").read_bytes(), "it begins with <html>, and a KeyContainer is missing"),
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "no XML, and so no PSKC file"),
        (b"serial,seed\n1,3132\n", "no XML, and so no PSKC file"),
        (
            (CASES / "I07b-yubikey-aes-truncated.pskc").read_bytes(),
            "the file is incomplete: it ends inside <KeyContainer>",
        ),
        (b'<KeyContainer Version="1.0"/>', "the file holds no KeyPackage"),
        (b'<KeyContainer Version="1.2"><KeyPackage/></KeyContainer>', "Version 1.2 is not known"),
        (b"<KeyContainer><KeyPackage></Wrong></KeyContainer>", "line 1, column"),
    ],
)
def test_what_is_no_pskc_file_is_said_in_one_line(octets: bytes, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(octets)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [60, 300, 700, -3])
def test_a_file_that_was_cut_off_is_incomplete_wherever(cut: int) -> None:
    with pytest.raises(BadInput, match="the file is incomplete: it ends inside <"):
        read(FIGURES[6]()[: cut if cut < 0 else 300 + cut])


def test_pskc_is_known_by_its_content_and_not_by_its_name() -> None:
    known = [FIGURES[3](), (CASES / "I02-pbe.pskc").read_bytes(), FIGURES[3]().decode().encode("utf-16")]
    assert all(Pskc().fits(octets, "tokens.csv") for octets in known)
    assert not Pskc().fits((CASES / "I05-not-pskc.xml").read_bytes(), "tokens.pskc")


def test_every_encoding_that_xml_knows_is_read() -> None:
    text = FIGURES[3]().decode()
    assert only_seed(text.encode("utf-16")).key == SECRET
    assert only_seed(b"\xef\xbb\xbf" + text.encode()).key == SECRET
    assert only_seed(b"\r\n  " + text.encode()).key == SECRET


def _token(seed: Seed) -> Token:
    return Token(1, seed.serial, 1, seed.kind, seed.key, digits=seed.digits, public_id=seed.public_id)
