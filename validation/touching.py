"""A security key in a login: asked for, and its answer judged.

Rules: only where whoever touches it is whoever logs in (`Door.local`), and only once the password is proved. The
answer must come within KEY_LIFETIME to the State it was asked with; what is signed is made from that State, the user,
the place and the purpose. A PIN may be typed instead unless policy `security_key` says `required`. A wrong answer
cannot be guessed at, so it counts nothing; it ends the login, and a sign count that went back is told.
"""

from dataclasses import dataclass

from validation.changes import CloseChallenge, OpenChallenge, UseSecurityKey
from validation.decisions import Reason
from validation.messages import MessageKey
from validation.model import PendingChallenge, Purpose, Stage, Token, User
from validation.policy import askable_keys, shows_passcodes, usable_tokens
from validation.tokens import webauthn
from validation.tokens.webauthn import Flaw, Used
from validation.verdict import Case, Verdict

REASON_OF: dict[Flaw, Reason] = {
    Flaw.UNREADABLE: Reason.KEY_WRONG,
    Flaw.FOREIGN: Reason.KEY_WRONG,
    Flaw.UNSIGNED: Reason.KEY_WRONG,
    Flaw.UNVERIFIED: Reason.KEY_UNVERIFIED,
    Flaw.BACKUP: Reason.KEY_BACKUP,
    Flaw.UNTRUSTED: Reason.KEY_NOT_ALLOWED,
    Flaw.ALGORITHM: Reason.KEY_NOT_ALLOWED,
    Flaw.KNOWN: Reason.KEY_KNOWN,
}


@dataclass(frozen=True, slots=True)
class Touched:
    """The assertion is right; the caller goes on."""

    token: Token
    moved: UseSecurityKey
    notice: str = ""


NEEDED = (Reason.KEY_MISSING, MessageKey.KEY_NEEDED)


def askable(case: Case) -> tuple[Token, ...]:
    return askable_keys(case.snapshot, case.door, case.settings)


def passcode_would_do(case: Case) -> bool:
    """Not where policy takes the PIN away, and not for who has none."""
    if case.settings.security_key == "required" and askable(case):
        return False
    return any(shows_passcodes(token) for token in usable_tokens(case.snapshot))


def ask(case: Case, user: User, tries: int, purpose: Purpose, replaces: str) -> Verdict:
    """Ask for a touch. Raises Damaged if a stored credential is."""
    challenge = case.challenge(user, Stage.KEY, tries, purpose=purpose, replaces=replaces)
    or_passcode = passcode_would_do(case)
    wants = webauthn.ask(case.site, askable(case), signed(case, user, challenge), _verify_user(case), or_passcode)
    text = case.text(MessageKey.ASK_KEY_OR_PIN if or_passcode else MessageKey.ASK_KEY, where=case.request.where)
    decision = case.ask(challenge, (text,), Reason.PASSWORD_RIGHT, wants=wants)
    audit = case.audit("challenge", Reason.PASSWORD_RIGHT, kind=webauthn.Webauthn.name)
    return Verdict(decision, (OpenChallenge(challenge, case.now), audit))


def judge(case: Case, user: User, challenge: PendingChallenge) -> Touched | Verdict:
    """The assertion in the request; a Verdict if it is refused, or none came. Raises Damaged."""
    answer = case.request.assertion
    if answer is None or not askable(case):
        return _refused(case, challenge, *NEEDED)
    what = signed(case, user, challenge)
    outcome = webauthn.check_assertion(case.site, askable(case), answer, what, _verify_user(case))
    if isinstance(outcome, Flaw):
        return _refused(case, challenge, REASON_OF[outcome])
    if outcome.went_back and case.settings.sign_count == "refuse":
        return _refused(case, challenge, Reason.KEY_COUNTER, notice=_COPIED)
    return _touched(case, outcome)


_COPIED = "security_key_copied"


def _touched(case: Case, used: Used) -> Touched:
    """A count that went back, and was let pass, stays where it was."""
    before = used.token.moving_factor
    after = before if used.went_back else used.sign_count
    moved = UseSecurityKey(used.token.id, before, after, case.now, stays=after == before)
    return Touched(used.token, moved, _COPIED if used.went_back else "")


def _refused(
    case: Case,
    challenge: PendingChallenge,
    reason: Reason,
    message: MessageKey = MessageKey.KEY_REFUSED,
    notice: str = "",
) -> Verdict:
    return case.refuse(reason, (CloseChallenge(challenge.state),), message=message, notice=notice)


def signed(case: Case, user: User, challenge: PendingChallenge) -> bytes:
    """What the key signs: this State of this user at this service of this host, for this purpose (W-013)."""
    return webauthn.challenge(challenge.stage, challenge.purpose, challenge.state, user.name, challenge.client)


def _verify_user(case: Case) -> bool:
    return case.settings.user_verification == "required"
