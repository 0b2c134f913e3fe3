"""The two stores that must keep the same promises: the one in memory and the real one on SQLite."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes import FakeStore
from tests.site import Site
from validation.changes import Audit
from validation.errors import Damaged
from validation.ports import Store


@dataclass(frozen=True)
class Kept:
    """A store, and what the port does not offer: its audit trail, and a token row that can no longer be read."""

    store: Store
    trail: Callable[[], list[Audit]]
    spoil: Callable[[str, str], None]  # serial, owner


def in_memory() -> Kept:
    store = FakeStore()

    def spoil(serial: str, owner: str) -> None:
        store.damage[owner] = Damaged(serial)

    return Kept(store, lambda: store.trail, spoil)


def on_sqlite(folder: Path) -> tuple[Kept, Site]:
    site = Site(folder)

    def trail() -> list[Audit]:
        rows = [{k: v for k, v in row.items() if k not in ("chain", "seq", "mac")} for row in site.audit()]
        return [Audit(**row) for row in rows if row["event"] != "store-create"]  # type: ignore[arg-type]

    def spoil(serial: str, owner: str) -> None:
        with sqlite3.connect(site.config.database) as connection:
            done = connection.execute("UPDATE tokens SET sealed_key = zeroblob(60) WHERE serial = ?", [serial])
            assert done.rowcount == 1
        connection.close()

    return Kept(site.database, trail, spoil), site


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "memory":
        yield in_memory()
        return
    kept, site = on_sqlite(tmp_path / "site")
    yield kept
    site.database.close()


@pytest.fixture
def store(kept: Kept) -> Store:
    return kept.store
