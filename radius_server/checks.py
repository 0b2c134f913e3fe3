"""What `twofold doctor` asks of the RADIUS clients: secrets that can be guessed, requests that need no signature."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from store.config import Config
from store.opening import open_store
from validation.errors import TwofoldError
from validation.findings import Finding, advice, fine
from validation.model import Client, MessageAuthenticatorRule
from validation.settings import Book, Whom

_ADVISED = 24  # characters; RFC 2865 3 asks for 16 at least, and guessing has become quicker


def checks(config: Config | None, root: Path = Path("/")) -> Iterator[Finding]:
    """Nothing where the store cannot be read: that is found elsewhere."""
    if config is None:
        return
    try:
        with closing(open_store(config)) as store:
            clients, book = store.clients(), store.book()
    except TwofoldError:
        return
    found = [finding for client in clients for finding in _judged(client, book)]
    count = len(clients)
    yield from found or [fine("clients", f"{count} RADIUS client{'' if count == 1 else 's'}, signed and well keyed")]


def _judged(client: Client, book: Book) -> Iterator[Finding]:
    topic = f"client {client.name}"
    if len(client.secret) < _ADVISED:
        text = f"secret has {len(client.secret)} characters; {_ADVISED} or more are advised."
        yield advice(topic, text, f"twofold client set {client.name} --generate-secret")
    if client.message_authenticator is MessageAuthenticatorRule.OFF:
        text = "Message-Authenticator off: requests need no signature, so replies can be forged (CVE-2024-3596)."
        yield advice(topic, text, f"twofold client set {client.name} --message-authenticator auto")
    shows = book.settings(Whom(client=client.name)).onboarding_over_radius == "key"
    if shows and not client.network.is_loopback:
        text = "keys of new users travel in clear."
        yield advice(topic, text, f"twofold policy set onboarding_over_radius ticket --client {client.name}")
