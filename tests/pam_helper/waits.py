"""Something to wait for: in place of a login a conversation that waits, in place of a security key a task that ends
when the test says so. For tests of what carries such a conversation, which is real.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from pam_helper.dialogue import Desk
from pam_helper.rights import Asked
from pam_helper.steps import End, Show, Talk, Verdict, question, waiting
from tests.pam_helper.host import WITHIN, Host, Peer, hello


class Key:
    """Waits to be touched. It never ends by itself, and if it is deaf not even when it is told to."""

    def __init__(self, seconds: float = 30.0, *, deaf: bool = False, fails: bool = False) -> None:
        self.seconds = seconds
        self.touched = False
        self.cancelled = False
        self.uid: int | None = None
        self.say: Callable[[str], None] = print
        self.running, self.ended = threading.Event(), threading.Event()
        self._touch = threading.Event()
        self._deaf, self._fails = deaf, fails

    def touch(self) -> None:
        self._touch.set()

    def run(self, cancelled: threading.Event, say: Callable[[str], None]) -> None:
        self.say = say
        self.uid = _file_system_uid()
        self.running.set()
        try:
            while not self._touch.wait(0.01) and (self._deaf or not cancelled.is_set()):
                pass
            self.cancelled = cancelled.is_set()
            if self._fails:
                raise RuntimeError("geheim")
            self.touched = self._touch.is_set()
        finally:
            self.ended.set()


def _file_system_uid() -> int:
    """Of this thread, by the kernel."""
    status = Path("/proc/thread-self/status").read_text()
    return int(status.split("Uid:")[1].split()[3])


class Waits:
    """In place of a login: waits for a key, asks for a PIN if a line was typed, and says yes to whichever is right."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.make: Callable[[], Key] = Key
        self.answers: list[str | None] = []

    def talk(self, asked: Asked, desk: Desk) -> Talk:
        key = self.make()
        self.keys.append(key)
        yield Show("Touch it")
        answer = yield from waiting(key)
        self.answers.append(answer)
        if key.touched:
            yield End(Verdict.SUCCESS)
        pin = yield from question("PIN: ")
        yield End(Verdict.SUCCESS if pin == "123456" else Verdict.DENIED)

    def asked(self, host: Host) -> tuple[Peer, Key]:
        """A peer that is told to wait, and the key it waits for."""
        peer, count = host.peer(), len(self.keys)
        peer.send(hello(service="login", user="alice"))
        assert peer.take() == ("I", b"Touch it")
        kind, payload = peer.take() or ("", b"")
        assert (kind, len(payload)) == ("T", 4)
        key = self.keys[count]
        assert key.running.wait(WITHIN)
        return peer, key


def tasks() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "twofold-task"]
