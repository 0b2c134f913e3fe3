"""The golden table (`golden.py`) through the engine on a real store, through `policy explain`, and over RADIUS.

Each row gets users of its own, with their policies in a group of their own; all is set up by logging in and by admin
commands, some of them at an earlier time.
"""

import itertools
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from store import listings, opening
from store.notices import NoNotices
from tests.flows.crowd import wrong_pins
from tests.flows.golden import ADDRESSES, POLICIES, ROWS, Row
from tests.site import PASSWORD, SECRET, Site, eventually, hashed, pin
from tests.store.cli.command import Twofold
from tests.wire import ACCEPT, CALLING_STATION_ID, CHALLENGE, REJECT, Nas, access_request, status_server
from validation.decisions import Accept, Challenge, Decision, Reject
from validation.errors import StoreUnavailable
from validation.explaining import Explanation, explain
from validation.gate import Gate
from validation.model import Mode, Moment, Origin, RevokeReason, Token
from validation.requests import (
    AddUser,
    ChangeUserState,
    Channel,
    Command,
    EnrollToken,
    FirstFactor,
    FirstFactorResult,
    GiveBypass,
    IssueRecovery,
    LoginRequest,
    RevokeToken,
    SetPairing,
    SetRule,
    SetTokenUse,
    SetUser,
    UserAct,
    Wanted,
    typed_alone,
)
from validation.settings import Scope
from validation.tokens.uri import key_from_text

DAY, HOUR = 86_400.0, 3600.0
DOORS = {"vpn": Mode.CHALLENGE, "ssh": Mode.APPEND, "portal": Mode.PASSCODE_ONLY}
WRONG_PASSWORD = "falsch-falsch"
BROKEN_HASH = "no hash at all"  # the password can then be neither right nor wrong

CODES = {"accept": ACCEPT, "challenge": CHALLENGE, "again": CHALLENGE, "reject": REJECT}
DECISIONS = {"accept": Accept, "challenge": Challenge, "again": Challenge, "reject": Reject}


class Clock:
    """The real time, moved: the server beside it has no other."""

    def __init__(self) -> None:
        self.shift = 0.0
        self._real = opening.SystemMoments()

    def moment(self) -> Moment:
        return Moment(self.now, self._real.moment().random)

    @property
    def now(self) -> float:
        return time.time() + self.shift


@dataclass
class Person:
    """A row's user, and what he holds."""

    name: str
    tokens: list[Token] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    used: str = ""

    def typed(self, word: str, shown: str, now: float) -> str:
        """What `word` of the table stands for; `shown` is what the last answer said."""
        match word:
            case "pin":
                return pin(self.tokens[0], 1 if self.used else 0, now)
            case "pin2":
                return pin(self.tokens[1], 0, now)
            case "wrong":
                return wrong_pins(self.tokens[0])[0] if self.tokens else "000000"
            case "used":
                return self.used
            case "code":
                return self.codes[0]
            case "first":
                return first_pin(shown, now)
            case _:
                return word


def first_pin(shown: str, now: float) -> str:
    """The PIN an app makes of the key in the text, and of nothing else."""
    found = re.search(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", shown)
    assert found, shown
    return pin(Token(0, "", 0, "totp", key_from_text(found[0])), 0, now)


@dataclass
class House:
    site: Site
    clock: Clock
    gate: Gate

    @contextmanager
    def ago(self, seconds: float) -> Iterator[None]:
        self.clock.shift = -seconds
        try:
            yield
        finally:
            self.clock.shift = 0.0

    def do(self, command: Command) -> None:
        self.gate.administer(command)

    # --- setting up -----------------------------------------------------------------------------------------

    def settle(self, row: Row, name: str, broken: bool = False) -> Person:
        """A user called `name` as the row wants him."""
        person = Person(name)
        for word in row.policies:
            key, value, where = POLICIES[word]
            network = ip_network(where) if "/" in where else None
            scope = Scope(name, where if where and network is None else None, None, network)
            self.do(SetRule(actor="test", key=key, value=value, scope=scope))
        if row.who == "nobody":
            return person
        with self.ago(40 * DAY if row.who in ("old", "opened") else DAY if row.who == "yesterday" else 0.0):
            password = BROKEN_HASH if broken else hashed(PASSWORD)
            self.do(AddUser(actor="test", name=name, groups=(name,), password_hash=password))
            self._give_tokens(row, person)
            if row.who in ("seen", "away@vpn", "revoked", "unlocked", "renewed", "yesterday"):
                self._log_in_before(row, person)
        self._take_tokens(row, person)
        self._happen(row, person)
        return person

    def _enroll(self, person: Person, kind: str, origin: Origin = Origin.SELF) -> None:
        done = self.gate.administer(EnrollToken(actor="test", user=person.name, kind=kind, origin=origin))
        person.tokens.append(Token(0, done.serials[0], 0, kind, done.key or b""))

    def _give_tokens(self, row: Row, person: Person) -> None:
        match row.tokens:
            case "none" | "sheet":
                pass
            case "hotp":
                self._enroll(person, "hotp")
            case "hardware":
                self._enroll(person, "hotp", Origin.ADMIN)
            case "two" | "one":
                self._enroll(person, "hotp")
                self._enroll(person, "totp")
            case _:
                self._enroll(person, "totp")
        if row.tokens in ("sheet", "totp+sheet"):
            done = self.gate.administer(IssueRecovery(actor="test", name=person.name))
            person.codes = [typed_alone(code) for code in done.shown_once]

    def _log_in_before(self, row: Row, person: Person) -> None:
        door = "vpn" if row.who == "away@vpn" else row.door
        person.used = pin(person.tokens[0], 0, self.clock.now)
        first = "NOT_CHECKED" if door == "portal" else "PROVED"
        earlier = replace(row, door=door, first=first, source="home", typed="pin")
        outcome, _ = self.walk(earlier, Person(person.name, person.tokens))
        assert isinstance(outcome, Accept), outcome

    def _take_tokens(self, row: Row, person: Person) -> None:
        reasons = {"lost": "lost", "longago": "lost", "stolen": "compromise", "gone": "other"}
        if row.tokens in reasons:
            with self.ago(4 * DAY if row.tokens == "longago" else 0.0):
                why = RevokeReason(reasons[row.tokens])
                self.do(RevokeToken(actor="test", serial=person.tokens[0].serial, reason=why))
        if row.tokens == "one" or row.who == "revoked":
            self.do(RevokeToken(actor="test", serial=person.tokens[1].serial))
        if row.tokens == "off":
            self.do(SetTokenUse(actor="test", serial=person.tokens[0].serial, enabled=False))
        if row.tokens == "worn":
            self._type_wrong_pins(person, 3)
            assert self.site.token_row(person.tokens[0].serial)["state"] == "disabled"

    def _happen(self, row: Row, person: Person) -> None:
        acts = {"locked": [UserAct.LOCK], "disabled": [UserAct.DISABLE], "unlocked": [UserAct.LOCK, UserAct.UNLOCK]}
        for act in acts.get(row.who, []):
            self.do(ChangeUserState(actor="test", name=person.name, act=act))
        match row.who:
            case "waiting":
                self._type_wrong_pins(person, 5)
            case "spent":
                self._type_wrong_pins(person, 4)
            case "blocked":
                for _ in range(5):
                    self.gate.login([self.request("ssh", person.name, FirstFactor.WRONG)])
            case "opened" | "closed":
                self.do(SetPairing(actor="test", name=person.name, open=row.who == "opened"))
            case "bypass":
                self.do(GiveBypass(actor="test", name=person.name, hours=4))
            case "late":
                with self.ago(5 * HOUR):
                    self.do(GiveBypass(actor="test", name=person.name, hours=4))
            case "renewed":
                self.do(SetUser(actor="test", name=person.name, password_hash=hashed(PASSWORD + "!")))
                self.do(SetUser(actor="test", name=person.name, password_hash=hashed(PASSWORD)))
            case _:
                pass

    def _type_wrong_pins(self, person: Person, count: int) -> None:
        for wrong in wrong_pins(person.tokens[0], count):
            request = replace(self.request("ssh", person.name, FirstFactor.PROVED), passcode=wrong)
            (outcome,) = self.gate.login([request])
            assert isinstance(outcome, Reject)
            assert outcome.reason == "passcode-wrong"

    # --- logging in through the engine ----------------------------------------------------------------------

    def request(self, door: str, name: str, first: FirstFactor, source: str | None = None) -> LoginRequest:
        client = "" if door == "console" else door
        (seen,) = self.site.database.look([Wanted(user=name, client=client)])
        return LoginRequest(
            user=name,
            channel=Channel.console() if door == "console" else Channel.for_mode(DOORS[door]),
            client=client,
            client_version=seen.client.version if seen.client is not None else 0,
            first_factor=FirstFactorResult(first, seen.user.password_version if seen.user is not None else -1),
            source=source,
        )

    def walk(self, row: Row, person: Person) -> tuple[Decision, str]:
        """The decision of the last step of the row, and everything that was shown."""
        request = self.request(row.door, person.name, FirstFactor[row.first], ADDRESSES[row.source])
        answers = row.answers
        if row.one_field and answers:
            request = replace(request, passcode=person.typed(answers.pop(0), "", self.clock.now))
        shown = ""
        while True:
            (outcome,) = self.gate.login([request])
            assert not isinstance(outcome, StoreUnavailable)
            if not isinstance(outcome, Challenge) or not answers:
                assert not answers, f"{outcome} before {answers} was typed"
                return outcome, shown
            shown += "\n".join(outcome.texts)
            typed = person.typed(answers.pop(0), shown, self.clock.now)
            request = replace(request, state=outcome.state, passcode=typed, first_factor=NOT_CHECKED_NOW)

    def explained(self, row: Row, person: Person) -> Explanation:
        request = self.request(row.door, person.name, FirstFactor[row.first], ADDRESSES[row.source])
        (seen,) = self.site.database.look([request.wanted])
        return explain(seen, request, self.clock.moment())

    def last_login(self, name: str) -> tuple[object, object]:
        with self.site.database.connections.reading() as connection:
            rows = [row for row in listings.audit_rows(connection, [name]) if row["event"] == "login"]
        return rows[-1]["decision"], rows[-1]["reason"]


NOT_CHECKED_NOW = FirstFactorResult(FirstFactor.NOT_CHECKED)


def built(folder: Path) -> House:
    site = Site(folder)
    for number, (name, mode) in enumerate(DOORS.items(), start=2):
        site.add_client(name, f"127.0.0.{number}/32", mode=mode)
    clock = Clock()
    gate = Gate(site.database, clock, opening.LoggedFaults(), NoNotices())
    gate.administer(SetRule(actor="test", key="reject_delay", value="0", scope=Scope()))
    return House(site, clock, gate)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return built(tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_engine_and_its_explanation_agree_with_the_table(house: House, row: Row) -> None:
    person = house.settle(row, f"e{row.number}")
    explanation = house.explained(row, person)
    assert explanation.next_step == row.next
    if row.first == "PROVED" and row.typed == "-":  # the very login that is explained
        assert explanation.decision.reason == row.reason
        assert isinstance(explanation.decision, DECISIONS[row.decision])
    decision, _ = house.walk(row, person)
    assert (type(decision), decision.reason) == (DECISIONS[row.decision], row.reason)
    assert house.last_login(person.name) == (row.decision, row.reason)


# --- over RADIUS ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wire:
    """A client of each kind, at a server of a house of its own: unknown users are a row a minute in its trail."""

    house: House
    clients: dict[str, Nas]

    def walk(self, row: Row, person: Person, silent: bool) -> str:
        """How the last reply differs from the table; nothing if it does not."""
        nas = self.clients[row.door]
        source = ADDRESSES[row.source]
        extra = [(CALLING_STATION_ID, source.encode())] if source is not None else []
        answers = row.answers
        typed = "" if row.door == "portal" else WRONG_PASSWORD if row.first == "WRONG" else PASSWORD
        if row.one_field and answers:
            typed += person.typed(answers.pop(0), "", time.time())
        request = access_request(SECRET, person.name, typed, extra=extra)
        if silent:
            nas.send(request.data)
            eventually(lambda: self._heard(person.name), what="a row in the audit trail")
            probe = status_server(SECRET, identifier=(request.data[1] + 1) % 256)
            return "" if nas.ask(probe).code == ACCEPT else "an answer came"
        reply, shown = nas.ask(request), ""
        while reply.code == CHALLENGE and answers:
            shown += reply.text
            typed = person.typed(answers.pop(0), shown, time.time())
            reply = nas.login(person.name, typed, state=reply.state, extra=extra)
        wanted = CODES[row.decision]
        return "" if (reply.code, answers) == (wanted, []) else f"code {reply.code} for {wanted}, not typed: {answers}"

    def _heard(self, name: str) -> bool:
        return any(row["user"] == name and row["event"] == "login" for row in self.house.site.audit())


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    house = built(tmp_path_factory.mktemp("wire"))
    with house.site.server() as server, ExitStack() as stack:
        sources = {name: f"127.0.0.{number}" for number, name in enumerate(DOORS, start=2)}
        yield Wire(house, {name: stack.enter_context(server.nas(source=at)) for name, at in sources.items()})


def listed(site: Site) -> dict[str, tuple[str, str]]:
    """Decision and reason of each user's last login, as `twofold audit list --json` tells them."""
    done = site.command("audit", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {row["user"]: (row["decision"], row["reason"]) for row in json.loads(done.stdout) if row["event"] == "login"}


def test_a_radius_client_gets_what_the_table_says(wire: Wire) -> None:
    """All rows that a RADIUS client can bring about, at one server; the reasons are read from the trail.

    About 10 s: some 130 users are set up, and each login checks a password.
    """
    rows = [row for row in ROWS if row.over_radius]
    trouble = {}
    for row in rows:
        silent = row.first == "UNAVAILABLE"  # neither right nor wrong: the client asks its next server
        person = wire.house.settle(row, f"r{row.number}", broken=silent)
        trouble[row.id] = wire.walk(row, person, silent)
    assert {name: what for name, what in trouble.items() if what} == {}
    found = listed(wire.house.site)
    unlike = {row.id: found.get(f"r{row.number}") for row in rows if found.get(f"r{row.number}") != said(row)}
    assert unlike == {}


def said(row: Row) -> tuple[str, str]:
    return row.decision, row.reason


# --- the real `policy explain` ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_command_policy_explain_tells_the_same(house: House, row: Row) -> None:
    name = house.settle(row, f"c{row.number}").name
    source = ADDRESSES[row.source]
    options = ["--from", source] if source is not None else []
    door = ["--client", row.door] if row.door != "console" else []
    done = Twofold(house.site)("policy", "explain", "--user", name, *door, *options, "--json")
    if row.who == "nobody":
        assert (done.status, f"there is no user '{name}'" in done.err) == (1, True)
        return
    assert done.status == 0, done.err
    assert done.json["next_step"] == row.next
    if row.first == "PROVED" and row.typed == "-":  # the very login that is explained
        assert done.json["reason"] == row.reason
    fitting = [POLICIES[word] for word in row.policies if POLICIES[word][2] in ("", row.door)]
    for key, (value, where) in {key: (value, where) for key, value, where in fitting}.items():  # the narrower come last
        scope = f"group {name}" + (f", client {where}" if where else "")
        assert done.json["settings"][key]["value"] == value
        assert done.json["settings"][key]["set_by"].endswith(f": {scope}")


@pytest.mark.parametrize("row", [ROWS[0], ROWS[-1]], ids=lambda row: row.id)
def test_it_does_so_in_a_process_of_its_own(house: House, row: Row) -> None:
    name = house.settle(row, f"p{row.number}").name
    done = house.site.command("policy", "explain", "--user", name, "--client", row.door, "--json")
    assert (done.returncode, json.loads(done.stdout)["next_step"]) == (0, row.next)


# --- the table itself -------------------------------------------------------------------------------------------


def test_the_table_holds_what_it_must() -> None:
    """At least 80 states, no two rows alike, and each way past the PIN crossed with each first factor at each door."""
    assert len({replace(row, number=0) for row in ROWS}) == len(ROWS) >= 80
    crossed = {(row.policy, row.door, row.first) for row in ROWS if row.typed == "-"}
    ways, doors = ("skip", "grace", "reuse"), (*DOORS, "console")
    assert not set(itertools.product(ways, doors, FirstFactor.__members__)) - crossed
    assert sum(row.over_radius for row in ROWS) > 100
