"""The pages that people see: name and password, a question, logged out.

Rules: whatever comes from a person, a browser or Twofold is escaped. No script, nothing from elsewhere, no frame around
it; each form carries the token that shows that it came from here. Pages are never kept by a cache.
"""

import hashlib
from base64 import b64encode
from html import escape
from http import HTTPStatus

from gateways.web_http import Response

LOGIN, LOGOUT = "/twofold/login", "/twofold/logout"

_STYLE = (
    "body{font:1em/1.5 system-ui,sans-serif;max-width:34em;margin:3em auto;padding:0 1em}"
    "label,input,button{display:block;font:inherit}"
    "input{width:100%;box-sizing:border-box;padding:.4em;margin:0 0 1em}"
    "button{padding:.4em 1.5em}"
    "pre{font:1em/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}"
)
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)


def login(site: str, token: str, back: str, text: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Name and password. `text` says why they are asked for again."""
    fields = (
        f"{_hidden('back', back)}"
        '<label for="name">Name</label>'
        '<input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" autofocus>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password">'
    )
    return page(f"Log in to {site}", _text(text) + _form(LOGIN, token, fields, "Log in"), status)


def question(site: str, token: str, key: str, text: str, echo: bool) -> Response:
    """What Twofold asks for after the password: a PIN, or a step of a first registration."""
    kind = "text" if echo else "password"
    fields = (
        f"{_hidden('question', key)}"
        f'<input name="answer" type="{kind}" aria-label="Answer" autocomplete="one-time-code" autofocus>'
    )
    return page(f"Log in to {site}", _text(text) + _form(LOGIN, token, fields, "Go on"))


def logout(site: str, token: str) -> Response:
    return page(f"Log out of {site}", _form(LOGOUT, token, "", "Log out"))


def page(title: str, body: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """`title` is escaped here, `body` is HTML."""
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )
    return Response(status, HEADERS, html.encode("utf-8", "replace"))


def said(title: str, text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A page that asks nothing."""
    return page(title, _text(text), status)


def _text(text: str) -> str:
    """With its line breaks: a key or a ticket is read off the screen."""
    return f"<pre>{escape(text.rstrip())}</pre>" if text.strip() else ""


def _form(action: str, token: str, fields: str, button: str) -> str:
    inside = f"{_hidden('token', token)}{fields}<button>{escape(button)}</button>"
    return f'<form method="post" action="{action}">{inside}</form>'


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'
