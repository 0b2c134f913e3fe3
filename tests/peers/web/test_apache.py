"""A web application behind Apache, which asks the real helper through the real module; docs/web/apache.md is followed.

Rules: one Apache and one helper for all tests; people are made anew, with counter tokens. Stood in for: apt, systemctl,
and the place where `make install` puts the module.
"""

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.docs.pages import steps, text_of
from tests.peers.authority import Authority
from tests.peers.road import Person
from tests.peers.web.browser import CLAIMS, Browser, Page
from tests.peers.web.site import wait_for
from tests.peers.world import Running, World, world_or_skip
from tests.site import TWOFOLD, Site, eventually

pytestmark = pytest.mark.peer(
    "apache2", "mod_authnz_pam.so", "curl", "cc", "make", "ip", "openssl", "nsenter", "unshare"
)

SITE, PAGE = "wiki.example.org", "web/apache.md"
CONFIGURATION = "/etc/apache2/sites-available/twofold.conf"
SERVICE = "twofold-apache"
COOKIE = "__Host-twofold"
LOGIN, LOGIN_PAGE = "/twofold/login", "/twofold/pages/login.html"
ORIGIN = ("-H", f"Origin: https://{SITE}")
NO_PROGRAMS = "apt() { :; }; systemctl() { :; }; "
BASIC = """\
<Location "/basic">
    AuthType Basic
    AuthBasicProvider PAM
</Location>
"""


@dataclass
class Web:
    world: World
    site: Site
    ca: Path
    apache: Running
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def newcomer(self) -> Person:
        name = f"user{next(self._numbers)}"
        self.site.add_user(name)
        return Person(name, self.site.enroll(name, kind="hotp"))

    def browser(self) -> Browser:
        return Browser(self.world, "127.0.0.1", SITE, str(self.ca))

    def log_in(self, name: str, typed: str) -> tuple[Browser, Page]:
        browser = self.browser()
        page = browser.get(LOGIN_PAGE)
        return browser, browser.send(page, *ORIGIN, httpd_username=name, httpd_password=typed)

    def reasons(self, person: Person) -> list[object]:
        return [row["reason"] for row in self.site.audit() if row["event"] == "login" and row["user"] == person.name]

    def calls(self) -> int:
        """How often the helper was asked."""
        return sum(row["event"] == "login" for row in self.site.audit())


def follow_the_page(world: World, folder: Path, module: Path) -> tuple[Site, Path]:
    authority = Authority(folder, "ca")
    certificate, key = authority.sign("apache", SITE)
    for host_folder in ("/usr/local/share", "/var/lib/apache2"):  # in the world alone
        world.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", host_folder)
    world.run("mkdir", "-p", "/var/log/apache2", "/var/lib/apache2/module/enabled_by_admin")
    world.run("mkdir", "-p", "/var/lib/apache2/conf/enabled_by_admin", "/var/lib/apache2/site/enabled_by_admin")
    part = text_of(PAGE, "Setting it up")
    (relays,) = re.findall(r"^```toml\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    for step in steps(part):
        if "configtest" in step.command:
            text = (ROOT / "contrib/web/apache/twofold.conf").read_text()
            text = text.replace(f"/etc/ssl/private/{SITE}.pem", str(certificate))
            text = text.replace(f"/etc/ssl/private/{SITE}.key", str(key))
            text = text.replace("</VirtualHost>", f"{BASIC}</VirtualHost>")
            world.run("sh", "-c", f"cat >{CONFIGURATION}", stdin=text)
        world.run("sh", "-e", "-c", f"cd {ROOT}; {NO_PROGRAMS}{step.command}")
    assert world.run("stat", "-c", "%U %a", "/etc/apache2/twofold.secrets").stdout == "root 600\n"
    world.run("sed", "-i", f"s,pam_twofold.so,{module} timeout=10,", f"/etc/pam.d/{SERVICE}")
    return Site(folder / "site", f'[store]\nchain = "web-7"\n{relays}'), authority.file


def installed_module(world: World, folder: Path) -> Path:
    built = ["make", "--silent", "--directory", str(ROOT), "module", f"BUILD={folder}"]
    subprocess.run(built, check=True, capture_output=True, timeout=120)
    module = world.path / "pam_twofold.so"
    world.run("install", "--mode=644", folder / "pam_twofold.so", module)
    return module


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("apache")
    with world_or_skip(network=True) as world:
        site, ca = follow_the_page(world, folder, installed_module(world, folder))
        assert site.command("policy", "set", "reject_delay", "0").returncode == 0
        world.start(*TWOFOLD, "--config", str(site.config_file), "pam", "serve", log="helper.log")
        eventually(lambda: world.outside("/run/twofold/pam.sock").exists(), what="the helper")
        application = Path(__file__).with_name("application.py")
        world.start(sys.executable, "-I", application, "8080", log="application.log")
        script = "mkdir -p /run/apache2; . /etc/apache2/envvars; exec apache2 -DFOREGROUND"
        apache = world.start("sh", "-c", script, log="apache.log")
        for address in ("http://127.0.0.1:8080/", "http://127.0.0.1:80/"):
            wait_for(world, address)
        yield Web(world, site, ca, apache)


@pytest.fixture
def alice(web: Web) -> Person:
    return web.newcomer()


def test_one_pin_opens_a_session_of_many_pages(web: Web, alice: Person) -> None:
    before = web.calls()
    browser, sent = web.log_in(alice.name, alice.password + alice.pin())
    assert (sent.status, sent.location.removeprefix(f"https://{SITE}")) == (302, "/"), sent
    for path in ("/", "/a?b=c", "/deep/page"):
        page = browser.get(path)
        assert page.application is not None, page
        assert page.application["headers"]["x-remote-user"] == alice.name
    assert web.calls() - before == 1, "PAM was asked once"
    (row,) = [row for row in web.site.audit() if row["event"] == "login" and row["user"] == alice.name]
    assert (row["actor"], row["client"], row["source"]) == ("www-data", f"{SERVICE}@web-7", "")


def test_a_cookie_that_another_host_can_set_opens_nothing_and_shuts_nobody_out(web: Web, alice: Person) -> None:
    """`__Host-` keeps the name for this host in browsers, which do not end a cookie where Apache does."""
    browser, _ = web.log_in(alice.name, alice.password + alice.pin())
    own = f"{COOKIE}={browser.cookies()[COOKIE]}"
    for cookie in (
        f"a=b,{own}",
        f"a=b, \t {own}; c=d",
        f"a=b,,{own},{own}",
        f"{COOKIE[:6]},{COOKIE}=,{COOKIE[6:]}=x,{own}",
        f"a=,{COOKIE[:6]},{own},{COOKIE[6:]}=x",
        f"\u2003{own}",
        f"\udca0{own}",  # as the octet A0
        own.replace(COOKIE, COOKIE.lower()),
        own.replace(COOKIE, COOKIE.upper()),
    ):
        assert web.browser().get("/", "-H", f"Cookie: {cookie}", cookies=False).status == 302, ascii(cookie)
    page = web.browser().get("/", "-H", f"Cookie: a=b,{COOKIE}=theirs; {own}; c=d,e", cookies=False)
    assert page.application is not None
    assert page.application["headers"]["cookie"] == "a=b; c=d,e"


def test_without_a_session_nothing_reaches_the_application(web: Web) -> None:
    for path in ("/", "/a/b?c", "/twofold/../x"):
        page = web.browser().get(path)
        assert (page.status, page.location.removeprefix(f"https://{SITE}")) == (302, LOGIN_PAGE)
    assert web.browser().get(f"http://{SITE}/a").location == f"https://{SITE}/a"


def test_all_refusals_look_alike_and_show_no_text(web: Web, alice: Person) -> None:
    """Wrong password, wrong PIN, used PIN, revoked token, a user without a token, a name that is nobody's."""
    used, revoked, newcomer = web.newcomer(), web.newcomer(), "no-token"
    web.log_in(used.name, used.password + used.pin())
    assert web.site.command("token", "revoke", revoked.token.serial, "--reason", "compromise").returncode == 0
    web.site.add_user(newcomer)
    pages = []
    for name, typed in (
        (alice.name, "wrong" + alice.wrong_pin()),
        (alice.name, alice.password + alice.wrong_pin()),
        (used.name, used.password + used.last_pin),
        (revoked.name, revoked.password + revoked.pin()),
        (newcomer, "geheim000000"),
        ("nobody-at-all", "geheim000000"),
    ):
        browser, page = web.log_in(name, typed)
        assert browser.get("/").status == 302, name
        again = browser.follow(page)
        assert 'name="httpd_password"' in again.body, "the login page"
        pages.append((page.status, page.location, page.body, again.body))
    assert len(set(pages)) == 1
    assert web.reasons(used) == ["passcode-right", "passcode-used"]
    errors = web.world.read("/var/log/apache2/error.log")
    assert "PAM authentication failed for user user" in errors
    assert "Authentication failure" in errors
    assert alice.password + alice.wrong_pin() not in errors


def test_a_forged_or_changed_cookie_opens_nothing(web: Web, alice: Person) -> None:
    browser, _ = web.log_in(alice.name, alice.password + alice.pin())
    good = browser.cookies()[COOKIE]
    middle = len(good) // 2
    changed = good[:middle] + ("A" if good[middle] != "A" else "B") + good[middle + 1 :]
    secret = web.world.run("awk", "/SitePass/{print $2}", "/etc/apache2/twofold.secrets").stdout.strip()
    plain = f"twofold-user={alice.name}&twofold-site={secret}"
    for cookie in (changed, good[4:], plain, b64encode(plain.encode()).decode(), ""):
        page = web.browser().get("/", "-H", f"Cookie: {COOKIE}={cookie}", cookies=False)
        assert page.application is None, cookie
    assert browser.get("/").application is not None


def test_a_logout_deletes_the_cookie_but_a_copy_of_it_goes_on(web: Web, alice: Person) -> None:
    """The second half is a weakness, and the page says so."""
    browser, _ = web.log_in(alice.name, alice.password + alice.pin())
    stolen = browser.cookies()[COOKIE]
    done = browser.get("/twofold/logout")
    assert done.location.removeprefix(f"https://{SITE}") == "/twofold/pages/logged-out.html", done
    assert "You are logged out." in browser.follow(done).body
    assert browser.get("/").status == 302
    assert web.browser().get("/", "-H", f"Cookie: {COOKIE}={stolen}", cookies=False).application is not None
    assert "A logout deletes the cookie in the browser, and that is all" in text_of(PAGE)


def test_the_cookie_holds_the_password_under_the_passphrase_as_the_page_warns(web: Web) -> None:
    """It grows with the password."""
    sizes = []
    for name, password in (("short", "p" * 8), ("long", "p" * 72)):
        web.site.add_user(name, password)
        person = Person(name, web.site.enroll(name, kind="hotp"), password)
        browser, _ = web.log_in(name, password + person.pin())
        assert browser.get("/").application is not None
        sizes.append(len(browser.cookies()[COOKIE]))
    assert sizes[1] - sizes[0] > 60
    assert "**The password is in the cookie, too**" in text_of(PAGE)


def test_the_application_gets_neither_the_cookie_nor_what_a_browser_claims(web: Web, alice: Person) -> None:
    browser, _ = web.log_in(alice.name, alice.password + alice.pin())
    ours = f"{COOKIE}={browser.cookies()[COOKIE]}"
    for cookie in (f"a=1; {ours}; b=2", f"{ours}; b=2", ours):
        options = [
            word for line in (*CLAIMS, f"Cookie: {cookie}", "Authorization: Basic eDp5") for word in ("-H", line)
        ]
        page = browser.get("/", *options, cookies=False)
        assert page.application is not None
        headers = page.application["headers"]
        assert headers["x-remote-user"] == alice.name
        assert "root" not in str(headers)
        assert COOKIE not in headers.get("cookie", "")
        assert ("b=2" in headers.get("cookie", "")) == ("b=2" in cookie)
        assert "authorization" not in headers


@pytest.mark.parametrize("path", [LOGIN, "/", "/any/page"])
def test_a_form_of_another_site_logs_nobody_in(web: Web, alice: Person, path: str) -> None:
    fields = {"httpd_username": alice.name, "httpd_password": alice.password + alice.pin()}
    for options in ((), ("-H", "Origin: https://evil.example"), ("-H", "Origin: null")):
        browser = web.browser()
        page = browser.post(path, fields | {"httpd_location": "https://evil.example/"}, *options)
        assert (page.status, page.location) == (403, "")
        assert browser.get("/").status == 302
    assert web.reasons(alice) == [], "nobody was asked"


def test_basic_authentication_spends_the_pin_with_the_first_request_as_the_page_warns(web: Web, alice: Person) -> None:
    browser = web.browser()
    both = ("-u", f"{alice.name}:{alice.password}{alice.pin()}")
    assert browser.get("/basic/1", *both, cookies=False).application is not None
    assert browser.get("/basic/2", *both, cookies=False).status == 401
    assert web.reasons(alice) == ["passcode-right", "passcode-used"]


def test_a_session_that_is_not_used_ends(web: Web, alice: Person) -> None:
    """The same cookie again and again, so that no answer of Apache renews it. Last: it changes the configuration."""
    web.world.run("sed", "-i", "s/SessionMaxAge 3600/SessionMaxAge 3/", CONFIGURATION)
    web.world.run("sh", "-c", ". /etc/apache2/envvars; apache2 -k graceful")
    renewed: list[str] = []

    def takes_effect() -> bool:
        browser, _ = web.log_in(alice.name, alice.password + alice.pin())
        renewed[:] = [browser.cookies().get(COOKIE, "")]
        return "Max-Age=3;" in str(browser.get("/").headers.get("set-cookie"))

    eventually(takes_effect, what="the new configuration")
    header = ("-H", f"Cookie: {COOKIE}={renewed[0]}")
    eventually(lambda: web.browser().get("/", *header, cookies=False).status == 302, what="the end of the session")
    assert web.reasons(alice).count("passcode-right") == len(web.reasons(alice)) >= 1
