"""Pruning on either database: while people log in, killed anywhere, with several hosts, and what looks back later."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from store import listings, migrations, pruning, rotating
from store.sealing import create_key_file
from tests.killing import COMMAND, FILES, Killer
from tests.postgres import Stores, on_both
from tests.site import SECRET, Site, pin
from tests.store import raw
from tests.trails import DAY, age, write
from tests.wire import ACCEPT, access_request
from validation.administer.pruning import EVENT, LEAST_AGE
from validation.changes import PruneRows
from validation.model import Mode, TrailStart
from validation.ports import Conflict

PRUNE = ("audit", "prune", "--older-than", "400d", "--yes")


def done(site: Site, *command: str) -> str:
    result = site.command(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def told(site: Site) -> list[dict[str, str]]:
    return [row["detail"] for row in site.audit() if row["event"] == EVENT]  # type: ignore[misc]


def before(site: Site) -> float:
    return site.database.connections.now() - 400 * DAY


# --- beside logins


@on_both
def test_people_log_in_while_the_trail_is_pruned(site: Site) -> None:
    """No login is refused or unanswered, each is recorded, and the chain has no gap where both have written."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    token = site.enroll("alice", kind="hotp")
    write(site, 6000)
    age(site, 500)
    with site.server() as server, server.nas() as nas, pruned_meanwhile(site) as running:
        count = 0
        while running() or count < 20:
            reply = nas.ask(access_request(SECRET, "alice", pin(token, ahead=count), identifier=count % 256))
            assert reply.code == ACCEPT
            count += 1
    assert len([row for row in site.audit() if row["event"] == "login" and row["face"] == "radius"]) == count
    assert sum(int(detail["rows"]) for detail in told(site)) > 6000
    assert max(int(detail["rows"]) for detail in told(site)) <= pruning.AT_ONCE
    between = [row["event"] for row in site.audit() if row["event"] == EVENT or row["face"] == "radius"]
    first, last = between.index(EVENT), len(between) - between[::-1].index(EVENT)
    assert "login" in between[first:last], "nobody got a turn between two transactions"
    done(site, "audit", "verify")


@contextmanager
def pruned_meanwhile(site: Site) -> Iterator[Callable[[], bool]]:
    results: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(target=lambda: results.append(site.command(*PRUNE)))
    thread.start()
    yield thread.is_alive
    thread.join()
    assert results[0].returncode == 0, results[0].stderr


# --- killed


def killer_of(site: Site, *command: str) -> Killer:
    imports, run = COMMAND
    few = f"{imports}, store.cli.audit; from store import pruning, saving; pruning.AT_ONCE = 5"
    return Killer(few, run, "--config", str(site.config_file), *command, files=FILES)


def state(site: Site) -> tuple[list[str], int]:
    """What is wrong with the trail, and how many rows were pruned."""
    with site.database.connections.reading() as connection:
        walk = listings.verify(connection, site.database.keys.audit, "test", {})
    return [finding.problem for finding in walk.findings], walk.pruned["test"].start.seq if walk.pruned else 0


@on_both
@pytest.mark.timeout(300)
def test_killed_before_any_statement_the_trail_verifies_and_the_next_run_goes_on(site: Site) -> None:
    """Each run gets a statement further than the one before, so all of them together die everywhere."""
    write(site, 200)
    age(site, 500)
    seen = [0]

    def look(moment: int | None) -> None:
        problems, pruned = state(site)
        assert problems == [], f"killed at moment {moment}"
        assert pruned >= seen[-1]
        seen.append(pruned)

    with killer_of(site, *PRUNE) as killer:
        for moment in killer.kills():
            look(moment)
    look(None)
    assert len(set(seen)) > 4, "killed before it had begun, or after it was done"
    assert seen[-1] == 201, "rows that tell of it are newer, so all that is old is gone"
    rows = [int(detail["through"]) for detail in told(site)]
    assert rows == sorted(set(rows)), "nothing was pruned twice"
    done(site, "db", "check")


@pytest.mark.timeout(300)
def test_killed_while_it_exports_there_is_no_file_or_a_whole_one_and_nothing_is_lost(
    site: Site, tmp_path: Path
) -> None:
    write(site, 12)
    age(site, 500)
    site.database.close()
    file, database, states = tmp_path / "old.jsonl", site.config.database, set()
    kept = database.read_bytes()
    with killer_of(site, *PRUNE, "--export", str(file)) as killer:
        for _ in killer.kills():
            pruned = raw.rows(database, "SELECT seq FROM audit_starts")
            states.add((file.exists(), bool(pruned)))
            if file.exists():
                assert [json.loads(line)["seq"] for line in file.read_text().splitlines()] == list(range(1, 13))
                file.unlink()
            for end in ("-wal", "-shm"):
                database.with_name(database.name + end).unlink(missing_ok=True)
            database.write_bytes(kept)
    assert states == {(False, False), (True, False), (True, True)}
    assert file.exists()


# --- several hosts


def beside(request: pytest.FixtureRequest, site: Site, folder: Path, chain: str) -> Site:
    """Another host on the same store."""
    if site.config.url:
        stores: Stores = request.getfixturevalue("stores")
        return stores.beside(site, folder, chain)
    config = f'[store]\npath = "{site.config.database}"\nchain = "{chain}"\n[key]\nfile = "{site.key_file}"\n'
    return Site(folder, config)


@on_both
def test_a_host_that_is_gone_keeps_its_newest_row_and_is_told_of_again(
    request: pytest.FixtureRequest, site: Site, tmp_path: Path
) -> None:
    """What tells of `north` stands in the chain of `test`, and is pruned there a year later."""
    north = beside(request, site, tmp_path / "north", "north")
    for one in (site, north):
        write(one, 30)
    north.database.close()
    age(site, 500)
    write(site, 3)
    assert "north" in done(site, *PRUNE)
    for _ in range(2):
        age(site, 500)
        write(site, 3)
        done(site, *PRUNE)
        verified = done(site, "audit", "verify")
        assert "pruned  north 1 to 29" in verified
        assert "pruned  test 1 to " in verified
    assert [detail["rows"] for detail in told(site) if detail["chain"] == "north"] == ["0"]
    status = done(site, "db", "status")
    assert "host      north: 1 audit row," in status


@on_both
def test_either_host_prunes_the_chains_of_both(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> None:
    north = beside(request, site, tmp_path / "north", "north")
    for one in (site, north):
        write(one, 30)
    age(site, 500)
    done(north, *PRUNE)
    assert {row["chain"] for row in site.audit() if row["event"] == EVENT} == {"north"}
    assert {detail["chain"] for detail in told(site)} == {"north", "test"}
    done(site, "audit", "verify")
    north.database.close()


def test_a_rotation_still_asks_for_the_other_host(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> None:
    """It looks at the newest row of each, of the last 30 days."""
    assert rotating._LATELY < LEAST_AGE
    north = beside(request, site, tmp_path / "north", "north")
    for one in (site, north):
        write(one, 30)
    age(site, 500)
    write(north, 1)
    north.database.close()
    done(site, *PRUNE)
    create_key_file(site.folder / "new.key")
    site.config_file.write_text(site.config_file.read_text() + '[key]\nfile = "new.key"\nold_file = "master.key"\n')
    refused = site.command("key", "rotate")
    assert "other hosts use this store, too: north" in refused.stderr
    done(site, "key", "rotate", "--on-every-host")
    done(site, "audit", "verify")


# --- what looks back


def test_a_restore_says_of_what_was_pruned_that_it_cannot_tell(site: Site, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    done(site, "backup", str(backup))
    site.add_user("alice")
    write(site, 50)
    age(site, 500)
    site.add_user("bob")
    ((last,),) = raw.rows(site.config.database, "SELECT max(seq) FROM audit")
    done(site, *PRUNE)
    site.database.close()
    said = done(site, "restore", str(backup), "--replace")
    assert f"{last - 1 - 2} rows since " in said, "behind the creation and the backup, but for the newest old ones"
    assert "were pruned from the old store's trail" in said
    assert "user-add bob by " in said
    assert EVENT not in said
    done(site, "audit", "verify")


@on_both
def test_a_pruned_store_moves_and_is_restored_whole(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> None:
    write(site, 50)
    age(site, 500)
    done(site, *PRUNE)
    done(site, "backup", str(tmp_path / "backup.db"))
    verified = done(site, "audit", "verify").splitlines()
    site.database.close()
    there = site.config_file.read_text()
    if site.config.url:
        stores: Stores = request.getfixturevalue("stores")
        target = stores.server.database()
        done(site, "db", "copy", site.config.url, target)
        site.config_file.write_text(there.replace(site.config.url, target))
    else:
        done(site, "db", "copy", str(site.config.database), str(tmp_path / "moved.db"))
        site.config_file.write_text(there.replace("[store]\n", f'[store]\npath = "{tmp_path / "moved.db"}"\n'))
    again = done(site, "audit", "verify").splitlines()
    assert again[1] == verified[1]
    assert again[1].startswith("pruned  test 1 to 50, ")


# --- what the store itself sees to, whoever asks


def pruned_to(site: Site, after: int, seq: int, before: float) -> None:
    start = TrailStart("test", seq, b"\xab" * 32, "store-create")
    now = site.database.connections.now()
    with site.database.transaction() as transaction:
        transaction.apply([PruneRows(after, start, before, now)])


@on_both
def test_what_is_not_there_as_it_was_seen_is_left_alone(site: Site) -> None:
    """11 old rows, 5 younger ones, of which the last is the newest of the chain."""
    write(site, 10)
    age(site, 500)
    write(site, 5)
    then, now = before(site), site.database.connections.now() + 1
    whole = site.audit()
    for wrong in (
        (0, 12, then, "rows of the trail have changed in the meantime"),  # the last of them is younger
        (0, 16, now, "the newest row of a chain stays"),
        (0, 99, now, "the newest row of a chain stays"),
        (3, 11, then, "somebody else has pruned this chain"),  # it was not pruned to there
    ):
        *asked, words = wrong
        with pytest.raises(Conflict, match=words):
            pruned_to(site, *asked)  # type: ignore[arg-type]
        assert site.audit() == whole
    pruned_to(site, 0, 5, then)
    left = site.audit()
    assert sorted(row["seq"] for row in left) == list(range(6, 17))  # type: ignore[type-var]
    for after in (0, 3, 6):
        with pytest.raises(Conflict):
            pruned_to(site, after, 8, then)
        assert site.audit() == left
    with site.database.connections.writing() as connection:
        connection.execute(text("DELETE FROM audit WHERE seq = 7"))
    with pytest.raises(Conflict, match="rows of the trail have changed in the meantime"):
        pruned_to(site, 5, 8, then)


# --- the schema, and how rows are found


@pytest.mark.peer("postgres", "psql")
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_postgresql_can_find_them_by_the_key_of_the_table(site: Site) -> None:
    """Statements as they are sent, planned for a table that is worth an index."""
    write(site, 700)
    age(site, 500)
    write(site, 5)
    seen: list[tuple[str, dict[str, object]]] = []

    def note(_c: object, _u: object, statement: str, values: dict[str, object], *_: object) -> None:
        if re.search(r"FROM audit\s", statement):
            seen.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        found = pruning.parts(site.database, before(site))
        assert sum(pruning.prune(site.database, site.gate, found, before(site), "x", {})) == 701
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert any(statement.startswith("DELETE") for statement, _ in seen)
    with site.database.connections.writing() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        for statement, values in seen:
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars())
            assert "pk_audit" in plan, plan
            assert re.search(r"Index Cond: \(\(chain = 'test'::text.*\) AND \(seq", plan), plan
            assert "Sort" not in plan, plan


@pytest.mark.peer("postgres", "psql")
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_store_on_postgresql_from_before_is_brought_forward(site: Site) -> None:
    site.database.close()
    with site.database.connections.writing(hurried=False) as connection:
        connection.execute(text("DROP TABLE audit_starts"))
        connection.execute(text("DROP INDEX ix_challenges_user, ix_challenges_client"))
        for column in ("user_id", "client"):
            connection.execute(text(f"CREATE INDEX ix_challenges_{column} ON challenges ({column})"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0006'"))
    refused = site.command(*PRUNE)
    assert refused.returncode == 3
    assert done(site, "db", "upgrade") == f"schema   0006 -> {migrations.HEAD}\n"
    write(site, 50)
    age(site, 500)
    done(site, *PRUNE)
    done(site, "audit", "verify")
