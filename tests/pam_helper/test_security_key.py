"""Security keys as the helper asks them: real packets to software keys that tests touch, pull out and spoil."""

import errno
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fido2.cose import CoseKey
from fido2.utils import sha256
from fido2.webauthn import AttestationObject, AuthenticatorData

from pam_helper.key_outcomes import (
    AlreadyRegistered,
    Blocked,
    Busy,
    Cancelled,
    Denied,
    Found,
    Made,
    NoKey,
    NoPinSet,
    Outcome,
    PinBlocked,
    PinNeeded,
    PinWrong,
    Plugged,
    Signed,
    TimedOut,
    Trouble,
    Unusable,
    Verifies,
    WrongKey,
)
from pam_helper.owner import rights_of_owner
from pam_helper.security_key import Register, Touch, probe
from tests.pam_helper.keys import (
    CUES,
    Bench,
    KeyThatWantsANewPin,
    KeyWithFinger,
    Running,
    assertion_wanted,
    credential_wanted,
    no_new_descriptors,
    registered,
    wait_until,
)
from tests.software_key.authenticator import CTAP2_0, U2F, SoftwareKey
from tests.software_key.knobs import Attestation, Fault
from tests.software_key.knobs import Touch as Finger
from tests.software_key.log import Command
from tests.software_key.relying import ORIGIN, RP_ID
from validation.decisions import AskKey, AskNewKey

PIN = "123 456"
WRONG = "not the pin"
LONG = 60.0  # seconds: nothing here waits for that
SHORT = 2.0  # seconds: for what is to end in vain


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.node.name)


def touch(
    bench: Bench,
    asked: AskKey,
    pin: str | None = None,
    seconds: float = LONG,
    wait_for_key: bool = False,
    pin_for: Plugged | None = None,
) -> Running:
    return Running(Touch(asked, pin, seconds, CUES, wait_for_key, pin_for, bench))


def register(
    bench: Bench, asked: AskNewKey, pin: str | None = None, seconds: float = LONG, wait_for_key: bool = False
) -> Running:
    return Running(Register(asked, pin, seconds, CUES, wait_for_key, bus=bench))


def key_that_waits(name: str = "Software Key", **more: object) -> tuple[SoftwareKey, bytes]:
    """Registered, and untouched until it is pressed."""
    key = SoftwareKey(name, **more)  # type: ignore[arg-type]
    credential = registered(key)
    key.knobs.touch = Finger.NEVER
    return key, credential


def assert_signed(outcome: Outcome, key: SoftwareKey, uv: bool = False) -> None:
    """By this key, over our challenge."""
    assert isinstance(outcome, Signed), outcome
    made = outcome.assertion
    (credential,) = [kept for kept in key.credentials if kept.id == made.credential_id]
    said = json.loads(made.client_data)
    assert (said["type"], said["origin"]) == ("webauthn.get", ORIGIN)
    public = CoseKey.parse(credential.pair.cose())
    public.verify(made.authenticator_data + sha256(made.client_data), made.signature)
    data = AuthenticatorData(made.authenticator_data)
    assert data.is_user_present()
    assert data.is_user_verified() is uv
    assert data.rp_id_hash == sha256(RP_ID.encode())


# --- One key


def test_a_touch_signs_our_challenge(bench: Bench) -> None:
    key, credential = key_that_waits("Solo <\x1b[2J>")
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    key.press()
    outcome = running.outcome()
    assert_signed(outcome, key)
    assert isinstance(outcome, Signed)
    assert json.loads(outcome.assertion.client_data)["challenge"] == "YSBjaGFsbGVuZ2Ugb2Ygb3VyIG93biwgMzIgb2N0ZXQ"
    assert running.said == ["touch Solo <\\x1b[2J>"]


def test_the_handle_a_key_gives_is_handed_on(bench: Bench) -> None:
    key = SoftwareKey()
    credential = registered(key)
    key.knobs.user_handle = b"somebody"
    bench.plug(key)
    outcome = touch(bench, assertion_wanted(credential)).outcome()
    assert isinstance(outcome, Signed)
    assert outcome.assertion.user_handle == b"somebody"


def test_nobody_touches_it(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    assert touch(bench, assertion_wanted(credential), seconds=SHORT).outcome() == TimedOut()
    key.wait_for_cancel()


def test_a_key_that_gives_up_early_is_asked_again(bench: Bench) -> None:
    key, credential = key_that_waits()
    key.knobs.patience = 0.1
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(4)
    key.knobs.touch = Finger.AT_ONCE
    assert_signed(running.outcome(), key)


def test_cancelling_stops_the_blinking(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    assert running.cancel() == Cancelled()
    key.wait_for_cancel()
    wait_until(lambda: not key.in_use.locked())
    key.knobs.touch = Finger.AT_ONCE
    assert_signed(touch(bench, assertion_wanted(credential)).outcome(), key)


def test_cancelling_reaches_a_key_that_says_nothing(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    with bench.held_up(key):
        assert running.cancel() == Cancelled()
    key.wait_for_cancel()


def test_the_key_says_no(bench: Bench) -> None:
    key, credential = key_that_waits()
    key.knobs.touch = Finger.DENIED
    bench.plug(key)
    assert isinstance(touch(bench, assertion_wanted(credential)).outcome(), Denied)


def test_no_key_at_all_is_told_at_once(bench: Bench) -> None:
    bench.other_devices = [bench.path(7)]
    assert touch(bench, assertion_wanted(b"some credential")).outcome() == NoKey()


def test_no_key_until_the_end(bench: Bench) -> None:
    running = touch(bench, assertion_wanted(b"some credential"), seconds=SHORT, wait_for_key=True)
    assert running.outcome() == NoKey()


def test_a_key_that_is_not_registered_never_blinks(bench: Bench) -> None:
    stranger = SoftwareKey("Other")
    registered(stranger)
    _, credential = key_that_waits()
    bench.plug(stranger)
    outcome = touch(bench, assertion_wanted(credential)).outcome()
    assert isinstance(outcome, WrongKey)
    assert [key.product for key in outcome.keys] == ["Other"]
    assert stranger.blinks == 1  # when it was registered elsewhere
    assert all(not seen.up for seen in stranger.log.of(Command.GET_ASSERTION))


@pytest.mark.parametrize("length", [16, 48, 128])
def test_long_lists_of_credentials_go_in_pieces(bench: Bench, length: int) -> None:
    key, credential = key_that_waits()
    key.knobs.touch = Finger.AT_ONCE
    bench.plug(key)
    others = [bytes([number]) * length for number in range(30)]
    assert_signed(touch(bench, assertion_wanted(*others, b"x" * 300, credential)).outcome(), key)
    assert key.blinks == 2


# --- Several keys


@pytest.mark.parametrize("pressed", [0, 1])
def test_either_of_two_keys_may_be_touched(bench: Bench, pressed: int) -> None:
    keys, credentials = zip(*[key_that_waits(name) for name in ("A", "B")], strict=True)
    for key in keys:
        bench.plug(key)
    running = touch(bench, assertion_wanted(*credentials))
    for key in keys:
        key.wait_for_blink(2)
    keys[pressed].press()
    assert_signed(running.outcome(), keys[pressed])
    keys[1 - pressed].wait_for_cancel()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("pin", [None, PIN])
def test_with_two_registered_the_one_that_is_there_works_every_time(
    bench: Bench, order: tuple[int, int], pin: str | None
) -> None:
    """Case F01."""
    keys = [SoftwareKey("A"), SoftwareKey("B")]
    credentials = [registered(keys[which]) for which in order]
    for key in keys:
        key.set_pin(pin)
    asked = assertion_wanted(*credentials, verify_user=pin is not None)
    for key in (keys[0], keys[1], keys[0]):
        bench.plug(key)
        if pin is not None:
            needed = touch(bench, asked).outcome()
            assert isinstance(needed, PinNeeded)
            assert needed.key.product == key.name
        assert_signed(touch(bench, asked, pin).outcome(), key, uv=pin is not None)
        bench.unplug(key)


def test_a_stranger_beside_the_right_key_stays_dark(bench: Bench) -> None:
    stranger, (key, credential) = SoftwareKey("Other"), key_that_waits()
    bench.plug(stranger)
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    key.press()
    assert_signed(running.outcome(), key)
    assert stranger.blinks == 0


# --- In and out


def test_a_key_is_plugged_in_during_the_wait(bench: Bench) -> None:
    stranger, (key, credential) = SoftwareKey("Other"), key_that_waits()
    running = touch(bench, assertion_wanted(credential), wait_for_key=True)
    bench.plug(stranger)
    running.wait_until_said("Other is of no use")
    bench.plug(key)
    key.wait_for_blink(2)
    key.press()
    assert_signed(running.outcome(), key)
    assert stranger.blinks == 0


def test_a_second_key_is_plugged_in_while_the_first_blinks(bench: Bench) -> None:
    (first, first_credential), (second, second_credential) = key_that_waits("A"), key_that_waits("B")
    bench.plug(first)
    running = touch(bench, assertion_wanted(first_credential, second_credential))
    first.wait_for_blink(2)
    bench.plug(second)
    second.wait_for_blink(2)
    second.press()
    assert_signed(running.outcome(), second)


@pytest.mark.parametrize("looks_the_same", [False, True])
def test_pulled_out_and_put_in_again(bench: Bench, looks_the_same: bool) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    bench.unplug(key)
    bench.plug(key, as_before=looks_the_same)
    key.wait_for_blink(3)
    key.press()
    assert_signed(running.outcome(), key)
    assert running.said == ["touch Software Key"] * 2


def test_pulled_out_and_a_stranger_put_in_by_mistake(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    bench.unplug(key)
    bench.plug(SoftwareKey("Other"))
    running.wait_until_said("Other is of no use")
    bench.plug(key)
    key.wait_for_blink(3)
    key.press()
    assert_signed(running.outcome(), key)


def test_pulled_out_for_good(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential), seconds=3.0)
    key.wait_for_blink(2)
    bench.unplug(key)
    assert running.outcome() == TimedOut()


# --- Keys that are broken

FAULTS = [
    (Fault.MUTE, Command.INIT),
    (Fault.MUTE, Command.GET_INFO),
    (Fault.MUTE, Command.GET_ASSERTION),
    (Fault.GARBAGE, Command.INIT),
    (Fault.GARBAGE, Command.GET_ASSERTION),
    (Fault.GARBAGE_CBOR, Command.GET_INFO),
    (Fault.GARBAGE_CBOR, Command.GET_ASSERTION),
    (Fault.WRONG_CHANNEL, Command.INIT),
    (Fault.WRONG_CHANNEL, Command.GET_ASSERTION),
    (Fault.ENDLESS_KEEPALIVE, Command.GET_INFO),
    (Fault.ENDLESS_KEEPALIVE, Command.GET_ASSERTION),
    (Fault.VANISH, Command.GET_INFO),
    (Fault.VANISH, Command.GET_ASSERTION),
]


@pytest.mark.parametrize(("fault", "at"), FAULTS)
def test_a_broken_key_is_given_up(bench: Bench, fault: Fault, at: Command) -> None:
    key, credential = key_that_waits()
    key.knobs.fault, key.knobs.fault_at = fault, frozenset({at})
    bench.plug(key)
    outcome = touch(bench, assertion_wanted(credential)).outcome()
    assert isinstance(outcome, Trouble | NoKey)
    assert key.blinks == 1


@pytest.mark.parametrize(("fault", "at"), FAULTS)
def test_a_broken_key_hides_no_other(bench: Bench, fault: Fault, at: Command) -> None:
    (broken, of_broken), (key, credential) = key_that_waits("Broken"), key_that_waits()
    broken.knobs.fault, broken.knobs.fault_at = fault, frozenset({at})
    bench.plug(broken)
    bench.plug(key)
    running = touch(bench, assertion_wanted(of_broken, credential))
    key.wait_for_blink(2)
    key.press()
    assert_signed(running.outcome(), key)


def test_a_key_that_falls_silent_while_it_blinks(bench: Bench) -> None:
    """Its keepalives stop, as those of a key whose hub hangs."""
    key, credential = key_that_waits()
    bench.plug(key)
    running = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    with bench.held_up(key):
        assert isinstance(running.outcome(), Trouble)
    key.wait_for_cancel()


def test_packets_for_other_programs_are_passed_over(bench: Bench) -> None:
    """Linux shows them to everybody who has the device open."""
    key, credential = key_that_waits()
    key.knobs.delay = 0.05
    bench.plug(key)
    with bench.noise():
        running = touch(bench, assertion_wanted(credential))
        key.wait_for_blink(2)
        key.press()
        assert_signed(running.outcome(), key)


def test_packets_for_other_programs_are_no_sign_of_life(bench: Bench) -> None:
    key, credential = key_that_waits()
    key.knobs.fault, key.knobs.fault_at = Fault.MUTE, frozenset({Command.GET_ASSERTION})
    bench.plug(key)
    with bench.noise():
        assert isinstance(touch(bench, assertion_wanted(credential)).outcome(), Trouble)


def test_a_key_in_use_elsewhere_ends_in_time(bench: Bench) -> None:
    """Another program has a request open, so the key answers "busy" to everything."""
    key, credential = key_that_waits()
    bench.plug(key)
    with key.in_use:
        assert isinstance(touch(bench, assertion_wanted(credential), seconds=SHORT).outcome(), Trouble | NoKey)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENODEV, errno.EBUSY, errno.EIO])
def test_what_cannot_be_opened_is_no_key_and_one_line_in_the_log(
    bench: Bench, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Case F09."""
    key, credential = key_that_waits()
    path = bench.plug(key).path
    bench.refuses[path] = number
    running = touch(bench, assertion_wanted(credential), seconds=1.5, wait_for_key=True)
    assert running.outcome() == NoKey()
    assert probe(assertion_wanted(credential), bench).closed[0].errno == number
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert path in line.getMessage()
    assert f"errno {number}" in line.getMessage()


def test_rights_that_come_late_are_taken(bench: Bench) -> None:
    key, credential = key_that_waits()
    key.knobs.touch = Finger.AT_ONCE
    path = bench.plug(key).path
    bench.refuses[path] = errno.EACCES
    running = touch(bench, assertion_wanted(credential), wait_for_key=True)
    wait_until(lambda: path in bench.described)
    del bench.refuses[path]
    assert_signed(running.outcome(), key)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take the rights of others")
def test_keys_are_opened_with_the_rights_of_the_helper_not_of_the_store(bench: Bench, tmp_path: Path) -> None:
    key, credential = key_that_waits()
    key.knobs.touch = Finger.AT_ONCE
    bench.plug(key)
    os.chown(tmp_path, 12345, 12345)
    with rights_of_owner(tmp_path):
        task = Touch(assertion_wanted(credential), None, LONG, CUES, bus=bench)
        task.run(threading.Event(), lambda text: None)
    assert_signed(task.outcome, key)
    assert set(bench.file_users) == {0}


def test_other_devices_are_opened_once(bench: Bench) -> None:
    bench.other_devices = [bench.path(7)]
    key, credential = key_that_waits()
    running = touch(bench, assertion_wanted(credential), wait_for_key=True)
    bench.plug(key)
    key.wait_for_blink(2)
    key.press()
    running.outcome()
    assert bench.described.count(bench.path(7)) == 1


# --- Two logins


def test_a_second_login_waits_for_the_key(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    first = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    second = touch(bench, assertion_wanted(credential))
    second.wait_until_said("another login has it")
    assert probe(assertion_wanted(credential), bench).busy == (bench.path(0),)
    key.press()
    assert_signed(first.outcome(), key)
    key.wait_for_blink(3)
    key.press()
    assert_signed(second.outcome(), key)


def test_a_key_that_was_waited_for_turns_out_a_stranger(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    first = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    second = touch(bench, assertion_wanted(b"some credential"))
    second.wait_until_said("another login has it")
    key.press()
    assert_signed(first.outcome(), key)
    assert isinstance(second.outcome(), WrongKey)
    assert key.blinks == 2


def test_a_second_login_waits_no_longer_than_it_may(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    first = touch(bench, assertion_wanted(credential))
    key.wait_for_blink(2)
    assert touch(bench, assertion_wanted(credential), seconds=SHORT).outcome() == Busy()
    assert key.blinks == 2
    key.press()
    assert_signed(first.outcome(), key)


# --- The PIN of a key


def key_with_pin(name: str = "Software Key", **more: object) -> tuple[SoftwareKey, bytes]:
    key, credential = key_that_waits(name, **more)
    key.set_pin(PIN)
    key.knobs.touch = Finger.AT_ONCE
    return key, credential


def test_a_pin_is_asked_for_before_any_touch(bench: Bench) -> None:
    key, credential = key_with_pin()
    plugged = bench.plug(key)
    outcome = touch(bench, assertion_wanted(credential, verify_user=True)).outcome()
    assert isinstance(outcome, PinNeeded)
    assert (outcome.tries_left, outcome.key.plugged, outcome.key.product) == (8, plugged, "Software Key")
    assert key.blinks == 1


@pytest.mark.parametrize("versions", [("FIDO_2_0", "FIDO_2_1"), CTAP2_0])
@pytest.mark.parametrize("protocols", [(2, 1), (1,)])
def test_the_right_pin(bench: Bench, versions: tuple[str, ...], protocols: tuple[int, ...]) -> None:
    key, credential = key_with_pin(versions=versions)
    key.knobs.pin_protocols = protocols
    bench.plug(key)
    assert_signed(touch(bench, assertion_wanted(credential, verify_user=True), PIN).outcome(), key, uv=True)
    assert key.pin_retries == 8


@pytest.mark.statement("W-016")
def test_a_wrong_pin_costs_one_try_and_asks_for_no_touch(bench: Bench) -> None:
    """Case F05."""
    key, credential = key_with_pin()
    bench.plug(key)
    outcome = touch(bench, assertion_wanted(credential, verify_user=True), WRONG).outcome()
    assert isinstance(outcome, PinWrong)
    assert (outcome.tries_left, key.pin_retries, key.blinks) == (7, 7, 1)


def test_three_wrong_pins_in_a_row_want_the_key_unplugged(bench: Bench) -> None:
    key, credential = key_with_pin()
    bench.plug(key)
    asked = assertion_wanted(credential, verify_user=True)
    outcomes = [touch(bench, asked, WRONG).outcome() for _ in range(4)]
    assert [type(outcome) for outcome in outcomes] == [PinWrong, PinWrong, PinBlocked, PinBlocked]
    assert all(outcome.why is Blocked.UNPLUG for outcome in outcomes if isinstance(outcome, PinBlocked))
    assert key.pin_retries == 5


@pytest.mark.statement("W-016")
def test_the_last_tries_are_left_to_the_owner(bench: Bench) -> None:
    """Case F05: whatever is typed, the key is not locked for good."""
    key, credential = key_with_pin()
    asked = assertion_wanted(credential, verify_user=True)
    for _ in range(12):
        bench.plug(key)
        outcome = touch(bench, asked, WRONG).outcome()
        bench.unplug(key)
    assert isinstance(outcome, PinBlocked)
    assert (outcome.why, outcome.tries_left, key.pin_retries) == (Blocked.FEW_LEFT, 3, 3)
    bench.plug(key)
    for pin in (None, PIN):
        again = touch(bench, asked, pin).outcome()
        assert isinstance(again, PinBlocked)
        assert again.why is Blocked.FEW_LEFT
    assert (key.pin_retries, key.blinks) == (3, 1)


@pytest.mark.parametrize("typed", ["", "123", "x" * 64, "pin \udcff?"])
def test_what_cannot_be_a_pin_costs_no_try(bench: Bench, typed: str) -> None:
    key, credential = key_with_pin()
    bench.plug(key)
    outcome = touch(bench, assertion_wanted(credential, verify_user=True), typed).outcome()
    assert isinstance(outcome, PinWrong)
    assert (outcome.tries_left, key.pin_retries, key.blinks) == (8, 8, 1)


def test_a_key_whose_pin_must_be_changed_first(bench: Bench) -> None:
    key = KeyThatWantsANewPin()
    credential = registered(key)
    key.set_pin(PIN)
    bench.plug(key)
    for pin in (None, PIN):
        assert isinstance(touch(bench, assertion_wanted(credential, verify_user=True), pin).outcome(), Unusable)
    assert (key.blinks, key.pin_retries) == (1, 8)


def test_a_pin_is_composed_as_keys_expect_it(bench: Bench) -> None:
    key, credential = key_that_waits()
    key.set_pin("gr\u00fcn gr\u00fcn")
    key.knobs.touch = Finger.AT_ONCE
    bench.plug(key)
    outcome = touch(bench, assertion_wanted(credential, verify_user=True), "gru\u0308n gru\u0308n").outcome()
    assert_signed(outcome, key, uv=True)


def test_a_key_without_a_pin_where_one_is_wanted(bench: Bench) -> None:
    key, credential = key_that_waits()
    bench.plug(key)
    for pin in (None, PIN):
        assert isinstance(touch(bench, assertion_wanted(credential, verify_user=True), pin).outcome(), NoPinSet)
    assert key.blinks == 1


def test_a_key_with_a_pin_is_not_asked_for_it_where_a_touch_will_do(bench: Bench) -> None:
    key, credential = key_with_pin()
    bench.plug(key)
    assert_signed(touch(bench, assertion_wanted(credential)).outcome(), key, uv=False)


@pytest.mark.parametrize("even_silent", [False, True])
def test_a_key_that_always_wants_its_pin(bench: Bench, even_silent: bool) -> None:
    key, credential = key_with_pin()
    key.knobs.always_uv, key.knobs.always_uv_even_silent = True, even_silent
    bench.plug(key)
    assert isinstance(touch(bench, assertion_wanted(credential)).outcome(), PinNeeded)
    assert_signed(touch(bench, assertion_wanted(credential), PIN).outcome(), key, uv=True)


def test_a_stranger_that_tells_so_after_its_pin_alone_never_blinks(bench: Bench) -> None:
    stranger, _ = key_with_pin()
    stranger.knobs.always_uv = stranger.knobs.always_uv_even_silent = True
    bench.plug(stranger)
    asked = assertion_wanted(b"some credential")
    assert isinstance(touch(bench, asked).outcome(), PinNeeded)
    assert isinstance(touch(bench, asked, PIN).outcome(), WrongKey)
    assert stranger.blinks == 1


@pytest.mark.statement("W-016")
def test_a_pin_goes_to_one_key(bench: Bench) -> None:
    (first, first_credential), (second, second_credential) = key_with_pin("A"), key_with_pin("B")
    second.set_pin("another")
    bench.plug(first)
    bench.plug(second)
    asked = assertion_wanted(second_credential, first_credential, verify_user=True)
    needed = touch(bench, asked).outcome()
    assert isinstance(needed, PinNeeded)
    assert needed.key.product == "A"
    assert isinstance(touch(bench, asked, "another").outcome(), PinWrong)
    assert (first.pin_retries, second.pin_retries) == (7, 8)


def test_a_pin_goes_to_the_key_it_was_typed_for_or_to_none(bench: Bench) -> None:
    (first, first_credential), (second, second_credential) = key_with_pin("A"), key_with_pin("B")
    second.set_pin("another")
    bench.plug(second, 1)
    asked = assertion_wanted(first_credential, second_credential, verify_user=True)
    needed = touch(bench, asked).outcome()
    assert isinstance(needed, PinNeeded)
    bench.plug(first, 0)
    outcome = touch(bench, asked, "another", pin_for=needed.key.plugged).outcome()
    assert_signed(outcome, second, uv=True)
    bench.unplug(second)
    outcome = touch(bench, asked, "another", pin_for=needed.key.plugged).outcome()
    assert isinstance(outcome, PinNeeded)
    assert (outcome.key.product, first.pin_retries) == ("A", 8)


def test_a_key_whose_pin_can_be_asked_is_preferred_to_one_without(bench: Bench) -> None:
    (without, of_without), (key, credential) = key_that_waits("A"), key_with_pin("B")
    bench.plug(without)
    bench.plug(key)
    asked = assertion_wanted(of_without, credential, verify_user=True)
    assert_signed(touch(bench, asked, PIN).outcome(), key, uv=True)


def test_a_finger_needs_no_pin(bench: Bench) -> None:
    key = KeyWithFinger()
    credential = registered(key)
    bench.plug(key)
    assert_signed(touch(bench, assertion_wanted(credential, verify_user=True)).outcome(), key, uv=True)


def test_a_finger_that_is_not_known(bench: Bench) -> None:
    key = KeyWithFinger()
    credential = registered(key)
    key.knows_finger = False
    bench.plug(key)
    asked = assertion_wanted(credential, verify_user=True)
    assert isinstance(touch(bench, asked).outcome(), Denied)
    key.set_pin(PIN)
    assert isinstance(touch(bench, asked).outcome(), PinNeeded)
    assert_signed(touch(bench, asked, PIN).outcome(), key, uv=True)


def test_neither_pin_nor_packets_are_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    key, credential = key_with_pin()
    bench.plug(key)
    caplog.set_level(1)
    task = Touch(assertion_wanted(credential, verify_user=True), WRONG, LONG, CUES, bus=bench)
    outcome = Running(task).outcome()
    assert isinstance(outcome, PinWrong)
    assert [record for record in caplog.records if record.name.startswith("fido2")] == []
    for text in (caplog.text, repr(outcome), repr(vars(task))):
        assert WRONG not in text


# --- Keys of the older kind


def test_a_u2f_key(bench: Bench) -> None:
    key, credential = key_that_waits(versions=U2F)
    bench.plug(key)
    running = touch(bench, assertion_wanted(b"other", b"x" * 300, credential))
    key.wait_for_blink(2)
    key.press()
    assert_signed(running.outcome(), key)
    assert running.said == ["touch Software Key"]


def test_a_u2f_key_that_is_not_registered_never_blinks(bench: Bench) -> None:
    key, _ = key_that_waits(versions=U2F)
    bench.plug(key)
    assert isinstance(touch(bench, assertion_wanted(b"other")).outcome(), WrongKey)
    assert key.blinks == 1


def test_a_u2f_key_has_no_pin(bench: Bench) -> None:
    key, credential = key_that_waits(versions=U2F)
    bench.plug(key)
    assert isinstance(touch(bench, assertion_wanted(credential, verify_user=True)).outcome(), Unusable)


def test_a_u2f_key_that_nobody_touches(bench: Bench) -> None:
    key, credential = key_that_waits(versions=U2F)
    bench.plug(key)
    assert touch(bench, assertion_wanted(credential), seconds=SHORT).outcome() == TimedOut()
    running = touch(bench, assertion_wanted(credential))
    running.wait_until_said("touch Software Key")
    assert running.cancel() == Cancelled()


# --- Registration


def assert_made(outcome: Outcome, key: SoftwareKey, algorithm: int = -7, uv: bool = False) -> AttestationObject:
    assert isinstance(outcome, Made), outcome
    said = json.loads(outcome.credential.client_data)
    assert (said["type"], said["origin"]) == ("webauthn.create", ORIGIN)
    made = AttestationObject(outcome.credential.attestation_object)
    assert made.auth_data.credential_data is not None
    (kept,) = [kept for kept in key.credentials if kept.id == made.auth_data.credential_data.credential_id]
    assert (kept.resident, made.auth_data.credential_data.public_key[3]) == (False, algorithm)
    assert made.auth_data.is_user_verified() is uv
    return made


@pytest.mark.parametrize("versions", [CTAP2_0, U2F, (*CTAP2_0, *U2F)])
def test_a_new_credential(bench: Bench, versions: tuple[str, ...]) -> None:
    key = SoftwareKey(versions=versions)
    key.knobs.touch = Finger.NEVER
    bench.plug(key)
    running = register(bench, credential_wanted())
    key.wait_for_blink()
    key.press()
    assert_made(running.outcome(), key)


def test_a_registration_waits_for_a_key(bench: Bench) -> None:
    key = SoftwareKey()
    running = register(bench, credential_wanted(), wait_for_key=True)
    bench.plug(key)
    assert_made(running.outcome(), key)


@pytest.mark.parametrize("versions", [CTAP2_0, U2F])
def test_no_key_is_registered_twice(bench: Bench, versions: tuple[str, ...]) -> None:
    key, credential = key_that_waits(versions=versions)
    bench.plug(key)
    assert isinstance(register(bench, credential_wanted(b"other", credential)).outcome(), AlreadyRegistered)
    assert key.blinks == 1


def test_a_key_that_tells_after_its_pin_alone_is_not_registered_twice(bench: Bench) -> None:
    key, credential = key_with_pin()
    key.knobs.always_uv = key.knobs.always_uv_even_silent = True
    bench.plug(key)
    assert isinstance(register(bench, credential_wanted(credential), PIN).outcome(), AlreadyRegistered)
    assert key.blinks == 1


def test_beside_a_registered_key_the_new_one_is_asked(bench: Bench) -> None:
    (old, credential), new = key_that_waits("Old"), SoftwareKey("New")
    bench.plug(old)
    bench.plug(new)
    assert_made(register(bench, credential_wanted(credential)).outcome(), new)
    assert old.blinks == 1


def test_the_algorithm_that_we_prefer_and_the_key_knows(bench: Bench) -> None:
    key = SoftwareKey()
    key.knobs.algorithms = (-7, -8)
    bench.plug(key)
    assert_made(register(bench, credential_wanted(algorithms=(-35, -8, -7))).outcome(), key, algorithm=-8)


@pytest.mark.parametrize("versions", [CTAP2_0, U2F])
def test_a_key_that_knows_no_accepted_algorithm(bench: Bench, versions: tuple[str, ...]) -> None:
    key = SoftwareKey(versions=versions)
    bench.plug(key)
    assert isinstance(register(bench, credential_wanted(algorithms=(-8,))).outcome(), Unusable)
    assert key.blinks == 0


@pytest.mark.parametrize("attestation", Attestation)
def test_attestation_where_it_is_wanted(bench: Bench, attestation: Attestation) -> None:
    key = SoftwareKey()
    key.knobs.attestation = attestation
    bench.plug(key)
    outcome = register(bench, credential_wanted(attestation=True)).outcome()
    if attestation is Attestation.SELF:
        assert isinstance(outcome, Unusable)
    else:
        made = assert_made(outcome, key)
        assert made.att_stmt["x5c"][0] == key.authority.attester(key.knobs.aaguid).chain[0]


def test_a_registration_with_the_keys_pin(bench: Bench) -> None:
    key = SoftwareKey(pin=PIN)
    bench.plug(key)
    asked = credential_wanted(b"other", verify_user=True)
    assert isinstance(register(bench, asked).outcome(), PinNeeded)
    assert isinstance(register(bench, asked, WRONG).outcome(), PinWrong)
    assert (key.blinks, key.pin_retries) == (0, 7)
    assert_made(register(bench, asked, PIN).outcome(), key, uv=True)


def test_keys_with_a_pin_make_credentials_with_it_alone(bench: Bench) -> None:
    key = SoftwareKey(pin=PIN)
    bench.plug(key)
    assert isinstance(register(bench, credential_wanted()).outcome(), PinNeeded)
    assert_made(register(bench, credential_wanted(), PIN).outcome(), key, uv=True)
    key.knobs.make_credential_without_uv = True
    assert_made(register(bench, credential_wanted()).outcome(), key)


def test_a_registration_is_cancelled(bench: Bench) -> None:
    key = SoftwareKey()
    key.knobs.touch = Finger.NEVER
    bench.plug(key)
    running = register(bench, credential_wanted())
    key.wait_for_blink()
    assert running.cancel() == Cancelled()
    key.wait_for_cancel()
    assert key.credentials == []


# --- A look


def test_a_look_at_nothing(bench: Bench) -> None:
    bench.other_devices = [bench.path(7)]
    assert probe(assertion_wanted(b"some credential"), bench) == Found()


def test_a_look_says_which_key_is_of_what_use(bench: Bench) -> None:
    (plain, of_plain), (with_pin, of_with_pin) = key_that_waits("Plain"), key_with_pin("With PIN")
    stranger, mute = SoftwareKey("Other"), SoftwareKey("Mute")
    mute.knobs.fault = Fault.MUTE
    for key in (plain, with_pin, stranger, mute):
        bench.plug(key)
    denied = bench.plug(SoftwareKey()).path
    bench.refuses[denied] = errno.EACCES
    before = [key.blinks for key in (plain, with_pin, stranger, mute)]

    found = probe(assertion_wanted(of_plain, of_with_pin, verify_user=True), bench)

    assert [type(one) for one in found.hindered] == [NoPinSet]
    assert [(one.key.product, one.verifies, one.tries_left) for one in found.ready] == [
        ("With PIN", Verifies.BY_PIN, 8)
    ]
    assert [one.key.product for one in found.strangers] == ["Other"]
    assert found.silent == (bench.path(3),)
    assert [(one.path, one.errno) for one in found.closed] == [(denied, errno.EACCES)]
    assert [key.blinks for key in (plain, with_pin, stranger, mute)] == before
    assert with_pin.pin_retries == 8


@pytest.mark.parametrize(("fault", "at"), FAULTS[::3])
def test_a_look_at_a_broken_key_ends(bench: Bench, fault: Fault, at: Command) -> None:
    key, credential = key_that_waits()
    key.knobs.fault, key.knobs.fault_at = fault, frozenset({at})
    bench.plug(key)
    found: list[Found] = []
    looking = threading.Thread(target=lambda: found.append(probe(assertion_wanted(credential), bench)), daemon=True)
    looking.start()
    looking.join(60)
    assert len(found) == 1
    assert found[0].ready == ()


# --- Nothing is left behind

WAYS: list[Callable[[Bench, SoftwareKey, bytes], object]] = [
    lambda bench, key, credential: touch(bench, assertion_wanted(b"other")).outcome(),
    lambda bench, key, credential: touch(bench, assertion_wanted(credential), seconds=0.3).outcome(),
    lambda bench, key, credential: touch(bench, assertion_wanted(credential)).cancel(),
    lambda bench, key, credential: probe(assertion_wanted(credential), bench),
    lambda bench, key, credential: register(bench, credential_wanted(credential)).outcome(),
]


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.MUTE, Fault.VANISH, Fault.ENDLESS_KEEPALIVE])
def test_no_descriptor_and_no_thread_is_left(bench: Bench, fault: Fault) -> None:
    key, credential = key_that_waits()
    key.knobs.fault = fault
    with no_new_descriptors():
        for way in WAYS:
            bench.plug(key)
            way(bench, key, credential)
            wait_until(lambda: "security-key" not in {thread.name for thread in threading.enumerate()})
            bench.unplug_if_there(key)
    assert not key.in_use.locked() or fault is Fault.ENDLESS_KEEPALIVE
