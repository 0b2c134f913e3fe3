"""Whoever has a security key alone, at a gateway: he is told where it works, once his password was right."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desk import Desk
from tests.site import PASSWORD, Site
from tests.wire import CHALLENGE, MESSAGE_AUTHENTICATOR, REJECT, REPLY_MESSAGE, Nas
from validation.messages import MessageKey, default_text
from validation.model import Mode


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("key-elsewhere"))
    for name in ("alice", "bob"):
        made.add_user(name)
    Desk(made).registered()
    return made


@pytest.fixture(scope="module", params=[Mode.CHALLENGE, Mode.APPEND])
def nas(site: Site, request: pytest.FixtureRequest) -> Iterator[Nas]:
    number = {Mode.CHALLENGE: 1, Mode.APPEND: 2}[request.param]
    site.add_client(str(request.param), network=f"127.0.0.{number}/32", mode=request.param)
    with site.server() as server, server.nas(source=f"127.0.0.{number}") as made:
        yield made


def texts(nas: Nas, user: str, password: str) -> tuple[int, list[str]]:
    reply = nas.login(user, password)
    assert reply.values(MESSAGE_AUTHENTICATOR), "a reply that is not signed"
    return reply.code, [text.decode() for text in reply.values(REPLY_MESSAGE)]


@pytest.mark.statement("W-021")
def test_who_has_a_key_alone_is_told_where_it_works_after_a_right_password(site: Site, nas: Nas) -> None:
    told = default_text(MessageKey.KEY_ELSEWHERE, "en")
    assert texts(nas, "alice", PASSWORD) == (REJECT, told.split("\n"))
    assert site.logins()[-1] == ("reject", "security-key-works-elsewhere")


@pytest.mark.statement("W-022")
def test_after_a_wrong_password_nobody_is_told_who_has_a_key(nas: Nas) -> None:
    """Unknown, without anything, or with a key alone: the same."""
    plain = (REJECT, [default_text(MessageKey.REFUSED, "en")])
    assert [texts(nas, user, "wrong") for user in ("alice", "bob", "nobody")] == [plain] * 3


def test_who_has_an_app_too_is_asked_for_its_pin(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.add_user("alice")
    site.add_client()
    Desk(site).registered()
    site.enroll("alice")
    with site.server() as server, server.nas() as nas:
        assert nas.login("alice", PASSWORD).code == CHALLENGE
