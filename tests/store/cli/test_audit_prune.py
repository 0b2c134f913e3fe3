"""`twofold audit prune`: the oldest rows go, the rest verifies, and nobody without the key can do the same unseen."""

import hashlib
import json
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from store import listings, pruning
from store.audit import Head
from tests.site import Site
from tests.store import raw
from tests.store.cli.command import Result, Twofold
from tests.trails import age, write
from validation.errors import Refused
from validation.model import TrailStart

OLD = 1300  # rows of 500 days ago, the creation of the store among them
NEW = 20
PRUNE = ("audit", "prune", "--older-than", "400d")
TOLD = 3  # rows that tell of it: 500, 500 and 300 went
MARK = "NOT verified. Keep a copy of the store as it is, and look for who could write to it."


@pytest.fixture(scope="module")
def old_trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(tmp_path_factory.mktemp("old") / "site")
    write(site, OLD - 1)
    age(site, 500)
    write(site, NEW, days_ago=1)
    site.database.close()
    return site.folder


@pytest.fixture
def site(old_trail: Path, tmp_path: Path) -> Iterator[Site]:
    yield from copied(old_trail, tmp_path / "site")


def copied(folder: Path, to: Path) -> Iterator[Site]:
    shutil.copytree(folder, to)
    site = Site(to)
    yield site
    if "database" in vars(site):
        site.database.close()


@pytest.fixture(scope="module")
def pruned_trail(old_trail: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (site,) = copied(old_trail, tmp_path_factory.mktemp("pruned") / "site")
    Twofold(site).done(*PRUNE, "--yes")
    return site.folder


@pytest.fixture
def pruned(pruned_trail: Path, tmp_path: Path) -> Iterator[Site]:
    yield from copied(pruned_trail, tmp_path / "pruned")


def attack(site: Site, *statements: raw.Statement) -> None:
    raw.tamper(site.config.database, *statements)


def seqs(site: Site) -> list[int]:
    return [seq for (seq,) in raw.rows(site.config.database, "SELECT seq FROM audit ORDER BY seq")]


def findings(result: Result) -> list[str]:
    assert (result.status, result.err) == (1, ""), result
    *found, last = result.out.splitlines()
    assert last == MARK
    return [line.removeprefix("chain test: ") for line in found]


# --- what goes, and what is said of it


def test_without_yes_it_is_shown_and_nothing_is_changed(twofold: Twofold, site: Site) -> None:
    before = raw.contents(site.config.database)
    head, row, last = twofold.done(*PRUNE).out.splitlines()
    assert head.split() == ["host", "rows", "from", "to", "stay"]
    assert re.fullmatch(r"test +1,300 +20\d\d-.* +20\d\d-.* +20", row), row
    assert last == "1,300 rows would go. Nothing was changed; with --yes they are removed."
    assert raw.contents(site.config.database) == before


def test_with_yes_they_go_and_the_rest_verifies(twofold: Twofold, site: Site) -> None:
    done = twofold.done(*PRUNE, "--yes")
    assert re.search(r"^pruned   1,300 rows from before 20\d\d-", done.out, re.MULTILINE)
    assert seqs(site) == list(range(OLD + 1, OLD + NEW + TOLD + 1))
    first, second, third = twofold.done("audit", "verify").out.splitlines()
    assert first == f"audit trail: {NEW + TOLD} rows, chain verified"
    assert re.fullmatch(rf"pruned  test 1 to {OLD}, by .+ on 20.+; verified from {OLD + 1} on", second)
    assert third.startswith(f"head  test {OLD + NEW + TOLD} ")
    (chain,) = twofold.done("audit", "verify", "--json").json["chains"]
    assert (chain["rows"], chain["pruned"]) == (NEW + TOLD, OLD)
    assert f"host      test: {NEW + TOLD} audit rows" in twofold.done("db", "status").out
    twofold.done("db", "check")


def test_each_transaction_is_told_and_takes_few_rows(twofold: Twofold, site: Site) -> None:
    """So nobody who logs in waits for long."""
    twofold.done(*PRUNE, "--yes")
    told = [row for row in twofold.done("audit", "list", "--json").json if row["event"] == "audit-prune"]
    assert [int(row["detail"]["rows"]) for row in told] == [500, 500, 300]
    assert max(int(row["detail"]["rows"]) for row in told) == pruning.AT_ONCE
    assert [int(row["detail"]["through"]) for row in told] == [500, 1000, 1300]
    assert all(row["actor"] and row["detail"]["chain"] == "test" for row in told)
    assert all(row["detail"]["before"].startswith("20") for row in told)


def test_a_second_run_has_nothing_to_do(twofold: Twofold, site: Site) -> None:
    twofold.done(*PRUNE, "--yes")
    before = raw.contents(site.config.database)
    assert twofold.done(*PRUNE, "--yes").out.startswith("nothing to do: no row is from before 20")
    assert raw.contents(site.config.database) == before


def test_as_a_document(twofold: Twofold, site: Site) -> None:
    document = twofold.done(*PRUNE, "--json").json
    (chain,) = document["chains"]
    assert (document["removed"], document["export"]) == (False, None)
    assert {name: chain[name] for name in ("chain", "rows", "first", "last", "stay")} == {
        "chain": "test",
        "rows": OLD,
        "first": 1,
        "last": OLD,
        "stay": NEW,
    }
    assert twofold.done(*PRUNE, "--json", "--yes").json == document | {
        "before": twofold_before(site),
        "removed": True,
    }
    assert twofold.done(*PRUNE, "--json").json["chains"] == []


def twofold_before(site: Site) -> Any:
    """What the newest row tells."""
    return site.audit()[-1]["detail"]["before"]  # type: ignore[index]


def test_a_date_does_the_same(twofold: Twofold, site: Site) -> None:
    date = twofold.done(*PRUNE, "--json").json["before"][:10]
    assert "1,300 rows would go" in twofold.done("audit", "prune", "--before", date).out
    assert "1,300 rows would go" in twofold.done("audit", "prune", "--before", f"{date}T12:00").out
    assert "nothing to do" in twofold.done("audit", "prune", "--before", "2001-01-01").out


def test_the_newest_row_stays_whatever_its_age(twofold: Twofold, site: Site) -> None:
    age(site, 500)
    twofold.done(*PRUNE, "--yes")
    assert seqs(site) == list(range(OLD + NEW, OLD + NEW + 4))
    twofold.done("audit", "verify")


def test_what_told_of_pruning_can_be_pruned_in_turn(twofold: Twofold, site: Site) -> None:
    for _ in range(3):
        twofold.done(*PRUNE, "--yes")
        write(site, 5)
        age(site, 500)
        twofold.done("audit", "verify")
    first, second = twofold.done("audit", "verify").out.splitlines()[:2]
    assert "pruned  test 1 to " in second
    assert int(first.split()[2]) < 20


def test_a_clock_that_was_ahead_for_a_while_does_not_keep_rows_for_ever(twofold: Twofold, site: Site) -> None:
    """Rows from 2038, before rows of 500 days ago: the next row tells how old they are."""
    write(site, 3, days_ago=-3650)
    write(site, 600)
    age(site, 500)
    write(site, 3, days_ago=-3650)
    write(site, 1)
    twofold.done(*PRUNE, "--yes")
    assert seqs(site)[0] == OLD + NEW + 603 + 1
    twofold.done("audit", "verify")


def test_a_younger_row_keeps_what_comes_after_it(twofold: Twofold, site: Site) -> None:
    write(site, 5, days_ago=450)  # the clock was set back
    twofold.done(*PRUNE, "--yes")
    assert seqs(site) == list(range(OLD + 1, OLD + NEW + 5 + TOLD + 1))


# --- refusals


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "say what is to go with one of --older-than 400d and --before 2026-03-01"),
        (["--older-than", "400d", "--before", "2026-01-01"], 2, "say what is to go with one of"),
        (["--older-than", "a year"], 2, "--older-than: 'a year' is no duration"),
        (["--older-than", ""], 2, "--older-than: '' is no duration"),
        (["--before", "last year"], 2, "--before: 'last year' is no time; write 2026-03-01 or 2026-03-01T12:00"),
        (["--before", "2026-02-30"], 2, "--before: '2026-02-30' is no time"),
        (["--before", "0001-01-01"], 2, "--before"),
        (["--older-than", "89d"], 1, "rows of the last 90 days stay: name a time before that"),
        (["--older-than", "0"], 1, "rows of the last 90 days stay"),
        (["--before", "2999-01-01"], 1, "rows of the last 90 days stay"),
        (["--older-than", "400d", "--force"], 2, "--force"),
        (["--older-than", "400d", "all"], 2, "all"),
    ],
)
@pytest.mark.parametrize("yes", [False, True])
def test_what_cannot_be_is_refused(
    twofold: Twofold, site: Site, arguments: list[str], status: int, words: str, yes: bool
) -> None:
    before = raw.contents(site.config.database)
    result = twofold("audit", "prune", *arguments, *(["--yes"] if yes else []))
    assert (result.status, result.out) == (status, "")
    assert words in result.sentence
    assert raw.contents(site.config.database) == before


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit SET user = 'mallory' WHERE seq = 7", "row 7 was changed"),
        ("DELETE FROM audit WHERE seq = 7", "row 7 is missing"),
        ("DELETE FROM audit WHERE seq = 1", "row 1 is missing"),
        ("UPDATE audit SET at = at - 1 WHERE seq = 1300", "row 1300 was changed"),
        ("DELETE FROM audit WHERE seq BETWEEN 400 AND 1300", "row 400 to 1300 is missing"),
        ("UPDATE audit SET seq = 'seven' WHERE seq = 7", "a row has no number"),
        ("UPDATE audit SET mac = 'text' WHERE seq = 7", "row 7 was changed"),
        ("UPDATE audit SET user = x'ff' WHERE seq = 7", "row 7 was changed"),
    ],
)
def test_what_was_tampered_with_is_not_cleared_away(twofold: Twofold, site: Site, statement: str, words: str) -> None:
    attack(site, statement)
    before = findings(twofold("audit", "verify"))
    result = twofold(*PRUNE, "--yes")
    assert result.status == 1
    assert words in result.sentence
    assert "Nothing from there on was removed" in result.sentence
    assert findings(twofold("audit", "verify"))[0] == before[0], "it is still found, whatever went before it"


def test_a_trail_that_was_cut_is_still_found_after_a_prune(twofold: Twofold, site: Site) -> None:
    attack(site, "DELETE FROM audit WHERE seq > 1200")
    assert f"row 1201 to {OLD + NEW} is missing" in twofold(*PRUNE, "--yes").sentence
    assert findings(twofold("audit", "verify")) == [f"row 1201 to {OLD + NEW} is missing"]


def test_a_row_that_was_tampered_with_keeps_an_export_from_being_made(
    twofold: Twofold, site: Site, tmp_path: Path
) -> None:
    attack(site, "UPDATE audit SET user = 'mallory' WHERE seq = 1200")
    before = raw.contents(site.config.database)
    result = twofold(*PRUNE, "--yes", "--export", str(tmp_path / "old.jsonl"))
    assert "row 1200 was changed" in result.sentence
    assert raw.contents(site.config.database) == before
    assert not list(tmp_path.glob("*old.jsonl*"))


# --- the export


def test_what_goes_is_written_first_and_the_trail_names_the_file(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    listed = sorted(twofold.done("audit", "list", "--json").json, key=lambda row: int(row["seq"]))[:OLD]
    assert f"with --yes they are written to {file} and removed" in twofold.done(*PRUNE, "--export", str(file)).out
    assert not file.exists()
    done = twofold.done(*PRUNE, "--yes", "--export", str(file))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"exported {file}, sha256:{digest}\n" in done.out
    assert {row["detail"]["export"] for row in site.audit() if row["event"] == "audit-prune"} == {  # type: ignore[index]
        f"sha256:{digest}"
    }
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row | {"at": None} for row in written] == [row | {"at": None} for row in listed]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "old" in path.name] == ["old.jsonl"]


def test_an_export_never_takes_a_files_place(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text("kept")
    before = raw.contents(site.config.database)
    for name, words in (("old.jsonl", "exists, and is left as it is"), ("no/old.jsonl", "there is no folder")):
        result = twofold(*PRUNE, "--yes", "--export", str(tmp_path / name))
        assert result.status in (1, 2)
        assert words in result.sentence
    assert (tmp_path / "old.jsonl").read_text() == "kept"
    assert raw.contents(site.config.database) == before


# --- heads that were written down


def anchor_at(site: Site, seq: int, file: Path, mac: str = "") -> Path:
    ((found,),) = raw.rows(site.config.database, "SELECT hex(mac) FROM audit WHERE seq = ?", (seq,))
    file.write_text(f"twofold-audit-anchor 1\n{seq} {mac or found.lower()} test\n")
    return file


def test_a_head_in_the_pruned_part_is_told_and_is_no_alarm(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = anchor_at(site, 700, tmp_path / "anchor")
    twofold.done(*PRUNE, "--yes")
    result = twofold.done("audit", "verify", "--anchor", str(file))
    (note,) = [line for line in result.out.splitlines() if line.startswith("note: ")]
    assert note == (
        f"note: chain test: row 700, which {file} names, was pruned with those up to {OLD}; "
        "there is nothing to compare it with"
    )
    assert f"\n{OLD + NEW + TOLD} " in file.read_text(), "it moves on"
    assert "note" not in twofold.done("audit", "verify", "--anchor", str(file)).out
    anchor_at(site, OLD + 1, file)
    assert "note" not in twofold.done("audit", "verify", "--anchor", str(file)).out


def test_the_same_as_a_document(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = anchor_at(site, 700, tmp_path / "anchor")
    twofold.done(*PRUNE, "--yes")
    document = twofold.done("audit", "verify", "--anchor", str(file), "--json").json
    assert document["verified"] is True
    assert "row 700" in document["notes"][0]


def test_the_newest_row_that_was_pruned_is_still_compared(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    good = anchor_at(site, OLD, tmp_path / "good")
    bad = anchor_at(site, OLD, tmp_path / "bad", mac="ab" * 32)
    twofold.done(*PRUNE, "--yes")
    assert "note" not in twofold.done("audit", "verify", "--anchor", str(good)).out
    found = findings(twofold("audit", "verify", "--anchor", str(bad)))
    assert found == [f"row {OLD}, which was pruned, is not the row that was anchored"]


# --- an attacker who can write to the database, and has no key


GONE = f"rows up to {OLD} are gone, and no row of the trail tells who pruned them"
CHANGED = "where the rest starts after pruning was changed"
FORGOTTEN = f"rows up to {OLD} were pruned, but the store does not know of it any more"


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ([f"DELETE FROM audit WHERE seq = {OLD + 1}"], [f"row {OLD + 1} is missing"]),
        ([f"DELETE FROM audit WHERE seq <= {OLD + 5}"], [f"row {OLD + 1} to {OLD + 5} is missing"]),
        (
            [f"DELETE FROM audit WHERE seq <= {OLD + 5}", f"UPDATE audit_starts SET seq = {OLD + 5}"],
            [CHANGED, f"row 1 to {OLD + 5} is missing", FORGOTTEN],
        ),
        (
            [
                f"UPDATE audit_starts SET seq = {OLD + 5}, mac = (SELECT mac FROM audit WHERE seq = {OLD + 5})",
                f"DELETE FROM audit WHERE seq <= {OLD + 5}",
            ],
            [CHANGED, f"row 1 to {OLD + 5} is missing", FORGOTTEN],
        ),
        (["DELETE FROM audit_starts"], [f"row 1 to {OLD} is missing", FORGOTTEN]),
        (["UPDATE audit_starts SET began = 'login'"], [CHANGED, f"row 1 to {OLD} is missing", FORGOTTEN]),
        (["UPDATE audit_starts SET mac = 'text'"], [CHANGED, f"row 1 to {OLD} is missing", FORGOTTEN]),
        (["UPDATE audit_starts SET seq = 'many'"], [CHANGED, f"row 1 to {OLD} is missing", FORGOTTEN]),
        (["UPDATE audit_starts SET seal = zeroblob(32)"], [CHANGED, f"row 1 to {OLD} is missing", FORGOTTEN]),
        (
            [
                "INSERT INTO audit SELECT chain, 7, at, event, decision, reason, user, client, face, source, serial, "
                "actor, request_id, detail, mac FROM audit WHERE seq = 1310"
            ],
            [f"row 7 is there, though rows up to {OLD} were pruned"],
        ),
        (
            [f"DELETE FROM audit WHERE seq > {OLD}"],
            [f"the trail is empty behind row {OLD}, though the newest row is never pruned", GONE],
        ),
        (
            [f"DELETE FROM audit WHERE seq > {OLD}", "DELETE FROM audit_heads"],
            [f"the trail is empty behind row {OLD}, though the newest row is never pruned", GONE],
        ),
    ],
)
def test_whatever_is_done_after_a_prune_is_found(pruned: Site, statements: list[str], found: list[str]) -> None:
    attack(pruned, *statements)
    assert findings(Twofold(pruned)("audit", "verify")) == found


def test_nothing_more_is_pruned_from_a_start_that_was_changed(pruned: Site) -> None:
    age(pruned, 500)
    attack(pruned, "UPDATE audit_starts SET began = 'login'")
    before = raw.contents(pruned.config.database)
    for more in ([], ["--yes"]):
        result = Twofold(pruned)(*PRUNE, *more)
        assert result.status == 1
        assert CHANGED in result.sentence
    assert raw.contents(pruned.config.database) == before


def test_a_row_that_tells_of_pruning_cannot_be_changed(pruned: Site) -> None:
    last = OLD + NEW + TOLD
    attack(pruned, f"UPDATE audit SET detail = replace(detail, '\"1300\"', '\"1305\"') WHERE seq = {last}")
    assert findings(Twofold(pruned)("audit", "verify")) == [
        f"row {last} was changed or does not follow the row before it",
        GONE,
    ]


def start_of(site: Site) -> tuple[Any, ...]:
    (row,) = raw.rows(site.config.database, "SELECT * FROM audit_starts")
    return row


INSERT: Any = "INSERT INTO audit_starts VALUES (?, ?, ?, ?, ?)"


@pytest.mark.parametrize("mac", ["(SELECT mac FROM audit WHERE seq = 1300)", "zeroblob(32)"])
def test_a_prune_cannot_be_faked_without_the_key(twofold: Twofold, site: Site, mac: str) -> None:
    for seal in ("zeroblob(32)", "(SELECT mac FROM audit WHERE seq = 1301)", "'text'"):
        with raw.opened(site.config.database) as connection:
            connection.execute("DELETE FROM audit_starts")
            connection.execute(f"INSERT INTO audit_starts SELECT 'test', {OLD}, {mac}, 'store-create', {seal}")
        assert CHANGED in findings(twofold("audit", "verify"))
    attack(site, f"DELETE FROM audit WHERE seq <= {OLD}")
    assert findings(twofold("audit", "verify"))[:2] == [CHANGED, f"row 1 to {OLD} is missing"]


def test_a_genuine_start_of_another_copy_of_this_store_is_not_taken(twofold: Twofold, site: Site, pruned: Site) -> None:
    """As after a restore: the seal is right, and the rows went, but nobody pruned them here."""
    attack(site, (INSERT, start_of(pruned)), f"DELETE FROM audit WHERE seq <= {OLD}")
    assert findings(twofold("audit", "verify")) == [GONE]


def test_an_older_start_with_its_rows_put_back_is_found(twofold: Twofold, site: Site) -> None:
    rows = raw.rows(site.config.database, "SELECT * FROM audit WHERE seq BETWEEN 501 AND 1300")
    run = pruning.prune(site.database, site.gate, pruning.parts(site.database, before(site)), before(site), "x", {})
    next(run)
    older = start_of(site)
    assert sum(run) == OLD - 500
    put_back = [(f"INSERT INTO audit VALUES ({', '.join('?' * len(row))})", row) for row in rows]
    attack(site, *put_back, "DELETE FROM audit_starts", (INSERT, older))
    assert findings(twofold("audit", "verify")) == [FORGOTTEN]


def test_a_start_is_of_one_chain_alone(twofold: Twofold, pruned: Site) -> None:
    chain, *rest = start_of(pruned)
    attack(pruned, (INSERT, ("north", *rest)))
    result = Twofold(pruned)("audit", "verify")
    assert result.status == 1
    assert f"chain north: {CHANGED}" in result.out.splitlines()
    assert chain == "test"


def test_a_pruned_chain_that_vanished_whole_is_found(pruned: Site) -> None:
    """Another host's rows tell of it, or nothing is left that would be genuine."""
    pruned.config_file.write_text('[store]\nchain = "north"\n')
    Twofold(pruned).done("user", "add", "carol")
    attack(
        pruned,
        "DELETE FROM audit WHERE chain = 'test'",
        "DELETE FROM audit_heads WHERE chain = 'test'",
        "DELETE FROM audit_starts",
    )
    result = Twofold(pruned)("audit", "verify")
    assert result.out.splitlines()[0] == (
        "chain north: row 1 is missing, which the creation of the store wrote: a new trail"
    )


def test_a_trail_that_begins_anew_is_not_taken_for_the_rest_of_a_pruned_one(pruned: Site) -> None:
    attack(pruned, "DELETE FROM audit", "DELETE FROM audit_heads")
    pruned.add_user("carol", None)
    assert findings(Twofold(pruned)("audit", "verify")) == [
        f"row 1 is there, though rows up to {OLD} were pruned",
        f"the trail is empty behind row {OLD}, though the newest row is never pruned",
        GONE,
    ]


# --- the way there


def test_two_that_prune_at_once_do_not_get_in_each_others_way(twofold: Twofold, site: Site) -> None:
    """The second finds that it came too late, and the trail is whole."""
    (part,) = pruning.parts(site.database, before(site))
    runs = [pruning.prune(site.database, site.gate, [part], before(site), "x", {}) for _ in range(2)]
    assert next(runs[0]) == 500
    result = [*runs[0]]
    assert sum(result) == OLD - 500
    with pytest.raises(Refused, match="somebody else has pruned the rows of test in the meantime; run it again"):
        next(runs[1])
    twofold.done("audit", "verify")


def before(site: Site) -> float:
    return site.database.connections.now() - 400 * 86_400


def test_everything_is_found_by_the_key_of_the_table(site: Site) -> None:
    """No statement reads the rows that stay, or sorts."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _u: object, statement: str, values: Any, _x: object, many: bool) -> None:
        if re.search(r"(FROM|UPDATE|INTO) audit\b", statement) and not statement.startswith("INSERT"):
            seen.append((statement, values[0] if many else values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        found = pruning.parts(site.database, before(site))
        assert sum(pruning.prune(site.database, site.gate, found, before(site), "x", {})) == OLD
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert any(statement.startswith("DELETE") for statement, _ in seen)
    assert len({statement for statement, _ in seen}) >= 6
    with raw.opened(site.config.database) as connection:
        for statement, values in seen:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert all(re.fullmatch(r"SEARCH audit USING PRIMARY KEY \(chain=\? AND seq.*\)", line) for line in plan), (
                plan
            )
            assert plan


def test_the_start_that_is_kept_is_the_last_row_that_went(twofold: Twofold, site: Site) -> None:
    ((mac,),) = raw.rows(site.config.database, f"SELECT mac FROM audit WHERE seq = {OLD}")
    twofold.done(*PRUNE, "--yes")
    with site.database.connections.reading() as connection:
        starts, wrong = listings.chain_starts(connection, site.database.keys.audit)
        heads = listings.chain_heads(connection)
    assert (starts, wrong) == ({"test": TrailStart("test", OLD, mac, "store-create")}, [])
    assert isinstance(heads["test"], Head)
