"""/dev/hidraw0 and so on for programs of their own: plugging software keys in and out while these run.

Rules: programs have to be started by `Ports.command`, or with `Ports.environment`; to every other one nothing happens,
and no rights are needed. `hidshim.c` is preloaded into them and says what the files in the folder mean. The folder
must be visible to the program under the same path. The keys stay in this process, where tests script them.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.peers import peers
from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ctaphid import Session

SOURCE = Path(__file__).with_name("hidshim.c")
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-Wall", "-Wextra", "-Werror", "-shared")


class Ports:
    """A context: at its end everything is unplugged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._shim = folder / "hidshim.so"
        subprocess.run([peers.require("cc"), *FLAGS, "-o", self._shim, SOURCE, "-ldl"], check=True)
        self._lock = threading.Lock()
        self._ports: dict[str, _Port] = {}

    def __enter__(self) -> "Ports":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for port in list(self._ports.values()):
            self.unplug(port.key)

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTWARE_KEY_DIR": str(self._folder), "LD_PRELOAD": str(self._shim)}

    def command(self, *program: str | Path) -> list[str]:
        """A command line for the program with keys; `World.start` takes it as it is."""
        return ["env", *(f"{name}={value}" for name, value in self.environment.items()), *map(str, program)]

    def plug(self, key: SoftwareKey, *, denied: bool = False) -> str:
        """The path of its device. With `denied` the device is there and may not be opened."""
        with self._lock:
            number = next(n for n in range(100) if f"hidraw{n}" not in self._ports)
            name = f"hidraw{number}"
            self._mark(name, "name", key.name)
            self._mark(name, "serial", key.serial)
            if denied:
                self._mark(name, "denied", "")
            key.power_cycle()
            self._ports[name] = _Port(key, self._folder, name, vanish=lambda: self.unplug(key))
        return f"/dev/{name}"

    def unplug(self, key: SoftwareKey) -> None:
        """Whoever has it open finds it gone. A key that is not plugged in may be unplugged, too."""
        with self._lock:
            names = [name for name, port in self._ports.items() if port.key is key]
            gone = [self._ports.pop(name) for name in names]
        for port in gone:
            port.close()

    def allow(self, key: SoftwareKey) -> None:
        """It may be opened again."""
        for name, port in self._ports.items():
            if port.key is key:
                (self._folder / f"{name}.denied").unlink(missing_ok=True)

    def _mark(self, name: str, what: str, text: str) -> None:
        (self._folder / f"{name}.{what}").write_text(text + "\n")


class _Port:
    """Listens as one device."""

    def __init__(self, key: SoftwareKey, folder: Path, name: str, vanish: Callable[[], None]) -> None:
        self.key = key
        self._folder, self._name, self._vanish = folder, name, vanish
        self._lock = threading.Lock()
        self._open = True
        self._sessions: list[tuple[Session, threading.Thread]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._bind()
        self._thread = threading.Thread(target=self._accept, name="software-key-port", daemon=True)
        self._thread.start()

    def _bind(self) -> None:
        """It appears once it listens. The address goes through a descriptor, as paths of tests are long."""
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            self._listener.bind(f"/proc/self/fd/{folder}/{self._name}.new")
            self._listener.listen(16)
            os.rename(f"{self._name}.new", self._name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                wire, _ = self._listener.accept()
                with self._lock:
                    if not self._open:
                        wire.close()
                        return
                    session = Session(self.key, wire, self._vanish)
                    self._sessions = [(old, thread) for old, thread in self._sessions if thread.is_alive()]
                    self._sessions.append((session, session.start()))

    def close(self) -> None:
        for left in self._folder.glob(f"{self._name}.*"):
            left.unlink()
        (self._folder / self._name).unlink()
        with self._lock:
            self._open = False
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *self._hang_up()):
            if thread is not threading.current_thread():
                thread.join(60)
        self._listener.close()

    def _hang_up(self) -> list[threading.Thread]:
        for session, _ in self._sessions:
            session.hang_up()
        return [thread for _, thread in self._sessions]
