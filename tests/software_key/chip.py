"""The inside of a software key, which its protocols share: CTAP2 in `credentials`, U2F in `u2f`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fido2 import cbor

from tests.software_key.attestation import Attester, Authority
from tests.software_key.finger import Finger
from tests.software_key.knobs import ED, Knobs
from tests.software_key.log import Log
from tests.software_key.memory import Credential, Memory
from tests.software_key.pins import Pins
from tests.software_key.signing import KeyPair


@dataclass
class Chip:
    authority: Authority
    memory: Memory
    versions: tuple[str, ...]
    knobs: Knobs = field(default_factory=Knobs)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        self.finger = Finger(self.knobs, self.log)
        self.pins = Pins(self.knobs)
        self.more: list[Credential] = []  # what getNextAssertion is to answer with
        self.more_message = b""
        self.more_flags = 0

    def power_cycle(self) -> None:
        self.pins.power_cycle()
        self.more = []

    def flags(self, honest: int) -> int:
        return (honest | self.knobs.flags_set) & ~self.knobs.flags_cleared

    def rp_hash(self, honest: bytes) -> bytes:
        return hashlib.sha256(honest).digest() if self.knobs.wrong_rp_hash else honest

    def authenticator_data(self, rp: bytes, flags: int, attested: bytes, extensions: Mapping[str, Any]) -> bytes:
        """WebAuthn 6.1, with what the knobs make of it."""
        outputs = {**extensions, **self.knobs.extensions}
        flags = self.flags(flags | (ED if outputs else 0))
        counter = self.memory.count(self.knobs.counter_step).to_bytes(4, "big")
        head = self.rp_hash(rp) + bytes([flags]) + counter
        return head + attested + (cbor.encode(outputs) if outputs else b"") + self.knobs.trailing

    def attester(self) -> Attester:
        return self.authority.attester(self.knobs.certificate_aaguid or self.knobs.aaguid)

    def sign(self, pair: KeyPair, message: bytes) -> bytes:
        """A wrong signature is a well formed one of the right key, over something else."""
        return pair.sign(b"not " + message if self.knobs.wrong_signature else message)
