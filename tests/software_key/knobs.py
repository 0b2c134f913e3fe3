"""What a test can script on a software key: an honest key by default, every way of lying or failing by choice.

Rules: each knob may be turned while the key is in use, from any thread. The knobs for touching are looked at all the
time a touch is awaited; the others when the key makes its answer. Signatures cover what was made up, so that only the
check it is meant for can find a lie; `wrong_signature` is the exception.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from tests.software_key.log import Command

ES256, ES384, ES512, EDDSA, RS256 = -7, -35, -36, -8, -257
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


class Touch(Enum):
    AT_ONCE = auto()
    NEVER = auto()  # but `SoftwareKey.press` is a touch, whatever this says
    DENIED = auto()  # the answer is OPERATION_DENIED; over U2F the same as never


class Attestation(Enum):
    """How a new credential is vouched for; always in the packed format, except over U2F."""

    SELF = auto()
    CHAIN = auto()  # by the key's `authority`


class Fault(Enum):
    """What happens instead of an answer."""

    NONE = auto()
    MUTE = auto()  # nothing
    VANISH = auto()  # the key is pulled out, after the first packet of a longer answer
    GARBAGE = auto()  # packets on the right channel that mean nothing
    GARBAGE_CBOR = auto()  # a well framed answer that is no CBOR
    WRONG_CHANNEL = auto()
    ENDLESS_KEEPALIVE = auto()  # "processing", without end and without a look at cancels; in CTAP2 and U2F requests


@dataclass
class Knobs:
    # A finger.
    touch: Touch = Touch.AT_ONCE
    touch_after: float = 0.0
    patience: float = 30.0  # seconds until the key gives up waiting: USER_ACTION_TIMEOUT

    # What kind of key it is.
    algorithms: tuple[int, ...] = (ES256,)
    aaguid: bytes = bytes.fromhex("2f0a1c53a9d54c0e8b6b5f3c7a11d001")
    attestation: Attestation = Attestation.SELF
    certificate_aaguid: bytes | None = None  # the kind its certificate is for, if not the one it says it is
    pin_protocols: tuple[int, ...] = (2, 1)
    always_uv: bool = False
    always_uv_even_silent: bool = False  # with always_uv: silent probes are refused without a PIN, too
    make_credential_without_uv: bool = False  # with a PIN set, a credential that is not resident needs none
    cred_protect: bool = True  # False: the extension is not known
    cred_protect_kept: bool = True  # False: it is promised, and does nothing
    blink_without_credential: bool = True  # asks for a touch before it says that it knows none of the credentials

    # What it signs. A counter_step of 0 keeps the counter where it is.
    counter_step: int = 1
    flags_set: int = 0
    flags_cleared: int = 0
    wrong_signature: bool = False
    wrong_rp_hash: bool = False
    trailing: bytes = b""  # after the authenticator data, without any flag that announces it
    extensions: Mapping[str, Any] = field(default_factory=dict)  # outputs that nobody asked for

    # What it says beside that.
    user_handle: bytes | None = None
    credential_id: bytes | None = None  # the id in the answer to getAssertion

    # How it answers. `fault_at` names the requests that go wrong; none named means all.
    delay: float = 0.0
    rest_within: float = 5.0  # seconds for the rest of a message that has begun; real keys take 0.5
    fault: Fault = Fault.NONE
    fault_at: frozenset[Command] = frozenset()

    def fault_for(self, command: Command) -> Fault:
        return self.fault if not self.fault_at or command in self.fault_at else Fault.NONE
