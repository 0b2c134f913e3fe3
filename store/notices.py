"""`[notify] command`: tells a program of events, after they are committed and never on the road of a login.

Rules: each event is one JSON object on the program's standard input. One at a time, in a thread; a program that
fails, hangs or is missing is logged and costs nothing else. The audit trail has every event anyway. Secrets are in
none.
"""

import atexit
import json
import logging
import queue
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from validation.changes import Audit
from validation.messages import printable
from validation.ports import Notices

_log = logging.getLogger("twofold.notify")

# What an administrator must be able to find in the log of a server, whether or not a program is told.
ALARMS = frozenset({"password_maybe_stolen", "token_disabled", "source_held", "security_key_copied"})

TIME_LIMIT = 30.0  # seconds for one run of the program
WAITING_MOST = 1000  # events; more than that are only in the audit trail
DRAIN_AT_EXIT = 10.0  # seconds a command line waits for what it has just told


class NoNotices:
    """Nobody asked to be told; the log has the alarms all the same."""

    def tell(self, audit: Audit) -> None:
        _log_alarm(audit)


class CommandNotices:
    """Runs `command` for each event."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._waiting: queue.Queue[Audit | None] = queue.Queue(WAITING_MOST)
        self._thread: threading.Thread | None = None

    def tell(self, audit: Audit) -> None:
        _log_alarm(audit)
        try:
            self._waiting.put_nowait(audit)
        except queue.Full:
            _log.error("notify: %d events are waiting; %s was not told", WAITING_MOST, audit.notice)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="twofold-notify", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no room for one now; the next event tries again
            _log.error("notify: %s; %d events are waiting", error, self._waiting.qsize())
            return
        self._thread = thread
        atexit.register(self.close)

    def close(self) -> None:
        """Wait a while for what was told to be passed on."""
        if self._thread is not None and self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(DRAIN_AT_EXIT)

    def _run(self) -> None:
        while (audit := self._waiting.get()) is not None:
            self._pass_on(audit)

    def _pass_on(self, audit: Audit) -> None:
        try:
            subprocess.run(
                self._command,
                input=json.dumps(event(audit)).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIME_LIMIT,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            _log.error("notify: %s failed for event %s: %s", self._command[0], audit.notice, type(error).__name__)


def _log_alarm(audit: Audit) -> None:
    if audit.notice in ALARMS:
        about = (audit.user, audit.client or audit.face, audit.source, audit.serial)
        _log.warning(
            "alarm %s: user=%s client=%s source=%s token=%s", audit.notice, *(printable(x) or "-" for x in about)
        )


def event(audit: Audit) -> dict[str, Any]:
    """What the program reads."""
    names = ("at", "decision", "reason", "user", "client", "face", "source", "serial", "actor", "request_id", "detail")
    return {"event": audit.notice, "action": audit.event, **{name: getattr(audit, name) for name in names}}


def notices_for(command: Sequence[str]) -> Notices:
    return CommandNotices(command) if command else NoNotices()
