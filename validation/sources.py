"""Where logins come from: the usual places of a user, and addresses that guess (C-022, C-023).

Rules: a *known source* of a user is an address he was fully accepted from, with a PIN, within 30 days. Wrong passwords
from there are counted there; those from all other places, and from no known place, are counted together in the user's
PASSWORD throttle. A wait of one does not hold a login of the other, and a success clears only the count it was judged
by. So a stranger cannot keep a user out of his usual places, and the guesses at one password stay bounded. Wrong PINs
and the budget of guesses are the user's, wherever they come from.

A source has a *score*, whoever was named: one more for each login that ends before its password was proved, one less
for each accepted one with a PIN and for each minute. From `source_lock_from` on the source is held: its logins are
refused before anything is compared, and count nothing, except those of users whom it is a known source of. The score
falls from the end of a hold on: else the minutes of the hold would undo the doubling of the waits. Unknown, waiting and
barred users count like wrong passwords, or the score would tell who exists.
"""

from dataclasses import replace

from validation.changes import Change, SetKnownSource, SetThrottle
from validation.model import Factor, KnownSource, Snapshot, SourceScore, Throttle, User
from validation.settings import DAY, MINUTE, Settings
from validation.throttle import wait

KNOWN_FOR = 30 * DAY
KNOWN_MOST = 20  # sources of one user; the one longest not accepted from goes
REFRESH_AFTER = DAY  # so that most logins write nothing here


# --- the usual places of a user ---------------------------------------------------------------------------------


def known_here(snapshot: Snapshot, now: float) -> KnownSource | None:
    """The source of this login, if it is one of its user's."""
    known = snapshot.known_source
    return known if known is not None and now < known.last_accepted_at + KNOWN_FOR else None


def password_throttle(snapshot: Snapshot, now: float) -> Throttle:
    """The count of wrong passwords that this login is judged by."""
    known = known_here(snapshot, now)
    return snapshot.throttle(Factor.PASSWORD) if known is None else Throttle(known.failures, known.blocked_until)


def password_counted(snapshot: Snapshot, user: User, throttle: Throttle, now: float) -> Change:
    """Write that count where it belongs."""
    known = known_here(snapshot, now)
    if known is None:
        return SetThrottle(user.id, Factor.PASSWORD, throttle)
    counted = replace(known, failures=throttle.failures, blocked_until=throttle.blocked_until)
    return SetKnownSource(user.id, counted, KNOWN_MOST)


def after_accept(snapshot: Snapshot, source: str, now: float, full: bool, password_proved: bool) -> KnownSource | None:
    """What an accept has to write of its source, if anything. Only a `full` one, with a PIN, makes a source known."""
    before = known_here(snapshot, now)
    if before is None:
        return KnownSource(source, now) if full else None
    after = before
    if full and not 0 <= now - before.last_accepted_at < REFRESH_AFTER:
        after = replace(after, last_accepted_at=now)
    if password_proved:
        after = replace(after, failures=0, blocked_until=0.0)
    return after if after != before else None


# --- addresses that guess ---------------------------------------------------------------------------------------


def as_of(score: SourceScore | None, now: float) -> SourceScore:
    """A score after the minutes since it was written. A clock that was set back far must not hold a source for ever."""
    if score is None or score.at > now + DAY:
        return SourceScore(at=now)
    minutes = max(0, int((now - score.at) // MINUTE))
    if minutes >= score.score:
        return SourceScore(at=now)
    return replace(score, score=score.score - minutes, at=score.at + minutes * MINUTE)


def is_source_held(snapshot: Snapshot, settings: Settings, now: float) -> bool:
    """Logins from this source are refused, unless it is a known one of the user."""
    return _holds(as_of(snapshot.source_score, now), settings, now) and known_here(snapshot, now) is None


def _holds(score: SourceScore, settings: Settings, now: float) -> bool:
    return settings.source_lock_from > 0 and now < score.blocked_until


def after_refusal(snapshot: Snapshot, settings: Settings, now: float) -> SourceScore | None:
    """The score after one more login without a proved password; None while the source is held, or has no limit.
    `settings` are those of a stranger: the score must not tell whose name was typed."""
    before = as_of(snapshot.source_score, now)
    if settings.source_lock_from == 0 or _holds(before, settings, now):
        return None
    after = replace(before, score=before.score + 1)
    if after.score < settings.source_lock_from:
        return after
    until = now + wait(after.score - settings.source_lock_from, settings)
    return replace(after, blocked_until=until, at=until)


def hold_begins(snapshot: Snapshot, after: SourceScore, now: float) -> bool:
    """Worth a notice: the first hold since the score was 0."""
    return after.blocked_until > now and as_of(snapshot.source_score, now).blocked_until == 0.0


def after_full_accept(snapshot: Snapshot, now: float) -> SourceScore | None:
    """The score after an accept with a PIN; None where there is nothing to take away."""
    before = as_of(snapshot.source_score, now)
    return replace(before, score=before.score - 1) if before.score > 0 else None
