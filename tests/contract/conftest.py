"""The stores that must keep the same promises: the one in memory, and the real one on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from store.schema import tokens
from tests.fakes import FakeStore
from tests.postgres import Stores
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


def on_database(site: Site) -> Kept:
    def trail() -> list[Audit]:
        rows = [{k: v for k, v in row.items() if k not in ("chain", "seq", "mac")} for row in site.audit()]
        return [Audit(**row) for row in rows if row["event"] != "store-create"]  # type: ignore[arg-type]

    def spoil(serial: str, owner: str) -> None:
        statement = update(tokens).where(tokens.c.serial == serial).values(sealed_key=bytes(60))
        with site.database.connections.writing() as connection:
            assert connection.execute(statement).rowcount == 1

    return Kept(site.database, trail, spoil)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgres", "psql"))])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "memory":
        yield in_memory()
        return
    site = Site(tmp_path / "site") if request.param == "sqlite" else on_postgresql(request, tmp_path / "site")
    yield on_database(site)
    site.database.close()


def on_postgresql(request: pytest.FixtureRequest, folder: Path) -> Site:
    stores: Stores = request.getfixturevalue("stores")
    return stores.site(folder)


@pytest.fixture
def store(kept: Kept) -> Store:
    return kept.store
