"""The contract of a store, for what RADIUS gateways need: both stores, the same tests."""

from dataclasses import replace

import pytest

from tests.builders import NOW, challenge, client
from tests.contract.test_store import alice, apply, bob, check_conflict, client_of, see, user_of
from validation.changes import (
    CHALLENGES_OF_USER,
    CloseChallenge,
    InsertClient,
    InsertRule,
    OpenChallenge,
    ReplaceClient,
    ReplaceUser,
    SetReply,
)
from validation.model import Encoding, Mode, Stage, User
from validation.ports import Store
from validation.settings import Reply, Rule, Scope

__all__ = ["alice", "bob"]

VPN, STAFF = Scope(client="vpn"), Scope(group="staff")
NOBODYS = challenge(user_id=None, stage=Stage.ASKED, refusal="user-unknown", proved=False)


# --- challenges of whom nothing is told


def test_a_challenge_may_be_of_a_name_that_is_nobodys(store: Store) -> None:
    apply(store, OpenChallenge(NOBODYS, NOW))
    seen = see(store, user="nobody", state=NOBODYS.state)
    assert (seen.user, seen.challenge) == (None, NOBODYS)
    apply(store, CloseChallenge(NOBODYS.state))
    assert see(store, state=NOBODYS.state).challenge is None


def test_a_challenge_of_nobody_always_ends_in_a_refusal(store: Store) -> None:
    with pytest.raises(Exception, match=r"no such user|nobody_is_refused"):
        apply(store, OpenChallenge(replace(NOBODYS, refusal=""), NOW))
    assert see(store, state=NOBODYS.state).challenge is None


def test_what_was_learned_with_the_password_is_kept_for_the_answer(store: Store, alice: User) -> None:
    made = challenge(user_id=alice.id, groups=("staff", "vpn"), replies=((25, b"OU=staff"), (26, bytes(range(9)))))
    apply(store, OpenChallenge(made, NOW))
    assert see(store, user="alice", state=made.state).challenge == made


@pytest.mark.statement("R-097")
def test_a_user_has_so_many_open_challenges_and_the_oldest_go(store: Store, alice: User, bob: User) -> None:
    """Nobody else's go."""
    apply(store, OpenChallenge(challenge(user_id=bob.id, state="ff" * 16, expires_at=NOW + 1), NOW))
    states = [f"{number:032x}" for number in range(CHALLENGES_OF_USER + 3)]
    for age, state in enumerate(states):
        apply(store, OpenChallenge(challenge(user_id=alice.id, state=state, expires_at=NOW + 60 + age), NOW))
    left = [state for state in states if see(store, state=state).challenge is not None]
    assert left == states[3:]
    assert see(store, state="ff" * 16).challenge is not None


@pytest.mark.statement("R-097", "R-100")
def test_challenges_without_a_proved_password_make_no_room_in_those_with_one(store: Store, alice: User) -> None:
    """Anybody may begin logins of hers at a door that asks everybody."""
    hers = challenge(user_id=alice.id, state="ff" * 16, expires_at=NOW + 1)
    apply(store, OpenChallenge(hers, NOW))
    states = [f"{number:032x}" for number in range(CHALLENGES_OF_USER + 3)]
    for state in states:
        theirs = challenge(user_id=alice.id, state=state, proved=False, stage=Stage.ASKED, expires_at=NOW + 60)
        apply(store, OpenChallenge(theirs, NOW))
    assert see(store, state=hers.state).challenge == hers
    assert all(see(store, state=state).challenge is not None for state in states), "as of a name that is nobody's"


@pytest.mark.statement("R-097")
@pytest.mark.parametrize("proved", [True, False])
def test_a_client_has_so_many_open_challenges_of_either_sort_and_the_oldest_go(
    store: Store, alice: User, proved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whomever they are. Those of the other sort, and of another client, stay."""
    monkeypatch.setattr("validation.changes.CHALLENGES_OF_CLIENT", 3)
    others = [
        challenge(user_id=alice.id, client="vpn", proved=not proved, state="fe" * 16, expires_at=NOW + 1),
        challenge(user_id=alice.id, client="other", proved=proved, state="ff" * 16, expires_at=NOW + 1),
    ]
    states = [f"{number:032x}" for number in range(6)]
    opened = [
        challenge(user_id=alice.id, client="vpn", proved=proved, state=state, expires_at=NOW + 60 + age)
        for age, state in enumerate(states)
    ]
    for one in (*others, *opened):
        apply(store, OpenChallenge(one, NOW))
    assert [state for state in states if see(store, state=state).challenge is not None] == states[3:]
    assert all(see(store, state=one.state).challenge is not None for one in others)


# --- clients


def test_how_a_client_writes_is_kept(store: Store) -> None:
    made = client(
        version=0,
        mode=Mode.AUTO,
        always_challenge=True,
        encoding=Encoding.LATIN_1,
        cut_at_nul=True,
        old_secret=b"before",
        old_secret_until=NOW + 60,
    )
    apply(store, InsertClient(made))
    found = client_of(store)
    assert replace(found, version=0) == made
    apply(store, ReplaceClient(replace(found, old_secret=b"", old_secret_until=0.0)))
    assert (client_of(store).old_secret, client_of(store).old_secret_until) == (b"", 0.0)
    check_conflict(store, ReplaceClient(found))


# --- reply attributes and rules by NAS


def test_reply_attributes_are_kept_by_scope_and_replaced(store: Store) -> None:
    made = {Reply("Filter-Id", ("a", "b")), Reply("Filter-Id", ("c",), VPN), Reply("Class", ("d",), STAFF)}
    apply(store, *(SetReply(reply) for reply in made))
    assert set(see(store).book.replies) == made
    apply(store, SetReply(Reply("Filter-Id", ("e",), VPN)), SetReply(Reply("Class", (), STAFF)))
    assert set(see(store).book.replies) == {Reply("Filter-Id", ("a", "b")), Reply("Filter-Id", ("e",), VPN)}


def test_a_users_own_reply_attributes_are_kept(store: Store, alice: User) -> None:
    mine = replace(alice, replies=(("Framed-IP-Address", ("10.10.1.44",)),))
    apply(store, ReplaceUser(mine))
    assert user_of(store) == mine


def test_rules_are_told_apart_by_nas(store: Store) -> None:
    portal, gateway = Scope(nas="NAS-Identifier=portal"), Scope(nas="NAS-Identifier=gateway")
    apply(store, *(InsertRule(Rule(0, "tries", value, scope)) for value, scope in (("1", portal), ("2", gateway))))
    apply(store, InsertRule(Rule(0, "tries", "3", portal)))
    assert {(rule.value, rule.scope) for rule in see(store).book.rules} == {("3", portal), ("2", gateway)}


def test_a_user_may_have_no_place_of_his_own_for_his_password(store: Store, alice: User) -> None:
    assert alice.first_factor is None
    assert see(store, user="alice").user == alice
