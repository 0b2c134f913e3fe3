"""INSERT, or UPDATE where the row is there already. Both databases know it, SQLAlchemy spells it by dialect."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Insert, Table

from store.prepared import Driver, Prepared

# From the row that could not be inserted (`excluded`) to what is set instead.
Setting = Callable[[Any], Mapping[str, Any]]


class Upsert:
    """One such statement, built once for each dialect that is used."""

    def __init__(self, table: Table, keys: Sequence[str], setting: Setting) -> None:
        self._table = table
        self._keys = keys
        self._setting = setting
        self._built: dict[str, Prepared] = {}

    def run(self, driver: Driver, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """For one row or for several."""
        if driver.kind not in self._built:
            self._built[driver.kind] = Prepared(self._statement(driver.kind))
        self._built[driver.kind].run(driver, [values] if isinstance(values, Mapping) else values)

    def _statement(self, dialect: str) -> Insert:
        insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(self._table)
        statement: Insert = insert.on_conflict_do_update(
            index_elements=self._keys, set_=dict(self._setting(insert.excluded))
        )
        return statement


def same(*names: str) -> Setting:
    """These columns as they would have been inserted."""
    return lambda excluded: {name: excluded[name] for name in names}
