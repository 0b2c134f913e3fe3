"""The clients of the store, followed while the server runs; and which addresses of `auto` clients have signed.

Rule: once an address has signed, it must sign always, also after a restart (R-041).
"""

import asyncio
import time
from collections.abc import Callable

from radius_server.clients import ClientTable, Sender
from radius_server.log import line, log
from validation.errors import TwofoldError
from validation.gate import Gate
from validation.model import Client, MessageAuthenticatorRule
from validation.requests import RememberSigner

POLL = 0.5  # seconds


class ClientRows:
    def __init__(self, gate: Gate, store_silent: Callable[[Exception], None]) -> None:
        """Reads them once. Raises StoreUnavailable."""
        self._gate = gate
        self._store_silent = store_silent
        self._signed: set[tuple[str, int, str]] = set()
        self._table = self._read()

    def sender(self, peer: str) -> Sender:
        return self._table.sender(peer)

    async def follow(self, each_time: Callable[[float], None]) -> None:
        """For ever: look for changes, and call `each_time` with the monotonic time."""
        while True:
            await asyncio.sleep(POLL)
            each_time(time.monotonic())
            try:
                table = await asyncio.get_running_loop().run_in_executor(None, self._newer)
            except Exception as error:
                self._store_silent(error)
                continue
            if table is not None:
                self._table = table

    def _newer(self) -> ClientTable | None:
        return self._read() if self._gate.clients_generation() != self._table.generation else None

    def _read(self) -> ClientTable:
        generation = self._gate.clients_generation()  # before the rows: a change in between is read next time
        return ClientTable(self._gate.clients(), generation)

    # --- auto clients -------------------------------------------------------------------------------------------

    def must_sign(self, client: Client, address: str) -> bool:
        if client.message_authenticator is not MessageAuthenticatorRule.AUTO:
            return False
        return address in client.signed_sources or (client.name, client.version, address) in self._signed

    def remember_signer(self, client: Client, address: str) -> None:
        if client.message_authenticator is not MessageAuthenticatorRule.AUTO or self.must_sign(client, address):
            return
        key = (client.name, client.version, address)
        self._signed.add(key)
        command = RememberSigner(name=client.name, address=address, actor="radius")
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, self._save_signer, command, key, loop)

    def _save_signer(self, command: RememberSigner, key: tuple[str, int, str], loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._gate.administer(command)
        except TwofoldError as error:
            log.error(line("remember-failed", client=command.name, error=error))
            loop.call_soon_threadsafe(self._signed.discard, key)  # the next signed request tries again
