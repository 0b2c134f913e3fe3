"""A key that knows U2F alone, with python-fido2's Ctap1 and with its client."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fido2.client import ClientError
from fido2.ctap1 import APDU, ApduError, Ctap1
from fido2.hid import CAPABILITY, CtapHidDevice

from tests.software_key.authenticator import CTAP2, U2F, SoftwareKey
from tests.software_key.ctaphid import plugged
from tests.software_key.knobs import Touch
from tests.software_key.log import Command
from tests.software_key.memory import rp_hash
from tests.software_key.relying import REQUIRED, RP_ID, Relying

MESSAGE, APP = bytes(32), rp_hash(RP_ID)


@pytest.fixture
def key() -> SoftwareKey:
    return SoftwareKey(versions=U2F)


@pytest.fixture
def ctap1(device: CtapHidDevice) -> Ctap1:
    return Ctap1(device)


def test_it_says_what_it_is(device: CtapHidDevice, ctap1: Ctap1) -> None:
    assert ctap1.get_version() == "U2F_V2"
    assert not device.capabilities & (CAPABILITY.CBOR | CAPABILITY.NMSG)


def test_register_and_authenticate(key: SoftwareKey, ctap1: Ctap1) -> None:
    registered = ctap1.register(MESSAGE, APP)
    registered.verify(APP, MESSAGE)
    signed = ctap1.authenticate(MESSAGE, APP, registered.key_handle)
    signed.verify(APP, MESSAGE, registered.public_key)
    assert (signed.user_presence, signed.counter, key.blinks) == (1, 1, 2)


def test_check_only_tells_without_a_blink(key: SoftwareKey, ctap1: Ctap1) -> None:
    handle = ctap1.register(MESSAGE, APP).key_handle
    with pytest.raises(ApduError) as known:
        ctap1.authenticate(MESSAGE, APP, handle, check_only=True)
    with pytest.raises(ApduError) as unknown:
        ctap1.authenticate(MESSAGE, APP, b"other", check_only=True)
    assert (known.value.code, unknown.value.code) == (APDU.USE_NOT_SATISFIED, APDU.WRONG_DATA)
    assert key.blinks == 1
    assert [seen.up for seen in key.log.of(Command.U2F_AUTHENTICATE)] == [False, False]


def test_repeated_requests_are_one_blink(key: SoftwareKey, ctap1: Ctap1) -> None:
    key.knobs.touch = Touch.NEVER
    for _ in range(3):
        with pytest.raises(ApduError) as untouched:
            ctap1.register(MESSAGE, APP)
        assert untouched.value.code == APDU.USE_NOT_SATISFIED
    assert key.blinks == 1
    key.press()
    assert ctap1.register(MESSAGE, APP).key_handle == key.credentials[0].id


def test_with_the_client(key: SoftwareKey, relying: Relying) -> None:
    credential = relying.credential()
    assert relying.log_in([credential]).raw_id == credential.credential_id
    with pytest.raises(ClientError) as impossible:
        relying.log_in([credential], uv=REQUIRED)
    assert impossible.value.code == ClientError.ERR.CONFIGURATION_UNSUPPORTED


def test_the_client_stops_asking_when_told(key: SoftwareKey, relying: Relying) -> None:
    credential = relying.credential()
    key.knobs.touch = Touch.NEVER
    event = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        login = threads.submit(relying.log_in, [credential], event=event)
        key.wait_for_blink(2)
        event.set()
        error = login.exception(15)
    assert isinstance(error, ClientError)
    assert error.code == ClientError.ERR.TIMEOUT


@pytest.fixture
def both() -> Iterator[tuple[SoftwareKey, CtapHidDevice]]:
    key = SoftwareKey(versions=CTAP2 + U2F)
    with plugged(key) as device:
        yield key, device


def test_a_key_with_both_uses_a_credential_either_way(both: tuple[SoftwareKey, CtapHidDevice]) -> None:
    _, device = both
    registered = Ctap1(device).register(MESSAGE, APP)
    relying = Relying(device)
    credential = relying.credential()
    signed = Ctap1(device).authenticate(MESSAGE, APP, credential.credential_id)
    assert (signed.user_presence, len(registered.key_handle)) == (1, 48)
