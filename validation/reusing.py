"""Reuse windows: for a while after an accepted PIN, the same user from the same client and source needs no new one.

Rules: off unless `reuse_window` is set. The password is checked every time, by us. Without a known source there is
no reuse. In the window a login passes without a PIN or with the very PIN that opened it, and is recorded as
`reused`; any other PIN is judged as always. Revoking, locking, disabling or a new password ends the window in the
same transaction.
"""

import hashlib
import hmac
from collections.abc import Iterable

from validation.changes import Change, OpenReuse
from validation.model import ReuseWindow, Snapshot, Token, User
from validation.settings import Settings
from validation.verdict import Case


def is_open(case: Case) -> bool:
    """A window is open for this login, whose password was proved by us."""
    if case.request.channel.pin_only:
        return False
    return case.password_proved and window_open(case.snapshot, case.request.source, case.settings, case.now)


def window_open(snapshot: Snapshot, source: str | None, settings: Settings, now: float) -> bool:
    """A window that was opened later than now is shut: where the clock was set back it would not end for as long."""
    reuse = snapshot.reuse
    if reuse is None or source is None or reuse.source != source:
        return False
    opened = reuse.expires_at - reuse.length
    return opened <= now < min(reuse.expires_at, opened + settings.reuse_window)


def is_its_pin(case: Case, tokens: Iterable[Token]) -> bool:
    return is_open(case) and opened_by(case.snapshot, case.request.passcode or "", tokens)


def opened_by(snapshot: Snapshot, passcode: str, tokens: Iterable[Token]) -> bool:
    """Whether `passcode` is the PIN that opened the window."""
    reuse = snapshot.reuse
    return reuse is not None and any(
        hmac.compare_digest(_mark(token, passcode), reuse.passcode_mark) for token in tokens
    )


def opening(case: Case, user: User, token: Token) -> tuple[Change, ...]:
    """The window that this accepted PIN opens, if policy gives one."""
    length, source = case.settings.reuse_window, case.request.source
    if not length or source is None or not case.password_proved or case.request.channel.pin_only:
        return ()
    mark = _mark(token, case.request.passcode or "")
    reuse = ReuseWindow(case.request.client, source, case.now + length, length, mark)
    return (OpenReuse(user.id, reuse, case.now),)


def _mark(token: Token, passcode: str) -> bytes:
    return hmac.digest(token.key, f"reuse {token.serial} {passcode}".encode(), hashlib.sha256)
