"""Spoiled requests over the whole way through a running server, from a seed.

    python -m tests.radius_server.fuzz [--packets N] [--seed S]

Requests of every kind are changed in one to three ways and sent from clients of every mode and rule and from strangers,
over IPv4 and IPv6; those that get through their checks are decided and committed like every other. In between somebody
logs in rightly, again and again. Prints the rate, the resident memory and the server's own counters; exit status 1 if a
login failed, the server ended, wrote of an error, or grew by 20 MiB after a fiftieth more packets to warm up, which
fill the caches that are bounded.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.flows.crowd import ask_all, numbered
from tests.radius_server.live import Person, new_person
from tests.radius_server.mutating import Mutator
from tests.site import SECRET, TWOFOLD, ServerProcess, Site, eventually
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, Reply, access_request, status_server
from validation.model import MessageAuthenticatorRule, Mode

WARM_UP = 8000  # packets
AT_ONCE = 50
GROWTH_MOST = 20 * 1024  # KiB
LOGIN_EVERY = 1000  # packets
PARTS = 20
MOMENT = 0.5  # seconds

SIGNED, LOOSE, APPEND, ASKING, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.9.9"
WELL = "127.0.0.5"  # whose packets are never spoiled; of its own, because Status-Servers are counted by client
SIX = "::1"  # a stranger at first, then a client
# In a hundred; a password costs as much as fifty other packets.
SHARES = {SIGNED: 50, LOOSE: 32, APPEND: 1, ASKING: 1, STRANGER: 6, SIX: 10}
TROUBLE = ("Traceback", "Exception", "decision failed", "asyncio", "internal-error", "internal_error", "-failed")


def new_site(folder: Path) -> Site:
    site = Site(folder, '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0", "[::1]:0"]\n')
    off = MessageAuthenticatorRule.OFF
    site.add_client("signed", f"{SIGNED}/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("well", f"{WELL}/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("loose", f"{LOOSE}/32", mode=Mode.PASSCODE_ONLY, rule=off)
    site.add_client("append", f"{APPEND}/32", mode=Mode.APPEND, rule=off)
    site.add_client("asking", f"{ASKING}/32", rule=off)
    new_person(site, "alice")
    return site


@dataclass
class Result:
    """What a run came to. `trouble` is empty if all is well."""

    packets: int
    seconds: float
    replies: int
    logins: int
    before: int  # KiB resident
    after: int
    counters: str
    trouble: list[str]

    def __str__(self) -> str:
        return (
            f"{self.packets} packets in {self.seconds:.0f} s ({self.packets / self.seconds:.0f} a second), "
            f"{self.replies} replies, {self.logins} good logins in between\n"
            f"resident memory {self.before} KiB + {self.after - self.before} KiB\n"
            f"the server's counters: {self.counters}\n" + "\n".join(self.trouble)
        )


class Run:
    """Sends spoiled packets, a few at a time, and waits each time until the server is through with them."""

    def __init__(self, site: Site, server: ServerProcess, dice: random.Random) -> None:
        self._site = site
        self._server = server
        self._dice = dice
        self._mutator = Mutator(dice)
        self._sockets = ExitStack()
        four, six = server.addresses
        self._nas = {s: self._open(six if s == SIX else four, s) for s in SHARES}
        self._probe = self._open(four, WELL)
        self._bob: Person = new_person(site, "bob")
        self._states: deque[bytes] = deque(maxlen=50)
        self.replies = self.logins = 0

    def _open(self, address: tuple[str, int], source: str) -> Nas:
        return self._sockets.enter_context(Nas(address, SECRET, source))

    def close(self) -> None:
        self._sockets.close()

    def warm_up(self, packets: int = WARM_UP) -> None:
        """Every thread has hashed a password; then the caches fill."""
        for _ in range(16):  # few at a time: a busy machine would be too late for many
            crowd = numbered(SECRET, [(f"nobody{n}", "geheim123456") for n in range(4)])
            assert {reply.code for reply in ask_all(self._nas[APPEND], crowd)} == {REJECT}
        self.send(packets // 2)
        assert not self._arrived_at(STRANGER)
        self._site.add_client("six", f"{SIX}/128", mode=Mode.PASSCODE_ONLY)
        eventually(lambda: self._answers(self._nas[SIX]), what="a client over IPv6 that is served")
        self.send(packets // 2)

    @staticmethod
    def _answers(nas: Nas) -> bool:
        nas.send(status_server(SECRET).data)
        return nas.receive(0.5) is not None

    def send(self, count: int) -> None:
        for at in range(0, count, AT_ONCE):
            for source in self._dice.choices([*SHARES], [*SHARES.values()], k=AT_ONCE):
                self._nas[source].send(self._mutator.spoiled(self._dice.random() < 0.5))
            assert self._probe.ask(status_server(SECRET), timeout=30).code == ACCEPT
            self.replies += sum(len(self._arrived_at(source)) for source in SHARES)
            if at % LOGIN_EVERY == 0:
                self._log_in()

    def _log_in(self) -> None:
        request = access_request(SECRET, "bob", self._bob.pin(self.logins))
        assert self._probe.ask(request, timeout=30).code == ACCEPT
        self.logins += 1

    def _arrived_at(self, source: str) -> list[Reply]:
        found = list(arrived_now(self._nas[source]))
        self._states.extend(state for reply in found if reply.code == CHALLENGE for state in reply.values(24))
        self._mutator.states = list(self._states)
        return found

    def measure(self, packets: int, watched: bool = False) -> Result:
        """After `warm_up`. Ends the server."""
        before, began, warm = self._resident_kib(), time.monotonic(), self.replies
        for part in range(PARTS):
            self.send(packets // PARTS)
            if watched:
                done, kib = packets // PARTS * (part + 1), self._resident_kib()
                print(f"  {done} packets in {time.monotonic() - began:.0f} s, {kib} KiB", flush=True)
        seconds, after = time.monotonic() - began, self._resident_kib()
        trouble = [] if self._server.process.poll() is None else ["the server ended by itself"]
        self._server.end()
        if self._server.process.returncode != 0:
            trouble.append(f"the server ended with {self._server.process.returncode}")
        if after - before >= GROWTH_MOST:
            trouble.append(f"the server grew by {after - before} KiB")
        trouble += [text for text in self._server.log.splitlines() if any(word in text for word in TROUBLE)]
        counters = re.findall(r" stopped (.*)", self._server.log)[-1:] or ["none"]
        return Result(packets, seconds, self.replies - warm, self.logins, before, after, counters[0], trouble)

    def _resident_kib(self) -> int:
        """The least of a moment: a password that is being hashed takes 19 MiB for as long as that."""
        until, least = time.monotonic() + MOMENT, self._server.resident_kib()
        while time.monotonic() < until:
            assert self._probe.ask(status_server(SECRET), timeout=30).code == ACCEPT
            least = min(least, self._server.resident_kib())
        return least


def arrived_now(nas: Nas) -> Iterator[Reply]:
    nas.sock.setblocking(False)
    try:
        while True:
            yield Reply(nas.sock.recv(4096))
    except BlockingIOError:
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.packets} packets", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        site = new_site(Path(folder) / "site")
        with site.server(program=TWOFOLD) as server:
            run = Run(site, server, random.Random(chosen.seed))
            try:
                run.warm_up(max(WARM_UP, chosen.packets // 50))
                result = run.measure(chosen.packets, watched=True)
            finally:
                run.close()
    print(result)
    return 1 if result.trouble else 0


if __name__ == "__main__":
    sys.exit(main())
