"""What every store promises when guards are raised: all tokens of a kind at once, never back, and no revoked one."""

from dataclasses import replace

import pytest

from tests import builders
from tests.builders import NOW
from tests.contract.conftest import Kept
from tests.contract.test_store import apply, see, user_of
from validation.changes import (
    EndAllLogins,
    InsertToken,
    InsertUser,
    NeedResync,
    OpenChallenge,
    PassCounters,
    PassSteps,
    RecordAnswer,
    Resynchronise,
    RevokeKind,
    SetTokenState,
)
from validation.model import Answered, Origin, RevokeReason, Token, TokenState
from validation.ports import Store

STEP = int(NOW // 30)


@pytest.fixture
def tokens(store: Store) -> dict[str, Token]:
    """Alice has one of each sort; one was used, one is of nobody, one is revoked."""
    apply(store, InsertUser(builders.user(id=0)))
    alice = user_of(store).id
    made = [
        builders.totp_token(id=0, user_id=alice, serial="APP"),
        builders.totp_token(id=0, user_id=alice, serial="SLOW", key=b"s" * 20, period=60),
        builders.totp_token(id=0, user_id=alice, serial="AHEAD", key=b"a" * 20, moving_factor=STEP + 50),
        builders.hotp_token(id=0, user_id=alice, serial="BUTTON", key=b"b" * 20, moving_factor=7),
        builders.hotp_token(id=0, user_id=alice, serial="END", key=b"e" * 20, moving_factor=95),
        Token(0, "BOX", None, "hotp", b"n" * 20, NOW, Origin.ADMIN, moving_factor=3),
        builders.hotp_token(id=0, user_id=alice, serial="GONE", key=b"g" * 20, moving_factor=5),
    ]
    apply(store, *map(InsertToken, made))
    gone = held(store)["GONE"]
    apply(store, SetTokenState(gone.id, TokenState.REVOKED, RevokeReason.LOST, NOW))
    return held(store)


def held(store: Store) -> dict[str, Token]:
    names = ("APP", "SLOW", "AHEAD", "BUTTON", "END", "BOX", "GONE")
    found = {name: see(store, serial=name).token for name in names}
    return {name: token for name, token in found.items() if token is not None}


def changed(before: dict[str, Token], store: Store) -> dict[str, Token]:
    return {name: token for name, token in held(store).items() if token != before[name]}


def test_steps_pass_for_each_period_and_never_back(store: Store, tokens: dict[str, Token]) -> None:
    apply(store, PassSteps(NOW, 12))
    assert changed(tokens, store) == {
        "APP": replace(tokens["APP"], moving_factor=STEP + 12),
        "SLOW": replace(tokens["SLOW"], moving_factor=int(NOW // 60) + 12),
    }


def test_counters_move_on_and_stop_at_their_end(store: Store, tokens: dict[str, Token]) -> None:
    apply(store, PassCounters("hotp", 10, 100), PassCounters("yubico_otp", 10, 100))
    moved = {name: token.moving_factor for name, token in changed(tokens, store).items()}
    assert moved == {"BUTTON": 17, "END": 100, "BOX": 13}


def test_what_needs_a_resynchronisation_needs_it_until_then(store: Store, tokens: dict[str, Token]) -> None:
    apply(store, NeedResync(("hotp", "yubico_otp")))
    assert changed(tokens, store) == {
        name: replace(tokens[name], needs_resync=True) for name in ("BUTTON", "END", "BOX")
    }
    apply(store, Resynchronise(tokens["BUTTON"].id, 7, 30, 0))
    assert held(store)["BUTTON"] == replace(tokens["BUTTON"], moving_factor=30)


def test_a_kind_is_revoked_whole(store: Store, tokens: dict[str, Token]) -> None:
    apply(store, RevokeKind("totp", RevokeReason.OTHER, NOW))
    now = changed(tokens, store)
    assert {name: (token.state, token.key) for name, token in now.items()} == dict.fromkeys(
        ("APP", "SLOW", "AHEAD"), (TokenState.REVOKED, b"")
    )


def test_everything_that_was_begun_ends(kept: Kept, tokens: dict[str, Token]) -> None:
    store, alice = kept.store, tokens["APP"].user_id
    opened = builders.challenge(user_id=alice)
    apply(store, OpenChallenge(opened, NOW), RecordAnswer(Answered(b"p" * 32, alice, NOW, 7, b"[]")))
    assert see(store, state=opened.state).challenge is not None
    apply(store, EndAllLogins())
    seen = see(store, state=opened.state, packet=b"p" * 32)
    assert (seen.challenge, seen.answered) == (None, None)
