"""One decision in the making: what it may see, and the pieces every verdict is built from.

Rules: a `Case` is made once per request and never changed. Until the first factor is proved, texts and delays come
from the settings of a stranger (no groups), so that an answer does not tell whose name was typed.
"""

from validation.changes import Audit, AuditFlood, Change, Rehash
from validation.decisions import AskKey, AskKeyName, AskNewKey, Challenge, Decision, Provisioning, Reason, Reject
from validation.messages import MessageKey, default_text, fill, tries_text
from validation.model import Moment, PendingChallenge, Purpose, Site, Snapshot, Stage, Token, User
from validation.policy import Door
from validation.requests import FirstFactor, LoginRequest
from validation.settings import Settings
from validation.values import dataclass

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
        book = snapshot.book
        groups, stranger = _groups(snapshot, request), book.settings(request.whom())
        own = book.settings(request.whom(groups)) if groups else stranger
        return cls(snapshot, request, moment, own, stranger, site)

    @property
    def groups(self) -> tuple[str, ...]:
        """His groups here, and those of the directory that proved his password."""
        return _groups(self.snapshot, self.request)

    @property
    def learned_replies(self) -> tuple[tuple[int, bytes], ...]:
        """RADIUS attributes that came with the proof of his password."""
        return _learned(self.snapshot, self.request)[1]

    @property
    def own_groups(self) -> Settings:
        """What applies to him by the groups he has here alone, as it was when his password was about to be checked."""
        user = self.snapshot.user
        return self.snapshot.book.settings(self.request.whom(user.groups if user is not None else ()))

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

    @property
    def rehash(self) -> tuple[Change, ...]:
        """The same password under newer costs, once it was proved."""
        user, result = self.snapshot.user, self.request.first_factor
        if user is None or result.status is not FirstFactor.PROVED or result.rehash is None:
            return ()
        return (Rehash(user.id, user.password_version, result.rehash),)

    # --- texts ----------------------------------------------------------------------------------------------

    def text(self, name: MessageKey, /, **values: str | int) -> str:
        """The admin's text or the default, for this user once he has proved his password, else for a stranger."""
        return self._text(name, self.password_proved and name is not MessageKey.REFUSED, values)

    def strangers_text(self, name: MessageKey, /, **values: str | int) -> str:
        """What everybody reads: it tells nothing of the password."""
        return self._text(name, False, values)

    def _text(self, name: MessageKey, known: bool, values: dict[str, str | int]) -> str:
        whom = self.request.whom(self.groups if known else ())
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
        audit = self.row(self.audit("reject", reason, failures=failures, notice=notice), reason)
        # What a text tells of the user is for him alone: a client that checks the password itself may not have done so.
        shown = message if self.password_proved else MessageKey.REFUSED
        reject = Reject(reason, self.text(shown), failures, self.stranger.reject_delay)
        return Verdict(reject, (*changes, audit))

    def challenge(
        self,
        user: User | None,
        stage: Stage,
        tries: int,
        candidate: Token | None = None,
        purpose: Purpose = Purpose.LOGIN,
        replaces: str = "",
        ticket: bytes = b"",
    ) -> PendingChallenge:
        """A fresh challenge with a State of its own."""
        lifetime = _LIFETIMES.get(stage, self.settings.onboarding_lifetime)
        if stage in (Stage.PIN, Stage.ASKED):
            known = stage is Stage.PIN and self.password_proved
            lifetime = (self.settings if known else self.stranger).challenge_lifetime
        groups, replies = _learned(self.snapshot, self.request)
        return PendingChallenge(
            state=self.moment.new_state,
            user_id=user.id if user is not None else None,
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
            groups=groups,
            replies=replies,
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
        if request.first_factor.why:
            detail["why"] = request.first_factor.why
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

    def row(self, audit: Audit, reason: Reason) -> Change:
        """As it is written: what anybody can make by the thousand is one row a minute."""
        if self.snapshot.user is not None and reason is not Reason.SOURCE_HELD:
            return audit
        source = self.request.source or self.request.client
        return AuditFlood(audit, f"{reason}|{source}", FLOOD_EVERY)

    def _password_word(self) -> str:
        """Both factors stand in every row: what is known of the password at this step."""
        if self.request.state is not None:
            return "earlier-step"
        return str(self.request.first_factor.status) if self.request.channel.proves_password else "checked-by-client"


def _groups(snapshot: Snapshot, request: LoginRequest) -> tuple[str, ...]:
    own = snapshot.user.groups if snapshot.user is not None else ()
    return tuple(dict.fromkeys((*own, *_learned(snapshot, request)[0])))


def _learned(snapshot: Snapshot, request: LoginRequest) -> tuple[tuple[str, ...], tuple[tuple[int, bytes], ...]]:
    """Groups and reply attributes that came with the proof of the password: now, or before the challenge was opened."""
    challenge, result = snapshot.challenge, request.first_factor
    if challenge is not None:
        his = snapshot.user is not None and challenge.user_id == snapshot.user.id
        return (challenge.groups, challenge.replies) if his else ((), ())
    return (result.groups, result.replies) if result.status is FirstFactor.PROVED else ((), ())


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
