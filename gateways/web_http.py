"""As much HTTP as stands between nginx and a program behind it: one request, one reply, and the connection ends.

Rules: nothing is read without a bound in octets and in time. Of the headers only those in `LOOKED_AT` are kept, and
none of them may come twice, since two readers could each believe another one. What is not plainly a request is refused;
a body has a Content-Length or does not exist (RFC 9112 6.3: no chunks are read). No header of ours holds a line break.
Blanks are blank and tab (RFC 9110 5.6.3), as for browsers. Python strips more; then a cookie that any host may set,
named U+2003 and then like ours, would pass for ours.
"""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

LOOKED_AT = frozenset({"content-length", "content-type", "cookie", "host", "transfer-encoding", "x-real-ip"})
MOST_HEAD = 40 * 1024  # octets; nginx passes on 32 KiB at most
MOST_BODY = 8 * 1024  # octets of a form
MOST_FIELDS = 8
PATIENCE = 10.0  # seconds for the whole request, and for the reply
_BLANKS = " \t"


class BadRequest(Exception):
    """Not a request that gets a page. The text repeats nothing of it."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def cookie(self, name: str) -> str:
        """The value of a cookie; empty if there is none, or more than one of that name."""
        pairs = [pair.strip(_BLANKS).partition("=") for pair in self.header("cookie").split(";")]
        found = [value for key, _, value in pairs if key == name]
        return found[0] if len(found) == 1 else ""

    def form(self) -> dict[str, str]:
        """The fields of a form that was posted. Raises BadRequest."""
        if self.header("content-type").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a form is expected")
        try:
            text = self.body.decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
        except ValueError:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "the form cannot be read") from None
        if len(dict(pairs)) != len(pairs):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a field of the form came twice")
        return dict(pairs)


@dataclass(frozen=True, slots=True)
class Response:
    status: HTTPStatus
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def octets(self) -> bytes:
        """Raises ValueError for a header that would end its line."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        for name, value in (*self.headers, ("Content-Length", str(len(self.body))), ("Connection", "close")):
            if any(char < " " or char == "\x7f" for char in name + value):
                raise ValueError(f"a control character in the header {name!r}")
            lines.append(f"{name}: {value}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def read(connection: socket.socket, patience: float = PATIENCE) -> Request | None:
    """The one request of a connection; None if it ended before. Raises BadRequest, and TimeoutError when it is late."""
    until = time.monotonic() + patience
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > MOST_HEAD:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long")
        more = _receive(connection, until)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    request = parse(head)
    length = body_length(request)
    while len(body) < length and (more := _receive(connection, until)):
        body += more
    if len(body) != length:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the body is not as long as was said")
    return Request(request.method, request.path, request.query, request.headers, body)


def _receive(connection: socket.socket, until: float) -> bytes:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(16_384)


def parse(head: bytes) -> Request:
    """Request line and headers, without the empty line. Raises BadRequest.

    Each octet is a character: what other cookies and headers hold is the business of others, who may write any."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1") or not words[1].startswith("/"):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the first line is no request")
    path, _, query = words[1].partition("?")
    return Request(words[0], path, query, _headers(lines))


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip(_BLANKS) or "\n" in line or "\r" in line or "\0" in line:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a line is no header")
        if (key := name.lower()) not in LOOKED_AT:
            continue
        if key in headers:
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"{key} came twice")
        if key != "cookie" and not value.isascii():
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"{key} is not ASCII")
        headers[key] = value.strip(_BLANKS)
    return headers


def body_length(request: Request) -> int:
    """Octets of the body. Raises BadRequest."""
    if request.header("transfer-encoding"):
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "a body has a Content-Length here")
    text = request.header("content-length") or "0"
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
    if int(text) > MOST_BODY:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")
    return int(text)
