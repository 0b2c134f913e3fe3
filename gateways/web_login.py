"""The login of a web site: from a request to the page or the redirect that answers it.

Rules: a session begins with an Access-Accept and nothing else, under a new key; the one that the browser had before
ends. A form counts only with the token of this browser's own cookie, so nobody else's page can send one. Where a login
leads is a path on the same site. The client's address is what nginx says (`X-Real-IP`), the site is `Host` as nginx was
told to send it. Names go to the application in a header, so they hold nothing but printable characters. Passwords,
PINs, keys and texts of Twofold are in no line of the log.
"""

import hmac
import logging
import re
import secrets
import threading
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

from gateways import web_pages
from gateways.asking import Order, ask
from gateways.settings import Settings
from gateways.web_http import BadRequest, Request, Response
from gateways.web_sessions import Question, Questions, Sessions, new_key
from radius_client.client import CannotAsk, NoReply, Reply
from radius_client.wire import MAX_VALUE, Attribute, Code

SESSION, BROWSER = "__Host-twofold", "__Host-twofold-form"
ASKING_AT_ONCE = 64  # logins that wait for Twofold
REFUSED = "The login was refused."
AGAIN = "This page was too old, or had been used. Please log in again."
NOT_NOW = "Nobody can log in at the moment. Please try again in a minute."
LONGEST_BACK = 4096

_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
_SITE = re.compile(r"[A-Za-z0-9._:\[\]-]{1,253}")  # hosts of a local network are called build_server, too
_log = logging.getLogger("twofold.web")


class Door:
    """Answers requests, in as many threads as they come in."""

    def __init__(self, settings: Settings, sessions: Sessions, questions: Questions) -> None:
        self._settings, self._sessions, self._questions = settings, sessions, questions
        self._order = Order(settings.servers)
        self._secret = secrets.token_bytes(32)  # of this process: forms of an earlier one are too old
        self._places = threading.BoundedSemaphore(ASKING_AT_ONCE)

    def answer(self, request: Request) -> Response:
        """Raises BadRequest."""
        match request.method, request.path:
            case "GET", "/twofold/check":
                return self._check(request)
            case "GET", web_pages.LOGIN:
                return self._login_page(request)
            case "POST", web_pages.LOGIN:
                return self._log_in(request)
            case "GET", web_pages.LOGOUT:
                return self._logout_page(request)
            case "POST", web_pages.LOGOUT:
                return self._log_out(request)
            case _, "/twofold/check" | web_pages.LOGIN | web_pages.LOGOUT:
                raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, "this page has no such method")
            case _:
                raise BadRequest(HTTPStatus.NOT_FOUND, "there is no such page")

    def _check(self, request: Request) -> Response:
        """For nginx alone: may this request pass, and whose is it?"""
        user = self._user(request)
        if user is None:
            return Response(HTTPStatus.UNAUTHORIZED)
        return Response(HTTPStatus.OK, (("X-Remote-User", user),))

    def _user(self, request: Request) -> str | None:
        key = request.cookie(SESSION)
        return self._sessions.user_of(key, site_of(request)) if _KEY.fullmatch(key) else None

    # --- the forms ----------------------------------------------------------------------------------------------

    def _login_page(self, request: Request) -> Response:
        back = way_back(request.query.removeprefix("next="))
        if self._user(request) is not None:
            return Response(HTTPStatus.SEE_OTHER, (("Location", back), ("Cache-Control", "no-store")))
        return self._fresh_login(request, back)

    def _fresh_login(self, request: Request, back: str, text: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
        browser = browser_of(request) or new_key()
        site = site_of(request)
        return _with_cookie(web_pages.login(site, self._token(browser, site), back, text, status), BROWSER, browser)

    def _logout_page(self, request: Request) -> Response:
        browser, site = browser_of(request) or new_key(), site_of(request)
        return _with_cookie(web_pages.logout(site, self._token(browser, site)), BROWSER, browser)

    def _token(self, browser: str, site: str) -> str:
        return hmac.digest(self._secret, f"{browser} {site}".encode(), "sha256").hex()

    def _is_ours(self, request: Request, fields: dict[str, str]) -> bool:
        browser = browser_of(request)
        token = self._token(browser, site_of(request))
        return bool(browser) and hmac.compare_digest(token.encode(), fields.get("token", "").encode())

    # --- logging in ---------------------------------------------------------------------------------------------

    def _log_in(self, request: Request) -> Response:
        fields = request.form()
        back = way_back(fields.get("back", "/"))
        if not self._is_ours(request, fields):
            return self._fresh_login(request, back, AGAIN, HTTPStatus.FORBIDDEN)
        site, browser = site_of(request), browser_of(request)
        if "question" in fields:
            asked = self._questions.take(fields["question"], browser, site)
            if asked is None:
                return self._fresh_login(request, back, AGAIN, HTTPStatus.FORBIDDEN)
            return self._ask(request, asked, fields.get("answer", ""))
        name = fields.get("name", "").strip()
        if not can_be_sent(name):
            return self._fresh_login(request, back, REFUSED, HTTPStatus.FORBIDDEN)
        return self._ask(request, Question(name, browser, site, back, b""), fields.get("password", ""))

    def _ask(self, request: Request, login: Question, typed: str) -> Response:
        """An empty State begins a login."""
        address = client_of(request)
        if not self._places.acquire(blocking=False):
            _log.warning("busy user=%s from=%s site=%s", ascii(login.user), address, login.site)
            return self._fresh_login(request, login.back, NOT_NOW, HTTPStatus.SERVICE_UNAVAILABLE)
        attributes = (
            (Attribute.CALLING_STATION_ID, address.encode()),
            (Attribute.CALLED_STATION_ID, login.site.encode()),
        )
        try:
            reply = ask(self._settings, login.user, typed, login.state or None, attributes, self._order)
        except CannotAsk as error:
            return self._refused(request, login, REFUSED, str(error))
        except NoReply as error:
            _log.error("no answer user=%s site=%s: %s", ascii(login.user), login.site, error)
            return self._fresh_login(request, login.back, NOT_NOW, HTTPStatus.SERVICE_UNAVAILABLE)
        finally:
            self._places.release()
        return self._told(request, login, reply)

    def _told(self, request: Request, login: Question, reply: Reply) -> Response:
        text = text_of(reply)
        if reply.code is Code.ACCESS_ACCEPT:
            return self._enter(request, login, reply)
        if reply.code is Code.ACCESS_CHALLENGE and reply.state:
            asked = Question(login.user, login.browser, login.site, login.back, reply.state)
            token = self._token(login.browser, login.site)
            return web_pages.question(login.site, token, self._questions.ask(asked), text, echoes(reply))
        return self._refused(request, login, text or REFUSED, "by Twofold")

    def _refused(self, request: Request, login: Question, text: str, why: str) -> Response:
        _log.info("refused user=%s from=%s site=%s: %s", ascii(login.user), client_of(request), login.site, why)
        return self._fresh_login(request, login.back, text, HTTPStatus.FORBIDDEN)

    def _enter(self, request: Request, login: Question, reply: Reply) -> Response:
        user = name_in(reply) or login.user
        if not can_be_sent(user):
            return self._refused(request, login, REFUSED, "its name is nothing for a header")
        self._sessions.end(request.cookie(SESSION), login.site)
        lengths = (seconds(reply, Attribute.SESSION_TIMEOUT), seconds(reply, Attribute.IDLE_TIMEOUT))
        key = self._sessions.open(user, login.site, *lengths)
        _log.info("login user=%s from=%s site=%s", ascii(user), client_of(request), login.site)
        sent = Response(HTTPStatus.SEE_OTHER, (("Location", login.back), ("Cache-Control", "no-store")))
        return _with_cookie(sent, SESSION, key)

    # --- logging out --------------------------------------------------------------------------------------------

    def _log_out(self, request: Request) -> Response:
        if not self._is_ours(request, request.form()):
            return self._logout_page(request)
        site = site_of(request)
        user = self._sessions.end(request.cookie(SESSION), site)
        if user is not None:
            _log.info("logout user=%s site=%s", ascii(user), site)
        return _with_cookie(web_pages.said("Logged out", f"You are logged out of {site}."), SESSION, "", "; Max-Age=0")


def _with_cookie(response: Response, name: str, value: str, more: str = "") -> Response:
    """For this host alone, over TLS alone, for no script, and not sent by forms of other sites."""
    cookie = ("Set-Cookie", f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{more}")
    return Response(response.status, (*response.headers, cookie), response.body)


# --- what a request says --------------------------------------------------------------------------------------------


def site_of(request: Request) -> str:
    """Raises BadRequest."""
    site = request.header("host")
    if not _SITE.fullmatch(site):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "Host is no name of a site")
    return site.lower()


def client_of(request: Request) -> str:
    """The address of the browser, IPv4 where nginx listens for both families at once (`::ffff:192.0.2.2`). Raises
    BadRequest: without one a guesser could not be told from others."""
    try:
        address = ip_address(request.header("x-real-ip"))
        return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else str(address)
    except ValueError:
        _log.error("no client address: nginx must send X-Real-IP $remote_addr")
        raise BadRequest(HTTPStatus.INTERNAL_SERVER_ERROR, "the web server does not say who asks") from None


def browser_of(request: Request) -> str:
    """The key of its forms; empty if it has none."""
    key = request.cookie(BROWSER)
    return key if _KEY.fullmatch(key) else ""


def way_back(text: str) -> str:
    """`text` if it is a path on this site, else the front page. Browsers take `//host` and a backslash for another
    host, and drop control characters before they look (WHATWG URL 4.4); our own pages would lead in a circle."""
    plain = all("!" <= char <= "~" for char in text)
    elsewhere = text.startswith("//") or "\\" in text or not text.startswith("/")
    ours = unquote(text).startswith("/twofold/")
    return "/" if not plain or elsewhere or ours or len(text) > LONGEST_BACK else text


def can_be_sent(name: str) -> bool:
    """Whether it may stand in a header and is read there as it was written: printable, and no blanks at its ends."""
    return name.isprintable() and name == name.strip() and 1 <= len(name.encode("utf-8", "replace")) <= MAX_VALUE


# --- what a reply says ----------------------------------------------------------------------------------------------


def text_of(reply: Reply) -> str:
    """Its Reply-Messages as lines. One that is as long as can be is gone on with in the next (RFC 2865 5.18)."""
    text = b""
    for value in reply.values(Attribute.REPLY_MESSAGE):
        text += value if len(value) > MAX_VALUE - 4 else value + b"\n"
    return text.decode("utf-8", "replace")


def echoes(reply: Reply) -> bool:
    """Prompt (RFC 2869 5.10): 1 is Echo."""
    return [int.from_bytes(value, "big") for value in reply.values(Attribute.PROMPT)] == [1]


def name_in(reply: Reply) -> str:
    """The name that the server knows the user by, if it says one (RFC 2865 5.1)."""
    return b"".join(reply.values(Attribute.USER_NAME)[:1]).decode("utf-8", "replace")


def seconds(reply: Reply, kind: Attribute) -> float | None:
    """Session-Timeout or Idle-Timeout (RFC 2865 5.27, 5.28)."""
    values = [int.from_bytes(value, "big") for value in reply.values(kind) if len(value) == 4]
    return float(min(values)) if values else None
