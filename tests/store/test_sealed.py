"""The list of sealed columns is whole."""

from sqlalchemy import LargeBinary

from store.schema import metadata
from store.sealed import SEALED


def test_every_sealed_column_of_the_tables_is_in_the_list() -> None:
    columns = {
        (table.name, column.name)
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.name.startswith("sealed")
    }
    assert {(one.table.name, one.name) for one in SEALED} == columns
    assert len(SEALED) == len(columns) == 6
