"""A piece of the product that is killed with SIGKILL a moment later each time: before its first statement, its second,
... or its COMMIT, and at whatever else is named.

Rule: each attempt is a process of its own, forked from one that has imported everything and opened nothing, so what a
killed one had open is gone with it. What attempts print goes to standard error.
"""

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from types import TracebackType

STATEMENTS = ("before_cursor_execute", "commit")  # of SQLAlchemy's engines
FILES = ("os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove")  # audit events of Python's
KILLED = signal.SIGKILL.value  # as os.waitpid says it

COMMAND = "import store.cli.main", "sys.exit(store.cli.main.run(sys.argv[1:]))"

# Prints how the process ended, as os.waitpid says it, for each line that it reads: the number of the moment.
_PROGRAM = """
import os, signal, sys, traceback
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
{imports}
for line in sys.stdin:
    child = os.fork()
    if not child:
        left = int(line)
        def die(*_):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        for name in {statements!r}:
            event.listen(Engine, name, die)
        sys.addaudithook(lambda name, _: die() if name in {files!r} else None)
        os.dup2(2, 1)
        status = 0
        try:
            {what}
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 99
        os._exit(status)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Killer:
    """`what` is one line of Python after `imports`; `arguments` are its `sys.argv[1:]`."""

    def __init__(
        self,
        imports: str,
        what: str,
        *arguments: str,
        statements: Iterable[str] = STATEMENTS,
        files: Iterable[str] = (),
    ) -> None:
        program = _PROGRAM.format(imports=imports, what=what, statements=tuple(statements), files=tuple(files))
        whole, pipe = [sys.executable, "-c", program, *arguments], subprocess.PIPE
        self._process = subprocess.Popen(whole, stdin=pipe, stdout=pipe, text=True)

    def __enter__(self) -> "Killer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate(timeout=60)

    def run(self, moment: int) -> int:
        """How it ended that was to be killed at this moment, counted from 0: `KILLED`, or 0 if it had none so late."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{moment}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def kills(self) -> Iterator[int]:
        """The number of each moment at which one was killed, until one ends well."""
        moment = 0
        while ended := self.run(moment):
            assert ended == KILLED, f"status {ended} at moment {moment}"
            yield moment
            moment += 1
