"""Security keys in logins and registrations, as the gate decides them."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import challenge, user
from tests.validation.engine import CONSOLE, DESK, PORTAL, SSH, VPN, Engine
from tests.validation.signing_key import BE, BS, UP, UV, SigningKey
from validation.decisions import Accept, AskKey, AskNewKey, Challenge, Reason, Reject
from validation.gate import Outcome
from validation.messages import MessageKey, default_text, fill, tries_text
from validation.model import Factor, Purpose, Stage, Throttle, TokenState
from validation.policy import registrations
from validation.requests import (
    Assertion,
    Channel,
    FirstFactor,
    IssueRecovery,
    LoginRequest,
    RevokeToken,
    typed_alone,
)
from validation.touching import signed


def text(key: MessageKey) -> str:
    return default_text(key, "en")


def register(engine: Engine, key: SigningKey, name: str = "blue", user: str = "alice", **said: Any) -> Outcome:
    """At the desk, from the password on; a PIN first where the user has one."""
    outcome = engine.log_in(user, client=DESK, purpose=Purpose.ADD_KEY, key_name=name)
    if isinstance(outcome, Challenge) and not isinstance(outcome.wants, AskNewKey):
        serial = next(t.serial for t in registrations(engine.see(user=user)) if t.kind == "totp")
        outcome = answer(engine, outcome, user, passcode=engine.pin(serial), key_name=name)
    if not isinstance(outcome, Challenge) or not isinstance(outcome.wants, AskNewKey):
        return outcome
    return answer(engine, outcome, user, new_credential=key.make(outcome.wants, **said), key_name=name)


def answer(engine: Engine, asked: Outcome, user: str = "alice", client: str = DESK, **more: Any) -> Outcome:
    assert isinstance(asked, Challenge), asked
    return engine.log_in(user, client=client, state=asked.state, **more)


def asked_to_touch(engine: Engine, user: str = "alice", client: str = DESK) -> tuple[Challenge, AskKey]:
    outcome = engine.log_in(user, client=client)
    assert isinstance(outcome, Challenge)
    assert isinstance(outcome.wants, AskKey), outcome
    return outcome, outcome.wants


def touch(engine: Engine, key: SigningKey, user: str = "alice", **said: Any) -> Outcome:
    asked, wants = asked_to_touch(engine, user)
    return answer(engine, asked, user, assertion=key.get(wants, **said))


def reason(outcome: Outcome) -> Reason:
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


@pytest.fixture
def key(engine: Engine, serial: str) -> SigningKey:
    """Alice's, registered beside her app."""
    made = SigningKey()
    outcome = register(engine, made)
    assert isinstance(outcome, Accept), outcome
    engine.clock.now += 60
    return made


# --- a login by touch


def test_a_touch_lets_in(engine: Engine, key: SigningKey) -> None:
    outcome = touch(engine, key)
    assert isinstance(outcome, Accept)
    assert (outcome.reason, outcome.kind) == (Reason.KEY_RIGHT, "webauthn")
    assert engine.token(outcome.serial).moving_factor == key.count
    row = engine.trail[-1]
    assert (row.decision, row.reason, row.serial, row.detail["kind"]) == (
        "accept",
        "security-key-right",
        outcome.serial,
        "webauthn",
    )


@pytest.mark.statement("W-024")
def test_the_question_says_which_login_is_approved(engine: Engine, key: SigningKey) -> None:
    asked = engine.log_in("alice", client=DESK, where="login on tty1, host web-7")
    assert isinstance(asked, Challenge)
    assert asked.texts == ("Touch your security key now, or press Enter to use a PIN.   (login on tty1, host web-7)",)


def test_a_pin_may_be_typed_instead_at_once_or_when_asked(engine: Engine, key: SigningKey, serial: str) -> None:
    asked, wants = asked_to_touch(engine)
    assert wants.or_passcode
    assert isinstance(answer(engine, asked, passcode=engine.pin(serial)), Accept)
    engine.clock.now += 60
    asked, _ = asked_to_touch(engine)
    then = answer(engine, asked)
    assert isinstance(then, Challenge)
    assert (then.texts, then.wants) == ((text(MessageKey.ASK_PIN),), None)
    assert isinstance(answer(engine, then, passcode=engine.pin(serial)), Accept)


def test_a_wrong_pin_instead_is_counted_and_asked_again(engine: Engine, key: SigningKey, serial: str) -> None:
    asked, _ = asked_to_touch(engine)
    again = answer(engine, asked, passcode=engine.wrong_pin(serial))
    assert isinstance(again, Challenge)
    assert (again.reason, again.wants, again.tries_left) == (Reason.PASSCODE_WRONG, None, 2)
    assert engine.trail[-1].detail["failures"] == 1


@pytest.mark.statement("W-001")
def test_an_assertion_works_once_and_for_a_minute(engine: Engine, key: SigningKey) -> None:
    asked, wants = asked_to_touch(engine)
    signed = key.get(wants)
    assert isinstance(answer(engine, asked, assertion=signed), Accept)
    assert reason(answer(engine, asked, assertion=signed)) is Reason.STATE_UNKNOWN
    later, fresh = asked_to_touch(engine)
    assert fresh.challenge != wants.challenge
    assert len(fresh.challenge) >= 16
    assert reason(answer(engine, later, assertion=signed)) is Reason.KEY_WRONG
    last, wants = asked_to_touch(engine)
    engine.clock.now += 60
    assert reason(answer(engine, last, assertion=key.get(wants))) is Reason.STATE_EXPIRED


@pytest.mark.statement("W-013")
def test_what_was_signed_for_one_login_fits_no_other(engine: Engine, key: SigningKey) -> None:
    """Another service, another host, another purpose: a State of its own each, and another challenge to sign."""
    _, for_login = asked_to_touch(engine)
    for client in ("sudo@web-7", "login@web-8"):
        request = engine.request("alice", DESK)
        (asked,) = engine.gate.login([replace(request, client=client)])
        assert isinstance(asked, Challenge)
        (outcome,) = engine.gate.login(
            [replace(request, client=client, state=asked.state, assertion=key.get(for_login))]
        )
        assert reason(outcome) is Reason.KEY_WRONG
        (stolen,) = engine.gate.login([replace(request, state=asked.state, assertion=key.get(for_login))])
        assert reason(stolen) is Reason.STATE_UNKNOWN
    care = engine.log_in("alice", client=DESK, purpose=Purpose.CARE)
    assert reason(answer(engine, care, assertion=key.get(for_login))) is Reason.KEY_WRONG


@pytest.mark.statement("W-013")
def test_what_a_key_signs_is_made_of_state_user_place_and_purpose() -> None:
    """Of each by itself: also where a State were the same."""
    alice, asked = user(), challenge(stage=Stage.KEY)
    others: list[dict[str, Any]] = [
        {"state": "cd" * 16},
        {"client": "sudo"},
        {"purpose": Purpose.CARE},
        {"stage": Stage.NEW_KEY},
    ]
    made = [(alice, asked), (user(name="bob"), asked), *((alice, replace(asked, **other)) for other in others)]
    case: Any = None  # it is not looked at
    assert len({signed(case, *one) for one in made}) == len(made)


@pytest.mark.statement("W-007")
def test_a_key_of_somebody_else_lets_nobody_in(engine: Engine, key: SigningKey) -> None:
    engine.add_user("bob")
    his = SigningKey()
    assert isinstance(register(engine, his, user="bob"), Accept)
    asked, wants = asked_to_touch(engine)
    assert reason(answer(engine, asked, assertion=his.get(wants))) is Reason.KEY_WRONG
    asked, wants = asked_to_touch(engine)
    assert reason(answer(engine, asked, assertion=his.get(wants, id=key.id))) is Reason.KEY_WRONG
    asked, wants = asked_to_touch(engine)
    assert reason(answer(engine, asked, assertion=key.get(wants, handle=his.handle))) is Reason.KEY_WRONG
    assert isinstance(touch(engine, key, handle=key.handle), Accept)
    assert isinstance(touch(engine, his, user="bob"), Accept)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param({"flags": 0}, Reason.KEY_WRONG, id="not touched", marks=pytest.mark.statement("W-003")),
        pytest.param({"flags": UV}, Reason.KEY_WRONG, id="verified, not touched"),
        pytest.param({"rp_id": "web-7"}, Reason.KEY_WRONG, id="another RP id", marks=pytest.mark.statement("W-002")),
        pytest.param({"signature": b"x" * 70}, Reason.KEY_WRONG, id="no signature"),
        pytest.param(
            {"type": "webauthn.create"}, Reason.KEY_WRONG, id="another purpose", marks=pytest.mark.statement("W-012")
        ),
        pytest.param(
            {"origin": "pam://eviltwofold"}, Reason.KEY_WRONG, id="look-alike", marks=pytest.mark.statement("W-012")
        ),
        pytest.param({"origin": "pam://twofold.evil"}, Reason.KEY_WRONG, id="longer origin"),
        pytest.param({"challenge": bytes(32)}, Reason.KEY_WRONG, id="another challenge"),
        pytest.param({"after": b"\0"}, Reason.KEY_WRONG, id="trailing octet"),
        pytest.param({"id": b"unknown"}, Reason.KEY_WRONG, id="unknown credential"),
        pytest.param(
            {"flags": UP | BS},
            Reason.KEY_BACKUP,
            id="backed up, not eligible",
            marks=pytest.mark.statement("W-011"),
        ),
        pytest.param({"flags": UP | BE}, Reason.KEY_BACKUP, id="eligible now", marks=pytest.mark.statement("W-011")),
    ],
)
def test_an_assertion_that_says_anything_else_is_refused(
    engine: Engine, key: SigningKey, said: dict[str, Any], why: Reason
) -> None:
    before = engine.see(user="alice").tokens
    outcome = touch(engine, key, **said)
    assert reason(outcome) is why
    assert isinstance(outcome, Reject)
    assert outcome.text == text(MessageKey.KEY_REFUSED)
    assert engine.see(user="alice").tokens == before
    assert isinstance(touch(engine, key), Accept)


@pytest.mark.statement("W-011")
def test_a_key_that_could_be_backed_up_and_says_it_cannot_is_refused(engine: Engine, serial: str) -> None:
    key = SigningKey(flags=UP | BE)
    assert isinstance(register(engine, key), Accept)
    engine.clock.now += 60
    for flags in (UP, UP | BS):
        assert reason(touch(engine, key, flags=flags)) is Reason.KEY_BACKUP
    for flags in (UP | BE, UP | BE | BS):
        assert isinstance(touch(engine, key, flags=flags), Accept)


@pytest.mark.statement("W-004")
def test_where_policy_wants_the_user_verified_only_the_signed_flag_says_so(engine: Engine, key: SigningKey) -> None:
    engine.set_policy("user_verification", "required")
    _, wants = asked_to_touch(engine)
    assert wants.verify_user
    assert reason(touch(engine, key)) is Reason.KEY_UNVERIFIED
    assert isinstance(touch(engine, key, flags=UP | UV), Accept)
    other = SigningKey()
    assert reason(register(engine, other, "green")) is Reason.KEY_UNVERIFIED
    engine.clock.now += 60
    assert isinstance(register(engine, other, "green", flags=UP | UV), Accept)


# --- the sign count


@pytest.mark.statement("W-009")
@pytest.mark.parametrize("count", [0, 1, 9, 10], ids=["zero", "lower", "one lower", "equal"])
@pytest.mark.parametrize("policy", ["refuse", "warn"])
def test_a_sign_count_that_does_not_grow_is_told(engine: Engine, key: SigningKey, count: int, policy: str) -> None:
    engine.set_policy("sign_count", policy)
    assert isinstance(touch(engine, key, count=10), Accept)
    engine.notices.told.clear()
    outcome = touch(engine, key, count=count)
    assert [told.notice for told in engine.notices.told] == ["security_key_copied"]
    (token,) = [t for t in engine.see(user="alice").tokens if t.kind == "webauthn"]
    assert token.moving_factor == 10
    if policy == "refuse":
        assert reason(outcome) is Reason.KEY_COUNTER
    else:
        assert isinstance(outcome, Accept)
    assert isinstance(touch(engine, key, count=11), Accept)


@pytest.mark.statement("W-009")
def test_a_key_that_never_counts_works_each_time(engine: Engine, serial: str) -> None:
    key = SigningKey(step=0)
    assert isinstance(register(engine, key), Accept)
    engine.clock.now += 60
    for _ in range(3):
        assert isinstance(touch(engine, key), Accept)
    assert not [told for told in engine.notices.told if told.notice == "security_key_copied"]


# --- where it is asked for


@pytest.mark.statement("W-021", "W-022")
@pytest.mark.parametrize("client", [VPN, SSH, PORTAL, CONSOLE])
def test_no_key_is_asked_for_anywhere_but_at_the_machine(engine: Engine, key: SigningKey, client: str) -> None:
    outcome = engine.log_in("alice", client=client)
    assert not (isinstance(outcome, Challenge) and outcome.wants)
    request = replace(engine.request("alice", client), assertion=Assertion(key.id, b"", b"", b""))
    (outcome,) = engine.gate.login([request])
    assert not isinstance(outcome, Accept)


def test_before_the_password_is_proved_everybody_is_asked_for_a_pin(engine: Engine, key: SigningKey) -> None:
    request = LoginRequest("alice", Channel.console(proves_password=False, local=True), DESK, 0)
    (outcome,) = engine.gate.login([request])
    assert isinstance(outcome, Challenge)
    assert (outcome.texts, outcome.wants) == ((text(MessageKey.ASK_PIN),), None)


def test_whom_the_kernel_names_is_asked_without_a_password(engine: Engine, key: SigningKey) -> None:
    """A screen locker that runs as its user."""
    channel = Channel.console(proves_password=False, pin_only=True, local=True, own=True)
    request = LoginRequest("alice", channel, DESK, 0)
    (asked,) = engine.gate.login([request])
    assert isinstance(asked, Challenge)
    assert isinstance(asked.wants, AskKey)
    (outcome,) = engine.gate.login([replace(request, state=asked.state, assertion=key.get(asked.wants))])
    assert isinstance(outcome, Accept)


def test_off_asks_for_none_and_registers_none(engine: Engine, key: SigningKey, serial: str) -> None:
    asked, wants = asked_to_touch(engine)
    engine.set_policy("security_key", "off")
    assert reason(answer(engine, asked, assertion=key.get(wants))) is Reason.KEY_MISSING
    outcome = engine.log_in("alice", client=DESK)
    assert isinstance(outcome, Challenge)
    assert outcome.wants is None
    assert reason(register(engine, SigningKey(), "green")) is Reason.KEY_ELSEWHERE


def test_required_takes_the_pin_away_at_the_machine_alone(engine: Engine, key: SigningKey, serial: str) -> None:
    engine.set_policy("security_key", "required")
    asked, wants = asked_to_touch(engine)
    assert not wants.or_passcode
    assert asked.texts[0].startswith("Touch your security key now.")
    refused = answer(engine, asked, passcode=engine.pin(serial))
    assert reason(refused) is Reason.KEY_MISSING
    assert isinstance(refused, Reject)
    assert refused.text == text(MessageKey.KEY_NEEDED)
    assert isinstance(touch(engine, key), Accept)
    assert isinstance(engine.log_in("alice", engine.pin(serial), SSH), Accept)
    engine.clock.now += 60
    both = engine.log_in("alice", engine.pin(serial), DESK)  # password and PIN in one field
    assert isinstance(both, Challenge)
    assert isinstance(both.wants, AskKey)


def test_required_registers_a_key_after_the_pin_of_who_has_none(engine: Engine, serial: str) -> None:
    engine.set_policy("security_key", "required")
    asked = engine.log_in("alice", client=DESK)
    named = answer(engine, asked, passcode=engine.pin(serial))
    assert isinstance(named, Challenge)
    assert named.texts == (text(MessageKey.KEY_NAME),)
    then = answer(engine, named, key_name="blue")
    assert isinstance(then, Challenge)
    assert isinstance(then.wants, AskNewKey)
    key = SigningKey()
    assert isinstance(answer(engine, then, key_name="blue", new_credential=key.make(then.wants)), Accept)
    assert isinstance(touch(engine, key), Accept)


def test_a_welcome_from_before_leads_to_a_key_once_one_is_required(engine: Engine) -> None:
    engine.add_user("bob")
    welcome = engine.log_in("bob", client=DESK)
    engine.set_policy("security_key", "required")
    then = answer(engine, welcome, "bob", passcode="s")
    assert isinstance(then, Challenge)
    assert then.texts == (text(MessageKey.KEY_NAME),)


def test_where_a_key_is_required_and_none_may_be_registered_that_is_what_is_said(engine: Engine, serial: str) -> None:
    engine.set_policy("security_key", "required")
    engine.set_policy("enrolment", "hardware-only")
    refused = answer(engine, engine.log_in("alice", client=DESK), passcode=engine.pin(serial))
    assert isinstance(refused, Reject)
    assert refused.text == text(MessageKey.KEY_NEEDED)


def test_a_screen_is_unlocked_with_a_pin_where_no_key_was_ever_registered(engine: Engine, serial: str) -> None:
    engine.set_policy("security_key", "required")
    channel = Channel.console(proves_password=False, pin_only=True, local=True, own=True)
    (outcome,) = engine.gate.login([LoginRequest("alice", channel, DESK, 0, passcode=engine.pin(serial))])
    assert isinstance(outcome, Accept)


# --- a key alone


def test_who_has_a_key_alone_is_told_where_it_works(engine: Engine) -> None:
    engine.add_user("bob")
    key = SigningKey()
    made = register(engine, key, user="bob")
    assert isinstance(made, Accept)
    assert made.texts == (text(MessageKey.KEY_REGISTERED), text(MessageKey.KEY_ALONE))
    for client in (VPN, SSH, CONSOLE):
        outcome = engine.log_in("bob", client=client)
        assert reason(outcome) is Reason.KEY_ELSEWHERE
        assert isinstance(outcome, Reject)
        assert outcome.text == text(MessageKey.KEY_ELSEWHERE)
    wrong = engine.log_in("bob", "123456", SSH)
    assert reason(wrong) is Reason.KEY_ELSEWHERE
    asked, wants = asked_to_touch(engine, "bob")
    assert not wants.or_passcode
    assert reason(answer(engine, asked, "bob")) is Reason.KEY_MISSING
    assert isinstance(touch(engine, key, user="bob"), Accept)


def test_recovery_codes_help_whoever_has_lost_his_only_key(engine: Engine) -> None:
    engine.add_user("bob")
    register(engine, SigningKey(), user="bob")
    codes = engine.gate.administer(IssueRecovery(actor="root", name="bob")).shown_once
    asked, wants = asked_to_touch(engine, "bob")
    assert wants.or_passcode
    assert isinstance(answer(engine, asked, "bob", passcode=typed_alone(codes[0])), Accept)
    assert isinstance(engine.log_in("bob", typed_alone(codes[1]), SSH), Accept)


def test_without_further_registration_a_revoked_key_leads_to_onboarding(engine: Engine) -> None:
    engine.add_user("bob")
    key = SigningKey()
    made = register(engine, key, user="bob")
    assert isinstance(made, Accept)
    asked, wants = asked_to_touch(engine, "bob")
    engine.gate.administer(RevokeToken(actor="bob", own="bob", serial=made.serial))
    assert reason(answer(engine, asked, "bob", assertion=key.get(wants))) is Reason.STATE_UNKNOWN
    outcome = engine.log_in("bob", client=DESK)
    assert isinstance(outcome, Challenge)
    assert outcome.texts == (text(MessageKey.WELCOME_OR_KEY),)


def test_with_a_further_registration_a_revoked_key_is_simply_gone(engine: Engine, key: SigningKey, serial: str) -> None:
    (token,) = [t for t in engine.see(user="alice").tokens if t.kind == "webauthn"]
    engine.gate.administer(RevokeToken(actor="alice", own="alice", serial=token.serial))
    outcome = engine.log_in("alice", client=DESK)
    assert isinstance(outcome, Challenge)
    assert (outcome.texts, outcome.wants) == ((text(MessageKey.ASK_PIN),), None)
    assert engine.token(token.serial).state is TokenState.REVOKED


# --- registering


def test_a_first_login_at_the_machine_may_register_a_key(engine: Engine) -> None:
    engine.add_user("bob")
    welcome = engine.log_in("bob", client=DESK)
    named = answer(engine, welcome, "bob", passcode="k")
    assert isinstance(named, Challenge)
    assert named.texts == (text(MessageKey.KEY_NAME),)
    again = answer(engine, named, "bob", key_name="")
    assert isinstance(again, Challenge)
    assert again.texts == (text(MessageKey.KEY_NAME_AGAIN),)
    then = answer(engine, again, "bob", key_name="blue key")
    assert isinstance(then, Challenge)
    assert isinstance(then.wants, AskNewKey)
    assert (then.wants.user_name, then.wants.rp_id, then.wants.attestation) == ("bob", "twofold", False)
    key = SigningKey()
    outcome = answer(engine, then, "bob", key_name="blue key", new_credential=key.make(then.wants))
    assert isinstance(outcome, Accept)
    (token,) = engine.see(user="bob").tokens
    assert (token.label, token.kind, token.algorithm, token.serial) == ("blue key", "webauthn", "es256", outcome.serial)
    assert engine.notices.told[-1].notice == "enrolled"


@pytest.mark.parametrize("client", [VPN, CONSOLE])
def test_elsewhere_no_key_is_offered_or_registered(engine: Engine, client: str) -> None:
    engine.set_policy("onboarding_over_radius", "key")
    engine.add_user("bob")
    welcome = engine.log_in("bob", client=client)
    assert isinstance(welcome, Challenge)
    assert welcome.texts == (text(MessageKey.WELCOME),)
    shown = answer(engine, welcome, "bob", client, passcode="k")
    assert isinstance(shown, Challenge)
    assert shown.provisioning is not None
    outcome = engine.log_in("bob", client=client, purpose=Purpose.ADD_KEY, key_name="blue")
    assert reason(outcome) is Reason.KEY_ELSEWHERE


def test_required_at_a_first_login_goes_straight_to_the_key(engine: Engine) -> None:
    engine.set_policy("security_key", "required")
    engine.add_user("bob")
    outcome = engine.log_in("bob", client=DESK)
    assert isinstance(outcome, Challenge)
    assert outcome.texts == (text(MessageKey.KEY_NAME),)


@pytest.mark.statement("W-008")
def test_a_key_is_registered_once_for_one_user(engine: Engine, key: SigningKey) -> None:
    outcome = engine.log_in("alice", client=DESK, purpose=Purpose.ADD_KEY, key_name="green")
    assert isinstance(outcome, Challenge)
    assert isinstance(outcome.wants, AskKey)
    then = answer(engine, outcome, assertion=key.get(outcome.wants), key_name="green")
    assert isinstance(then, Challenge)
    assert isinstance(then.wants, AskNewKey)
    assert then.wants.exclude == (key.id,)
    made = key.make(then.wants)
    assert reason(answer(engine, then, key_name="green", new_credential=made)) is Reason.KEY_KNOWN


@pytest.mark.parametrize("name", ["blue", "BLUE", "", " x", "-x", "a\nb", "x" * 65])
def test_a_name_must_be_usable_and_new(engine: Engine, key: SigningKey, name: str, serial: str) -> None:
    outcome = engine.log_in("alice", client=DESK, purpose=Purpose.ADD_KEY)
    named = answer(engine, outcome, passcode=engine.pin(serial))
    again = answer(engine, named, key_name=name)
    assert isinstance(again, Challenge)
    assert again.texts == (text(MessageKey.KEY_NAME_AGAIN),)
    assert again.tries_left == 2


def test_a_registration_is_looked_at_again_when_it_is_completed(engine: Engine, serial: str) -> None:
    """The name was taken, the policy changed or the last PIN's token was revoked in the meantime."""
    outcome = engine.log_in("alice", client=DESK, purpose=Purpose.ADD_KEY, key_name="blue")
    then = answer(engine, outcome, passcode=engine.pin(serial), key_name="blue")
    assert isinstance(then, Challenge)
    assert isinstance(then.wants, AskNewKey)
    made = SigningKey().make(then.wants)
    engine.set_policy("enrolment", "hardware-only")
    assert reason(answer(engine, then, key_name="blue", new_credential=made)) is Reason.HARDWARE_ONLY
    assert reason(answer(engine, then, key_name="blue", new_credential=made)) is Reason.STATE_UNKNOWN


def test_stages_of_a_key_are_not_mixed_up(engine: Engine, key: SigningKey) -> None:
    """An assertion is no registration, and a PIN answers neither question for a name nor for a new key."""
    asked, wants = asked_to_touch(engine)
    outcome = answer(
        engine,
        asked,
        new_credential=SigningKey().make(
            AskNewKey(wants.rp_id, "x", wants.origin, wants.challenge, b"h" * 16, "alice", (), (-7,), False, False)
        ),
    )
    assert isinstance(outcome, Challenge)  # nothing was touched and no PIN typed: so a PIN is asked for
    assert outcome.wants is None
    assert {t.kind for t in engine.see(user="alice").tokens} == {"totp", "webauthn"}


# --- what is looked at again


@pytest.mark.parametrize("purpose", [Purpose.LOGIN, Purpose.ADD_KEY])
@pytest.mark.parametrize("late", ["the name", "the key"])
def test_a_first_registration_does_not_go_on_once_there_is_another(engine: Engine, purpose: Purpose, late: str) -> None:
    """Begun with a password alone: else whoever has stolen it adds a key of his own beside the token that the
    administrator has handed out since."""
    engine.set_policy("security_key", "required")
    engine.add_user("bob")
    asked = engine.log_in("bob", client=DESK, purpose=purpose)
    assert isinstance(asked, Challenge)
    if late == "the key":
        asked_for_key = answer(engine, asked, "bob", key_name="blue", purpose=purpose)
        assert isinstance(asked_for_key, Challenge)
        assert isinstance(asked_for_key.wants, AskNewKey)
        engine.enroll("bob")
        made = SigningKey().make(asked_for_key.wants)
        outcome = answer(engine, asked_for_key, "bob", key_name="blue", new_credential=made, purpose=purpose)
    else:
        engine.enroll("bob")
        outcome = answer(engine, asked, "bob", key_name="blue", purpose=purpose)
    assert reason(outcome) is Reason.NO_TOKEN
    assert [token.kind for token in engine.see(user="bob").tokens] == ["totp"]


def test_a_pin_that_was_asked_for_before_a_key_was_required_does_not_let_in(
    engine: Engine, key: SigningKey, serial: str
) -> None:
    asked, _ = asked_to_touch(engine)
    pin = answer(engine, asked)
    assert isinstance(pin, Challenge)
    engine.set_policy("security_key", "required")
    outcome = answer(engine, pin, passcode=engine.pin(serial))
    assert reason(outcome) is Reason.KEY_MISSING
    assert isinstance(outcome, Reject)
    assert outcome.text == text(MessageKey.KEY_NEEDED)
    assert isinstance(engine.log_in("alice", engine.pin(serial), SSH), Accept)


def test_a_pin_for_a_ticket_is_not_compared_where_a_key_came_instead(engine: Engine) -> None:
    """The question stays open at the gateway; meanwhile a key was registered at the machine."""
    engine.add_user("bob")
    state = engine.challenge("bob")
    assert isinstance(register(engine, SigningKey(), user="bob"), Accept)
    assert reason(engine.answer("bob", state, "123456")) is Reason.KEY_ELSEWHERE
    assert engine.throttle("bob", Factor.PASSCODE) == Throttle()


def test_who_waits_is_asked_for_no_pin_that_he_cannot_have(engine: Engine) -> None:
    engine.add_user("bob")
    key = SigningKey()
    register(engine, key, user="bob")
    asked, wants = asked_to_touch(engine, "bob")
    for _ in range(5):
        engine.log_in("bob", "x", SSH, password=FirstFactor.WRONG)
    outcome = answer(engine, asked, "bob", assertion=key.get(wants))
    assert reason(outcome) is Reason.WAITING
    assert isinstance(outcome, Reject)
    assert outcome.text == text(MessageKey.REFUSED)


@pytest.mark.parametrize("late", ["the name", "the key"])
def test_who_waits_registers_nothing_and_is_not_asked_for_a_pin(engine: Engine, late: str) -> None:
    engine.add_user("bob")
    asked = engine.log_in("bob", client=DESK, purpose=Purpose.ADD_KEY, key_name="blue" if late == "the key" else "")
    for _ in range(5):
        engine.log_in("bob", "x", SSH, password=FirstFactor.WRONG)
    assert reason(answer(engine, asked, "bob", key_name="blue")) is Reason.WAITING


def test_a_wrong_pin_and_a_wait_look_alike_where_a_key_was_asked_for(
    engine: Engine, key: SigningKey, serial: str
) -> None:
    asked, _ = asked_to_touch(engine)
    for _ in range(5):
        engine.log_in("alice", "x", SSH, password=FirstFactor.WRONG)
    again = answer(engine, asked, passcode=engine.pin(serial))
    assert isinstance(again, Challenge)
    assert (again.reason, again.texts) == (
        Reason.WAITING,
        (fill(text(MessageKey.ASK_PIN_AGAIN), {"tries": tries_text(2, "en")}),),
    )


@pytest.mark.statement("W-009")
@pytest.mark.parametrize("purpose", [Purpose.ADD, Purpose.ADD_KEY, Purpose.CARE])
def test_a_copied_key_is_told_where_it_cares_for_registrations_too(
    engine: Engine, key: SigningKey, purpose: Purpose
) -> None:
    engine.set_policy("sign_count", "warn")
    assert isinstance(touch(engine, key, count=10), Accept)
    engine.notices.told.clear()
    asked = engine.log_in("alice", client=DESK, purpose=purpose)
    assert isinstance(asked, Challenge)
    assert isinstance(asked.wants, AskKey)
    outcome = answer(engine, asked, purpose=purpose, assertion=key.get(asked.wants, count=9), key_name="green")
    assert isinstance(outcome, Accept if purpose is Purpose.CARE else Challenge)
    assert [told.notice for told in engine.notices.told] == ["security_key_copied"]


@pytest.mark.parametrize("by", ["alice", "bob"])
def test_a_revoked_credential_is_never_accepted_again_for_anybody(engine: Engine, key: SigningKey, by: str) -> None:
    """An honest key makes a new one each time; this one offers the old."""
    (token,) = [t for t in engine.see(user="alice").tokens if t.kind == "webauthn"]
    engine.revoke(token.serial)
    engine.add_user("bob")
    outcome = register(engine, key, "green", user=by)
    assert reason(outcome) is Reason.DECISION_FAILED  # the store does not take it: no honest key comes here
    assert not [t for t in engine.see(user=by).tokens if t.kind == "webauthn"]


@pytest.mark.statement("W-020")
@pytest.mark.parametrize("client", [DESK, CONSOLE, VPN, SSH, PORTAL])
def test_who_gives_up_his_last_key_is_not_let_in_by_his_password(engine: Engine, client: str) -> None:
    """No file of his own says what he has; taking it away leads to a new registration, or to a refusal."""
    engine.add_user("bob")
    made = register(engine, SigningKey(), user="bob")
    assert isinstance(made, Accept)
    engine.gate.administer(RevokeToken(actor="bob", own="bob", serial=made.serial))
    outcome = engine.log_in("bob", client=client)
    assert isinstance(outcome, Reject | Challenge)
    if isinstance(outcome, Challenge):
        assert outcome.reason is Reason.ONBOARDING
        assert not isinstance(answer(engine, outcome, "bob", client), Accept)
