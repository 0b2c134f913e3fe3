"""PSKC files made here, piece by piece, and the figures of RFC 6030 as such pieces.

Rules: nothing of the code under test is used; what is encrypted is encrypted with `cryptography` and `hmac` directly.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from store.formats.pskc import Pskc
from store.formats.reading import BadRow, Contents, Item, Seed, Skipped, Unlock

SECRET = b"12345678901234567890"
PRESHARED = bytes.fromhex("12345678901234567890123456789012")
MAC_KEY = bytes(range(32, 52))
HOTP = "urn:ietf:params:xml:ns:keyprov:pskc:hotp"
TOTP = "urn:ietf:params:xml:ns:keyprov:pskc:totp"
PIN = "urn:ietf:params:xml:ns:keyprov:pskc:pin"
AES128 = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
HMAC_SHA1 = "http://www.w3.org/2000/09/xmldsig#hmac-sha1"
NAMESPACES = (
    'xmlns="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" '
    'xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" xmlns:xenc11="http://www.w3.org/2009/xmlenc11#"'
)
NAMED_KEY = "<EncryptionKey><ds:KeyName>Pre-shared-key</ds:KeyName></EncryptionKey>"


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def container(*packages: str, head: str = "", attributes: str = 'Version="1.0"') -> bytes:
    inside = head + "".join(packages)
    return f'<?xml version="1.0"?>\n<KeyContainer {attributes} {NAMESPACES}>{inside}</KeyContainer>'.encode()


def package(*keys: str, serial: str = "987654321", manufacturer: str = "Manufacturer", info: str = "") -> str:
    named = f"<Manufacturer>{manufacturer}</Manufacturer>" if manufacturer else ""
    named += f"<SerialNo>{serial}</SerialNo>" if serial else ""
    return f"<KeyPackage><DeviceInfo>{named}{info}</DeviceInfo>{''.join(keys)}</KeyPackage>"


def key(
    secret: str | None = None,
    *,
    id: str = "12345678",
    algorithm: str = HOTP,
    response: str = '<ResponseFormat Length="8" Encoding="DECIMAL"/>',
    suite: str = "",
    data: str = "<Counter><PlainValue>0</PlainValue></Counter>",
    policy: str = "",
    rest: str = "",
) -> str:
    secret = plain() if secret is None else secret
    suite = f"<Suite>{suite}</Suite>" if suite else ""
    policy = f"<Policy>{policy}</Policy>" if policy else ""
    return (
        f'<Key Id="{id}" Algorithm="{algorithm}"><AlgorithmParameters>{suite}{response}</AlgorithmParameters>'
        f"<Data>{secret}{data}</Data>{policy}{rest}</Key>"
    )


def plain(secret: bytes = SECRET) -> str:
    return f"<Secret><PlainValue>{b64(secret)}</PlainValue></Secret>"


def cipher_data(octets: bytes, algorithm: str = AES128) -> str:
    return (
        f'<xenc:EncryptionMethod Algorithm="{algorithm}"/>'
        f"<xenc:CipherData><xenc:CipherValue>{b64(octets)}</xenc:CipherValue></xenc:CipherData>"
    )


def encrypted(octets: bytes, mac: bytes | None, *, name: str = "Secret", algorithm: str = AES128) -> str:
    value_mac = f"<ValueMAC>{b64(mac)}</ValueMAC>" if mac is not None else ""
    return f"<{name}><EncryptedValue>{cipher_data(octets, algorithm)}</EncryptedValue>{value_mac}</{name}>"


def mac_method(octets: bytes | None, algorithm: str = HMAC_SHA1) -> str:
    inside = f"<MACKey>{cipher_data(octets)}</MACKey>" if octets is not None else ""
    return f'<MACMethod Algorithm="{algorithm}">{inside}</MACMethod>'


def aes_cbc(clear: bytes, key: bytes = PRESHARED, iv: bytes = bytes(range(16)), fill: bytes | None = None) -> bytes:
    """IV and ciphertext. `fill`: the padding before its last octet (XML Encryption 5.2 leaves it open)."""
    length = 16 - len(clear) % 16
    padding = (bytes([length]) if fill is None else fill) * (length - 1) + bytes([length])
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return iv + encryptor.update(clear + padding) + encryptor.finalize()


def mac_of(octets: bytes, key: bytes = MAC_KEY) -> bytes:
    return hmac.digest(key, octets, "sha1")


def wrapped(clear: bytes, key: bytes = PRESHARED) -> bytes:
    return aes_key_wrap_with_padding(key, clear)


def sealed(secret: bytes = SECRET, name: str = "Secret") -> str:
    """A value as `HEAD` announces it."""
    return encrypted(aes_cbc(secret), mac_of(aes_cbc(secret)), name=name)


HEAD = NAMED_KEY + mac_method(aes_cbc(MAC_KEY))


def derived_key(salt: bytes, iterations: int | str, length: int | str = 16, prf: str = "") -> str:
    return (
        "<EncryptionKey><xenc11:DerivedKey><xenc11:KeyDerivationMethod "
        'Algorithm="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2"><xenc11:PBKDF2-params>'
        f"<Salt><Specified>{b64(salt)}</Specified></Salt><IterationCount>{iterations}</IterationCount>"
        f"<KeyLength>{length}</KeyLength>{prf}</xenc11:PBKDF2-params></xenc11:KeyDerivationMethod>"
        "<xenc11:MasterKeyName>My Password 1</xenc11:MasterKeyName></xenc11:DerivedKey></EncryptionKey>"
    )


def with_password(password: str, secret: bytes = SECRET, iterations: int = 1000) -> bytes:
    salt = bytes(range(8))
    derived = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, iterations, 16)
    head = derived_key(salt, iterations) + mac_method(aes_cbc(MAC_KEY, derived))
    value = aes_cbc(secret, derived)
    return container(package(key(encrypted(value, mac_of(value)))), head=head)


def read(octets: bytes, key: bytes | None = PRESHARED, password: str | None = "qwerty") -> Contents:
    return Pskc().read(octets, Unlock(lambda: key, lambda: password))


def items(octets: bytes, key: bytes | None = PRESHARED, password: str | None = "qwerty") -> tuple[Item, ...]:
    return read(octets, key, password).items


def only_seed(octets: bytes) -> Seed:
    (item,) = items(octets)
    assert isinstance(item, Seed), item
    return item


def only_bad(octets: bytes) -> BadRow:
    (item,) = items(octets)
    assert isinstance(item, BadRow), item
    return item


def only_skipped(octets: bytes) -> Skipped:
    (item,) = items(octets)
    assert isinstance(item, Skipped), item
    return item


def texts(contents: Contents) -> str:
    """All that people may see of it."""
    return repr(contents)


def never_asked() -> Unlock:
    """For files of which no key must be asked."""

    def ask() -> None:
        raise AssertionError("a key or password was asked for")

    return Unlock(ask, ask)


# --- The figures of RFC 6030, with their values ---

_FIGURE_6_MAC_KEY = base64.b64decode("ESIzRFVmd4iZABEiM0RVZgKn6WjLaTC1sbeBMSvIhRejN9vJa2BOlSaMrR7I5wSX")
_FIGURE_6_VALUE = base64.b64decode("AAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv")
_FIGURE_6_MAC = base64.b64decode("Su+NvtQfmvfJzF6bmQiJqoLRExc=")
_FIGURE_7_MAC_KEY = base64.b64decode("2GTTnLwM3I4e5IO5FkufoOEiOhNj91fhKRQBtBJYluUDsPOLTfUvoU2dStyOwYZx")
_FIGURE_7_VALUE = base64.b64decode("oTvo+S22nsmS2Z/RtcoF8Hfh+jzMe0RkiafpoDpnoZTjPYZu6V+A4aEn032yCr4f")
_FIGURE_7_MAC = base64.b64decode("LP6xMvjtypbfT9PdkJhBZ+D6O4w=")
_FIGURE_7_SALT = base64.b64decode("Ej7/PEpyEpw=")
_FIGURE_8_VALUE = base64.b64decode(
    "hJ+fvpoMPMO9BYpK2rdyQYGIxiATYHTHC7e/sPLKYo5/r1v+4xTYG3gJolCWuVMydJ7Ta0GaiBPHcWa8ctCVYmHKfSz5fdeV5nqbZApe6do"
    "fTqhRwZK6Yx4ufevi91cjN2vBpSxYafvN3c3+xIgk0EnTV4iVPRCR0rBwyfFrPc4="
)
_SIX_DIGITS = '<ResponseFormat Length="6" Encoding="DECIMAL"/>'
_PIN_POLICY = (
    '<PINPolicy MinLength="4" MaxLength="4" PINKeyId="123456781" PINEncoding="DECIMAL" PINUsageMode="Local"/>'
    "<KeyUsage>OTP</KeyUsage>"
)
_ELSEWHERE = "<KeyProfileId>keyProfile1</KeyProfileId><KeyReference>MasterKeyLabel\n</KeyReference>"


def figure_8() -> bytes:
    value = encrypted(_FIGURE_8_VALUE, None, algorithm="http://www.w3.org/2001/04/xmlenc#rsa_1_5")
    head = "<EncryptionKey><ds:X509Data><ds:X509Certificate>MIIB5zCC</ds:X509Certificate></ds:X509Data></EncryptionKey>"
    return container(package(key(value, id="MBK000000001", response=_SIX_DIGITS)), head=head)


def figure_10() -> bytes:
    of = [("654321", "1", "05-01", "05-31"), ("123456", "2", "05-01", "05-31")]
    of += [("9999999", "3", "03-01", "03-31"), ("9999999", "4", "04-01", "04-30")]
    return container(
        *(
            package(
                key(
                    f"<Secret><PlainValue>\n    {b64(SECRET)}\n  </PlainValue></Secret>",
                    id=id,
                    policy=f"<StartDate>2006-{start}T00:00:00Z</StartDate><ExpiryDate>2006-{end}T00:00:00Z</ExpiryDate>",
                ),
                serial=serial,
                manufacturer="TokenVendorAcme",
            )
            for serial, id, start, end in of
        )
    )


FIGURES: dict[int, Callable[[], bytes]] = {
    2: lambda: container(
        f'<KeyPackage><Key Id="12345678" Algorithm="{HOTP}"><Issuer>Issuer-A</Issuer><Data>'
        "<Secret><PlainValue>MTIzNA==\n</PlainValue></Secret></Data></Key></KeyPackage>"
    ),
    3: lambda: container(package(key(rest="<UserId>UID=jsmith,DC=example-bank,DC=net</UserId>"))),
    4: lambda: container(package(key("", policy="<KeyUsage>OTP</KeyUsage>", rest=_ELSEWHERE))),
    5: lambda: container(
        package(key(policy=_PIN_POLICY)),
        package(key(plain(b"1234"), id="123456781", algorithm=PIN, data="", response="")),
    ),
    6: lambda: container(
        package(key(encrypted(_FIGURE_6_VALUE, _FIGURE_6_MAC))), head=NAMED_KEY + mac_method(_FIGURE_6_MAC_KEY)
    ),
    7: lambda: container(
        package(key(encrypted(_FIGURE_7_VALUE, _FIGURE_7_MAC), id="123456", data="")),
        head=derived_key(_FIGURE_7_SALT, 1000, prf="<PRF/>") + mac_method(_FIGURE_7_MAC_KEY),
    ),
    8: figure_8,
    9: lambda: container(
        package(key(id="123", response=_SIX_DIGITS), serial="0755225266", manufacturer="TokenVendorAcme"),
        "<ds:Signature><ds:SignatureValue>j6lwx3rvEPO0vKtMup4NbeVu8nk=</ds:SignatureValue></ds:Signature>",
    ),
    10: figure_10,
}
