"""Real reports, as packets: each named case against a server of its own.

The files in tests/vectors/cases hold whole UDP payloads with Identifier 7 and a fixed authenticator. The client has the
secret `cases-secret-1`; alice has the password `geheim` and the HOTP token of RFC 4226 at counter 0.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders import RFC_KEY
from tests.flows.crowd import answered, numbered, send_all
from tests.site import PASSWORD, ServerProcess, Site, eventually, hashed, pin
from tests.vectors.rfc4226 import APPENDIX_D
from tests.wire import (
    ACCEPT,
    CHALLENGE,
    PROXY_STATE,
    REJECT,
    REPLY_MESSAGE,
    STATE,
    Nas,
    Request,
    access_request,
    status_server,
)
from validation.model import Encoding, MessageAuthenticatorRule, Mode
from validation.requests import SetUser

SECRET = b"cases-secret-1"
CASES = Path(__file__).parents[1] / "vectors" / "cases"
SERIAL = "CASE0001"
PINS = [row.hotp for row in APPENDIX_D]

MS_CHAP_2_ONLY = "MS-CHAPv2, only PAP is supported"


def packet_of(case: str) -> Request:
    return Request(bytes.fromhex((CASES / f"{case}.hex").read_text()), SECRET)


@dataclass(frozen=True)
class Case:
    """Alice's site with a running server and one client."""

    site: Site
    server: ServerProcess
    nas: Nas

    @property
    def counter(self) -> object:
        return self.site.token_row(SERIAL)["moving_factor"]

    @property
    def failures(self) -> int:
        return sum(self.site.failures("alice").values())

    @property
    def logins(self) -> list[tuple[object, object]]:
        return self.site.logins()

    def log_of(self, word: str) -> str:
        """The one line of the log that holds `word`."""
        eventually(lambda: word in self.server.log, what=f"a line with {word!r}")  # it may come after the reply
        (line,) = [line for line in self.server.log.splitlines() if word in line]
        return line

    def check_no_trace(self, *secrets: str) -> None:
        """The log has no traceback and none of `secrets`."""
        for word in ("Traceback", "\0", *secrets):
            assert word not in self.server.log

    def login(self, password: str, **options: object) -> int:
        return self.nas.login("alice", password, **options).code


CaseWith = Callable[..., Case]


@pytest.fixture
def case_with(tmp_path: Path) -> Iterator[CaseWith]:
    """`case_with(mode, password)`: everything as the cases want it."""
    with ExitStack() as stack:

        def start(
            mode: Mode = Mode.APPEND,
            password: str = PASSWORD,
            rule: MessageAuthenticatorRule = MessageAuthenticatorRule.REQUIRED,
            **client: Any,
        ) -> Case:
            site = Site(tmp_path / "site")
            site.add_user("alice", password)
            site.enroll("alice", kind="hotp", key=RFC_KEY, serial=SERIAL)
            site.add_client("vpn", secret=SECRET, mode=mode, rule=rule, **client)
            server = stack.enter_context(site.server())
            return Case(site, server, stack.enter_context(server.nas(SECRET)))

        yield start


def test_r01_two_steps_and_the_state_comes_back(case_with: CaseWith) -> None:
    case = case_with(Mode.CHALLENGE)
    step = case.nas.login("alice", PASSWORD, extra=[(32, b"FGT")])
    assert (step.code, len(step.values(STATE)), len(step.values(REPLY_MESSAGE))) == (CHALLENGE, 1, 1)
    with case.server.nas(SECRET) as other_port:
        assert other_port.login("alice", PINS[0], state=step.state).code == ACCEPT
    assert case.login(PINS[1], state=step.state) == REJECT, "the State is spent"
    assert case.counter == 1


def test_r04_retransmissions_while_the_check_is_slow(case_with: CaseWith) -> None:
    """Slow because thirty password checks go before: all copies come while the first is in work."""
    case = case_with()
    with case.server.nas(SECRET) as crowd:
        send_all(crowd, numbered(SECRET, [(f"nobody{n}", "geheim123456") for n in range(30)]))
        request = access_request(SECRET, "alice", PASSWORD + PINS[0])
        for _ in range(3):
            case.nas.send(request.data)
        first = case.nas.receive()
        assert first is not None
        assert first.check(request).code == ACCEPT
        assert case.nas.ask(request).data == first.data, "one more copy after the answer"
        assert case.nas.ask(status_server(SECRET)).code == ACCEPT, "no further reply came before it"
    assert case.logins.count(("accept", "passcode-right")) == 1
    assert (case.counter, case.failures) == (1, 0)


def test_r06_attributes_nobody_knows(case_with: CaseWith) -> None:
    case = case_with()
    assert case.nas.ask(packet_of("R06-unknown-attributes")).code == ACCEPT
    case.check_no_trace()


@pytest.mark.parametrize("form", ["first", "none"])
def test_r08_every_reply_is_signed_first(case_with: CaseWith, form: str) -> None:
    """`ask` checks it: valid, and the first attribute; also when the request had none."""
    case = case_with(Mode.CHALLENGE, rule=MessageAuthenticatorRule.OFF)
    step = case.nas.login("alice", PASSWORD, message_authenticator=form)
    accepted = case.login(PINS[0], state=step.state, message_authenticator=form)
    assert [step.code, accepted, case.login("wrong", message_authenticator=form)] == [CHALLENGE, ACCEPT, REJECT]


def test_r10_ms_chap_v2_instead_of_pap(case_with: CaseWith) -> None:
    case = case_with()
    assert case.nas.ask(packet_of("R10-mschapv2")).code == REJECT
    line = case.log_of("MS-CHAP")
    for part in ("reject", "client=vpn", "user=alice", MS_CHAP_2_ONLY):
        assert part in line
    assert (case.counter, case.failures) == (0, 0)
    case.check_no_trace()


ACCENTS = "Azértèçà0"


def test_r14_a_password_with_accents_in_utf_8(case_with: CaseWith) -> None:
    case = case_with(password=ACCENTS)
    assert case.login(ACCENTS + PINS[0]) == ACCEPT
    case.check_no_trace(ACCENTS)


def test_r14_a_password_with_accents_in_latin_1_from_a_client_that_is_set_to_it(case_with: CaseWith) -> None:
    case = case_with(password=ACCENTS, encoding=Encoding.LATIN_1)
    assert case.nas.ask(packet_of("R14-latin1-password")).code == ACCEPT
    assert case.login(ACCENTS + PINS[1]) == ACCEPT, "and UTF-8 goes on to be taken"
    case.check_no_trace("Az")


def test_r14_a_password_with_accents_in_latin_1(case_with: CaseWith) -> None:
    """A plain Reject, and the log says why, and which option would take it."""
    case = case_with(password=ACCENTS)
    assert case.nas.ask(packet_of("R14-latin1-password")).code == REJECT
    assert "the password is not UTF-8 (--encoding latin-1 takes ISO 8859-1)" in case.log_of("reject")
    assert (case.counter, case.failures) == (0, 0)
    case.check_no_trace("Az")


BATTERY = "correct-horse-batterystaple!"


def test_r16_password_and_pin_of_15_to_33_octets(case_with: CaseWith) -> None:
    """The reported packet has 26; the others follow with the next PINs."""
    case = case_with(password=BATTERY[:20])
    assert case.nas.ask(packet_of("R16-26-byte-password")).code == ACCEPT
    for counter, octets in enumerate((15, 16, 17, 32, 33), 1):
        password = BATTERY[: octets - 6]
        case.site.gate.administer(SetUser(actor="test", name="alice", password_hash=hashed(password)))
        assert case.login(password + PINS[counter]) == ACCEPT, octets


def test_r18_a_nul_and_rubbish_behind_the_password(case_with: CaseWith) -> None:
    """Without --cut-at-nul: a Reject, and the log says that the password holds a NUL."""
    case = case_with()
    assert case.nas.ask(packet_of("R18-nul-then-garbage")).code == REJECT
    assert "the password holds a NUL octet" in case.log_of("reject")
    assert (case.counter, case.failures) == (0, 0)
    case.check_no_trace(PASSWORD, PINS[0], "X{")


def test_r18_a_nul_and_rubbish_from_a_client_that_is_known_for_it(case_with: CaseWith) -> None:
    case = case_with(cut_at_nul=True)
    assert case.nas.ask(packet_of("R18-nul-then-garbage")).code == ACCEPT
    case.check_no_trace(PASSWORD, "X{")


def test_r20_a_health_check_is_answered_and_is_no_login(case_with: CaseWith) -> None:
    case = case_with()
    before = len(case.site.audit())
    assert case.nas.ask(packet_of("R20a-status-server")).code == ACCEPT
    assert len(case.site.audit()) == before


def test_r20_a_health_check_is_answered_while_logins_wait_for_their_password_check(case_with: CaseWith) -> None:
    case = case_with(Mode.CHALLENGE)
    with case.server.nas(SECRET) as crowd:
        logins = numbered(SECRET, [("alice", PASSWORD)] * 20)
        send_all(crowd, logins)
        assert case.nas.ask(packet_of("R20a-status-server")).code == ACCEPT
        assert len(case.logins) < 20
        assert {reply.code for reply in answered(crowd, logins)} == {CHALLENGE}


def test_r20_an_unsigned_health_check_gets_silence(case_with: CaseWith) -> None:
    case = case_with()
    case.nas.send(packet_of("R20b-status-server-no-ma").data)
    assert case.nas.ask(status_server(SECRET)).code == ACCEPT, "and nothing came before it"
    assert "reason=message-authenticator-missing" in case.log_of("drop")


def test_r22_no_user_password_at_all(case_with: CaseWith) -> None:
    case = case_with()
    assert case.nas.ask(packet_of("R22-no-user-password")).code == REJECT
    assert "no User-Password" in case.log_of("reject")
    assert (case.counter, case.failures) == (0, 0)
    case.check_no_trace()


def test_r22_no_user_password_where_the_client_has_checked_it_and_wants_to_ask(case_with: CaseWith) -> None:
    """Who sends none to a client that checks passwords itself is asked for the PIN; names that are nobody's too."""
    case = case_with(Mode.PASSCODE_ONLY, always_challenge=True)
    step = case.nas.ask(packet_of("R22-no-user-password"))
    assert step.code == CHALLENGE
    assert case.login(PINS[0], state=step.state) == ACCEPT
    stranger = case.nas.ask(access_request(SECRET, "nobody", ""))
    assert (stranger.code, stranger.text) == (CHALLENGE, step.text)
    again = case.nas.login("nobody", PINS[1], state=stranger.state)
    assert again.code == CHALLENGE


@pytest.mark.parametrize("typed", ["SCRV1:Z2VoZWlt:NzU1MjI0", "SCRV1:!!:x", "SCRV1:Z2VoZWlt"])
def test_r35_a_static_challenge_for_a_client_of_another_mode_is_named(case_with: CaseWith, typed: str) -> None:
    case = case_with()
    assert case.login(typed) == REJECT
    assert "SCRV1" in case.log_of("reject")
    assert (case.counter, case.failures) == (0, 0)
    case.check_no_trace("Z2Vo")


def test_r35_a_static_challenge_is_taken_apart(case_with: CaseWith) -> None:
    case = case_with(Mode.OPENVPN)
    assert case.nas.ask(packet_of("R35-openvpn-scrv1")).code == ACCEPT
    assert (case.counter, case.failures) == (1, 0)


@pytest.mark.parametrize("typed", ["SCRV1:!!:x", "SCRV1:Z2VoZWlt", "SCRV1::NzU1MjI0", "SCRV1:/w==:NzU1MjI0"])
def test_r35_a_broken_static_challenge_is_refused_by_its_name(case_with: CaseWith, typed: str) -> None:
    case = case_with(Mode.OPENVPN)
    assert case.login(typed) == REJECT
    assert "SCRV1" in case.log_of("reject")
    assert (case.counter, case.failures) == (0, 0)
    case.check_no_trace()


def test_r28_a_fixed_address_for_one_user(case_with: CaseWith) -> None:
    """In his Accept alone, never in a Challenge or Reject, and of nobody else; a typo is refused when it is set."""
    case = case_with(Mode.CHALLENGE)
    case.site.add_user("bob")
    token = case.site.enroll("bob", kind="hotp")
    fixed = "--reply=Framed-IP-Address=10.10.1.44", "--reply=Framed-IP-Netmask=255.255.255.255"
    assert case.site.command("user", "set", "alice", *fixed).returncode == 0
    typo = case.site.command("user", "set", "alice", "--reply=Framed-IP-Address=10.10.1.444")
    assert (typo.returncode, "10.10.1.444" in typo.stderr) == (2, True)
    step = case.nas.login("alice", PASSWORD)
    accepted = case.nas.login("alice", PINS[0], state=step.state)
    assert (accepted.code, accepted.values(8), accepted.values(9)) == (ACCEPT, [bytes((10, 10, 1, 44))], [b"\xff" * 4])
    bobs = case.nas.login("bob", PASSWORD)
    others = [step, case.nas.login("alice", "wrong"), case.nas.login("bob", pin(token), state=bobs.state)]
    assert [(reply.code, reply.values(8)) for reply in others] == [(CHALLENGE, []), (REJECT, []), (ACCEPT, [])]


def test_r24_rules_by_what_a_gateway_says_of_itself(case_with: CaseWith) -> None:
    """One secret, two portals behind it; the log says which it was. What it says chooses no secret."""
    case = case_with(Mode.CHALLENGE)
    for key, value, nas in (
        ("second_factor", "skip", "6395aaaa00001"),
        ("second_factor", "skip", "NAS-IP-Address=192.0.2.7"),
        ("second_factor", "skip", "Called-Station-Id=desk"),
        ("tries", "1", "NAS-IP-Address="),
    ):
        done = case.site.command("policy", "set", key, value, "--nas", nas)
        assert done.returncode == 0, done.stderr
    portal = [(32, b"6395aaaa00001"), (4, bytes(4))]
    assert case.login(PASSWORD, extra=portal) == ACCEPT
    assert "nas=6395aaaa00001" in case.log_of("accept")
    assert case.login(PASSWORD, extra=[(32, b"6395aaaa00002"), (4, bytes(4))]) == CHALLENGE
    assert case.login(PASSWORD, extra=[(4, bytes(4)), (30, b"desk")]) == ACCEPT
    by_address = [(4, bytes([192, 0, 2, 7]))]
    assert [case.login(typed, extra=by_address) for typed in (PASSWORD, "wrong")] == [ACCEPT, REJECT]
    assert "nas=192.0.2.7" in case.log_of("password-wrong")
    for extra, code in (([(4, bytes(4))], CHALLENGE), ([], REJECT)):  # neither: it is known by its address alone
        step = case.nas.login("alice", PASSWORD, extra=extra)
        assert step.code == CHALLENGE
        assert case.login("000000", state=step.state, extra=extra) == code, "one try where the attribute is missing"


def test_r30_the_proxy_state_comes_back_in_accept_and_reject(case_with: CaseWith) -> None:
    case = case_with()
    request = packet_of("R30-proxy-state-fortigate")
    accepted = case.nas.ask(request)
    rejected = case.nas.login("alice", PASSWORD + "000000", extra=[(PROXY_STATE, b"161")])
    assert [(reply.code, reply.values(PROXY_STATE)) for reply in (accepted, rejected)] == [
        (ACCEPT, [b"161"]),
        (REJECT, [b"161"]),
    ]


def test_r30_the_proxy_state_comes_back_in_a_challenge(case_with: CaseWith) -> None:
    """With the State and the Reply-Message that a challenge needs."""
    case = case_with(Mode.CHALLENGE)
    reply = case.nas.login("alice", PASSWORD, extra=[(PROXY_STATE, b"161")])
    assert (reply.code, reply.values(PROXY_STATE)) == (CHALLENGE, [b"161"])
    assert case.nas.login("alice", PINS[0], state=reply.state, extra=[(PROXY_STATE, b"162")]).code == ACCEPT
