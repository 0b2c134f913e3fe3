"""Rows into the engine's values and back. Pure: no statement is run here.

Rule: a token or client whose seal does not open raises Damaged; the caller decides whom that concerns.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from store.sealing import Sealer
from validation.model import (
    Answered,
    Client,
    Encoding,
    FirstFactorKind,
    KnownSource,
    MessageAuthenticatorRule,
    Mode,
    Origin,
    Pairing,
    PendingChallenge,
    Purpose,
    ReuseWindow,
    SourceScore,
    Stage,
    Ticket,
    Token,
    TokenState,
    User,
)
from validation.settings import Reply, Rule, Scope, Text

_SURROGATE = re.compile("[\ud800-\udfff]")


def can_stand_in_a_row(value: object) -> bool:
    """PostgreSQL's text cannot hold NUL, so nothing that holds one is ever found."""
    return not (isinstance(value, str) and "\0" in value)


def legible(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row itself. Raises ValueError if a text in it was read as it is (`prepared.as_it_is`) and is no UTF-8."""
    for name, value in row.items():
        if isinstance(value, str) and _SURROGATE.search(value):
            raise ValueError(f"its {name} is no UTF-8")
    return row


def user_from(row: Mapping[str, Any]) -> User:
    return User(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        first_factor=FirstFactorKind(row["first_factor"]) if row["first_factor"] else None,
        groups=_groups(row["groups"]),
        disabled=row["disabled"],
        locked=row["locked"],
        password_hash=row["password_hash"],
        password_version=row["password_version"],
        pairing=Pairing(row["pairing"]),
        pairing_since=row["pairing_since"],
        first_registered_at=row["first_registered_at"],
        bypass_until=row["bypass_until"],
        replies=_replies(row["replies"]),
    )


# Few are different, and reading JSON takes longer than all the rest of a row.
@lru_cache(maxsize=1024)
def _groups(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=1024)
def _replies(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, tuple(values)) for name, values in json.loads(text).items())


def user_columns(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "created_at": user.created_at,
        "first_factor": str(user.first_factor or ""),
        "groups": json.dumps(user.groups),
        "disabled": user.disabled,
        "locked": user.locked,
        "password_hash": user.password_hash,
        "password_version": user.password_version,
        "pairing": str(user.pairing),
        "pairing_since": user.pairing_since,
        "first_registered_at": user.first_registered_at,
        "bypass_until": user.bypass_until,
        "replies": json.dumps(dict(user.replies)),
    }


def token_owner(row: Mapping[str, Any]) -> str:
    """What a token's key is sealed to: serial, kind and owner, who may be nobody yet."""
    return f"{row['serial']}|{row['kind']}|{'' if row['user_id'] is None else row['user_id']}"


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
        public_id=row["public_id"],
        look_ahead=row["look_ahead"],
        starts_at=row["starts_at"],
        expires_at=row["expires_at"],
        needs_resync=row["needs_resync"],
    )


def token_without_key(row: Mapping[str, Any], sealer: Sealer) -> Token:
    """As much as can be read of a token that is damaged, enough to take it out of service; and never an active one if
    there is more to it than its key."""
    try:
        return token_from(legible({**row, "sealed_key": None}), sealer)
    except (TypeError, ValueError):
        serial, kind = (_SURROGATE.sub("?", str(row[name])) for name in ("serial", "kind"))
        state = TokenState.REVOKED if row["state"] == TokenState.REVOKED else TokenState.DISABLED
        return Token(row["id"], serial, row["user_id"], kind, key=b"", state=state)


def token_columns(token: Token, sealer: Sealer, fingerprint: bytes, sealed: bytes | None = None) -> dict[str, Any]:
    """`sealed` is the token's key if it was sealed before."""
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
        "last_used_at": token.last_used_at,
        "public_id": token.public_id,
        "look_ahead": token.look_ahead,
        "starts_at": token.starts_at,
        "expires_at": token.expires_at,
    }
    columns["sealed_key"] = sealed if sealed is not None else sealed_key(token, sealer)
    return columns


def sealed_key(token: Token, sealer: Sealer) -> bytes:
    owner = token_owner({"serial": token.serial, "kind": token.kind, "user_id": token.user_id})
    return sealer.seal("token-key", owner, token.key)


def challenge_from(row: Mapping[str, Any], sealer: Sealer) -> PendingChallenge:
    sealed = row["sealed_candidate"]
    return PendingChallenge(
        state=row["state"],
        user_id=row["user_id"],
        client=row["client"],
        face=row["face"],
        tries_left=row["tries_left"],
        expires_at=row["expires_at"],
        stage=Stage(row["stage"]),
        purpose=Purpose(row["purpose"]),
        candidate=_candidate_from(sealer.open("candidate", row["state"], sealed)) if sealed is not None else None,
        replaces=row["replaces"],
        ticket=row["ticket"],
        proved=row["proved"],
        refusal=row["refusal"],
        groups=tuple(json.loads(row["groups"])),
        replies=tuple((kind, bytes.fromhex(value)) for kind, value in json.loads(row["replies"])),
    )


def challenge_columns(challenge: PendingChallenge, sealer: Sealer) -> dict[str, Any]:
    candidate = challenge.candidate
    return {
        "state": challenge.state,
        "user_id": challenge.user_id,
        "client": challenge.client,
        "face": challenge.face,
        "tries_left": challenge.tries_left,
        "expires_at": challenge.expires_at,
        "stage": str(challenge.stage),
        "purpose": str(challenge.purpose),
        "sealed_candidate": _sealed_candidate(candidate, challenge.state, sealer) if candidate is not None else None,
        "replaces": challenge.replaces,
        "ticket": challenge.ticket,
        "proved": challenge.proved,
        "refusal": challenge.refusal,
        "groups": json.dumps(challenge.groups),
        "replies": json.dumps([(kind, value.hex()) for kind, value in challenge.replies]),
    }


def _sealed_candidate(token: Token, state: str, sealer: Sealer) -> bytes:
    """The whole candidate is sealed, to the State of its challenge: outside it, it does not exist."""
    facts = asdict(token) | {"key": token.key.hex()}
    return sealer.seal("candidate", state, json.dumps(facts).encode())


def _candidate_from(opened: bytes) -> Token:
    facts = json.loads(opened)
    facts |= {"key": bytes.fromhex(facts["key"]), "origin": Origin(facts["origin"])}
    return Token(**facts | {"state": TokenState(facts["state"])})


def client_from(row: Mapping[str, Any], signed_sources: frozenset[str]) -> Client:
    """Without its secrets."""
    return Client(
        name=row["name"],
        network=ip_network(row["network"]),
        secret=b"",
        mode=Mode(row["mode"]),
        message_authenticator=MessageAuthenticatorRule(row["message_authenticator"]),
        status_server=row["status_server"],
        always_challenge=row["always_challenge"],
        encoding=Encoding(row["encoding"]),
        cut_at_nul=row["cut_at_nul"],
        old_secret_until=row["old_secret_until"],
        version=row["version"],
        signed_sources=signed_sources,
    )


def with_secrets(client: Client, row: Mapping[str, Any], sealer: Sealer) -> Client:
    old = row["sealed_old_secret"]
    return replace(
        client,
        secret=sealer.open("client-secret", client.name, row["sealed_secret"]),
        old_secret=sealer.open("client-old-secret", client.name, old) if old is not None else b"",
    )


def client_columns(client: Client, sealer: Sealer) -> dict[str, Any]:
    return {
        "name": client.name,
        "network": str(client.network),
        "sealed_secret": sealer.seal("client-secret", client.name, client.secret),
        "mode": str(client.mode),
        "message_authenticator": str(client.message_authenticator),
        "status_server": client.status_server,
        "always_challenge": client.always_challenge,
        "encoding": str(client.encoding),
        "cut_at_nul": client.cut_at_nul,
        "sealed_old_secret": sealer.seal("client-old-secret", client.name, client.old_secret)
        if client.old_secret
        else None,
        "old_secret_until": client.old_secret_until,
    }


def scope_columns(scope: Scope) -> dict[str, str]:
    return {"group": scope.group or "", "client": scope.client or "", "service": scope.service or ""}


def rule_scope_columns(scope: Scope) -> dict[str, str]:
    network = str(scope.network) if scope.network is not None else ""
    return scope_columns(scope) | {"network": network, "nas": scope.nas or ""}


def rule_from(row: Mapping[str, Any]) -> Rule:
    network = ip_network(row["network"]) if row["network"] else None
    return Rule(row["id"], row["key"], row["value"], replace(_scope_from(row), network=network, nas=row["nas"] or None))


def text_from(row: Mapping[str, Any]) -> Text:
    return Text(row["key"], row["language"], row["text"], _scope_from(row))


def reply_from(row: Mapping[str, Any]) -> Reply:
    return Reply(row["attribute"], tuple(json.loads(row["values"])), Scope(row["group"] or None, row["client"] or None))


def _scope_from(row: Mapping[str, Any]) -> Scope:
    return Scope(row["group"] or None, row["client"] or None, row["service"] or None)


def answered_from(row: Mapping[str, Any], sealer: Sealer) -> Answered:
    """Raises Damaged if the decision is not that of this packet, user and moment."""
    decision = sealer.open("answer", answer_owner(row), row["sealed_decision"])
    return Answered(row["packet"], row["user_id"], row["at"], row["generation"], decision)


def answered_columns(answered: Answered, sealer: Sealer) -> dict[str, Any]:
    columns = {
        "packet": answered.packet,
        "user_id": answered.user_id,
        "at": answered.at,
        "generation": answered.generation,
    }
    return columns | {"sealed_decision": sealer.seal("answer", answer_owner(columns), answered.decision)}


def answer_owner(row: Mapping[str, Any]) -> str:
    """What a recorded decision is sealed to."""
    return f"{row['packet'].hex()}|{row['user_id']}|{row['at']!r}|{row['generation']}"


def reuse_from(row: Mapping[str, Any]) -> ReuseWindow:
    return ReuseWindow(row["client"], row["source"], row["expires_at"], row["length"], row["passcode_mark"])


def known_source_from(row: Mapping[str, Any]) -> KnownSource:
    return KnownSource(row["source"], row["last_accepted_at"], row["failures"], row["blocked_until"])


def source_score_from(row: Mapping[str, Any]) -> SourceScore:
    return SourceScore(row["score"], row["blocked_until"], row["at"])


def ticket_from(row: Mapping[str, Any]) -> Ticket:
    return Ticket(row["digest"], row["user_id"], row["expires_at"], row["by_admin"])
