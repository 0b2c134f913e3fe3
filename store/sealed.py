"""Every sealed column, and what its values are sealed to: for who seals all of them anew.

Rule: a column that `rows.py` seals stands here; a test compares the list with the tables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Select, Table, Update, bindparam, cast, func, select, update

from store.rows import answer_owner, token_owner
from store.schema import answers, challenges, clients, store_keys, tokens
from store.sealing import Sealer

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SealedColumn:
    table: Table
    name: str
    purpose: str
    owner: Callable[[Row], str]

    @property
    def _column(self) -> Column[Any]:
        return self.table.c[self.name]

    @property
    def key(self) -> Column[Any]:
        (key,) = self.table.primary_key.columns
        return key

    def under(self, key_id: bytes, after: object, most: int) -> Select[Any]:
        """Rows whose value is sealed with that key, in the order of `key`, from behind `after` (None: from the first).

        They are locked; one that somebody else has locked is left out, so nobody waits for anybody in a circle.
        """
        here = _key_id(self._column) == key_id
        if after is not None:
            here &= self.key > after
        return select(self.table).where(here).order_by(self.key).limit(most).with_for_update(skip_locked=True)

    def anew(self, row: Row, sealer: Sealer) -> dict[str, Any]:
        """Parameters for `update`. Raises Damaged."""
        sealed, owner = row[self.name], self.owner(row)
        made = sealer.seal(self.purpose, owner, sealer.open(self.purpose, owner, sealed))
        return {"which": row[self.key.name], "from_": sealed, "to": made}

    @property
    def update(self) -> Update:
        """Only where the value is still what was read."""
        here = (self.key == bindparam("which")) & (self._column == bindparam("from_", type_=LargeBinary))
        return update(self.table).where(here).values({self.name: bindparam("to", type_=LargeBinary)})

    def called(self, row: Row) -> str:
        """For a message: a State is as good as a password."""
        named = {tokens: "serial", clients: "name", store_keys: "purpose"}.get(self.table)
        return f"{self.table.name}.{self.name}" + (f" of {row[named]}" if named else "")


SEALED = (
    SealedColumn(store_keys, "sealed", "store-key", lambda row: str(row["purpose"])),
    SealedColumn(tokens, "sealed_key", "token-key", token_owner),
    SealedColumn(challenges, "sealed_candidate", "candidate", lambda row: str(row["state"])),
    SealedColumn(clients, "sealed_secret", "client-secret", lambda row: str(row["name"])),
    SealedColumn(clients, "sealed_old_secret", "client-old-secret", lambda row: str(row["name"])),
    SealedColumn(answers, "sealed_decision", "answer", answer_owner),
)


def counts(connection: Connection) -> dict[bytes, int]:
    """How many values are sealed with each master key, by its id."""
    found: dict[bytes, int] = {}
    for column in SEALED:
        here = column.table.c[column.name]
        key_id = _key_id(here)
        for id_, count in connection.execute(select(key_id, func.count()).where(here.is_not(None)).group_by(key_id)):
            under = id_ or b""  # SQLite's part of nothing is NULL
            found[under] = found.get(under, 0) + count
    return found


def _key_id(column: Column[Any]) -> Any:
    """As `sealing.key_id_of`. SQLite keeps a text or a number, too: cast, it is under a key that nobody has."""
    return func.substr(cast(column, LargeBinary), 2, 8, type_=LargeBinary)
