"""Status-Server (RFC 5997) against a running server."""

from pathlib import Path

import pytest

from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source, check_accepted, check_silence, new_person
from tests.radius_server.test_server import arrived
from tests.site import SECRET, Site, eventually
from tests.vectors import radius_rfc5997
from tests.wire import ACCEPT, Request, access_request, status_server
from validation.model import Mode


@pytest.mark.statement("R-130")
@pytest.mark.parametrize("source", [Source.PASSCODE, Source.UNSIGNED], ids=["required", "off"])
def test_without_or_with_a_wrong_message_authenticator_there_is_silence(nas_from: NasFrom, source: str) -> None:
    nas = nas_from(source)
    right = status_server(nas.secret).data
    wrong = right[:-1] + bytes([right[-1] ^ 1])
    check_silence(nas, status_server(nas.secret, message_authenticator="none").data, wrong)


@pytest.mark.statement("R-130")
def test_under_another_secret_there_is_silence(nas_from: NasFrom) -> None:
    check_silence(nas_from(), status_server(b"another secret").data)


@pytest.mark.statement("R-131")
@pytest.mark.parametrize("exchange", radius_rfc5997.SECTION_6, ids=lambda e: e.section)
def test_there_is_one_access_accept(nas_from: NasFrom, exchange: radius_rfc5997.Exchange) -> None:
    """At the authentication port. The reply has nothing but its Message-Authenticator."""
    nas = nas_from(Source.RFC, radius_rfc5997.SECRET)
    reply = nas.ask(Request(exchange.request, nas.secret))
    assert (reply.code, len(reply.attributes)) == (ACCEPT, 1)
    check_silence(nas)


@pytest.mark.statement("R-132")
def test_answered_by_default(nas_from: NasFrom) -> None:
    assert nas_from().ask(status_server(SECRET)).code == ACCEPT


@pytest.mark.statement("R-132")
def test_off_for_one_client_gets_silence(live: Live, nas_from: NasFrom, person: Person) -> None:
    """The login that follows is answered, so the probe before it was read; a second one shows nothing was late."""
    nas = nas_from(Source.NO_STATUS)
    nas.send(status_server(SECRET).data)
    check_accepted(nas, person)
    check_accepted(nas, person, 1)
    assert live.logged(f"from={Source.NO_STATUS}", "reason=status-server-off")


@pytest.mark.statement("R-132")
def test_off_in_the_configuration_gets_silence_for_all(tmp_path: Path) -> None:
    site = Site(tmp_path, '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\nstatus_server = false\n')
    site.add_client(mode=Mode.PASSCODE_ONLY)
    person = new_person(site, "alice")
    with site.server() as server, server.nas() as nas:
        nas.send(status_server(SECRET).data)
        check_accepted(nas, person)
        check_accepted(nas, person, 1)
        eventually(lambda: "reason=status-server-off" in server.log)


@pytest.mark.statement("R-135")
def test_too_many_are_dropped_silently_and_logins_are_not(live: Live, nas_from: NasFrom, person: Person) -> None:
    """3,000 as fast as they can be sent, from a client of its own."""
    nas, login = nas_from(Source.FLOODED), nas_from()
    answers = 0
    for _ in range(30):
        for identifier in range(100):
            nas.send(status_server(SECRET, identifier=identifier).data)
        assert login.ask(status_server(SECRET)).code == ACCEPT  # so all were read
        answers += arrived(nas)
    assert 0 < answers < 2500
    assert live.logged(f"from={Source.FLOODED}", "reason=status-server-too-many")
    assert len(live.logged(f"from={Source.FLOODED}", "reason=status-server-too-many")) <= 2
    check_accepted(login, person)


@pytest.mark.statement("R-133")
def test_a_stranger_gets_silence(live: Live, nas_from: NasFrom) -> None:
    stranger = nas_from("127.0.9.133")
    stranger.send(status_server(SECRET).data)
    check_silence(nas_from())
    assert stranger.receive(0.01) is None
    assert live.logged("reason=unknown-client")


@pytest.mark.statement("R-134")
def test_credentials_inside_authenticate_nobody(live: Live, nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    before = len(live.site.audit())
    for passcode in (person.pin(), person.pin(50)):
        reply = nas.ask(access_request(nas.secret, person.name, passcode, code=12))
        assert (reply.code, len(reply.attributes)) == (ACCEPT, 1)
    assert len(live.site.audit()) == before
    assert (person.counter, person.failures) == (0, 0)
    check_accepted(nas, person)
