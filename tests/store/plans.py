"""How a database would carry out a statement: what of it grows with the store.

Rule: nothing is believed that the database does not say itself (EXPLAIN). A walk through a whole index is a scan, too.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tests.store.logins import Statement

_numbers = itertools.count()  # a plan that the driver has kept would not be made anew after an index is gone
_NO_TABLE = ("SCAN CONSTANT ROW", "SCAN (")  # VALUES, and the rows that a subquery has found


@dataclass(frozen=True)
class Finding:
    """`what`: scan or sort, of `table`, in a statement that begins with `verb`."""

    what: str
    verb: str
    table: str
    text: str

    def __str__(self) -> str:
        return f"{self.what} of {self.table} in: {' '.join(self.text.split())[:300]}"


def findings(connection: Connection, statements: Iterable[Statement]) -> list[Finding]:
    """What the plans of `statements` have to be asked about. Nothing is run."""
    explain = _on_sqlite if connection.dialect.name == "sqlite" else _on_postgresql
    return [
        Finding(what, statement.verb, table, statement.text)
        for statement in statements
        if statement.table
        for what, table in explain(connection, statement)
    ]


def _values(statement: Statement) -> Any:
    return statement.values if isinstance(statement.values, dict) else tuple(statement.values or ())


def _on_sqlite(connection: Connection, statement: Statement) -> Iterator[tuple[str, str]]:
    """https://www.sqlite.org/eqp.html"""
    for *_, detail in connection.exec_driver_sql(
        f"EXPLAIN QUERY PLAN {statement.text} -- {next(_numbers)}", _values(statement)
    ):
        if detail.startswith("SCAN") and not detail.startswith(_NO_TABLE):
            yield "scan", re.split(r"\s+", detail)[1]
        if "TEMP B-TREE" in detail:
            yield "sort", statement.table


def _on_postgresql(connection: Connection, statement: Statement) -> Iterator[tuple[str, str]]:
    """As if a walk through a table cost more than anything else: where there is an index, it is then used."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            (plan,) = connection.exec_driver_sql(
                f"EXPLAIN (FORMAT JSON) {statement.text}", _values(statement)
            ).scalar_one()
    except DBAPIError as error:  # ON CONFLICT needs an index to be possible at all
        yield str(error.orig).partition("\n")[0], statement.table
        return
    for node in _nodes(plan["Plan"]):
        if node["Node Type"] == "Seq Scan" or ("Index Name" in node and not _is_led_by_its_index(connection, node)):
            yield "scan", node.get("Relation Name", statement.table)
        # What it sorts for a join or to see each but once was found by an index, or else that is said already.
        if node["Node Type"].endswith("Sort") and "ORDER BY" in statement.text:
            yield "sort", statement.table


def _is_led_by_its_index(connection: Connection, node: dict[str, Any]) -> bool:
    """A condition on a later column alone is looked for in the whole index."""
    question = text("SELECT pg_get_indexdef(oid, 1, true) FROM pg_class WHERE relname = :name")
    first = connection.execute(question, {"name": node["Index Name"]}).scalar_one()
    return _plain(first) in _plain(node.get("Index Cond", ""))


def _plain(expression: str) -> str:
    return re.sub(r"[() ]", "", expression)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
