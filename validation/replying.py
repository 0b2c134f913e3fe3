"""Which RADIUS attributes an Access-Accept carries.

Rules: for each attribute the most specific setting is taken, in this order: the user's own, group with client, group,
client, everybody; then what another RADIUS server sent that proved the password. Where a user's groups differ, an
attribute that may stand several times gets the values of all of them, and any other that of the group whose name comes
first. A value that cannot be read any more fails the decision: half of what an administrator set is not enough.
"""

from collections.abc import Iterable, Iterator

from validation import attributes
from validation.errors import BadInput, Damaged
from validation.model import User
from validation.requests import Face
from validation.settings import Reply
from validation.verdict import Case

_VENDOR_SPECIFIC = 26


def attributes_for(case: Case, user: User) -> tuple[tuple[int, bytes], ...]:
    """Type and value of each. Raises Damaged."""
    if case.request.channel.face is not Face.RADIUS:
        return ()
    chosen = _chosen(case, user)
    try:
        ours = [attributes.read(name, value) for name, values in chosen.items() for value in values]
    except BadInput as error:
        raise Damaged(f"a reply attribute of user {user.name} cannot be read: {error}") from None
    kinds = {_kind(kind, value) for kind, value in ours}
    theirs = [(kind, value) for kind, value in case.learned_replies if _kind(kind, value) not in kinds]
    return (*ours, *theirs)


def _chosen(case: Case, user: User) -> dict[str, tuple[str, ...]]:
    """The values of each attribute, as they are typed."""
    chosen: dict[str, tuple[str, ...]] = dict(user.replies)
    if not case.snapshot.book.replies:
        return chosen
    for replies in _by_rank(case):
        for name, values in _merged(replies).items():
            chosen.setdefault(name, values)
    return chosen


def _by_rank(case: Case) -> Iterator[list[Reply]]:
    """What is set for this login, the most specific first; of groups in the order of their names."""
    whom = case.request.whom(case.groups)
    fitting = [reply for reply in case.snapshot.book.replies if reply.scope.fits(whom)]
    for with_group, with_client in ((True, True), (True, False), (False, True), (False, False)):
        yield sorted(
            (
                r
                for r in fitting
                if (r.scope.group is not None, r.scope.client is not None) == (with_group, with_client)
            ),
            key=lambda reply: reply.scope.group or "",
        )


def _merged(replies: Iterable[Reply]) -> dict[str, tuple[str, ...]]:
    merged: dict[str, tuple[str, ...]] = {}
    for reply in replies:
        before = merged.get(reply.attribute)
        if before is None:
            merged[reply.attribute] = reply.values
        elif attributes.find(reply.attribute).many:
            merged[reply.attribute] = tuple(dict.fromkeys((*before, *reply.values)))
    return merged


def _kind(kind: int, value: bytes) -> tuple[int, bytes]:
    """Vendors are apart from each other, and each of their attributes (RFC 2865 5.26)."""
    return kind, value[:5] if kind == _VENDOR_SPECIFIC else b""
