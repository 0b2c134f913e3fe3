"""The real `twofold`, which kills itself with SIGKILL before or after the next COMMIT once an armed file is there.

Started as `python failpoint_server.py before|after ARMED ARGUMENT...`; the arguments are those of `twofold`.
"""

import os
import signal
import sys
from pathlib import Path

from sqlalchemy import Connection

from store.cli import main
from store.connections import Connections


def install(when: str, armed: Path) -> None:
    commit, first = Connections._commit, os.getpid()

    def die() -> None:
        for pid in (first, os.getpid()):  # a server decides in a process that it has forked
            os.kill(pid, signal.SIGKILL)

    def commit_and_die(self: Connections, connection: Connection) -> None:
        if when == "before" and armed.exists():
            die()
        commit(self, connection)
        if when == "after" and armed.exists():
            die()

    Connections._commit = commit_and_die  # type: ignore[method-assign]


if __name__ == "__main__":
    install(sys.argv[1], Path(sys.argv[2]))
    main.main(sys.argv[3:])
