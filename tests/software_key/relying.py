"""The other side for the key's own tests: python-fido2's client and server, unmodified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, TypedDict, Unpack

from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.ctap import CtapError
from fido2.ctap2.pin import ClientPin
from fido2.hid import CtapHidDevice
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorData,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

RP_ID = "login.example.org"
ORIGIN = f"pam://{RP_ID}"
DISCOURAGED, REQUIRED = UserVerificationRequirement.DISCOURAGED, UserVerificationRequirement.REQUIRED


def cause_of(error: ClientError) -> int | None:
    """What the key said."""
    return error.cause.code if isinstance(error.cause, CtapError) else None


class Wanted(TypedDict, total=False):
    """Of a registration; nothing of it by default."""

    known: Sequence[AttestedCredentialData]
    uv: UserVerificationRequirement
    resident: bool
    extensions: Mapping[str, Any]


@dataclass
class Person(UserInteraction):
    """Types `pin` when asked for one, and counts how often he was told to touch."""

    pin: str | None = None
    told_to_touch: int = field(default=0)

    def prompt_up(self) -> None:
        self.told_to_touch += 1

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str | None:
        return self.pin


@dataclass
class Relying:
    """A relying party and its client at one device."""

    device: CtapHidDevice
    person: Person = field(default_factory=Person)
    rp_id: str = RP_ID

    def __post_init__(self) -> None:
        self.server = Fido2Server(
            PublicKeyCredentialRpEntity(id=self.rp_id, name="Example"), verify_origin=lambda origin: origin == ORIGIN
        )

    def client(self) -> Fido2Client:
        collector = DefaultClientDataCollector(ORIGIN, verify=lambda rp_id, origin: origin == ORIGIN)
        return Fido2Client(self.device, collector, self.person)

    def register(self, name: str = "alice", **wanted: Unpack[Wanted]) -> AuthenticatorData:
        response, state = self.response_to_register(name, **wanted)
        return self.server.register_complete(state, response)

    def response_to_register(
        self, name: str = "alice", **wanted: Unpack[Wanted]
    ) -> tuple[RegistrationResponse, dict[str, Any]]:
        resident = ResidentKeyRequirement.REQUIRED if wanted.get("resident") else ResidentKeyRequirement.DISCOURAGED
        options, state = self.server.register_begin(
            PublicKeyCredentialUserEntity(id=b"handle of " + name.encode(), name=name, display_name=name),
            credentials=wanted.get("known", ()),
            resident_key_requirement=resident,
            user_verification=wanted.get("uv", DISCOURAGED),
            extensions=wanted.get("extensions"),
        )
        return self.client().make_credential(options.public_key), state

    def credential(self, name: str = "alice") -> AttestedCredentialData:
        credential = self.register(name).credential_data
        assert credential is not None
        return credential

    def log_in(
        self,
        known: Sequence[AttestedCredentialData],
        *,
        uv: UserVerificationRequirement = DISCOURAGED,
        event: Event | None = None,
        milliseconds: int | None = None,
        verify_with: Sequence[AttestedCredentialData] = (),
    ) -> AuthenticationResponse:
        """With nothing known the key has to know by itself; then `verify_with` verifies."""
        options, state = self.server.authenticate_begin(known or None, user_verification=uv)
        wanted = replace(options.public_key, timeout=milliseconds)
        response = self.client().get_assertion(wanted, event=event).get_response(0)
        self.server.authenticate_complete(state, known or verify_with, response)
        return response
