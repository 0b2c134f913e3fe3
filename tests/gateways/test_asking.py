"""Asking one server after the other: who answers has decided; who is silent is passed over."""

import pytest

from gateways.asking import ASIDE, Order, ask
from gateways.settings import Settings
from radius_client.client import CannotAsk, NoReply
from radius_client.wire import Code
from tests.first_factor.upstream import SECRET, Upstream, accept, reject, silence, upstream
from tests.wire import CALLING_STATION_ID, Reply


def settings(*servers: Upstream, timeout: float = 1.0) -> Settings:
    return Settings(tuple(server.address for server in servers), SECRET, "vpn", timeout)


def test_the_first_that_answers_decides() -> None:
    with upstream(reject) as first, upstream(accept) as second:
        assert ask(settings(first, second), "alice", "geheim").code is Code.ACCESS_REJECT
        assert second.requests == []


def test_a_silent_one_is_passed_over() -> None:
    with upstream(silence) as first, upstream(accept) as second:
        assert ask(settings(first, second), "alice", "geheim").code is Code.ACCESS_ACCEPT
        assert first.requests


def test_each_is_handed_the_same_packet() -> None:
    """Twofold then knows it for one login (decision 77)."""
    with upstream(silence) as first, upstream(accept) as second:
        ask(settings(first, second), "alice", "geheim")
        assert {*first.requests} == {*second.requests}
        assert len({*first.requests}) == 1


def test_who_was_silent_is_asked_last_for_a_while() -> None:
    """A program that goes on pays its time-out once."""
    now = [100.0]
    with upstream(silence) as first, upstream(accept) as second:
        order = Order((first.address, second.address), lambda: now[0])
        for _ in range(3):
            ask(settings(first, second), "alice", "geheim", order=order)
        assert (len({*first.requests}), len(second.requests)) == (1, 3)
        now[0] += ASIDE
        ask(settings(first, second), "alice", "geheim", order=order)
        assert len({*first.requests}) == 2


def test_who_answers_is_asked_in_his_turn_again() -> None:
    answers = [silence, accept]
    with upstream(lambda request: answers[0](request)) as first, upstream(silence) as second:
        order = Order((first.address, second.address))
        with pytest.raises(NoReply):
            ask(settings(first, second), "alice", "geheim", order=order)
        del answers[0]
        ask(settings(first, second), "alice", "geheim", order=order)
        asked = len(second.requests)
        ask(settings(first, second), "alice", "geheim", order=order)
        assert (order.now(), len(second.requests)) == ([first.address, second.address], asked)


def test_if_all_are_silent_each_is_named() -> None:
    with upstream(silence) as first, upstream(silence) as second:
        ports = first.address[1], second.address[1]
        with pytest.raises(NoReply) as caught:
            ask(settings(first, second), "alice", "geheim")
    for port in ports:
        assert f"127.0.0.1:{port}: no reply" in str(caught.value)


def test_what_a_gateway_says_of_the_login_goes_along() -> None:
    with upstream() as server:
        ask(settings(server), "alice", "123456", b"a-state", [(CALLING_STATION_ID, b"198.51.100.7")])
        (request,) = server.requests
    assert Reply(request).values(CALLING_STATION_ID) == [b"198.51.100.7"]
    assert Reply(request).values(24) == [b"a-state"]
    assert Reply(request).values(32) == [b"vpn"]


def test_a_password_that_radius_cannot_carry_is_refused_and_nobody_is_asked() -> None:
    with upstream() as server:
        for password in ("", "x" * 129, "a\0b"):
            with pytest.raises(CannotAsk):
                ask(settings(server), "alice", password)
        assert server.requests == []
