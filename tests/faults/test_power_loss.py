"""C-006: the power fails under a real server. Every login that was answered is recorded, and its PIN stays used."""

from pathlib import Path

import pytest

from tests.faults.power import outage

pytestmark = pytest.mark.peer("mkfs.ext4", "mount", "unshare")

LOGINS, IN_FLIGHT = 30, 20


@pytest.mark.statement("C-006")
def test_no_answered_login_is_lost_when_the_power_fails(tmp_path: Path) -> None:
    found = outage(tmp_path / "full", "FULL", LOGINS, IN_FLIGHT)
    assert len(found.answered) >= LOGINS
    assert found.lost() == []
    assert found.let_in_again() == []
    assert found.verify() == ""
    found.site.database.close()


@pytest.mark.statement("C-006")
@pytest.mark.parametrize("setting", ["NORMAL", "OFF"])
def test_a_setting_that_syncs_less_would_lose_answered_logins(tmp_path: Path, setting: str) -> None:
    """The same with a weaker `PRAGMA synchronous`: the test above can fail, and FULL is needed."""
    found = outage(tmp_path / "weak", setting, LOGINS, in_flight=0)
    lost = found.lost()
    assert lost != []
    assert found.let_in_again() == lost, "a PIN that had been accepted let in once more"
    found.site.database.close()
