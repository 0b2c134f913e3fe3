"""A retransmission gets the decision that its packet got before, whichever server it reaches and after a restart.

    the packet ──> decided, and recorded in the same transaction ──> the reply is lost
    its copy   ──> found, within 30 s ──> the same decision; nothing is used, counted or compared

Rules: what is recorded is what cannot be decided twice: a decision that used something up, counted something or asked
a question. Not recorded are silence, a request that nothing could be made of, and an Accept that used nothing up: each
is decided anew. A record is of one packet, one user and one state of the policies, for `LIFETIME`; it is withheld from
whoever was locked or disabled since, and an Accept also while a wait is running or a source is held, and once its
token is out of use. A withheld record is as none: the copy is decided anew, and its PIN is used. The store forgets the
records of a user with every change that may end a login (`RecordAnswer`), so this is the second look, not the first.

A copy gets a row in the trail of an event of its own, so that there is still one accept for each PIN.
"""

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from validation.changes import AuditFlood, RecordAnswer
from validation.decisions import Accept, Challenge, Decision, Provisioning, Reason, Reject
from validation.errors import Damaged
from validation.model import Answered, Snapshot, User
from validation.policy import OBSTACLE, standing, usable_tokens
from validation.verdict import FLOOD_EVERY, Case, Verdict

EVENT = "retransmission"
# Seconds; RFC 5080 2.2.2 lets a reply be kept for 5 to 30. Clocks of two servers may differ: a record from a moment
# that has not come yet is as good as one from so long ago, and no better.
LIFETIME = 30.0


@dataclass(frozen=True, slots=True)
class LetIn:
    """An Accept as it was recorded: nobody is let in by it before `decide._accept_again` has looked."""

    user: str
    reason: Reason
    serial: str
    kind: str
    texts: tuple[str, ...] = field(repr=False)
    replies: tuple[tuple[int, bytes], ...] = field(repr=False)


def found(snapshot: Snapshot, now: float) -> Answered | None:
    """The record of this packet, if it still holds for whoever is named."""
    answered, user = snapshot.answered, snapshot.user
    if answered is None or abs(now - answered.at) > LIFETIME or answered.generation != snapshot.book.generation:
        return None
    if answered.user_id != (user.id if user is not None else None):
        return None
    return None if user is not None and (user.locked or user.disabled) else answered


def may_be_let_in(case: Case, user: User, was: LetIn) -> bool:
    """Whether what let `user` in would still be looked at: no obstacle, and the token that he used is in use."""
    barred = standing(case.snapshot, case.settings, case.now) in OBSTACLE
    return not barred and user.name == was.user and was.serial in {t.serial for t in usable_tokens(case.snapshot)}


def again(case: Case, decision: Decision, serial: str = "") -> Verdict:
    """The same decision once more. Copies can be made by the thousand: a row a minute for each user and client."""
    word = type(decision).__name__.lower()
    audit = replace(case.audit("repeated", decision.reason, serial, event=EVENT), detail={"answer": word})
    known = case.snapshot.user
    whose = f"{case.request.client}|{known.name}" if known is not None else case.request.source or case.request.client
    return Verdict(decision, (AuditFlood(audit, f"{EVENT}|{whose}", FLOOD_EVERY),))


def recorded(case: Case, verdict: Verdict) -> Verdict:
    """The same verdict, with its record as the last change."""
    if not case.request.packet or not _is_kept(case, verdict.decision):
        return verdict
    user, book = case.snapshot.user, case.snapshot.book
    user_id = user.id if user is not None else None
    answered = Answered(case.request.packet, user_id, case.now, book.generation, packed(verdict.decision))
    return Verdict(verdict.decision, (*verdict.changes, RecordAnswer(answered)))


def _is_kept(case: Case, decision: Decision) -> bool:
    match decision:
        case Accept():
            return bool(decision.serial)
        case Challenge():
            return decision.wants is None  # a security key is at a console, which sends no packets
        case Reject():
            return decision.reason is not Reason.FIRST_FACTOR_UNAVAILABLE and not case.request.unsupported


# --- as octets --------------------------------------------------------------------------------------------------


_encode = msgspec.json.Encoder().encode  # each login is written down once, and hardly one in a thousand read again


def packed(decision: Decision) -> bytes:
    return _encode((type(decision).__name__, decision))


def unpacked(octets: bytes) -> LetIn | Challenge | Reject:
    """Raises Damaged if these are no decision that `packed` has written."""
    try:
        kind, facts = json.loads(octets)
        return _READERS[kind](facts | {"reason": Reason(facts["reason"])})
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"a recorded answer cannot be read ({type(error).__name__})") from None


def _let_in(facts: dict[str, Any]) -> LetIn:
    replies = tuple((kind, b64decode(value, validate=True)) for kind, value in facts["replies"])
    return LetIn(**facts | {"texts": tuple(facts["texts"]), "replies": replies})


def _challenge(facts: dict[str, Any]) -> Challenge:
    shown = Provisioning(**facts["provisioning"]) if facts["provisioning"] is not None else None
    return Challenge(**facts | {"texts": tuple(facts["texts"]), "provisioning": shown})


def _reject(facts: dict[str, Any]) -> Reject:
    return Reject(**facts)


_READERS: dict[str, Callable[[dict[str, Any]], LetIn | Challenge | Reject]] = {
    "Accept": _let_in,
    "Challenge": _challenge,
    "Reject": _reject,
}
