"""`[notify]`: a program is told what happened, after it has happened, and cannot get in the way of a login."""

import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from store import notices
from store.notices import CommandNotices, event
from tests.builders import NOW
from tests.flows.crowd import ask_all, numbered
from tests.site import PASSWORD, SECRET, Site, eventually, pin
from tests.store import raw
from tests.validation.engine import VPN, Engine
from tests.wire import ACCEPT
from validation.changes import Audit
from validation.decisions import Accept
from validation.errors import StoreUnavailable
from validation.gate import Gate
from validation.model import Mode
from validation.requests import (
    ChangeUserState,
    Channel,
    EnrollToken,
    FirstFactor,
    FirstFactorResult,
    GiveBypass,
    IssueRecovery,
    IssueTicket,
    LoginRequest,
    RevokeToken,
    UserAct,
    typed_alone,
)
from validation.tokens.uri import grouped

NASTY = "$(touch pwned); `touch pwned` & touch pwned | 'x' \"y\" {z} %s"

# Writes a line for each event: its arguments and what it read. What FIRST does comes before that.
RECORDER = """#!{python}
import json, os, sys
{first}
told = {{"arguments": sys.argv[1:], "event": json.load(sys.stdin)}}
with open({told!r}, "a") as file:
    file.write(json.dumps(told) + "\\n")
"""


class Program:
    """A program of [notify], and what it was told."""

    def __init__(self, folder: Path, first: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.path, self._told = folder / "program", folder / "told"
        self.path.write_text(RECORDER.format(python=sys.executable, first=first, told=str(self._told)))
        self.path.chmod(stat.S_IRWXU)

    @property
    def calls(self) -> list[dict[str, Any]]:
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def told(self) -> list[str]:
        """The reasons of the events, in the order they were told."""
        return [call["event"]["reason"] for call in self.calls]

    @property
    def heard(self) -> list[str]:
        """What they were."""
        return [call["event"]["event"] for call in self.calls]


def audit(reason: str = "first", user: str = "alice") -> Audit:
    return Audit(at=NOW, event="user-lock", decision="done", reason=reason, user=user, notice="locked")


@contextmanager
def telling(*command: str) -> Iterator[CommandNotices]:
    told = CommandNotices(command)
    yield told
    told.close()


# --- what the program gets


def test_it_gets_json_on_standard_input_and_its_own_arguments_alone(tmp_path: Path) -> None:
    """No shell reads a name that is a command, and none is looked up in the folder the server stands in."""
    program = Program(tmp_path)
    told = audit(reason=NASTY, user=NASTY)
    with telling(str(program.path), "--to", "$HOME") as notifier:
        notifier.tell(told)
    assert program.calls == [{"arguments": ["--to", "$HOME"], "event": event(told)}]
    assert event(told)["user"] == NASTY
    assert not list(Path.cwd().glob("pwned")) + list(tmp_path.glob("pwned"))


def test_a_command_line_tells_before_it_ends(tmp_path: Path) -> None:
    program = Program(tmp_path / "notify")
    site = Site(
        tmp_path / "site",
        config=f'[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n[notify]\ncommand = ["{program.path}"]\n',
    )
    assert site.command("user", "add", NASTY).returncode == 0
    assert site.command("user", "lock", NASTY).returncode == 0
    (call,) = program.calls
    assert call["arguments"] == []
    (row,) = [row for row in site.audit() if row["event"] == "user-lock"]
    told = call["event"]
    assert (told["event"], told["user"], told["at"]) == ("locked", NASTY, row["at"])
    assert not list(Path.cwd().glob("pwned")) + list(site.folder.glob("pwned"))


@pytest.mark.statement("C-031")
def test_no_secret_is_in_an_event() -> None:
    """Of every kind of event there is."""
    engine = Engine(lock_from="8")
    engine.add_user("alice")
    pairing = engine.pair("alice")
    secrets = [pairing.key.hex(), pairing.shown.texts[0], pairing.state, pairing.pin()]
    pairing.confirm()
    codes = engine.gate.administer(IssueRecovery(actor="admin", name="alice")).shown_once
    secrets += [*codes, *(typed_alone(code) for code in codes)]
    for _ in range(8):
        secrets.append(engine.wrong_pin(pairing.serial))
        engine.log_in("alice", secrets[-1])
    engine.clock.now += 3600
    secrets.append(engine.challenge("alice"))
    assert isinstance(engine.answer("alice", secrets[-1], typed_alone(codes[0])), Accept)
    engine.revoke(pairing.serial)
    secrets += engine.gate.administer(IssueTicket(actor="admin", name="alice")).shown_once
    done = engine.gate.administer(EnrollToken(actor="admin", user="alice"))
    secrets += [(done.key or b"").hex(), pairing.key.hex().upper(), grouped(done.key or b"")]
    engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=1))
    kinds = "enrolled recovery_issued password_maybe_stolen locked recovery_used revoked bypass"
    assert {told.notice for told in engine.notices.told} == set(kinds.split())
    text = json.dumps([event(told) for told in engine.notices.told])
    assert not [secret for secret in secrets if secret in text]
    assert pairing.serial in text


def test_what_must_not_be_missed_is_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    """Whether or not a program is told: a copied key is as bad as a stolen password."""
    caplog.set_level(logging.WARNING, "twofold.notify")
    alarms = ["password_maybe_stolen", "token_disabled", "source_held", "security_key_copied"]
    for notice in (*alarms, "locked"):
        notices.notices_for(()).tell(
            Audit(NOW, "login", "reject", "", user="alice", client="vpn", serial="TF-A", notice=notice)
        )
    assert caplog.messages == [f"alarm {alarm}: user=alice client=vpn source=- token=TF-A" for alarm in alarms]


# --- when


def test_an_event_is_told_after_its_commit_and_never_without_one() -> None:
    engine = Engine()
    engine.add_user("alice")
    order: list[str] = engine.store.journal

    class Journal:
        def tell(self, audit: Audit) -> None:
            order.append(audit.notice)

    gate = Gate(engine.store, engine.clock, engine.faults, Journal())
    order.clear()
    serial = gate.administer(EnrollToken(actor="admin", user="alice")).serials[0]
    gate.administer(RevokeToken(actor="admin", serial=serial))
    assert order == ["begin", "commit", "enrolled", "begin", "commit", "revoked"]
    order.clear()
    engine.store.commit_troubles = [StoreUnavailable("full")]
    with pytest.raises(StoreUnavailable):
        gate.administer(EnrollToken(actor="admin", user="alice"))
    assert order == ["begin", "rollback"], "what did not happen is not told"


def test_what_cannot_be_told_undoes_no_decision() -> None:
    """One of a batch is alarmed of, and that fails after the commit: decided anew, the other's PIN would be used."""
    engine = Engine(lock_from="8")
    for name in ("alice", "bob"):
        engine.add_user(name)
    alice, bob = engine.enroll("alice"), engine.enroll("bob")

    class Broken:
        def tell(self, audit: Audit) -> None:
            raise RuntimeError("can't start new thread")

    gate = Gate(engine.store, engine.clock, engine.faults, Broken())
    wrong = [engine.request("bob", VPN, engine.wrong_pin(bob)) for _ in range(6)]
    gate.login(wrong[:-1])
    accepted, _ = gate.login([engine.request("alice", VPN, engine.pin(alice)), wrong[-1]])
    assert isinstance(accepted, Accept)
    assert [row.decision for row in engine.trail if row.event == "login" and row.user == "alice"] == ["accept"]
    gate.administer(ChangeUserState(actor="admin", name="bob", act=UserAct.LOCK))
    assert [untold.notice for untold, _ in engine.faults.untold] == ["password_maybe_stolen", "locked"]
    assert engine.faults.found == []


def test_an_event_that_finds_no_thread_waits_for_the_next_one(
    tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    program = Program(tmp_path)
    with telling(str(program.path)) as notifier:
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", no_room)
            notifier.tell(audit("first"))
        notifier.tell(audit("second"))
    assert program.told == ["first", "second"]
    assert "notify: can't start new thread; 1 events are waiting" in log.text


def test_what_a_login_did_is_in_the_store_when_the_program_hears_of_it(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    look = (
        "import sqlite3\n"
        f"rows = sqlite3.connect({str(site.config.database)!r}).execute('SELECT count(*) FROM audit WHERE reason = "
        '"password-wrong"\').fetchone()\n'
        f"open({str(tmp_path / 'seen')!r}, 'w').write(str(rows[0]))"
    )
    program = Program(tmp_path / "notify", first=look)
    house(site, CommandNotices([str(program.path)]), wrong_passwords=5)
    eventually(lambda: program.calls, what="the event")
    assert (tmp_path / "seen").read_text() == "5"
    assert program.heard == ["locked"]


def house(site: Site, told: CommandNotices, wrong_passwords: int = 0) -> Gate:
    """A gate that tells; alice has failed so often, and bob has a token."""
    site.add_client(mode=Mode.APPEND)
    site.add_user("alice", None)
    gate = Gate(site.database, site.gate._moments, site.gate._faults, told)
    for _ in range(wrong_passwords):
        gate.login([login(site, "alice", None, FirstFactor.WRONG)])
    return gate


def login(site: Site, user: str, passcode: str | None, password: FirstFactor) -> LoginRequest:
    (client,) = site.gate.clients()
    (seen,) = site.database.look([LoginRequest(user, Channel.console(), "vpn", 0).wanted])
    version = seen.user.password_version if seen.user is not None else -1
    return LoginRequest(
        user,
        Channel.for_mode(Mode.APPEND),
        "vpn",
        client.version,
        FirstFactorResult(password, version),
        passcode=passcode,
    )


# --- a program that misbehaves


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.ERROR, "twofold.notify")
    return caplog


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("sys.exit(1)", "CalledProcessError"),
        ("os.kill(os.getpid(), 9)", "CalledProcessError"),
        ("sys.stdin.close(); sys.exit(3)", "CalledProcessError"),
    ],
)
def test_a_program_that_fails_is_logged_and_gets_the_next_event(
    tmp_path: Path, log: pytest.LogCaptureFixture, first: str, why: str
) -> None:
    once = f"if not os.path.exists({str(tmp_path / 'once')!r}):\n    open({str(tmp_path / 'once')!r}, 'w')\n    {first}"
    program = Program(tmp_path, first=once)
    with telling(str(program.path)) as notifier:
        for reason in ("first", "second", "third"):
            notifier.tell(audit(reason))
    assert log.messages == [f"notify: {program.path} failed for event locked: {why}"]
    assert program.told == ["second", "third"]


@pytest.mark.parametrize(
    ("name", "mode", "why"), [("missing", None, "FileNotFoundError"), ("text", 0o644, "PermissionError")]
)
def test_a_program_that_is_missing_is_logged_and_costs_nothing_else(
    tmp_path: Path, log: pytest.LogCaptureFixture, name: str, mode: int | None, why: str
) -> None:
    path = tmp_path / name
    if mode is not None:
        path.write_text("no program")
        path.chmod(mode)
    site = Site(tmp_path / "site")
    told = CommandNotices([str(path)])
    gate = house(site, told, wrong_passwords=5)
    site.add_user("bob", None)
    accepted = gate.login([login(site, "bob", pin(site.enroll("bob")), FirstFactor.PROVED)])
    assert isinstance(accepted[0], Accept)
    told.close()
    assert log.messages == [f"notify: {path} failed for event locked: {why}"]


class Hanging:
    """A program that does not end before it is released."""

    def __init__(self, folder: Path) -> None:
        self._gate, self._begun = folder / "gate", folder / "begun"
        os.mkfifo(self._gate)
        first = f"open({str(self._begun)!r}, 'a').write('x')\nopen({str(self._gate)!r}).read()"
        self.program = Program(folder, first=first)

    def begun(self) -> bool:
        return self._begun.exists()

    def release(self) -> None:
        """Opened for writing and closed: who reads sees the end. Those to come find a plain file."""
        fifo = os.open(self._gate, os.O_WRONLY)
        self._gate.unlink()
        self._gate.touch()
        os.close(fifo)


@pytest.fixture
def hanging(tmp_path: Path) -> Hanging:
    return Hanging(tmp_path)


def test_while_the_program_hangs_logins_go_on(tmp_path: Path, hanging: Hanging, log: pytest.LogCaptureFixture) -> None:
    """It still hangs when bob is in; the events that came meanwhile wait, and none is lost."""
    site = Site(tmp_path / "site")
    told = CommandNotices([str(hanging.program.path)])
    gate = house(site, told, wrong_passwords=5)
    eventually(hanging.begun, what="the first event")
    site.add_user("bob", None)
    token = site.enroll("bob", kind="hotp")
    for counter in range(5):
        (accepted,) = gate.login([login(site, "bob", pin(token, ahead=counter), FirstFactor.PROVED)])
        assert isinstance(accepted, Accept)
    gate.administer(RevokeToken(actor="admin", serial=token.serial))
    assert hanging.program.calls == []
    hanging.release()
    told.close()
    assert hanging.program.heard == ["locked", "revoked"]
    assert log.messages == []


def test_a_program_that_never_ends_is_ended_and_the_next_event_is_told(
    tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "TIME_LIMIT", 5.0)
    pids = tmp_path / "pids"
    once = f"if not os.path.exists({str(pids)!r}):\n    open({str(pids)!r}, 'w').write(str(os.getpid()))\n"
    program = Program(tmp_path, first=once + "    import signal; signal.pause()")
    with telling(str(program.path)) as notifier:
        notifier.tell(audit("first"))
        notifier.tell(audit("second"))
        eventually(lambda: program.told == ["second"], what="the second event")
    assert log.messages == [f"notify: {program.path} failed for event locked: TimeoutExpired"]
    assert not Path(f"/proc/{pids.read_text()}").exists()


def test_of_a_flood_the_oldest_are_told_and_the_others_are_named_in_the_log(
    hanging: Hanging, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue with an end: a program that is too slow costs no memory, and nobody waits for room."""
    monkeypatch.setattr(notices, "WAITING_MOST", 3)
    notifier = CommandNotices([str(hanging.program.path)])
    notifier.tell(audit("0"))
    eventually(hanging.begun, what="the first event")
    for number in range(1, 10):
        notifier.tell(audit(str(number)))
    assert log.messages == ["notify: 3 events are waiting; locked was not told"] * 6
    hanging.release()
    eventually(lambda: len(hanging.program.calls) == 4, what="the events that waited")
    notifier.close()
    assert hanging.program.told == ["0", "1", "2", "3"]


def test_a_login_over_radius_does_not_wait_for_the_program(tmp_path: Path, hanging: Hanging) -> None:
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.APPEND)
    for user in ("alice", "bob"):
        site.add_user(user)
    token = site.enroll("bob")
    with site.config_file.open("a") as config:
        config.write(f'[notify]\ncommand = ["{hanging.program.path}"]\n')
    with site.server() as server, server.nas() as nas:
        ask_all(nas, numbered(SECRET, [("alice", f"wrong-00000{n}") for n in range(5)]))
        eventually(hanging.begun, what="the event")
        assert nas.login("bob", PASSWORD + pin(token)).code == ACCEPT
        assert hanging.program.calls == []
        hanging.release()
        eventually(lambda: hanging.program.heard == ["locked"], what="the end of the program")
    assert raw.rows(site.config.database, "SELECT count(*) FROM audit WHERE decision = 'accept'") == [(1,)]
