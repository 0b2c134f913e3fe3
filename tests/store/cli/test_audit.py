"""`twofold audit`: whoever changes, moves or removes a row with nothing but the file is found out."""

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store import audit as trail
from store import listings
from store.audit import Head, Verifier
from tests.site import Site
from tests.store import raw
from tests.store.cli.command import Result, Twofold
from validation.changes import Audit

ROWS = 8
FOUR = 4  # a row in the middle
MARK = "NOT verified. Keep a copy of the store as it is, and look for who could write to it."


@pytest.fixture(scope="module")
def trail_of_eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site with eight rows; the fourth fills every column, like a login that was accepted."""
    site = Site(tmp_path_factory.mktemp("trail") / "site")
    site.add_user("alice", None)
    site.add_user("bob", None)
    full = Audit(
        at=1.5e9,
        event="login",
        decision="accept",
        reason="passcode-right",
        user="alice",
        client="vpn",
        face="radius",
        source="192.0.2.7",
        serial="TF-1",
        actor="radius",
        request_id="0123456789abcdef",
        detail={"failures": 2},
    )
    with site.database.transaction() as transaction:
        transaction.apply([full])
    for number in range(5, ROWS + 1):
        site.add_user(f"user{number}", None)
    site.database.close()
    return site.folder


@pytest.fixture
def site(trail_of_eight: Path, tmp_path: Path) -> Iterator[Site]:
    """A copy of it for each test."""
    shutil.copytree(trail_of_eight, tmp_path / "site")
    site = Site(tmp_path / "site")
    yield site
    if "database" in vars(site):
        site.database.close()


def attack(site: Site, *statements: raw.Statement) -> None:
    raw.tamper(site.config.database, *statements)


def head_put_back(seq: int) -> str:
    """The head follows the row `seq`, as it would have done had that row been the last."""
    return f"UPDATE audit_heads SET seq = {seq}, mac = (SELECT mac FROM audit WHERE seq = {seq})"


def found(result: Result) -> list[str]:
    """The findings of a `verify` that found something."""
    assert result.status == 1, result
    assert result.err == ""
    *findings, last = result.out.splitlines()
    assert last == MARK
    assert all(line.startswith("chain ") for line in findings)
    return findings


def names(finding: str, row: int) -> bool:
    return re.search(rf"\brow {row}\b", finding) is not None


# --- A trail that is whole


def test_a_whole_trail_is_verified(twofold: Twofold) -> None:
    result = twofold.done("audit", "verify")
    first, second = result.out.splitlines()
    assert first == f"audit trail: {ROWS} rows, chain verified"
    assert re.fullmatch(rf"head  test {ROWS} [0-9a-f]{{64}}", second)


def test_verify_as_a_document(twofold: Twofold, site: Site) -> None:
    document = twofold.done("audit", "verify", "--json").json
    ((mac,),) = raw.rows(site.config.database, "SELECT mac FROM audit_heads")
    assert document == {
        "verified": True,
        "chains": [{"chain": "test", "rows": ROWS, "pruned": 0, "mac": mac.hex()}],
        "findings": [],
        "notes": [],
    }
    attack(site, "UPDATE audit SET user = 'mallory' WHERE seq = 4")
    result = twofold("audit", "verify", "--json")
    assert result.status == 1
    assert result.json["verified"] is False
    assert [finding for finding in result.json["findings"] if names(finding, FOUR)]


# --- A changed row

EDITS = {
    "chain": "'other'",
    "seq": "seq + 1000",
    "at": "at + 0.001",
    "event": "'logout'",
    "decision": "'reject'",
    "reason": "''",
    "user": "'mallory'",
    "client": "client || ' '",
    "face": "upper(face)",
    "source": "'192.0.2.8'",
    "serial": "'TF-2'",
    "actor": "''",
    "request_id": "'fedcba9876543210'",
    "detail": "'{\"failures\": 3}'",
    "mac": "zeroblob(32)",
}


def test_the_edits_below_are_of_every_column(site: Site) -> None:
    columns = [row[1] for row in raw.rows(site.config.database, "PRAGMA table_info(audit)")]
    assert columns == list(EDITS) == [*trail.COLUMNS, "mac"]


@pytest.mark.parametrize("column", EDITS)
@pytest.mark.statement("C-033")
def test_a_changed_column_is_found(twofold: Twofold, site: Site, column: str) -> None:
    attack(site, f"UPDATE audit SET {column} = {EDITS[column]} WHERE seq = {FOUR}")
    assert [finding for finding in found(twofold("audit", "verify")) if names(finding, FOUR)]


WRONG_TYPES = ("x'00ff'", "CAST(x'ff' AS TEXT)", "''", "x''", "17", "'text'", "9e999", "-1", "zeroblob(31)")


@pytest.mark.parametrize("column", EDITS)
def test_a_value_that_no_row_of_ours_has_is_found_like_any_other(twofold: Twofold, site: Site, column: str) -> None:
    """SQLite keeps any type in any column; an attacker must not be able to break the search by that."""
    ((genuine,),) = raw.rows(site.config.database, f"SELECT {column} FROM audit WHERE seq = {FOUR}")
    where = "WHERE serial = 'TF-1'" if column != "serial" else "WHERE client = 'vpn'"
    for value in WRONG_TYPES:
        attack(site, f"UPDATE audit SET {column} = {value} {where}")
        assert found(twofold("audit", "verify")), value
        attack(site, (f"UPDATE audit SET {column} = ? {where}", (genuine,)))
    assert twofold("audit", "verify").status == 0


def _another(value: str | int | float) -> str | int | float:
    return value + "x" if isinstance(value, str) else value + 1


def test_every_column_of_every_row_is_covered(site: Site) -> None:
    """The same for each row, in memory, where it is quick."""
    with site.database.connections.reading() as connection:
        rows = [dict(row) for row in connection.exec_driver_sql("SELECT * FROM audit ORDER BY seq").mappings()]
        head = listings.chain_heads(connection)["test"]

    def findings(rows: list[dict[str, Any]]) -> list[str]:
        verifier = Verifier(site.database.keys.audit, "test")
        for row in rows:
            verifier.add(row)
        return [finding.problem for finding in verifier.finish(head)]

    assert findings(rows) == []
    for number, row in enumerate(rows, 1):
        for column, value in row.items():
            other = value[:-1] + bytes([value[-1] ^ 1]) if isinstance(value, bytes) else _another(value)
            changed = [*rows[: number - 1], {**row, column: other}, *rows[number:]]
            assert any(names(finding, number) for finding in findings(changed)), (number, column)


# --- Rows that were moved


@pytest.mark.parametrize(("one", "other"), [(4, 5), (2, 7), (1, 8)])
@pytest.mark.statement("C-033")
def test_two_swapped_rows_are_found(twofold: Twofold, site: Site, one: int, other: int) -> None:
    attack(
        site,
        f"UPDATE audit SET seq = 999 WHERE seq = {one}",
        f"UPDATE audit SET seq = {one} WHERE seq = {other}",
        f"UPDATE audit SET seq = {other} WHERE seq = 999",
        head_put_back(ROWS),
    )
    findings = found(twofold("audit", "verify"))
    assert [finding for finding in findings if names(finding, one)]
    assert [finding for finding in findings if names(finding, other)]


def test_a_row_repeated_is_found(twofold: Twofold, site: Site) -> None:
    columns = ", ".join(name for name in EDITS if name != "seq")
    attack(
        site,
        f"INSERT INTO audit (seq, {columns}) SELECT {ROWS + 1}, {columns} FROM audit WHERE seq = {ROWS}",
        head_put_back(ROWS + 1),
    )
    assert [finding for finding in found(twofold("audit", "verify")) if names(finding, ROWS + 1)]


def test_a_row_that_somebody_wrote_himself_is_found(twofold: Twofold, site: Site) -> None:
    columns = ", ".join(EDITS)
    attack(
        site,
        f"INSERT INTO audit ({columns}) SELECT chain, {ROWS + 1}, at, event, decision, reason, 'mallory', client, "
        f"face, source, serial, actor, request_id, detail, randomblob(32) FROM audit WHERE seq = {FOUR}",
        head_put_back(ROWS + 1),
    )
    assert [finding for finding in found(twofold("audit", "verify")) if names(finding, ROWS + 1)]


def test_a_genuine_row_of_another_past_is_found(twofold: Twofold, site: Site) -> None:
    """Two rows 9 were written by the product itself: one, then, on a restored backup, the other."""
    with raw.opened(site.config.database) as backup:
        backup.execute("ATTACH ':memory:' AS past")
        for table in ("audit", "audit_heads"):
            backup.execute(f"CREATE TABLE past.{table} AS SELECT * FROM main.{table}")
        site.add_user("mallory", None)
        (other,) = backup.execute("SELECT * FROM main.audit WHERE seq = 9").fetchall()
        for table in ("audit", "audit_heads"):
            backup.execute(f"DELETE FROM main.{table}")
            backup.execute(f"INSERT INTO main.{table} SELECT * FROM past.{table}")
    for name in ("carol", "dave"):
        site.add_user(name, None)
    assert twofold("audit", "verify").status == 0
    marks = ", ".join("?" * len(EDITS))
    attack(site, "DELETE FROM audit WHERE seq = 9", (f"INSERT INTO audit VALUES ({marks})", other))
    assert found(twofold("audit", "verify")) == ["chain test: row 10 was changed or does not follow the row before it"]


# --- Rows that were removed


@pytest.mark.parametrize("row", [1, 2, FOUR, ROWS - 1])
@pytest.mark.statement("C-033")
def test_a_removed_row_is_found(twofold: Twofold, site: Site, row: int) -> None:
    attack(site, f"DELETE FROM audit WHERE seq = {row}", head_put_back(ROWS))
    findings = found(twofold("audit", "verify"))
    assert findings == [f"chain test: row {row} is missing"]


@pytest.mark.parametrize("row", [1, FOUR, ROWS - 1])
def test_a_removed_row_is_found_when_the_others_move_up(twofold: Twofold, site: Site, row: int) -> None:
    moves = [f"UPDATE audit SET seq = {seq - 1} WHERE seq = {seq}" for seq in range(row + 1, ROWS + 1)]
    attack(site, f"DELETE FROM audit WHERE seq = {row}", *moves, head_put_back(ROWS - 1))
    assert [finding for finding in found(twofold("audit", "verify")) if names(finding, row)]


def test_several_removed_rows_are_one_finding(twofold: Twofold, site: Site) -> None:
    attack(site, "DELETE FROM audit WHERE seq BETWEEN 3 AND 6")
    assert found(twofold("audit", "verify")) == ["chain test: row 3 to 6 is missing"]


def test_the_last_row_removed_is_found_if_the_head_stays(twofold: Twofold, site: Site) -> None:
    attack(site, f"DELETE FROM audit WHERE seq = {ROWS}")
    assert found(twofold("audit", "verify")) == [
        f"chain test: the trail ends at row {ROWS - 1}, but its head names row {ROWS}"
    ]


@pytest.mark.statement("C-033")
def test_the_last_row_removed_with_the_head_put_back_is_found_by_the_anchor(
    twofold: Twofold, site: Site, tmp_path: Path
) -> None:
    anchor = tmp_path / "anchor"
    twofold.done("audit", "verify", "--anchor", str(anchor))
    attack(site, f"DELETE FROM audit WHERE seq = {ROWS}", head_put_back(ROWS - 1))
    assert twofold("audit", "verify").status == 0, "nothing in the store itself can show this"
    findings = found(twofold("audit", "verify", "--anchor", str(anchor)))
    assert findings == [f"chain test: the anchored row {ROWS} is missing: the trail was cut"]


def test_a_cut_trail_that_went_on_is_found_by_the_anchor(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """Another row stands where the anchored one stood."""
    anchor = tmp_path / "anchor"
    twofold.done("audit", "verify", "--anchor", str(anchor))
    attack(site, f"DELETE FROM audit WHERE seq = {ROWS}", head_put_back(ROWS - 1))
    site.add_user("mallory", None)
    assert twofold("audit", "verify").status == 0
    findings = found(twofold("audit", "verify", "--anchor", str(anchor)))
    assert findings == [f"chain test: row {ROWS} is not the row that was anchored"]


@pytest.mark.parametrize("change", ["seq = 7", "seq = 9", "mac = zeroblob(32)", "mac = 'text'", "seq = 'eight'"])
def test_a_changed_head_is_found(twofold: Twofold, site: Site, change: str) -> None:
    attack(site, f"UPDATE audit_heads SET {change}")
    assert len(found(twofold("audit", "verify"))) == 1


def test_a_removed_head_is_found(twofold: Twofold, site: Site) -> None:
    attack(site, "DELETE FROM audit_heads")
    assert found(twofold("audit", "verify")) == [f"chain test: the trail ends at row {ROWS}, but its head is missing"]


# --- The whole trail removed

EMPTY = "the trail is empty, though creating a store writes its first row"
NEW = "row 1 is missing, which the creation of the store wrote: a new trail"


@pytest.mark.parametrize("statements", [["DELETE FROM audit"], ["DELETE FROM audit", "DELETE FROM audit_heads"]])
def test_a_removed_trail_is_found(twofold: Twofold, site: Site, statements: list[str]) -> None:
    attack(site, *statements)
    assert found(twofold("audit", "verify")) == [f"chain test: {EMPTY}"]


def test_a_removed_trail_is_found_after_a_new_one_began(twofold: Twofold, site: Site) -> None:
    """The product itself goes on writing, with its own key: each row of the new trail is genuine."""
    attack(site, "DELETE FROM audit", "DELETE FROM audit_heads")
    site.add_user("carol", None)
    assert found(twofold("audit", "verify")) == [f"chain test: {NEW}"]


@pytest.mark.parametrize("decoy", ["'decoy', 0, x''", "'decoy', 1, zeroblob(32)", "x'00', 1, zeroblob(32)"])
def test_a_head_without_rows_does_not_hide_a_removed_trail(twofold: Twofold, site: Site, decoy: str) -> None:
    attack(site, "DELETE FROM audit", "DELETE FROM audit_heads", f"INSERT INTO audit_heads VALUES ({decoy})")
    assert EMPTY in found(twofold("audit", "verify"))[0]


def test_the_trail_of_another_store_is_not_taken(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """Same chain, same names, genuine where it was written: its keys are another store's."""
    other = Site(tmp_path / "other")
    other.add_user("alice", None)
    other.database.close()
    rows = raw.rows(other.config.database, "SELECT * FROM audit")
    heads = raw.rows(other.config.database, "SELECT * FROM audit_heads")
    marks = ", ".join("?" * len(EDITS))
    attack(
        site,
        "DELETE FROM audit",
        "DELETE FROM audit_heads",
        *((f"INSERT INTO audit VALUES ({marks})", row) for row in rows),
        *(("INSERT INTO audit_heads VALUES (?, ?, ?)", head) for head in heads),
    )
    findings = found(twofold("audit", "verify"))
    assert [finding for finding in findings if names(finding, 1)]


# --- Several hosts


def test_a_second_host_has_a_chain_of_its_own(twofold: Twofold, site: Site) -> None:
    site.config_file.write_text('[store]\nchain = "north"\n')
    twofold.done("user", "add", "carol")
    document = twofold.done("audit", "verify", "--json").json
    assert [(chain["chain"], chain["rows"]) for chain in document["chains"]] == [("north", 1), ("test", ROWS)]
    attack(site, "UPDATE audit SET user = 'mallory' WHERE chain = 'north'")
    assert found(twofold("audit", "verify")) == ["chain north: row 1 was changed or does not follow the row before it"]


def test_a_host_that_has_not_begun_is_no_fault(twofold: Twofold, site: Site) -> None:
    site.config_file.write_text('[store]\nchain = "north"\n')
    assert twofold.done("audit", "verify").out.startswith(f"audit trail: {ROWS} rows, chain verified")


def test_the_first_hosts_chain_removed_is_found(twofold: Twofold, site: Site) -> None:
    site.config_file.write_text('[store]\nchain = "north"\n')
    twofold.done("user", "add", "carol")
    attack(site, "DELETE FROM audit WHERE chain = 'test'", "DELETE FROM audit_heads WHERE chain = 'test'")
    assert found(twofold("audit", "verify")) == [f"chain north: {NEW}"]


@pytest.mark.parametrize("begun_anew", [False, True])
def test_another_hosts_chain_removed_whole_is_found_by_the_anchor_alone(
    twofold: Twofold, site: Site, tmp_path: Path, begun_anew: bool
) -> None:
    """A host whose chain has not begun looks the same: only the first one's must begin with the creation."""
    site.config_file.write_text('[store]\nchain = "north"\n')
    twofold.done("user", "add", "carol")
    twofold.done("user", "add", "dave")
    anchor = tmp_path / "anchor"
    twofold.done("audit", "verify", "--anchor", str(anchor))
    attack(site, "DELETE FROM audit WHERE chain = 'north'", "DELETE FROM audit_heads WHERE chain = 'north'")
    if begun_anew:
        twofold.done("user", "lock", "carol")
    twofold.done("audit", "verify")
    findings = found(twofold("audit", "verify", "--anchor", str(anchor)))
    assert "chain north: the anchored row 2 is missing: the trail was cut" in findings


def test_a_row_moved_to_another_chain_is_found(twofold: Twofold, site: Site) -> None:
    attack(
        site,
        "UPDATE audit SET chain = 'north', seq = 1 WHERE seq = 8",
        "INSERT INTO audit_heads SELECT 'north', 1, mac FROM audit WHERE chain = 'north'",
        head_put_back(ROWS - 1) + " WHERE chain = 'test'",
    )
    assert [finding for finding in found(twofold("audit", "verify")) if finding.startswith("chain north: row 1 ")]


@pytest.mark.statement("C-032")
def test_a_planted_name_cannot_write_its_own_verdict(twofold: Twofold, site: Site) -> None:
    """The chain's name is shown; whoever can write rows must not be able to paint over the verdict with it."""
    hostile = "\x1b[2J\r\naudit trail: 8 rows, chain verified\u2028\x9b1m"
    attack(site, ("INSERT INTO audit_heads VALUES (?, 1, x'00')", (hostile,)))
    result = twofold("audit", "verify")
    assert result.status == 1
    assert result.out.count("\n") == len(result.out.splitlines()) == 2
    assert result.out.splitlines()[-1] == MARK
    assert "\\x1b[2J\\x0d\\x0aaudit trail" in result.out
    assert all(char.isprintable() or char == "\n" for char in result.out)


# --- The anchor


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    return tmp_path / "kept elsewhere" / "anchor"


@pytest.fixture
def anchored(twofold: Twofold, anchor: Path) -> Path:
    anchor.parent.mkdir()
    twofold.done("audit", "verify", "--anchor", str(anchor))
    return anchor


def head_in(anchor: Path) -> Head:
    first, line = anchor.read_text().splitlines()
    assert first == "twofold-audit-anchor 1"
    seq, mac, chain = line.split(" ", 2)
    return Head(chain, int(seq), bytes.fromhex(mac))


def test_a_missing_anchor_is_made(twofold: Twofold, site: Site, anchor: Path) -> None:
    anchor.parent.mkdir()
    result = twofold.done("audit", "verify", "--anchor", str(anchor))
    assert f"anchored in {anchor}" in result.out
    with site.database.connections.reading() as connection:
        assert head_in(anchor) == listings.chain_heads(connection)["test"]
    assert stat.S_IMODE(anchor.stat().st_mode) == 0o600
    assert os.listdir(anchor.parent) == ["anchor"]


def test_the_anchor_moves_forward(twofold: Twofold, site: Site, anchored: Path) -> None:
    before = head_in(anchored)
    site.add_user("carol", None)
    twofold.done("audit", "verify", "--anchor", str(anchored))
    assert (before.seq, head_in(anchored).seq) == (ROWS, ROWS + 1)
    assert os.listdir(anchored.parent) == ["anchor"]


def test_an_anchor_behind_a_link_moves_forward_where_it_is(
    twofold: Twofold, site: Site, anchored: Path, tmp_path: Path
) -> None:
    """On a medium that is mounted for the run, say: in place of the link it would lie beside the store from then on."""
    link = tmp_path / "link"
    link.symlink_to(anchored)
    site.add_user("carol", None)
    twofold.done("audit", "verify", "--anchor", str(link))
    assert link.is_symlink()
    assert head_in(anchored).seq == ROWS + 1
    assert os.listdir(anchored.parent) == ["anchor"]


def test_the_anchor_stays_where_it_is_without_being_named(twofold: Twofold, site: Site, anchored: Path) -> None:
    before = anchored.read_bytes()
    site.add_user("carol", None)
    twofold.done("audit", "verify")
    assert anchored.read_bytes() == before


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE audit SET user = 'mallory' WHERE seq = 2"],
        ["UPDATE audit SET user = 'mallory' WHERE seq = 9"],
        ["DELETE FROM audit WHERE seq = 9"],
        ["DELETE FROM audit WHERE seq >= 8", head_put_back(7)],
        ["DELETE FROM audit", "DELETE FROM audit_heads"],
    ],
    ids=["changed", "changed after it", "cut to it", "cut below it", "gone"],
)
def test_the_anchor_does_not_move_when_something_is_wrong(
    twofold: Twofold, site: Site, anchored: Path, statements: list[str]
) -> None:
    site.add_user("carol", None)
    before = anchored.read_bytes()
    attack(site, *statements)
    assert found(twofold("audit", "verify", "--anchor", str(anchored)))
    assert anchored.read_bytes() == before


def test_a_trail_cut_to_the_anchor_is_not_below_it(twofold: Twofold, site: Site, anchored: Path) -> None:
    """What came after the anchor and was cut with its head cannot be known: verify, and anchor, often."""
    site.add_user("carol", None)
    attack(site, "DELETE FROM audit WHERE seq = 9", head_put_back(ROWS))
    before = anchored.read_bytes()
    twofold.done("audit", "verify", "--anchor", str(anchored))
    assert anchored.read_bytes() == before


def test_an_anchored_chain_that_vanished_is_found(twofold: Twofold, site: Site, anchored: Path) -> None:
    """Also when another host's genuine chain is there."""
    site.config_file.write_text('[store]\nchain = "north"\n')
    twofold.done("user", "add", "carol")
    attack(site, "DELETE FROM audit WHERE chain = 'test'", "DELETE FROM audit_heads WHERE chain = 'test'")
    findings = found(twofold("audit", "verify", "--anchor", str(anchored)))
    assert f"chain test: the anchored row {ROWS} is missing: the trail was cut" in findings


def test_an_anchor_of_another_store_does_not_fit(twofold: Twofold, site: Site, anchor: Path, tmp_path: Path) -> None:
    anchor.parent.mkdir()
    other = Site(tmp_path / "other")
    assert other.command("audit", "verify", "--anchor", str(anchor)).returncode == 0
    assert found(twofold("audit", "verify", "--anchor", str(anchor))) == [
        "chain test: row 1 is not the row that was anchored"
    ]


MAC = "ab" * 32


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1"),
        ("something else\n", "line 1"),
        ("twofold-audit-anchor 2\n", "line 1"),
        ("twofold-audit-anchor 1\n", "ends after its first line"),
        ("twofold-audit-anchor 1\n\n", "line 2"),
        (f"twofold-audit-anchor 1\n8 {MAC} test\n\n", "line 3"),
        (f"twofold-audit-anchor 1\n8 {MAC}\n", "line 2"),
        (f"twofold-audit-anchor 1\n8 {MAC[:-2]} test\n", "line 2"),
        (f"twofold-audit-anchor 1\n8 {MAC[:-1]}g test\n", "line 2"),
        (f"twofold-audit-anchor 1\n-8 {MAC} test\n", "line 2"),
        (f"twofold-audit-anchor 1\n0 {MAC} test\n", "line 2"),
        (f"twofold-audit-anchor 1\n1_0 {MAC} test\n", "line 2"),
        (f"twofold-audit-anchor 1\n\uff18 {MAC} test\n", "line 2"),
        (f"twofold-audit-anchor 1\neight {MAC} test\n", "line 2"),
        (f"twofold-audit-anchor 1\n{'9' * 5000} {MAC} test\n", "line 2"),
        (f"twofold-audit-anchor 1\n8 {MAC} test\n7 {MAC} test\n", "line 3"),
    ],
)
def test_a_malformed_anchor_is_refused(twofold: Twofold, anchor: Path, text: str, place: str) -> None:
    """Never taken for an anchor that fits, and never written over."""
    anchor.parent.mkdir()
    anchor.write_text(text)
    result = twofold("audit", "verify", "--anchor", str(anchor))
    assert (result.status, result.out) == (2, "")
    assert result.sentence.startswith(f"twofold: --anchor: {anchor}")
    assert place in result.sentence
    assert anchor.read_text() == text


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("make", [no_text, Path.mkdir])
def test_what_is_no_text_is_no_anchor(twofold: Twofold, anchor: Path, make: Callable[[Path], None]) -> None:
    anchor.parent.mkdir()
    make(anchor)
    result = twofold("audit", "verify", "--anchor", str(anchor))
    assert (result.status, result.out) == (2, "")
    assert "--anchor" in result.sentence


def test_an_anchor_that_cannot_be_written_is_named(twofold: Twofold, anchor: Path) -> None:
    result = twofold("audit", "verify", "--anchor", str(anchor))  # its folder is missing
    assert (result.status, result.out) == (2, "")
    assert result.sentence == f"twofold: --anchor: {anchor} cannot be written: No such file or directory"


# --- The list


def test_the_list_is_a_table_from_old_to_new(twofold: Twofold) -> None:
    head, *lines = twofold.done("audit", "list").out.splitlines()
    assert head.split() == ["time", "event", "user", "client", "decision", "reason", "details"]
    assert len(lines) == ROWS
    (login,) = [line for line in lines if " login " in line]
    for word in ("alice", "vpn", "accept", "passcode-right", "serial=TF-1", "source=192.0.2.7", "failures=2"):
        assert word in login


@pytest.mark.statement("C-033")
def test_the_list_as_a_document_has_every_column(twofold: Twofold) -> None:
    document = twofold.done("audit", "list", "--json").json
    assert isinstance(document, list)
    assert all(set(row) == {*trail.COLUMNS, "mac"} for row in document)
    (login,) = [row for row in document if row["event"] == "login"]
    assert login | {"mac": ""} == {
        "chain": "test",
        "seq": FOUR,
        "at": "2017-07-14T02:40:00+00:00",
        "event": "login",
        "decision": "accept",
        "reason": "passcode-right",
        "user": "alice",
        "client": "vpn",
        "face": "radius",
        "source": "192.0.2.7",
        "serial": "TF-1",
        "actor": "radius",
        "request_id": "0123456789abcdef",
        "detail": {"failures": 2},
        "mac": "",
    }


def test_the_list_can_be_narrowed(twofold: Twofold) -> None:
    def seqs(*arguments: str) -> list[int]:
        return [row["seq"] for row in twofold.done("audit", "list", "--json", *arguments).json]

    assert seqs("--user", "bob") == [3]
    assert seqs("--user", "nobody") == []
    assert seqs("--limit", "2") == [7, 8]
    assert seqs("--since", "2020-01-01") == [1, 2, 3, 5, 6, 7, 8]
    assert seqs("--since", "2020-01-01T12:30", "--limit", "1") == [8]
    assert seqs("--since", "2999-01-01") == []
    assert json.loads(twofold.done("audit", "list", "--json", "--user", "nobody").out) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "yesterday"], "--since: 'yesterday' is no time; write 2026-03-01 or 2026-03-01T12:00"),
        (["--since", ""], "--since"),
        (["--since", "0001-01-01"], "--since"),
        (["--limit", "0"], "--limit"),
        (["--limit", "many"], "--limit"),
        (["--limit", str(2**64)], "--limit"),
    ],
)
def test_a_bad_value_is_named(twofold: Twofold, arguments: list[str], words: str) -> None:
    result = twofold("audit", "list", *arguments)
    assert (result.status, result.out) == (2, "")
    assert words in result.sentence
