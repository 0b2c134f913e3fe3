"""A web application behind nginx and `twofold-web`, as a browser on another host sees it, set up by docs/web/nginx.md.

Rules: one nginx, one helper and one Twofold for all tests; people are made anew, with counter tokens.
"""

import re
import time
from base64 import b32decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.peers.road import TRAVELLER, Person
from tests.peers.web import site as sites
from tests.peers.web.browser import CLAIMS, Browser, Page
from tests.peers.web.site import SITE, Web
from tests.site import eventually
from tests.vectors import reference

pytestmark = pytest.mark.peer(*sites.PROGRAMS)

LOGIN, LOGOUT, CHECK = "/twofold/login", "/twofold/logout", "/twofold/check"
COOKIE, FORM_COOKIE = "__Host-twofold", "__Host-twofold-form"
REFUSED = "The login was refused."
NOTICE = 'Collect your <token> & "card" at the desk.'


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with sites.web(tmp_path_factory.mktemp("nginx")) as made:
        command = made.road.site.command
        assert command("policy", "set", "reject_delay", "0").returncode == 0
        for group, key, value in (("cards", "enrolment", "hardware-only"), ("keys", "onboarding_over_radius", "key")):
            assert command("policy", "set", key, value, "--group", group).returncode == 0
        assert command("message", "set", "hardware-only", NOTICE, "--group", "cards").returncode == 0
        yield made


@pytest.fixture
def alice(web: Web) -> Person:
    return web.road.newcomer()


def asked(browser: Browser, name: str, password: str, path: str = "/") -> Page:
    """The page after name and password."""
    return browser.send(browser.follow(browser.get(path)), name=name, password=password)


def is_login_page(page: Page) -> bool:
    return {"name", "password", "token", "back"} == set(page.form.fields)


def outcome(web: Web, person: Person) -> list[object]:
    return web.road.reasons(person.name)


# --- the way in ----------------------------------------------------------------------------------------------------


def test_one_pin_opens_a_session_and_a_deep_link_comes_back(web: Web, alice: Person) -> None:
    deep = "/pages/view?id=1&next=//x&q=a%20b%22"
    browser, sent = web.logged_in(alice.name, alice.password, alice.pin(), deep)
    assert (sent.status, sent.location) == (303, deep)
    for path in (deep, "/another", "/twofold-but-not-ours"):
        page = browser.get(path)
        assert page.application is not None, page
        assert page.application["path"] == path
        assert page.application["headers"]["x-remote-user"] == alice.name
    assert outcome(web, alice) == ["password-right", "passcode-right"], "one PIN, one login"
    assert browser.get(LOGIN + "?next=/another").location == "/another", "who is in is not asked again"


def test_the_application_gets_the_name_that_twofold_knows(web: Web, alice: Person) -> None:
    """However it was typed: here in full width (RFC 8265 3.4.1)."""
    wide = "".join(chr(ord(char) + 0xFEE0) for char in alice.name)
    browser, sent = web.logged_in(f" {wide} ", alice.password, alice.pin())
    assert sent.status == 303, sent
    page = browser.get("/")
    assert page.application is not None
    assert page.application["headers"]["x-remote-user"] == alice.name


def test_without_a_session_nothing_reaches_the_application(web: Web) -> None:
    before = len(web.application_log())
    browser = web.browser()
    for path, options in (("/", ()), ("/a/b?c", ("-X", "DELETE")), ("/", ("--data", "x=1")), ("/x/../y", ())):
        page = browser.get(path, *options)
        assert (page.status, page.location) == (302, f"{LOGIN}?next={path}"), page
    assert web.application_log()[before:] == []
    assert browser.get(f"http://{SITE}/a?b").location == f"https://{SITE}/a?b"


def test_the_pages_say_what_the_document_says(web: Web, alice: Person) -> None:
    browser = web.browser()
    first = browser.follow(browser.get("/"))
    assert (first.status, f"<h1>Log in to {SITE}</h1>" in first.body) == (200, True)
    second = browser.send(first, name=alice.name, password=alice.password)
    assert (second.status, second.text) == (200, "PIN from your authenticator app:")
    assert second.form.kinds["answer"] == "password"
    again = browser.send(second, answer=alice.wrong_pin())
    assert again.text == "That PIN was not accepted. Wait for a new one. 2 tries left:"
    assert browser.send(again, answer=alice.pin()).status == 303
    assert outcome(web, alice) == ["password-right", "passcode-wrong", "passcode-right"]


def test_the_source_in_the_trail_is_the_browser_whatever_it_says_of_itself(web: Web, alice: Person) -> None:
    browser = web.browser()
    lies = ("-H", "X-Real-IP: 198.51.100.9", "-H", "X-Forwarded-For: 198.51.100.9")
    browser.send(browser.follow(browser.get("/")), *lies, name=alice.name, password="wrong")
    rows = [row for row in web.road.site.audit() if row["user"] == alice.name and row["event"] == "login"]
    assert [row["source"] for row in rows] == [TRAVELLER]


# --- refusals ------------------------------------------------------------------------------------------------------


def test_wrong_pins_end_in_the_login_page_and_open_nothing(web: Web, alice: Person) -> None:
    browser = web.browser()
    page = asked(browser, alice.name, alice.password)
    for _ in range(3):
        page = browser.send(page, answer=alice.wrong_pin())
    assert (page.status, page.text, is_login_page(page)) == (403, REFUSED, True)
    assert browser.get("/").status == 302
    assert COOKIE not in browser.cookies()


def test_a_pin_opens_one_session(web: Web, alice: Person) -> None:
    web.logged_in(alice.name, alice.password, alice.pin())
    other, page = web.logged_in(alice.name, alice.password, alice.last_pin)
    assert (page.status, page.text[:26]) == (200, "That PIN was not accepted.")
    assert other.get("/").status == 302
    assert outcome(web, alice)[-1] == "passcode-used"


def test_unknown_users_wrong_passwords_and_locked_users_look_alike(web: Web, alice: Person) -> None:
    locked = web.road.newcomer()
    assert web.road.site.command("user", "lock", locked.name).returncode == 0
    seen = set()
    for name, password in ((alice.name, "wrong"), ("nobody-at-all", "wrong"), (locked.name, locked.password)):
        page = asked(web.browser(), name, password)
        assert (page.status, page.text) == (403, REFUSED)
        seen.add(re.sub(r'value="\w{64}"', 'value=""', page.body))
    assert len(seen) == 1


def test_a_revoked_token_opens_nothing_and_a_session_lasts_as_the_document_says(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    late = web.browser()
    waiting = asked(late, alice.name, alice.password)
    revoke = web.road.site.command("token", "revoke", alice.token.serial, "--reason", "compromise")
    assert revoke.returncode == 0, revoke.stderr
    assert late.send(waiting, answer=alice.pin()).status == 403
    assert asked(web.browser(), alice.name, alice.password).status == 403
    assert browser.get("/").application is not None, "until its end: Twofold is asked at the login alone"
    web.restart()
    assert browser.get("/").status == 302, "a restart ends all"


def test_an_empty_password_and_one_that_radius_cannot_carry_are_refused(web: Web, alice: Person) -> None:
    for name, password in (
        (alice.name, ""),
        (alice.name, "x" * 129),
        ("", "geheim"),
        ("a\nX-Remote-User: b", "geheim"),
    ):
        page = asked(web.browser(), name, password)
        assert (page.status, page.text) == (403, REFUSED), (name, password)
    assert outcome(web, alice) == []


# --- what Twofold says ---------------------------------------------------------------------------------------------


def without_token(web: Web, name: str, *groups: str) -> str:
    web.road.site.add_user(name, groups=groups)
    return name


def test_the_hardware_only_notice_is_shown_as_text(web: Web) -> None:
    page = asked(web.browser(), without_token(web, "carla", "cards"), "geheim")
    assert (page.status, page.text) == (403, NOTICE)
    assert "<token>" not in page.body, "escaped"


def test_a_first_app_is_paired_on_the_page(web: Web) -> None:
    """With the key as text: several questions, and the first PIN at the end."""
    name = without_token(web, "konrad", "keys")
    browser = web.browser()
    welcome = asked(browser, name, "geheim", "/deep")
    assert welcome.form.kinds["answer"] == "text", "an answer that may be seen"
    apps = browser.send(welcome, answer="n")
    assert "authenticator app" in apps.text
    shown = browser.send(apps, answer="s")
    address, typed, question = shown.text.splitlines()
    assert question.startswith("First PIN from the app:")
    (secret,) = re.findall(r"otpauth://totp/\S+\?secret=([A-Z2-7]+)&issuer", address)
    assert secret in typed.replace(" ", "")
    done = browser.send(shown, answer=reference.totp(b32decode(secret), time.time()))
    assert (done.status, done.location) == (303, "/deep")
    page = browser.get("/deep")
    assert page.application is not None
    assert page.application["headers"]["x-remote-user"] == name


def test_a_ticket_is_shown_in_lines(web: Web) -> None:
    page = asked(web.browser(), without_token(web, "theo"), "geheim")
    first, second, third = page.text.splitlines()
    assert re.search(r": ([2-9A-Z]{5}-){5}[2-9A-Z]$", first), page.text
    assert second == "Type it and your password at: twofold ticket redeem"
    assert third == "Then enter a new PIN of your app here:"
    assert re.findall(r"([2-9A-Z]{5}-){5}", web.said()) == [], "not in the log"


def test_session_timeout_of_twofold_ends_a_session(web: Web, alice: Person) -> None:
    done = web.road.site.command("reply", "set", "Session-Timeout=2", "--user", alice.name)
    assert done.returncode == 0, done.stderr
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    assert browser.cookies()[COOKIE]
    eventually(lambda: browser.get("/").status == 302, what="the end of the session")
    assert outcome(web, alice)[-1] == "passcode-right"


# --- sessions and their cookies ------------------------------------------------------------------------------------


def test_the_cookies_are_for_this_host_over_tls_and_for_no_script(web: Web, alice: Person) -> None:
    browser = web.browser()
    page = browser.follow(browser.get("/"))
    sent = browser.send(browser.send(page, name=alice.name, password=alice.password), answer=alice.pin())
    for cookie in (*page.headers["set-cookie"], *sent.headers["set-cookie"]):
        value, *attributes = cookie.split("; ")
        assert re.fullmatch(r"__Host-twofold(-form)?=[\w-]{43}", value)
        assert attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert page.headers["cache-control"] == sent.headers["cache-control"] == ["no-store"]
    assert page.headers["x-frame-options"] == ["DENY"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"][0]


def test_logging_out_ends_the_session_also_for_who_stole_its_cookie(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    stolen = ("-H", f"Cookie: {COOKIE}={browser.cookies()[COOKIE]}")
    thief = web.browser()
    assert thief.get("/", *stolen, cookies=False).application is not None, "until then it is as good as the browser's"
    done = browser.send(browser.get(LOGOUT))
    assert (done.status, done.text) == (200, f"You are logged out of {SITE}.")
    assert COOKIE not in browser.cookies()
    assert browser.get("/").status == 302
    assert thief.get("/", *stolen, cookies=False).status == 302


def test_forged_cookies_open_nothing(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    good = browser.cookies()[COOKIE]
    changed = ("A" if good[0] != "A" else "B") + good[1:]
    for cookie in (
        f"{COOKIE}=",
        f"{COOKIE}={changed}",
        f"{COOKIE}={good}A",
        f"{COOKIE}={good[:-1]}",
        f"twofold={good}",
        f"{COOKIE}={good}; {COOKIE}={changed}",
        f"\u2003{COOKIE}={good}",
        f"a=b; \u00a0{COOKIE}={good}",
        f"{FORM_COOKIE}={good}",
        f"{COOKIE}={'A' * 4000}",
    ):
        page = web.browser().get("/", "-H", f"Cookie: {cookie}", cookies=False)
        assert page.status == 302, cookie
    assert browser.get("/").application is not None


def test_a_cookie_of_the_application_that_is_no_utf_8_locks_nobody_out(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    cookies = f"Cookie: name=M\udcfcller; {COOKIE}={browser.cookies()[COOKIE]}"  # as the octet FC
    assert web.browser().get("/", "-H", cookies, cookies=False).status == 200
    assert web.browser().get(LOGIN, "-H", "Cookie: name=M\udcfcller", cookies=False).status == 200


def test_a_login_gives_a_new_key_and_ends_the_session_before(web: Web, alice: Person) -> None:
    """A key that somebody else put into the browser opens nothing afterwards."""
    bob = web.road.newcomer()
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    first = browser.cookies()[COOKIE]
    page = web.browser().get(LOGIN)
    form_cookie = page.headers["set-cookie"][0].partition(";")[0]
    both = ("-H", f"Cookie: {COOKIE}={first}; {form_cookie}")
    question = browser.post(
        LOGIN, page.form.fields | {"name": bob.name, "password": bob.password}, *both, cookies=False
    )
    done = browser.post(LOGIN, question.form.fields | {"answer": bob.pin()}, *both, cookies=False)
    (second,) = [cookie for cookie in done.headers["set-cookie"] if cookie.startswith(f"{COOKIE}=")]
    assert first not in second
    assert browser.get("/").status == 302, "the session before has ended"


def test_the_application_gets_neither_our_cookie_nor_what_a_browser_claims(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    ours = f"{COOKIE}={browser.cookies()[COOKIE]}"
    for cookie, left in (
        (f"a=1; {ours}; b=2", "a=1; b=2"),
        (f"{ours}; b=2", "b=2"),
        (f"a=1; {ours}", "a=1; "),
        (ours, ""),
    ):
        options = [
            word for line in (*CLAIMS, f"Cookie: {cookie}", "Authorization: Basic eDp5") for word in ("-H", line)
        ]
        page = browser.get("/", *options, cookies=False)
        assert page.application is not None
        headers = page.application["headers"]
        assert headers["x-remote-user"] == alice.name
        assert "root" not in str(headers)
        assert headers.get("cookie", "").strip() == left.strip()
        assert "authorization" not in headers


# --- what somebody else's page, or a crowd, may try ----------------------------------------------------------------


def test_a_form_of_somebody_else_logs_nobody_in_or_out(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    foreign = web.browser().get(LOGIN).form.fields["token"]
    for token in ({}, {"token": ""}, {"token": foreign}, {"token": "ä"}):
        page = browser.post(LOGIN, {**token, "name": alice.name, "password": alice.password, "back": "/x"})
        assert (page.status, is_login_page(page)) == (403, True), token
        browser.post(LOGOUT, token)
        assert browser.get("/").application is not None, token
    assert browser.get(LOGOUT).status == 200
    assert browser.get("/").application is not None, "a link logs nobody out"
    assert outcome(web, alice) == ["password-right", "passcode-right"]


def test_a_question_is_answered_once_and_by_the_browser_that_was_asked(web: Web, alice: Person) -> None:
    browser, other = web.browser(), web.browser()
    page = asked(browser, alice.name, alice.password)
    pin = alice.pin()
    question, token = page.form.fields["question"], other.get(LOGIN).form.fields["token"]
    stolen = other.post(LOGIN, {"token": token, "question": question, "answer": pin})
    assert (stolen.status, is_login_page(stolen)) == (403, True)
    assert browser.send(page, answer=pin).status == 303
    assert browser.send(page, answer=pin).status == 403


@pytest.mark.parametrize("back", ["//evil.example/x", "/\\evil.example", "/x\r\nSet-Cookie: a=b"])
def test_a_login_leads_to_no_other_host(web: Web, alice: Person, back: str) -> None:
    """`test_web_login.py` has more of them."""
    browser = web.browser()
    question = browser.send(browser.get(LOGIN), name=alice.name, password=alice.password, back=back)
    done = browser.send(question, answer=alice.pin())
    assert (done.status, done.location) == (303, "/")
    assert "a=b" not in str(done.headers)


def test_what_nginx_alone_may_ask_nobody_else_can(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    assert browser.get(CHECK).status == 404
    assert browser.get("/twofold/nothing").status == 404
    assert browser.get(LOGIN, "-X", "PUT").status == 405
    assert browser.get("/twofold/../private").application is not None
    assert web.browser().get("/twofold/../private").status == 302


def test_many_browsers_at_once_each_get_their_own(web: Web) -> None:
    people = [web.road.newcomer() for _ in range(4)]
    browsers = [web.logged_in(person.name, person.password, person.pin())[0] for person in people]
    keys = [f"{COOKIE}={browser.cookies()[COOKIE]}" for browser in browsers]

    def whose(number: int) -> object:
        page = browsers[number % 4].get(f"/{number}", "-H", f"Cookie: {keys[number % 4]}", cookies=False)
        assert page.application is not None, page
        return page.application["headers"]["x-remote-user"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(whose, range(40))) == [people[number % 4].name for number in range(40)]


# --- what fails ----------------------------------------------------------------------------------------------------


def test_nobody_gets_through_while_the_helper_is_gone(web: Web, alice: Person) -> None:
    browser, _ = web.logged_in(alice.name, alice.password, alice.pin())
    before = len(web.application_log())
    web.helper.stop()
    web.road.gateway.run("rm", "-f", sites.SOCKET)
    assert browser.get("/").status == 500
    assert browser.get(LOGIN).status == 502
    assert web.application_log()[before:] == []
    web.restart()
    assert browser.get("/").status == 302


def test_a_request_that_is_too_long_is_refused(web: Web) -> None:
    browser = web.browser()
    page = browser.get(LOGIN)
    assert browser.send(page, name="x" * 20_000).status == 413
    assert browser.post(LOGIN, {str(number): "x" for number in range(40)}).status == 400


def test_nothing_that_was_typed_is_in_a_log(web: Web) -> None:
    person = web.road.newcomer()
    browser, _ = web.logged_in(person.name, person.password, person.pin())
    asked(web.browser(), person.name, "a-wrong-password")
    logs = web.said() + web.road.gateway.run("sh", "-c", "cat /var/log/nginx/*").stdout
    assert f"login user='{person.name}' from={TRAVELLER} site={SITE}" in logs
    for typed in (person.last_pin, "a-wrong-password", browser.cookies()[COOKIE]):
        assert typed not in logs
