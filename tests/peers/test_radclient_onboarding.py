"""A first registration as a person has it: `radclient` asks for him, `oathtool` is the app on his phone.

Rule: a PIN comes from the text that was shown and from nothing else. The server has two gateways, told apart by their
addresses: to one it sends the key itself, to the other a ticket, which is redeemed on a terminal of its own.
"""

import itertools
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

import pytest

from store.opening import SystemMoments
from tests.fakes import CollectedFaults, CollectedNotices
from tests.peers import peers
from tests.peers.oathtool import oathtool
from tests.peers.test_radclient import Heard, run, run_radclient
from tests.site import PASSWORD, SECRET, TWOFOLD, ServerProcess, Site
from tests.wire import CHALLENGE, REJECT
from validation.decisions import Accept, Challenge
from validation.gate import Gate
from validation.model import Mode, Moment, Purpose
from validation.requests import (
    Channel,
    FirstFactor,
    FirstFactorResult,
    IssueTicket,
    LoginRequest,
    Wanted,
    ticket_digest,
)

pytestmark = pytest.mark.peer("radclient", "oathtool")

KEY, TICKET = "127.0.0.2", "127.0.0.3"  # the gateways, by what they are sent
TICKETS = re.compile(r"\b(?:[2-9A-Z]{5}-){5}[2-9A-Z]\b")
PERIOD = 30
TEN_MINUTES = 600.0
FIRST_PIN = "First PIN from the app: "


@dataclass(frozen=True)
class Phone:
    """An app that has read the address in `text`. Steps are counted from the moment it did."""

    secret: str
    uri: str
    began: int

    @classmethod
    def that_has_read(cls, text: str) -> "Phone":
        (uri,) = re.findall(r"otpauth://\S+", text)
        (secret,) = parse_qs(urlsplit(uri).query)["secret"]
        return cls(secret, uri, int(time.time()) // PERIOD)

    def pin(self, step: int = 0) -> str:
        """Of the step of its beginning, or so many later: the next PIN must not depend on how slow the test is."""
        command = [peers.require("oathtool"), "--totp", "-b", "--now", f"@{(self.began + step) * PERIOD}", "-"]
        done = subprocess.run(command, input=self.secret, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def messages(answer: Heard) -> list[str]:
    """Every Reply-Message in the order in which `radclient` prints them."""
    _, _, reply = answer.output.partition("Received ")
    return re.findall(r'^\tReply-Message = "(.*)"$', reply, re.MULTILINE)


def check_sizes(answer: Heard) -> None:
    sizes = [len(text.encode()) for text in messages(answer)]
    assert sizes, answer.output
    assert max(sizes) <= 253, sizes


@dataclass(frozen=True)
class Ago:
    """The real dice, and the real clock so many seconds ago."""

    seconds: float

    def moment(self) -> Moment:
        moment = SystemMoments().moment()
        return replace(moment, now=moment.now - self.seconds)


@dataclass
class House:
    site: Site
    server: ServerProcess
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def newcomer(self, *groups: str) -> str:
        name = f"user{next(self._numbers)}"
        self.site.add_user(name, groups=groups)
        return name

    def ask(self, gateway: str, name: str, typed: str, state: str | None = None) -> Heard:
        attributes = [f"Packet-Src-IP-Address = {gateway}", f'User-Name = "{name}"', f'User-Password = "{typed}"']
        attributes += [f"State = {state}"] if state else []
        return run_radclient(self.server, "auth", [*attributes, "Message-Authenticator = 0x00"])

    def challenged(self, gateway: str, name: str) -> Heard:
        answer = self.ask(gateway, name, PASSWORD)
        assert answer.code == "Access-Challenge", answer.output
        return answer

    def login(self, name: str, passcode: str, gateway: str = KEY) -> Heard:
        return self.ask(gateway, name, passcode, self.challenged(gateway, name).state)

    def shown_key(self, name: str) -> Heard:
        """The welcome is passed over."""
        shown = self.ask(KEY, name, "s", self.challenged(KEY, name).state)
        assert shown.code == "Access-Challenge", shown.output
        return shown

    def paired(self, name: str) -> Phone:
        """The step of its beginning is used up."""
        shown = self.shown_key(name)
        phone = Phone.that_has_read("\n".join(messages(shown)))
        done = self.ask(KEY, name, phone.pin(), shown.state)
        assert done.code == "Access-Accept", done.output
        return phone

    def tokens(self, name: str, state: str = "active") -> list[str]:
        from store import listings

        with self.site.database.connections.reading() as connection:
            return [row["serial"] for row in listings.token_rows(connection, user=name) if row["state"] == state]

    def reasons(self, name: str, event: str) -> list[object]:
        return [row["reason"] for row in self.site.audit() if row["user"] == name and row["event"] == event]

    def gate_ago(self, seconds: float) -> Gate:
        """The gate as it was so long ago: what it issues has had its time since."""
        return Gate(self.site.database, Ago(seconds), CollectedFaults(), CollectedNotices())

    def request(self, name: str, client: str, channel: Channel) -> LoginRequest:
        """As a face hands in a login whose password it has found right."""
        (seen,) = self.site.database.look([Wanted(user=name, client=client or None)])
        assert seen.user is not None
        proved = FirstFactorResult(FirstFactor.PROVED, seen.user.password_version)
        version = seen.client.version if seen.client is not None else 0
        return LoginRequest(name, channel, client, version, proved)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    site = Site(tmp_path_factory.mktemp("house"))
    for name, address in (("key", KEY), ("ticket", TICKET)):
        run(site, "client", "add", name, address, "--secret-stdin", stdin=SECRET)
    run(site, "policy", "set", "onboarding_over_radius", "key", "--client", "key")
    with site.server() as server:
        yield House(site, server)


# --- A terminal -------------------------------------------------------------------------------------------------


class Terminal:
    """A `twofold` command on a terminal: what it writes is read before the next thing is typed."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self._side, side = pty.openpty()
        command = [*TWOFOLD, "--config", str(site.config_file), *arguments]
        # A session of its own, so that a hidden prompt does not go to the terminal of whoever runs the tests.
        self.process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, start_new_session=True)
        os.close(side)
        self._octets = b""

    @property
    def text(self) -> str:
        return self._octets.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, prompt: str) -> None:
        """Until it stands at the end of the screen."""
        self._read_until(lambda: self.text.endswith(prompt), repr(prompt))

    def answer(self, prompt: str, typed: str) -> None:
        self.wait_for(prompt)
        os.write(self._side, f"{typed}\n".encode())

    def status(self) -> int:
        """Read to the end."""
        self._read_until(lambda: False, "its end")
        return self.process.wait(60)

    def _read_until(self, reached: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not reached():
            ready, _, _ = select.select([self._side], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"{what} did not come within {seconds} s:\n{self.text}"
            if not (octets := self._piece()):
                assert what == "its end", f"it ended before {what}:\n{self.text}"
                return
            self._octets += octets

    def _piece(self) -> bytes:
        try:
            return os.read(self._side, 65_536)
        except OSError:  # how Linux tells that the other side is closed
            return b""

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._side)


@contextmanager
def terminal(site: Site, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal(site, *arguments)
    try:
        yield opened
    finally:
        opened.close()


def redeemed(site: Site, ticket: str) -> Phone:
    """A person reads the key from the screen and types the first PIN of his app. The password does not show."""
    with terminal(site, "ticket", "redeem") as screen:
        screen.answer("Ticket: ", ticket)
        screen.answer("Password: ", PASSWORD)
        screen.wait_for(FIRST_PIN)
        phone = Phone.that_has_read(screen.text)
        screen.answer(FIRST_PIN, phone.pin())
        assert screen.status() == 0, screen.text
        assert "Done. From now on each login asks for a PIN." in screen.text
        assert PASSWORD not in screen.text
    return phone


def refused(site: Site, ticket: str, password: str = PASSWORD) -> bool:
    """Whether the ticket is refused without a key being shown."""
    done = site.command("ticket", "redeem", stdin=f"{ticket}\n{password}\n")
    return done.returncode == 1 and "secret=" not in done.stdout


# --- The key over RADIUS ----------------------------------------------------------------------------------------


def test_by_key_from_the_password_to_a_token_that_logs_in(house: House) -> None:
    name = house.newcomer()
    welcome = house.challenged(KEY, name)
    assert messages(welcome) == ["Set up your second factor (1 minute). Enter s to go on, or n for instructions: "]
    shown = house.ask(KEY, name, "s", welcome.state)
    check_sizes(shown)
    phone = Phone.that_has_read("\n".join(messages(shown)))
    assert house.tokens(name) == [], "nothing is there before the first PIN"
    done = house.ask(KEY, name, phone.pin(), shown.state)
    assert (done.code, messages(done)[0].startswith("Done.")) == ("Access-Accept", True), done.output
    assert len(house.tokens(name)) == 1
    assert house.login(name, phone.pin(1)).code == "Access-Accept"
    assert house.login(name, phone.pin(1)).code == "Access-Challenge", "each PIN once"


def test_the_key_is_an_address_and_groups_of_four_apart_by_one_blank(house: House) -> None:
    name = house.newcomer()
    shown = house.shown_key(name)
    phone = Phone.that_has_read("\n".join(messages(shown)))
    assert phone.uri == (
        f"otpauth://totp/Twofold:{name}?secret={phone.secret}&issuer=Twofold&algorithm=SHA1&digits=6&period=30"
    )
    groups = [phone.secret[at : at + 4] for at in range(0, 32, 4)]
    assert len(phone.secret) == 32, "160 bits"
    assert [text for text in messages(shown) if text.endswith(": " + " ".join(groups))], messages(shown)
    check_sizes(shown)


@pytest.mark.statement("O-030")
def test_everybody_gets_a_key_of_his_own(house: House) -> None:
    """Also one who begins again: a key that was shown and not confirmed leaves nothing behind."""
    name, other = house.newcomer(), house.newcomer()
    answers = [house.shown_key(who) for who in (name, name, other)]
    phones = [Phone.that_has_read("\n".join(messages(shown))) for shown in answers]
    assert len({phone.secret for phone in phones}) == 3
    crossed = house.ask(KEY, name, phones[0].pin(), answers[1].state)
    assert crossed.code == "Access-Challenge", "the PIN of the key that was shown before"
    assert house.ask(KEY, name, phones[1].pin(), crossed.state).code == "Access-Accept"


def test_pairing_that_is_closed_after_the_key_was_shown_makes_no_token(house: House) -> None:
    name = house.newcomer()
    shown = house.shown_key(name)
    phone = Phone.that_has_read("\n".join(messages(shown)))
    run(house.site, "user", "pairing", name, "--close")
    assert house.ask(KEY, name, phone.pin(), shown.state).code == "Access-Reject"
    assert house.tokens(name) == []


# --- Tickets ----------------------------------------------------------------------------------------------------


def ticket_of(answer: Heard) -> str:
    (ticket,) = TICKETS.findall("\n".join(messages(answer)))
    return str(ticket)


@pytest.mark.statement("O-056")
def test_a_ticket_is_redeemed_on_a_terminal_and_the_login_that_waits_goes_on(house: House) -> None:
    name = house.newcomer()
    told = house.challenged(TICKET, name)
    check_sizes(told)
    ticket = ticket_of(told)
    assert "otpauth" not in told.output, "no key over this path"
    phone = redeemed(house.site, ticket)
    assert len(house.tokens(name)) == 1
    (seen,) = house.site.database.look([Wanted(ticket=ticket_digest(ticket))])
    assert seen.ticket is None, "used up with the first PIN, not only of no use to who has a token"
    assert house.ask(TICKET, name, phone.pin(1), told.state).code == "Access-Accept"
    assert refused(house.site, ticket)


@pytest.mark.statement("O-056")
@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_ticket_is_nothing_without_the_password(house: House, password: str) -> None:
    name = house.newcomer()
    ticket = ticket_of(house.challenged(TICKET, name))
    assert refused(house.site, ticket, password)
    assert house.site.failures(name)["password"] == 1, "throttled like a login"
    assert house.tokens(name) == []
    redeemed(house.site, ticket)


@pytest.mark.statement("O-056")
def test_a_ticket_is_spent_even_when_pairing_is_open_again(house: House) -> None:
    """It is the ticket that is refused here, not the user: another one pairs."""
    name = house.newcomer()
    ticket = ticket_of(house.challenged(TICKET, name))
    redeemed(house.site, ticket)
    run(house.site, "token", "revoke", "--user", name, "--reason", "lost")
    assert refused(house.site, ticket)
    redeemed(house.site, ticket_of(house.challenged(TICKET, name)))


@pytest.mark.statement("O-056")
def test_a_ticket_from_a_login_is_good_for_ten_minutes(house: House) -> None:
    late, just = (_ticket_from_a_login_ago(house, house.newcomer(), TEN_MINUTES - left) for left in (0, 60))
    assert refused(house.site, late)
    redeemed(house.site, just)


def _ticket_from_a_login_ago(house: House, name: str, seconds: float) -> str:
    request = house.request(name, "ticket", Channel.for_mode(Mode.CHALLENGE))
    (told,) = house.gate_ago(seconds).login([request])
    assert isinstance(told, Challenge), told
    (ticket,) = TICKETS.findall("\n".join(told.texts))
    return str(ticket)


@pytest.mark.statement("O-056")
def test_a_ticket_from_an_admin_is_good_for_ten_minutes(house: House) -> None:
    tickets: list[str] = []
    for left in (0, 60):
        order = IssueTicket(actor="test", name=house.newcomer())
        tickets += house.gate_ago(TEN_MINUTES - left).administer(order).shown_once
    assert refused(house.site, tickets[0])
    redeemed(house.site, tickets[1])


@pytest.mark.statement("O-055")
def test_a_ticket_adds_nothing_to_a_registration(house: House) -> None:
    """The password and a ticket from before are not enough once there is a second factor."""
    name = house.newcomer()
    ticket = ticket_of(house.challenged(TICKET, name))
    house.paired(name)
    assert refused(house.site, ticket)
    assert len(house.tokens(name)) == 1


# --- Long texts -------------------------------------------------------------------------------------------------

CYRILLIC = "Ваш жетон лежит на вахте, комната 12; понедельник — пятница. "


def test_a_refusal_of_2000_characters_arrives_whole(house: House) -> None:
    notice = (CYRILLIC * 40)[:2000]
    run(house.site, "policy", "set", "enrolment", "hardware-only", "--group", "finance")
    run(house.site, "message", "set", "hardware-only", notice, "--group", "finance")
    name = house.newcomer("finance")
    answer = house.ask(TICKET, name, PASSWORD)
    assert (answer.code, "".join(messages(answer))) == ("Access-Reject", notice)
    check_sizes(answer)
    assert house.reasons(name, "login") == ["hardware-only"]
    with house.server.nas(source=TICKET) as nas:
        reply = nas.login(name, PASSWORD)
    assert (reply.code, [text.decode() for text in reply.values(18)]) == (REJECT, messages(answer))


def test_a_question_of_1900_characters_arrives_whole(house: House) -> None:
    welcome = (CYRILLIC * 40)[:1900]
    run(house.site, "message", "set", "welcome", welcome, "--group", "talkative")
    name = house.newcomer("talkative")
    answer = house.challenged(KEY, name)
    assert "".join(messages(answer)) == welcome
    check_sizes(answer)
    with house.server.nas(source=KEY) as nas:
        reply = nas.login(name, PASSWORD)
    assert (reply.code, [text.decode() for text in reply.values(18)]) == (CHALLENGE, messages(answer))
    assert house.ask(KEY, name, "s", answer.state).code == "Access-Challenge", "its State came with it"


# --- Revoked and made anew --------------------------------------------------------------------------------------


@pytest.mark.statement("O-057")
def test_an_app_revoked_between_challenge_and_pin(house: House) -> None:
    name = house.newcomer()
    phone = house.paired(name)
    (serial,) = house.tokens(name)
    challenge = house.challenged(KEY, name)
    run(house.site, "token", "revoke", serial, "--reason", "lost")
    refusal = house.ask(KEY, name, phone.pin(1), challenge.state)
    assert (refusal.code, refusal.state) == ("Access-Reject", None), refusal.output
    bound = [row for row in house.site.audit() if row["serial"] == serial]
    assert [(row["event"], row["reason"], bool(row["at"])) for row in bound if row["decision"] == "done"] == [
        ("login", "registered", True),
        ("token-revoke", "", True),
    ], "what was bound and when stays in the trail"


@pytest.mark.statement("O-057")
def test_after_a_compromise_only_an_admin_opens_pairing(house: House) -> None:
    name = house.newcomer()
    phone = house.paired(name)
    run(house.site, "token", "revoke", "--user", name, "--reason", "compromise")
    for gateway in (KEY, TICKET):
        answer = house.ask(gateway, name, PASSWORD)
        assert (answer.code, "otpauth" in answer.output, TICKETS.findall(answer.output)) == ("Access-Reject", False, [])
    run(house.site, "user", "pairing", name, "--open")
    anew = house.paired(name)
    assert anew.secret != phone.secret
    assert house.login(name, phone.pin(2)).code == "Access-Challenge", "the stolen key stays out"


def test_a_new_key_takes_over_with_its_first_pin_and_not_before(house: House) -> None:
    """Reset, at a terminal's door, while the server runs. The old app counts, so that its PINs do not hang on time."""
    name = house.newcomer()
    old = house.site.enroll(name, kind="hotp")
    console = house.request(name, "", Channel.console())
    reset = replace(console, purpose=Purpose.RESET, replaces=old.serial)
    state = _asked(house, reset).state
    checked = replace(reset, first_factor=FirstFactorResult(FirstFactor.NOT_CHECKED))
    shown = _asked(house, replace(checked, state=state, passcode=_counted(old.key, 0)))
    phone = Phone.that_has_read("\n".join(shown.texts))
    challenge = house.challenged(KEY, name)
    assert house.login(name, _counted(old.key, 1)).code == "Access-Accept", "the old one, until the new one is there"
    early = house.ask(KEY, name, phone.pin(), challenge.state)
    assert early.code == "Access-Challenge", "the new one lets nobody in before it is confirmed"
    (done,) = house.site.gate.login([replace(checked, state=shown.state, passcode=phone.pin())])
    assert isinstance(done, Accept), done
    assert house.tokens(name, "revoked") == [old.serial]
    assert house.login(name, _counted(old.key, 2)).code == "Access-Challenge", "the old one, never again"
    assert house.login(name, phone.pin(1)).code == "Access-Accept"


def _asked(house: House, request: LoginRequest) -> Challenge:
    (outcome,) = house.site.gate.login([request])
    assert isinstance(outcome, Challenge), outcome
    return outcome


def _counted(key: bytes, counter: int) -> str:
    (passcode,) = oathtool(key, "--counter", str(counter))
    return passcode
