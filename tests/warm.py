"""`twofold ARGUMENTS` from a process that has imported everything already: most of a short command is its imports.

Rules: each command is a fork of its own of a process that has done nothing but import, with the arguments, environment,
folder, umask, input and output of whoever typed it; nothing of one command is left for the next. What is about the
process itself (signals, terminals, limits, its rights) is tested with `TWOFOLD`, a process from the beginning.

`python -IS warm.py SOCKET ARGUMENTS…` types a command, `python warm.py SOCKET` serves until its input ends.
"""

import contextlib
import marshal
import os
import socket
import sys

TYPE_CHECKING = False  # whoever types a command is spared every import
if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCT = ("validation", "store", "first_factor", "radius_server", "pam_helper")
NUMBER = 4  # octets of the length of what follows; of a process; of how it ended


def typed(path: str, arguments: list[str]) -> int:
    """Has the command run, and waits for its exit code."""
    with started(path, arguments, [0, 1, 2])[1] as line:
        return max(1, status) if (status := ended(line)) else 0


def started(path: str, arguments: list[str], files: list[int]) -> "tuple[int, socket.socket]":
    """The process of a command that was begun with these files, and the line on which its end will be told."""
    os.umask(mask := os.umask(0))
    command = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "umask": mask}
    text = marshal.dumps(command)
    line = socket.socket(socket.AF_UNIX)
    line.connect(path)
    socket.send_fds(line, [len(text).to_bytes(NUMBER, "big")], files)
    line.sendall(text)
    return int.from_bytes(line.recv(NUMBER, socket.MSG_WAITALL), "big"), line


def ended(line: socket.socket) -> int:
    """Waits for the end: the exit code, or minus the signal that ended it."""
    octets = line.recv(NUMBER, socket.MSG_WAITALL)
    return os.waitstatus_to_exitcode(int.from_bytes(octets, "big")) if octets else 1  # nobody is left to tell it


def serve(path: str) -> None:
    import gc
    import select
    import signal

    from store.cli.main import main

    _import_everything()
    gc.freeze()  # what all share is not written to
    os.setsid()  # nobody's terminal
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{path}.new")
        listening.listen(64)
        os.rename(f"{path}.new", path)  # whoever sees it may connect
        while listening.fileno() in select.select([listening.fileno(), 0], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                _run(connection, main)
            connection.close()


def _import_everything() -> None:
    import importlib
    import pkgutil

    for name in PRODUCT:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if ".migrations" not in module.name:  # these want to be run
                importlib.import_module(module.name)
    for name in ("alembic.command", "rich.progress", "rich.table", "sqlalchemy.dialects.sqlite.pysqlite"):
        importlib.import_module(name)


def _run(connection: socket.socket, main: "Callable[[], None]") -> None:
    """In a fork: one more runs the command, so that its end can be told whatever it is. First its number is told."""
    header, files, _, _ = socket.recv_fds(connection, NUMBER, 3)
    text = b""
    while len(text) < int.from_bytes(header, "big"):
        text += connection.recv(65_536)
    child = os.fork()
    if child == 0:
        connection.close()
        _become(marshal.loads(text), files)
        _end(main)
    for file in (*files, 0, 1, 2):
        os.close(file)
    with contextlib.suppress(OSError):  # whoever typed it is gone
        connection.send(child.to_bytes(NUMBER, "big"))
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.send(status.to_bytes(NUMBER, "big"))
    os._exit(0)


def _end(main: "Callable[[], None]") -> None:
    """Runs it and ends as Python does, but for taking apart what has been imported."""
    import atexit
    import traceback

    status = 1
    try:
        main()
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def _become(command: dict[str, object], files: list[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1, errors="backslashreplace")
    os.chdir(str(command["folder"]))
    os.umask(int(str(command["umask"])))
    os.environ.clear()
    os.environ.update(command["environment"])  # type: ignore[call-overload]
    sys.argv = ["twofold", *command["arguments"]]  # type: ignore[misc]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(typed(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1])
