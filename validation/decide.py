"""How a login is looked at: (Snapshot, LoginRequest, Moment) -> decision and changes.

The steps, in this order, each numbered again where it is done:

    1  the client is still the one the face saw; its packet was not answered before, or the record does not hold any
       more (`repeating`); and the face could make something of the request
    2  a State, if one came back, is open, not expired, and this user's and client's
       Where everybody is asked for a PIN first (`asking`), what 3 and 4 find is told after the answer.
    3  nothing stands against source or user: held; unknown, disabled, locked, waiting after failures
    4  the first factor was proved, against the password that is stored now
    5  what the rules say comes next (`policy.next_step`): let in, ask, onboard, hand out a ticket, refuse
    6  no passcode yet: a reuse window is open, or a challenge is opened, where the client can show one
    7  the passcode matches an unused value of a usable token, or a security key of the user signed this very challenge

`Accept` is built in `_accept` alone; 5 (three rules), 6 (a reuse window), 7 and a confirmed first PIN lead there. One
that was recorded is said again by `_accept_again` alone, which 1 leads to.
Nothing is compared before step 3 is passed, and no failure moves a moving factor. Every other path is a Challenge
or a Reject.
"""

import hmac
from dataclasses import replace

from validation import asking, onboarding, registering, repeating, replying, reusing, sources, touching
from validation.changes import (
    Change,
    CloseChallenge,
    CountGuesses,
    CountTokenFailure,
    EndLoginsOf,
    OpenChallenge,
    SetKnownSource,
    SetSourceScore,
    SetThrottle,
    UseToken,
)
from validation.decisions import Accept, Reason
from validation.messages import MessageKey
from validation.model import Factor, Moment, PendingChallenge, Purpose, Site, Snapshot, Stage, Throttle, Token, User
from validation.onboarding import Registered
from validation.policy import (
    OBSTACLE,
    Next,
    Standing,
    Step,
    as_of,
    asking_for,
    comparable_tokens,
    first_factor_of,
    next_step,
    pairing_refusal,
    registrations,
    standing,
    usable_tokens,
    window,
)
from validation.requests import Face, FirstFactor, LoginRequest, neighbourhood
from validation.settings import DAY
from validation.throttle import ALARM_AT, after_failure, budget_day, guess_mark, oldest_day
from validation.tokens.kind import Comparison, Match
from validation.tokens.registry import kind_of
from validation.verdict import Case, Verdict, failed

__all__ = ["Verdict", "failed", "login"]

USUAL_SITE = Site()


def login(snapshot: Snapshot, request: LoginRequest, moment: Moment, site: Site = USUAL_SITE) -> Verdict:
    """Decide one step of one login. Raises Damaged if a row it needs cannot be trusted."""
    if snapshot.damage is not None:
        raise snapshot.damage
    case = Case.of(as_of(snapshot, moment.now), request, moment, site)
    if request.channel.face is Face.RADIUS and not _client_unchanged(snapshot, request):  # 1
        return case.refuse(Reason.CLIENT_CHANGED)
    repeated = _repeated(case)  # 1
    return repeated if repeated is not None else repeating.recorded(case, _decided(case))


def _repeated(case: Case) -> Verdict | None:
    """What this very packet was answered before; None if that does not hold any more, or there was nothing."""
    answered = repeating.found(case.snapshot, case.now)
    if answered is None:
        return None
    told = repeating.unpacked(answered.decision)
    return _accept_again(case, told) if isinstance(told, repeating.LetIn) else repeating.again(case, told)


def _decided(case: Case) -> Verdict:
    request = case.request
    if request.unsupported:  # 1
        return case.refuse(Reason.REQUEST_UNSUPPORTED)
    if request.state is not None:
        return _answer(case)
    return asking.everybody(case, _refusal(case)) if asking.is_due(case) else _fresh(case)


def _client_unchanged(snapshot: Snapshot, request: LoginRequest) -> bool:
    return snapshot.client is not None and snapshot.client.version == request.client_version


# --- a login that begins ----------------------------------------------------------------------------------------


def _fresh(case: Case) -> Verdict:
    user, refusal = case.snapshot.user, _refusal(case)
    if user is None or refusal is not None:
        return refusal or case.refuse(Reason.USER_UNKNOWN)
    if case.request.purpose is Purpose.REDEEM:
        return _redeem(case, user)
    return _go_on_from_password(case, user)


def _refusal(case: Case) -> Verdict | None:
    """What stands against a login before a PIN is looked at."""
    user = case.snapshot.user
    obstacle = OBSTACLE.get(standing(case.snapshot, case.settings, case.now))
    if user is None or obstacle is not None:  # 3
        return case.refuse(obstacle or Reason.USER_UNKNOWN, _blamed(case))
    return _first_factor_refusal(case, user) if case.request.channel.proves_password else None  # 4


def _go_on_from_password(case: Case, user: User) -> Verdict:
    then = _next(case, user)  # 5
    match then.step:
        case Step.LET_IN:
            return _let_in(case, user, then.reason)
        case Step.ASK:
            return _ask_or_check(case, user)
        case Step.ONBOARD:
            return _with_rehash(case, _first_registration(case, user))
        case Step.TICKET:
            return _with_rehash(case, onboarding.hand_out_ticket(case, user))
        case Step.REFUSE:
            closing = (CloseChallenge(case.snapshot.challenge.state),) if case.snapshot.challenge is not None else ()
            return case.refuse(then.reason, closing, message=then.message)


def _next(case: Case, user: User) -> Next:
    """Care for one's registrations needs a fresh second factor whenever there is one, whatever policy lets pass."""
    if case.request.purpose is Purpose.LOGIN:
        return next_step(case.snapshot, user, case.door, case.settings, case.now)
    if registrations(case.snapshot):
        return asking_for(case.snapshot, case.door, case.settings)
    if case.request.purpose not in (Purpose.ADD, Purpose.ADD_KEY):
        return Next(Step.REFUSE, Reason.NO_TOKEN, MessageKey.LOST_TOKEN)
    refusal = pairing_refusal(case.snapshot, user, case.door, case.settings, case.now)
    return refusal or Next(Step.ONBOARD, Reason.ONBOARDING)


def _first_registration(case: Case, user: User) -> Verdict:
    """A security key where it was asked for or policy wants one here; else the user is welcomed, and may choose."""
    purpose = case.request.purpose
    if purpose is Purpose.ADD_KEY or (purpose is Purpose.LOGIN and registering.is_due(case)):
        return registering.start(case, user, Purpose.LOGIN)
    return onboarding.welcome(case, user)


def _first_factor_refusal(case: Case, user: User) -> Verdict | None:
    result = case.request.first_factor
    if result.status is FirstFactor.UNAVAILABLE:
        return case.refuse(Reason.FIRST_FACTOR_UNAVAILABLE)
    if result.status is FirstFactor.NOT_CHECKED:
        return case.refuse(Reason.PASSWORD_NOT_CHECKED)
    if result.password_version is not None and result.password_version != user.password_version:
        return case.refuse(Reason.PASSWORD_CHANGED)
    if result.kind and result.kind != first_factor_of(user, case.own_groups):
        return case.refuse(Reason.PASSWORD_CHANGED)
    if result.status is FirstFactor.PROVED:
        return None
    throttle = after_failure(sources.password_throttle(case.snapshot, case.now), case.now, case.settings)
    changes = (sources.password_counted(case.snapshot, user, throttle, case.now), *_blamed(case))
    return case.refuse(Reason.PASSWORD_WRONG, changes, throttle.failures, notice=_locked(case, throttle))


def _blamed(case: Case) -> tuple[Change, ...]:
    """A login that ends before its password was proved counts against its source, whoever was named. Not where the
    client checks the password itself: nothing is told of passwords there."""
    source = case.request.source
    if source is None or not case.request.channel.proves_password:
        return ()
    after = sources.after_refusal(case.snapshot, case.stranger, case.now)
    if after is None:
        return ()
    begins = sources.hold_begins(case.snapshot, after, case.now)
    told = case.audit("done", Reason.SOURCE_HELD, failures=after.score, notice="source_held")
    return (SetSourceScore(neighbourhood(source), after, case.now), *((told,) if begins else ()))


def _let_in(case: Case, user: User, reason: Reason) -> Verdict:
    texts: tuple[str, ...] = ()
    if reason is Reason.GRACE:
        left = user.created_at + case.settings.grace - case.now
        texts = (case.text(MessageKey.GRACE, days=max(1, round(left / DAY))),)
    return _accept(case, user, reason, texts=texts)


def _redeem(case: Case, user: User) -> Verdict:
    digest = case.snapshot.ticket.digest if case.snapshot.ticket is not None else b""
    refusal = onboarding.ticket_refusal(case, user, digest)
    if refusal is not None:
        return case.refuse(refusal.reason, message=refusal.message)
    return _with_rehash(case, onboarding.show_key(case, user, Purpose.REDEEM, ticket=digest))


def _ask_or_check(case: Case, user: User) -> Verdict:
    if (case.request.passcode or case.request.asked) and touching.passcode_would_do(case):
        return _check_passcode(case, user)  # 7
    if case.request.purpose is Purpose.LOGIN and reusing.is_open(case):  # 6
        return _accept(case, user, Reason.REUSED)
    if not case.request.channel.can_challenge:
        return case.refuse(Reason.PASSCODE_MISSING)
    tries = _tries(case)
    if touching.askable(case):
        return _with_rehash(case, touching.ask(case, user, tries, case.request.purpose, case.request.replaces))
    challenge = case.challenge(user, Stage.PIN, tries, purpose=case.request.purpose, replaces=case.request.replaces)
    decision = case.ask(challenge, (case.text(MessageKey.ASK_PIN),), Reason.PASSWORD_RIGHT)
    audit = case.audit("challenge", Reason.PASSWORD_RIGHT)
    return Verdict(decision, (*case.rehash, OpenChallenge(challenge, case.now), audit))


def _tries(case: Case) -> int:
    """How many is told to whoever asks."""
    return (case.settings if case.password_proved else case.stranger).tries


# --- the answer to a challenge ----------------------------------------------------------------------------------


def _answer(case: Case) -> Verdict:
    user, challenge = case.snapshot.user, case.snapshot.challenge
    reason = _state_refusal(case, user, challenge)  # 2
    if challenge is None or reason is not None:
        return case.refuse(reason or Reason.STATE_UNKNOWN)
    if user is None or challenge.refusal:
        return _ask_again(case, user, challenge, Reason(challenge.refusal or Reason.USER_UNKNOWN), ())
    where = standing(case.snapshot, case.settings, case.now)
    held = where in (Standing.WAITING, Standing.SOURCE_HELD)
    if held and _takes_a_pin(case, challenge):  # 3: nothing is compared, and it looks like a wrong PIN
        return _ask_again(case, user, challenge, OBSTACLE[where], ())
    if where in OBSTACLE:  # 3
        return case.refuse(OBSTACLE[where], (CloseChallenge(challenge.state),))
    match challenge.stage:
        case Stage.PIN:
            return _answer_with_pin(case, user, challenge)
        case Stage.ASKED:
            return _answer_when_asked(case, user, challenge)
        case Stage.WELCOME | Stage.APPS:
            return _turn_page(case, user, challenge)
        case Stage.FIRST_PIN:
            return _registered_by(case, user, onboarding.check_first_pin(case, user, challenge))
        case Stage.KEY:
            return _answer_with_key(case, user, challenge)
        case Stage.KEY_NAME:
            return registering.named(case, user, challenge)
        case Stage.NEW_KEY:
            return _registered_by(case, user, registering.complete(case, user, challenge))


def _takes_a_pin(case: Case, challenge: PendingChallenge) -> bool:
    """Something is typed here, and it may be a PIN."""
    if challenge.stage is Stage.KEY:
        return case.request.assertion is None and touching.passcode_would_do(case)
    return challenge.stage not in (Stage.KEY_NAME, Stage.NEW_KEY)


def _state_refusal(case: Case, user: User | None, challenge: PendingChallenge | None) -> Reason | None:
    if challenge is None:
        return Reason.STATE_UNKNOWN
    bound_to = (challenge.user_id, challenge.client, challenge.face)
    here = (user.id if user is not None else None, case.request.client, case.request.channel.face)
    if bound_to != here:
        return Reason.STATE_FOREIGN
    return Reason.STATE_EXPIRED if case.now >= challenge.expires_at else None


def _answer_with_pin(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    """Tokens are looked at again; recovery codes alone do not replace one, here as at a first step. Who was given a
    ticket may not have redeemed it yet: nothing is compared then."""
    if registrations(case.snapshot):
        return _check_passcode(case, user) if touching.passcode_would_do(case) else _no_pin_here(case, challenge)  # 7
    if challenge.purpose is Purpose.REDEEM:
        return _ask_again(case, user, challenge, Reason.NO_TOKEN, ())
    return case.refuse(Reason.NO_TOKEN, (CloseChallenge(challenge.state),))


def _answer_when_asked(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    """What a login does that was not asked first; but of who has nothing to show, no client is told that has checked
    the password itself: it would tell whom we know."""
    if challenge.proved and _next(case, user).step is not Step.ASK:
        return _go_on_from_password(case, user)
    if registrations(case.snapshot) and touching.passcode_would_do(case):
        reused = not case.request.passcode and reusing.is_open(case)
        return _accept(case, user, Reason.REUSED) if reused else _check_passcode(case, user)
    if not challenge.proved:
        return _ask_again(case, user, challenge, Reason.NO_TOKEN, ())
    return _go_on_from_password(case, user)


def _no_pin_here(case: Case, challenge: PendingChallenge) -> Verdict:
    """A PIN was asked for, and since then the user has got a security key, or policy asks for his."""
    then = asking_for(case.snapshot, case.door, case.settings)
    reason, message = (then.reason, then.message) if then.step is Step.REFUSE else touching.NEEDED
    return case.refuse(reason, (CloseChallenge(challenge.state),), message=message)


def _turn_page(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    typed = (case.request.passcode or "").strip().lower()
    if registering.is_due(case) or (typed == "k" and registering.is_offered(case)):
        return registering.start(case, user, challenge.purpose)
    return onboarding.turn_page(case, user, challenge)


def _answer_with_key(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    """An assertion; or a PIN, at once or after one more question, where one would do."""
    if case.request.assertion is None and touching.passcode_would_do(case):
        return _check_passcode(case, user) if case.request.passcode else _pin_instead(case, user, challenge)
    outcome = touching.judge(case, user, challenge)
    if isinstance(outcome, touching.Touched):
        return _key_right(case, user, challenge, outcome)
    return outcome


def _pin_instead(case: Case, user: User, challenge: PendingChallenge) -> Verdict:
    asked = case.challenge(
        user, Stage.PIN, challenge.tries_left, purpose=challenge.purpose, replaces=challenge.replaces
    )
    decision = case.ask(asked, (case.text(MessageKey.ASK_PIN),), Reason.PASSWORD_RIGHT)
    audit = case.audit("challenge", Reason.KEY_MISSING)
    return Verdict(decision, (CloseChallenge(challenge.state), OpenChallenge(asked, case.now), audit))


def _registered_by(case: Case, user: User, outcome: Verdict | Registered) -> Verdict:
    if isinstance(outcome, Registered):
        return _accept(case, user, Reason.REGISTERED, outcome.token, outcome.changes, outcome.texts)
    return outcome


# --- 7: the passcode --------------------------------------------------------------------------------------------


def _check_passcode(case: Case, user: User) -> Verdict:
    held: list[tuple[Token, Comparison]] = []
    for token in comparable_tokens(case.snapshot):
        comparison = kind_of(token.kind).compare(token, case.request.passcode or "", case.now, window(case.settings))
        if comparison.match is not None:
            return _passcode_right(case, user, token, comparison.match)
        held.append((token, comparison))
    if case.request.purpose is Purpose.LOGIN and reusing.is_its_pin(case, (token for token, _ in held)):
        return _accept(case, user, Reason.REUSED)
    return _passcode_failed(case, user, held)


def _passcode_right(case: Case, user: User, token: Token, match: Match) -> Verdict:
    challenge = case.snapshot.challenge
    purpose = challenge.purpose if challenge is not None else case.request.purpose
    moved = UseToken(token.id, token.moving_factor, match.moving_factor, match.drift, case.now)
    used = (moved, *_forgiven(case, token))
    if purpose is Purpose.LOGIN and registering.is_due(case):
        return _care(case, user, Purpose.ADD_KEY, (*used, *_cleared(case, user)))
    if purpose in (Purpose.LOGIN, Purpose.REDEEM, Purpose.CARE):
        notice = "recovery_used" if token.kind == "recovery_code" else ""
        opened = reusing.opening(case, user, token)
        return _accept(case, user, Reason.PASSCODE_RIGHT, token, (*used, *opened), notice=notice)
    return _care(case, user, purpose, (*used, *_cleared(case, user)))


def _key_right(case: Case, user: User, challenge: PendingChallenge, touched: touching.Touched) -> Verdict:
    if challenge.purpose in (Purpose.LOGIN, Purpose.CARE):
        return _accept(case, user, Reason.KEY_RIGHT, touched.token, (touched.moved,), notice=touched.notice)
    told = case.audit("done", Reason.KEY_COUNTER, touched.token.serial, kind=touched.token.kind, notice=touched.notice)
    cleared = _cleared(case, user, Reason.KEY_RIGHT)
    changes = (touched.moved, *cleared, *((told,) if touched.notice else ()))
    return _care(case, user, challenge.purpose, changes)


def _forgiven(case: Case, used: Token) -> tuple[Change, ...]:
    """Nobody can tell for which token a wrong PIN was meant, so it counts at each; a right one ends the row at each."""
    others = (token for token in usable_tokens(case.snapshot) if token.failures and token.id != used.id)
    return tuple(CountTokenFailure(token.id, 0, disable=False) for token in others)


def _care(case: Case, user: User, purpose: Purpose, changes: tuple[Change, ...]) -> Verdict:
    """A fresh second factor was shown: go on to pairing another app, or the same anew, or to registering a key."""
    if purpose is Purpose.ADD_KEY:
        return _go_on(changes, registering.start(case, user, purpose))
    replaces = case.snapshot.challenge.replaces if case.snapshot.challenge is not None else case.request.replaces
    refusal = onboarding.add_refusal(case) if purpose is Purpose.ADD else onboarding.reset_refusal(case, replaces)
    if refusal is not None:
        closing = (CloseChallenge(case.snapshot.challenge.state),) if case.snapshot.challenge is not None else ()
        return case.refuse(refusal.reason, (*changes, *closing), message=refusal.message)
    return _go_on(changes, onboarding.show_key(case, user, purpose, replaces))


def _go_on(changes: tuple[Change, ...], verdict: Verdict) -> Verdict:
    return Verdict(verdict.decision, (*changes, *verdict.changes))


def _accept(
    case: Case,
    user: User,
    reason: Reason,
    token: Token | None = None,
    changes: tuple[Change, ...] = (),
    texts: tuple[str, ...] = (),
    notice: str = "",
) -> Verdict:
    """The one place where somebody is let in."""
    challenge = case.snapshot.challenge
    closing = (CloseChallenge(challenge.state),) if challenge is not None and reason is not Reason.REGISTERED else ()
    serial, kind = (token.serial, token.kind) if token is not None else ("", "")
    audit = case.audit("accept", reason, serial=serial, kind=kind, notice=notice)
    decision = Accept(user.name, reason, serial, kind, texts, replying.attributes_for(case, user))
    changes = (*changes, *_cleared(case, user, reason), *_praised(case, user, reason))
    return Verdict(decision, (*changes, *case.rehash, *closing, audit))


def _accept_again(case: Case, was: repeating.LetIn) -> Verdict | None:
    """The one place where an Accept that `_accept` has built before is said again, to the very packet it was built for.
    None where what let the user in would not be looked at now."""
    user = case.snapshot.user
    if user is None or not repeating.may_be_let_in(case, user, was):
        return None
    return repeating.again(
        case, Accept(user.name, was.reason, was.serial, was.kind, was.texts, was.replies), was.serial
    )


def _praised(case: Case, user: User, reason: Reason) -> tuple[Change, ...]:
    """What an accept does to its source; one without a PIN of its own makes no source known and forgives nothing."""
    source = case.request.source
    if source is None:
        return ()
    full = reason in (Reason.PASSCODE_RIGHT, Reason.KEY_RIGHT, Reason.REGISTERED)
    known = sources.after_accept(case.snapshot, source, case.now, full, case.password_proved)
    score = sources.after_full_accept(case.snapshot, case.now) if full else None
    remembered = (SetKnownSource(user.id, known, sources.KNOWN_MOST),) if known is not None else ()
    return (*remembered, *((SetSourceScore(neighbourhood(source), score, case.now),) if score is not None else ()))


def _cleared(case: Case, user: User, reason: Reason = Reason.PASSCODE_RIGHT) -> tuple[Change, ...]:
    """A success clears the failures of the factors it proved, and of no other (SP 800-63B-4 3.2.2); at a known source
    also none of wrong passwords from elsewhere."""
    proved = [Factor.PASSCODE] if reason is Reason.PASSCODE_RIGHT else []
    if case.password_proved and sources.known_here(case.snapshot, case.now) is None:
        proved.append(Factor.PASSWORD)
    return tuple(SetThrottle(user.id, f, Throttle()) for f in proved if case.snapshot.throttle(f) != Throttle())


def _passcode_failed(case: Case, user: User, held: list[tuple[Token, Comparison]]) -> Verdict:
    """One wrong or used PIN: one failure for the user, and after a proved password one for each token tried."""
    challenge = case.snapshot.challenge
    waits = any(token.needs_resync for token in usable_tokens(case.snapshot))
    reason = Reason.TOKEN_NEEDS_RESYNC if waits else _why_wrong(held)
    before = case.snapshot.throttle(Factor.PASSCODE)
    mark = guess_mark(case.request.passcode or "", ((token, c.against) for token, c in held))
    if not case.request.passcode:  # a program that has nobody to ask: no guess, so nothing counts
        after, changes, reason, notice = before, tuple[Change, ...](), Reason.PASSCODE_MISSING, ""
    elif waits and not held:  # nothing was compared, so nothing was guessed
        after, changes, notice = before, tuple[Change, ...](), ""
    elif held and hmac.compare_digest(mark, before.last_guess):  # it can tell nothing new, so it costs nothing
        after, changes, reason, notice = before, tuple[Change, ...](), Reason.PASSCODE_REPEATED, ""
    else:
        after = after_failure(before, case.now, case.settings, mark)
        changes = _counted(case, user, held, after)
        notice = "password_maybe_stolen" if _alarming(case, held) else _locked(case, after)
    if challenge is not None:
        return _ask_again(case, user, challenge, reason, changes, after.failures, notice)
    if case.request.asked:
        asked = case.challenge(user, Stage.PIN, _tries(case), purpose=case.request.purpose)
        return _ask_once_more(case, user, asked, reason, changes, after.failures, notice)
    return case.refuse(reason, changes, after.failures, notice=notice)


def _why_wrong(held: list[tuple[Token, Comparison]]) -> Reason:
    if any(c.used for _, c in held):
        return Reason.PASSCODE_USED
    return Reason.PASSCODE_LAYOUT if any(c.other_layout for _, c in held) else Reason.PASSCODE_WRONG


def _counted(case: Case, user: User, held: list[tuple[Token, Comparison]], after: Throttle) -> tuple[Change, ...]:
    changes: list[Change] = [SetThrottle(user.id, Factor.PASSCODE, after)]
    if compared := sum(len(c.against) for _, c in held):
        day = budget_day(case.now)
        changes.append(CountGuesses(user.id, day, compared, forget_before=oldest_day(case.now)))
    if case.password_proved:
        changes += [change for token, c in held if c.against for change in _token_failure(case, user, token)]
    return tuple(changes)


def _token_failure(case: Case, user: User, token: Token) -> tuple[Change, ...]:
    """A token that is disabled by wrong PINs gets a row of its own: an admin must act (SP 800-63B-4 3.2.2). Other open
    logins and reuse windows end, as when an admin disables it."""
    failures = token.failures + 1
    if failures < case.settings.disable_at:
        return (CountTokenFailure(token.id, failures, disable=False),)
    row = case.audit(
        "done",
        Reason.PASSCODE_WRONG,
        token.serial,
        failures,
        token.kind,
        notice="token_disabled",
        event="token-disable",
    )
    return (CountTokenFailure(token.id, failures, disable=True), EndLoginsOf(user.id), row)


def _alarming(case: Case, held: list[tuple[Token, Comparison]]) -> bool:
    """Once per row of failures: somebody knows the password and does not have the token. Its own failures are those
    after a proved password alone, so wrong PINs elsewhere do not step over it."""
    return case.password_proved and any(token.failures + 1 == ALARM_AT for token, c in held if c.against)


def _locked(case: Case, after: Throttle) -> str:
    """The notice that waits have begun."""
    return "locked" if after.failures == case.settings.lock_from else ""


def _ask_again(
    case: Case,
    user: User | None,
    challenge: PendingChallenge,
    reason: Reason,
    changes: tuple[Change, ...],
    failures: int = 0,
    notice: str = "",
) -> Verdict:
    """Close the answered challenge; open another while tries are left, refuse when there are none."""
    return _ask_once_more(case, user, challenge, reason, (CloseChallenge(challenge.state), *changes), failures, notice)


def _ask_once_more(
    case: Case,
    user: User | None,
    challenge: PendingChallenge,
    reason: Reason,
    changes: tuple[Change, ...],
    failures: int,
    notice: str,
) -> Verdict:
    """After `challenge`, which is closed, or was never kept: the face asked by itself."""
    left = challenge.tries_left - 1
    if left <= 0:
        return case.refuse(reason, changes, failures, notice=notice)
    stage = Stage.PIN if challenge.stage is Stage.KEY else challenge.stage  # who typed a PIN will type another
    again = case.challenge(
        user, stage, left, challenge.candidate, challenge.purpose, challenge.replaces, challenge.ticket
    )
    if challenge.purpose is Purpose.REDEEM:  # an early answer must not cost the time the ticket needs
        again = replace(again, expires_at=max(again.expires_at, challenge.expires_at))
    again = replace(again, refusal=challenge.refusal)
    text = case.strangers_text if stage is Stage.ASKED else case.text
    decision = case.ask(again, (text(MessageKey.ASK_PIN_AGAIN, tries=left),), reason)
    audit = case.row(case.audit("again", reason, failures=failures, notice=notice), reason)
    return Verdict(decision, (*changes, OpenChallenge(again, case.now), audit))


def _with_rehash(case: Case, verdict: Verdict) -> Verdict:
    return Verdict(verdict.decision, (*case.rehash, *verdict.changes))
