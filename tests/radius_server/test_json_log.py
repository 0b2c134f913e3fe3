"""The log as JSON: every line is one object with the words of the text, and holds no secret."""

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest

from radius_server.log import Drops, JsonFormatter, line
from tests.radius_server.live import new_person
from tests.site import PASSWORD, SECRET, Site, eventually
from tests.wire import ACCEPT, CHALLENGE, REJECT, access_request
from validation.model import Mode

HOSTILE = 'eve"}\n{"event":"accept","user":"root\u2028\x1b[2J'


def shown(*arguments: Any, error: BaseException | None = None) -> dict[str, Any]:
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("twofold.x", logging.WARNING, "file", 1, arguments[0], arguments[1:], info)
    text = JsonFormatter().format(record)
    assert text.isprintable()
    found: dict[str, Any] = json.loads(text)
    assert found.pop("time").endswith("+00:00")
    return found


def test_a_line_is_its_word_and_values() -> None:
    assert shown(line("reject", user="alice", token=None, failures=3, ms=1.5, reason="x y")) == {
        "level": "warning",
        "event": "reject",
        "user": "alice",
        "failures": 3,
        "ms": 1.5,
        "reason": "x y",
    }


@pytest.mark.statement("C-032")
def test_a_hostile_name_stays_one_value() -> None:
    found = shown(line("reject", user=HOSTILE, client="vpn"))
    assert (found["event"], found["client"]) == ("reject", "vpn")
    assert found["user"].startswith('eve"}\\x0a{"event"')


def test_a_value_cannot_take_the_place_of_the_frame() -> None:
    assert shown(line("drop", level="x", event="y", time="z"))["event"] == "drop"


def test_what_others_log_is_text() -> None:
    assert shown("decision failed user=%s", "a\nb") == {
        "level": "warning",
        "event": "log",
        "logger": "twofold.x",
        "text": "decision failed user=a\\x0ab",
    }


def test_a_trace_is_one_value() -> None:
    assert "ValueError" in shown("failed", error=ValueError("x"))["trace"]


def test_how_many_were_kept_back_is_a_number(caplog: pytest.LogCaptureFixture) -> None:
    drops = Drops()
    for now in (0.0, 1.0, 2.0, 61.0):
        drops.drop(now, "unknown-client", "192.0.2.1")
    found = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [one.get("more") for one in found] == [None, 2]


@pytest.mark.parametrize("way", ["option", "configuration"])
def test_every_line_of_a_run_is_an_object_and_no_secret_is_there(tmp_path: Path, way: str) -> None:
    configured = 'log = "json"\n' if way == "configuration" else ""
    site = Site(tmp_path / "site", f'[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n{configured}')
    site.add_client()
    site.add_client("off", "127.0.0.2/32", mode=Mode.PASSCODE_ONLY)
    alice = new_person(site, "alice")
    options = ["--debug", *(["--log", "json"] if way == "option" else [])]
    with site.server(*options) as server:
        with server.nas() as nas, server.nas(source="127.0.0.2") as other:
            challenge = nas.login("alice", PASSWORD)
            assert challenge.code == CHALLENGE
            assert nas.login("alice", "wrong-password").code == REJECT
            assert nas.login("alice", alice.pin(), state=challenge.state).code == ACCEPT
            assert other.login(HOSTILE, "000000").code == REJECT
            other.send(access_request(b"another secret", "alice", "1").data)
            eventually(lambda: "message-authenticator-wrong" in server.log)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: '"event": "reloaded"' in server.log)
    lines = [json.loads(text) for text in server.log.splitlines()]
    assert {"listening", "challenge", "accept", "reject", "drop", "reloaded", "stopped"} <= {
        one["event"] for one in lines
    }
    assert all({"time", "level"} <= one.keys() for one in lines)
    (accept,) = [one for one in lines if one["event"] == "accept"]
    assert (accept["user"], accept["client"], accept["reason"]) == ("alice", "vpn", "passcode-right")
    secrets = [
        PASSWORD,
        "wrong-password",
        SECRET.decode(),
        challenge.state.decode(),
        alice.pin(),
        alice.token.key.hex(),
    ]
    assert [secret for secret in secrets if secret in server.log] == []
