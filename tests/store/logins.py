"""Logins of every kind on a real store, for one person or for many in one batch, and the statements that they make.

Rules: a login takes the road of its face: the look, the password check, the gate. A batch holds one login of each
person, since two of one user never share a transaction. What an admin does in between is not listened to.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import event

from first_factor import checker
from radius_server.conversation import Entry, login_request, look_request, password_of
from store.opening import SystemMoments
from tests.fakes import CollectedFaults, CollectedNotices
from tests.flows.crowd import wrong_pins
from tests.site import Site, pin
from tests.validation.engine import key_of
from tests.validation.signing_key import SigningKey
from tests.vectors import reference
from validation.decisions import Accept, AskKey, AskKeyName, AskNewKey, Challenge, Reject
from validation.gate import Gate, Outcome
from validation.model import Client, FirstFactorKind, MessageAuthenticatorRule, Mode, Origin, Purpose, Token
from validation.model import Site as Issuer
from validation.requests import (
    NOT_CHECKED,
    ChangeUserState,
    Channel,
    Command,
    FirstFactor,
    FirstFactorResult,
    GiveBypass,
    ImportTokens,
    ImportUsers,
    IssueRecovery,
    LoginRequest,
    NewToken,
    NewUser,
    RememberSigner,
    SetReplies,
    SetRule,
    SetText,
    UserAct,
)
from validation.settings import Scope
from validation.sources import KNOWN_MOST

PASSWORD = "geheim"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
OLD_COSTS = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
HASH, OLD_HASH = CHEAP.hash(PASSWORD), OLD_COSTS.hash(PASSWORD)

VPN, SSH, PORTAL, ASKING = "vpn", "ssh", "portal", "asking"  # clients
DESK, TERMINAL = Channel.console(local=True), Channel.console()
HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True)
class Statement:
    """As the driver was given it; of many rows the first."""

    text: str
    values: Any

    @property
    def verb(self) -> str:
        return self.text.split(None, 1)[0]

    @property
    def table(self) -> str:
        """Which it is about; empty if none."""
        found = re.search(r'\b(?:FROM|INTO|UPDATE) "?([a-z_]+)', self.text)
        return found[1] if found else ""


@dataclass
class Person:
    name: str
    token: Token
    used: int = 0

    def pin(self) -> str:
        self.used += 1
        return pin(self.token, self.used - 1)


class House:
    """Who lives here can log in by every door. `statements` are those of logins; `reasons` how they ended."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ahead = 0.0  # seconds that the clock is moved on
        self.statements: dict[str, Statement] = {}
        self.reasons: set[str] = set()
        self.faults = CollectedFaults()
        self._made = 0
        self._listening = False
        connections = site.database.connections
        moments = SystemMoments(self.now)
        self.gate = Gate(site.database, moments, self.faults, CollectedNotices(), Issuer())
        self._checker = checker(site.config)
        event.listen(connections._engine, "before_cursor_execute", self._hear)
        site.add_client(VPN, "192.0.2.1/32")
        site.add_client(SSH, "192.0.2.2/32", mode=Mode.APPEND)
        site.add_client(PORTAL, "192.0.2.3/32", mode=Mode.PASSCODE_ONLY, rule=MessageAuthenticatorRule.AUTO)
        site.add_client(ASKING, "192.0.2.4/32", always_challenge=True)
        for key, value in {"lock_from": "3", "lock_base": "30s", "disable_at": "4", "tries": "2"}.items():
            self.rule(key, value)

    def now(self) -> float:
        return self.site.database.connections.now() + self.ahead

    # --- listening

    def _hear(self, *heard: Any) -> None:
        _, _, text, values, _, many = heard
        if self._listening and not text.startswith(("BEGIN", "COMMIT", "ROLLBACK", "SET ")):
            self.statements.setdefault(text, Statement(text, values[0] if many else values))

    @contextmanager
    def listened(self) -> Iterator[None]:
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    # --- who there is

    def order(self, command: Command) -> Any:
        return self.gate.administer(command)

    def rule(self, key: str, value: str, **scope: str) -> None:
        self.order(SetRule(actor="test", key=key, value=value, scope=Scope(**scope)))  # type: ignore[arg-type]

    def newcomers(self, count: int, **fields: Any) -> list[str]:
        """People without a token."""
        names = [f"person{self._made + number}" for number in range(count)]
        self._made += count
        made = [NewUser(**{"place": name, "name": name, "password_hash": HASH, **fields}) for name in names]
        self.order(ImportUsers(actor="test", users=tuple(made), file="people"))
        return names

    def people(self, count: int, **fields: Any) -> list[Person]:
        """People with a token from a box."""
        names = self.newcomers(count, **fields)
        tokens = [Token(0, f"S-{name}", None, "hotp", os.urandom(20), origin=Origin.ADMIN) for name in names]
        given = tuple(NewToken(name, token, name) for name, token in zip(names, tokens, strict=True))
        self.order(ImportTokens(actor="test", tokens=given, file="box"))
        return [Person(name, token) for name, token in zip(names, tokens, strict=True)]

    # --- by which doors they come

    def radius(
        self,
        client: str,
        typed: Sequence[tuple[str, str]],
        states: Sequence[str | None] = (),
        packets: Sequence[bytes] = (),
        one_source: bool = False,
        network: str = "198.51.101",
        unsupported: str = "",
    ) -> list[Outcome]:
        """What each has typed, in one batch."""
        client_ = self._client(client)
        entries = [
            Entry(name, text, state, "198.51.100.0" if one_source else f"{network}.{number}", unsupported)
            for number, ((name, text), state) in enumerate(zip(typed, states or [None] * len(typed), strict=True))
        ]
        marks = packets or [os.urandom(32) for _ in entries]
        with self.listened():
            requests = self._requests(entries, client_, marks)
            return self._ended(self.gate.login(requests))

    def _requests(self, entries: Sequence[Entry], client: Client, marks: Sequence[bytes]) -> list[LoginRequest]:
        """As the server makes them: whoever answers a challenge is neither looked up nor asked for his password."""
        asked = zip(entries, marks, strict=True)
        if entries[0].state is not None:
            return [login_request(entry, client, "", packet=mark) for entry, mark in asked]
        looks = self.gate.look([look_request(entry, client, mark) for entry, mark in asked])
        return [
            login_request(entry, client, "", look, self._checked(entry, client, look), mark)
            for entry, look, mark in zip(entries, looks, marks, strict=True)
        ]

    def _checked(self, entry: Entry, client: Client, look: Any) -> FirstFactorResult:
        if client.mode is Mode.PASSCODE_ONLY:
            return NOT_CHECKED
        return self._checker.check(look, password_of(entry, client, look))

    def console(
        self,
        names: Sequence[str],
        channel: Channel = TERMINAL,
        states: Sequence[str | None] = (),
        each: Sequence[dict[str, Any]] = (),
        **more: Any,
    ) -> list[Outcome]:
        """After a password that the helper has found right. `each`: what differs between them."""
        requests = [
            LoginRequest(
                user=name,
                channel=channel,
                client="login@web-7",
                client_version=0,
                first_factor=FirstFactorResult(FirstFactor.PROVED) if state is None else NOT_CHECKED,
                state=state,
                service="login",
                source="203.0.113.9",
                **more,
                **own,
            )
            for name, state, own in zip(names, states or [None] * len(names), each or [{} for _ in names], strict=True)
        ]
        with self.listened():
            return self._ended(self.gate.login(requests))

    def _client(self, name: str) -> Client:
        return next(client for client in self.site.gate.clients() if client.name == name)

    def _ended(self, outcomes: list[Outcome]) -> list[Outcome]:
        for outcome in outcomes:
            assert isinstance(outcome, Accept | Challenge | Reject), outcome
            self.reasons.add(outcome.reason)
        assert not self.faults.found, self.faults.found
        return outcomes


def states_of(outcomes: Sequence[Outcome]) -> list[str]:
    states = [outcome.state for outcome in outcomes if isinstance(outcome, Challenge)]
    assert len(states) == len(outcomes), {
        outcome.reason for outcome in outcomes if isinstance(outcome, Accept | Reject)
    }
    return states


# --- the kinds of logins ----------------------------------------------------------------------------------------


def passcodes_alone(house: House, count: int) -> None:
    """Right ones, and their packets once more, as they come to another server."""
    people = house.people(count)
    typed = [(person.name, person.pin()) for person in people]
    packets = [os.urandom(32) for _ in people]
    for _ in range(3):
        house.radius(PORTAL, typed, packets=packets)
    house.radius(PORTAL, typed)


def wrong_passcodes(house: House, count: int) -> None:
    """Until tokens are disabled: with waits in between, and during them."""
    people = house.people(count)
    for number in range(6):
        typed = [(person.name, PASSWORD + wrong_pins(person.token, 9)[number]) for person in people]
        house.radius(SSH, typed)
        house.radius(SSH, typed)
        house.ahead += 2 * HOUR
    house.ahead += 40 * DAY
    house.radius(PORTAL, [(person.name, wrong_pins(person.token)[0]) for person in people])


def wrong_passwords(house: House, count: int) -> None:
    """From sources of their own, and from one."""
    people = house.people(max(count, 3))
    for number in range(2):
        house.radius(SSH, [(person.name, PASSWORD + person.pin()) for person in people], one_source=number == 1)
    for number in range(5):
        house.radius(VPN, [(person.name, f"wrong{number}") for person in people], one_source=number > 2)
    house.ahead += 2 * HOUR
    house.radius(VPN, [(person.name, "wrong") for person in people])


def travellers(house: House, count: int) -> None:
    """From more places than are remembered."""
    people = house.people(count)
    for number in range(KNOWN_MOST + 1):
        house.radius(PORTAL, [(person.name, person.pin()) for person in people], network=f"203.0.{number}")


def challenges(house: House, count: int) -> None:
    """Two steps; with a wrong PIN, too late, with a State of nobody's, and with an open one left behind."""
    people = house.people(count)
    names = [(person.name, PASSWORD) for person in people]
    asked = states_of(house.radius(VPN, names))
    again = states_of(house.radius(VPN, [(p.name, wrong_pins(p.token)[0]) for p in people], asked))
    house.radius(VPN, [(p.name, p.pin()) for p in people], again)
    house.radius(VPN, [(p.name, p.pin()) for p in people], again)
    for _ in range(20):  # States are random, and one in sixteen has its client's and nobody's challenges counted
        asked = states_of(house.radius(VPN, names))
    house.ahead += HOUR
    house.radius(VPN, [(p.name, p.pin()) for p in people], asked)
    house.radius(VPN, names)


def asked_whoever_comes(house: House, count: int) -> None:
    """Strangers are asked, too."""
    people = house.people(count)
    for typed in (PASSWORD, "wrong"):
        asked = states_of(house.radius(ASKING, [(person.name, typed) for person in people]))
        house.radius(ASKING, [(person.name, person.pin()) for person in people], asked)
    strangers = [f"stranger{number}" for number in range(count)]
    for _ in range(20):
        asked = states_of(house.radius(ASKING, [(name, "wrong") for name in strangers]))
    house.radius(ASKING, [(name, "123456") for name in strangers], asked)


def one_field(house: House, count: int) -> None:
    people = house.people(count)
    for _ in range(2):
        house.radius(SSH, [(person.name, PASSWORD + person.pin()) for person in people])
    house.radius(SSH, [(person.name, PASSWORD) for person in people])


def strangers(house: House, count: int) -> None:
    """Twice at once, and after the flood is over."""
    for client in (VPN, PORTAL):
        for later in (0.0, 0.0, HOUR):
            house.ahead += later
            house.radius(client, [(f"nobody{number}", "123456") for number in range(count)])


def barred(house: House, count: int) -> None:
    for act in (UserAct.LOCK, UserAct.DISABLE):
        people = house.people(count)
        for person in people:
            house.order(ChangeUserState(actor="test", name=person.name, act=act))
        house.radius(VPN, [(person.name, PASSWORD) for person in people])
        house.console([person.name for person in people])


def who_may_not_pair(house: House, count: int) -> None:
    """Since only hardware is wanted here, or his time for it is over."""
    house.rule("enrolment", "hardware-only", group="office")
    house.radius(VPN, [(name, PASSWORD) for name in house.newcomers(count, groups=("office",))])
    late = house.newcomers(count)
    house.ahead += 30 * DAY
    house.radius(VPN, [(name, PASSWORD) for name in late])


def what_is_no_login(house: House, count: int) -> None:
    house.radius(VPN, [(name, "") for name in house.newcomers(count)], unsupported="CHAP, only PAP is supported")


def old_hashes(house: House, count: int) -> None:
    people = house.people(count, password_hash=OLD_HASH)
    house.radius(SSH, [(person.name, PASSWORD + person.pin()) for person in people])


def unreachable_directory(house: House, count: int) -> None:
    people = house.people(count, first_factor=FirstFactorKind.LDAP, password_hash=None)
    house.radius(SSH, [(person.name, PASSWORD + person.pin()) for person in people])


def first_pairing(house: House, count: int) -> None:
    """At a terminal: with a wrong first PIN, then with the right one."""
    names = house.newcomers(count)
    welcomed = states_of(house.console(names))
    shown = house.console(names, states=welcomed, passcode="s")
    again = states_of(house.console(names, states=states_of(shown), passcode="000000"))
    house.console(names, states=again, each=_first_pins(house, shown))


def _first_pins(house: House, shown: Sequence[Outcome]) -> list[dict[str, Any]]:
    found = []
    for outcome in shown:
        assert isinstance(outcome, Challenge), outcome
        assert outcome.provisioning is not None, outcome
        key = key_of(outcome.provisioning.uri)
        found.append({"passcode": reference.hotp(key, int(house.now()) // 30)})
    return found


def tickets(house: House, count: int) -> None:
    """Handed out over RADIUS, redeemed at a terminal."""
    names = house.newcomers(count)
    for _ in range(2):
        told = house.radius(VPN, [(name, PASSWORD) for name in names])
    found = [re.search(r"(?:[2-9A-Z]{5}-){5}[2-9A-Z]", " ".join(o.texts)) for o in told if isinstance(o, Challenge)]
    own = [{"ticket": match[0]} for match in found if match is not None]
    shown = house.console(names, each=own, purpose=Purpose.REDEEM)
    house.console(names, states=states_of(shown), each=_first_pins(house, shown), purpose=Purpose.REDEEM)
    house.radius(VPN, [(name, "123456") for name in names], states_of(told))
    house.console(names, each=[{"ticket": "22222-22222-22222-22222-22222-2"} for _ in names], purpose=Purpose.REDEEM)


def care(house: House, count: int) -> None:
    """Another app, and one in place of an old one."""
    people = [Person(name, house.site.enroll(name, kind="hotp")) for name in house.newcomers(count)]
    names = [person.name for person in people]
    for purpose in (Purpose.ADD, Purpose.RESET):
        replaces = [{"replaces": p.token.serial if purpose is Purpose.RESET else ""} for p in people]
        own = [one | {"passcode": person.pin()} for one, person in zip(replaces, people, strict=True)]
        shown = house.console(names, each=own, purpose=purpose)
        house.console(names, states=states_of(shown), each=_first_pins(house, shown), purpose=purpose)


def security_keys(house: House, count: int) -> None:
    """Registered at first logins, and touched."""
    names, keys = house.newcomers(count), [SigningKey() for _ in range(count)]
    outcomes = house.console(names, DESK)
    for _ in range(4):
        if not all(isinstance(outcome, Challenge) for outcome in outcomes):
            break
        own = [_by_key(outcome, key) for outcome, key in zip(outcomes, keys, strict=True)]
        outcomes = house.console(names, DESK, states_of(outcomes), own)
    for _ in range(2):
        outcomes = house.console(names, DESK)
        own = [_by_key(outcome, key) for outcome, key in zip(outcomes, keys, strict=True)]
        house.console(names, DESK, states_of(outcomes), own)
    house.radius(VPN, [(name, PASSWORD) for name in names])


def _by_key(outcome: Outcome, key: SigningKey) -> dict[str, Any]:
    assert isinstance(outcome, Challenge), outcome
    match outcome.wants:
        case AskKeyName():
            return {"key_name": "mine"}
        case AskNewKey() as asked:
            return {"key_name": "mine", "new_credential": key.make(asked)}
        case AskKey() as asked:
            key.count += 1
            return {"assertion": key.get(asked)}
        case None:
            return {"passcode": "k"}


def recovery_codes(house: House, count: int) -> None:
    people = house.people(count)
    sheets = [house.order(IssueRecovery(actor="test", name=person.name)).shown_once for person in people]
    for number in range(2):
        typed = [(p.name, PASSWORD + sheet[number].replace("-", "")) for p, sheet in zip(people, sheets, strict=True)]
        house.radius(SSH, typed)


def reuse_windows(house: House, count: int) -> None:
    people = house.people(count, groups=("roaming",))
    house.rule("reuse_window", "1h", group="roaming")
    for _ in range(2):
        house.radius(SSH, [(person.name, PASSWORD + person.pin()) for person in people])
        house.radius(SSH, [(person.name, PASSWORD) for person in people])
        house.ahead += 2 * HOUR


def let_past(house: House, count: int) -> None:
    """By policy of a group, by a bypass, and as an account that is new; with policies and texts that are new, too."""
    house.rule("second_factor", "skip", group="trusted")
    house.rule("grace", "1d", group="fresh")
    house.order(SetText(actor="test", key="welcome", language="en", text="Hello.", scope=Scope()))
    house.order(SetReplies(actor="test", scope=Scope(group="trusted"), replies={"Class": ("t",)}))
    house.radius(VPN, [(person.name, PASSWORD) for person in house.people(count, groups=("trusted",))])
    house.radius(SSH, [(name, PASSWORD) for name in house.newcomers(count, groups=("fresh",))])
    people = house.people(count)
    for person in people:
        house.order(GiveBypass(actor="test", name=person.name, hours=1))
    house.radius(SSH, [(person.name, PASSWORD) for person in people])


def by_the_server_itself(house: House, count: int) -> None:
    """What it asks while people log in: who its clients are, who has signed, and whether it could write."""
    with house.listened():
        house.site.gate.clients()
        house.site.gate.clients_generation()
        house.site.gate.check()
        house.order(RememberSigner(actor="radius", name=PORTAL, address=f"192.0.2.{count}"))
        house.site.gate.clients()


LOGINS: tuple[Callable[[House, int], None], ...] = (
    passcodes_alone,
    wrong_passcodes,
    wrong_passwords,
    travellers,
    challenges,
    asked_whoever_comes,
    one_field,
    strangers,
    barred,
    who_may_not_pair,
    what_is_no_login,
    old_hashes,
    unreachable_directory,
    first_pairing,
    tickets,
    care,
    security_keys,
    recovery_codes,
    reuse_windows,
    let_past,
    by_the_server_itself,
)


def all_logins(site: Site) -> House:
    """Each kind by itself and in a batch of 64, each a day after the other, so that no wait is left of one before."""
    house = House(site)
    for count in (1, 64):
        for log_in in LOGINS:
            house.ahead += DAY
            log_in(house, count)
    return house
