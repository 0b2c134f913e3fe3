"""Wrong guesses, however many at once and from however many processes, and what a restart makes of the waits."""

import contextlib
from collections import Counter

import pytest

from store import opening
from store.notices import NoNotices
from tests.builders import NOW
from tests.flows.crowd import answered, ask_all, numbered, wrong_pins
from tests.flows.worker import PROCESSES, FixedMoments, Order, Workers, told
from tests.postgres import on_both
from tests.site import PASSWORD, SECRET, Site, pin
from tests.wire import CHALLENGE, REJECT
from validation.gate import Gate
from validation.model import Mode, Token
from validation.requests import Channel, LoginRequest, SetRule
from validation.settings import Scope
from validation.throttle import budget_day

GUESSES = 500
LOCK_FROM = 5
HELD_AGAINST = 3  # codes of a TOTP token, for each wrong PIN
WAITS = ("reject", "waiting-after-failures")


def request(site: Site, passcode: str, request_id: str = "") -> LoginRequest:
    (client,) = site.gate.clients()
    return LoginRequest(
        user="alice",
        channel=Channel.for_mode(client.mode),
        client=client.name,
        client_version=client.version,
        passcode=passcode,
        request_id=request_id,
    )


def gate_at(site: Site, now: float) -> Gate:
    return Gate(site.database, FixedMoments(now), opening.LoggedFaults(), NoNotices())


def spent(site: Site) -> int:
    """Codes that wrong PINs of alice were held against."""
    (seen,) = site.database.look([request(site, "").wanted])
    return sum(seen.guesses.values())


def prepared(site: Site) -> Token:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    return site.enroll("alice")


# --- 500 at once


@pytest.mark.statement("C-020", "O-010")
@on_both
def test_of_500_wrong_guesses_from_4_processes_5_are_compared_and_the_right_pin_waits(
    site: Site, workers: Workers
) -> None:
    """Nothing may be compared between the fifth failure and its commit, by whatever process."""
    token = prepared(site)
    guesses = [text for text in (f"{n:06}" for n in range(GUESSES + 10)) if text not in near(token)][:GUESSES]
    share = GUESSES // PROCESSES
    orders = []
    for process in range(PROCESSES):
        mine = [request(site, guess, request_id=guess) for guess in guesses[process * share : (process + 1) * share]]
        calls = [mine[at : at + 5] for at in range(0, share, 5)] if process % 2 else [[one] for one in mine]
        orders.append(Order(NOW, calls))
    outcomes = workers.submit(orders)
    assert Counter(outcomes.values()) == {("reject", "passcode-wrong"): LOCK_FROM, WAITS: GUESSES - LOCK_FROM}
    assert site.failures("alice") == {"passcode": LOCK_FROM}
    assert spent(site) == LOCK_FROM * HELD_AGAINST
    (last,) = gate_at(site, NOW).login([request(site, pin(token, now=NOW))])
    assert told(last) == WAITS
    assert site.token_row(token.serial)["moving_factor"] == 0
    (after,) = gate_at(site, NOW + 30).login([request(site, pin(token, now=NOW + 30))])
    assert told(after) == ("accept", "passcode-right")


def near(token: Token) -> set[str]:
    return {pin(token, ahead, now=NOW) for ahead in range(-2, 3)}


@pytest.mark.statement("C-020", "O-010")
@on_both
def test_of_500_wrong_guesses_to_2_servers_5_are_compared_and_the_right_pin_waits(site: Site) -> None:
    token = prepared(site)
    rule = SetRule(actor="test", key="lock_base", value="10m", scope=Scope())  # longer than any machine takes
    site.gate.administer(rule)
    guesses = wrong_pins(token, GUESSES)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(site.server()) for _ in range(2)]
        gateways = [stack.enter_context(server.nas()) for server in servers for _ in range(2)]
        shares = [guesses[number :: len(gateways)] for number in range(len(gateways))]
        requests = [numbered(SECRET, [("alice", guess) for guess in share]) for share in shares]
        for group in zip(*requests, strict=True):  # in turn, so that both servers begin at once
            for nas, one in zip(gateways, group, strict=True):
                nas.send(one.data)
        codes = [reply.code for nas, sent in zip(gateways, requests, strict=True) for reply in answered(nas, sent)]
        assert codes == [REJECT] * GUESSES
        assert gateways[0].login("alice", pin(token)).code == REJECT
    reasons = Counter(reason for _, reason in site.logins())
    assert reasons == {"passcode-wrong": LOCK_FROM, WAITS[1]: GUESSES - LOCK_FROM + 1}
    assert site.failures("alice") == {"passcode": LOCK_FROM}
    assert spent(site) == LOCK_FROM * HELD_AGAINST
    assert site.token_row(token.serial)["moving_factor"] == 0


# --- what a restart, another server and the clock make of a wait


@pytest.mark.statement("C-021")
@on_both
def test_a_wait_holds_after_a_crash_at_another_server_and_for_the_command(site: Site) -> None:
    site.add_user("alice")
    token = site.enroll("alice")
    site.add_client()
    site.gate.administer(SetRule(actor="test", key="lock_base", value="10m", scope=Scope()))
    with site.server() as first, site.server() as second, first.nas() as here, second.nas() as there:
        open_before = here.login("alice", PASSWORD)
        guesses = numbered(SECRET, [("alice", f"wrong-{n}") for n in range(5)])
        assert {reply.code for reply in ask_all(here, guesses)} == {REJECT}
        first.kill()
        assert there.login("alice", PASSWORD).code == REJECT
        assert there.login("alice", pin(token), state=open_before.state).code == CHALLENGE, "nothing is compared"
    with site.server() as third, third.nas() as nas:
        assert nas.login("alice", PASSWORD).code == REJECT
        assert site.failures("alice") == {"password": 5}
        assert site.logins()[-3:] == [WAITS, ("again", WAITS[1]), WAITS]
        assert "5 x password, nothing is checked until" in site.command("user", "show", "alice").stdout
        assert site.command("user", "unlock", "alice").returncode == 0
        assert nas.login("alice", PASSWORD).code == CHALLENGE


@pytest.mark.statement("C-021")
@pytest.mark.parametrize("back", [1, 3600, 86_400, NOW], ids=["a second", "an hour", "a day", "to 1970"])
def test_a_clock_that_is_set_back_ends_no_wait_and_forgets_no_failure(site: Site, back: float) -> None:
    token = prepared(site)
    gate_at(site, NOW).login([request(site, guess) for guess in wrong_at(token, 5)])
    now = NOW - back
    (refused,) = gate_at(site, now).login([request(site, pin(token, now=now))])
    assert told(refused) == WAITS
    assert site.failures("alice") == {"passcode": 5}
    assert site.token_row(token.serial)["moving_factor"] == 0


@pytest.mark.statement("C-021")
@pytest.mark.parametrize("by", [30, 86_400, 28 * 86_400], ids=["30 s", "a day", "four weeks"])
def test_a_clock_that_is_set_forward_ends_a_wait_and_forgets_neither_failure_nor_guess(site: Site, by: float) -> None:
    """The next wrong PIN makes the wait that follows on the one before, and the budget goes on."""
    token = prepared(site)
    *first, sixth = wrong_at(token, 6)
    gate_at(site, NOW).login([request(site, guess) for guess in first])
    now = NOW + by
    gate = gate_at(site, now)
    outcomes = gate.login([request(site, guess) for guess in (sixth, pin(token, now=now))])
    assert [told(outcome) for outcome in outcomes] == [("reject", "passcode-wrong"), WAITS]
    (seen,) = site.database.look([request(site, "").wanted])
    assert [(t.failures, t.blocked_until - now) for t in seen.throttles.values()] == [(6, 60)]
    assert sum(seen.guesses.values()) == 6 * HELD_AGAINST
    assert {budget_day(NOW), budget_day(now)} == set(seen.guesses)


def wrong_at(token: Token, count: int) -> list[str]:
    """PINs that the token shows neither at NOW nor within four weeks of it in a way these tests ask for."""
    asked = {pin(token, ahead, now=NOW + later) for later in (0, 30, 86_400, 28 * 86_400) for ahead in range(-2, 3)}
    return [text for text in (f"{n:06}" for n in range(count + len(asked))) if text not in asked][:count]


@pytest.mark.statement("C-021")
@pytest.mark.parametrize(("shut", "reopen"), [("lock", "unlock"), ("disable", "enable")])
def test_an_admins_lock_is_ended_by_an_admin_alone(site: Site, shut: str, reopen: str) -> None:
    token = prepared(site)
    assert site.command("user", shut, "alice").returncode == 0
    for now in (NOW - 86_400, NOW, NOW + 365 * 86_400):
        (refused,) = gate_at(site, now).login([request(site, pin(token, now=now))])
        assert told(refused)[0] == "reject"
        assert told(refused)[1] in ("user-locked", "user-disabled")
    assert site.command("user", reopen, "alice").returncode == 0
    (accepted,) = gate_at(site, NOW).login([request(site, pin(token, now=NOW))])
    assert told(accepted) == ("accept", "passcode-right")
