"""Copies of requests against a running server (RFC 5080 2.2.2)."""

from contextlib import ExitStack

import pytest
from sqlalchemy import select

from store.schema import answers, users
from tests.flows.crowd import numbered, send_all
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source, check_silence
from tests.site import PASSWORD, SECRET, eventually
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, Reply, Request, access_request


@pytest.mark.statement("R-110")
def test_copies_get_the_same_octets_and_are_not_worked_on_again(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.APPEND)
    request = access_request(nas.secret, person.name, PASSWORD + person.pin())
    replies = [nas.ask(request) for _ in range(5)]
    assert {reply.data for reply in replies} == {replies[0].data}
    assert replies[0].code == ACCEPT
    assert person.logins == [("accept", "passcode-right")]
    assert (person.counter, person.failures) == (1, 0)


@pytest.mark.statement("R-110")
def test_a_copy_of_a_challenge_holds_the_same_state(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.CHALLENGE)
    request = access_request(nas.secret, person.name, PASSWORD)
    assert nas.ask(request).state == nas.ask(request).state
    assert person.logins == [("challenge", "password-right")]


@pytest.mark.statement("R-110")
def test_the_same_octets_from_another_port_address_or_to_another_socket_get_the_same_decision(live: Live) -> None:
    """They are no copy to the cache of the process, but of one client, and within 30 s: the store knows the packet."""
    person = live.person()
    here, there = "127.0.4.110", "127.0.4.111"
    with live.site.server("--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0") as server:
        eventually(lambda: len(server.addresses) == 2)
        with server.nas(source=here) as nas, server.nas(source=here) as port, server.nas(source=there) as address:
            request = access_request(SECRET, person.name, person.pin())
            assert nas.ask(request).code == ACCEPT
            port.send(request.data)
            address.send(request.data)
            nas.server = server.addresses[1]
            replies = [nas.ask(request), received(port, request), received(address, request)]
    assert [reply.code for reply in replies] == [ACCEPT] * 3
    assert person.logins == [("accept", "passcode-right")]
    assert (person.counter, person.failures) == (1, 0)


@pytest.mark.statement("R-110")
def test_the_same_octets_of_another_client_are_no_copy(live: Live, person: Person) -> None:
    """Two clients with one secret."""
    with live.nas(Source.PASSCODE) as nas, live.nas("127.0.4.112") as other:
        request = access_request(SECRET, person.name, person.pin())
        assert nas.ask(request).code == ACCEPT
        assert other.ask(request).code == REJECT
    assert person.logins == [("accept", "passcode-right"), ("reject", "passcode-used")]


@pytest.mark.statement("R-110")
def test_a_packet_with_a_wrong_signature_leaves_nothing_behind(live: Live, person: Person) -> None:
    """Neither a reply nor a record: the same request, rightly signed, is the first of its kind."""
    with live.nas(Source.PASSCODE) as nas:
        right = access_request(SECRET, person.name, person.pin())
        forged = right.data[:22] + bytes(16) + right.data[38:]
        check_silence(nas, forged)
        with live.site.database.connections.reading() as connection:
            answered = connection.execute(select(answers.c.packet, users.c.name).join(users)).all()
        assert person.name not in {row.name for row in answered}
        assert nas.ask(right).code == ACCEPT


@pytest.mark.statement("R-110", "R-113")
def test_one_identifier_from_another_port_or_address_or_to_another_socket_is_another_request(live: Live) -> None:
    """Each is in work for the second that its refusal is held back, and takes the place of no other."""
    both = ("--listen", "127.0.0.1:0")
    with live.site.server(*both, *both) as server, ExitStack() as stack:
        eventually(lambda: len(server.addresses) == 2)
        nas, port = (stack.enter_context(server.nas(source="127.0.4.113")) for _ in range(2))
        address = stack.enter_context(Nas(server.address, SECRET))
        address.sock.bind(("127.0.4.114", nas.sock.getsockname()[1]))
        first, second, third, fourth = (
            access_request(SECRET, f"nobody{number}", "123456", identifier=113) for number in range(4)
        )
        for one, request in ((nas, first), (port, second), (address, third)):
            one.send(request.data)
        nas.sock.sendto(fourth.data, server.addresses[1])
        assert [received(one, request).code for one, request in ((port, second), (address, third))] == [REJECT] * 2
        nas.sock.settimeout(30.0)
        heard = {sender: Reply(data) for data, sender in (nas.sock.recvfrom(4096) for _ in range(2))}
        assert heard[server.addresses[0]].check(first).code == REJECT
        assert heard[server.addresses[1]].check(fourth).code == REJECT


@pytest.mark.statement("R-110", "R-113")
def test_requests_that_differ_in_their_authenticator_alone_are_two(nas_from: NasFrom) -> None:
    """Without a password and a signature, which would differ with it. `ask` holds each reply against its own."""
    nas = nas_from(Source.UNSIGNED)
    for number in range(2):
        authenticator = bytes([number]) * 16
        asked = access_request(
            nas.secret, "nobody110", None, identifier=7, authenticator=authenticator, message_authenticator="none"
        )
        assert nas.ask(asked).code == REJECT


def received(nas: Nas, request: Request) -> Reply:
    reply = nas.receive()
    assert reply is not None, "no reply"
    return reply.check(request)


@pytest.mark.statement("R-111")
def test_a_copy_of_a_request_in_work_gets_silence(live: Live, nas_from: NasFrom, person: Person) -> None:
    """Twenty password checks go before, so the first copy is in work when the others come."""
    crowd, nas = nas_from(Source.CHALLENGE), nas_from(Source.CHALLENGE)
    send_all(crowd, numbered(SECRET, [(f"nobody{n}", "x") for n in range(20)]))
    request = access_request(nas.secret, person.name, PASSWORD)
    for _ in range(5):
        nas.send(request.data)
    first = received(nas, request)
    check_silence(nas)
    assert first.code == CHALLENGE
    assert person.logins == [("challenge", "password-right")]
    assert live.logged("from=127.0.0.1", "reason=duplicate-in-work")
    assert nas.ask(request).data == first.data


@pytest.mark.statement("R-113")
def test_a_new_authenticator_under_the_same_identifier_takes_the_place_of_the_old(
    nas_from: NasFrom, person: Person
) -> None:
    """The Reject of the old request is held back for 1 to 1.25 s, and must then not be sent. Two further Rejects,
    one after the other, show that its time has passed."""
    nas = nas_from()
    old = access_request(nas.secret, person.name, person.pin(50), identifier=7)
    new = access_request(nas.secret, person.name, person.pin(), identifier=7)
    nas.send(old.data)
    assert nas.ask(new).code == ACCEPT
    for identifier in (8, 9):
        assert nas.ask(access_request(nas.secret, "nobody113", "123456", identifier=identifier)).code == REJECT
    assert person.logins == [("reject", "passcode-wrong"), ("accept", "passcode-right")]


@pytest.mark.statement("R-113")
def test_a_process_forgets_a_request_when_its_identifier_is_used_again_and_the_store_does_not(
    nas_from: NasFrom, person: Person
) -> None:
    nas = nas_from()
    old = access_request(nas.secret, person.name, person.pin(), identifier=7)
    assert nas.ask(old).code == ACCEPT
    assert nas.ask(access_request(nas.secret, person.name, person.pin(1), identifier=7)).code == ACCEPT
    assert nas.ask(old).code == ACCEPT
    assert person.logins == [("accept", "passcode-right")] * 2
    assert person.counter == 2


@pytest.mark.statement("R-114")
def test_copies_of_a_wrong_pin_during_the_reject_delay_add_one_failure(
    live: Live, nas_from: NasFrom, person: Person
) -> None:
    nas = nas_from("127.0.4.114")
    request = access_request(nas.secret, person.name, person.pin(50))
    for _ in range(5):
        nas.send(request.data)
    check_silence(nas)  # its probes are answered within the delay, and nothing else is
    assert received(nas, request).code == REJECT
    check_silence(nas)
    assert person.failures == 1
    assert person.logins == [("reject", "passcode-wrong")]
    assert live.logged("from=127.0.4.114", "reason=duplicate-in-work")


@pytest.mark.statement("R-114")
def test_copies_of_a_wrong_pin_after_the_reject_add_no_failure(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    request = access_request(nas.secret, person.name, person.pin(50))
    assert len({nas.ask(request).data for _ in range(5)}) == 1
    assert person.failures == 1


@pytest.mark.statement("R-116")
def test_an_accepted_request_is_not_decided_again_after_a_crash(live: Live, person: Person) -> None:
    """It gets the decision it has got; the trail holds one accept, and the PIN is used once."""
    with live.site.server() as server, server.nas(source="127.0.4.116") as nas:
        request = access_request(SECRET, person.name, person.pin())
        assert nas.ask(request).code == ACCEPT
        server.kill()
        with live.site.server("--listen", f"127.0.0.1:{server.address[1]}"):
            assert nas.ask(request).code == ACCEPT, "the same octets, from the same port to the same port"
    assert person.logins == [("accept", "passcode-right")]
    assert person.counter == 1


@pytest.mark.statement("R-115")
def test_what_one_server_has_decided_another_says_too(live: Live, person: Person) -> None:
    """A NAS that lost the first server's answer sends the same octets to the second (RFC 2865 2.5): a question with its
    State, an Accept, a Reject; each octet for octet. Nothing is used or counted twice, no password is checked twice."""
    with live.site.server() as other, live.nas(Source.CHALLENGE) as nas, other.nas(source=Source.CHALLENGE) as second:

        def at_both(typed: str, state: bytes | None = None) -> Reply:
            request = access_request(SECRET, person.name, typed, state=state)
            first, again = nas.ask(request), second.ask(request)
            assert first.data == again.data
            return first

        at_both("wrong")
        assert person.failures == 1
        asked = at_both(PASSWORD)
        assert asked.code == CHALLENGE
        asked = at_both(person.pin(50), asked.state)
        assert asked.code == CHALLENGE
        assert person.failures == 2, "one wrong password and one wrong PIN"
        assert at_both(person.pin(), asked.state).code == ACCEPT
        assert "reason=password-wrong" in other.log
    assert person.counter == 1
    assert [decision for decision, _ in person.logins] == ["reject", "challenge", "again", "accept"]
