"""What stands between a server and its database: a line that can be cut, held up, or lose the answer to a COMMIT.

Rules: octets pass unchanged and in order, or the connection ends; what is lost is lost at its end, as on a network
that breaks. `heal` ends what hangs: then both sides find out. One thread, its own event loop.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_COMMIT = b"COMMIT\0"
_READ = 65_536


class Loss(Enum):
    """What becomes of a COMMIT; its connection is gone afterwards."""

    BEFORE = "lost before the database had it"
    AFTER = "done, and the answer lost"
    SILENT = "done, and never answered"  # until the line heals


class Proxy:
    """Listens on loopback, and goes on to the Unix socket of a PostgreSQL server."""

    def __init__(self, there: Path) -> None:
        self._there = there
        self._losses: list[Loss] = []  # of the COMMITs to come
        self._lines: set[asyncio.StreamWriter] = set()
        self._hold = asyncio.Event()
        self._hangs = False  # a connection is open on which nothing will come any more
        self.delay = 0.0  # seconds for everything that passes
        self.refuses = False  # new connections
        self.done = Counter[Loss]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    # --- from any thread ----------------------------------------------------------------------------------------

    def lose(self, loss: Loss, commits: int = 1) -> None:
        self._losses += [loss] * commits

    def cut(self) -> None:
        """All connections end now."""
        self._loop.call_soon_threadsafe(self._cut)

    def hold(self) -> None:
        """Nothing passes until `heal`, and nobody is told."""
        self._loop.call_soon_threadsafe(self._hold.clear)

    def heal(self) -> None:
        hangs = self._hangs or not self._hold.is_set()
        self.delay, self.refuses, self._losses, self._hangs = 0.0, False, [], False
        if hangs:
            self.cut()
        self._loop.call_soon_threadsafe(self._hold.set)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # --- in the event loop --------------------------------------------------------------------------------------

    async def _start(self) -> int:
        self._hold.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _stop(self) -> None:
        """Whatever of it were left would be collected during some other test, and be called that test's fault."""
        self._server.close()
        self._cut()
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await asyncio.sleep(0)  # a connection that was just taken begins its task the next time round
        await asyncio.sleep(0)  # and one that was aborted closes its socket then

    def _cut(self) -> None:
        for writer in list(self._lines):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        try:
            theirs, there = await asyncio.open_unix_connection(self._there)
        except OSError:
            writer.transport.abort()
            return
        line = _Line()
        self._lines |= {writer, there}
        try:
            both = [self._up(line, reader, there), self._down(line, theirs, writer)]
            await asyncio.wait(map(asyncio.ensure_future, both), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, there):
                end.transport.abort()
                self._lines.discard(end)

    async def _up(self, line: "_Line", reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(_READ):
                await self._wait()
                if _COMMIT in octets and self._losses:
                    line.loss = self._losses.pop(0)
                    self.done[line.loss] += 1
                    self._hangs |= line.loss is Loss.SILENT
                if line.loss is Loss.BEFORE:
                    return
                there.write(octets)
                await there.drain()

    async def _down(self, line: "_Line", theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while octets := await theirs.read(_READ):
                await self._wait()
                if line.loss is Loss.AFTER:
                    return
                if line.loss is Loss.SILENT:
                    continue
                writer.write(octets)
                await writer.drain()

    async def _wait(self) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._hold.wait()


@dataclass
class _Line:
    """One connection through the proxy."""

    loss: Loss | None = None
