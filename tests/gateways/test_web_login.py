"""The door of a web site, request by request, against a RADIUS server that says what the test wants."""

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

import pytest

from gateways import web_login
from gateways.settings import Settings
from gateways.web_http import BadRequest, Request, Response
from gateways.web_login import BROWSER, NOT_NOW, REFUSED, SESSION, Door, can_be_sent, way_back
from gateways.web_sessions import Questions, Sessions
from tests.first_factor.upstream import SECRET, Answers, Upstream, accept, reject, reply, silence, unhidden, upstream
from tests.site import eventually
from tests.wire import CALLING_STATION_ID, STATE, Reply

SITE, ADDRESS = "wiki.example.org", "198.51.100.7"
USER_NAME, REPLY_MESSAGE, SESSION_TIMEOUT, CALLED_STATION_ID, PROMPT = 1, 18, 27, 30, 76
LOGIN, LOGOUT, CHECK = "/twofold/login", "/twofold/logout", "/twofold/check"


@dataclass
class Browser:
    """Keeps cookies and fills in forms."""

    door: Door
    site: str = SITE
    address: str = ADDRESS

    def __post_init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> Response:
        path, _, query = path.partition("?")
        headers = {"host": self.site, "x-real-ip": self.address, "content-type": "application/x-www-form-urlencoded"}
        headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.door.answer(Request(method, path, query, headers, urlencode(fields or {}).encode()))
        for name, value in answer.headers:
            if name == "Set-Cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        return answer

    def send(self, page: Response, **typed: str) -> Response:
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.body.decode()))
        return self.ask("POST", LOGIN, hidden | typed)

    def log_in(self, name: str = "alice", password: str = "geheim") -> Response:
        return self.send(self.ask("GET", LOGIN), name=name, password=password)

    @property
    def user(self) -> str | None:
        checked = self.ask("GET", CHECK)
        assert checked.status in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED)
        return dict(checked.headers).get("X-Remote-User") if checked.status == HTTPStatus.OK else None


def browser(*servers: Upstream) -> Browser:
    settings = Settings(tuple(server.address for server in servers), SECRET, "wiki", 1.0)
    return Browser(Door(settings, Sessions(3600, 600), Questions()))


def saying(code: int, *attributes: tuple[int, bytes]) -> Answers:
    return lambda request: [reply(request, code, attributes)]


def texts(*lines: str) -> list[tuple[int, bytes]]:
    return [(REPLY_MESSAGE, line.encode()) for line in lines]


def test_only_an_accept_opens_a_session() -> None:
    for answers, opens in ((accept, True), (reject, False), (silence, False), (saying(11, *texts("PIN")), False)):
        with upstream(answers) as server:
            visitor = browser(server)
            visitor.log_in()
            assert (visitor.user == "alice", SESSION in visitor.cookies) == (opens, opens)


@pytest.mark.parametrize("signature", ["none", "wrong"])
def test_a_forged_accept_is_silence(signature: str) -> None:
    with upstream(lambda request: [reply(request, signature=signature)]) as server:
        visitor = browser(server)
        page = visitor.log_in()
        assert (page.status, NOT_NOW in page.body.decode()) == (503, True)
        assert visitor.user is None


def test_an_answer_carries_the_state_of_its_question_and_says_who_asks() -> None:
    def asks_once(request: bytes) -> list[bytes]:
        state = Reply(request).values(STATE)
        return accept(request) if state else [reply(request, 11, [*texts("PIN: "), (STATE, b"a-state")])]

    with upstream(asks_once) as server:
        visitor = browser(server)
        question = visitor.log_in()
        assert visitor.send(question, answer="123456").status == 303
        first, second = server.requests
    assert (unhidden(first).rstrip(b"\0"), unhidden(second).rstrip(b"\0")) == (b"geheim", b"123456")
    assert Reply(second).values(STATE) == [b"a-state"]
    for request in (first, second):
        assert Reply(request).values(CALLING_STATION_ID) == [ADDRESS.encode()]
        assert Reply(request).values(CALLED_STATION_ID) == [SITE.encode()]


def test_a_challenge_without_state_cannot_be_answered_and_refuses() -> None:
    with upstream(saying(11, *texts("PIN"))) as server:
        assert browser(server).log_in().status == 403


def test_texts_are_escaped_and_keep_their_lines() -> None:
    long = "x" * 253
    lines = texts('<script>"&', "second", long, "goes on")
    with upstream(saying(11, *lines, (STATE, b"s"), (PROMPT, bytes([0, 0, 0, 1])))) as server:
        body = browser(server).log_in().body.decode()
    assert f"<pre>&lt;script&gt;&quot;&amp;\nsecond\n{long}goes on</pre>" in body
    assert '<input name="answer" type="text"' in body
    with upstream(saying(11, *texts("PIN"), (STATE, b"s"))) as server:
        assert '<input name="answer" type="password"' in browser(server).log_in().body.decode()


def test_the_name_that_twofold_knows_goes_to_the_application() -> None:
    with upstream(saying(2, (USER_NAME, "älice".encode()))) as server:
        visitor = browser(server)
        visitor.log_in("ALICE@corp")
        assert visitor.user == "älice"


@pytest.mark.parametrize("name", [b"a\r\nX: y", b"\x7f", b" a", b"\xff\n"])
def test_a_name_that_is_nothing_for_a_header_opens_no_session(name: bytes) -> None:
    with upstream(saying(2, (USER_NAME, name))) as server:
        visitor = browser(server)
        assert visitor.log_in().status == 403
        assert visitor.user is None


def test_the_shorter_session_counts() -> None:
    with upstream(saying(2, (SESSION_TIMEOUT, bytes(4)))) as server:
        visitor = browser(server)
        assert visitor.log_in().status == 303
        assert visitor.user is None, "0 seconds are over"


def test_nobody_is_asked_about_what_cannot_be_asked() -> None:
    with upstream() as server:
        visitor = browser(server)
        for name, password in (("", "x"), (" ", "x"), ("a\nb", "x"), ("x" * 254, "x"), ("alice", ""), ("alice", "a\0")):
            page = visitor.log_in(name, password)
            assert (page.status, REFUSED in page.body.decode()) == (403, True)
        assert server.requests == []


def test_a_form_without_the_token_of_its_browser_asks_nobody() -> None:
    with upstream() as server:
        visitor, other = browser(server), browser(server)
        page = visitor.ask("GET", LOGIN)
        foreign = re.findall(r'name="token" value="(\w+)"', other.ask("GET", LOGIN).body.decode())[0]
        typed = {"name": "alice", "password": "geheim"}
        for token in ("", foreign, "ä"):
            assert visitor.send(page, token=token, **typed).status == 403
        del visitor.cookies[BROWSER]
        assert visitor.send(page, **typed).status == 403, "without the cookie"
        assert server.requests == []


def test_a_token_is_good_for_one_site() -> None:
    with upstream() as server:
        visitor = browser(server)
        page = visitor.ask("GET", LOGIN)
        visitor.site = "other.example.org"
        assert visitor.send(page, name="alice", password="geheim").status == 403


def test_a_session_of_one_site_opens_no_other() -> None:
    with upstream() as server:
        visitor = browser(server)
        visitor.log_in()
        visitor.site = "other.example.org"
        assert visitor.user is None


def test_two_windows_of_one_browser_can_both_log_in() -> None:
    with upstream() as server:
        visitor = browser(server)
        first, second = visitor.ask("GET", LOGIN), visitor.ask("GET", LOGIN)
        for page in (first, second):
            assert visitor.send(page, name="alice", password="geheim").status == 303


def test_a_server_that_is_down_makes_one_page_slow_and_no_other() -> None:
    with upstream(silence) as first, upstream() as second:
        visitor = browser(first, second)
        for _ in range(3):
            assert visitor.log_in().status == 303
            visitor.cookies.clear()
        assert (len({*first.requests}), len(second.requests)) == (1, 3)


def test_without_the_address_of_the_browser_nobody_logs_in() -> None:
    """Guesses would all come from nowhere."""
    with upstream() as server:
        visitor = browser(server)
        page = visitor.ask("GET", LOGIN)
        for address in ("", "unknown", "198.51.100.7, 192.0.2.1"):
            visitor.address = address
            with pytest.raises(BadRequest) as caught:
                visitor.send(page, name="alice", password="geheim")
            assert caught.value.status == 500
        assert server.requests == []


def test_an_ipv4_address_is_told_as_one_also_where_nginx_listens_for_both_families_at_once() -> None:
    with upstream() as server:
        visitor = browser(server)
        visitor.address = f"::ffff:{ADDRESS}"
        assert visitor.log_in().status == 303
        (request,) = server.requests
    assert Reply(request).values(CALLING_STATION_ID) == [ADDRESS.encode()]


@pytest.mark.parametrize("site", ["wiki.example.org", "build_server.lan", "WIKI", "[2001:db8::1]", "192.0.2.1:8443"])
def test_whatever_a_host_is_called_its_people_log_in(site: str) -> None:
    with upstream() as server:
        visitor = browser(server)
        visitor.site = site
        assert visitor.log_in().status == 303
        assert visitor.user == "alice"


@pytest.mark.parametrize("site", ["", "a b", "<script>", "a\nb", "x" * 254])
def test_a_site_has_a_name(site: str) -> None:
    visitor = browser()
    visitor.site = site
    for path in (CHECK, LOGIN, LOGOUT):
        visitor.cookies = {SESSION: "A" * 43}
        with pytest.raises(BadRequest):
            visitor.ask("GET", path)


def test_a_crowd_that_waits_for_twofold_is_bounded_and_checks_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_login, "ASKING_AT_ONCE", 2)
    busy = threading.Event()
    busy.set()
    with upstream(lambda request: [] if busy.is_set() else accept(request)) as server:
        settings = Settings((server.address,), SECRET, "wiki", 30.0)
        door = Door(settings, Sessions(3600, 600), Questions())
        waiting = [threading.Thread(target=Browser(door).log_in) for _ in range(2)]
        for thread in waiting:
            thread.start()
        eventually(lambda: len(set(server.requests)) == 2, what="two logins in progress")
        late = Browser(door)
        page = late.log_in()
        assert (page.status, NOT_NOW in page.body.decode()) == (503, True)
        assert len(set(server.requests)) == 2, "Twofold was not asked"
        assert late.user is None
        busy.clear()
        for thread in waiting:
            thread.join(30)
        assert late.log_in().status == 303, "the places are free again"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example/x",
        "///evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/x\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "evil.example",
        "",
        " /x",
        "/ä",
        "/twofold/logout",
        "/%74wofold/login",
        pytest.param("/" + "a" * 5000, id="long"),
    ],
)
def test_no_way_back_leads_elsewhere(elsewhere: str) -> None:
    assert way_back(elsewhere) == "/"


@pytest.mark.parametrize("path", ["/", "/a?b=c&next=//x#d", "/%2f%2fx", '/"<>', "/a//b", "/twofold"])
def test_a_path_of_the_site_is_the_way_back(path: str) -> None:
    assert way_back(path) == path
    with upstream() as server:
        visitor = browser(server)
        done = visitor.send(visitor.ask("GET", f"{LOGIN}?next={path}"), name="alice", password="geheim", back=path)
        assert dict(done.headers)["Location"] == path


def test_what_stands_in_a_page_ends_no_attribute() -> None:
    page = browser().ask("GET", f'{LOGIN}?next=/%22"><script>').body.decode()
    assert "<script>" not in page
    assert 'value="/%22&quot;&gt;&lt;script&gt;"' in page


@pytest.mark.parametrize("name", ["alice", "ä", "a b", "CORP\\alice", "a@b", "x" * 253])
def test_names_that_can_be_sent(name: str) -> None:
    assert can_be_sent(name)


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\r\nb", "a\tb", "a\u2028b", "\u200f", "\ud800", "x" * 254, "ä" * 127]
)
def test_names_that_cannot(name: str) -> None:
    assert not can_be_sent(name)


def test_only_what_is_there_can_be_asked_for() -> None:
    visitor = browser()
    for method, path, status in (
        ("POST", CHECK, 405), ("PUT", LOGIN, 405), ("HEAD", LOGIN, 405), ("GET", "/", 404), ("GET", "/twofold/", 404),
    ):  # fmt: skip
        with pytest.raises(BadRequest) as caught:
            visitor.ask(method, path)
        assert caught.value.status == status


def test_nothing_that_was_typed_or_shown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for answers in (accept, silence, saying(3, *texts("a-ticket"))):
        with upstream(answers) as server:
            browser(server).log_in("al\x1bice\u202e", "a-password")
            browser(server).log_in("alice\u202e", "a-password")
            browser(server).log_in("alice", "a-password")
    assert "alice" in caplog.text
    for secret in ("a-password", "a-ticket", "\x1b", "\u202e"):
        assert secret not in caplog.text
