"""Asking Twofold: one server after the other, until one answers.

Rules: only a signed reply counts (`radius_client`). Who has answered has decided; the next server is asked only if one
was silent. All get the same packet: the next one knows what the silent one has decided, so no PIN is lost, and none
works twice. A program that goes on remembers who was silent, or everybody would wait for a server that is down.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from gateways.settings import Settings
from radius_client.client import NoReply, RadiusClient, Reply

ASIDE = 30.0  # seconds that a server is asked after the others because it was silent

Server = tuple[str, int]


class Order:
    """In which order servers are asked: as they are configured, those last that were silent. Threads may share it."""

    def __init__(self, servers: Sequence[Server], clock: Callable[[], float] = time.monotonic) -> None:
        self._servers, self._clock = servers, clock
        self._aside: dict[Server, float] = {}  # until when
        self._lock = threading.Lock()

    def now(self) -> list[Server]:
        with self._lock:
            at = self._clock()
            return sorted(self._servers, key=lambda server: self._aside.get(server, at) > at)

    def silent(self, server: Server) -> None:
        with self._lock:
            self._aside[server] = self._clock() + ASIDE

    def answered(self, server: Server) -> None:
        with self._lock:
            self._aside.pop(server, None)


def ask(
    settings: Settings,
    user: str,
    password: str,
    state: bytes | None = None,
    attributes: Iterable[tuple[int, bytes]] = (),
    order: Order | None = None,
) -> Reply:
    """The reply to one login, or to the answer of a challenge with this `state`. Raises NoReply, and CannotAsk."""
    order = order or Order(settings.servers)
    clients = [RadiusClient(server, settings.secret, settings.nas_identifier) for server in order.now()]
    packet = clients[0].packet(user, password.encode("utf-8", "surrogateescape"), state, attributes)
    silent: list[str] = []
    for client in clients:
        try:
            reply = client.exchange(packet, settings.timeout)
        except NoReply as error:
            order.silent(client.server)
            silent.append(f"{client}: {error}")
            continue
        order.answered(client.server)
        return reply
    raise NoReply("; ".join(silent))
