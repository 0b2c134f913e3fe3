"""What every store promises about the answers it keeps for packets that come again."""

from dataclasses import replace

import pytest

from tests import builders
from tests.builders import NOW
from tests.contract.conftest import Kept
from tests.contract.test_store import apply, check_conflict, see, token_of, user_of
from validation.changes import (
    AssignToken,
    Change,
    CountTokenFailure,
    DeleteUser,
    EndLoginsOf,
    InsertToken,
    InsertUser,
    RecordAnswer,
    ReplaceUser,
    SetBypass,
    SetPairing,
    SetThrottle,
    SetTokenState,
    UseToken,
)
from validation.model import Answered, Factor, Pairing, RevokeReason, Throttle, Token, TokenState, User
from validation.ports import Conflict, Store

PACKET, OTHER, NOBODYS = b"\x00p" * 16, b"o" * 32, b"n" * 32


@pytest.fixture
def alice(store: Store) -> User:
    apply(store, InsertUser(builders.user(id=0)))
    return user_of(store)


@pytest.fixture
def token(store: Store, alice: User) -> Token:
    apply(store, InsertToken(builders.totp_token(id=0, user_id=alice.id)))
    return token_of(store)


def answer(user: User | None, packet: bytes = PACKET, at: float = NOW + 0.1) -> Answered:
    return Answered(packet, user.id if user is not None else None, at, 7, b'["Reject", {}] \x00\xff')


def kept_of(store: Store, packet: bytes = PACKET) -> Answered | None:
    return see(store, packet=packet).answered


def test_an_answer_comes_back_as_it_was_and_to_its_packet_alone(store: Store, alice: User) -> None:
    apply(store, RecordAnswer(answer(alice)), RecordAnswer(answer(None, NOBODYS)))
    assert kept_of(store) == answer(alice)
    assert kept_of(store, NOBODYS) == answer(None, NOBODYS)
    assert kept_of(store, OTHER) is None
    assert see(store, user="alice").answered is None


def test_a_transaction_sees_it_too(store: Store, alice: User) -> None:
    apply(store, RecordAnswer(answer(alice)))
    with store.transaction() as transaction:
        seen = transaction.snapshots([builders.request(packet=packet).wanted for packet in (PACKET, OTHER)])
    assert [one.answered for one in seen] == [answer(alice), None]


def test_a_newer_answer_takes_the_place_of_an_older_one(store: Store, alice: User) -> None:
    newer = replace(answer(alice), at=NOW + 20, generation=8, decision=b"newer")
    apply(store, RecordAnswer(answer(None)))
    apply(store, RecordAnswer(newer))
    assert kept_of(store) == newer


def test_an_answer_is_kept_if_everything_else_of_its_transaction_is(store: Store, alice: User, token: Token) -> None:
    with pytest.raises(Conflict):
        apply(store, RecordAnswer(answer(alice)), UseToken(token.id, 5, 6, 0, NOW))
    assert kept_of(store) is None
    check_conflict(store, RecordAnswer(answer(replace(alice, id=999_999))))


def test_what_ends_logins_in_the_transaction_of_an_answer_does_not_take_it_along(store: Store, alice: User) -> None:
    apply(store, RecordAnswer(answer(alice)), EndLoginsOf(alice.id))
    assert kept_of(store) == answer(alice)


def ends(alice: User, token: Token) -> dict[str, Change]:
    return {
        "EndLoginsOf": EndLoginsOf(alice.id),
        "EndLoginsOf, pairing only": EndLoginsOf(alice.id, pairing_only=True),
        "ReplaceUser": ReplaceUser(replace(alice, groups=("staff",))),
        "SetPairing": SetPairing(alice.id, Pairing.CLOSED, NOW),
        "SetBypass": SetBypass(alice.id, 0.0),
        "SetTokenState disabled": SetTokenState(token.id, TokenState.DISABLED, None, NOW),
        "SetTokenState active": SetTokenState(token.id, TokenState.ACTIVE, None, NOW),
        "SetTokenState revoked": SetTokenState(token.id, TokenState.REVOKED, RevokeReason.LOST, NOW),
        "AssignToken": AssignToken(token, None),
        "CountTokenFailure": CountTokenFailure(token.id, 100, disable=True),
    }


@pytest.mark.parametrize("what", ends(builders.user(), builders.totp_token()))
def test_what_may_end_a_login_forgets_the_answers_of_its_user_and_no_others(
    store: Store, alice: User, token: Token, what: str
) -> None:
    apply(store, InsertUser(builders.user(id=0, name="bob")))
    of_bob, of_nobody = answer(user_of(store, "bob"), OTHER), answer(None, NOBODYS)
    apply(store, *map(RecordAnswer, (answer(alice), of_bob, of_nobody)))
    apply(store, ends(alice, token)[what])
    assert [kept_of(store, packet) for packet in (PACKET, OTHER, NOBODYS)] == [None, of_bob, of_nobody]


def test_what_ends_no_login_forgets_nothing(store: Store, alice: User, token: Token) -> None:
    apply(store, RecordAnswer(answer(alice)))
    apply(store, UseToken(token.id, 0, 6, 0, NOW), CountTokenFailure(token.id, 1, disable=False))
    apply(store, SetThrottle(alice.id, Factor.PASSCODE, Throttle(1)))
    assert kept_of(store) == answer(alice)


def test_who_gets_a_token_that_was_in_the_drawer_begins_anew(store: Store, alice: User) -> None:
    apply(store, InsertToken(builders.totp_token(id=0, user_id=None)))
    apply(store, RecordAnswer(answer(alice)))
    apply(store, AssignToken(replace(token_of(store), key=builders.RFC_KEY), alice.id))
    assert kept_of(store) is None


def test_the_answers_of_a_removed_user_go_with_him(store: Store, alice: User) -> None:
    apply(store, RecordAnswer(answer(alice)))
    apply(store, DeleteUser(alice.id))
    assert kept_of(store) is None


def test_old_answers_are_swept_out_a_few_at_a_time(kept: Kept) -> None:
    """Not before twice their time is over, since clocks of two servers may differ."""
    store = kept.store
    many = [answer(None, bytes([n]) * 32, NOW + n / 100) for n in range(50)]
    apply(store, *map(RecordAnswer, many))

    def left() -> int:
        return sum(kept_of(store, one.packet) is not None for one in many)

    apply(store, RecordAnswer(answer(None, OTHER, NOW + 59)))
    assert left() == 50
    counts = []
    for n in range(5):
        apply(store, RecordAnswer(answer(None, OTHER, NOW + 61 + n)))
        counts.append(left())
    assert counts[-1] == 0
    assert counts == sorted(counts, reverse=True)
    assert all(before - after <= 16 for before, after in zip([50, *counts], counts, strict=False))


def test_packets_that_come_again_do_not_keep_the_old_answers_of_others(kept: Kept) -> None:
    """As many as a sweep looks at, each recorded anew once its record has run out and before it would go."""
    store = kept.store
    again = [b"again" + bytes([n]) * 27 for n in range(16)]
    once = [b"once" + bytes([n]) * 28 for n in range(40)]
    apply(store, *(RecordAnswer(answer(None, packet)) for packet in again))
    apply(store, *(RecordAnswer(answer(None, packet)) for packet in once))
    for round_ in (1, 2, 3):
        for packet in again:
            apply(store, RecordAnswer(answer(None, packet, NOW + 31 * round_)))
    assert [packet for packet in once if kept_of(store, packet) is not None] == []
    assert all(kept_of(store, packet) == answer(None, packet, NOW + 31 * 3) for packet in again)
