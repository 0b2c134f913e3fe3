"""After the store was taken back in time: no PIN works twice, though nobody knows any more which were used.

Rules: an app's PINs are refused up to the last that could have been accepted by now, whatever drift was learned since.
A counter cannot be known, so its token is compared with nothing until its owner has shown two codes, or it moves on by
as many logins as an admin thinks possible. The same holds for recovery codes, of which sheets are revoked. A security
key signs what is asked at each login anew: nothing that it signed before can be used, so its count is left alone.
"""

from validation.administer.rows import Outcome, audit_row
from validation.changes import Change, EndAllLogins, NeedResync, PassCounters, PassSteps, RevokeKind
from validation.decisions import Done
from validation.errors import BadInput
from validation.model import Moment, RevokeReason, Snapshot
from validation.requests import NoteBackup, RaiseGuards
from validation.settings import DEFAULTS, Book
from validation.tokens import yubico_otp
from validation.tokens.kind import MAX_COUNTER

AHEAD_MOST = 1000  # logins; a token would have to be pressed as often before it works again


def note_backup(snapshot: Snapshot, command: NoteBackup, moment: Moment) -> Outcome:
    return Done(), (audit_row(command, moment, "backup"),)


def raise_guards(snapshot: Snapshot, command: RaiseGuards, moment: Moment) -> Outcome:
    if command.ahead is not None and not 1 <= command.ahead <= AHEAD_MOST:
        raise BadInput(f"{command.ahead} logins ahead are not possible; 1 to {AHEAD_MOST} are")
    steps = _widest(snapshot.book, "drift_limit") + _widest(snapshot.book, "totp_window") + 1
    counters = "resync" if command.ahead is None else f"ahead {command.ahead}"
    recovery = "kept" if command.keep_recovery else "revoked"
    audit = audit_row(
        command, moment, command.event, counters=counters, recovery=recovery, steps=str(steps), **command.facts
    )
    sheets = () if command.keep_recovery else (RevokeKind("recovery_code", RevokeReason.OTHER, moment.now),)
    passed = PassSteps(moment.now, steps)
    return Done(warnings=_told(command, steps)), (passed, *_counters(command.ahead), *sheets, EndAllLogins(), audit)


def _widest(book: Book, key: str) -> int:
    """For whomever."""
    values = [int(rule.value) for rule in book.rules if rule.key == key]
    return max([int(getattr(DEFAULTS, key)), *values])


def _counters(ahead: int | None) -> tuple[Change, ...]:
    if ahead is None:
        return (NeedResync(("hotp", "yubico_otp")),)
    uses = ahead * yubico_otp.USES_OF_SESSION  # each login may have been made with the device plugged in anew
    return (
        PassCounters("hotp", ahead, MAX_COUNTER),
        PassCounters("yubico_otp", uses, MAX_COUNTER),
    )


def _told(command: RaiseGuards, steps: int) -> tuple[str, ...]:
    counters = (
        "HOTP tokens and Yubico OTPs need a resynchronisation: twofold token report lists them, "
        "twofold token resync SERIAL CODE1 CODE2"
        if command.ahead is None
        else f"HOTP tokens and Yubico OTPs are {command.ahead} logins ahead: who is refused asks for as many codes more"
    )
    sheets = (
        "recovery codes were kept: those used in the meantime work again"
        if command.keep_recovery
        else "sheets of recovery codes are revoked: twofold recovery issue NAME makes another"
    )
    apps = f"PINs of apps and TOTP tokens work again in {steps} time steps ({steps / 2:g} minutes for the usual 30 s)"
    return apps, counters, sheets
