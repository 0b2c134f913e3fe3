"""The PIN of the key: retries, blocks, and what a token is good for. The other side is python-fido2's ClientPin."""

from collections.abc import Callable

import pytest
from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin, PinProtocol, PinProtocolV1, PinProtocolV2
from fido2.hid import CtapHidDevice

from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ctaphid import plugged
from tests.software_key.pins import RETRIES
from tests.software_key.relying import RP_ID

ERR = CtapError.ERR
PIN = "2468"
ASSERT, MAKE = ClientPin.PERMISSION.GET_ASSERTION, ClientPin.PERMISSION.MAKE_CREDENTIAL
MESSAGE = bytes(32)


@pytest.fixture(params=[PinProtocolV1, PinProtocolV2])
def pins(request: pytest.FixtureRequest, device: CtapHidDevice) -> ClientPin:
    return ClientPin(Ctap2(device), request.param())


def error_of(call: Callable[[], object]) -> int:
    with pytest.raises(CtapError) as raised:
        call()
    return raised.value.code


def assertion(pins: ClientPin, token: bytes, rp_id: str = RP_ID, up: bool = True) -> Callable[[], object]:
    proof = pins.protocol.authenticate(token, MESSAGE)
    version = pins.protocol.VERSION
    return lambda: pins.ctap.get_assertion(
        rp_id, MESSAGE, options={"up": up}, pin_uv_param=proof, pin_uv_protocol=version
    )


def test_a_pin_is_set_once_and_changed_by_who_knows_it(key: SoftwareKey, pins: ClientPin) -> None:
    pins.set_pin(PIN)
    assert error_of(lambda: pins.set_pin("97531")) == ERR.PIN_AUTH_INVALID
    assert error_of(lambda: pins.change_pin("1357", "97531")) == ERR.PIN_INVALID
    pins.change_pin(PIN, "97531")
    assert pins.get_pin_token("97531", ASSERT, RP_ID)
    assert key.pin_retries == RETRIES


def test_three_wrong_ones_block_until_it_is_plugged_in_anew(key: SoftwareKey, pins: ClientPin) -> None:
    key.set_pin(PIN)
    errors = [error_of(lambda: pins.get_pin_token("1357", ASSERT, RP_ID)) for _ in range(3)]
    assert errors == [ERR.PIN_INVALID, ERR.PIN_INVALID, ERR.PIN_AUTH_BLOCKED]
    assert error_of(lambda: pins.get_pin_token(PIN, ASSERT, RP_ID)) == ERR.PIN_AUTH_BLOCKED
    assert pins.get_pin_retries() == (5, True)
    key.power_cycle()
    assert pins.get_pin_token(PIN, ASSERT, RP_ID)
    assert pins.get_pin_retries() == (RETRIES, False)


def test_plugging_it_in_takes_the_block_away(key: SoftwareKey, pins: ClientPin) -> None:
    key.set_pin(PIN)
    for _ in range(3):
        error_of(lambda: pins.get_pin_token("1357", ASSERT, RP_ID))
    with plugged(key) as device:
        assert ClientPin(Ctap2(device)).get_pin_retries() == (5, False)


def test_the_eighth_wrong_one_blocks_for_good(key: SoftwareKey, pins: ClientPin) -> None:
    key.set_pin(PIN)
    for left in range(RETRIES - 1, 0, -1):
        key.power_cycle()
        assert error_of(lambda: pins.get_pin_token("1357", ASSERT, RP_ID)) == ERR.PIN_INVALID
        assert key.pin_retries == left
    assert error_of(lambda: pins.get_pin_token("1357", ASSERT, RP_ID)) == ERR.PIN_BLOCKED
    key.power_cycle()
    assert error_of(lambda: pins.get_pin_token(PIN, ASSERT, RP_ID)) == ERR.PIN_BLOCKED


def test_without_a_pin_there_is_no_token(pins: ClientPin) -> None:
    assert error_of(lambda: pins.get_pin_token(PIN, ASSERT, RP_ID)) == ERR.PIN_NOT_SET


def test_a_token_holds_for_its_rp_and_permission(key: SoftwareKey, pins: ClientPin) -> None:
    key.set_pin(PIN)
    token = pins.get_pin_token(PIN, ASSERT, "elsewhere.example.org")
    assert error_of(assertion(pins, token)) == ERR.PIN_AUTH_INVALID
    token = pins.get_pin_token(PIN, MAKE, RP_ID)
    assert error_of(assertion(pins, token)) == ERR.PIN_AUTH_INVALID
    token = pins.get_pin_token(PIN, ASSERT, RP_ID)
    assert error_of(assertion(pins, token)) == ERR.NO_CREDENTIALS, "it got past the proof"


def test_a_token_holds_for_one_touch(key: SoftwareKey, pins: ClientPin) -> None:
    key.set_pin(PIN)
    token = pins.get_pin_token(PIN, ASSERT, RP_ID)
    assert error_of(assertion(pins, token, up=False)) == ERR.NO_CREDENTIALS
    assert error_of(assertion(pins, token)) == ERR.NO_CREDENTIALS
    assert error_of(assertion(pins, token)) == ERR.PIN_AUTH_INVALID


def test_a_token_without_permissions_is_bound_by_its_first_use(key: SoftwareKey, pins: ClientPin) -> None:
    key.set_pin(PIN)
    token = pins.get_pin_token(PIN)
    assert error_of(assertion(pins, token, up=False)) == ERR.NO_CREDENTIALS
    assert error_of(assertion(pins, token, "elsewhere.example.org")) == ERR.PIN_AUTH_INVALID


def test_an_unknown_protocol_is_refused(key: SoftwareKey, device: CtapHidDevice) -> None:
    key.knobs.pin_protocols = (1,)
    protocol: PinProtocol = PinProtocolV2()
    assert error_of(lambda: ClientPin(Ctap2(device), protocol).set_pin(PIN)) == ERR.INVALID_PARAMETER


@pytest.mark.parametrize(("pin", "error"), [(None, ERR.PIN_NOT_SET), (PIN, ERR.PIN_INVALID)])
def test_an_empty_proof_asks_for_a_touch_alone(
    key: SoftwareKey, device: CtapHidDevice, pin: str | None, error: int
) -> None:
    key.set_pin(pin)
    assert error_of(lambda: Ctap2(device).get_assertion(RP_ID, MESSAGE, pin_uv_param=b"", pin_uv_protocol=2)) == error
    assert key.blinks == 1
