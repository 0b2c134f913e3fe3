"""A browser: `curl` with cookies of its own, on a host of the road. It reads forms and sends them as a person would."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import count
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.peers.world import World

_numbers = count(1)

# Headers with which a browser says that it is root, in all spellings that an application may take for the same.
CLAIMS = [
    f"{name}: root"
    for form in ("X{0}Remote{1}User", "Remote{1}User", "X{0}Forwarded{1}User")
    for name in sorted({form.format(first, second) for first in "-_" for second in "-_"})
]


@dataclass
class Form(HTMLParser):
    """The form of a page: where it goes, and the values that stand in it."""

    html: str
    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.action = found.get("action") or ""
        if tag == "input" and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""
            self.kinds[str(found["name"])] = found.get("type") or "text"


@dataclass
class Text(HTMLParser):
    """What a person reads in the `<pre>` of a page."""

    html: str
    said: str = ""
    _inside: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        self.said += data if self._inside else ""


@dataclass(frozen=True)
class Page:
    status: int
    headers: Mapping[str, list[str]]
    body: str

    @property
    def text(self) -> str:
        return Text(self.body).said

    @property
    def form(self) -> Form:
        return Form(self.body)

    @property
    def location(self) -> str:
        return next(iter(self.headers.get("location", [])), "")

    @property
    def application(self) -> dict[str, Any] | None:
        """What the application got, if this page is its."""
        return json.loads(self.body) if self.body.startswith('{"application"') else None


class Browser:
    def __init__(self, world: World, address: str, site: str, ca: str) -> None:
        self.world, self.site = world, site
        self._jar = world.path / f"cookies{next(_numbers)}"
        self._common = ["-s", "-i", "--cacert", ca, "--max-time", "60"]
        for port in (80, 443):
            self._common += ["--resolve", f"{site}:{port}:{address}"]

    def get(self, path: str, *options: str, cookies: bool = True) -> Page:
        """`path` may be a whole address. Redirects are not followed."""
        jar = ["-b", str(self._jar), "-c", str(self._jar)] if cookies else []
        address = path if "://" in path else f"https://{self.site}{path}"
        done = self.world.run("curl", *self._common, *jar, "--path-as-is", *options, address, check=False)
        assert done.returncode == 0, (done.returncode, done.stderr, options)
        return read(done.stdout)

    def post(self, path: str, fields: Mapping[str, str], *options: str, cookies: bool = True) -> Page:
        return self.get(path, "--data-raw", urlencode(fields), *options, cookies=cookies)

    def send(self, page: Page, *options: str, **typed: str) -> Page:
        """The form of `page`, filled in."""
        form = page.form
        assert form.action, page.body
        return self.post(form.action, form.fields | typed, *options)

    def follow(self, page: Page) -> Page:
        assert page.location.startswith(("/", "https://")), page
        where = urlsplit(page.location)
        return self.get(where.path + (f"?{where.query}" if where.query else ""))

    def cookies(self) -> dict[str, str]:
        """By name; what curl's file of them says."""
        lines = self.world.read(self._jar).splitlines()
        rows = [line.removeprefix("#HttpOnly_").split("\t") for line in lines]
        return {row[5]: row[6] for row in rows if len(row) == 7}


def read(output: str) -> Page:
    """Of several answers (100 Continue) the last."""
    head, _, body = output.replace("\r\n", "\n").partition("\n\n")
    if re.match(r"HTTP/\S+ 100", head):
        return read(body)
    first, *lines = head.splitlines()
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    return Page(int(first.split()[1]), headers, body)
