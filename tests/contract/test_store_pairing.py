"""What every store promises about pairing, tickets, reuse windows, guesses, policies and texts, tried on each."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests import builders
from tests.builders import NOW, challenge
from tests.contract.test_store import NO_ID, TICKET, apply, check_conflict, see, token_of, user_of
from validation.changes import (
    Change,
    CloseChallenge,
    CountGuesses,
    DeleteRule,
    DeleteUser,
    EndLoginsOf,
    ForgetGuesses,
    InsertRule,
    InsertText,
    InsertTicket,
    InsertToken,
    InsertUser,
    MarkRegistered,
    OpenChallenge,
    OpenReuse,
    Resynchronise,
    SetBypass,
    SetPairing,
    SetReply,
    SetTokenState,
    UseTicket,
)
from validation.model import (
    Pairing,
    PendingChallenge,
    Purpose,
    ReuseWindow,
    RevokeReason,
    Snapshot,
    Stage,
    Ticket,
    Token,
    TokenState,
    User,
)
from validation.ports import Store
from validation.requests import Wanted
from validation.settings import Reply, Rule, Scope, Text

SOURCE = "192.0.2.99"
DAY = int(NOW) // 86_400


@pytest.fixture
def alice(store: Store) -> User:
    apply(store, InsertUser(builders.user(id=0)))
    return user_of(store)


@pytest.fixture
def bob(store: Store) -> User:
    apply(store, InsertUser(builders.user(id=0, name="bob")))
    return user_of(store, "bob")


@pytest.fixture
def token(store: Store, alice: User) -> Token:
    """Alice's, at moving factor 7 and after two failures."""
    apply(store, InsertToken(builders.totp_token(id=0, user_id=alice.id, moving_factor=7, failures=2)))
    return token_of(store)


# --- users


def test_pairing_and_bypass_are_set_and_nothing_else(store: Store, alice: User) -> None:
    apply(store, SetPairing(alice.id, Pairing.CLOSED, NOW + 1.5), SetBypass(alice.id, NOW + 7200))
    changed = replace(alice, pairing=Pairing.CLOSED, pairing_since=NOW + 1.5, bypass_until=NOW + 7200)
    assert user_of(store) == changed
    apply(store, SetPairing(alice.id, Pairing.REOPENED, NOW + 2), SetBypass(alice.id, 0.0))
    assert user_of(store) == replace(changed, pairing=Pairing.REOPENED, pairing_since=NOW + 2, bypass_until=0.0)
    check_conflict(store, SetPairing(NO_ID, Pairing.NEW, NOW))
    check_conflict(store, SetBypass(NO_ID, NOW))


def test_the_first_registration_is_remembered_and_no_later_one(store: Store, alice: User) -> None:
    apply(store, MarkRegistered(alice.id, NOW))
    apply(store, MarkRegistered(alice.id, NOW + 1), MarkRegistered(alice.id, NOW - 1))
    assert user_of(store) == replace(alice, first_registered_at=NOW)


# --- tokens


@pytest.mark.parametrize("state", [TokenState.ACTIVE, TokenState.DISABLED])
def test_a_token_is_found_again_from_where_it_stands(store: Store, token: Token, state: TokenState) -> None:
    """Its state stays, and it was not used."""
    if state is TokenState.DISABLED:
        apply(store, SetTokenState(token.id, state, None, NOW))
    apply(store, Resynchronise(token.id, 7, 12, -3))
    assert token_of(store) == replace(token, moving_factor=12, drift=-3, failures=0, state=state)


@pytest.mark.statement("O-008")
@pytest.mark.parametrize(("from_", "to"), [(6, 9), (8, 9), (7, 7), (7, 6), (7, 0)])
def test_no_resynchronisation_takes_a_moving_factor_back(store: Store, token: Token, from_: int, to: int) -> None:
    check_conflict(store, Resynchronise(token.id, from_, to, 0))


def test_a_revoked_or_unknown_token_is_not_found_again(store: Store, token: Token) -> None:
    check_conflict(store, Resynchronise(NO_ID, 7, 8, 0))
    apply(store, SetTokenState(token.id, TokenState.REVOKED, RevokeReason.OTHER, NOW))
    check_conflict(store, Resynchronise(token.id, 7, 8, 0))


# --- guesses


def test_guesses_are_added_up_by_user_and_day(store: Store, alice: User, bob: User) -> None:
    assert see(store, user="alice").guesses == {}
    apply(store, CountGuesses(alice.id, DAY, 3, DAY - 30), CountGuesses(alice.id, DAY, 11, DAY - 30))
    apply(store, CountGuesses(alice.id, DAY + 1, 2, DAY - 29), CountGuesses(bob.id, DAY, 1, DAY - 30))
    assert see(store, user="alice").guesses == {DAY: 14, DAY + 1: 2}
    assert see(store, user="bob").guesses == {DAY: 1}
    assert see(store, serial="nothing").guesses == {}
    check_conflict(store, CountGuesses(NO_ID, DAY, 1, DAY - 30))


def test_days_before_the_named_one_are_forgotten_and_nobody_elses(store: Store, alice: User, bob: User) -> None:
    for day in (DAY - 2, DAY - 1, DAY):
        apply(store, CountGuesses(alice.id, day, 5, 0), CountGuesses(bob.id, day, 5, 0))
    apply(store, CountGuesses(alice.id, DAY, 1, forget_before=DAY - 1))
    assert see(store, user="alice").guesses == {DAY - 1: 5, DAY: 6}
    assert see(store, user="bob").guesses == dict.fromkeys((DAY - 2, DAY - 1, DAY), 5)


def test_all_guesses_of_one_user_can_be_forgotten(store: Store, alice: User, bob: User) -> None:
    apply(
        store, CountGuesses(alice.id, DAY, 5, 0), CountGuesses(alice.id, DAY + 1, 5, 0), CountGuesses(bob.id, DAY, 5, 0)
    )
    apply(store, ForgetGuesses(alice.id))
    assert (see(store, user="alice").guesses, see(store, user="bob").guesses) == ({}, {DAY: 5})
    apply(store, ForgetGuesses(alice.id))  # none is no conflict


# --- reuse windows


def reuse(**fields: Any) -> ReuseWindow:
    defaults = {"client": "vpn", "source": SOURCE, "expires_at": NOW + 60.5, "length": 60.5, "passcode_mark": b"m" * 32}
    return ReuseWindow(**{**defaults, **fields})


def window_of(
    store: Store, user: str = "alice", client: str = "vpn", source: str | None = SOURCE
) -> ReuseWindow | None:
    return see(store, user=user, client=client, source=source).reuse


def test_a_reuse_window_is_good_for_its_user_client_and_source_alone(store: Store, alice: User, bob: User) -> None:
    apply(store, OpenReuse(alice.id, reuse(), NOW))
    assert window_of(store) == reuse()
    assert window_of(store, user="bob") is None
    assert window_of(store, client="nas") is None
    for source in ("192.0.2.9", "192.0.2.990", "", None):
        assert window_of(store, source=source) is None
    check_conflict(store, OpenReuse(NO_ID, reuse(), NOW))


def test_a_new_reuse_window_takes_the_place_of_the_old_one(store: Store, alice: User) -> None:
    new = reuse(expires_at=NOW + 90, length=80.0, passcode_mark=b"n" * 32)
    apply(store, OpenReuse(alice.id, reuse(), NOW), OpenReuse(alice.id, reuse(source="2001:db8::1"), NOW))
    apply(store, OpenReuse(alice.id, new, NOW))
    assert (window_of(store), window_of(store, source="2001:db8::1")) == (new, reuse(source="2001:db8::1"))


def test_opening_a_reuse_window_sweeps_out_those_that_are_over(store: Store, alice: User, bob: User) -> None:
    apply(store, OpenReuse(alice.id, reuse(), NOW))
    apply(store, OpenReuse(bob.id, reuse(expires_at=NOW + 999), NOW + 60.5))
    assert (window_of(store), window_of(store, user="bob")) == (None, reuse(expires_at=NOW + 999))


# --- tickets


def ticket(user: User, **fields: Any) -> Ticket:
    return Ticket(**{"digest": TICKET, "user_id": user.id, "expires_at": NOW + 600.5, "by_admin": False, **fields})


def ticket_of(store: Store, digest: bytes = TICKET) -> Ticket | None:
    return see(store, ticket=digest).ticket


def test_a_ticket_is_found_by_its_digest_and_tells_its_owner(store: Store, alice: User, bob: User) -> None:
    apply(store, InsertTicket(ticket(alice, by_admin=True), NOW))
    found = see(store, ticket=TICKET)
    assert (found.ticket, found.user) == (ticket(alice, by_admin=True), alice)
    for other in (b"t" * 31, b"t" * 33, b"", b"T" * 32):
        assert see(store, ticket=other) == Snapshot()
    beside = see(store, user="bob", ticket=TICKET)
    assert (beside.user, beside.ticket) == (bob, ticket(alice, by_admin=True)), "whose it is, the engine must look at"
    check_conflict(store, InsertTicket(ticket(replace(alice, id=NO_ID), digest=b"u" * 32), NOW))


def test_a_user_has_one_ticket_at_a_time_and_late_ones_are_swept_out(store: Store, alice: User, bob: User) -> None:
    apply(store, InsertTicket(ticket(alice), NOW), InsertTicket(ticket(bob, digest=b"b" * 32, expires_at=NOW + 1), NOW))
    apply(store, InsertTicket(ticket(alice, digest=b"n" * 32), NOW + 0.5))
    assert [ticket_of(store, d) is not None for d in (TICKET, b"n" * 32, b"b" * 32)] == [False, True, True]
    apply(store, InsertTicket(ticket(alice), NOW + 1))
    assert [ticket_of(store, d) is not None for d in (TICKET, b"n" * 32, b"b" * 32)] == [True, False, False]


@pytest.mark.statement("O-056")
def test_a_ticket_is_used_once(store: Store, alice: User, bob: User) -> None:
    apply(store, InsertTicket(ticket(alice), NOW), InsertTicket(ticket(bob, digest=b"b" * 32), NOW))
    check_conflict(store, UseTicket(TICKET), UseTicket(TICKET))
    apply(store, UseTicket(TICKET))
    assert (ticket_of(store), ticket_of(store, b"b" * 32)) == (None, ticket(bob, digest=b"b" * 32))
    check_conflict(store, UseTicket(TICKET))


# --- challenges


CANDIDATE = builders.totp_token(
    id=0, serial="NEW", key=bytes(range(20)), label="Zoës 📱", digits=8, algorithm="sha256", created_at=NOW + 0.5
)


def pairing(alice: User, **fields: Any) -> PendingChallenge:
    defaults: dict[str, Any] = {
        "state": "cd" * 16,
        "user_id": alice.id,
        "stage": Stage.FIRST_PIN,
        "purpose": Purpose.REDEEM,
        "candidate": CANDIDATE,
        "replaces": "TF-TOTP",
        "ticket": TICKET,
    }
    return challenge(**{**defaults, **fields})


def test_a_candidate_comes_back_with_its_challenge_and_exists_nowhere_else(store: Store, alice: User) -> None:
    opened = pairing(alice)
    apply(store, OpenChallenge(opened, NOW))
    assert see(store, state=opened.state).challenge == opened
    assert see(store, user="alice", serial="NEW", key=CANDIDATE.key) == Snapshot(user=alice)
    apply(store, CloseChallenge(opened.state))
    assert see(store, state=opened.state).challenge is None


@pytest.mark.parametrize("stage", [Stage.WELCOME, Stage.APPS, Stage.PIN])
@pytest.mark.parametrize("purpose", Purpose)
def test_every_stage_and_purpose_is_kept(store: Store, alice: User, stage: Stage, purpose: Purpose) -> None:
    opened = pairing(alice, stage=stage, purpose=purpose, candidate=None, ticket=b"", replaces="")
    apply(store, OpenChallenge(opened, NOW))
    assert see(store, state=opened.state).challenge == opened


def test_a_challenge_that_a_ticket_opened_brings_the_ticket_along(store: Store, alice: User) -> None:
    apply(store, InsertTicket(ticket(alice), NOW), OpenChallenge(pairing(alice), NOW))
    assert see(store, user="alice", state="cd" * 16).ticket == ticket(alice)
    apply(store, UseTicket(TICKET))
    assert see(store, user="alice", state="cd" * 16).ticket is None


# --- ending


def open_everything(store: Store, who: User, letter: str) -> None:
    """A challenge of each stage, a ticket and a reuse window; States and ticket begin with `letter`."""
    changes: list[Change] = [
        InsertTicket(ticket(who, digest=letter.encode() * 32), NOW),
        OpenReuse(who.id, reuse(), NOW),
    ]
    for n, stage in enumerate(Stage):
        candidate = CANDIDATE if stage is Stage.FIRST_PIN else None
        opened = pairing(who, state=f"{letter}{n}" * 16, stage=stage, candidate=candidate, ticket=b"")
        changes.append(OpenChallenge(opened, NOW))
    apply(store, *changes)


def what_is_open(store: Store, name: str, letter: str) -> set[str]:
    found: set[str] = set()
    for n, stage in enumerate(Stage):
        if see(store, state=f"{letter}{n}" * 16).challenge is not None:
            found.add(stage)
    if ticket_of(store, letter.encode() * 32) is not None:
        found.add("ticket")
    if window_of(store, user=name) is not None:
        found.add("reuse")
    return found


ALL = {*Stage, "ticket", "reuse"}


@pytest.mark.parametrize(
    ("pairing_only", "left"),
    [(False, set[str]()), (True, {Stage.PIN, Stage.ASKED, Stage.KEY, "reuse"})],
    ids=["all", "pairing"],
)
def test_ending_a_users_logins_ends_all_or_what_could_pair_and_nobody_elses(
    store: Store, alice: User, bob: User, pairing_only: bool, left: set[str]
) -> None:
    open_everything(store, alice, "a")
    open_everything(store, bob, "b")
    assert (what_is_open(store, "alice", "a"), what_is_open(store, "bob", "b")) == (ALL, ALL)
    apply(store, EndLoginsOf(alice.id, pairing_only))
    assert (what_is_open(store, "alice", "a"), what_is_open(store, "bob", "b")) == (left, ALL)
    apply(store, EndLoginsOf(alice.id, pairing_only))  # none is no conflict


def test_deleting_a_user_takes_along_what_was_open(store: Store, alice: User, bob: User) -> None:
    open_everything(store, alice, "a")
    apply(store, CountGuesses(alice.id, DAY, 3, 0), DeleteUser(alice.id))
    apply(store, InsertUser(replace(alice, id=0)))
    assert what_is_open(store, "alice", "a") == set()
    assert see(store, user="alice", client="vpn", source=SOURCE) == Snapshot(user=user_of(store))


# --- policies and texts


EVERYBODY, STAFF = Scope(), Scope(group="staff")
FULL = Scope("staff", "vpn", None, ip_network("2001:db8::/32"))


@pytest.fixture
def unchanged_elsewhere(store: Store, alice: User) -> Iterator[None]:
    before = see(store, user="alice")
    yield
    assert replace(see(store, user="alice"), book=before.book) == before


def rules(store: Store) -> list[tuple[str, str, Scope]]:
    """In the order they came."""
    found = see(store).book.rules
    assert len({rule.id for rule in found}) == len(found)
    assert all(rule.id > 0 for rule in found)
    return [(rule.key, rule.value, rule.scope) for rule in sorted(found, key=lambda rule: rule.id)]


def texts(store: Store) -> set[Text]:
    return set(see(store).book.texts)


@pytest.mark.usefixtures("unchanged_elsewhere")
def test_a_rule_is_kept_for_its_scope_and_a_new_one_takes_its_place(store: Store) -> None:
    assert rules(store) == []
    scopes = [
        EVERYBODY,
        STAFF,
        Scope(client="vpn"),
        Scope(service="sshd"),
        Scope(network=ip_network("10.0.0.0/8")),
        FULL,
    ]
    apply(store, *(InsertRule(Rule(0, "tries", str(n), scope)) for n, scope in enumerate(scopes, 1)))
    apply(store, InsertRule(Rule(0, "grace", "14d", STAFF)))
    expected = [("tries", str(n), scope) for n, scope in enumerate(scopes, 1)] + [("grace", "14d", STAFF)]
    assert rules(store) == expected
    apply(store, InsertRule(Rule(0, "tries", "9", STAFF)))
    assert rules(store) == [row for row in expected if row[::2] != ("tries", STAFF)] + [("tries", "9", STAFF)]


@pytest.mark.usefixtures("unchanged_elsewhere")
def test_a_rule_is_deleted_by_key_and_scope(store: Store) -> None:
    apply(
        store, *(InsertRule(Rule(0, key, "1", scope)) for key in ("tries", "lock_from") for scope in (EVERYBODY, FULL))
    )
    apply(store, DeleteRule("tries", FULL))
    assert rules(store) == [("tries", "1", EVERYBODY), ("lock_from", "1", EVERYBODY), ("lock_from", "1", FULL)]
    apply(store, DeleteRule("tries", FULL))  # none is no conflict


@pytest.mark.usefixtures("unchanged_elsewhere")
def test_a_text_is_kept_for_language_and_scope_and_an_empty_one_takes_it_away(store: Store) -> None:
    made = {
        Text("welcome", "", "Hi"),
        Text("welcome", "de", "Добро пожаловать\n{x}"),
        Text("welcome", "", "Staff", STAFF),
        Text("apps", "", "Apps", Scope("staff", "vpn")),
    }
    apply(store, *(InsertText(text) for text in made))
    assert texts(store) == made
    apply(store, InsertText(Text("welcome", "", "Hello")), InsertText(Text("welcome", "", "", STAFF)))
    assert texts(store) == {text for text in made if text.text not in ("Hi", "Staff")} | {Text("welcome", "", "Hello")}


def test_every_change_of_policies_or_texts_gives_the_book_a_generation_it_never_had(store: Store) -> None:
    seen = [see(store).book.generation]
    changes: list[Change] = [
        InsertRule(Rule(0, "tries", "1")),
        InsertText(Text("welcome", "", "Hi")),
        InsertRule(Rule(0, "tries", "1")),
        DeleteRule("tries", EVERYBODY),
        InsertText(Text("welcome", "", "")),
        SetReply(Reply("Filter-Id", ("staff",))),
        SetReply(Reply("Filter-Id", ())),
    ]
    for change in changes:
        apply(store, change)
        seen.append(see(store).book.generation)
    assert seen == sorted(set(seen))


def test_what_was_undone_stands_in_no_book(store: Store) -> None:
    """Not even where it was read before it was undone, and the next change counts from the same generation."""
    with suppress(RuntimeError), store.transaction() as transaction:
        transaction.apply([InsertRule(Rule(0, "second_factor", "skip"))])
        (inside,) = transaction.snapshots([Wanted()])
        assert [rule.value for rule in inside.book.rules] == ["skip"]
        raise RuntimeError
    apply(store, InsertRule(Rule(0, "tries", "1")))
    assert rules(store) == [("tries", "1", EVERYBODY)]
