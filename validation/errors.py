"""The family of errors, in one glance.

    TwofoldError
    ├── Refused              the request is understood and not allowed, or not found     CLI exit 1
    ├── BadInput             what was typed, read or configured is not acceptable        CLI exit 2
    ├── StoreUnavailable     the store cannot be read or written now                     CLI exit 3
    │   ├── StoreMismatch    missing, of another version, or sealed with another key     CLI exit 3
    │   └── RoomMade         its disk was full, and is not any more                      CLI exit 3
    └── Damaged              a stored row does not fit its seal or its own rules

Rules: a refused *login* is a `Reject`, never an exception. A message says what is wrong, where, and what to
do; it never holds a secret. Every face answers an error with a refusal or with silence.
"""


class TwofoldError(Exception):
    """Anything this product reports on purpose. `str()` is a sentence for a person."""


class Refused(TwofoldError):
    """An admin command that is understood but not allowed, or names something that does not exist."""


class BadInput(TwofoldError):
    """A value that cannot be accepted: a bad option, a bad line in a file, a bad key."""


class StoreUnavailable(TwofoldError):
    """The store is locked, full, read-only or gone. Nothing was decided; nobody gets in."""


class StoreMismatch(StoreUnavailable):
    """The store is there but cannot be used: not created, another schema, another key."""


class RoomMade(StoreUnavailable):
    """The disk was full, and what was begun was undone. Room has been made since, so it may be done anew."""


class Damaged(TwofoldError):
    """A row that fails its seal or breaks an invariant. Only the request that needs it is refused."""
