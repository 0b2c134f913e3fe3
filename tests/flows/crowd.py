"""Many requests at once: reject delays pass together, and what comes close together is decided together.

Also PINs that are surely wrong.
"""

import time
from collections.abc import Sequence

from tests.site import pin
from tests.wire import Nas, Reply, Request, access_request
from validation.model import Token

AGAIN = 8.0  # seconds; longer than a transaction waits for others (5 s), so that what was given up is not in work


def numbered(secret: bytes, logins: Sequence[tuple[str, str]], **options: object) -> list[Request]:
    """One Access-Request for each (user, password), with Identifiers that differ."""
    return [
        access_request(secret, user, password, identifier=identifier, **options)  # type: ignore[arg-type]
        for identifier, (user, password) in enumerate(logins)
    ]


def send_all(nas: Nas, requests: Sequence[Request]) -> None:
    for request in requests:
        nas.send(request.data)


def replies(
    nas: Nas, requests: Sequence[Request], seconds: float = 15.0, sent_again: bool = False
) -> list[Reply | None]:
    """The checked reply to each of `requests` in their order; None for those without one after `seconds`.

    There may be two to one that was `sent_again`, if they are the same.
    """
    waiting = {request.data[1]: request for request in requests}
    assert len(waiting) == len(requests), "two requests with one Identifier"
    found: dict[int, Reply] = {}
    until = time.monotonic() + seconds
    while len(found) < len(requests) and (left := until - time.monotonic()) > 0:
        reply = nas.receive(left)
        if reply is not None and reply.identifier in waiting:  # else a late one to something sent before
            first = found.setdefault(reply.identifier, reply.check(waiting[reply.identifier]))
            assert first is reply or (sent_again and first.data == reply.data), "two replies to one request"
    return [found.get(request.data[1]) for request in requests]


def answered(nas: Nas, requests: Sequence[Request], seconds: float = 40.0) -> list[Reply]:
    """The replies to all `requests`, none of which may be missing. What has none after a while is sent once more, as
    gateways do: a server whose disk stands still for seconds has given it up."""
    found: dict[int, Reply] = {}
    until = time.monotonic() + seconds
    sent_again = False
    while (missing := [one for one in requests if one.data[1] not in found]) and time.monotonic() < until:
        if sent_again:
            send_all(nas, missing)
        some = replies(nas, missing, AGAIN, sent_again)
        found |= {reply.identifier: reply for reply in some if reply is not None}
        sent_again = True
    assert not missing, f"{len(missing)} of {len(requests)} were not answered"
    return [found[request.data[1]] for request in requests]


def ask_all(nas: Nas, requests: Sequence[Request], seconds: float = 40.0) -> list[Reply]:
    send_all(nas, requests)
    return answered(nas, requests, seconds)


def wrong_pins(token: Token, count: int = 1) -> list[str]:
    """PINs that `token` does not show anywhere near now."""
    near = {pin(token, ahead) for ahead in range(-4 if token.kind == "totp" else 0, 100)}
    return [text for text in (f"{number:06}" for number in range(count + len(near))) if text not in near][:count]
