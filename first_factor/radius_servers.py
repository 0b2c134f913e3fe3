"""Several RADIUS servers that know the same passwords: whom to ask, who is left aside, and how one comes back.

Rules: they are asked in the configured order until one answers; a silent one is left aside and asked last. It comes
back when it answers a Status-Server (RFC 5997), or, for servers that answer none, when a login tries it. Who answered
others while one request waited is not dead: that request alone was not answered. Probes go out only while people log
in.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from first_factor.turns import Turns
from radius_client.client import NoReply, RadiusClient, Reply

_log = logging.getLogger("twofold.first_factor")

PROBE_EVERY = 5.0  # seconds
_LEAST = 0.2  # seconds; less is no time to answer in


class RadiusServers:
    def __init__(
        self, clients: Sequence[RadiusClient], timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Each server has `timeout` seconds to answer in."""
        self._timeout = timeout
        self._clock = clock
        self._turns = Turns(clients, clock)
        self._lock = threading.Lock()
        self._heard = dict.fromkeys(clients, float("-inf"))
        self._next_probe: dict[RadiusClient, float] = {}  # of those left aside

    def login(self, user: str, password: bytes, until: float) -> tuple[RadiusClient, Reply]:
        """Ask until one answers. Raises CannotAsk, and NoReply by the time `until`."""
        self._probe_silent_ones()
        said = []
        for client in self._turns.order():
            began = self._clock()
            within = min(self._timeout, until - began)
            if within < _LEAST:
                break
            try:
                reply = client.login(user, password, within=within)
            except NoReply as error:
                said.append(f"{client}: {error}")
                self._silent(client, began, error)
                continue
            self._answered(client)
            return client, reply
        raise NoReply("; ".join(said) or "no time was left to ask")

    def _silent(self, client: RadiusClient, began: float, error: NoReply) -> None:
        with self._lock:
            if self._heard[client] > began:
                return
            self._next_probe.setdefault(client, self._clock() + PROBE_EVERY)
        if self._turns.failed(client):
            _log.error("RADIUS server %s does not answer: %s; it is left aside", client, error)

    def _answered(self, client: RadiusClient) -> None:
        with self._lock:
            self._heard[client] = self._clock()
            self._next_probe.pop(client, None)
        if self._turns.answered(client):
            _log.warning("RADIUS server %s answers again", client)

    # --- probes ---------------------------------------------------------------------------------------------

    def _probe_silent_ones(self) -> None:
        """Nobody waits for a probe."""
        with self._lock:
            now = self._clock()
            due = [client for client, at in self._next_probe.items() if at <= now]
            for client in due:
                self._next_probe[client] = now + self._timeout + PROBE_EVERY
        for client in due:
            thread = threading.Thread(target=self._probe, args=(client,), name="twofold-probe", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread to be had: the next login tries again
                return

    def _probe(self, client: RadiusClient) -> None:
        try:
            client.status(self._timeout)
        except NoReply:
            return
        self._answered(client)
