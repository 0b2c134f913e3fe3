"""One key at a time: what it is, what is wrong with it, and where."""

import pytest

from store.formats.reading import BadRow, Seed, Skipped
from tests.store.formats.pskc_files import (
    HOTP,
    SECRET,
    TOTP,
    b64,
    container,
    items,
    key,
    only_bad,
    only_seed,
    only_skipped,
    package,
    read,
    texts,
)


def _value(name: str, value: object) -> str:
    return f"<{name}><PlainValue>{value}</PlainValue></{name}>"


@pytest.mark.parametrize(
    "algorithm",
    [HOTP, "urn:ietf:params:xml:ns:keyprov:pskc#hotp", "http://www.ietf.org/keyprov/pskc#hotp", "HOTP", "hotp"],
)
def test_hotp_under_all_its_names(algorithm: str) -> None:
    assert only_seed(container(package(key(algorithm=algorithm)))).kind == "hotp"


@pytest.mark.parametrize(
    ("algorithm", "what"),
    [
        ("urn:ietf:params:xml:ns:keyprov:pskc:ocra", "OCRA"),
        ("urn:ietf:params:xml:ns:keyprov:pskc#OCRA-1:HOTP-SHA512-8:C-QN08", "OCRA"),
        ("urn:ietf:params:xml:ns:keyprov:pskc:pin", "PIN"),
        ("urn:ietf:params:xml:ns:keyprov:pskc#pin", "PIN"),
        ("http://www.rsa.com/names/2008/04/algorithms/SecurID/SecurID-AES128-Counter", "SecurID"),
        ("http://www.actividentity.com/2008/04/algorithms/algorithms#ActivIdentity-3DES", "ActivIdentity"),
    ],
)
def test_what_is_no_otp_token_is_named_and_not_bad(algorithm: str, what: str) -> None:
    assert what in only_skipped(container(package(key(algorithm=algorithm)))).what


@pytest.mark.parametrize("algorithm", ["", "urn:ietf:params:xml:ns:keyprov:pskc:hotpx", "http://example.com/#totp"])
def test_what_nobody_knows_is_bad(algorithm: str) -> None:
    assert only_bad(container(package(key(algorithm=algorithm)))).field == "Algorithm"


@pytest.mark.statement("O-103")
@pytest.mark.parametrize(
    ("row", "field"),
    [
        (key("<Secret><PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTA</PlainValue></Secret>"), "Secret"),
        (key("<Secret><PlainValue>MTIzNDU2Nz*5MDEyMzQ1Njc4OTA=</PlainValue></Secret>"), "Secret"),
        (key("<Secret><PlainValue>3132333435363738393031323334353637383930xyz</PlainValue></Secret>"), "Secret"),
        (key(""), "Secret"),
        (key("<Secret/>"), "Secret"),
        (key("<Secret><PlainValue/></Secret>"), "Secret"),
        (key(f"<Secret><PlainValue>{b64(SECRET)}</PlainValue><EncryptedValue/></Secret>"), "Secret"),
        (key(data=f"<Secret><PlainValue>{b64(bytes(20))}</PlainValue></Secret>"), "Secret"),
        (key(data=_value("Counter", "twelve")), "Counter"),
        (key(data=_value("Counter", "-1")), "Counter"),
        (key(data=_value("Counter", 2**63 - 1)), "Counter"),
        (key(data=_value("Counter", "1_000")), "Counter"),
        (key(algorithm=TOTP, data=_value("TimeInterval", 0)), "TimeInterval"),
        (key(algorithm=TOTP, data=_value("Time", 1_700_000_000)), "Time"),
        (key(algorithm=TOTP, data=_value("TimeDrift", 2**31)), "TimeDrift"),
        (key(suite="HMAC-MD5"), "Suite"),
        (key(suite="HMAC-SHA384"), "Suite"),
        (key(response='<ResponseFormat Length="6" Encoding="ALPHANUMERIC"/>'), "ResponseFormat"),
        (key(response='<ResponseFormat Length="6" Encoding="DECIMAL" CheckDigits="true"/>'), "ResponseFormat"),
        (key(response='<ResponseFormat Length="6" CheckDigits="maybe"/>'), "ResponseFormat/CheckDigits"),
        (key(response='<ResponseFormat Length="six"/>'), "ResponseFormat/Length"),
        (key(response='<ResponseFormat Length="-6"/>'), "ResponseFormat"),
        (key(policy="<NumberOfTransactions>TWELVE</NumberOfTransactions>"), "NumberOfTransactions"),
        (key(policy='<PINPolicy MinLength="FOUR"/>'), "PINPolicy/MinLength"),
    ],
)
def test_a_bad_key_is_named_by_element_and_field_and_the_rest_is_read_on(row: str, field: str) -> None:
    contents = read(container(package(key(), serial="1"), package(row, serial="22"), package(key(), serial="3")))
    before, bad, after = contents.items
    assert isinstance(before, Seed)
    assert isinstance(after, Seed)
    assert isinstance(bad, BadRow)
    assert (bad.place, bad.field, bad.serial) == ("KeyPackage 2 (SerialNo 22)", field, "22")
    assert b64(SECRET) not in texts(contents)
    assert "\n" not in bad.text


@pytest.mark.statement("O-103")
def test_a_bad_device_is_named_and_its_keys_are_not_read() -> None:
    bad = only_bad(container(package(key(), info="<ExpiryDate>soon</ExpiryDate>")))
    assert (bad.place, bad.field) == ("KeyPackage 1 (SerialNo 987654321)", "ExpiryDate")


def test_packages_without_keys_are_named() -> None:
    empty, bare = items(container("<KeyPackage/>", "<KeyPackage><Key/></KeyPackage>"))
    assert empty == Skipped("KeyPackage 1", "a package without a key")
    assert isinstance(bare, BadRow)


def test_several_keys_in_a_package_are_counted() -> None:
    first, second = items(container(package(key(id="a"), key(""), serial="1")))
    assert first.place == "KeyPackage 1 (SerialNo 1), Key 1"
    assert second.place == "KeyPackage 1 (SerialNo 1), Key 2"


def test_keys_of_one_device_are_told_apart_and_that_is_said() -> None:
    packages = [package(key(id=id), serial="19") for id in ("19:1", "x")]
    first, second = items(container(*packages))
    assert isinstance(first, Seed)
    assert isinstance(second, Seed)
    assert (first.serial, second.serial) == ("19:1", "19:x")
    assert any("told apart" in note for note in second.notes)


def test_a_place_steers_no_terminal() -> None:
    bad = only_bad(container(package(key(""), serial="1\u202e2" + "x" * 500)))
    assert "\u202e" not in bad.place
    assert len(bad.place) < 120


def test_totp_with_all_it_can_say() -> None:
    data = _value("Time", 57_000_000) + _value("TimeInterval", 60) + _value("TimeDrift", -4)
    seed = only_seed(container(package(key(algorithm=TOTP, data=data, suite="HMAC-SHA256"))))
    assert (seed.kind, seed.period, seed.drift, seed.algorithm, seed.digits) == ("totp", 60, -4, "sha256", 8)
    assert seed.moving_factor == 57_000_001  # the interval last seen is used up


def test_what_the_file_does_not_say_is_said_to_be_taken_for_granted() -> None:
    seed = only_seed(container(package(key(plain_of(32), algorithm=TOTP, data="", response=""), serial="")))
    assert (seed.serial, seed.digits, seed.period, seed.algorithm, seed.moving_factor) == ("12345678", 6, 30, "sha1", 0)
    for taken in ("serial", "6 digits", "30 s", "sha1"):
        assert any(taken in note for note in seed.notes), taken


def plain_of(octets: int) -> str:
    return f"<Secret><PlainValue>{b64(bytes(range(octets)))}</PlainValue></Secret>"


@pytest.mark.parametrize(
    ("written", "counter"), [("831791", 831791), ("NzA5Nzkx", 709791), ("AAYxSg==", 405834), (" 7\n", 7), ("+7", 7)]
)
def test_a_counter_in_all_its_spellings(written: str, counter: int) -> None:
    assert only_seed(container(package(key(data=_value("Counter", written))))).moving_factor == counter


@pytest.mark.parametrize(
    ("user_id", "user"),
    [
        ("CN=alice", "alice"),
        ("UID=alice,DC=example,DC=net", "alice"),
        ("cn=Alice Example, uid=alice", "alice"),
        ("alice", "alice"),
        ("CN=b\\C3\\A4rbel", "bärbel"),
        ("CN=Alice Example", None),
        ("DC=example,DC=net", None),
        ("Alice Example", None),
        ("CN=alice\\,bob", None),
    ],
)
def test_a_user_is_assigned_only_where_it_is_plainly_one(user_id: str, user: str | None) -> None:
    seed = only_seed(container(package(key(rest=f"<UserId>{user_id}</UserId>"))))
    assert seed.user == (user or "")
    assert any("nobody is assigned" in note for note in seed.notes) == (user is None)


def test_the_maker_is_the_label_and_a_fact() -> None:
    contents = read(container(package(key(), info="<Model>c200</Model>", manufacturer="FeiTian")))
    (seed,) = contents.items
    assert isinstance(seed, Seed)
    assert seed.label == "FeiTian c200"
    assert contents.facts == ("manufacturer FeiTian",)
    named = only_seed(container(package(key(rest="<FriendlyName>MyFirstToken</FriendlyName>"))))
    assert named.label == "MyFirstToken"


YUBICO = "http://www.yubico.com/#yubikey-aes"


def _yubikey(user_id: str, octets: int = 16, length: int = 44) -> bytes:
    response = f'<ResponseFormat Encoding="ALPHANUMERIC" Length="{length}"/>'
    rest = f"<UserId>{user_id}</UserId>"
    return container(package(key(plain_of(octets), algorithm=YUBICO, data="", response=response, rest=rest)))


def test_a_yubikey_has_its_ids_in_its_user_id() -> None:
    seed = only_seed(_yubikey("CN=ekhgjhbctrgn, UID=ca62baca62ba"))
    assert (seed.kind, seed.public_id, seed.user) == ("yubico_otp", "ekhgjhbctrgn", "")
    assert seed.key == bytes(range(16)) + bytes.fromhex("ca62baca62ba")
    assert seed.notes == ()


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        (_yubikey("CN=ekhgjhbctrgn"), "UserId"),
        (_yubikey("CN=ekhgjhbctrgn, UID=ca62"), "UserId"),
        (_yubikey("CN=283599, UID=ca62baca62ba"), "UserId"),
        (_yubikey("CN=ekhgjhbctrgn, UID=ca62baca62ba", octets=20), "Secret"),
    ],
)
def test_a_yubikey_without_its_parts_is_bad(octets: bytes, field: str) -> None:
    assert only_bad(octets).field == field


def test_a_length_that_does_not_fit_the_public_id_is_noted() -> None:
    seed = only_seed(_yubikey("CN=ekhgjhbctrgn, UID=ca62baca62ba", length=40))
    assert any("codes of 40 characters" in note for note in seed.notes)


def test_the_second_draft_has_its_mac_in_the_wrong_place() -> None:
    """Figure 5 of draft-ietf-keyprov-pskc-02: PBES2, no MACAlgorithm, and the ValueMAC inside the EncryptedValue."""
    octets = (
        '<KeyContainer xmlns="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" '
        'xmlns:pkcs5="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#" Version="1.0"><EncryptionKey>'
        "<DerivedKey><CarriedKeyName>Passphrase1</CarriedKeyName><KeyDerivationMethod "
        'Algorithm="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2"><pkcs5:PBKDF2-params>'
        "<pkcs5:Salt><pkcs5:Specified>Ej7/PEpyEpw=</pkcs5:Specified></pkcs5:Salt>"
        "<pkcs5:IterationCount>1000</pkcs5:IterationCount><pkcs5:KeyLength>16</pkcs5:KeyLength><pkcs5:PRF/>"
        "</pkcs5:PBKDF2-params></KeyDerivationMethod></DerivedKey></EncryptionKey><Device><DeviceInfo>"
        "<SerialNo>987654321</SerialNo></DeviceInfo>"
        '<Key KeyAlgorithm="urn:ietf:params:xml:ns:keyprov:pskc#hotp" KeyId="123456"><Usage>'
        '<ResponseFormat Length="8" Encoding="DECIMAL"/></Usage><Data><Secret><EncryptedValue>'
        '<xenc:EncryptionMethod Algorithm="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5#pbes2">'
        '<EncryptionScheme Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></xenc:EncryptionMethod>'
        "<xenc:CipherData><xenc:CipherValue>oTvo+S22nsmS2Z/RtcoF8Hfh+jzMe0RkiafpoDpnoZTjPYZu6V+A4aEn032yCr4f"
        "</xenc:CipherValue></xenc:CipherData><ValueMAC>{}</ValueMAC></EncryptedValue></Secret></Data></Key></Device>"
        "</KeyContainer>"
    )
    seed = only_seed(octets.format("cOpiQ/H7Zlj6ywiYWtwgz9cRaOA=").encode())
    assert (seed.key, seed.place, seed.digits) == (SECRET, "Device 1 (SerialNo 987654321)", 8)
    assert only_bad(octets.format("").encode()).text.startswith("the MAC is missing")
