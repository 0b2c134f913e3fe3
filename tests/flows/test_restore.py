"""C-016 and C-017: a backup taken under load is whole, and after a restore what was used since then is refused."""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import opening
from store.notices import NoNotices
from tests.desk import Desk
from tests.flows.worker import FixedMoments
from tests.postgres import Stores, on_both
from tests.site import SECRET, Site, eventually, pin
from tests.store import raw
from tests.vectors import yubico
from tests.wire import ACCEPT, Nas, access_request
from validation.decisions import Accept, Reject
from validation.gate import Gate
from validation.model import Mode, Token
from validation.requests import Channel, EnrollToken, IssueRecovery, LoginRequest, ResyncToken, typed_alone

KEY, CODES = yubico.CHAIN


@dataclass
class People:
    """One for each kind of token, and what each of them types next."""

    site: Site
    app: Token
    button: Token
    paper: str

    def used(self) -> dict[str, str]:
        return {"app": pin(self.app), "button": pin(self.button), "key": CODES[2].text, "paper": self.paper}


def fill(site: Site) -> People:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    for name in ("app", "button", "key", "paper", "alice"):
        site.add_user(name, password=None)
    octets = bytes.fromhex(KEY.aes + KEY.private_id)
    command = EnrollToken(actor="x", user="key", kind="yubico_otp", key=octets, public_id=KEY.public_id, serial="YK")
    site.gate.administer(command)
    site.enroll("paper", kind="hotp")
    code = site.gate.administer(IssueRecovery(actor="x", name="paper")).shown_once[0]
    return People(site, site.enroll("app"), site.enroll("button", kind="hotp"), code)


def typed(site: Site, user: str, passcode: str, now: float | None = None) -> str:
    gate = Gate(site.database, FixedMoments(now or time.time()), opening.LoggedFaults(), NoNotices())
    (client,) = gate.clients()
    channel = Channel.for_mode(client.mode)
    (outcome,) = gate.login([LoginRequest(user, channel, "vpn", client.version, passcode=typed_alone(passcode))])
    assert isinstance(outcome, Accept | Reject), outcome
    return "accepted" if isinstance(outcome, Accept) else outcome.reason


def restored(request: pytest.FixtureRequest, site: Site, backup: Path, *options: str) -> tuple[Site, str]:
    """In the place of the old store; on PostgreSQL in an empty database that the configuration names from then on."""
    site.database.close()
    if site.config.url:
        stores: Stores = request.getfixturevalue("stores")
        there = site.config_file.read_text()
        site.config_file.write_text(there.replace(site.config.url, stores.server.database()))
    else:
        options = ("--replace", *options)
    done = site.command("restore", str(backup), *options)
    assert done.returncode == 0, done.stderr
    again = Site.__new__(Site)
    again.folder, again.config_file = site.folder, site.config_file
    return again, done.stdout + done.stderr


@pytest.mark.statement("C-016")
@on_both
def test_what_was_used_after_the_backup_is_refused_after_the_restore_and_the_next_ones_work(
    request: pytest.FixtureRequest, site: Site, tmp_path: Path
) -> None:
    people = fill(site)
    touched, _ = Desk(site).registered()
    backup = tmp_path / "backup.db"
    assert site.command("backup", str(backup)).returncode == 0
    old_answer = Desk(site).touched(touched)
    used = people.used()
    assert {typed(site, user, passcode) for user, passcode in used.items()} == {"accepted"}

    again, said = restored(request, site, backup)
    assert "work again in 12 time steps" in said
    assert "accepted" not in {typed(again, user, passcode) for user, passcode in used.items()}
    assert isinstance(Desk(again).answered(old_answer), Reject)

    button = people.button
    for serial, first, second in (
        (button.serial, pin(button, 1), pin(button, 2)),
        ("YK", CODES[3].text, CODES[4].text),
    ):
        again.gate.administer(ResyncToken(actor="x", serial=serial, first=first, second=second))
    assert typed(again, "button", pin(button, 3)) == "accepted"
    later = time.time() + 13 * 30
    assert typed(again, "app", pin(people.app, now=later), later) == "accepted"
    assert isinstance(Desk(again).answered(Desk(again).touched(touched)), Accept)
    assert again.command("db", "check").returncode == 0
    (row,) = [row for row in again.audit() if row["event"] == "restore"]
    assert (row["detail"]["file"], "backup" in row["detail"]) == (str(backup), True)  # type: ignore[index, operator]
    again.database.close()


@pytest.mark.statement("C-016")
def test_counters_may_move_on_and_recovery_codes_be_kept(
    request: pytest.FixtureRequest, site: Site, tmp_path: Path
) -> None:
    people = fill(site)
    backup = tmp_path / "backup.db"
    assert site.command("backup", str(backup)).returncode == 0
    again, said = restored(request, site, backup, "--ahead", "3", "--keep-recovery")
    assert "recovery codes were kept: those used in the meantime work again" in said
    assert [typed(again, "button", pin(people.button, n)) for n in (2, 3)] == ["passcode-used", "accepted"]
    assert typed(again, "paper", people.paper) == "accepted"
    again.database.close()


@pytest.mark.statement("C-017")
@on_both
def test_a_backup_under_load_has_every_login_that_was_answered_before_it(site: Site, tmp_path: Path) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    token = site.enroll("alice", kind="hotp")
    with site.server() as server, server.nas() as nas, logins(lambda n: _accepted(nas, token, n)) as done:
        for n in range(3):
            wait_for(done, done.answered + 5)
            before = done.answered
            made = site.command("backup", str(tmp_path / f"{n}.db"))
            assert made.returncode == 0, made.stderr
            with raw.opened(tmp_path / f"{n}.db") as connection:
                ((counter,),) = connection.execute("SELECT moving_factor FROM tokens").fetchall()
            assert before <= counter <= done.answered + 1
    assert not done.trouble
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(site.key_file, other)
    (other / "twofold.toml").write_text('[store]\nchain = "other"\n')
    there = Site.__new__(Site)
    there.folder, there.config_file = other, other / "twofold.toml"
    assert there.command("restore", str(tmp_path / "2.db")).returncode == 0
    checked = there.command("db", "check")
    assert checked.returncode == 0, checked.stdout


def _accepted(nas: Nas, token: Token, n: int) -> bool:
    return nas.ask(access_request(SECRET, "alice", pin(token, n))).code == ACCEPT


@dataclass
class Logins:
    answered: int = 0
    trouble: str = ""
    ending: bool = False


@contextlib.contextmanager
def logins(log_in: Callable[[int], bool]) -> Iterator[Logins]:
    done = Logins()

    def go_on() -> None:
        while not done.ending and not done.trouble:
            if log_in(done.answered):
                done.answered += 1
            else:
                done.trouble = f"login {done.answered} was refused"

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield done
    finally:
        done.ending = True
        thread.join()


def wait_for(done: Logins, count: int) -> None:
    eventually(lambda: done.answered >= count or done.trouble, what="logins")
    assert not done.trouble
