"""Users by the list: many new ones from a file, in one transaction.

Rules: all of them, or none. Who is there as the file says is unchanged; who is there otherwise is refused, since a file
must not take somebody's groups away.
"""

from validation.administer.rows import Outcome, audit_row
from validation.administer.users import check_groups, new_version, place_of
from validation.changes import Change, InsertUser
from validation.decisions import Done, Fate, RowResult
from validation.errors import BadInput
from validation.model import FirstFactorKind, Moment, Snapshot, User
from validation.policy import check_name
from validation.requests import ImportUsers, NewUser


def import_users(snapshot: Snapshot, command: ImportUsers, moment: Moment) -> Outcome:
    places: dict[str, str] = {}
    rows = tuple(_judged(snapshot, new, places) for new in command.users)
    refused = sum(row.fate is Fate.REFUSED for row in rows)
    if refused:
        return Done(rows=rows, refused=f"nobody was added, since {refused} of {len(rows)} rows are refused"), ()
    changes: list[Change] = []
    for new, row in zip(command.users, rows, strict=True):
        if row.fate is Fate.READY:
            changes.append(InsertUser(_user(new, moment)))
            changes.append(audit_row(command, moment, "user-add", user=new.name, file=command.file))
    return Done(rows=rows), tuple(changes)


def _judged(snapshot: Snapshot, new: NewUser, places: dict[str, str]) -> RowResult:
    try:
        check_name("user", new.name)
        check_groups(new.groups)
        place = place_of(new.first_factor, new.password_hash)
    except BadInput as error:
        return RowResult(new.place, new.name, Fate.REFUSED, str(error))
    if new.name in places:
        text = f"user {new.name} stands twice in the file, first at {places[new.name]}"
        return RowResult(new.place, new.name, Fate.REFUSED, text)
    places[new.name] = new.place
    here = snapshot.holdings.users.get(new.name)
    if here is None:
        return RowResult(new.place, new.name, Fate.READY)
    if place in (None, here.first_factor) and set(here.groups) == set(new.groups):
        return RowResult(new.place, new.name, Fate.UNCHANGED)
    text = f"user {new.name} is here already, otherwise; twofold user set {new.name} changes him"
    return RowResult(new.place, new.name, Fate.REFUSED, text)


def _user(new: NewUser, moment: Moment) -> User:
    """A local user without a password cannot log in before he is given one."""
    place = place_of(new.first_factor, new.password_hash)
    checked = place not in (None, FirstFactorKind.LOCAL) or new.password_hash is not None
    return User(
        id=0,
        name=new.name,
        created_at=moment.now,
        first_factor=place,
        groups=new.groups,
        password_hash=new.password_hash,
        password_version=new_version(0, moment) if checked else 0,
        pairing_since=moment.now,
    )
