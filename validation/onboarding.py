"""Pairing an app, as a conversation the engine drives for every face.

    WELCOME ── n ──> APPS ──> FIRST_PIN ── right PIN ──> registered
       └──── anything else ────^   └──── wrong PIN, tries left ──^

Rules: the candidate's key is made when the key is shown, and lives in the challenge alone, so an abandoned pairing
leaves nothing. When its first PIN is right, everything is looked at again (`_refusal`) in the transaction that
makes it the user's token; of two sessions that pair at once, the second to confirm is refused. Adding another app
and making a key anew are the same conversation from FIRST_PIN on.
"""

import hmac
from dataclasses import dataclass, replace

from validation.changes import (
    Change,
    CloseChallenge,
    EndLoginsOf,
    InsertTicket,
    InsertToken,
    MarkRegistered,
    OpenChallenge,
    SetTokenState,
    UseTicket,
)
from validation.decisions import Provisioning, Reason
from validation.messages import QR_LINE, MessageKey
from validation.model import (
    Origin,
    PendingChallenge,
    Purpose,
    RevokeReason,
    Stage,
    Ticket,
    Token,
    TokenState,
    User,
)
from validation.policy import (
    Next,
    Step,
    keys_welcome,
    pairing_refusal,
    registrations,
    showing_refusal,
    shows_passcodes,
    usable,
    window,
)
from validation.requests import ticket_digest
from validation.tokens.registry import KINDS
from validation.tokens.uri import grouped
from validation.verdict import Case, Verdict

TICKET_LIFETIME = 600.0  # seconds; SP 800-63B-4 4.1.2.2: at most 10 minutes


@dataclass(frozen=True, slots=True)
class Registered:
    """The candidate has become the user's token; the caller lets him in."""

    token: Token
    changes: tuple[Change, ...]
    texts: tuple[str, ...]


# --- beginning --------------------------------------------------------------------------------------------------


def welcome(case: Case, user: User) -> Verdict:
    """A first login: welcome, which may be skipped."""
    challenge = case.challenge(user, Stage.WELCOME, case.settings.tries)
    key_too = keys_welcome(case.door, case.settings)
    return _open(case, challenge, (case.text(MessageKey.WELCOME_OR_KEY if key_too else MessageKey.WELCOME),))


def show_key(
    case: Case, user: User, purpose: Purpose = Purpose.LOGIN, replaces: str = "", ticket: bytes = b""
) -> Verdict:
    """Make a candidate, show its key, and ask for its first PIN."""
    candidate = _candidate(case, user)
    challenge = case.challenge(user, Stage.FIRST_PIN, case.settings.tries, candidate, purpose, replaces, ticket)
    provisioning = Provisioning(
        KINDS[candidate.kind].uri(candidate, user.name, case.site.issuer), grouped(candidate.key), candidate.serial
    )
    shown = MessageKey.KEY if case.door.shows_key_in_clear else MessageKey.KEY_ON_SCREEN
    key = case.text(shown, uri=provisioning.uri, key=provisioning.key_text, qr=QR_LINE)
    return _open(case, challenge, (*key.split("\n"), case.text(MessageKey.FIRST_PIN)), provisioning)


def hand_out_ticket(case: Case, user: User) -> Verdict:
    """Over an unprotected path: a ticket in place of the key. The challenge waits for the first PIN after that."""
    text = case.moment.new_ticket
    ticket = Ticket(ticket_digest(text), user.id, case.now + TICKET_LIFETIME, by_admin=False)
    challenge = replace(
        case.challenge(user, Stage.PIN, case.settings.tries, purpose=Purpose.REDEEM),
        expires_at=case.now + case.settings.onboarding_lifetime,
    )
    told = case.text(MessageKey.TICKET, ticket=text, minutes=int(TICKET_LIFETIME // 60))
    return _open(case, challenge, tuple(told.split("\n")), changes=(InsertTicket(ticket, case.now),))


def _candidate(case: Case, user: User) -> Token:
    return Token(
        id=0,
        serial=case.moment.new_serial,
        user_id=user.id,
        kind="totp",
        key=case.moment.new_key,
        created_at=case.now,
        origin=Origin.SELF,
    )


def _open(
    case: Case,
    challenge: PendingChallenge,
    texts: tuple[str, ...],
    provisioning: Provisioning | None = None,
    changes: tuple[Change, ...] = (),
) -> Verdict:
    """Ask `texts`, in place of the challenge that was answered, if one was."""
    answered = case.snapshot.challenge
    closing = (CloseChallenge(answered.state),) if answered is not None else ()
    decision = case.ask(challenge, texts, Reason.ONBOARDING, provisioning)
    audit = case.audit("challenge", Reason.ONBOARDING)
    return Verdict(decision, (*closing, *changes, OpenChallenge(challenge, case.now), audit))


# --- going on ---------------------------------------------------------------------------------------------------


def turn_page(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    """An answer to WELCOME or APPS."""
    refusal = _refusal(case, user, challenge) or showing_refusal(case.door, case.settings)
    if refusal is not None:
        return _refused(case, challenge, refusal)
    if challenge.stage is Stage.WELCOME and (case.request.passcode or "").strip().lower() == "n":
        return _open(case, case.challenge(user, Stage.APPS, challenge.tries_left), (case.text(MessageKey.APPS),))
    return show_key(case, user)


def check_first_pin(case: Case, user: User, challenge: PendingChallenge) -> Verdict | Registered:
    """An answer to FIRST_PIN."""
    refusal = _refusal(case, user, challenge)
    candidate = challenge.candidate
    if refusal is not None or candidate is None:
        return _refused(case, challenge, refusal or Next(Step.REFUSE, Reason.NO_TOKEN))
    comparison = KINDS[candidate.kind].compare(candidate, case.request.passcode or "", case.now, window(case.settings))
    if comparison.match is None:
        return _wrong_first_pin(case, user, challenge)
    token = replace(
        candidate,
        moving_factor=comparison.match.moving_factor,
        drift=comparison.match.drift,
        last_used_at=case.now,
    )
    changes: list[Change] = [CloseChallenge(challenge.state), *_retired(case, challenge), InsertToken(token)]
    changes.append(MarkRegistered(user.id, case.now))
    if challenge.ticket:
        changes.append(UseTicket(challenge.ticket))
    # Ends every session that was still pairing; a login that waits for a PIN (after a ticket) goes on. A reset revokes
    # the old key, which ends everything.
    changes += [
        EndLoginsOf(user.id, pairing_only=challenge.purpose is not Purpose.RESET),
        case.audit("done", Reason.REGISTERED, token.serial, notice="enrolled"),
    ]
    return Registered(token, tuple(changes), (case.text(MessageKey.REGISTERED),))


def _retired(case: Case, challenge: PendingChallenge) -> tuple[Change, ...]:
    """A reset, and nothing else: the old key goes in the same transaction in which the new one comes."""
    if challenge.purpose is not Purpose.RESET:
        return ()
    old = [t for t in case.snapshot.tokens if t.serial == challenge.replaces]
    return tuple(SetTokenState(t.id, TokenState.REVOKED, RevokeReason.OTHER, case.now) for t in old)


def _wrong_first_pin(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    left = challenge.tries_left - 1
    closing = (CloseChallenge(challenge.state),)
    if left <= 0:
        return case.refuse(Reason.FIRST_PIN_WRONG, closing)
    again = replace(challenge, state=case.moment.new_state, tries_left=left)
    texts = (case.text(MessageKey.FIRST_PIN_AGAIN, tries=left),)
    audit = case.audit("again", Reason.FIRST_PIN_WRONG)
    decision = case.ask(again, texts, Reason.FIRST_PIN_WRONG)
    return Verdict(decision, (*closing, OpenChallenge(again, case.now), audit))


# --- may it be? -------------------------------------------------------------------------------------------------


def _refusal(case: Case, user: User, challenge: PendingChallenge) -> Next | None:
    """Why this pairing may not go on. Looked at afresh at every step, from what the store says now."""
    match challenge.purpose:
        case Purpose.LOGIN:
            return pairing_refusal(case.snapshot, user, case.door, case.settings, case.now)
        case Purpose.ADD:
            return add_refusal(case)
        case Purpose.RESET:
            return reset_refusal(case, challenge.replaces)
        case Purpose.REDEEM:
            return ticket_refusal(case, user, challenge.ticket)
        case Purpose.CARE | Purpose.ADD_KEY:  # pair no app
            return Next(Step.REFUSE, Reason.NO_TOKEN)


def add_refusal(case: Case) -> Next | None:
    """Another authenticator beside those there are."""
    if case.settings.enrolment not in ("self", "both"):
        return Next(Step.REFUSE, Reason.HARDWARE_ONLY, MessageKey.HARDWARE_ONLY)
    if not registrations(case.snapshot) or len(registrations(case.snapshot)) >= case.settings.max_registrations:
        return Next(Step.REFUSE, Reason.NO_TOKEN, MessageKey.LOST_TOKEN)
    return None


def reset_refusal(case: Case, serial: str) -> Next | None:
    """A new key in place of the app called `serial`: it must be the user's own, and still work."""
    own = [t for t in case.snapshot.tokens if t.serial == serial and t.origin is Origin.SELF and usable(t)]
    if not all(shows_passcodes(t) for t in own) or not own or case.settings.enrolment not in ("self", "both"):
        return Next(Step.REFUSE, Reason.NO_TOKEN, MessageKey.LOST_TOKEN)
    return None


def ticket_refusal(case: Case, user: User, digest: bytes) -> Next | None:
    """A ticket must be there, this user's, in time; an admin's stands in for an open pairing window."""
    ticket = case.snapshot.ticket
    if ticket is None or ticket.user_id != user.id or case.now >= ticket.expires_at:
        return Next(Step.REFUSE, Reason.TICKET_WRONG)
    if not hmac.compare_digest(ticket.digest, digest):
        return Next(Step.REFUSE, Reason.TICKET_WRONG)
    if ticket.by_admin and case.settings.enrolment in ("self", "both") and not registrations(case.snapshot):
        return None
    return pairing_refusal(case.snapshot, user, case.door, case.settings, case.now)


def _refused(case: Case, challenge: PendingChallenge, why: Next) -> Verdict:
    return case.refuse(why.reason, (CloseChallenge(challenge.state),), message=why.message)
