"""Registering a security key: its name, a touch, and it is the user's.

    KEY_NAME ── a name that can be used ──> NEW_KEY ── what the key made, right ──> registered

Rules: only where whoever touches it is whoever registers it (`Door.local`). Who has no registration may do this when he
may pair an app (Purpose.LOGIN); who has one, after a fresh second factor (Purpose.ADD_KEY). The purpose of the
challenge says which of them it was, and stays: what was begun with a password alone ends when a registration comes from
elsewhere. Everything is looked at again at every step, and in the transaction that makes the key the user's. No key is
registered twice for one user, and no two have the same name.
"""

from validation.changes import Change, CloseChallenge, EndLoginsOf, InsertToken, MarkRegistered, OpenChallenge
from validation.decisions import AskKeyName, Reason
from validation.errors import BadInput
from validation.messages import MessageKey
from validation.model import Origin, PendingChallenge, Purpose, Stage, Token, TokenState, User
from validation.onboarding import Registered, add_refusal
from validation.policy import (
    Next,
    Step,
    check_label,
    keys_welcome,
    pairing_refusal,
    registrations,
    security_keys,
    shows_passcodes,
)
from validation.tokens import webauthn
from validation.tokens.webauthn import Flaw, Made
from validation.touching import REASON_OF, signed
from validation.verdict import Case, Verdict


def is_offered(case: Case) -> bool:
    """At a first login: a security key, where an app could be paired."""
    return keys_welcome(case.door, case.settings)


def is_due(case: Case) -> bool:
    """Policy asks for a security key here, and this user, who has shown another second factor, has none yet."""
    wanted = case.settings.security_key == "required" and case.door.local and not case.request.channel.pin_only
    return wanted and not security_keys(case.snapshot)


def start(case: Case, user: User, purpose: Purpose) -> Verdict:
    """Ask for the name, unless it came with the request."""
    refusal = refused(case, user, purpose)
    if refusal is not None:
        message = MessageKey.KEY_NEEDED if is_due(case) else refusal.message
        return case.refuse(refusal.reason, _closing(case), message=message)
    if case.request.key_name:
        return _named(case, user, purpose, case.settings.tries)
    return _ask_name(case, user, purpose, case.settings.tries, case.text(MessageKey.KEY_NAME))


def named(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    """An answer to KEY_NAME."""
    refusal = refused(case, user, challenge.purpose)
    if refusal is not None:
        return case.refuse(refusal.reason, _closing(case), message=refusal.message)
    return _named(case, user, challenge.purpose, challenge.tries_left)


def complete(case: Case, user: User, challenge: PendingChallenge) -> Verdict | Registered:
    """An answer to NEW_KEY."""
    refusal = refused(case, user, challenge.purpose)
    if refusal is not None:
        return case.refuse(refusal.reason, _closing(case), message=refusal.message)
    answer = case.request.new_credential
    if answer is None or not _can_be_named(case, case.request.key_name):
        return case.refuse(Reason.KEY_MISSING, _closing(case), message=MessageKey.KEY_NEEDED)
    handle, what = webauthn.handle_for(challenge.state), signed(case, user, challenge)
    made = webauthn.check_new(case.site, handle, _all_keys(case), answer, what, _verify_user(case))
    if isinstance(made, Flaw):
        not_allowed = REASON_OF[made] is Reason.KEY_NOT_ALLOWED
        message = MessageKey.KEY_NOT_ALLOWED if not_allowed else MessageKey.KEY_REFUSED
        return case.refuse(REASON_OF[made], _closing(case), message=message)
    return _registered(case, user, challenge, made)


def _registered(case: Case, user: User, challenge: PendingChallenge, made: Made) -> Registered:
    token = Token(
        id=0,
        serial=case.moment.new_serial,
        user_id=user.id,
        kind=webauthn.Webauthn.name,
        key=made.credential.pack(),
        created_at=case.now,
        origin=Origin.SELF,
        label=case.request.key_name,
        algorithm=made.algorithm,
        moving_factor=made.sign_count,
        last_used_at=case.now,
    )
    changes: tuple[Change, ...] = (
        CloseChallenge(challenge.state),
        InsertToken(token),
        MarkRegistered(user.id, case.now),
        EndLoginsOf(user.id, pairing_only=True),
        case.audit("done", Reason.REGISTERED, token.serial, kind=token.kind, notice="enrolled"),
    )
    texts: tuple[str, ...] = (case.text(MessageKey.KEY_REGISTERED),)
    if not any(shows_passcodes(one) for one in registrations(case.snapshot)):
        texts = (*texts, case.text(MessageKey.KEY_ALONE))
    return Registered(token, changes, texts)


# --- asking -----------------------------------------------------------------------------------------------------


def _ask_name(case: Case, user: User, purpose: Purpose, tries: int, text: str) -> Verdict:
    challenge = case.challenge(user, Stage.KEY_NAME, tries, purpose=purpose)
    audit = case.audit("challenge", Reason.ONBOARDING, kind=webauthn.Webauthn.name)
    decision = case.ask(challenge, (text,), Reason.ONBOARDING, wants=AskKeyName())
    return Verdict(decision, (*_closing(case), OpenChallenge(challenge, case.now), audit))


def _named(case: Case, user: User, purpose: Purpose, tries: int) -> Verdict:
    if not _can_be_named(case, case.request.key_name):
        if tries <= 1:
            return case.refuse(Reason.KEY_MISSING, _closing(case), message=MessageKey.KEY_NEEDED)
        return _ask_name(case, user, purpose, tries - 1, case.text(MessageKey.KEY_NAME_AGAIN))
    challenge = case.challenge(user, Stage.NEW_KEY, tries, purpose=purpose)
    handle, what = webauthn.handle_for(challenge.state), signed(case, user, challenge)
    wants = webauthn.ask_new(case.site, user.name, handle, _all_keys(case), what, _verify_user(case))
    text = case.text(MessageKey.NEW_KEY, where=case.request.where)
    decision = case.ask(challenge, (text,), Reason.ONBOARDING, wants=wants)
    audit = case.audit("challenge", Reason.ONBOARDING, kind=webauthn.Webauthn.name)
    return Verdict(decision, (*_closing(case), OpenChallenge(challenge, case.now), audit))


def _can_be_named(case: Case, name: str) -> bool:
    """Not empty, nothing invisible, and not what another of the user's registrations is called."""
    try:
        check_label(name)
    except BadInput:
        return False
    taken = {word.casefold() for token in case.snapshot.tokens for word in (token.label, token.serial) if word}
    return bool(name) and name == name.strip() and not name.startswith("-") and name.casefold() not in taken


def _all_keys(case: Case) -> list[Token]:
    """Disabled ones too: a key is not registered again while an admin has put it out of use."""
    found = (token for token in case.snapshot.tokens if token.state is not TokenState.REVOKED)
    return [token for token in found if token.kind == webauthn.Webauthn.name]


def _closing(case: Case) -> tuple[Change, ...]:
    answered = case.snapshot.challenge
    return (CloseChallenge(answered.state),) if answered is not None else ()


def _verify_user(case: Case) -> bool:
    return case.settings.user_verification == "required"


# --- may it be? -------------------------------------------------------------------------------------------------


def refused(case: Case, user: User, purpose: Purpose) -> Next | None:
    """Why this user may not register a key now. Looked at afresh at every step."""
    if not keys_welcome(case.door, case.settings):
        return Next(Step.REFUSE, Reason.KEY_ELSEWHERE, MessageKey.KEY_NOT_HERE)
    if purpose is Purpose.ADD_KEY:
        return add_refusal(case)
    return pairing_refusal(case.snapshot, user, case.door, case.settings, case.now)
