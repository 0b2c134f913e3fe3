"""Each knob does what it says, and that alone: a lie is signed rightly, so that one check alone can find it."""

import errno
import select
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from fido2.client import ClientError
from fido2.cose import CoseKey
from fido2.ctap import CtapError
from fido2.ctap2.base import AssertionResponse, Ctap2
from fido2.ctap2.extensions import CredProtectExtension
from fido2.hid import ConnectionFailure, CtapHidDevice
from fido2.webauthn import AttestedCredentialData

from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ctaphid import connect, plugged
from tests.software_key.knobs import AT, BE, BS, ED, ES256, ES384, UP, UV, Fault, Touch
from tests.software_key.log import Command
from tests.software_key.memory import UV_REQUIRED, rp_hash
from tests.software_key.relying import REQUIRED, RP_ID, Person, Relying, cause_of

ERR = CtapError.ERR
MESSAGE = bytes(32)


@pytest.fixture
def credential(relying: Relying) -> AttestedCredentialData:
    return relying.credential()


def assertion(device: CtapHidDevice, credential: AttestedCredentialData, up: bool = True) -> AssertionResponse:
    """Its signature is right, whatever else is not."""
    known: list[Any] = [{"type": "public-key", "id": credential.credential_id}]
    answer = Ctap2(device).get_assertion(RP_ID, MESSAGE, known, options={"up": up})
    answer.verify(MESSAGE, CoseKey.parse(credential.public_key))
    return answer


def error_of(call: Callable[[], object]) -> int:
    with pytest.raises(CtapError) as raised:
        call()
    return raised.value.code


# --- What is signed


@pytest.mark.parametrize(
    ("on", "off", "flags"),
    [(0, 0, UP), (UV, 0, UP | UV), (0, UP, 0), (BE | BS, 0, UP | BE | BS), (BS, UP, BS)],
)
def test_flags(
    key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData, on: int, off: int, flags: int
) -> None:
    key.knobs.flags_set, key.knobs.flags_cleared = on, off
    assert assertion(device, credential).auth_data.flags == flags


def test_flags_of_a_new_credential(key: SoftwareKey, relying: Relying) -> None:
    key.knobs.flags_set = UV
    assert relying.register().flags == UP | UV | AT


def test_a_wrong_signature(key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData) -> None:
    key.knobs.wrong_signature = True
    with pytest.raises(InvalidSignature):
        assertion(device, credential)


def test_a_wrong_rp_hash(key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData) -> None:
    key.knobs.wrong_rp_hash = True
    assert assertion(device, credential).auth_data.rp_id_hash != rp_hash(RP_ID)


def test_extensions_that_nobody_asked_for(
    key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData
) -> None:
    key.knobs.extensions = {"surprise": True}
    data = assertion(device, credential).auth_data
    assert (data.flags, data.extensions) == (UP | ED, {"surprise": True})


def test_trailing_octets(key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData) -> None:
    """python-fido2 refuses them when it takes the answer apart."""
    key.knobs.trailing = b"more"
    with pytest.raises(ValueError, match="Wrong length"):
        assertion(device, credential)


def test_the_counter(key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData) -> None:
    def next_one() -> int:
        return assertion(device, credential).auth_data.counter

    first = next_one()
    assert next_one() == first + 1
    key.knobs.counter_step = 5
    assert next_one() == first + 6
    key.counter = 0
    assert next_one() == 5
    key.counter, key.knobs.counter_step = 0, 0
    assert (next_one(), next_one()) == (0, 0)


def test_the_counter_starts_where_it_is_told() -> None:
    key = SoftwareKey(counter=41)
    with plugged(key) as device:
        assert Relying(device).register().counter == 42


# --- What is said beside it


def test_another_user_handle(key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData) -> None:
    assert assertion(device, credential).user is None
    key.knobs.user_handle = b"somebody else"
    assert assertion(device, credential).user == {"id": b"somebody else"}


def test_another_credential_id(key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData) -> None:
    key.knobs.credential_id = b"another"
    assert assertion(device, credential).credential["id"] == b"another"


# --- What kind of key it is


def test_always_uv(key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData) -> None:
    key.set_pin("2468")
    key.knobs.always_uv = True
    assert error_of(lambda: assertion(device, credential)) == ERR.PUAT_REQUIRED
    assert assertion(device, credential, up=False).auth_data.flags == 0
    key.knobs.always_uv_even_silent = True
    assert error_of(lambda: assertion(device, credential, up=False)) == ERR.PUAT_REQUIRED
    assert Relying(device, Person("2468")).log_in([credential]).response.authenticator_data.is_user_verified()


@pytest.mark.parametrize("needless", [False, True])
def test_a_pin_for_new_credentials(key: SoftwareKey, device: CtapHidDevice, needless: bool) -> None:
    key.set_pin("2468")
    key.knobs.make_credential_without_uv = needless
    registered = Relying(device, Person("2468")).register()
    assert registered.is_user_verified() is not needless


def protected(relying: Relying) -> AttestedCredentialData:
    wanted = {"credentialProtectionPolicy": CredProtectExtension.POLICY.REQUIRED}
    credential = relying.register(extensions=wanted).credential_data
    assert credential is not None
    return credential


def test_a_protected_credential_hides_until_there_is_a_pin(key: SoftwareKey, device: CtapHidDevice) -> None:
    key.set_pin("2468")
    relying = Relying(device, Person("2468"))
    credential = protected(relying)
    assert key.credentials[0].protection == UV_REQUIRED
    assert error_of(lambda: assertion(device, credential, up=False)) == ERR.NO_CREDENTIALS
    assert relying.log_in([credential], uv=REQUIRED).raw_id == credential.credential_id


@pytest.mark.parametrize("knob", ["cred_protect", "cred_protect_kept"])
def test_protection_that_is_not_there(key: SoftwareKey, device: CtapHidDevice, knob: str) -> None:
    key.set_pin("2468")
    setattr(key.knobs, knob, False)
    credential = protected(Relying(device, Person("2468")))
    assert assertion(device, credential, up=False).auth_data.flags == 0


def test_no_algorithm_in_common(key: SoftwareKey, device: CtapHidDevice) -> None:
    key.knobs.algorithms = (ES384,)
    wanted: list[Any] = [{"type": "public-key", "alg": ES256}]
    error = error_of(
        lambda: Ctap2(device).make_credential(MESSAGE, {"id": RP_ID, "name": RP_ID}, {"id": b"alice"}, wanted)
    )
    assert (error, key.blinks) == (ERR.UNSUPPORTED_ALGORITHM, 0)


@pytest.mark.parametrize(("knob", "blinks"), [(True, 1), (False, 0)])
def test_whether_a_key_without_the_credential_blinks(
    key: SoftwareKey, device: CtapHidDevice, knob: bool, blinks: int
) -> None:
    key.knobs.blink_without_credential = knob
    assert error_of(lambda: Ctap2(device).get_assertion(RP_ID, MESSAGE)) == ERR.NO_CREDENTIALS
    assert key.blinks == blinks


def test_selection_and_reset_want_a_touch(key: SoftwareKey, device: CtapHidDevice, relying: Relying) -> None:
    key.set_pin("2468")
    Ctap2(device).selection()
    Ctap2(device).reset()
    assert (key.blinks, key.credentials, Ctap2(device).info.options["clientPin"]) == (2, [], False)


def test_unknown_commands_and_missing_parameters(device: CtapHidDevice) -> None:
    assert error_of(lambda: Ctap2(device).send_cbor(0x3F)) == ERR.INVALID_COMMAND
    assert error_of(lambda: Ctap2(device).send_cbor(Ctap2.CMD.GET_ASSERTION, {1: RP_ID})) == ERR.MISSING_PARAMETER
    assert error_of(lambda: Ctap2(device).send_cbor(Ctap2.CMD.GET_NEXT_ASSERTION)) == ERR.NOT_ALLOWED


def test_further_assertions_follow_at_once_or_not_at_all(device: CtapHidDevice, relying: Relying) -> None:
    for name in ("alice", "bob", "carol"):
        relying.register(name, resident=True)
    ctap = Ctap2(device)
    assert ctap.get_assertion(RP_ID, MESSAGE).number_of_credentials == 3
    assert ctap.get_next_assertion().user == {"id": b"handle of bob"}
    ctap.get_info()
    assert error_of(ctap.get_next_assertion) == ERR.NOT_ALLOWED


def test_a_resident_credential_takes_the_place_of_the_same_users(key: SoftwareKey, relying: Relying) -> None:
    for name in ("alice", "bob", "alice"):
        relying.register(name, resident=True)
    relying.register("alice")
    assert [kept.user["name"] for kept in key.credentials] == ["bob", "alice", "alice"]


# --- Touching, while it is in use


def test_touch_is_looked_at_while_it_waits(key: SoftwareKey, relying: Relying) -> None:
    key.knobs.touch = Touch.NEVER
    with ThreadPoolExecutor(1) as threads:
        registering = threads.submit(relying.register)
        key.wait_for_blink()
        key.knobs.touch = Touch.DENIED
        error = registering.exception(15)
    assert isinstance(error, ClientError)
    assert cause_of(error) == ERR.OPERATION_DENIED


def test_a_touch_comes_later(key: SoftwareKey, relying: Relying) -> None:
    key.knobs.touch_after = 0.05
    assert relying.register().is_user_present()
    assert relying.person.told_to_touch == 1


def test_a_touch_before_the_blink_is_lost(key: SoftwareKey, relying: Relying) -> None:
    key.press()
    key.knobs.touch, key.knobs.patience = Touch.NEVER, 0.0
    with pytest.raises(ClientError) as ended:
        relying.register()
    assert cause_of(ended.value) == ERR.USER_ACTION_TIMEOUT


# --- Faults


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.WRONG_CHANNEL, ConnectionFailure),
        (Fault.GARBAGE, CtapError),
        (Fault.GARBAGE_CBOR, ValueError),
        (Fault.VANISH, OSError),
    ],
)
def test_faults(
    key: SoftwareKey, device: CtapHidDevice, credential: AttestedCredentialData, fault: Fault, error: type[Exception]
) -> None:
    key.knobs.fault, key.knobs.fault_at = fault, frozenset({Command.GET_ASSERTION})
    with pytest.raises(error) as raised:
        assertion(device, credential)
    assert not isinstance(raised.value, OSError) or raised.value.errno == errno.EIO


def test_a_key_that_is_gone_is_not_written_to(key: SoftwareKey, device: CtapHidDevice) -> None:
    key.knobs.fault = Fault.VANISH
    with pytest.raises(OSError, match="gone"):
        device.ping()
    with pytest.raises(OSError, match="gone") as raised:
        device.ping()
    assert raised.value.errno == errno.ENODEV


def test_a_mute_key_takes_everything(key: SoftwareKey) -> None:
    key.knobs.fault = Fault.MUTE
    connection = connect(key)
    init = bytes.fromhex("ffffffff860008") + bytes(57)
    connection.write_packet(init)
    connection.write_packet(init)
    key.log.wait_until(lambda: len(key.log.of(Command.INIT)) == 2)
    assert select.select([connection], [], [], 0.2)[0] == []
    connection.close()


def test_endless_keepalives_do_not_mind_a_cancel(key: SoftwareKey) -> None:
    key.knobs.fault = Fault.ENDLESS_KEEPALIVE
    connection = connect(key)
    connection.write_packet(bytes.fromhex("ffffffff860008") + bytes(57))
    channel = connection.read_packet()[15:19]
    connection.write_packet((channel + bytes.fromhex("90000104")).ljust(64, b"\0"))
    connection.write_packet((channel + bytes.fromhex("910000")).ljust(64, b"\0"))
    key.wait_for_cancel()
    heard = [connection.read_packet()[:8] for _ in range(3)]
    assert heard == [channel + bytes.fromhex("bb000101")] * 3
    connection.close()
    key.knobs.fault = Fault.NONE
    with plugged(key) as device:
        assert Ctap2(device).info.versions
