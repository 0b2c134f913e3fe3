"""One running server with a client of every kind, and a new person for each test.

Rule: clients differ by the loopback address they send from and people by their names, so the tests share one server
and do not see each other.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from store import listings
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually, pin
from tests.vectors import radius_rfc2865
from tests.wire import ACCEPT, Nas, access_request, status_server
from validation.model import MessageAuthenticatorRule, Mode, Token


class Source(StrEnum):
    """Where each client sends from. Each must sign, unless its name says otherwise."""

    CHALLENGE = "127.0.0.1"
    APPEND = "127.0.0.2"
    PASSCODE = "127.0.0.3"  # passcode-only: a right PIN is answered at once
    UNSIGNED = "127.0.0.4"  # passcode-only, rule off
    UNSIGNED_CHALLENGE = "127.0.0.5"  # challenge, rule off
    NO_STATUS = "127.0.0.6"  # passcode-only, no Status-Server
    RFC = "127.0.0.7"  # challenge, rule off, the secret of the examples in RFC 2865 and RFC 5997
    FLOODED = "127.0.0.8"  # passcode-only
    NARROW = "127.0.2.7"  # passcode-only, inside the network of another client


WIDE = "127.0.2.0/24"  # passcode-only
WIDE_SECRET = b"the-secret-of-the-network"
NARROW_SECRET = b"the-secret-of-one-address"
AUTO = "127.0.3.0/24"  # passcode-only, rule auto: an address for each test
LOGGED = "127.0.4.0/24"  # passcode-only: an address for each test that reads the log of one address
STRANGERS = "127.0.9.0/24"  # nobody's


@dataclass(frozen=True)
class Person:
    """A user with a HOTP token."""

    name: str
    token: Token
    site: Site = field(repr=False)

    def pin(self, ahead: int = 0) -> str:
        return pin(self.token, ahead)

    @property
    def counter(self) -> object:
        """The next counter of the token: 0 as long as no PIN was used."""
        return self.site.token_row(self.token.serial)["moving_factor"]

    @property
    def failures(self) -> int:
        return sum(self.site.failures(self.name).values())

    @property
    def logins(self) -> list[tuple[object, object]]:
        """(decision, reason) of each of this person's logins in the trail."""
        return [(row["decision"], row["reason"]) for row in self.rows]

    @property
    def rows(self) -> list[dict[str, object]]:
        return audit_rows(self.site, self.name)


def new_person(
    site: Site, name: str, password: str | None = PASSWORD, groups: tuple[str, ...] = (), digits: int = 6
) -> Person:
    site.add_user(name, password, groups)
    return Person(name, site.enroll(name, kind="hotp", digits=digits), site)


def audit_rows(site: Site, user: str) -> list[dict[str, object]]:
    with site.database.connections.reading() as connection:
        return [row for row in listings.audit_rows(connection, names=[user]) if row["event"] == "login"]


class Live:
    def __init__(self, site: Site, server: ServerProcess) -> None:
        self.site = site
        self.server = server
        self._numbers = itertools.count(1)

    def nas(self, source: str = Source.PASSCODE, secret: bytes = SECRET) -> Nas:
        """A socket of its own, so that no two tests share a flow. Close it."""
        return self.server.nas(secret, source)

    def person(
        self, name: str | None = None, password: str | None = PASSWORD, groups: tuple[str, ...] = (), digits: int = 6
    ) -> Person:
        return new_person(self.site, name or f"person{next(self._numbers)}", password, groups, digits)

    def logged(self, *words: str) -> list[str]:
        """The lines of the log that hold all of `words`. There is one: it may be on its way to us, when what it tells
        of is known already."""
        eventually(lambda: self.lines(*words), what=f"a line of the log with {' '.join(words)}")
        return self.lines(*words)

    def lines(self, *words: str) -> list[str]:
        """As `logged`, of what has come so far."""
        return [line for line in self.server.log.splitlines() if all(word in line for word in words)]


def add_clients(site: Site) -> None:
    off = MessageAuthenticatorRule.OFF
    site.add_client("challenge", f"{Source.CHALLENGE}/32")
    site.add_client("append", f"{Source.APPEND}/32", mode=Mode.APPEND)
    site.add_client("passcode", f"{Source.PASSCODE}/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("unsigned", f"{Source.UNSIGNED}/32", mode=Mode.PASSCODE_ONLY, rule=off)
    site.add_client("unsigned-challenge", f"{Source.UNSIGNED_CHALLENGE}/32", rule=off)
    site.add_client("no-status", f"{Source.NO_STATUS}/32", mode=Mode.PASSCODE_ONLY, status_server=False)
    site.add_client("rfc", f"{Source.RFC}/32", radius_rfc2865.SECRET, rule=off)
    site.add_client("flooded", f"{Source.FLOODED}/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("wide", WIDE, WIDE_SECRET, Mode.PASSCODE_ONLY)
    site.add_client("narrow", f"{Source.NARROW}/32", NARROW_SECRET, Mode.PASSCODE_ONLY)
    site.add_client("auto", AUTO, mode=Mode.PASSCODE_ONLY, rule=MessageAuthenticatorRule.AUTO)
    site.add_client("logged", LOGGED, mode=Mode.PASSCODE_ONLY)


@contextmanager
def running(site: Site) -> Iterator[Live]:
    with site.server() as server:
        yield Live(site, server)


AT_ONCE = 100  # datagrams that surely fit into a socket buffer


def check_silence(nas: Nas, *datagrams: bytes) -> None:
    """Nothing comes back for any of `datagrams`, and the server still answers.

    The second probe is taken from its queue only after whatever reached the gate before the first one was decided and
    answered. So a datagram that would be accepted in passcode-only mode shows if it is not dropped.
    """
    for at in range(0, len(datagrams), AT_ONCE):
        for data in datagrams[at : at + AT_ONCE]:
            nas.send(data)
        for _ in range(2):
            assert nas.ask(status_server(nas.secret)).code == ACCEPT


def check_accepted(nas: Nas, person: Person, ahead: int = 0, **options: object) -> None:
    """A login of passcode-only mode with the person's PIN."""
    request = access_request(nas.secret, person.name, person.pin(ahead), **options)  # type: ignore[arg-type]
    assert nas.ask(request).code == ACCEPT
