"""Passwords that a real FreeRADIUS knows: Twofold asks it, and adds the PIN."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from first_factor import checker
from radius_client.client import NoReply, RadiusClient
from radius_client.wire import Code
from store import config
from tests.peers.freeradius import FreeRadius, free_port, knowing
from tests.peers.test_radclient import Heard, run_radclient
from tests.site import SECRET, Site, eventually, pin
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, access_request
from validation.decisions import Look
from validation.model import FirstFactorKind, Token
from validation.requests import AddUser, FirstFactor, FirstFactorResult

pytestmark = pytest.mark.peer("freeradius")

UPSTREAM_SECRET = "the-secret-of-the-upstream"
LONG = "x" * 128
USERS = f"""
alice Cleartext-Password := "correct horse"
\tFilter-Id = "staff",
\tClass = 0x0102,
\tSession-Timeout = 3600,
\tReply-Message = "Welcome",
\tCisco-AVPair = "shell:priv-lvl=15",
\tTunnel-Password:1 = "tunnel",
\tMS-MPPE-Send-Key = 0x00112233445566778899aabbccddeeff

bob Cleartext-Password := "pässwörd"

carol Cleartext-Password := "{LONG}"

dave Cleartext-Password := "geheim", Response-Packet-Type := Access-Challenge
"""

Start = Callable[..., FreeRadius]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a FreeRADIUS, ended with the test."""
    with ExitStack() as stack:

        def one(name: str, **options: object) -> FreeRadius:
            running: AbstractContextManager[FreeRadius] = knowing(tmp_path / name, UPSTREAM_SECRET, USERS, **options)  # type: ignore[arg-type]
            return stack.enter_context(running)

        yield one


def site_asking(folder: Path, *ports: int, more: str = "") -> Site:
    servers = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    folder.mkdir()
    secret = folder / "upstream.secret"
    secret.touch(0o600)
    secret.write_text(f"{UPSTREAM_SECRET}\n")
    site = Site(
        folder,
        '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n'
        f'[first_factor.radius]\nservers = [{servers}]\nsecret_file = "upstream.secret"\n{more}',
    )
    site.add_client()
    return site


def newcomer(site: Site, name: str = "alice") -> Token:
    site.gate.administer(AddUser(actor="test", name=name, first_factor=FirstFactorKind.RADIUS))
    return site.enroll(name)


def check(site: Site, user: str, password: str) -> FirstFactorResult:
    return checker(site.config).check(Look("radius", None, 1, user=user), password)


def is_let_in(nas: Nas, token: Token, ahead: int = 0) -> bool:
    asked = nas.login("alice", "correct horse")
    assert asked.code == CHALLENGE
    return nas.login("alice", pin(token, ahead), state=asked.state).code == ACCEPT


# --- whole logins


def test_its_password_and_our_pin_let_in(tmp_path: Path, start: Start) -> None:
    upstream = start("upstream")
    site = site_asking(tmp_path / "site", upstream.port)
    token = newcomer(site)
    with site.server() as server, server.nas() as nas:
        assert nas.login("alice", "wrong").code == REJECT
        assert is_let_in(nas, token)
    reasons = [reason for _, reason in site.logins()]
    assert reasons == ["password-wrong", "password-right", "passcode-right"]
    assert "Login incorrect" in upstream.log


def silence(site: Site, nas: Nas, count: int = 1) -> None:
    """A login that gets no answer: the server has decided so, and the next reply is for another request."""
    nas.send(access_request(SECRET, "alice", "correct horse").data)
    undecided = ("reject", "first-factor-unavailable")
    eventually(lambda: site.logins().count(undecided) == count, what="a row in the trail")


def test_a_server_that_was_killed_is_silence_counts_nothing_and_comes_back(tmp_path: Path, start: Start) -> None:
    port = free_port()
    site = site_asking(tmp_path / "site", port)
    token = newcomer(site)
    with site.server() as server, server.nas() as nas:
        start("first", port=port).kill()
        silence(site, nas)
        silence(site, nas, 2)
        assert site.failures("alice") == {}
        start("again", port=port)
        assert is_let_in(nas, token)
    assert "nothing listens there; it is left aside" in server.log


def test_the_second_server_answers_for_the_first(tmp_path: Path, start: Start) -> None:
    """The first is stopped, not ended: nothing tells that it is gone."""
    first, second = start("first"), start("second")
    site = site_asking(tmp_path / "site", first.port, second.port, more="timeout = 0.5\nretries = 1\n")
    token = newcomer(site)
    with site.server() as server, server.nas() as nas:
        first.process.send_signal(signal.SIGSTOP)
        try:
            assert is_let_in(nas, token)
            assert not is_let_in(nas, token), "the PIN is used"
        finally:
            first.process.send_signal(signal.SIGCONT)
        assert f"127.0.0.1:{first.port} does not answer" in server.log
        assert second.log.count("Login OK") == 2

        def is_back() -> bool:
            nas.login("alice", "wrong")
            return "answers again" in server.log

        eventually(is_back, 60, "the first server's answer to a probe")


def test_replies_that_are_not_signed_are_silence_and_said(tmp_path: Path, start: Start) -> None:
    """As Debian 12's FreeRADIUS sends them, unless it is told to sign."""
    upstream = start("upstream", signed="")
    site = site_asking(tmp_path / "site", upstream.port, more="timeout = 0.5\nretries = 1\n")
    newcomer(site)
    with site.server() as server, server.nas() as nas:
        silence(site, nas)
    assert "is ignored: message-authenticator-missing; the server must sign its replies" in server.log
    assert "Login OK" in upstream.log
    assert site.failures("alice") == {}


@pytest.mark.peer("radclient")
@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ('"drop"', []),
        (
            '"keep"',
            ['Cisco-AVPair = "shell:priv-lvl=15"', "Class = 0x0102", 'Filter-Id = "staff"', "Session-Timeout = 3600"],
        ),
        ('["Filter-Id", 27]', ['Filter-Id = "staff"', "Session-Timeout = 3600"]),
    ],
    ids=["drop", "keep", "list"],
)
def test_its_attributes_reach_the_gateway_with_our_accept_alone(
    upstream_port: int, tmp_path: Path, reply: str, kept: list[str]
) -> None:
    """Through the challenge, and neither with it nor with a refusal."""
    site = site_asking(tmp_path / "site", upstream_port, more=f"reply = {reply}\n")
    token = newcomer(site)
    with site.server() as server:

        def ask(typed: str, *more: str) -> Heard:
            attributes = ["User-Name = alice", f'User-Password = "{typed}"', "Message-Authenticator = 0x00", *more]
            return run_radclient(server, "auth", attributes)

        refused, asked = ask("wrong"), ask("correct horse")
        accepted = ask(pin(token), f"State = {asked.state}")
    assert [heard.code for heard in (refused, asked, accepted)] == [
        "Access-Reject",
        "Access-Challenge",
        "Access-Accept",
    ]
    assert attributes_of(accepted) == kept
    assert attributes_of(refused) == attributes_of(asked) == []


def attributes_of(heard: Heard) -> list[str]:
    """Those that are no part of the conversation itself."""
    lines = [line.strip() for line in heard.output.partition("Received ")[2].splitlines() if line.startswith("\t")]
    ours = ("Message-Authenticator", "Reply-Message", "State", "Prompt")
    return sorted(line for line in lines if not line.startswith(ours))


# --- what comes of an answer


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [
        ("alice", "correct horse", FirstFactor.PROVED),
        ("alice", "correct horse ", FirstFactor.WRONG),
        ("alice", "Correct horse", FirstFactor.WRONG),
        ("bob", "pässwörd", FirstFactor.PROVED),
        ("carol", LONG, FirstFactor.PROVED),
        ("carol", LONG[1:], FirstFactor.WRONG),
        ("carol", LONG + "x", FirstFactor.WRONG),
        ("nobody", "correct horse", FirstFactor.WRONG),
    ],
)
def test_passwords(upstream_site: Site, user: str, password: str, status: FirstFactor) -> None:
    assert check(upstream_site, user, password).status is status


@pytest.fixture(scope="module")
def upstream_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with knowing(tmp_path_factory.mktemp("upstream"), UPSTREAM_SECRET, USERS) as upstream:
        yield upstream.port


@pytest.fixture(scope="module")
def upstream_site(upstream_port: int, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_asking(tmp_path_factory.mktemp("asking") / "site", upstream_port, more='reply = "keep"\n')


def test_its_attributes_are_kept_but_for_keys_and_texts(upstream_site: Site) -> None:
    found = check(upstream_site, "alice", "correct horse")
    assert found.replies == (
        (11, b"staff"),
        (25, b"\x01\x02"),
        (27, b"\x00\x00\x0e\x10"),
        (26, b"\x00\x00\x00\x09\x01\x13shell:priv-lvl=15"),
    )


def test_a_challenge_of_its_own_is_no_answer(upstream_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    found = check(upstream_site, "dave", "geheim")
    assert (found.status, found.why) == (FirstFactor.UNAVAILABLE, "challenge")
    assert "answers with a challenge" in caplog.text


def test_a_wrong_secret_is_silence(upstream_site: Site) -> None:
    upstream = upstream_site.config.upstream
    assert upstream is not None
    (server,) = upstream.servers
    with pytest.raises(NoReply, match=r"no reply within 0\.3 s"):
        RadiusClient((server.address, server.port), b"another-secret").login("alice", b"correct horse", within=0.3)


def test_it_answers_a_status_server(upstream_site: Site) -> None:
    upstream = config.load(upstream_site.config_file).upstream
    assert upstream is not None
    (server,) = upstream.servers
    found = RadiusClient((server.address, server.port), UPSTREAM_SECRET.encode()).status()
    assert (found.code, found.signed_first) == (Code.ACCESS_ACCEPT, True)
