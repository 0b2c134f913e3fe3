"""What an admin hands a user who has no token at hand: recovery codes, an enrolment ticket."""

from validation.administer.rows import Outcome, audit_row, known_user, settings_of
from validation.changes import EndLoginsOf, InsertTicket, InsertToken, SetTokenState
from validation.decisions import Done
from validation.errors import Refused
from validation.model import Moment, Origin, RevokeReason, Snapshot, Ticket, Token, TokenState
from validation.onboarding import TICKET_LIFETIME
from validation.policy import registrations
from validation.requests import IssueRecovery, IssueTicket, ticket_digest
from validation.tokens import recovery_code


def issue_recovery(snapshot: Snapshot, command: IssueRecovery, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.name)
    codes = moment.new_recovery_codes(recovery_code.COUNT)
    sheet = Token(
        id=0,
        serial=moment.new_serial,
        user_id=user.id,
        kind="recovery_code",
        key=recovery_code.sheet_key(moment.new_salt, codes),
        created_at=moment.now,
        origin=Origin.ADMIN,
    )
    old = [t for t in snapshot.tokens if t.kind == "recovery_code" and t.state is not TokenState.REVOKED]
    retired = tuple(SetTokenState(t.id, TokenState.REVOKED, RevokeReason.OTHER, moment.now) for t in old)
    closing = (EndLoginsOf(user.id),) if old else ()  # one of its codes may have opened a reuse window
    audit = audit_row(command, moment, "recovery-issue", user.name, serial=sheet.serial, notice="recovery_issued")
    shown = tuple(recovery_code.shown(code) for code in codes)
    return Done(serials=(sheet.serial,), shown_once=shown), (*retired, *closing, InsertToken(sheet), audit)


def issue_ticket(snapshot: Snapshot, command: IssueTicket, moment: Moment) -> Outcome:
    user = known_user(snapshot, command.name)
    if registrations(snapshot):
        raise Refused(f"{user.name} has a registration; a ticket is for users who have none. Revoke it first")
    if settings_of(snapshot, user).enrolment not in ("self", "both"):
        raise Refused(f"policy enrolment lets {user.name} pair no app; twofold policy explain --user {user.name}")
    text = moment.new_ticket
    ticket = Ticket(ticket_digest(text), user.id, moment.now + TICKET_LIFETIME, by_admin=True)
    audit = audit_row(command, moment, "ticket-issue", user.name)
    return Done(shown_once=(text,)), (InsertTicket(ticket, moment.now), audit)
