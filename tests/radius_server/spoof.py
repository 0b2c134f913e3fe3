"""Requests by somebody who does not know the shared secret, sent with a client's address and port.

    python -m tests.radius_server.spoof [--packets N] [--seed S]

He has seen whole logins go by: names, States, authenticators, hidden passwords. What he sends is unsigned, signed with
another secret, or a changed copy. From a client that must sign (`required`, or `auto` once it has) nothing may change:
every row of the store stays, kept replies are sent again, an open State takes its PIN, a login in work is answered.
Then what `off`, and `auto` before its first signature, let through is measured. Exit status 1 if anything changed.
"""

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from radius_server import conversation
from radius_server.clients import signature_of
from radius_server.packet import parse
from store import schema
from tests.builders import client
from tests.flows.crowd import ask_all, wrong_pins
from tests.radius_server.fuzz import arrived_now
from tests.radius_server.live import Person, new_person
from tests.radius_server.mutating import rebuilt, taken_apart
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually
from tests.wire import (
    ACCEPT,
    CHALLENGE,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    REJECT,
    STATE,
    USER_NAME,
    USER_PASSWORD,
    Nas,
    Request,
    access_request,
    status_server,
)
from validation.model import Encoding, MessageAuthenticatorRule, Mode
from validation.requests import SetRule
from validation.settings import Scope

REQUIRED, AUTO, FRESH, OFF, ASIDE = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.9"
AT_ONCE = 100
ROUND = 4000  # packets against one victim: replies are kept for 30 s, and a State for 120


def new_site(folder: Path) -> Site:
    site = Site(folder)
    auto, off = MessageAuthenticatorRule.AUTO, MessageAuthenticatorRule.OFF
    site.add_client("required", f"{REQUIRED}/32")
    site.add_client("auto", f"{AUTO}/32", rule=auto)
    site.add_client("fresh", f"{FRESH}/32", rule=auto)
    site.add_client("off", f"{OFF}/32", rule=off)
    site.add_client("aside", f"{ASIDE}/32", mode=Mode.PASSCODE_ONLY)
    return site


def everything(site: Site) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the store, but for the mark that health checks write."""
    with site.database.connections.reading() as connection:
        tables = schema.metadata.sorted_tables
        rows = {table.name: [tuple(row) for row in connection.execute(select(table))] for table in tables}
    return rows | {"meta": [row for row in rows["meta"] if not row[0].startswith("checked_at")]}


class Victim:
    """Somebody at one client: an open State, a kept reply, a failure, and a login that is in work."""

    def __init__(self, site: Site, server: ServerProcess, source: str, number: int) -> None:
        self.person: Person = new_person(site, f"victim{source[-1]}-{number}")
        self.nas = server.nas(SECRET, source)
        self.nas.login(self.person.name, "not the password")
        self.first = access_request(SECRET, self.person.name, PASSWORD, identifier=1)
        self.challenge = self.nas.ask(self.first)
        assert self.challenge.code == CHALLENGE
        (wrong,) = wrong_pins(self.person.token)
        self.wrong = access_request(SECRET, self.person.name, wrong, state=self.challenge.state, identifier=2)
        self.again = self.nas.ask(self.wrong)
        self.answer = access_request(SECRET, self.person.name, self.person.pin(), state=self.again.state, identifier=3)

        if source == AUTO:
            eventually(lambda: len(everything(site)["signed_sources"]) > 0, what="a client that has signed")

    def __enter__(self) -> "Victim":
        return self

    def __exit__(self, *_: object) -> None:
        self.nas.sock.close()

    def check_unharmed(self) -> None:
        """The kept reply is the same octets, and the State still takes the PIN."""
        assert self.nas.ask(self.wrong).data == self.again.data
        assert self.nas.ask(self.answer).code == ACCEPT

    def check_answered_amid(self, spoofed: list[bytes]) -> None:
        """A Reject that is held back for a second is in work while the others come, under its Identifier too."""
        late = access_request(SECRET, self.person.name, "not the password", identifier=4)
        self.nas.send(late.data)
        for data in spoofed:
            self.nas.send(data[:1] + b"\4" + data[2:])
        reply = self.nas.receive()
        assert reply is not None
        assert reply.check(late).code == REJECT


class Spoofer:
    """Makes packets from the dice and from what went by."""

    def __init__(self, dice: random.Random, seen: list[Request], state: bytes) -> None:
        self._dice = dice
        self._seen = [request.data for request in seen]
        self._state = state
        self._ways = [self._invented, self._invented, self._copied, self._unsigned_copy, self._other_code]

    def packet(self) -> bytes:
        return self._dice.choice(self._ways)()

    def _invented(self) -> bytes:
        """Under a secret of his own, or unsigned, or signed wrongly in length or number."""
        dice = self._dice
        more: list[tuple[int, bytes]] = [(STATE, self._state)] if dice.random() < 0.5 else []
        more += [(PROXY_STATE, dice.randbytes(4))] if dice.random() < 0.2 else []
        more += [(79, b"\2\1\0\4")] if dice.random() < 0.1 else []
        form = dice.choice(["first", "last", "none"])
        if form == "none" and dice.random() < 0.5:
            more += [(MESSAGE_AUTHENTICATOR, dice.randbytes(n)) for n in dice.choice([(15,), (16,), (17,), (16, 16)])]
        return access_request(
            dice.randbytes(24),
            dice.choice(taken_apart_names(self._seen)),
            dice.choice([PASSWORD.encode(), b"000000", dice.randbytes(16)]),
            extra=more,
            identifier=dice.randrange(256),
            authenticator=dice.randbytes(16),
            message_authenticator=form,
        ).data

    def _copied(self) -> bytes:
        """A signed packet in which something was changed. Not its code or identifier alone: those are signed, too."""
        data = bytearray(self._dice.choice(self._seen))
        at = self._dice.choice([n for n in range(len(data)) if n not in (2, 3)])
        data[at] ^= 1 << self._dice.randrange(8)
        return bytes(data)

    def _unsigned_copy(self) -> bytes:
        """Without its signature: the password is still hidden rightly."""
        data = self._dice.choice(self._seen)
        kept = [a for a in taken_apart(data) if a[0] != MESSAGE_AUTHENTICATOR]
        if self._dice.random() < 0.5:
            kept.append((PROXY_STATE, b"x"))
        return bytes([data[0], self._dice.randrange(256)]) + rebuilt(data, kept)[2:]

    def _other_code(self) -> bytes:
        return status_server(self._dice.randbytes(24), message_authenticator=self._dice.choice(["first", "none"])).data


def taken_apart_names(seen: list[bytes]) -> list[bytes]:
    return [value for data in seen for kind, value in taken_apart(data) if kind == USER_NAME]


@dataclass
class Attack:
    """What came of `packets` against one client that must sign."""

    source: str
    packets: int
    dropped: Counter[str]
    lines: int

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.dropped.items()))
        return f"from {self.source}: {self.packets} packets, nothing changed, {self.lines} lines logged; {reasons}"


def attack(site: Site, source: str, packets: int, dice: random.Random) -> Attack:
    """Raises AssertionError if a spoofed packet was answered or changed anything."""
    sent = 0
    with site.server() as server, server.nas(source=ASIDE) as probe:
        server_lines = len(server.log.splitlines())
        for number, at in enumerate(range(0, packets, ROUND)):
            with Victim(site, server, source, number) as victim:
                sent += attack_round(site, victim, probe, min(ROUND, packets - at), dice)
    dropped = counters(server.log)
    assert sum(dropped.values()) == sent, "each was counted once"
    lines = [line for line in server.log.splitlines()[server_lines:] if " drop " in line]
    return Attack(source, sent, dropped, len(lines))


def attack_round(site: Site, victim: Victim, probe: Nas, packets: int, dice: random.Random) -> int:
    """How many were sent, with those at the end."""
    spoofer = Spoofer(dice, [victim.first, victim.wrong, victim.answer], victim.again.state)
    before = everything(site)
    for at in range(0, packets, AT_ONCE):
        for _ in range(min(AT_ONCE, packets - at)):
            victim.nas.send(spoofer.packet())
        assert probe.ask(status_server(SECRET), timeout=30).code == ACCEPT
        assert list(arrived_now(victim.nas)) == [], "a spoofed packet was answered"
    assert probe.ask(status_server(SECRET), timeout=30).code == ACCEPT, "what reached the gate was decided"
    assert everything(site) == before
    victim.check_unharmed()
    amid = [spoofer.packet() for _ in range(AT_ONCE)]
    victim.check_answered_amid(amid)
    return packets + len(amid)


def counters(log: str) -> Counter[str]:
    """What the server dropped, in the words of its last line."""
    (last,) = re.findall(r" stopped (.*)", log)
    return Counter({word: int(count) for word, count in re.findall(r"(\w+)=(\d+)", last)})


@dataclass
class Let:
    """What came of `packets` against one client that need not sign."""

    source: str
    packets: int
    reasons: Counter[object]
    failures: int

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.reasons.items(), key=str))
        return (
            f"from {self.source}, unsigned, random User-Password: {self.packets} packets, all refused; "
            f"failures counted: {self.failures}; rows in the trail: {reasons}"
        )


def let_through(site: Site, source: str, packets: int, dice: random.Random) -> Let:
    """Unsigned logins in which the name is right and the hidden password random, as it is under a wrong secret."""
    site.gate.administer(SetRule(actor="test", key="reject_delay", value="0", scope=Scope()))
    person = new_person(site, "open" + source[-1])
    with site.server() as server, server.nas(source=source) as nas:
        found: Counter[int] = Counter()
        for at in range(0, packets, AT_ONCE):
            few = [unsigned(person.name, number, dice) for number in range(min(AT_ONCE, packets - at))]
            found.update(reply.code for reply in ask_all(nas, few, 60))
        assert found == {REJECT: packets}
    reasons = Counter(reason for _, reason in person.logins)
    return Let(source, packets, reasons, person.failures)


def unsigned(user: str, identifier: int, dice: random.Random) -> Request:
    hidden = [(USER_PASSWORD, dice.randbytes(16))]
    authenticator = dice.randbytes(16)
    return access_request(
        SECRET,
        user,
        None,
        extra=hidden,
        identifier=identifier,
        authenticator=authenticator,
        message_authenticator="none",
    )


def read_as_typed(draws: int, encoding: Encoding, dice: random.Random) -> int:
    """How many of so many random User-Passwords of one block are taken for something that was typed, and so counted."""
    owner = client(secret=SECRET, message_authenticator=MessageAuthenticatorRule.OFF, encoding=encoding)
    found = 0
    for _ in range(draws):
        request = parse(unsigned("alice", 1, dice).data)
        found += not conversation.read(request, owner, signature_of(request, owner, 0.0)).unsupported
    return found


@contextmanager
def a_site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder:
        yield new_site(Path(folder) / "site")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packets", type=int, default=100_000, help="at each client that must sign")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    print(f"seed {chosen.seed}", flush=True)
    with a_site() as site:
        for source in (REQUIRED, AUTO):
            print(attack(site, source, chosen.packets, dice), flush=True)
        for source in (OFF, FRESH):
            print(let_through(site, source, chosen.packets // 10, dice), flush=True)
    for encoding in Encoding:
        found = read_as_typed(chosen.packets, encoding, dice)
        print(f"of {chosen.packets} random User-Passwords {found} would be a wrong password, encoding {encoding}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
