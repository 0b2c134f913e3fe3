"""`twofold-web` as a program: its file, its socket, and many who ask at once."""

import os
import re
import signal
import socket
import subprocess
import sys
import zipapp
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateways import web
from gateways.settings import SettingsError
from gateways.web_http import Response
from gateways.web_login import Door
from tests.architecture.source import ROOT
from tests.site import eventually

GOOD = 'servers = ["127.0.0.1:9"]\nsecret = "a-secret-of-24-characters"\nnas_identifier = "wiki"\n'
CHECK = b"GET /twofold/check HTTP/1.0\r\nHost: wiki\r\n\r\n"


def settings(folder: Path, more: str = "") -> Path:
    path = folder / "web.toml"
    path.write_text(GOOD + more)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file, as `make gateways` makes it."""
    folder = tmp_path_factory.mktemp("program")
    for package in ("gateways", "radius_client"):
        (folder / "stage" / package).mkdir(parents=True)
        for file in (ROOT / package).glob("*.py"):
            (folder / "stage" / package / file.name).write_bytes(file.read_bytes())
    made = folder / "twofold-web"
    zipapp.create_archive(folder / "stage", made, "/usr/bin/python3 -I", "gateways.web:main")
    return made


@contextmanager
def running(program: Path, file: Path, path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-I", str(program), "--settings", str(file), "--listen", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: answered(path) or process.poll() is not None, what="an answer")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def answered(path: Path, request: bytes = CHECK) -> bytes:
    """What comes back; nothing if nobody is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(30)
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return b""
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def test_one_file_serves_many_at_once_and_ends_when_it_is_told(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(program, settings(tmp_path), path) as process:
        assert path.stat().st_mode & 0o777 == 0o660
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(answered, [path] * 300))
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 401 Unauthorized"}
    assert process.returncode == 0


def test_who_says_nothing_keeps_nobody_waiting(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(program, settings(tmp_path), path):
        idle = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(100)]
        for sock in idle:
            sock.connect(str(path))
            sock.sendall(b"GET /")
        assert answered(path).startswith(b"HTTP/1.1 401 ")
        for sock in idle:
            sock.close()
        assert answered(path).startswith(b"HTTP/1.1 401 ")


def test_a_request_that_cannot_be_read_gets_a_page_and_the_next_is_served(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(program, settings(tmp_path), path):
        assert answered(path, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert answered(path, b"GET /<x> HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
        assert answered(path).startswith(b"HTTP/1.1 401 ")


# Before the second connection is waited for, when Python has looked for signals already.
TOLD_JUST_BEFORE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    static int calls;
    int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    if (++calls == 2)
        kill(getpid(), SIGTERM);
    return real(fd, address, length, flags);
}
"""


@pytest.mark.peer("cc")
def test_it_ends_when_it_is_told_to_just_before_it_waits(program: Path, tmp_path: Path) -> None:
    """Else systemd would wait for 90 seconds, and kill it."""
    (tmp_path / "told.c").write_text(TOLD_JUST_BEFORE)
    library = tmp_path / "told.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "told.c", "-ldl"], check=True)
    path, file = tmp_path / "socket", settings(tmp_path)
    command = [sys.executable, "-I", str(program), "--settings", str(file), "--listen", str(path)]
    environment = os.environ | {"LD_PRELOAD": str(library)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            eventually(lambda: connected(path), what="a first connection")
            eventually(lambda: process.poll() is not None, what="its end")
        finally:
            process.kill()
    assert process.returncode == 0


def connected(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        return sock.connect_ex(str(path)) == 0


def test_a_socket_that_somebody_serves_is_not_taken_away(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(program, settings(tmp_path), path):
        with pytest.raises(OSError, match="in use"):
            web.bound(str(path))
        assert answered(path)
    web.bound(str(path)).close()  # nobody is there any more
    web.bound(str(path)).close()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="use"):
        web.bound(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept"


def test_a_defect_lets_nobody_in_and_its_text_is_not_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    class Broken(Door):
        def __init__(self) -> None:
            pass

        def answer(self, request: object) -> Response:
            raise RuntimeError("what somebody typed")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(CHECK)
        answer = web._answer(ours, Broken())
    assert answer is not None
    assert answer.status == 500
    assert re.search(r"internal error RuntimeError at test_web\.py:\d+", caplog.text)
    assert "typed" not in caplog.text + answer.body.decode()


def test_times_are_written_with_their_unit(tmp_path: Path) -> None:
    for text, seconds in (("90s", 90), ("30m", 1800), ("8h", 28_800), ("7d", 604_800)):
        assert web.duration(tmp_path, "session_lifetime", text) == seconds
    for value in ("", "8", "0h", "8 h", "8w", "-1h", "8d", "1e3s", 8, 8.0, True, None, ["8h"]):
        with pytest.raises(SettingsError, match="session_lifetime"):
            web.duration(tmp_path, "session_lifetime", value)


@pytest.mark.parametrize(
    ("more", "named"),
    [("sessions = 3\n", "'sessions' is not known"), ('idle_lifetime = "0s"\n', "idle_lifetime is a time")],
)
def test_a_mistake_in_the_file_stops_it_with_a_line(tmp_path: Path, more: str, named: str) -> None:
    file, path = str(settings(tmp_path, more)), str(tmp_path / "s")
    command = [sys.executable, "-m", "gateways.web", "--settings", file, "--listen", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, named in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert not (tmp_path / "s").exists()


def test_a_socket_of_systemd_is_taken_only_if_it_is_meant_for_us() -> None:
    mine = str(os.getpid())
    for environment in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": mine, "LISTEN_FDS": "2"}):
        with pytest.raises(SettingsError, match=r"twofold-web\.socket"):
            web.handed_over(environment, os.getpid())
