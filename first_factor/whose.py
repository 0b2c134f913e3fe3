"""Whose passwords are checked at a place, for what `twofold doctor` says of it."""

from contextlib import closing

from store import listings, opening
from store.config import Config
from validation.errors import TwofoldError
from validation.model import FirstFactorKind


def whose(config: Config, kind: FirstFactorKind) -> str:
    """`2 users` who have this place of their own, else `by policy users`, if a rule names it; "" if nobody's is, or the
    store cannot be read, which is found elsewhere."""
    try:
        with closing(opening.open_store(config)) as store, store.connections.reading() as connection:
            users, book = listings.user_rows(connection), store.book()
    except TwofoldError:
        return ""
    count = sum(row["first_factor"] == kind for row in users)
    if count:
        return f"{count} user{'' if count == 1 else 's'}"
    by_policy = any((rule.key, rule.value) == ("first_factor", kind) for rule in book.rules)
    return "by policy users" if by_policy else ""


def has(who: str) -> str:
    return "has" if who == "1 user" else "have"
