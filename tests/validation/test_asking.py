"""Everybody is asked before anything is told: what is seen is the same for all, what is done is what it was without."""

import itertools
from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.validation.engine import ACTOR, CONSOLE, VPN, Engine
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.gate import Outcome
from validation.model import Factor, FirstFactorKind, Mode, Token
from validation.requests import (
    AddClient,
    AddUser,
    ChangeUserState,
    Channel,
    FirstFactor,
    FirstFactorResult,
    RemoveUser,
    SetReplies,
    SetRule,
    SetText,
    SetUser,
    UserAct,
)
from validation.settings import Scope

ASKS = "asks"
WRONG_PINS = ("000000", "000001", "000002", "000003")


def engine(mode: Mode = Mode.CHALLENGE, **policies: str) -> Engine:
    """Alice with a token, and a client that asks everybody."""
    made = Engine(**policies)
    network = ip_network("192.0.2.99/32")
    asks = AddClient(actor=ACTOR, name=ASKS, network=network, secret=b"s" * 24, mode=mode, always_challenge=True)
    made.gate.administer(asks)
    made.add_user("alice")
    made.enroll("alice")
    return made


def step(
    made: Engine,
    client: str,
    user: str,
    passcode: str | None,
    state: str | None,
    password: FirstFactor = FirstFactor.PROVED,
) -> Outcome:
    """As a face hands it in."""
    seen = made.see(user=user, client=client)
    assert seen.client is not None
    channel = Channel.of_client(seen.client)
    request = made.request(user, VPN, passcode, state, password)
    if not channel.proves_password:
        request = replace(request, first_factor=FirstFactorResult(FirstFactor.NOT_CHECKED))
    request = replace(request, client=client, client_version=seen.client.version, channel=channel)
    (outcome,) = made.gate.login([request])
    return outcome


def conversation(
    made: Engine, client: str, user: str, pins: tuple[str, ...], password: FirstFactor = FirstFactor.PROVED
) -> list[Outcome]:
    outcomes = [step(made, client, user, None, None, password)]
    for one in pins:
        last = outcomes[-1]
        if not isinstance(last, Challenge):
            break
        outcomes.append(step(made, client, user, one, last.state))
    return outcomes


def seen(outcomes: list[Outcome]) -> list[object]:
    """What the person sees of it."""
    shown: list[object] = []
    for outcome in outcomes:
        match outcome:
            case Challenge():
                shown.append((outcome.texts, outcome.lifetime, outcome.tries_left, outcome.wants))
            case Reject():
                shown.append((outcome.text, outcome.delay))
            case _:
                shown.append(type(outcome).__name__)
    return shown


def stand(made: Engine, what: str) -> str:
    """The name of somebody who stands like this."""
    match what:
        case "nobody":
            return "nobody"
        case "locked" | "disabled":
            act = UserAct.LOCK if what == "locked" else UserAct.DISABLE
            made.gate.administer(ChangeUserState(actor=ACTOR, name="alice", act=act))
        case "waiting":
            for _ in range(5):
                made.log_in("alice", "999999", password=FirstFactor.WRONG)
        case _:
            pass
    return "alice"


STANDINGS = ["good", "nobody", "locked", "disabled", "waiting"]
PASSWORDS = [FirstFactor.PROVED, FirstFactor.WRONG]


@pytest.mark.statement("R-098", "R-078")
@pytest.mark.parametrize(("what", "password"), list(itertools.product(STANDINGS, PASSWORDS)))
def test_with_wrong_pins_nobody_can_be_told_apart(what: str, password: FirstFactor) -> None:
    expected = seen(conversation(engine(), ASKS, "alice", WRONG_PINS))
    assert len(expected) == 4
    made = engine()
    assert seen(conversation(made, ASKS, stand(made, what), WRONG_PINS, password)) == expected


@pytest.mark.statement("R-098")
@pytest.mark.parametrize(("what", "password"), list(itertools.product(STANDINGS, PASSWORDS)))
def test_who_is_let_in_and_what_is_counted_is_as_without_asking(what: str, password: FirstFactor) -> None:
    """But that no PIN is compared where something stands against the login."""
    found = []
    for client in (VPN, ASKS):
        made = engine()
        name = stand(made, what)
        (serial,) = [token.serial for token in made.see(user="alice").tokens]
        outcomes = conversation(made, client, name, (made.pin(serial),), password)
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Accept)]
        throttles = made.throttle("alice", Factor.PASSWORD), made.throttle("alice", Factor.PASSCODE)
        found.append((len(accepted), made.token(serial).moving_factor, throttles))
    assert found[0] == found[1]
    assert bool(found[0][0]) is ((what, password) == ("good", FirstFactor.PROVED))


def test_a_right_pin_does_not_help_a_wrong_password_and_is_not_used_up() -> None:
    made = engine()
    (token,) = made.see(user="alice").tokens
    outcomes = conversation(made, ASKS, "alice", (made.pin(token.serial),) * 3, FirstFactor.WRONG)
    assert [type(outcome) for outcome in outcomes] == [Challenge, Challenge, Challenge, Reject]
    assert made.token(token.serial).moving_factor == token.moving_factor
    assert [(row.decision, row.reason) for row in made.trail if row.event == "login"] == [
        ("challenge", "password-wrong"),
        ("again", "password-wrong"),
        ("again", "password-wrong"),
        ("reject", "password-wrong"),
    ]


def test_a_place_of_passwords_that_does_not_answer_is_no_question() -> None:
    made = engine()
    (outcome,) = conversation(made, ASKS, "alice", (), FirstFactor.UNAVAILABLE)
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.FIRST_FACTOR_UNAVAILABLE


@pytest.mark.statement("R-092", "R-093")
@pytest.mark.parametrize("password", PASSWORDS)
def test_the_state_is_good_for_nobody_else_nowhere_else_and_not_for_ever(password: FirstFactor) -> None:
    made = engine()
    made.add_user("bob")
    token = made.token(made.enroll("bob"))
    asked = step(made, ASKS, "alice", None, None, password)
    assert isinstance(asked, Challenge)
    for client, user in ((ASKS, "bob"), (ASKS, "nobody"), (VPN, "alice")):
        outcome = step(made, client, user, made.pin(token.serial), asked.state)
        assert isinstance(outcome, Reject)
        assert outcome.reason is Reason.STATE_FOREIGN
    made.clock.now += 121
    late = step(made, ASKS, "alice", "000000", asked.state)
    assert isinstance(late, Reject)
    assert late.reason is Reason.STATE_EXPIRED


def test_who_is_removed_or_locked_before_he_answers_is_not_let_in() -> None:
    for command in (
        ChangeUserState(actor=ACTOR, name="alice", act=UserAct.LOCK),
        RemoveUser(actor=ACTOR, name="alice"),
    ):
        made = engine()
        (token,) = made.see(user="alice").tokens
        asked = step(made, ASKS, "alice", None, None)
        assert isinstance(asked, Challenge)
        right = made.pin(token.serial)
        made.gate.administer(command)
        assert isinstance(step(made, ASKS, "alice", right, asked.state), Reject)


def test_texts_of_his_group_are_not_read_before_the_password_is_proved_and_answered() -> None:
    """A text of one's own would tell whose name it is."""
    made = engine()
    made.gate.administer(SetUser(actor=ACTOR, name="alice", groups=("staff",)))
    for key, words in (("ask-pin", "Staff, your PIN"), ("ask-pin-again", "Again, {tries}")):
        made.gate.administer(SetText(actor=ACTOR, key=key, language="", text=words, scope=Scope("staff")))
    made.gate.administer(SetRule(actor=ACTOR, key="tries", value="9", scope=Scope("staff")))
    made.gate.administer(SetRule(actor=ACTOR, key="challenge_lifetime", value="9m", scope=Scope("staff")))
    assert seen(conversation(made, ASKS, "alice", WRONG_PINS)) == seen(
        conversation(engine(), ASKS, "alice", WRONG_PINS)
    )


@pytest.mark.parametrize("who", ["alice", "without", "nobody"])
def test_a_client_that_checks_passwords_itself_is_not_told_whom_we_know(who: str) -> None:
    made = engine(Mode.PASSCODE_ONLY)
    made.add_user("without")
    expected = seen(conversation(engine(Mode.PASSCODE_ONLY), ASKS, "alice", WRONG_PINS))
    assert len(expected) == 4
    assert seen(conversation(made, ASKS, who, WRONG_PINS)) == expected
    fresh = engine(Mode.PASSCODE_ONLY)
    (token,) = fresh.see(user="alice").tokens
    assert isinstance(conversation(fresh, ASKS, "alice", (fresh.pin(token.serial),))[-1], Accept)


# --- where the password is checked, and what was learned there


def log_in_with(made: Engine, result: FirstFactorResult, user: str = "alice", client: str = VPN) -> Outcome:
    known = made.see(user=user).user
    version = known.password_version if known is not None else None
    (outcome,) = made.gate.login(
        [replace(made.request(user, client), first_factor=replace(result, password_version=version))]
    )
    return outcome


def test_a_result_from_another_place_than_policy_says_proves_nothing() -> None:
    """The policy was changed while the password was on its way."""
    made = engine()
    made.gate.administer(AddUser(actor=ACTOR, name="carol", groups=("staff",)))
    made.enroll("carol")
    made.set_policy("first_factor", "ldap", Scope("staff"))
    made.set_policy("first_factor", "radius", Scope(client=VPN))
    for kind in FirstFactorKind:
        outcome = log_in_with(made, FirstFactorResult(FirstFactor.PROVED, kind=kind), "carol")
        assert isinstance(outcome, Challenge) is (kind is FirstFactorKind.LDAP), "her group goes before the client"
        if isinstance(outcome, Reject):
            assert outcome.reason is Reason.PASSWORD_CHANGED


def test_groups_of_the_directory_count_to_the_end_of_the_login_and_not_longer() -> None:
    made = engine()
    made.set_policy("second_factor", "skip", Scope("guests"))
    made.set_policy("tries", "1", Scope("strict"))
    proved = FirstFactorResult(FirstFactor.PROVED)
    assert isinstance(log_in_with(made, replace(proved, groups=("guests",))), Accept)
    assert isinstance(log_in_with(made, proved), Challenge)
    wrong = FirstFactorResult(FirstFactor.WRONG, groups=("guests",))
    assert isinstance(log_in_with(made, wrong), Reject), "of no password that was not proved"
    strict = log_in_with(made, replace(proved, groups=("strict",)))
    assert isinstance(strict, Challenge)
    assert strict.tries_left == 1
    assert isinstance(made.answer("alice", strict.state, "000000"), Reject), "the answer is judged by them, too"


def test_attributes_of_another_server_come_to_the_accept_after_ours_and_to_nobody_elses() -> None:
    made = engine()
    (token,) = made.see(user="alice").tokens
    theirs = (25, b"theirs"), (27, bytes(4)), (26, b"\x00\x00\x00\x09\x01\x03x")
    asked = log_in_with(made, FirstFactorResult(FirstFactor.PROVED, replies=theirs))
    assert isinstance(asked, Challenge)
    made.gate.administer(SetReplies(actor=ACTOR, scope=Scope(), replies={"Class": ("ours",)}))
    accepted = made.answer("alice", asked.state, made.pin(token.serial))
    assert isinstance(accepted, Accept)
    assert accepted.replies == ((25, b"ours"), *theirs[1:])
    refused = log_in_with(made, FirstFactorResult(FirstFactor.WRONG, replies=theirs))
    assert isinstance(refused, Reject)


def a_token(made: Engine) -> Token:
    (token,) = made.see(user="alice").tokens
    return token


def test_at_a_console_there_are_no_reply_attributes() -> None:
    made = engine()
    made.gate.administer(SetReplies(actor=ACTOR, scope=Scope(), replies={"Class": ("ours",)}))
    accepted = made.log_in("alice", made.pin(a_token(made).serial), client=CONSOLE)
    assert isinstance(accepted, Accept)
    assert accepted.replies == ()


def test_names_of_nobody_make_few_rows_however_often_they_are_asked() -> None:
    """DESIGN 5: a row a minute for each source."""
    made = engine()
    before = len(made.trail)
    for number in range(50):
        conversation(made, ASKS, f"ghost{number}", WRONG_PINS, FirstFactor.WRONG)
    assert len(made.trail) - before <= 2
