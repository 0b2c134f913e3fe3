"""What `twofold doctor` asks of the RADIUS servers that check passwords: do they answer, and is what they say signed.

Rule: nobody's password is tried; a Status-Server (RFC 5997) names nobody.
"""

from collections.abc import Iterator
from pathlib import Path

from first_factor.radius import clients_of
from first_factor.radius_replies import ReplyFilter
from first_factor.whose import has, whose
from radius_client.client import NoReply, RadiusClient
from store.config import Config, Upstream
from validation.errors import TwofoldError
from validation.findings import Finding, advice, fine, serious
from validation.model import FirstFactorKind

_TOPIC = "RADIUS passwords"
_PAGE = "docs/first-factor/radius.md"
_WITHIN = 2.0  # seconds; the administrator waits


def checks(config: Config | None, root: Path = Path("/")) -> Iterator[Finding]:
    if config is None:
        return
    if config.upstream is not None:
        yield from _judged(config.upstream)
    elif who := whose(config, FirstFactorKind.RADIUS):
        text = f"{who} {has(who)} the first factor radius, and [first_factor.radius] is missing: they cannot log in."
        yield serious(_TOPIC, text, f"Name the servers in {config.file}; {_PAGE} tells how")


def _judged(upstream: Upstream) -> Iterator[Finding]:
    try:
        ReplyFilter(upstream.reply)
        clients = clients_of(upstream)
    except TwofoldError as error:
        yield serious(_TOPIC, f"{error}.", "No password is checked there before that is mended")
        return
    for client in clients:
        yield _answer_of(client)


def _answer_of(client: RadiusClient) -> Finding:
    try:
        client.status(_WITHIN)
    except NoReply as error:
        text = f"{client} does not answer a Status-Server: {error}."
        return advice(_TOPIC, text, f"Some servers answer none (NPS); else see {_PAGE}")
    return fine(_TOPIC, f"{client} answers, and signs")
