"""What every `validation.ports.Store` promises, tried on each of them.

Every change is applied and read back through snapshots; a change that does not find what it expects is a Conflict, and
then nothing of its transaction remains.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import pytest

from tests import builders
from tests.builders import NOW, RFC_KEY, challenge, client
from tests.contract.conftest import Kept
from validation.changes import (
    AddSignedSource,
    AssignToken,
    Audit,
    AuditFlood,
    Change,
    CloseChallenge,
    CountTokenFailure,
    DeleteClient,
    DeleteUser,
    EndLoginsOf,
    InsertClient,
    InsertToken,
    InsertUser,
    OpenChallenge,
    Rehash,
    ReplaceClient,
    ReplaceUser,
    SetThrottle,
    SetTokenState,
    UseSecurityKey,
    UseToken,
)
from validation.model import (
    Client,
    Factor,
    MessageAuthenticatorRule,
    Mode,
    Origin,
    Pairing,
    PendingChallenge,
    RevokeReason,
    Snapshot,
    Throttle,
    Token,
    TokenState,
    User,
)
from validation.ports import Conflict, Store
from validation.requests import Wanted

NO_ID = 999_999  # of nothing and nobody
TICKET = b"t" * 32


def apply(store: Store, *changes: Change) -> None:
    with store.transaction() as transaction:
        transaction.apply(changes)


def see(store: Store, **wanted: Any) -> Snapshot:
    (snapshot,) = store.look([Wanted(**wanted)])
    return snapshot


def user_of(store: Store, name: str = "alice") -> User:
    user = see(store, user=name).user
    assert user is not None
    return user


def token_of(store: Store, serial: str = "TF-TOTP") -> Token:
    token = see(store, serial=serial).token
    assert token is not None
    return token


def client_of(store: Store, name: str = "vpn") -> Client:
    found = see(store, client=name).client
    assert found is not None
    return found


@pytest.fixture
def alice(store: Store) -> User:
    apply(store, InsertUser(builders.user(id=0, password_hash="hash")))
    return user_of(store)


@pytest.fixture
def bob(store: Store) -> User:
    apply(store, InsertUser(builders.user(id=0, name="bob")))
    return user_of(store, "bob")


@pytest.fixture
def token(store: Store, alice: User) -> Token:
    """Alice's, at moving factor 7 and after two failures."""
    made = builders.totp_token(id=0, user_id=alice.id, moving_factor=7, failures=2, created_at=NOW)
    apply(store, InsertToken(made))
    return token_of(store)


@pytest.fixture
def opened(store: Store, alice: User) -> PendingChallenge:
    made = challenge(user_id=alice.id)
    apply(store, OpenChallenge(made, NOW))
    return made


@pytest.fixture
def vpn(store: Store) -> Client:
    apply(store, InsertClient(client(version=0, message_authenticator=MessageAuthenticatorRule.AUTO)))
    return client_of(store)


def everything(store: Store) -> tuple[Any, ...]:
    """All that a test of this file ever looks at."""
    wanted = [
        *(Wanted(user=name, client="vpn", source="192.0.2.99") for name in ("alice", "bob", "witness")),
        Wanted(ticket=TICKET),
        *(Wanted(serial=serial) for serial in ("TF-TOTP", "NEW")),
        *(Wanted(client=name, all_clients=True) for name in ("vpn", "nas")),
        *(Wanted(state=state) for state in ("ab" * 16, "cd" * 16)),
        *(Wanted(key=key) for key in (RFC_KEY, b"n" * 20)),
    ]
    return (*store.look(wanted), store.clients_generation())


def check_conflict(store: Store, *changes: Change) -> None:
    """The last of `changes` does not find what it expects; what came before it in the transaction is undone too."""
    before = everything(store)
    witness = InsertUser(builders.user(id=0, name="witness"))
    with pytest.raises(Conflict), store.transaction() as transaction:
        transaction.apply([witness, *changes])
    assert everything(store) == before


def test_every_change_is_tried_in_this_folder() -> None:
    source = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert not [change.__name__ for change in get_args(Change) if f" {change.__name__}(" not in source]


# --- tokens of nobody


def a_token_of_nobody(store: Store, key: bytes = b"n" * 20) -> Token:
    apply(store, InsertToken(Token(0, "BOX-1", None, "hotp", key, NOW, Origin.ADMIN, moving_factor=7)))
    return held(store, "BOX-1")


def held(store: Store, serial: str) -> Token:
    with store.transaction() as transaction:
        (seen,) = transaction.snapshots([Wanted(serials=(serial,))])
    return seen.holdings.tokens[serial]


def test_a_token_may_be_nobodys_and_is_given_and_taken_back_with_its_key(store: Store, alice: User) -> None:
    token = a_token_of_nobody(store)
    assert (token.user_id, token.key, token.moving_factor) == (None, b"n" * 20, 7)
    apply(store, AssignToken(token, alice.id))
    assert held(store, "BOX-1") == replace(token, user_id=alice.id)
    assert [t.key for t in see(store, user="alice").tokens if t.serial == "BOX-1"] == [b"n" * 20]
    apply(store, AssignToken(held(store, "BOX-1"), None))
    assert held(store, "BOX-1") == token
    assert "BOX-1" not in {t.serial for t in see(store, user="alice").tokens}


def test_a_token_is_given_once_and_never_when_it_is_revoked(store: Store, alice: User, bob: User) -> None:
    token = a_token_of_nobody(store)
    apply(store, AssignToken(token, alice.id))
    check_conflict(store, AssignToken(token, bob.id))
    apply(store, SetTokenState(token.id, TokenState.REVOKED, RevokeReason.LOST, NOW))
    check_conflict(store, AssignToken(replace(token, user_id=alice.id), None))


def test_what_a_command_about_many_tokens_sees(store: Store, alice: User, bob: User, token: Token) -> None:
    """Serials, keys and users by the name they were asked for with; keys of tokens only where they are to be moved."""
    box = a_token_of_nobody(store)
    wanted = Wanted(
        serials=(token.serial, "BOX-1", "NONE"), keys=(RFC_KEY, b"n" * 20, b"unknown"), users=("alice", "nobody")
    )
    with store.transaction() as transaction:
        (seen,) = transaction.snapshots([wanted])
    held_here = seen.holdings
    assert {serial: t.key for serial, t in held_here.tokens.items()} == {token.serial: b"", "BOX-1": b""}
    assert held_here.keys == {RFC_KEY: token.serial, b"n" * 20: "BOX-1"}
    assert held_here.users == {"alice": alice}
    assert held_here.registrations == {alice.id: 1}
    with store.transaction() as transaction:
        (seen,) = transaction.snapshots([Wanted(serials=(token.serial, "BOX-1"), users=("bob",))])
    assert {serial: t.key for serial, t in seen.holdings.tokens.items()} == {token.serial: RFC_KEY, "BOX-1": b"n" * 20}
    assert set(seen.holdings.users) == {"alice", "bob"}
    assert box.serial == "BOX-1"


def test_holdings_say_who_has_recovery_codes(store: Store, alice: User, bob: User) -> None:
    apply(store, InsertToken(Token(0, "SHEET", alice.id, "recovery_code", b"s" * 336, NOW, Origin.ADMIN)))
    assert sheets(store) == {alice.id}
    (sheet,) = [token for token in see(store, user="alice").tokens if token.serial == "SHEET"]
    apply(store, SetTokenState(sheet.id, TokenState.DISABLED, RevokeReason.OTHER, NOW))
    assert sheets(store) == {alice.id}
    apply(store, SetTokenState(sheet.id, TokenState.REVOKED, RevokeReason.OTHER, NOW))
    assert sheets(store) == set()


def sheets(store: Store) -> set[int]:
    (seen,) = store.look([Wanted(users=("alice", "bob"))])
    return set(seen.holdings.sheets)


def test_holdings_count_active_registrations_alone(store: Store, alice: User, token: Token) -> None:
    apply(store, InsertToken(Token(0, "SHEET", alice.id, "recovery_code", b"s" * 336, NOW, Origin.ADMIN)))
    (seen,) = store.look([Wanted(users=("alice",))])
    assert seen.holdings.registrations == {alice.id: 1}
    apply(store, SetTokenState(token.id, TokenState.DISABLED, RevokeReason.OTHER, NOW))
    (seen,) = store.look([Wanted(users=("alice",))])
    assert seen.holdings.registrations == {}


def test_what_was_sealed_ahead_is_what_is_inserted_and_serves_its_own_place_alone(store: Store, alice: User) -> None:
    """Whatever is done ahead, a token that is inserted then comes back with its own key, and another one, too."""
    ahead = Token(0, "BOX-1", None, "hotp", b"a" * 20, NOW, Origin.ADMIN)
    store.seal_ahead([ahead])
    apply(store, InsertToken(replace(ahead, key=b"b" * 20)), InsertToken(replace(ahead, serial="BOX-2")))
    assert (held(store, "BOX-1").key, held(store, "BOX-2").key) == (b"b" * 20, b"a" * 20)
    given = replace(ahead, serial="BOX-3", user_id=alice.id, key=b"c" * 20)
    store.seal_ahead([given])
    apply(store, InsertToken(given))
    assert held(store, "BOX-3").key == b"c" * 20


def test_what_was_sealed_ahead_and_not_used_is_forgotten(store: Store) -> None:
    ahead = Token(0, "BOX-1", None, "hotp", b"a" * 20, NOW, Origin.ADMIN)
    store.seal_ahead([ahead])
    with store.transaction():
        pass
    apply(store, InsertToken(ahead))
    assert held(store, "BOX-1").key == b"a" * 20


# --- users


def test_a_user_comes_back_with_an_id_of_the_store(store: Store) -> None:
    made = builders.user(
        id=0,
        groups=("staff", "vpn"),
        disabled=True,
        locked=True,
        password_hash="hash",
        pairing=Pairing.REOPENED,
        pairing_since=NOW - 0.5,
        first_registered_at=NOW - 1.25,
        bypass_until=NOW + 3600.5,
    )
    apply(store, InsertUser(made))
    user = user_of(store)
    assert user == replace(made, id=user.id)
    assert user.id != 0


@pytest.mark.statement("C-055")
def test_no_two_users_have_one_name(store: Store, alice: User) -> None:
    check_conflict(store, InsertUser(builders.user(id=0)))


@pytest.mark.parametrize("other", ["Alice", "ALICE", "alice ", "alicé", "alice\u0301", "ALICE@x"])
def test_names_are_told_apart_octet_by_octet(store: Store, alice: User, other: str) -> None:
    assert see(store, user=other).user is None
    apply(store, InsertUser(builders.user(id=0, name=other)))
    assert user_of(store, other).id != alice.id
    assert user_of(store) == alice


def test_a_user_is_replaced_whole(store: Store, alice: User) -> None:
    new = replace(alice, groups=("x",), disabled=True, locked=True, password_hash="new", password_version=9)
    apply(store, ReplaceUser(new))
    assert user_of(store) == new


def test_only_a_user_who_is_there_can_be_replaced_or_deleted(store: Store, alice: User) -> None:
    check_conflict(store, ReplaceUser(replace(alice, id=NO_ID)))
    check_conflict(store, DeleteUser(NO_ID))


def test_deleting_a_user_takes_everything_but_the_fingerprints(
    store: Store, alice: User, token: Token, opened: PendingChallenge
) -> None:
    apply(store, SetThrottle(alice.id, Factor.PASSCODE, Throttle(3, NOW)))
    apply(store, SetTokenState(token.id, TokenState.REVOKED, RevokeReason.OTHER, NOW), DeleteUser(alice.id))
    assert see(store, user="alice", serial=token.serial, state=opened.state) == Snapshot()
    assert see(store, key=RFC_KEY).key_known_as == token.serial


def test_an_id_is_never_given_twice(store: Store, alice: User) -> None:
    """A seal and an open login name a user by id."""
    apply(store, DeleteUser(alice.id), InsertUser(replace(alice, id=0)))
    again = user_of(store)
    assert again.id not in (0, alice.id)


def test_a_new_hash_is_stored_if_the_old_one_is_still_there(store: Store, alice: User) -> None:
    apply(store, Rehash(alice.id, alice.password_version, "new"))
    assert user_of(store) == replace(alice, password_hash="new", password_version=alice.password_version + 1)
    check_conflict(store, Rehash(alice.id, alice.password_version, "late"))
    check_conflict(store, Rehash(alice.id, alice.password_version + 2, "early"))
    check_conflict(store, Rehash(NO_ID, alice.password_version, "nobody's"))


# --- tokens


def test_a_token_comes_back_as_it_was(store: Store, alice: User) -> None:
    made = builders.hotp_token(
        id=0,
        user_id=alice.id,
        origin=Origin.ADMIN,
        label="Zoës 📱",
        digits=8,
        period=60,
        algorithm="sha512",
        moving_factor=5,
        drift=-3,
        failures=4,
        created_at=NOW + 0.25,
        key=bytes(range(64)),
        public_id="ccccccbcgujh",
    )
    apply(store, InsertToken(made))
    token = token_of(store, "TF-HOTP")
    assert token == replace(made, id=token.id)
    assert see(store, user="alice").tokens == (token,)
    assert see(store, serial="TF-HOTP") == Snapshot(user=alice, tokens=(token,), token=token, token_owner="alice")


def test_a_user_has_his_tokens_in_the_order_they_came(store: Store, alice: User, bob: User) -> None:
    for n, owner in enumerate([alice, bob, alice, bob, alice]):
        made = builders.totp_token(id=0, serial=f"Z{9 - n}", user_id=owner.id, key=bytes([n]) * 20)
        apply(store, InsertToken(made))
    assert [t.serial for t in see(store, user="alice").tokens] == ["Z9", "Z7", "Z5"]
    assert [t.serial for t in see(store, user="bob").tokens] == ["Z8", "Z6"]


def new_token(alice: User, **fields: Any) -> InsertToken:
    return InsertToken(
        builders.totp_token(**{"id": 0, "serial": "NEW", "user_id": alice.id, "key": b"n" * 20, **fields})
    )


def test_a_serial_and_a_key_belong_to_one_token(store: Store, alice: User, token: Token) -> None:
    check_conflict(store, new_token(alice, serial=token.serial))
    check_conflict(store, new_token(alice, key=RFC_KEY))
    check_conflict(store, new_token(alice, user_id=NO_ID))
    assert see(store, key=RFC_KEY).key_known_as == token.serial
    assert see(store, key=b"n" * 20).key_known_as is None


@pytest.mark.parametrize("removed", [False, True], ids=["revoked", "user removed"])
def test_a_key_once_known_stays_known(store: Store, alice: User, bob: User, token: Token, removed: bool) -> None:
    apply(store, SetTokenState(token.id, TokenState.REVOKED, RevokeReason.LOST, NOW))
    if removed:
        apply(store, DeleteUser(alice.id))
    assert see(store, key=RFC_KEY).key_known_as == token.serial
    check_conflict(store, new_token(bob, key=RFC_KEY))


def test_a_token_is_used_from_where_it_stands(store: Store, token: Token) -> None:
    apply(store, UseToken(token.id, 7, 9, -1, NOW + 0.5))
    expected = replace(token, moving_factor=9, drift=-1, failures=0, last_used_at=NOW + 0.5)
    assert token_of(store) == expected


@pytest.mark.statement("O-004")
@pytest.mark.parametrize("counter", [2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 2])
def test_a_moving_factor_of_8_octets_is_kept(store: Store, alice: User, counter: int) -> None:
    """From there it can still move: to 2^63-1, the greatest there is."""
    apply(store, new_token(alice, kind="hotp", moving_factor=counter))
    token = token_of(store, "NEW")
    assert token.moving_factor == counter
    apply(store, UseToken(token.id, counter, counter + 1, 0, NOW))
    assert token_of(store, "NEW").moving_factor == counter + 1


@pytest.mark.parametrize(("from_", "to"), [(6, 9), (8, 9), (7, 7), (7, 6), (0, 2**62)])
def test_a_moving_factor_only_grows_and_only_from_where_it_stands(
    store: Store, token: Token, from_: int, to: int
) -> None:
    check_conflict(store, UseToken(token.id, from_, to, 0, NOW))


def test_a_token_is_used_once_even_within_one_transaction(store: Store, token: Token) -> None:
    check_conflict(store, UseToken(token.id, 7, 8, 0, NOW), UseToken(token.id, 7, 8, 0, NOW))


@pytest.mark.parametrize("state", [TokenState.DISABLED, TokenState.REVOKED])
def test_a_token_that_is_not_active_is_neither_used_nor_counted(store: Store, token: Token, state: TokenState) -> None:
    apply(store, SetTokenState(token.id, state, RevokeReason.OTHER, NOW))
    check_conflict(store, UseToken(token.id, 7, 8, 0, NOW))
    check_conflict(store, CountTokenFailure(token.id, 3, disable=False))


def test_an_unknown_token_is_neither_used_nor_counted_nor_moved(store: Store, token: Token) -> None:
    check_conflict(store, UseToken(NO_ID, 7, 8, 0, NOW))
    check_conflict(store, CountTokenFailure(NO_ID, 3, disable=False))
    check_conflict(store, SetTokenState(NO_ID, TokenState.DISABLED, None, NOW))


def a_security_key(store: Store, alice: User, count: int) -> Token:
    apply(store, new_token(alice, kind="webauthn", key=b"a record", moving_factor=count, failures=2))
    return token_of(store, "NEW")


@pytest.mark.parametrize(("from_", "to", "stays"), [(7, 9, False), (7, 7, True), (0, 0, True), (0, 1, False)])
def test_a_sign_count_grows_or_stays_where_that_is_said(
    store: Store, alice: User, from_: int, to: int, stays: bool
) -> None:
    key = a_security_key(store, alice, from_)
    apply(store, UseSecurityKey(key.id, from_, to, NOW + 0.5, stays))
    assert token_of(store, "NEW") == replace(key, moving_factor=to, failures=0, last_used_at=NOW + 0.5)


@pytest.mark.parametrize(
    ("from_", "to", "stays"), [(7, 7, False), (7, 6, False), (7, 6, True), (6, 9, False), (8, 9, False), (6, 6, True)]
)
def test_a_sign_count_never_goes_back_nor_from_elsewhere(
    store: Store, alice: User, from_: int, to: int, stays: bool
) -> None:
    check_conflict(store, UseSecurityKey(a_security_key(store, alice, 7).id, from_, to, NOW, stays))


@pytest.mark.statement("W-010")
def test_of_two_assertions_with_one_count_one_is_used(store: Store, alice: User) -> None:
    key = a_security_key(store, alice, 7)
    apply(store, UseSecurityKey(key.id, 7, 8, NOW))
    check_conflict(store, UseSecurityKey(key.id, 7, 8, NOW))


@pytest.mark.parametrize("state", [TokenState.DISABLED, TokenState.REVOKED])
def test_a_security_key_that_is_not_active_is_not_used(store: Store, alice: User, state: TokenState) -> None:
    key = a_security_key(store, alice, 7)
    apply(store, SetTokenState(key.id, state, RevokeReason.OTHER, NOW))
    check_conflict(store, UseSecurityKey(key.id, 7, 8, NOW))


def test_failures_are_counted_and_may_disable(store: Store, token: Token) -> None:
    apply(store, CountTokenFailure(token.id, 3, disable=False))
    assert token_of(store) == replace(token, failures=3)
    apply(store, CountTokenFailure(token.id, 4, disable=True))
    assert token_of(store) == replace(token, failures=4, state=TokenState.DISABLED)
    assert see(store, user="alice").tokens == (token_of(store),)


def test_a_disabled_token_can_be_active_again_and_begins_anew(store: Store, token: Token) -> None:
    apply(store, CountTokenFailure(token.id, 100, disable=True))
    apply(store, SetTokenState(token.id, TokenState.ACTIVE, None, NOW))
    assert token_of(store) == replace(token, failures=0)


def test_revoked_is_final_and_takes_the_key_along(store: Store, token: Token) -> None:
    apply(store, SetTokenState(token.id, TokenState.REVOKED, RevokeReason.COMPROMISE, NOW))
    assert token_of(store) == replace(token, state=TokenState.REVOKED, key=b"")
    assert see(store, user="alice").tokens == ()
    for state in TokenState:
        check_conflict(store, SetTokenState(token.id, state, RevokeReason.OTHER, NOW))


# --- throttles


def test_each_factor_of_each_user_has_its_own_throttle(store: Store, alice: User, bob: User) -> None:
    assert see(store, user="alice").throttles == {}
    apply(
        store,
        SetThrottle(alice.id, Factor.PASSWORD, Throttle(1, 0.0)),
        SetThrottle(alice.id, Factor.PASSCODE, Throttle(5, NOW + 30.5, b"mark")),
        SetThrottle(alice.id, Factor.PASSWORD, Throttle(2, 0.0)),
    )
    assert see(store, user="alice").throttles == {
        Factor.PASSWORD: Throttle(2, 0.0),
        Factor.PASSCODE: Throttle(5, NOW + 30.5, b"mark"),
    }
    assert see(store, user="bob").throttles == {}
    check_conflict(store, SetThrottle(NO_ID, Factor.PASSWORD, Throttle(1)))


# --- challenges


def test_an_open_challenge_is_found_by_its_state(store: Store, opened: PendingChallenge) -> None:
    assert see(store, state=opened.state).challenge == opened
    assert see(store, user="alice").challenge is None


@pytest.mark.statement("R-092")
def test_a_state_is_found_only_if_every_bit_is_right(store: Store, opened: PendingChallenge) -> None:
    octets = opened.state.encode()
    others = [
        (octets[:n] + bytes([octets[n] ^ 1 << bit]) + octets[n + 1 :]).decode("latin-1")
        for n in range(len(octets))
        for bit in range(8)
    ]
    others += [opened.state.upper(), opened.state[:-1], opened.state + "\0", "", "%", "ab*", "\x00"]
    found = store.look([Wanted(state=other) for other in others])
    assert [snapshot.challenge for snapshot in found] == [None] * len(others)


def test_a_challenge_needs_a_user_a_state_of_its_own_and_a_try(
    store: Store, alice: User, opened: PendingChallenge
) -> None:
    check_conflict(store, OpenChallenge(opened, NOW))
    check_conflict(store, OpenChallenge(challenge(state="cd" * 16, user_id=NO_ID), NOW))
    check_conflict(store, OpenChallenge(challenge(state="cd" * 16, user_id=alice.id, tries_left=0), NOW))


@pytest.mark.parametrize(("after", "left"), [(-1, True), (0, False), (1, False)])
def test_opening_a_challenge_sweeps_out_the_expired_ones(
    store: Store, alice: User, opened: PendingChallenge, after: float, left: bool
) -> None:
    now = opened.expires_at + after
    apply(store, OpenChallenge(challenge(state="cd" * 16, user_id=alice.id, expires_at=now + 120), now))
    assert (see(store, state=opened.state).challenge is not None) is left
    assert see(store, state="cd" * 16).challenge is not None


def test_a_challenge_is_closed_once(store: Store, opened: PendingChallenge) -> None:
    apply(store, CloseChallenge(opened.state))
    assert see(store, state=opened.state).challenge is None
    check_conflict(store, CloseChallenge(opened.state))


def test_all_challenges_of_one_user_are_closed_and_nobody_elses(
    store: Store, alice: User, bob: User, opened: PendingChallenge
) -> None:
    bobs = challenge(state="cd" * 16, user_id=bob.id)
    apply(store, OpenChallenge(bobs, NOW), OpenChallenge(challenge(state="ef" * 16, user_id=alice.id), NOW))
    apply(store, EndLoginsOf(alice.id))
    found = store.look([Wanted(state=state) for state in (opened.state, "ef" * 16, bobs.state)])
    assert [snapshot.challenge for snapshot in found] == [None, None, bobs]
    apply(store, EndLoginsOf(alice.id))  # none is no conflict


# --- clients


def test_a_client_comes_back_with_a_version_of_the_store(store: Store) -> None:
    made = client(
        network=ip_network("2001:db8::/48"),
        secret=bytes(range(256)),
        mode=Mode.PASSCODE_ONLY,
        message_authenticator=MessageAuthenticatorRule.OFF,
        status_server=False,
        version=0,
    )
    before = store.clients_generation()
    apply(store, InsertClient(made))
    found = client_of(store)
    assert found == replace(made, version=found.version)
    assert store.clients() == (found,)
    assert see(store, client="nas", all_clients=True) == Snapshot(clients=(found,))
    assert store.clients_generation() > before


def test_a_name_and_a_network_belong_to_one_client(store: Store, vpn: Client) -> None:
    elsewhere = ip_network("203.0.113.0/24")
    check_conflict(store, InsertClient(replace(vpn, network=elsewhere)))
    check_conflict(store, InsertClient(replace(vpn, name="nas")))
    apply(store, InsertClient(replace(vpn, name="nas", network=elsewhere)))
    check_conflict(store, ReplaceClient(replace(client_of(store, "nas"), network=vpn.network)))


def test_a_client_is_replaced_if_it_is_still_the_one_that_was_seen(store: Store, vpn: Client) -> None:
    apply(store, ReplaceClient(replace(vpn, secret=b"t" * 24, mode=Mode.APPEND)))
    new = client_of(store)
    assert new == replace(vpn, secret=b"t" * 24, mode=Mode.APPEND, version=new.version)
    assert new.version > vpn.version
    check_conflict(store, ReplaceClient(vpn))
    check_conflict(store, ReplaceClient(replace(new, name="nas")))


def test_no_version_of_a_client_is_given_twice(store: Store, vpn: Client) -> None:
    """Else a request that saw a removed client could be taken for one of its namesake's."""
    versions, generations = [vpn.version], [store.clients_generation()]
    for _ in range(3):
        apply(store, ReplaceClient(client_of(store)))
        versions.append(client_of(store).version)
        apply(store, DeleteClient("vpn"))
        generations.append(store.clients_generation())
        apply(store, InsertClient(replace(vpn, version=0)))
        versions.append(client_of(store).version)
        generations.append(store.clients_generation())
    assert versions == sorted(set(versions))
    assert generations == sorted(set(generations))


def test_a_client_is_deleted_once(store: Store, vpn: Client) -> None:
    apply(store, DeleteClient("vpn"))
    assert (see(store, client="vpn", all_clients=True), store.clients()) == (Snapshot(), ())
    check_conflict(store, DeleteClient("vpn"))


def test_an_address_that_signed_is_remembered_with_its_client(store: Store, vpn: Client) -> None:
    before = store.clients_generation()
    apply(store, AddSignedSource("vpn", "192.0.2.10"), AddSignedSource("vpn", "2001:db8::1"))
    remembered = replace(vpn, signed_sources=frozenset({"192.0.2.10", "2001:db8::1"}))
    assert client_of(store) == remembered, "the version stays: requests under way are not refused"
    assert store.clients() == (remembered,)
    assert store.clients_generation() > before
    check_conflict(store, AddSignedSource("vpn", "192.0.2.10"))
    check_conflict(store, AddSignedSource("nas", "192.0.2.10"))


def test_what_signed_is_kept_over_a_change_and_forgotten_with_the_client(store: Store, vpn: Client) -> None:
    apply(store, AddSignedSource("vpn", "192.0.2.10"))
    apply(store, ReplaceClient(client_of(store)))
    assert client_of(store).signed_sources == {"192.0.2.10"}
    apply(store, DeleteClient("vpn"), InsertClient(replace(vpn, version=0)))
    assert client_of(store).signed_sources == frozenset()


# --- the trail


def row(at: float = NOW, **fields: Any) -> Audit:
    return Audit(**{"at": at, "event": "login", "decision": "reject", "reason": "user-unknown", **fields})


def test_audit_rows_are_kept_whole_and_in_order(kept: Kept) -> None:
    full = Audit(
        at=NOW + 0.125,
        event="login",
        decision="accept",
        reason="passcode-right",
        user="Zoë\u2028\x01",
        client="vpn",
        face="radius",
        source="2001:db8::1",
        serial="TF-1",
        actor="root@host",
        request_id="r1",
        detail={"password": "proved", "failures": 3, "ü": "\n"},
    )
    apply(kept.store, full, row(reason="a"))
    apply(kept.store, row(NOW - 1000, reason="b"))
    assert sorted(kept.trail(), key=lambda r: r.reason) == [row(reason="a"), row(NOW - 1000, reason="b"), full]
    later = [r for r in kept.trail() if r.at >= NOW]
    assert later == [row(reason="a"), full] or later == [full, row(reason="a")]


def test_a_name_with_nul_is_nobodys_and_is_written_down(kept: Kept) -> None:
    """PostgreSQL's text cannot hold that octet: such a request must not silence those that came with it."""
    apply(kept.store, row(user="ali\0ce"))
    (written,) = kept.trail()
    assert written.user in ("ali\0ce", "ali\u2400ce")
    odd = Wanted(user="ali\0ce", client="v\0pn", state="\0", source="\0", serial="TF\0")
    for look in (kept.store.look, in_a_transaction(kept.store)):
        (found,) = look([odd])
        assert (found.user, found.client, found.challenge, found.token) == (None, None, None, None)


def in_a_transaction(store: Store) -> Callable[[Sequence[Wanted]], list[Snapshot]]:
    def look(wanted: Sequence[Wanted]) -> list[Snapshot]:
        with store.transaction() as transaction:
            return transaction.snapshots(wanted)

    return look


def flood(at: float, key: str = "user-unknown|192.0.2.1", **fields: Any) -> AuditFlood:
    return AuditFlood(row(at, **fields), key, every=60.0)


def test_of_a_flood_one_row_a_minute_is_written_and_the_others_are_counted(kept: Kept) -> None:
    for at in (0, 1, 2, 59.9):
        apply(kept.store, flood(NOW + at))
    assert kept.trail() == [row(NOW)]
    apply(kept.store, flood(NOW + 60, detail={"password": "wrong"}))
    assert kept.trail() == [row(NOW), row(NOW + 60, detail={"password": "wrong", "suppressed": 3})]
    apply(kept.store, flood(NOW + 119.9))
    apply(kept.store, flood(NOW + 180))
    apply(kept.store, flood(NOW + 240))
    assert kept.trail()[2:] == [row(NOW + 180, detail={"suppressed": 1}), row(NOW + 240)]


def test_floods_of_one_transaction_are_counted_too(kept: Kept) -> None:
    apply(kept.store, *(flood(NOW) for _ in range(64)))
    apply(kept.store, flood(NOW + 60))
    assert kept.trail() == [row(NOW), row(NOW + 60, detail={"suppressed": 63})]


def test_each_source_has_its_own_flood(kept: Kept) -> None:
    apply(kept.store, *(flood(NOW, key) for key in ("a", "b", "a", "b", "c")))
    assert len(kept.trail()) == 3


def test_a_clock_set_back_does_not_silence_the_trail(kept: Kept) -> None:
    for at in (0, 1, -3600):
        apply(kept.store, flood(NOW + at))
    assert [r.at for r in sorted(kept.trail(), key=lambda r: r.at)] == [NOW - 3600, NOW]


def test_a_row_and_its_flood_are_undone_with_their_transaction(kept: Kept) -> None:
    apply(kept.store, flood(NOW))
    for changes in ([flood(NOW + 60)], [flood(NOW + 30)], [row()]):
        check_conflict(kept.store, *changes, CloseChallenge("no such state"))
    assert kept.trail() == [row(NOW)]
    apply(kept.store, flood(NOW + 60))
    assert kept.trail()[1:] == [row(NOW + 60)], "what was undone was not counted"


# --- transactions


@pytest.mark.parametrize("error", [RuntimeError("defect"), KeyboardInterrupt()])
def test_whatever_ends_a_transaction_badly_undoes_it(store: Store, error: BaseException) -> None:
    def end_badly() -> None:
        with store.transaction() as transaction:
            transaction.apply([InsertUser(builders.user(id=0)), InsertClient(client(version=0))])
            raise error

    before = everything(store)
    with pytest.raises(type(error)):
        end_badly()
    assert everything(store) == before
    apply(store, InsertUser(builders.user(id=0)))  # and the store works on


def test_a_transaction_sees_what_it_wrote_and_nobody_else_does(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.apply([InsertUser(builders.user(id=0))])
        (inside,) = transaction.snapshots([Wanted(user="alice")])
        assert inside.user is not None
        assert see(store, user="alice").user is None
    assert see(store, user="alice").user == inside.user


def test_snapshots_come_in_the_order_they_were_asked_for(
    store: Store, alice: User, bob: User, token: Token, vpn: Client
) -> None:
    wanted: Sequence[Wanted] = [
        Wanted(user="bob", client="vpn"),
        Wanted(user="nobody", client="nas"),
        Wanted(user="alice"),
        Wanted(serial=token.serial),
        Wanted(),
        Wanted(user="bob", client="vpn"),
    ]
    of_alice = Snapshot(user=alice, tokens=(token,))
    expected = [
        Snapshot(user=bob, client=vpn),
        Snapshot(),
        of_alice,
        replace(of_alice, token=token, token_owner="alice"),
        Snapshot(),
        Snapshot(user=bob, client=vpn),
    ]
    assert store.look(wanted) == expected
    with store.transaction() as transaction:
        assert transaction.snapshots(wanted) == expected
    assert store.look([]) == []


def test_a_row_that_cannot_be_read_damages_only_who_needs_it(kept: Kept, alice: User, bob: User, token: Token) -> None:
    apply(kept.store, new_token(bob))
    kept.spoil(token.serial, "alice")
    hers, his, by_serial, by_his = kept.store.look(
        [Wanted(user="alice"), Wanted(user="bob"), Wanted(serial=token.serial), Wanted(serial="NEW")]
    )
    assert hers.damage is not None
    assert by_serial.damage is not None
    assert token.serial in str(hers.damage)
    assert (his.damage, by_his.damage) == (None, None)
    assert (hers.user, his.user) == (alice, bob)


def test_the_check_of_a_store_that_works_says_nothing(store: Store) -> None:
    before = everything(store)
    store.check()
    assert everything(store) == before
