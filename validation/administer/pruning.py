"""Old rows of the audit trail go, and the trail says so.

Rules: what was written down lately stays, whoever asks. What is removed is told in the same transaction, with the MAC
of the newest row that went: the rest is verified from there. A row that tells of another chain's pruning is told again
when it goes.
"""

from validation.administer.rows import Outcome, audit_row
from validation.changes import Audit, PruneRows
from validation.decisions import Done
from validation.errors import Refused
from validation.model import Moment, Snapshot, TrailStart
from validation.requests import PruneAudit
from validation.settings import DAY

EVENT = "audit-prune"

# Longer than anybody looks back: `key rotate` asks for hosts of the last 30 days. PCI DSS 4.0, 10.5.1: "with at least
# the most recent three months immediately available for analysis".
LEAST_AGE = 90 * DAY


def check_age(before: float, now: float) -> None:
    """Raises Refused."""
    if before > now - LEAST_AGE:
        raise Refused(f"rows of the last {LEAST_AGE / DAY:g} days stay: name a time before that")


def prune_audit(snapshot: Snapshot, command: PruneAudit, moment: Moment) -> Outcome:
    check_age(command.before, moment.now)
    rows = command.start.seq - command.after
    told = _told(command, moment, command.start, rows=str(rows), **command.facts)
    again = [_told(command, moment, start, rows="0") for start in command.retold]
    return Done(), (PruneRows(command.after, command.start, command.before, moment.now), told, *again)


def _told(command: PruneAudit, moment: Moment, start: TrailStart, **more: str) -> Audit:
    return audit_row(
        command,
        moment,
        EVENT,
        chain=start.chain,
        through=str(start.seq),
        mac=start.mac.hex(),
        began=start.began,
        **more,
    )
