"""How a login is looked at: (Snapshot, LoginRequest, Moment) -> decision and changes.

The steps, in this order, each numbered again where it is done:

    1  the client is still the one the face saw, and the face could make something of the request
    2  a State, if one came back, is open, not expired, and this user's and client's
    3  nothing stands against the user: unknown, disabled, locked, waiting after failures
    4  the first factor was proved, against the password that is stored now
    5  the user has a usable token
    6  no passcode yet: open a challenge, where the client can show one
    7  the passcode matches an unused value of a usable token

`Accept` is built in `_accept` alone, and only step 7 leads there. Nothing is compared before step 3 is passed, and no
failure moves a moving factor. Every path that is not an Accept or a Challenge is a Reject.
"""

from collections import Counter
from dataclasses import dataclass

from validation.changes import (
    Audit,
    AuditFlood,
    Change,
    CloseChallenge,
    CountTokenFailure,
    OpenChallenge,
    Rehash,
    SetThrottle,
    UseToken,
)
from validation.decisions import Accept, Challenge, Decision, Look, Reason, Reject, Split
from validation.messages import Message, MessageKey
from validation.model import Factor, Mode, Moment, PendingChallenge, Snapshot, Throttle, Token, User
from validation.policy import (
    BEFORE_FIRST_FACTOR,
    DEFAULTS,
    OBSTACLE,
    Settings,
    Standing,
    standing,
    usable_tokens,
)
from validation.requests import FirstFactor, LoginRequest, LookRequest
from validation.throttle import after_failure
from validation.tokens.kind import Match
from validation.tokens.registry import kind_of

FLOOD_EVERY = 60.0  # seconds between audit rows about unknown users, per source


@dataclass(frozen=True, slots=True)
class Verdict:
    decision: Decision
    changes: tuple[Change, ...]


def login(snapshot: Snapshot, request: LoginRequest, moment: Moment, settings: Settings = DEFAULTS) -> Verdict:
    """Decide one step of one login. Raises Damaged if a row it needs cannot be trusted."""
    if snapshot.damage is not None:
        raise snapshot.damage
    return _Login(snapshot, request, moment, settings).decide()


@dataclass(frozen=True, slots=True)
class _Login:
    """One decision in the making: the four things it may see, and the steps over them."""

    snapshot: Snapshot
    request: LoginRequest
    moment: Moment
    settings: Settings

    def decide(self) -> Verdict:
        client = self.snapshot.client
        if client is None or client.version != self.request.client_version:  # 1
            return self._refuse(Reason.CLIENT_CHANGED)
        if self.request.unsupported:  # 1
            return self._refuse(Reason.REQUEST_UNSUPPORTED)
        if self.request.state is not None:
            return self._answer_to_challenge()
        return self._fresh_login()

    def _fresh_login(self) -> Verdict:
        where = standing(self.snapshot, self.moment.now)
        obstacle = OBSTACLE[where]
        user = self.snapshot.user
        if user is None or (obstacle is not None and where in BEFORE_FIRST_FACTOR):  # 3
            return self._refuse(obstacle or Reason.USER_UNKNOWN)
        if self.request.channel.proves_password and (refusal := self._first_factor_refusal(user)):  # 4
            return refusal
        if obstacle is not None:  # 5
            return self._refuse(obstacle)
        if self.request.passcode:
            return self._check_passcode(user)  # 7
        if self.request.channel.can_challenge:  # 6
            return self._challenge(user)
        return self._refuse(Reason.PASSCODE_MISSING)

    def _answer_to_challenge(self) -> Verdict:
        user, challenge = self.snapshot.user, self.snapshot.challenge
        reason = self._state_refusal(user, challenge)  # 2
        if user is None or challenge is None or reason is not None:
            return self._refuse(reason or Reason.STATE_UNKNOWN)
        where = standing(self.snapshot, self.moment.now)
        if where is Standing.WAITING:  # 3: nothing is compared, and it looks like a wrong PIN
            return self._ask_again(user, challenge, Reason.WAITING, ())
        obstacle = OBSTACLE[where]
        if obstacle is not None:  # 3 and 5
            return self._refuse(obstacle, (CloseChallenge(challenge.state),))
        return self._check_passcode(user)  # 7

    def _state_refusal(self, user: User | None, challenge: PendingChallenge | None) -> Reason | None:
        if challenge is None:
            return Reason.STATE_UNKNOWN
        bound_to = (challenge.user_id, challenge.client, challenge.face)
        if user is None or bound_to != (user.id, self.request.client, self.request.channel.face):
            return Reason.STATE_FOREIGN
        return Reason.STATE_EXPIRED if self.moment.now >= challenge.expires_at else None

    def _first_factor_refusal(self, user: User) -> Verdict | None:
        result = self.request.first_factor
        if result.status is FirstFactor.UNAVAILABLE:
            return self._refuse(Reason.FIRST_FACTOR_UNAVAILABLE)
        if result.status is FirstFactor.NOT_CHECKED:
            return self._refuse(Reason.PASSWORD_NOT_CHECKED)
        if result.password_version is not None and result.password_version != user.password_version:
            return self._refuse(Reason.PASSWORD_CHANGED)
        if result.status is FirstFactor.PROVED:
            return None
        throttle = self._after_failure(Factor.PASSWORD)
        changes = (SetThrottle(user.id, Factor.PASSWORD, throttle),)
        return self._refuse(Reason.PASSWORD_WRONG, changes, throttle.failures)

    def _challenge(self, user: User) -> Verdict:
        challenge = self._new_challenge(user, self.settings.tries)
        changes = (*self._rehash(user), OpenChallenge(challenge, self.moment.now))
        decision = self._ask(challenge, Message(MessageKey.ASK_PIN), Reason.PASSWORD_RIGHT)
        return Verdict(decision, (*changes, self._audit("challenge", Reason.PASSWORD_RIGHT)))

    def _check_passcode(self, user: User) -> Verdict:
        used = False
        for token in usable_tokens(self.snapshot):
            comparison = kind_of(token.kind).compare(
                token, self.request.passcode or "", self.moment.now, self.settings.window
            )
            if comparison.match is not None:
                return self._accept(user, token, comparison.match)
            used = used or comparison.used
        return self._passcode_failed(user, Reason.PASSCODE_USED if used else Reason.PASSCODE_WRONG)

    def _accept(self, user: User, token: Token, match: Match) -> Verdict:
        """The one place where somebody is let in."""
        challenge = self.snapshot.challenge
        proved = [Factor.PASSCODE] + ([Factor.PASSWORD] if self._password_proved else [])
        changes: list[Change] = [
            UseToken(token.id, token.moving_factor, match.moving_factor, match.drift, self.moment.now),
            *(SetThrottle(user.id, f, Throttle()) for f in proved if self.snapshot.throttle(f) != Throttle()),
            *self._rehash(user),
        ]
        if challenge is not None:
            changes.append(CloseChallenge(challenge.state))
        changes.append(self._audit("accept", Reason.PASSCODE_RIGHT, serial=token.serial, kind=token.kind))
        return Verdict(Accept(user.name, token.serial, token.kind), tuple(changes))

    def _passcode_failed(self, user: User, reason: Reason) -> Verdict:
        """One wrong or used PIN: counted once for the user and, after a proved password, for each token tried."""
        throttle = self._after_failure(Factor.PASSCODE)
        changes: list[Change] = [SetThrottle(user.id, Factor.PASSCODE, throttle)]
        if self._password_proved:
            changes += [self._token_failure(token) for token in usable_tokens(self.snapshot)]
        if self.snapshot.challenge is not None:
            return self._ask_again(user, self.snapshot.challenge, reason, tuple(changes), throttle.failures)
        return self._refuse(reason, tuple(changes), throttle.failures)

    def _ask_again(
        self,
        user: User,
        challenge: PendingChallenge,
        reason: Reason,
        changes: tuple[Change, ...],
        failures: int = 0,
    ) -> Verdict:
        """Close the answered challenge; open another while tries are left, refuse when there are none."""
        changes = (*changes, CloseChallenge(challenge.state))
        left = challenge.tries_left - 1
        if left <= 0:
            return self._refuse(reason, changes, failures)
        again = self._new_challenge(user, left)
        changes = (*changes, OpenChallenge(again, self.moment.now), self._audit("again", reason, failures=failures))
        return Verdict(self._ask(again, Message(MessageKey.ASK_PIN_AGAIN, {"tries": left}), reason), changes)

    def _refuse(self, reason: Reason, changes: tuple[Change, ...] = (), failures: int = 0) -> Verdict:
        audit: Change = self._audit("reject", reason, failures=failures)
        if self.snapshot.user is None and isinstance(audit, Audit):
            audit = AuditFlood(audit, f"{reason}|{self.request.source or self.request.client}", FLOOD_EVERY)
        return Verdict(Reject(reason, failures), (*changes, audit))

    @property
    def _password_proved(self) -> bool:
        """A password proved by us: now, or before the challenge was opened (challenges follow only then)."""
        return self.snapshot.challenge is not None or (
            self.request.channel.proves_password and self.request.first_factor.status is FirstFactor.PROVED
        )

    def _after_failure(self, factor: Factor) -> Throttle:
        s = self.settings
        before = self.snapshot.throttle(factor)
        return after_failure(before, self.moment.now, lock_from=s.lock_from, lock_base=s.lock_base, lock_max=s.lock_max)

    def _token_failure(self, token: Token) -> CountTokenFailure:
        failures = token.failures + 1
        return CountTokenFailure(token.id, failures, disable=failures >= self.settings.disable_at)

    def _rehash(self, user: User) -> tuple[Change, ...]:
        result = self.request.first_factor
        if result.status is not FirstFactor.PROVED or result.rehash is None:
            return ()
        return (Rehash(user.id, user.password_version, result.rehash),)

    def _new_challenge(self, user: User, tries: int) -> PendingChallenge:
        return PendingChallenge(
            state=self.moment.new_state,
            user_id=user.id,
            client=self.request.client,
            face=self.request.channel.face,
            tries_left=tries,
            expires_at=self.moment.now + self.settings.challenge_lifetime,
        )

    def _ask(self, challenge: PendingChallenge, message: Message, reason: Reason) -> Challenge:
        return Challenge(challenge.state, message, self.settings.challenge_lifetime, reason, challenge.tries_left)

    def _audit(self, decision: str, reason: Reason, serial: str = "", failures: int = 0, kind: str = "") -> Audit:
        request = self.request
        detail: dict[str, str | int] = {"password": self._password_word()}
        if failures:
            detail["failures"] = failures
        if kind:
            detail["kind"] = kind
        if request.unsupported:
            detail["unsupported"] = request.unsupported
        return Audit(
            at=self.moment.now,
            event="login",
            decision=decision,
            reason=reason,
            user=request.user,
            client=request.client,
            face=request.channel.face,
            source=request.source or "",
            serial=serial,
            request_id=request.request_id,
            detail=detail,
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
        event="login",
        decision="reject",
        reason=Reason.DECISION_FAILED,
        user=request.user,
        client=request.client,
        face=request.channel.face,
        source=request.source or "",
        request_id=request.request_id,
    )
    return Verdict(Reject(Reason.DECISION_FAILED), (audit,))


# --- the look before the password check -------------------------------------------------------------------------


def look(snapshot: Snapshot, request: LookRequest, moment: Moment, settings: Settings = DEFAULTS) -> Look:
    """What to check the password against, and how to split a one-field entry. Binding is only `login`.

    Raises Damaged if a row it needs cannot be trusted.
    """
    if snapshot.damage is not None:
        raise snapshot.damage
    where = standing(snapshot, moment.now)
    split = _split(snapshot, request, moment, settings) if request.mode is Mode.APPEND else None
    user = snapshot.user
    if user is None or where in BEFORE_FIRST_FACTOR:
        return Look(first_factor="local", password_version=-1, split=split)
    return Look(str(user.first_factor), user.password_hash, user.password_version, split)


_COMMON_LENGTH = 6


def _split(snapshot: Snapshot, request: LookRequest, moment: Moment, settings: Settings) -> Split | None:
    """Take `password PIN` apart by the lengths of the user's own tokens: the split whose PIN matches, else the
    commonest length. Nothing is compared for users who may not log in anyway."""
    entry = request.typed
    tokens = usable_tokens(snapshot)
    if standing(snapshot, moment.now) not in BEFORE_FIRST_FACTOR:
        for token in tokens:
            split = _split_at(entry, token.digits)
            if split is None:
                continue
            if kind_of(token.kind).compare(token, split.passcode, moment.now, settings.window).match:
                return split
    lengths = Counter(token.digits for token in tokens) or Counter([_COMMON_LENGTH])
    return _split_at(entry, lengths.most_common(1)[0][0])


def _split_at(entry: str, length: int) -> Split | None:
    """The last `length` characters are the PIN; an empty password is no split (O-073)."""
    return Split(entry[:-length], entry[-length:]) if len(entry) > length else None
