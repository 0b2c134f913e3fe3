"""A value is used only after its MAC was checked."""

import hmac

import pytest

from store.formats.pskc import Pskc
from store.formats.reading import BadRow, Seed
from tests.store.formats.pskc_files import (
    FIGURES,
    HEAD,
    MAC_KEY,
    NAMED_KEY,
    PRESHARED,
    SECRET,
    aes_cbc,
    b64,
    container,
    encrypted,
    items,
    key,
    mac_method,
    mac_of,
    never_asked,
    only_bad,
    only_seed,
    package,
    plain,
    read,
    sealed,
    texts,
    with_password,
    wrapped,
)
from validation.errors import BadInput

KW = "http://www.w3.org/2001/04/xmlenc#kw-aes128"
VALUE = aes_cbc(SECRET)


def _changed(octets: bytes, at: int) -> bytes:
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]


@pytest.mark.statement("O-101")
@pytest.mark.parametrize("at", range(0, 48, 5))
def test_a_changed_value_is_refused_and_its_neighbour_is_not(at: int) -> None:
    bad = encrypted(_changed(VALUE, at), mac_of(VALUE))
    changed, whole = items(container(package(key(bad)), package(key(sealed()), serial="2"), head=HEAD))
    assert isinstance(changed, BadRow)
    assert changed.field == "Secret"
    assert "the MAC does not match" in changed.text
    assert isinstance(whole, Seed)


@pytest.mark.statement("O-101")
def test_a_changed_mac_is_refused() -> None:
    bad = encrypted(VALUE, _changed(mac_of(VALUE), 0))
    changed, _ = items(container(package(key(bad)), package(key(sealed()), serial="2"), head=HEAD))
    assert isinstance(changed, BadRow)


@pytest.mark.statement("O-101")
@pytest.mark.parametrize("shortened", [0, 1, 19])
def test_a_part_of_a_mac_is_no_mac(shortened: int) -> None:
    bad = encrypted(VALUE, mac_of(VALUE)[:shortened])
    changed, _ = items(container(package(key(bad)), package(key(sealed()), serial="2"), head=HEAD))
    assert isinstance(changed, BadRow)


@pytest.mark.statement("O-101")
def test_a_value_without_a_mac_is_refused_before_a_key_is_asked_for() -> None:
    (bad,) = Pskc().read(container(package(key(encrypted(VALUE, None))), head=HEAD), never_asked()).items
    assert isinstance(bad, BadRow)
    assert (bad.field, bad.serial) == ("Secret", "987654321")
    assert "the MAC is missing" in bad.text


@pytest.mark.statement("O-101")
def test_an_encrypted_counter_needs_a_mac_too() -> None:
    counter = aes_cbc(b"42")
    unsigned = key(sealed(), data=encrypted(counter, None, name="Counter"))
    assert only_bad(container(package(unsigned), head=HEAD)).field == "Counter"
    signed = key(sealed(), data=encrypted(counter, mac_of(counter), name="Counter"))
    assert only_seed(container(package(signed), head=HEAD)).moving_factor == 42


@pytest.mark.statement("O-101")
def test_without_a_mac_method_nothing_encrypted_is_read() -> None:
    with pytest.raises(BadInput, match="MACMethod: missing"):
        items(container(package(key(sealed())), head=NAMED_KEY))


@pytest.mark.statement("O-101")
@pytest.mark.parametrize("algorithm", ["http://www.w3.org/2000/09/xmldsig#hmac-zha9", "http://x#hmac-md5", "none"])
def test_an_unknown_mac_is_refused(algorithm: str) -> None:
    with pytest.raises(BadInput, match="MACMethod"):
        items(container(package(key(sealed())), head=NAMED_KEY + mac_method(aes_cbc(MAC_KEY), algorithm)))


@pytest.mark.statement("O-101")
def test_a_digest_taken_away_does_not_make_a_ciphertext_a_key() -> None:
    """In the first drafts a Value without a ValueDigest is a clear one."""
    digest = b64(hmac.digest(PRESHARED, VALUE, "sha1"))
    assert only_seed(_first_draft(f"<ValueDigest>{digest}</ValueDigest>")).key == SECRET
    bad = only_bad(_first_draft(""))
    assert "the MAC (ValueDigest) is missing" in bad.text


def _first_draft(digest: str) -> bytes:
    return (
        '<KeyContainer xmlns="urn:ietf:params:xml:ns:keyprov:container:1.0">'
        '<EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'
        '<DigestMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1"/><Device><DeviceId>'
        "<Manufacturer>ActivIdentity</Manufacturer><SerialNo>0950380269</SerialNo></DeviceId>"
        '<Key KeyAlgorithm="http://www.ietf.org/keyprov/pskc#hotp" KeyId="0950380269"><Usage OTP="true">'
        '<ResponseFormat Format="DECIMAL" Length="8"/></Usage>'
        f'<Data Name="SECRET"><Value>{b64(VALUE)}</Value>{digest}</Data>'
        '<Data Name="COUNTER"><Value>AAAAADHwRgM=</Value></Data></Key></Device></KeyContainer>'
    ).encode()


def test_the_counter_of_a_first_draft_is_a_big_endian_number() -> None:
    digest = b64(hmac.digest(PRESHARED, VALUE, "sha1"))
    seed = only_seed(_first_draft(f"<ValueDigest>{digest}</ValueDigest>"))
    assert (seed.moving_factor, seed.digits, seed.serial) == (0x31F04603, 8, "0950380269")


def test_a_draft_may_have_its_mac_over_the_clear_value_and_that_is_said() -> None:
    contents = read(container(package(key(encrypted(VALUE, mac_of(SECRET)))), head=HEAD))
    assert isinstance(contents.items[0], Seed)
    assert any("over the values themselves" in fact for fact in contents.facts)


def test_padding_is_that_of_xml_encryption() -> None:
    value = aes_cbc(SECRET, fill=b"\xa5")
    assert only_seed(container(package(key(encrypted(value, mac_of(value)))), head=HEAD)).key == SECRET


def test_key_wrap_needs_no_mac_and_is_checked_all_the_same() -> None:
    good, bad = wrapped(SECRET), _changed(wrapped(SECRET), 20)
    first, second = items(
        container(
            package(key(encrypted(good, None, algorithm=KW))),
            package(key(encrypted(bad, None, algorithm=KW)), serial="2"),
            head=NAMED_KEY,
        )
    )
    assert isinstance(first, Seed)
    assert first.key == SECRET
    assert isinstance(second, BadRow)
    assert "cannot be opened" in second.text


@pytest.mark.statement("O-101")
@pytest.mark.parametrize("wrong", [bytes([number]) * 16 for number in range(40)])
def test_a_wrong_key_is_said_once_about_the_file(wrong: bytes) -> None:
    """Of 40 keys some get past the padding of the MAC key, and none past a MAC."""
    with pytest.raises(BadInput, match="the key is wrong, or the file was changed") as caught:
        read(container(package(key(sealed())), package(key(sealed()), serial="2"), head=HEAD), key=wrong)
    assert wrong.hex() not in str(caught.value)


def test_a_key_of_another_length_is_said_to_be_one() -> None:
    with pytest.raises(BadInput, match="a key of 5 octets, and AES-128-CBC needs 16"):
        read(FIGURES[6](), key=b"short")


def test_without_a_key_its_name_is_told() -> None:
    with pytest.raises(BadInput, match=r"encrypted with a key \(Pre-shared-key\), and none was given"):
        read(FIGURES[6](), key=None)


@pytest.mark.parametrize("password", ["qwerty ", "QWERTY", "qwertz", "\udcff"])
def test_a_wrong_password_is_said_once_about_the_file(password: str) -> None:
    with pytest.raises(BadInput, match="password") as caught:
        read(FIGURES[7](), password=password)
    assert password not in str(caught.value)


def test_without_a_password_one_is_asked_for() -> None:
    with pytest.raises(BadInput, match="encrypted with a password, and none was given"):
        read(FIGURES[7](), password=None)


def test_a_password_may_have_letters_of_any_language() -> None:
    octets = with_password("Käse-パスワード")
    (seed,) = read(octets, password="Käse-パスワード").items
    assert isinstance(seed, Seed)
    assert seed.key == SECRET


def test_nothing_is_asked_for_where_nothing_is_encrypted() -> None:
    assert len(Pskc().read(FIGURES[10](), never_asked()).items) == 4


def test_a_clear_key_among_encrypted_ones_is_noted() -> None:
    clear, _ = items(container(package(key(plain(b"\x07" * 20))), package(key(sealed()), serial="2"), head=HEAD))
    assert isinstance(clear, Seed)
    assert any("unencrypted" in note for note in clear.notes)


def test_no_text_shows_a_key() -> None:
    contents = read(container(package(key(sealed())), package(key(encrypted(VALUE, MAC_KEY)), serial="2"), head=HEAD))
    for secret in (SECRET, PRESHARED, MAC_KEY):
        assert secret.hex() not in texts(contents)
        assert b64(secret) not in texts(contents)
        assert repr(secret)[2:-1] not in texts(contents)
