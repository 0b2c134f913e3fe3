"""Asking Twofold: one server after the other, until one answers.

Rules: only a signed reply counts (`radius_client`). Who has answered has decided; the next server is asked only if one
was silent. All get the same packet: the next one knows what the silent one has decided, so no PIN is lost, and none
works twice.
"""

from collections.abc import Iterable

from gateways.settings import Settings
from radius_client.client import NoReply, RadiusClient, Reply


def ask(
    settings: Settings,
    user: str,
    password: str,
    state: bytes | None = None,
    attributes: Iterable[tuple[int, bytes]] = (),
) -> Reply:
    """The reply to one login, or to the answer of a challenge with this `state`. Raises NoReply, and CannotAsk."""
    clients = [RadiusClient(server, settings.secret, settings.nas_identifier) for server in settings.servers]
    packet = clients[0].packet(user, password.encode("utf-8", "surrogateescape"), state, attributes)
    silent: list[str] = []
    for client in clients:
        try:
            return client.exchange(packet, settings.timeout)
        except NoReply as error:
            silent.append(f"{client}: {error}")
    raise NoReply("; ".join(silent))
