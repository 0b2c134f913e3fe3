"""One decision in the making: what it may see, and the pieces every verdict is built from.

Rules: a `Case` is made once per request and never changed. Until the first factor is proved, texts and delays come
from the settings of a stranger (no groups), so that an answer does not tell whose name was typed.
"""

from dataclasses import dataclass

from validation.changes import Audit, AuditFlood, Change
from validation.decisions import AskKey, AskKeyName, AskNewKey, Challenge, Decision, Provisioning, Reason, Reject
from validation.messages import MessageKey, default_text, fill, tries_text
from validation.model import Moment, PendingChallenge, Purpose, Site, Snapshot, Stage, Token, User
from validation.policy import Door
from validation.requests import FirstFactor, LoginRequest
from validation.settings import Settings

FLOOD_EVERY = 60.0  # seconds between audit rows about unknown users, per source
KEY_LIFETIME = 60.0  # seconds in which a security key must answer (W-001)
_LIFETIMES = {Stage.KEY: KEY_LIFETIME, Stage.NEW_KEY: KEY_LIFETIME}


@dataclass(frozen=True, slots=True)
class Verdict:
    decision: Decision
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Case:
    snapshot: Snapshot
    request: LoginRequest
    moment: Moment
    settings: Settings
    stranger: Settings
    site: Site

    @classmethod
    def of(cls, snapshot: Snapshot, request: LoginRequest, moment: Moment, site: Site) -> "Case":
        groups = snapshot.user.groups if snapshot.user is not None else ()
        book = snapshot.book
        return cls(snapshot, request, moment, book.settings(request.whom(groups)), book.settings(request.whom()), site)

    @property
    def now(self) -> float:
        return self.moment.now

    @property
    def door(self) -> Door:
        channel = self.request.channel
        proves = channel.proves_password and not channel.pin_only
        # Before the password is proved nothing may tell who has a security key: everybody is asked for a PIN.
        local = channel.local and (self.password_proved or channel.own)
        return Door(proves, channel.can_challenge, channel.shows_key_in_clear, local)

    @property
    def password_proved(self) -> bool:
        """A password proved by us: now, or before the challenge was opened."""
        if self.snapshot.challenge is not None:
            return self.snapshot.challenge.proved
        return self.request.channel.proves_password and self.request.first_factor.status is FirstFactor.PROVED

    # --- texts ----------------------------------------------------------------------------------------------

    def text(self, name: MessageKey, /, **values: str | int) -> str:
        """The admin's text or the default, for this user once he has proved his password, else for a stranger."""
        known = self.password_proved and name is not MessageKey.REFUSED
        user = self.snapshot.user
        whom = self.request.whom(user.groups if known and user is not None else ())
        language = (self.settings if known else self.stranger).language
        if isinstance(tries := values.get("tries"), int):
            values["tries"] = tries_text(tries, language)
        template = self.snapshot.book.text(name, language, whom) or default_text(name, language)
        return fill(template, values)

    # --- verdicts -------------------------------------------------------------------------------------------

    def refuse(
        self,
        reason: Reason,
        changes: tuple[Change, ...] = (),
        failures: int = 0,
        message: MessageKey = MessageKey.REFUSED,
        notice: str = "",
    ) -> Verdict:
        audit: Change = self.audit("reject", reason, failures=failures, notice=notice)
        if (self.snapshot.user is None or reason is Reason.SOURCE_HELD) and isinstance(audit, Audit):
            audit = AuditFlood(audit, f"{reason}|{self.request.source or self.request.client}", FLOOD_EVERY)
        # What a text tells of the user is for him alone: a client that checks the password itself may not have done so.
        shown = message if self.password_proved else MessageKey.REFUSED
        reject = Reject(reason, self.text(shown), failures, self.stranger.reject_delay)
        return Verdict(reject, (*changes, audit))

    def challenge(
        self,
        user: User,
        stage: Stage,
        tries: int,
        candidate: Token | None = None,
        purpose: Purpose = Purpose.LOGIN,
        replaces: str = "",
        ticket: bytes = b"",
    ) -> PendingChallenge:
        """A fresh challenge with a State of its own."""
        lifetime = _LIFETIMES.get(stage, self.settings.onboarding_lifetime)
        if stage is Stage.PIN:
            lifetime = self.settings.challenge_lifetime
        return PendingChallenge(
            state=self.moment.new_state,
            user_id=user.id,
            client=self.request.client,
            face=self.request.channel.face,
            tries_left=tries,
            expires_at=self.now + lifetime,
            stage=stage,
            candidate=candidate,
            purpose=purpose,
            replaces=replaces,
            ticket=ticket,
            proved=self.password_proved,
        )

    def ask(
        self,
        challenge: PendingChallenge,
        texts: tuple[str, ...],
        reason: Reason,
        provisioning: Provisioning | None = None,
        wants: AskKey | AskNewKey | AskKeyName | None = None,
    ) -> Challenge:
        lifetime = challenge.expires_at - self.now
        return Challenge(challenge.state, texts, lifetime, reason, challenge.tries_left, provisioning, wants)

    # --- audit ----------------------------------------------------------------------------------------------

    def audit(
        self,
        decision: str,
        reason: Reason,
        serial: str = "",
        failures: int = 0,
        kind: str = "",
        notice: str = "",
        event: str = "",
    ) -> Audit:
        request = self.request
        detail: dict[str, str | int] = {"password": self._password_word()}
        if failures:
            detail["failures"] = failures
        if kind:
            detail["kind"] = kind
        if request.unsupported:
            detail["unsupported"] = request.unsupported
        if notice:
            detail["notice"] = notice
        return Audit(
            at=self.now,
            event=event or str(request.purpose),
            decision=decision,
            reason=reason,
            user=self.snapshot.user.name if self.snapshot.user is not None else request.user,
            client=request.client,
            face=request.channel.face,
            source=request.source or "",
            serial=serial,
            actor=request.actor,
            request_id=request.request_id,
            detail=detail,
            notice=notice,
        )

    def _password_word(self) -> str:
        """Both factors stand in every row: what is known of the password at this step."""
        if self.request.state is not None:
            return "earlier-step"
        return str(self.request.first_factor.status) if self.request.channel.proves_password else "checked-by-client"


def failed(request: LoginRequest, moment: Moment) -> Verdict:
    """The refusal for a request whose decision raised. It is written down like every other."""
    audit = Audit(
        at=moment.now,
        event=str(request.purpose),
        decision="reject",
        reason=Reason.DECISION_FAILED,
        user=request.user,
        client=request.client,
        face=request.channel.face,
        source=request.source or "",
        request_id=request.request_id,
    )
    text = default_text(MessageKey.REFUSED, Settings().language)
    return Verdict(Reject(Reason.DECISION_FAILED, text, delay=Settings().reject_delay), (audit,))
