"""`twofold-web`: login pages and sessions for web applications behind nginx, which asks it about each request.

Rules: it listens on a Unix socket that only the web server may reach, one that systemd hands it or `--listen`. Each
request has a thread and a bounded time, and there is a bound on how many there are, so that a crowd at the login waits
outside. What it serves is forgotten when it ends.
"""

import argparse
import logging
import os
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from gateways import web_pages
from gateways.settings import SettingsError, load
from gateways.web_http import PATIENCE, BadRequest, Response, read
from gateways.web_login import Door
from gateways.web_sessions import Questions, Sessions

SETTINGS = Path("/etc/twofold/web.toml")
LIFETIME, IDLE = "8h", "1h"
LONGEST = 7 * 86_400.0  # seconds
CONNECTIONS = 256  # at once; the others wait in the queue of the socket
FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_log = logging.getLogger("twofold.web")


def main() -> None:
    parser = argparse.ArgumentParser(prog="twofold-web", description="Login pages and sessions behind nginx.")
    parser.add_argument("--settings", type=Path, default=SETTINGS, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--listen", metavar="SOCKET", help="path of a Unix socket; default: the one of systemd")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    _end_when_told()
    try:
        door = door_of(chosen.settings)
        listener = bound(chosen.listen) if chosen.listen else handed_over(os.environ, os.getpid())
    except (SettingsError, OSError) as error:
        sys.exit(f"twofold-web: {error}")
    _log.info("listening on=%s", listener.getsockname())
    serve(listener, door)


def _end_when_told() -> None:
    """A signal that comes when Python is about to wait for a connection is not looked at before somebody connects. So a
    thread waits for it, and nobody else gets it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    signal.sigwait({signal.SIGTERM})
    os._exit(0)  # there is nothing to tidy up


def door_of(path: Path) -> Door:
    """Raises SettingsError."""
    settings, more = load(path, frozenset({"session_lifetime", "idle_lifetime"}))
    lifetime = duration(path, "session_lifetime", more.get("session_lifetime", LIFETIME))
    idle = duration(path, "idle_lifetime", more.get("idle_lifetime", IDLE))
    return Door(settings, Sessions(lifetime, idle), Questions())


def duration(path: Path, key: str, value: object) -> float:
    """`8h`, `30m`, `1d` in seconds. Raises SettingsError."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", value) if isinstance(value, str) else None
    length = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < length <= LONGEST:
        raise SettingsError(f'{path}: {key} is a time of at most seven days, for example {key} = "8h"')
    return float(length)


def handed_over(environment: Mapping[str, str], process: int) -> socket.socket:
    """The listening socket of systemd. Raises SettingsError."""
    if environment.get("LISTEN_PID") != str(process) or environment.get("LISTEN_FDS") != "1":
        raise SettingsError("systemd handed over no socket: start twofold-web.socket, or say --listen SOCKET")
    return socket.socket(fileno=FIRST_DESCRIPTOR)


def bound(path: str) -> socket.socket:
    """A socket at `path` for this user and its group. One that nobody answers at is replaced. Raises OSError."""
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.listen(socket.SOMAXCONN)
    return listener


def _clear(path: str) -> None:
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        try:
            other.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def serve(listener: socket.socket, door: Door, connections: int = CONNECTIONS) -> None:
    """Until the process ends."""
    places = threading.Semaphore(connections)
    while True:
        places.acquire()
        try:
            connection, _ = listener.accept()
        except ConnectionAbortedError:
            places.release()
            continue
        threading.Thread(target=_serve_one, args=(connection, door, places), daemon=True).start()


def _serve_one(connection: socket.socket, door: Door, places: threading.Semaphore) -> None:
    try:
        with connection:
            answer = _answer(connection, door)
            if answer is not None:
                connection.settimeout(PATIENCE)
                connection.sendall(answer.octets())
    except OSError:
        pass  # who asked has gone, or took too long
    finally:
        places.release()


def _answer(connection: socket.socket, door: Door) -> Response | None:
    try:
        request = read(connection)
        return door.answer(request) if request is not None else None
    except BadRequest as error:
        return web_pages.said("Not done", str(error), error.status)
    except OSError:
        raise
    except Exception as error:
        # A defect of ours, which lets nobody in. Its text could hold what somebody typed, its place does not.
        place = traceback.extract_tb(error.__traceback__)[-1]
        _log.error("internal error %s at %s:%s", type(error).__name__, Path(place.filename).name, place.lineno)
        return web_pages.said("Not done", "Something went wrong here.", HTTPStatus.INTERNAL_SERVER_ERROR)


if __name__ == "__main__":
    main()
