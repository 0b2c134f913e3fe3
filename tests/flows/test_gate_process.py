"""The process that decides is killed, stopped or cannot be started again: silence, nothing lost, and another one.

It is the only one that is hurt here; what happens when a whole server dies stands in test_crash.
"""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.flows.crowd import answered, numbered, send_all
from tests.postgres import on_both
from tests.site import SECRET, TWOFOLD, ServerProcess, Site, eventually, pin
from tests.store import raw
from tests.wire import ACCEPT, Request, status_server
from validation.model import Mode

USERS = 60


def crowd(site: Site, users: int = USERS) -> list[Request]:
    """A right login of each of so many people."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    logins = []
    for number in range(users):
        site.add_user(f"user{number}", None)
        logins.append((f"user{number}", pin(site.enroll(f"user{number}", kind="hotp"))))
    return numbered(SECRET, logins)


def check_each_once(site: Site, users: int = USERS) -> None:
    """Everybody was let in by his PIN, which was used and written down once."""
    assert Counter(site.logins()) == {("accept", "passcode-right"): users}
    assert {row["user"] for row in site.audit() if row["event"] == "login"} == {f"user{n}" for n in range(users)}
    done = site.command("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def key_from(site: Site, shell: str) -> None:
    with site.config_file.open("a") as file:
        file.write(f'[key]\ncommand = ["/bin/sh", "-c", "{shell}"]\n')


def other_gate(server: ServerProcess, than: int) -> bool:
    try:
        return server.gate_pid != than
    except (ValueError, FileNotFoundError):  # none, or it ends just now
        return False


def replace_gate(server: ServerProcess) -> None:
    before = server.gate_pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: other_gate(server, before), what="another process that decides")


@on_both
def test_killed_while_it_decides_it_costs_nothing_but_time(site: Site) -> None:
    requests = crowd(site)
    with site.server() as server, server.nas() as nas:
        for number in range(0, USERS, 20):
            send_all(nas, requests[number : number + 20])
            replace_gate(server)
            codes = [reply.code for reply in answered(nas, requests[number : number + 20])]
            assert codes == [ACCEPT] * 20
        eventually(lambda: server.log.count("gate-ended how=SIGKILL") == 3, what="lines of the log")
    check_each_once(site)


def test_killed_with_two_batches_on_their_way_it_costs_nothing_but_time(site: Site) -> None:
    """More than two batches, so that others wait behind them."""
    requests = crowd(site, 200)
    with site.server() as server, server.nas() as nas:
        gate = server.gate_pid
        os.kill(gate, signal.SIGSTOP)
        send_all(nas, requests)
        nas.send(b"read after them")
        eventually(
            lambda: "reason=shorter-than-header" in server.log, what="that all were read, so that two batches have left"
        )
        os.kill(gate, signal.SIGKILL)
        assert [reply.code for reply in answered(nas, requests)] == [ACCEPT] * 200
    check_each_once(site, 200)


def test_nobody_needs_to_log_in_for_another_one_to_be_there(site: Site) -> None:
    (request,) = crowd(site, 1)
    with site.server() as server, server.nas() as nas:
        gate = server.gate_pid
        os.kill(gate, signal.SIGKILL)
        eventually(lambda: "gate-started" in server.log, what="another process that decides")
        assert nas.ask(request).code == ACCEPT
    assert "store-unavailable" not in server.log
    check_each_once(site, 1)


@pytest.mark.parametrize("to_all", [False, True])
def test_who_is_asked_to_end_answers_first_what_came(site: Site, to_all: bool) -> None:
    """systemd, and Ctrl-C at a terminal, tell all processes of a server."""
    requests = crowd(site, 30)
    with site.server(program=TWOFOLD) as server, server.nas() as nas:
        pids = server.pids
        send_all(nas, requests)
        assert nas.receive() is not None
        for pid in pids[::-1] if to_all else pids[:1]:
            os.kill(pid, signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert "gate-ended" not in server.log
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="the end of all of them")
    codes = Counter(site.logins())
    assert codes == {("accept", "passcode-right"): codes.total()}


@on_both
def test_where_the_server_is_killed_its_other_processes_end(site: Site) -> None:
    requests = crowd(site)
    with site.server() as server, server.nas() as nas:
        send_all(nas, requests)
        assert nas.receive() is not None
        others = server.pids[1:]
        assert len(others) == 2
        server.kill()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others), what="their end")
        address, port = nas.server
        with site.server("--listen", f"{address}:{port}"):
            assert [reply.code for reply in answered(nas, requests)] == [ACCEPT] * USERS
    check_each_once(site)


def test_one_that_says_nothing_is_replaced(site: Site) -> None:
    requests = crowd(site, 10)
    with site.server() as server, server.nas() as nas:
        gate = server.gate_pid
        os.kill(gate, signal.SIGSTOP)
        send_all(nas, requests)
        eventually(lambda: other_gate(server, gate), what="another process that decides")
        assert [reply.code for reply in answered(nas, requests)] == [ACCEPT] * 10
        eventually(lambda: "the process that decides logins says nothing" in server.log, what="the line of the log")
    check_each_once(site, 10)


def test_where_none_can_be_started_logins_and_health_checks_get_silence_until_one_can(site: Site) -> None:
    (request,) = crowd(site, 1)
    with site.server() as server, server.nas() as nas:
        key = site.key_file.rename(site.key_file.with_suffix(".away"))
        os.kill(server.gate_pid, signal.SIGKILL)
        eventually(lambda: server.log.count("gate-not-started") > 2, what="a process that cannot open the store")
        probe = status_server(SECRET, identifier=200)
        for asked in (request, probe):
            nas.send(asked.data)
        eventually(lambda: "the process that decides logins is not running" in server.log, what="silence that is told")
        assert nas.receive(0.1) is None
        key.rename(site.key_file)
        (reply,) = answered(nas, [request])
        assert reply.code == ACCEPT
        eventually(lambda: "store-back" in server.log, what="the line of the log")
        assert nas.ask(status_server(SECRET, identifier=201)).code == ACCEPT
    check_each_once(site, 1)


def test_without_the_process_that_starts_them_the_server_ends_to_be_started_again(site: Site) -> None:
    crowd(site, 1)
    with site.server() as server:
        (keeper,) = [pid for pid in server.pids if Path(f"/proc/{pid}/comm").read_text() == "twofold-keeper\n"]
        os.kill(keeper, signal.SIGKILL)
        assert server.process.wait(60) == 1
        eventually(lambda: "gate-keeper-ended" in server.log, what="the line of the log")


def test_one_that_cannot_open_the_store_at_the_start_keeps_the_server_from_starting(site: Site) -> None:
    """What is right for the server and wrong a moment later for the process that it starts."""
    site.key_file.rename(kept := site.folder / "kept")
    asked = site.folder / "asked"
    key_from(site, f"test -e {asked} && exit 7; touch {asked}; cat {kept}")
    done = site.command("radius", "serve")
    assert done.returncode == 3
    assert "ended with status 7" in done.stderr.splitlines()[-1]
    assert "listening" not in done.stderr


def test_it_writes_its_log_as_the_server_does_after_a_reload_too(site: Site) -> None:
    """What goes wrong in a decision is told by the process that decides."""
    requests = crowd(site, 2)
    raw.tamper(site.config.database, "UPDATE tokens SET algorithm = 'md4'")
    with site.server() as server, server.nas() as nas:
        site.config_file.write_text(site.config_file.read_text() + 'log = "json"\n')
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: '"event": "reloaded"' in server.log, what="a reload")
        for request in requests:
            nas.send(request.data)
            assert nas.receive() is not None
            replace_gate(server)
    lines = [line for line in server.log.partition('"event": "reloaded"')[2].splitlines()[1:] if line]
    assert [json.loads(line)["text"] for line in lines if "decision failed" in line]
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_a_server_that_was_started_without_standard_output_decides_all_the_same(site: Site) -> None:
    (request,) = crowd(site, 1)
    program = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *TWOFOLD]
    with site.server(program=program) as server, server.nas() as nas:
        assert nas.ask(request).code == ACCEPT
    check_each_once(site, 1)


def test_programs_that_it_starts_can_be_ended_as_usual(site: Site) -> None:
    """It does not end by the signals that end a server; what it starts does not inherit that."""
    site.key_file.rename(kept := site.folder / "kept")
    told = site.folder / "told"
    key_from(site, f"grep SigIgn /proc/self/status >> {told}; cat {kept}")
    with site.server():
        masks = [int(line.split()[1], 16) for line in told.read_text().splitlines()]
    assert len(masks) == 2, "the server and the process that decides"
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        assert [mask >> number - 1 & 1 for mask in masks] == [0, 0]
