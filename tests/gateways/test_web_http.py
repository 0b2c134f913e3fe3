"""HTTP from behind nginx: what is read, and what is refused before anything looks at it."""

import socket
import threading
from http import HTTPStatus

import pytest

from gateways.web_http import MOST_BODY, MOST_HEAD, BadRequest, Request, Response, parse, read

GET = b"GET /twofold/check?a=b HTTP/1.0\r\nHost: wiki\r\nAccept: x\r\nCookie: a=1; b=2; a=3\r\n\r\n"
FORM = (("content-type", "application/x-www-form-urlencoded"),)


def reading(*pieces: bytes, patience: float = 5.0, more: bool = False) -> Request | None:
    """What `read` makes of these octets; the sender ends afterwards, unless there is `more`."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=_send, args=(theirs, pieces, more))
        sender.start()
        try:
            return read(ours, patience)
        finally:
            sender.join(60)


def _send(sock: socket.socket, pieces: tuple[bytes, ...], more: bool) -> None:
    for piece in pieces:
        sock.sendall(piece)
    if not more:
        sock.shutdown(socket.SHUT_WR)


def test_a_request_is_read_whole_in_whatever_pieces_it_comes() -> None:
    post = b"POST /x HTTP/1.1\r\ncontent-LENGTH: 7\r\nHost:  wiki \r\n\r\na=1&b=2"
    for pieces in ((post,), tuple(bytes([octet]) for octet in post)):
        request = reading(*pieces, more=True)
        assert request is not None
        assert (request.method, request.path, request.body) == ("POST", "/x", b"a=1&b=2")
        assert request.header("host") == "wiki"
    request = reading(GET)
    assert request is not None
    assert (request.path, request.query) == ("/twofold/check", "a=b")
    assert "accept" not in request.headers, "only what is looked at"


def test_who_hangs_up_gets_nothing() -> None:
    assert reading() is None
    assert reading(GET[:30]) is None


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX-Real-IP: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nCookie: a\r\nCookie: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX-Real-IP: a\r\nX-Real-IP: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1), 413),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * (MOST_HEAD + 20_000), 431),
    ],
    ids=range(22),
)
def test_what_is_no_plain_request_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        reading(head)
    assert caught.value.status == status


def test_who_sends_too_slowly_is_left_alone() -> None:
    with pytest.raises(TimeoutError):
        reading(GET[:30], patience=0.05, more=True)
    with pytest.raises(TimeoutError):
        reading(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na", patience=0.05, more=True)


def test_a_cookie_that_comes_twice_is_none() -> None:
    request = parse(GET.partition(b"\r\n\r\n")[0])
    assert (request.cookie("a"), request.cookie("b"), request.cookie("c")) == ("", "2", "")


def test_what_other_cookies_hold_is_not_looked_at() -> None:
    request = parse(b"GET / HTTP/1.1\r\nCookie: a=M\xfcller; b=2\r\nReferer: \xff")
    assert request.cookie("b") == "2"


BLANKS = [
    *(text.encode() for text in ("\u00a0", "\u0085", "\u2003", "\u3000", "\u2028", "\x1f", "\v")),
    b"\xa0",
    b"\x85",
]


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
def test_a_cookie_that_any_host_can_set_is_not_taken_for_one_that_only_this_host_can(blank: bytes) -> None:
    """Browsers keep `__Host-` for the host itself, and look at the name as it stands there."""
    theirs = blank + b"__Host-a=theirs"
    request = parse(b"GET / HTTP/1.1\r\nCookie: %s; b=2;%s%s\r\n%sHost: b" % (theirs, theirs, blank, blank))
    assert (request.cookie("__Host-a"), request.cookie("b"), request.header("host")) == ("", "2", "")
    request = parse(b"GET / HTTP/1.1\r\nCookie: %s; \t __Host-a=ours \t" % theirs)
    assert request.cookie("__Host-a") == "ours", "and takes nothing away from it"


@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a=%ff", b"a=\xc3\xa4", b"&".join(b"%d=1" % number for number in range(9))]
)
def test_a_form_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        Request("POST", "/", headers=dict(FORM), body=body).form()


def test_a_form_is_text() -> None:
    body = b"name=%C3%A4+b&password=%26%3D%00&empty="
    assert Request("POST", "/", headers=dict(FORM), body=body).form() == {
        "name": "ä b",
        "password": "&=\0",
        "empty": "",
    }
    with pytest.raises(BadRequest):
        Request("POST", "/", headers={"content-type": "application/json"}, body=b"{}").form()


def test_no_header_ends_its_line() -> None:
    assert b"\r\nX-Remote-User: \xc3\xa4\r\n" in Response(HTTPStatus.OK, (("X-Remote-User", "ä"),)).octets()
    for value in ("a\r\nX: y", "a\nb", "a\0", "\x7f"):
        with pytest.raises(ValueError, match="control character"):
            Response(HTTPStatus.OK, (("Location", value),)).octets()


def test_what_was_sent_shows_in_no_repr() -> None:
    request = Request("POST", "/", headers={"cookie": "geheim"}, body=b"geheim")
    assert "geheim" not in repr(request)
