"""A few rounds of the harness on each database; and what it finds in servers that are broken on purpose.

`python -m tests.chaos` is the long run.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.planted import FAULTS
from tests.chaos.run import Report, run
from tests.chaos.world import SETTINGS
from tests.pam_helper.host import needs_root, open_folder
from tests.postgres import Postgres, postgres

ROUNDS = 4
WITHIN = 40  # rounds in which a fault must show; most do in the first

# What each fault breaks, among other things.
BREAKS = {
    "answer-first": {"a PIN was accepted twice", "an answer is missing in the trail"},
    "unconditional": {"a PIN was accepted twice", "a PIN was accepted twice in the trail"},
    "no-row": {"an answer is missing in the trail"},
    "done-anyway": {"an answer is missing in the trail"},
    "open-on-error": {"an answer is missing in the trail", "a PIN was accepted twice"},
    "again": {"a request was decided more often than it was sent"},
    "deaf": {"somebody who was shut out was let in"},
    "states-stay": {"a State was used twice"},
    "lying-row": {"a row lies"},
    "uncounted": {"failures are counted wrongly"},
}

pytestmark = [needs_root, pytest.mark.timeout(400)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A server that these tests may stop and kill."""
    with postgres(SETTINGS) as made:
        yield made


def check_held(report: Report) -> None:
    assert not report.broken, "\n".join([str(report), *map(str, report.broken), *report.story])
    assert report.rounds == ROUNDS
    for what in ("ACCEPTs heard", "REJECTs heard", "CHALLENGEs heard", "acts of an admin", "late or second answers"):
        assert report.done[what], f"{what}: none, so these rounds have shown little; {report}"


@pytest.mark.statement("C-001", "C-002", "C-003", "C-004")
def test_every_rule_holds_on_sqlite_while_servers_are_killed_and_stopped(folder: Path) -> None:
    check_held(run(folder, ROUNDS, seed=3))


@pytest.mark.peer("postgres", "psql")
@pytest.mark.statement("C-001", "C-002", "C-003", "C-004", "C-010")
def test_every_rule_holds_on_postgresql_while_all_of_it_breaks(folder: Path, database: Postgres) -> None:
    report = run(folder, ROUNDS, seed=6, database=database)
    check_held(report)
    assert report.done["commits to lose"], f"no commit was lost; {report}"


def test_every_fault_has_a_test() -> None:
    assert set(BREAKS) == set(FAULTS)


@pytest.mark.peer("postgres", "psql")
@pytest.mark.parametrize("fault", sorted(BREAKS))
def test_a_planted_fault_is_found(fault: str, folder: Path, database: Postgres) -> None:
    report = run(folder, WITHIN, seed=7, database=database, fault=fault, until=BREAKS[fault])
    assert BREAKS[fault] & {broken.rule for broken in report.broken}, str(report)
    assert report.story, "a finding is told with its story"
