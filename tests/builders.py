"""Values for tests of the pure engine: a user, a token, a client, a snapshot, a moment, each with sane defaults.

Rule: builders only build. What a test is about, it says itself by naming the fields that matter.
"""

import hashlib
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from validation.decisions import Reason, Reject
from validation.messages import MessageKey, default_text
from validation.model import (
    MOMENT_RANDOM_OCTETS,
    Client,
    Mode,
    Moment,
    PendingChallenge,
    Snapshot,
    Token,
    User,
)
from validation.requests import Channel, Face, FirstFactor, FirstFactorResult, LoginRequest
from validation.settings import DEFAULTS, Book, Rule

RFC_KEY = b"12345678901234567890"  # of RFC 4226 appendix D
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
HASH_VERSION = 3

PROVED = FirstFactorResult(FirstFactor.PROVED, HASH_VERSION)
WRONG = FirstFactorResult(FirstFactor.WRONG, HASH_VERSION)


def moment(now: float = NOW, seed: int = 0) -> Moment:
    """Time and dice; another `seed` gives other random octets."""
    return Moment(now, hashlib.shake_128(seed.to_bytes(8, "big")).digest(MOMENT_RANDOM_OCTETS))


def user(**fields: Any) -> User:
    defaults = {"id": 1, "name": "alice", "created_at": NOW - 86_400, "password_version": HASH_VERSION}
    defaults |= {"pairing_since": NOW - 86_400}
    return User(**{**defaults, **fields})


def totp_token(**fields: Any) -> Token:
    defaults = {"id": 10, "serial": "TF-TOTP", "user_id": 1, "kind": "totp", "key": RFC_KEY}
    return Token(**{**defaults, **fields})


def hotp_token(**fields: Any) -> Token:
    defaults = {"id": 11, "serial": "TF-HOTP", "user_id": 1, "kind": "hotp", "key": RFC_KEY}
    return Token(**{**defaults, **fields})


def client(**fields: Any) -> Client:
    defaults = {"name": "vpn", "network": ip_network("192.0.2.10/32"), "secret": b"s" * 24, "version": 7}
    return Client(**{**defaults, **fields})


def challenge(**fields: Any) -> PendingChallenge:
    defaults = {
        "state": "ab" * 16,
        "user_id": 1,
        "client": "vpn",
        "face": Face.RADIUS,
        "tries_left": 3,
        "expires_at": NOW + 60,
    }
    return PendingChallenge(**{**defaults, **fields})


def book(**policies: str) -> Book:
    """Policies that apply to everybody."""
    return Book(1, tuple(Rule(n, key, value) for n, (key, value) in enumerate(policies.items(), 1)))


def rejected(reason: Reason, failures: int = 0, message: MessageKey = MessageKey.REFUSED) -> Reject:
    """A refusal as it is where no policy or text is set."""
    return Reject(reason, default_text(message, DEFAULTS.language), failures, DEFAULTS.reject_delay)


def snapshot(**fields: Any) -> Snapshot:
    """Alice with one TOTP token, asking through `vpn`."""
    defaults = {"user": user(), "tokens": (totp_token(),), "client": client()}
    return Snapshot(**{**defaults, **fields})


def request(mode: Mode = Mode.CHALLENGE, **fields: Any) -> LoginRequest:
    """Alice with a proved password through `vpn`, no PIN yet."""
    defaults = {
        "user": "alice",
        "channel": Channel.for_mode(mode),
        "client": "vpn",
        "client_version": 7,
        "first_factor": PROVED,
    }
    return LoginRequest(**{**defaults, **fields})


def with_pin(passcode: str, **fields: Any) -> LoginRequest:
    """The same with password and PIN in one field."""
    return replace(request(Mode.APPEND, **fields), passcode=passcode)
