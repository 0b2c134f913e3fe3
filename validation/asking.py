"""Everybody who asks is asked for a PIN, before anything is told: so a password cannot be tried out alone.

    whoever asks ──> ASKED ── a PIN ──> what the login would have come to
                       └── whom something stands against: another question while tries are left, then the refusal

Rules: for clients with `always_challenge`; one that is `passcode-only` asks by sending an empty field. The text, the
tries and the lifetime are those of a stranger. What stands against the login is found out at once, counted at once and
kept in the challenge (`PendingChallenge.refusal`); nothing that is typed then is compared. Unknown names get a
challenge like everybody. Only a place of passwords that does not answer is silence: it is so for all alike.
"""

from dataclasses import replace

from validation.changes import Audit, AuditFlood, Change, OpenChallenge
from validation.decisions import Reason, Reject
from validation.messages import MessageKey
from validation.model import Purpose, Stage
from validation.verdict import Case, Verdict


def is_due(case: Case) -> bool:
    channel = case.request.channel
    return channel.asks_everybody and case.request.purpose is Purpose.LOGIN and not case.request.passcode


def everybody(case: Case, refusal: Verdict | None) -> Verdict:
    """Ask, whatever stands against the login."""
    against = refusal.decision if refusal is not None else None
    if isinstance(against, Reject) and against.reason is Reason.FIRST_FACTOR_UNAVAILABLE and refusal is not None:
        return refusal
    challenge = case.challenge(case.snapshot.user, Stage.ASKED, case.stranger.tries)
    if isinstance(against, Reject):
        challenge = replace(challenge, refusal=str(against.reason))
    decision = case.ask(challenge, (case.strangers_text(MessageKey.ASK_PIN),), Reason.ASKED)
    before = refusal.changes if refusal is not None else (*case.rehash, case.audit("challenge", Reason.ASKED))
    return Verdict(decision, (*(_as_asked(change) for change in before), OpenChallenge(challenge, case.now)))


def _as_asked(change: Change) -> Change:
    """The row of a refusal says why; the refusal itself comes later, in a row of its own."""
    match change:
        case Audit(decision="reject"):
            return replace(change, decision="challenge")
        case AuditFlood():
            return replace(change, audit=replace(change.audit, decision="challenge"))
        case _:
            return change
