"""W3C Web Authentication Level 3, section "Test Vectors": 15 registrations, each with an assertion (numbers only).

The octets stand in `webauthn_w3c.json`. Names say the attestation format and the algorithm of the credential, or what
else is particular to a vector. The section prints the RP and the origin once, for all of them.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

RP_ID = "example.org"
ORIGIN = "https://example.org"


class Registration(NamedTuple):
    challenge: bytes
    client_data: bytes  # clientDataJSON
    attestation_object: bytes


class Assertion(NamedTuple):
    challenge: bytes
    client_data: bytes
    authenticator_data: bytes
    signature: bytes


class Vector(NamedTuple):
    name: str
    algorithm: int  # COSE
    registration: Registration
    assertion: Assertion


def _vector(row: dict[str, Any]) -> Vector:
    registration = {name: bytes.fromhex(octets) for name, octets in row["registration"].items()}
    assertion = {name: bytes.fromhex(octets) for name, octets in row["assertion"].items()}
    return Vector(row["name"], row["algorithm"], Registration(**registration), Assertion(**assertion))


W3C = [_vector(row) for row in json.loads(Path(__file__).with_name("webauthn_w3c.json").read_text())["vectors"]]
