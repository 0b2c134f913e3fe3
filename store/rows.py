"""Rows into the engine's values and back. Pure: no statement is run here.

Rule: a token or client whose seal does not open raises Damaged; the caller decides whom that concerns.
"""

import json
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from store.sealing import Sealer
from validation.model import (
    Client,
    FirstFactorKind,
    MessageAuthenticatorRule,
    Mode,
    Origin,
    PendingChallenge,
    Token,
    TokenState,
    User,
)


def user_from(row: Mapping[str, Any]) -> User:
    return User(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        first_factor=FirstFactorKind(row["first_factor"]),
        groups=tuple(json.loads(row["groups"])),
        disabled=row["disabled"],
        locked=row["locked"],
        password_hash=row["password_hash"],
        password_version=row["password_version"],
    )


def user_columns(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "created_at": user.created_at,
        "first_factor": str(user.first_factor),
        "groups": json.dumps(user.groups),
        "disabled": user.disabled,
        "locked": user.locked,
        "password_hash": user.password_hash,
        "password_version": user.password_version,
    }


def token_owner(row: Mapping[str, Any]) -> str:
    """What a token's key is sealed to: serial, kind and owner."""
    return f"{row['serial']}|{row['kind']}|{row['user_id']}"


def token_from(row: Mapping[str, Any], sealer: Sealer) -> Token:
    sealed = row["sealed_key"]
    return Token(
        id=row["id"],
        serial=row["serial"],
        user_id=row["user_id"],
        kind=row["kind"],
        key=sealer.open("token-key", token_owner(row), sealed) if sealed is not None else b"",
        created_at=row["created_at"],
        origin=Origin(row["origin"]),
        state=TokenState(row["state"]),
        label=row["label"],
        digits=row["digits"],
        period=row["period"],
        algorithm=row["algorithm"],
        moving_factor=row["moving_factor"],
        drift=row["drift"],
        failures=row["failures"],
        last_used_at=row["last_used_at"],
    )


def token_columns(token: Token, sealer: Sealer, fingerprint: bytes) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "serial": token.serial,
        "user_id": token.user_id,
        "kind": token.kind,
        "origin": str(token.origin),
        "state": str(token.state),
        "label": token.label,
        "digits": token.digits,
        "period": token.period,
        "algorithm": token.algorithm,
        "fingerprint": fingerprint,
        "moving_factor": token.moving_factor,
        "drift": token.drift,
        "failures": token.failures,
        "created_at": token.created_at,
    }
    columns["sealed_key"] = sealer.seal("token-key", token_owner(columns), token.key)
    return columns


def challenge_from(row: Mapping[str, Any]) -> PendingChallenge:
    return PendingChallenge(**row)


def challenge_columns(challenge: PendingChallenge) -> dict[str, Any]:
    return {
        "state": challenge.state,
        "user_id": challenge.user_id,
        "client": challenge.client,
        "face": challenge.face,
        "tries_left": challenge.tries_left,
        "expires_at": challenge.expires_at,
    }


def client_from(row: Mapping[str, Any], secret: bytes, signed_sources: frozenset[str]) -> Client:
    return Client(
        name=row["name"],
        network=ip_network(row["network"]),
        secret=secret,
        mode=Mode(row["mode"]),
        message_authenticator=MessageAuthenticatorRule(row["message_authenticator"]),
        status_server=row["status_server"],
        version=row["version"],
        signed_sources=signed_sources,
    )


def client_secret(row: Mapping[str, Any], sealer: Sealer) -> bytes:
    return sealer.open("client-secret", row["name"], row["sealed_secret"])


def client_columns(client: Client, sealer: Sealer) -> dict[str, Any]:
    return {
        "name": client.name,
        "network": str(client.network),
        "sealed_secret": sealer.seal("client-secret", client.name, client.secret),
        "mode": str(client.mode),
        "message_authenticator": str(client.message_authenticator),
        "status_server": client.status_server,
    }
