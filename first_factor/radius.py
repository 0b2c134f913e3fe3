"""Passwords that another RADIUS server knows (NPS, FreeRADIUS): it is asked with PAP, in its turn.

Rules: proved is an Access-Accept, wrong an Access-Reject, both signed; everything else is no answer. An Access-
Challenge is none either: that server wants a second factor of its own, whose question cannot be asked here. Who has
no name is not asked about, and a password that RADIUS cannot carry, or none, is wrong without a question. A check
ends before the server that waits for it would give up.
"""

import logging
import time

from first_factor.bounded import Bounded, NoAnswer
from first_factor.radius_replies import ReplyFilter
from first_factor.radius_servers import RadiusServers
from first_factor.seldom import Seldom
from radius_client.client import CannotAsk, NoReply, RadiusClient, Reply, check_askable
from radius_client.wire import Code
from store.config import Upstream
from store.sealing import read_private
from validation.decisions import Look
from validation.errors import BadInput
from validation.requests import FirstFactor, FirstFactorResult

_log = logging.getLogger("twofold.first_factor")

_OVERTIME = 0.5  # seconds for a check to end by itself
_ADVISED = 16  # octets of a secret; RFC 2865 3


class RadiusPasswords:
    def __init__(self, upstream: Upstream) -> None:
        """Raises BadInput for a reply attribute that never goes on, and what `clients_of` raises."""
        self._servers = RadiusServers(clients_of(upstream), upstream.timeout)
        self._goes_on = ReplyFilter(upstream.reply)
        self._time_limit = upstream.time_limit
        self._no_answer, self._challenged = Seldom(_log), Seldom(_log)
        self._bounded = Bounded(upstream.threads, upstream.time_limit + _OVERTIME)

    def check(self, look: Look, password: str) -> FirstFactorResult:
        octets = _octets(password)
        if not look.user or not octets:
            return FirstFactorResult(FirstFactor.WRONG, look.password_version)
        until = time.monotonic() + self._time_limit
        try:
            check_askable(look.user, octets)
            client, reply = self._bounded.run(lambda: self._servers.login(look.user, octets, until))
        except CannotAsk as error:
            _log.info("a login is refused without asking: %s", error)
            return FirstFactorResult(FirstFactor.WRONG, look.password_version, why="cannot-be-asked")
        except (NoAnswer, NoReply) as error:
            self._no_answer.error("no RADIUS server says whether a password is right: %s", error)
            return FirstFactorResult(FirstFactor.UNAVAILABLE, look.password_version, why="no-answer")
        return self._result(client, reply, look)

    def _result(self, client: RadiusClient, reply: Reply, look: Look) -> FirstFactorResult:
        match reply.code:
            case Code.ACCESS_ACCEPT:
                goes_on = self._goes_on(reply.attributes)
                return FirstFactorResult(FirstFactor.PROVED, look.password_version, replies=goes_on)
            case Code.ACCESS_REJECT:
                return FirstFactorResult(FirstFactor.WRONG, look.password_version)
            case _:
                self._challenged.error(
                    "RADIUS server %s answers with a challenge: it wants a second factor itself, which cannot be "
                    "passed on. Have it check the password alone for this client",
                    client,
                )
                return FirstFactorResult(FirstFactor.UNAVAILABLE, look.password_version, why="challenge")


def clients_of(upstream: Upstream) -> list[RadiusClient]:
    """One for each server, in their order. Raises BadInput or StoreMismatch for a secret that cannot be read."""
    secret = _secret(upstream)
    return [
        RadiusClient((server.address, server.port), secret, upstream.nas_identifier, retries=upstream.retries)
        for server in upstream.servers
    ]


def _octets(password: str) -> bytes:
    try:
        return password.encode()
    except UnicodeEncodeError:  # half a character, which no server has in a password; the error would show it
        return b""


def _secret(upstream: Upstream) -> bytes:
    path = upstream.secret_file
    try:
        secret = read_private(path, "first_factor.radius.secret_file:").removesuffix(b"\n").removesuffix(b"\r")
    except FileNotFoundError:
        raise BadInput(
            f"first_factor.radius.secret_file: {path} does not exist; write the shared secret into it"
        ) from None
    if not secret:
        raise BadInput(f"first_factor.radius.secret_file: {path} is empty; write the shared secret into it")
    if len(secret) < _ADVISED:
        _log.warning(
            "the secret shared with the RADIUS servers has %d octets; %d or more are advised", len(secret), _ADVISED
        )
    return secret
