"""From a key or a password to a value whose MAC was checked.

Rules: a key or password is asked for once, when the first value needs it. A value that CBC encrypts must carry a MAC,
and the MAC is looked at before the value is given to anybody, in constant time; key wrap checks itself. The MAC is over
what is encrypted (RFC 6030 6.3), or, as drafts and their makers have it, over the value itself. Where nothing at all
fits, the key or password is wrong, which is said about the file; where some values fit, what does not was changed,
which is said about it. How often a password is hashed is bounded, because the file says how often. No secret is in any
text here.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from store.formats.pskc import ciphers
from store.formats.pskc.fields import FieldError
from store.formats.reading import Unlock
from validation.errors import BadInput
from validation.messages import printable

if TYPE_CHECKING:
    from pskc import PSKC
    from pskc.key import EncryptedValue

MOST_ITERATIONS = 10_000_000  # some seconds
LEAST_SALT, MOST_SALT = 8, 1024  # octets; RFC 8018 4.1 asks for eight
MOST_DERIVED_OCTETS = 64
_HMAC = re.compile(r"(?:.*#)?hmac-(sha1|sha224|sha256|sha384|sha512)")
_DRAFT_MAC = "hmac-sha1"  # what a draft without a MACAlgorithm means
_WRONG = "the {what} is wrong, or the file was changed: no value in it could be opened with it"


class Opener:
    def __init__(self, header: "PSKC", unlock: Unlock, draft: bool) -> None:
        self.facts: list[str] = []
        self._header = header
        self._unlock = unlock
        self._draft = draft
        self._key: bytes | None = None
        self._mac_key: bytes | None = None
        self._opened = 0
        self._refused = 0
        self._by_password = False

    def open(self, field: str, value: "EncryptedValue") -> bytes:
        """Raises FieldError for this value, BadInput for the file."""
        algorithm = self._algorithm(field, value.algorithm)
        if not value.cipher_value:
            raise FieldError(field, "encrypted, and the CipherValue is missing")
        if not algorithm.checks_itself and not value.mac_value:
            raise FieldError(field, "the MAC is missing: the value may have been changed by anybody (RFC 6030 6.3)")
        key = self._key_for(algorithm)
        try:
            clear = self._checked(algorithm, key, value)
        except ciphers.NotOpened:
            self._refused += 1
            text = "cannot be opened: the value was changed, or is encrypted with another key"
            raise FieldError(field, text if algorithm.checks_itself else f"the MAC does not match; it {text}") from None
        self._opened += 1
        return clear

    def finish(self) -> None:
        """At the end of the file: was it the key that was wrong? Raises BadInput."""
        if self._refused and not self._opened:
            raise BadInput(_WRONG.format(what=self._what()))

    def _algorithm(self, field: str, uri: str | None) -> ciphers.Algorithm:
        named = uri or self._header.encryption.algorithm
        found = ciphers.algorithm_of(named)
        if found is None:
            how = f" with {printable(named, 80)}" if named else ", and the file does not say how"
            raise FieldError(field, f"encrypted{how}; AES and 3DES with a key or password can be read")
        return found

    def _checked(self, algorithm: ciphers.Algorithm, key: bytes, value: "EncryptedValue") -> bytes:
        """The MAC over the ciphertext, where there is one; else over the clear value."""
        iv = self._header.encryption.iv
        if not value.mac_value:
            self._say(f"encrypted with {algorithm.title}, which checks itself")
            return ciphers.decrypt(algorithm, key, value.cipher_value, iv)
        mac = self._mac(key)
        if hmac.compare_digest(mac(value.cipher_value), value.mac_value):
            self._say(f"encrypted with {algorithm.title}, MAC verified")
            return ciphers.decrypt(algorithm, key, value.cipher_value, iv)
        clear = ciphers.decrypt(algorithm, key, value.cipher_value, iv)
        if not hmac.compare_digest(mac(clear), value.mac_value):
            raise ciphers.NotOpened
        self._say(f"encrypted with {algorithm.title}, MAC verified (over the values themselves, as in drafts)")
        return clear

    def _mac(self, key: bytes) -> Callable[[bytes], bytes]:
        named = self._header.mac.algorithm or (_DRAFT_MAC if self._draft else None)
        if named is None:
            raise BadInput("MACMethod: missing, so no MAC in the file can be checked (RFC 6030 6.3)")
        found = _HMAC.fullmatch(named)
        if found is None:
            raise BadInput(f"MACMethod: {printable(named, 80)} is not known; HMAC with SHA-1 or SHA-2 is")
        if self._mac_key is None:
            self._mac_key = self._find_mac_key(key)
        mac_key, name = self._mac_key, found.group(1)
        return lambda octets: hmac.digest(mac_key, octets, name)

    def _find_mac_key(self, key: bytes) -> bytes:
        """The one in the file, or, as in drafts, the key of the values."""
        held: EncryptedValue | None = getattr(self._header.mac, "_key", None)
        if held is None:
            self._say("the key of the MAC is that of the values, as in drafts")
            return key
        try:
            algorithm = self._algorithm("MACKey", held.algorithm)
        except FieldError as error:
            raise BadInput(str(error)) from None
        if not held.cipher_value:
            raise BadInput("MACKey: the CipherValue is missing")
        if len(key) not in algorithm.key_lengths:
            raise BadInput("MACKey: encrypted with a key of another length than the values")
        try:
            return ciphers.decrypt(algorithm, key, held.cipher_value, self._header.encryption.iv)
        except ciphers.NotOpened:
            raise BadInput(_WRONG.format(what=self._what())) from None

    def _key_for(self, algorithm: ciphers.Algorithm) -> bytes:
        if self._key is None:
            self._key = self._derived(algorithm) if self._header.encryption.derivation.algorithm else self._given()
        if len(self._key) not in algorithm.key_lengths:
            right = " or ".join(str(length) for length in algorithm.key_lengths)
            raise BadInput(
                f"the {self._what()} gives a key of {len(self._key)} octets, and {algorithm.title} needs {right}"
            )
        return self._key

    def _what(self) -> str:
        return "password" if self._by_password else "key"

    def _given(self) -> bytes:
        found = self._unlock.key()
        if not found:
            name = self._header.encryption.key_name
            called = f" ({printable(name, 80)})" if name else ""
            raise BadInput(f"the file is encrypted with a key{called}, and none was given; its maker sends it apart")
        return found

    def _derived(self, algorithm: ciphers.Algorithm) -> bytes:
        self._by_password = True
        self._check_derivation(algorithm)
        password = self._unlock.password()
        if not password:
            raise BadInput("the file is encrypted with a password, and none was given; its maker sends it apart")
        derivation = self._header.encryption.derivation
        self._say(f"key from a password by PBKDF2, {derivation.pbkdf2_iterations:,} iterations")
        try:
            return derivation.derive_pbkdf2(password.encode())
        except UnicodeEncodeError:
            raise BadInput("the password is no UTF-8") from None

    def _check_derivation(self, algorithm: ciphers.Algorithm) -> None:
        """Before a password is asked for, and before its hashing can take for ever. Raises BadInput."""
        derivation = self._header.encryption.derivation
        if not (derivation.algorithm or "").endswith("#pbkdf2"):
            raise BadInput(f"KeyDerivationMethod: {printable(str(derivation.algorithm), 80)} is not known; PBKDF2 is")
        iterations, salt = derivation.pbkdf2_iterations, derivation.pbkdf2_salt
        if not iterations or not salt:
            raise BadInput("KeyDerivationMethod: Salt or IterationCount is missing")
        if not 0 < iterations <= MOST_ITERATIONS:
            raise BadInput(f"IterationCount: {iterations} is not possible; at most {MOST_ITERATIONS:,} are")
        if not LEAST_SALT <= len(salt) <= MOST_SALT:
            raise BadInput(f"Salt: {len(salt)} octets are not possible; {LEAST_SALT} to {MOST_SALT} are")
        length = derivation.pbkdf2_key_length = derivation.pbkdf2_key_length or algorithm.key_lengths[0]
        if not 0 < length <= MOST_DERIVED_OCTETS:
            raise BadInput(f"KeyLength: {length} octets are not possible; at most {MOST_DERIVED_OCTETS} are")
        prf = derivation.pbkdf2_prf or _DRAFT_MAC
        known = _HMAC.fullmatch(prf)
        if known is None or known.group(1) not in hashlib.algorithms_available:
            raise BadInput(f"PRF: {printable(prf, 80)} is not known; HMAC with SHA-1 or SHA-2 is")

    def _say(self, fact: str) -> None:
        if fact not in self.facts:
            self.facts.append(fact)
