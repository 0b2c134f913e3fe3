"""An unmodified Fido2Client and Fido2Server with a software key over CTAPHID, in this process."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fido2.client import ClientError
from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2
from fido2.hid import CtapHidDevice

from tests.software_key.authenticator import SoftwareKey
from tests.software_key.knobs import EDDSA, ES256, ES384, RS256, Touch
from tests.software_key.log import Command
from tests.software_key.relying import REQUIRED, RP_ID, Person, Relying, cause_of

ERR = CtapError.ERR


def test_a_key_is_registered_and_used(key: SoftwareKey, relying: Relying) -> None:
    credential = relying.credential()
    response = relying.log_in([credential])
    assert (credential.credential_id, credential.aaguid) == (key.credentials[0].id, key.knobs.aaguid)
    assert response.response.authenticator_data.counter == key.counter
    assert (key.blinks, relying.person.told_to_touch) == (2, 2)


@pytest.mark.parametrize("algorithm", [ES256, ES384, EDDSA, RS256])
def test_each_algorithm(key: SoftwareKey, relying: Relying, algorithm: int) -> None:
    key.knobs.algorithms = (algorithm,)
    credential = relying.credential()
    relying.log_in([credential])
    assert credential.public_key[3] == algorithm


def test_an_excluded_key_is_refused_after_a_touch(key: SoftwareKey, relying: Relying) -> None:
    credential = relying.credential()
    with pytest.raises(ClientError) as refused:
        relying.register(known=[credential])
    assert (cause_of(refused.value), key.blinks) == (ERR.CREDENTIAL_EXCLUDED, 2)
    assert len(key.credentials) == 1


def test_a_silent_probe_does_not_blink(key: SoftwareKey, device: CtapHidDevice, relying: Relying) -> None:
    credential = relying.credential()
    known: list[Mapping[str, Any]] = [{"type": "public-key", "id": credential.credential_id}]
    answer = Ctap2(device).get_assertion(RP_ID, bytes(32), known, options={"up": False})
    assert (answer.auth_data.flags, key.blinks) == (0, 1)
    with pytest.raises(CtapError) as unknown:
        Ctap2(device).get_assertion(RP_ID, bytes(32), [{"type": "public-key", "id": b"other"}], options={"up": False})
    assert (unknown.value.code, key.blinks) == (ERR.NO_CREDENTIALS, 1)
    assert [seen.up for seen in key.log.of(Command.GET_ASSERTION)] == [False, False]


def test_a_resident_key_knows_its_user(key: SoftwareKey, relying: Relying) -> None:
    credentials = [relying.register(name, resident=True).credential_data for name in ("alice", "bob")]
    known = [credential for credential in credentials if credential is not None]
    response = relying.log_in([], verify_with=known)
    assert response.response.user_handle == b"handle of bob", "the newest comes first"
    assert len(key.log.of(Command.GET_NEXT_ASSERTION)) == 1


def test_a_waiting_key_is_cancelled_by_an_event(key: SoftwareKey, relying: Relying) -> None:
    credential = relying.credential()
    key.knobs.touch = Touch.NEVER
    event = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        login = threads.submit(relying.log_in, [credential], event=event)
        key.wait_for_blink(2)
        event.set()
        error = login.exception(15)
    assert isinstance(error, ClientError)
    assert (error.code, cause_of(error), key.cancels) == (ClientError.ERR.TIMEOUT, ERR.KEEPALIVE_CANCEL, 1)
    key.knobs.touch = Touch.AT_ONCE
    assert relying.log_in([credential]).raw_id == credential.credential_id, "the key is usable afterwards"


def test_a_press_is_a_touch(key: SoftwareKey, relying: Relying) -> None:
    credential = relying.credential()
    key.knobs.touch = Touch.NEVER
    with ThreadPoolExecutor(1) as threads:
        login = threads.submit(relying.log_in, [credential])
        key.wait_for_blink(2)
        assert not login.done()
        key.press()
        assert login.result(15).raw_id == credential.credential_id


def test_the_timeout_of_the_options_ends_the_wait(key: SoftwareKey, relying: Relying) -> None:
    credential = relying.credential()
    key.knobs.touch = Touch.NEVER
    with pytest.raises(ClientError) as ended:
        relying.log_in([credential], milliseconds=50)
    assert (ended.value.code, key.cancels) == (ClientError.ERR.TIMEOUT, 1)


@pytest.mark.parametrize(
    ("touch", "patience", "error"),
    [(Touch.DENIED, 30.0, ERR.OPERATION_DENIED), (Touch.NEVER, 0.0, ERR.USER_ACTION_TIMEOUT)],
)
def test_no_touch(key: SoftwareKey, relying: Relying, touch: Touch, patience: float, error: int) -> None:
    key.knobs.touch, key.knobs.patience = touch, patience
    with pytest.raises(ClientError) as refused:
        relying.register()
    assert (cause_of(refused.value), key.credentials) == (error, [])


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_pin_verifies_the_user(key: SoftwareKey, device: CtapHidDevice, protocol: int) -> None:
    key.set_pin("2468")
    key.knobs.pin_protocols = (protocol,)
    relying = Relying(device, Person("2468"))
    registered = relying.register(uv=REQUIRED)
    assert registered.credential_data is not None
    response = relying.log_in([registered.credential_data], uv=REQUIRED)
    assert registered.is_user_verified()
    assert response.response.authenticator_data.is_user_verified()


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_wrong_pin_costs_one_retry(key: SoftwareKey, device: CtapHidDevice, protocol: int) -> None:
    key.set_pin("2468")
    key.knobs.pin_protocols = (protocol,)
    with pytest.raises(ClientError) as refused:
        Relying(device, Person("1357")).register(uv=REQUIRED)
    assert (cause_of(refused.value), key.pin_retries, key.blinks) == (ERR.PIN_INVALID, 7, 0)
    Relying(device, Person("2468")).register(uv=REQUIRED)
    assert key.pin_retries == 8
