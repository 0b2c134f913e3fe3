"""RADIUS attributes for the Access-Accepts of a group, a client or everybody, and of a user.

Rule: names and values are checked when they are set, so that a login cannot fail at them.
"""

from validation import attributes
from validation.administer.rows import Outcome, audit_row
from validation.changes import SetReply
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.model import Moment, Snapshot
from validation.policy import check_name
from validation.requests import Replies, SetReplies
from validation.settings import Reply, Scope


def set_replies(snapshot: Snapshot, command: SetReplies, moment: Moment) -> Outcome:
    scope = command.scope
    if scope.client is not None and snapshot.client is None:
        raise Refused(f"there is no client {scope.client!r}; twofold client list shows all")
    if scope.group is not None:
        check_name("group", scope.group)
    changes = replies_set(command.replies, scope)
    if not changes:
        raise BadInput("nothing to set: name at least one attribute")
    names = " ".join(change.reply.attribute for change in changes)
    return Done(), (*changes, audit_row(command, moment, "reply-set", attributes=names, scope=str(scope)))


def replies_set(replies: Replies, scope: Scope) -> tuple[SetReply, ...]:
    return tuple(SetReply(Reply(name, values, scope)) for name, values in checked(replies).items())


def merged(
    before: tuple[tuple[str, tuple[str, ...]], ...], replies: Replies
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A user's own attributes after a change; one without values is gone."""
    after = dict(before) | checked(replies)
    return tuple((name, values) for name, values in after.items() if values)


def checked(replies: Replies) -> Replies:
    """In the canonical spelling. Raises BadInput that names attribute and value."""
    found: Replies = {}
    for name, values in replies.items():
        attribute = attributes.find(name)
        if len(values) > 1 and not attribute.many:
            raise BadInput(f"{attribute.name} may stand in a reply once, not {len(values)} times")
        found[attribute.name] = tuple(attributes.canonical(name, value) for value in values)
    return found
