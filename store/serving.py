"""What the long-running commands have in common: their log, and how they talk to systemd.

Rules: no core file is ever left, it would hold secrets. Nobody waits for ever for a thread to begin. systemd is told
only what is true: ready when requests are answered, alive while those that serve them are.
"""

import contextlib
import logging
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping

from store.config import Config

TEXT = "%(asctime)s %(levelname)s %(message)s"

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"

UPKEEP_EVERY = 10.0  # seconds
BEGINS_WITHIN = 10  # seconds, for a thread


def set_up_process(debug: bool = False, formatter: logging.Formatter | None = None) -> None:
    """Log to standard error, as text unless told otherwise, and never leave a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    let_threads_begin_or_fail()
    _log_only_what_is_shown()
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG if debug else logging.INFO, format=TEXT)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    set_log_format(formatter)


class _Begun(threading.Event):
    """What `Thread.start` waits for. A thread that finds no memory ends before it has said that it runs, and Python
    waits for it for ever (python/cpython#140746), often with a lock for which all others wait then."""

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            return super().wait(timeout)
        # In parts, since a process that is stopped loses one of them alone.
        if any(super(_Begun, self).wait(1.0) for _ in range(BEGINS_WITHIN)):
            return True
        raise RuntimeError("a thread was started and did not begin")


def let_threads_begin_or_fail() -> None:
    """Those of libraries, too: `start` raises RuntimeError, as it does where no thread is to be had."""
    usual = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if self.ident is None:  # else it is refused
            setattr(self, "_started", _Begun())  # noqa: B010 - no type knows it
        try:
            usual(self)
        except RuntimeError:
            getattr(threading, "_limbo", {}).pop(self, None)  # nor may it begin later, or keep what it was given
            raise

    setattr(threading.Thread, "start", start)  # noqa: B010 - mypy forbids it otherwise


def _log_only_what_is_shown() -> None:
    """Thread, process and place in the source are found out for each line otherwise (Python's Logging HOWTO,
    "Optimization")."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    setattr(logging, "_srcfile", None)  # noqa: B010 - the name is that of the HOWTO, and no type knows it


def set_log_format(formatter: logging.Formatter | None) -> None:
    """From the next line on; None: text."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter or logging.Formatter(TEXT))


def stand_back(by: int) -> None:
    """The calling thread, behind others of its service: on Linux niceness is a thread's own (nice(2)).

    Under a flood whoever reads packets must come first, then whoever decides, then whoever hashes passwords: a socket
    that is not read runs over, and answers to challenges are lost in it.
    """
    with contextlib.suppress(OSError):  # forbidden where the program is locked in; then all are alike
        os.nice(by)


def tell_systemd(state: str) -> None:
    """sd_notify(3). Does nothing where no systemd has asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending,
    ):
        sending.connect("\0" + address[1:] if address.startswith("@") else address)
        sending.send(state.encode())


def reloading() -> str:
    """The state to tell when a reload begins; `READY` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear that we are alive (sd_watchdog_enabled(3)); None: not at all."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if microseconds.isdigit() and int(microseconds) else None


def upkeep(config: Config) -> Callable[[], None]:
    """What a server does for its host every `UPKEEP_EVERY` seconds, off the road of a login. Never raises."""
    from store.ballast import Ballast

    return (lambda: None) if config.url else Ballast(config.database).keep
