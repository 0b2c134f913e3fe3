"""docs/operations.md is followed to the letter: backup, restore, a full disk, a lost database, a failover.

Stood in for: systemctl, and the folders /var and /etc. The button of the page has the key of RFC 4226.
"""

import re
from pathlib import Path

import pytest

from tests.builders import RFC_KEY
from tests.docs.pages import Host, text_of
from tests.postgres import postgres
from tests.site import pin
from validation.requests import EnrollToken

PAGE = "operations.md"


def host(folder: Path) -> Host:
    made = Host(folder)
    made.stand_in("systemctl", ":")
    made.inside("/var/backups").mkdir()
    made.add_user("alice")
    made.gate.administer(EnrollToken(actor="x", user="alice", kind="hotp", key=RFC_KEY, serial="BUTTON"))
    return made


@pytest.mark.statement("C-016")
def test_a_backup_a_restore_and_what_comes_after(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    made.follow(text_of(PAGE, "Backup"))
    made.type("twofold user add bob")
    made.database.close()
    del made.database, made.gate
    said = "".join(made.follow(text_of(PAGE, "Restore")))
    assert re.search(r"user-add bob by ", said)
    assert re.search(r"BUTTON.*needs resync", said)
    assert "bob" not in made.type("twofold user list")
    assert "needs resync" not in made.type("twofold token report")


def test_a_ballast_that_was_given_up_is_made_by_hand(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    (ballast := made.folder / "twofold.db.ballast").unlink()
    made.follow(text_of(PAGE, "Disk full"))
    assert ballast.exists()
    made.database.close()


@pytest.mark.peer("postgres", "psql")
@pytest.mark.statement("C-007")
def test_a_lost_database_is_made_anew_and_guarded(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    made.follow(text_of(PAGE, "Backup"))
    made.database.close()
    del made.database, made.gate
    with postgres() as server:
        text = made.config_file.read_text()
        made.config_file.write_text(re.sub(r"^path = .*$", f'url = "{server.database()}"', text, flags=re.MULTILINE))
        made.follow(text_of(PAGE, "Database lost"))
        made.type("twofold user add carol")
        token = made.enroll("carol", kind="hotp")
        made.follow(text_of(PAGE, "After a failover"))
        assert token.serial in made.type("twofold token report")
        assert "needs a resynchronisation" in made.type(f"twofold token test {token.serial} {pin(token)}", fails=True)
        made.database.close()
