"""The helper on a real socket: who it believes, how many it serves, and what no peer can do to it."""

import logging
import os
import pwd
import random
import select
import threading
from pathlib import Path

import pytest

from pam_helper.service import Limits, Sparing
from tests.pam_helper.host import Host, Peer, connect, conversations, frame, hello, kinds, needs_root, until
from tests.site import PASSWORD, pin
from validation.model import Token
from validation.requests import SetRule
from validation.settings import Scope

NO_ACCOUNT = 54_321


def account(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        pytest.skip(f"this host has no account {name}")


@pytest.fixture
def daemon() -> int:
    return account("daemon")


@pytest.fixture
def nobody() -> int:
    return account("nobody")


def verdict(frames: list[tuple[str, bytes]]) -> bytes:
    """Of the final frame; empty if there is none."""
    return frames[-1][1] if frames and frames[-1][0] == "F" else b""


# --- a conversation ---------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.statement("P-001", "P-021")
def test_a_login_over_the_socket_ends_with_a_verdict_that_names_the_user(host: Host, token: Token) -> None:
    peer, asked = host.ask(service="login", user="alice", authtok=PASSWORD)
    assert asked == [("P", b"PIN from your authenticator app: ")]
    assert peer.reply(pin(token)) == [("F", b"Salice")]
    assert peer.take() is None, "nothing comes after the end"
    host.until_idle()
    assert host.site.logins() == [("challenge", "password-right"), ("accept", "passcode-right")]


@needs_root
def test_a_refusal_is_to_be_held_back_for_a_while(host: Host, token: Token) -> None:
    peer, _ = host.ask(service="login", user="alice", authtok="wrong")
    frames = [peer.reply("000000") for _ in range(3)][-1]
    assert frames == [("W", (1_000_000).to_bytes(4, "big")), ("F", b"Dalice")]


@needs_root
def test_each_kind_of_message_has_its_frame(host: Host, token: Token) -> None:
    peer, asked = host.ask(service="login", user="alice", combined="1")
    assert kinds(asked) == "P"
    assert peer.reply(PASSWORD + pin(token)) == [("A", PASSWORD.encode()), ("F", b"Salice")]
    host.site.add_user("bob")
    peer, asked = host.ask(service="login", user="bob", authtok=PASSWORD)
    assert kinds(asked) == "p"
    shown = peer.reply("s")
    assert set(kinds(shown[:-1])) == {"I"}
    assert kinds(shown[-1:]) == "p"
    host.site.gate.administer(SetRule(actor="test", key="enrolment", value="off", scope=Scope()))
    assert kinds(host.ask(service="login", user="bob", authtok=PASSWORD)[1]) == "Ep"


@needs_root
@pytest.mark.statement("P-021")
@pytest.mark.parametrize("name", [b"al\xffice", b"alice\n", b"\xed\xa0\x80", b"a" * 60_000, b"", "älice".encode()])
def test_the_verdict_names_the_user_in_the_octets_it_was_asked_with(host: Host, name: bytes) -> None:
    for more in ({}, {"authtok": b"\xff\xfe"}):
        peer, _ = host.ask(service="sudo", user=name, **more)
        frames = [peer.reply(b"\xff00000") for _ in range(3)][-1]
        assert frames[-1] == ("F", b"D" + name)


@needs_root
@pytest.mark.statement("P-001", "P-020")
def test_octet_by_octet_is_as_good_as_at_once(host: Host, token: Token) -> None:
    peer = host.peer()
    for octet in hello(service="login", user="alice", authtok=PASSWORD):
        peer.send(bytes([octet]))
    assert kinds(peer.until_asked()) == "P"
    for octet in frame("R", pin(token).encode()):
        peer.send(bytes([octet]))
    assert peer.until_asked() == [("F", b"Salice")]


@needs_root
def test_an_answer_that_comes_before_its_question_is_taken_for_it(host: Host, token: Token) -> None:
    peer = host.peer()
    peer.send(hello(service="login", user="alice", authtok=PASSWORD) + frame("R", pin(token).encode()))
    assert kinds(peer.until_asked()) == "P"
    assert peer.until_asked() == [("F", b"Salice")]


@needs_root
def test_nobody_waits_for_a_human_at_another_terminal(host: Host, token: Token) -> None:
    slow = [host.ask(service="login", user="alice", authtok=PASSWORD)[0] for _ in range(3)]
    quick, _ = host.ask(service="login", user="alice", authtok=PASSWORD)
    assert quick.reply(pin(token)) == [("F", b"Salice")]
    assert slow[0].reply(pin(token, 1)) == [("F", b"Salice")], "each has a question of its own"


# --- who a peer is ----------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.statement("P-019")
@pytest.mark.parametrize("user", ["root", "alice", "nobody"])
def test_no_account_may_guess_for_another(host: Host, token: Token, daemon: int, user: str) -> None:
    for service in ("sshd", "login", "swaylock", "su"):
        _, frames = host.ask(daemon, service=service, user=user, authtok=PASSWORD)
        assert frames == [("F", b"D" + user.encode())], "nothing is asked"
    assert host.site.logins() == []
    assert host.site.failures("alice") == {}


@needs_root
@pytest.mark.statement("P-019", "P-023")
def test_a_locker_unlocks_its_own_account_with_a_pin_alone(folder: Path, daemon: int) -> None:
    with Host(folder, lockers=("swaylock",)) as host:
        host.site.add_user("daemon")
        said = {"service": "swaylock", "user": "daemon", "authtok": PASSWORD, "rhost": "192.0.2.7"}
        host.site.gate.administer(SetRule(actor="test", key="second_factor", value="skip", scope=Scope()))
        peer, asked = host.ask(daemon, **said, ssh_auth_info="publickey x")
        assert kinds(asked) == "P", "no policy lets it past, and it pairs nothing"
        peer.close()
        token = host.site.enroll("daemon")
        peer, _ = host.ask(daemon, **said)
        assert peer.reply(pin(token)) == [("F", b"Sdaemon")]
        assert {row["source"] for row in host.site.audit() if row["event"] == "login"} <= {None, ""}
        assert host.ask(daemon, **{**said, "user": "root"})[1] == [("F", b"Droot")]
        assert host.ask(daemon, **{**said, "service": "sshd"})[1] == [("F", b"Ddaemon")]


@needs_root
@pytest.mark.statement("P-019")
def test_a_relay_logs_others_in_through_its_own_services(folder: Path, daemon: int, nobody: int) -> None:
    with Host(folder, relays={"daemon": ("nginx",)}) as host:
        host.site.add_user("alice")
        token = host.site.enroll("alice")
        said = {"service": "nginx", "user": "alice", "authtok": PASSWORD}
        peer, _ = host.ask(daemon, **said)
        assert peer.reply(pin(token)) == [("F", b"Salice")]
        assert host.ask(nobody, **said)[1] == [("F", b"Dalice")]
        assert host.ask(daemon, **{**said, "service": "sshd"})[1] == [("F", b"Dalice")]
        assert host.site.audit()[-1]["actor"] == "daemon"


@needs_root
@pytest.mark.statement("P-019")
def test_ones_own_registrations_are_those_of_the_account_that_asks(host: Host, token: Token, daemon: int) -> None:
    host.site.add_user("daemon")
    _, frames = host.ask(daemon, request="profile-show", user="alice")
    assert frames[0] == ("I", b"daemon, 0 registrations")
    _, frames = host.ask(daemon, request="profile-revoke", serial=token.serial, user="alice")
    assert kinds(frames) == "EF"
    assert token.serial.encode() in frames[0][1]
    assert host.site.token_row(token.serial)["state"] == "active"
    _, frames = host.ask(NO_ACCOUNT, request="profile-show", user="alice")
    assert frames == [("F", b"Dalice")]


# --- how many ---------------------------------------------------------------------------------------------------


@needs_root
def test_one_account_has_a_few_places_and_root_others(host: Host, token: Token, daemon: int) -> None:
    host.site.add_user("daemon")
    taken = host.peers(daemon, 4)
    for peer in taken:
        peer.send(hello(request="profile-add"))
        assert kinds(peer.until_asked()) == "P"
    for peer in host.peers(daemon, 3):
        assert peer.take() is None, "hung up on, before it said anything"
    root, _ = host.ask(service="login", user="alice", authtok=PASSWORD)
    assert root.reply(pin(token)) == [("F", b"Salice")]
    taken[0].close()
    until(lambda: host.ask(daemon, request="profile-show")[1], "a place for the next")


@needs_root
def test_all_strangers_together_have_places_that_are_not_roots(folder: Path, daemon: int, nobody: int) -> None:
    with Host(folder, Limits(others=3, account=2)) as host:
        taken = [*host.peers(daemon, 2), *host.peers(nobody, 1)]
        until(lambda: host.helper.open == 3, "three conversations")
        for uid in (nobody, NO_ACCOUNT):
            assert host.peer(uid).take() is None
        assert host.ask(service="x", user="x")[1], "root is served"
        taken[0].close()
        until(lambda: host.ask(NO_ACCOUNT, request="profile-show", user="x")[1], "a place for the next")


@needs_root
def test_root_has_an_end_too(folder: Path) -> None:
    with Host(folder, Limits(root=2)) as host:
        host.peers(many=2)
        until(lambda: host.helper.open == 2, "two conversations")
        assert host.peer().take() is None


@needs_root
@pytest.mark.parametrize("who", ["root", "daemon"])
def test_who_begins_many_and_answers_none_makes_room_for_the_others(folder: Path, who: str) -> None:
    """Anybody may start su or sudo, which are root, as often as he likes, and leave it at its question."""
    uid, limits, relays = account(who) or None, Limits(root=3, relay=3), {"daemon": ("su",)}
    with Host(folder, limits, relays=relays) as host:
        host.site.add_user("alice")
        token = host.site.enroll("alice")
        crowd = [host.ask(uid, service="su", user="mallory")[0] for _ in range(3)]
        alice, asked = host.ask(uid, service="su", user="alice")
        assert kinds(asked) == "P"
        assert crowd[0].take() is None, "his oldest is ended"
        assert kinds(host.ask(uid, service="su", user="mallory")[1]) == "P", "he may begin another"
        assert crowd[1].take() is None, "but loses one of his own by it"
        assert alice.reply(pin(token)) == [("F", b"Salice")]
        assert kinds(crowd[2].reply("000000")) == "P"


@needs_root
def test_a_relay_has_more_places_than_one_person_needs(folder: Path, daemon: int, nobody: int) -> None:
    with Host(folder, Limits(relay=6, account=2), relays={"daemon": ("nginx",), "no-such-account": ("x",)}) as host:
        host.peers(daemon, 6)
        until(lambda: host.helper.open == 6, "six conversations")
        assert host.peer(daemon).take() is None
        host.peers(nobody, 2)
        until(lambda: host.helper.open == 8, "two more")
        assert host.peer(nobody).take() is None


@needs_root
def test_no_crowd_of_others_takes_the_places_of_a_relay(folder: Path, daemon: int, nobody: int) -> None:
    """One person may have thousands of uids (subuid)."""
    with Host(folder, Limits(others=2, account=2), relays={"daemon": ("nginx",)}) as host:
        host.peers(nobody, 2)
        until(lambda: host.helper.open == 2, "all places of others are taken")
        assert host.peer(NO_ACCOUNT).take() is None
        host.peers(daemon, 2)
        until(lambda: host.helper.open == 4, "the relay is let in")


# --- peers that are slow, silent, or gone -----------------------------------------------------------------------


def test_who_says_nothing_is_hung_up_on(folder: Path) -> None:
    with Host(folder, Limits(hello=0.2)) as host:
        for said in (b"", b"H", hello(user="alice")[:-1]):
            peer = host.peer()
            peer.send(said)
            assert peer.take() is None
        host.until_idle()


def test_who_trickles_gets_no_more_time_than_who_is_silent(folder: Path) -> None:
    with Host(folder, Limits(hello=0.3)) as host:
        peer = host.peer()
        peer.send(b"H" + (60_000).to_bytes(4, "big"))
        sent = 0
        while not select.select([peer.connection], [], [], 0.02)[0]:
            peer.send(b"x")
            sent += 1
            assert sent < 1000
        assert peer.take() is None
        assert sent > 1


@needs_root
def test_who_does_not_answer_loses_his_place_and_is_not_let_in(folder: Path) -> None:
    with Host(folder, Limits(answer=0.2)) as host:
        host.site.add_user("alice")
        host.site.enroll("alice")
        peer, asked = host.ask(service="login", user="alice", authtok=PASSWORD)
        assert kinds(asked) == "P"
        assert peer.take() is None
        host.until_idle()
        assert host.site.logins() == [("challenge", "password-right")]


@needs_root
@pytest.mark.statement("P-016", "P-017")
def test_who_hangs_up_leaves_nothing_behind_wherever_it_was(host: Host, token: Token) -> None:
    host.site.add_user("bob")
    login = hello(service="login", user="alice", authtok=PASSWORD)
    said = {
        "nothing": b"",
        "half a header": b"H\0\0",
        "half a hello": login[:-9],
        "a hello": login,
        "a hello and half an answer": login + frame("R", b"123456")[:-2],
        "a first page": hello(service="login", user="bob", authtok=PASSWORD) + frame("R", b"s"),
    }
    for octets in said.values():
        peer = host.peer()
        peer.send(octets)
        peer.close()
    half = [host.ask(service="login", user=user, authtok=PASSWORD)[0] for user in ("alice", "bob")]
    half[1].reply("s")
    for peer in half:
        peer.close()
    host.until_idle()
    assert "accept" not in {decision for decision, _ in host.site.logins()}


@needs_root
def test_a_conversation_that_was_given_up_ends_at_once(host: Host, token: Token) -> None:
    peer, _ = host.ask(service="login", user="alice", authtok=PASSWORD)
    peer.send(frame("X"))
    assert peer.take() is None
    host.until_idle()


GARBAGE = {
    "an answer before the hello": frame("R", b"123456"),
    "a final frame": frame("F", b"Salice"),
    "a password for the stack": frame("A", b"geheim"),
    "four gibibytes": b"H\xff\xff\xff\xff" + b"x" * 1000,
    "one octet too many": b"H" + (65_537).to_bytes(4, "big"),
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(100),
    "an empty hello": frame("H"),
    "another version": frame("H", b"version=2\0user=alice\0"),
    "an unknown key": frame("H", b"version=1\0user=alice\0verdict=S\0"),
    "an unknown request": hello(request="profile-steal"),
}


@pytest.mark.statement("P-001", "P-002", "P-020")
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_refused_and_the_next_is_served(host: Host, token: Token, what: str) -> None:
    peer = host.peer()
    peer.send(GARBAGE[what])
    frames = peer.until_asked()
    assert kinds(frames) == "F"
    assert verdict(frames)[:1] == b"D"
    host.until_idle()
    assert kinds(host.ask(request="profile-show")[1])[-1] == "F"


@needs_root
@pytest.mark.statement("P-001", "P-002", "P-020")
def test_a_second_hello_in_place_of_an_answer_is_refused(host: Host, token: Token) -> None:
    for instead in (hello(service="login", user="alice"), frame("F", b"S"), b"\0", frame("H")):
        peer, _ = host.ask(service="login", user="alice", authtok=PASSWORD)
        peer.send(instead)
        assert verdict(peer.until_asked())[:1] == b"D"


@needs_root
@pytest.mark.statement("P-001", "P-020")
def test_of_1_000_random_streams_none_is_let_in_and_all_places_come_back(folder: Path) -> None:
    """Half of them with a hello before the noise; a seed makes it the same each time."""
    dice = random.Random(20_261_125)
    with Host(folder, Limits(hello=5.0, answer=5.0)) as host:
        for n in range(1000):
            peer = host.peer()
            noise = dice.randbytes(dice.randrange(1, 60))
            peer.send((hello(service="x", user="alice") if n % 2 else b"") + noise)
            peer.connection.shutdown(1)
            while (one := peer.take()) is not None:
                assert one[0] != "F" or one[1][:1] == b"D", noise.hex()
            peer.close()
        host.until_idle()


# --- what goes wrong --------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.statement("P-002", "P-003")
def test_without_a_store_there_is_no_answer_for_anybody(host: Host, token: Token) -> None:
    host.site.gate.administer(SetRule(actor="test", key="second_factor", value="skip", scope=Scope()))
    host.site.config.database.rename(host.folder / "away")
    for said in ({"authtok": PASSWORD}, {}, {"authtok": PASSWORD, "combined": "1"}, {"request": "profile-show"}):
        _, frames = host.ask(service="login", user="alice", **said)
        assert verdict(frames)[:1] == b"U", said
    (host.folder / "away").rename(host.site.config.database)
    assert verdict(host.ask(service="login", user="alice", authtok=PASSWORD)[1]) == b"Ialice"


@needs_root
def test_a_thread_that_cannot_be_started_costs_its_caller_alone(host: Host, token: Token) -> None:
    before = threading.stack_size()
    threading.stack_size(1 << 47)  # more than there is to be had
    try:
        assert host.peer().take() is None
    finally:
        threading.stack_size(before)
    assert host.helper.open == 0
    peer, _ = host.ask(service="login", user="alice", authtok=PASSWORD)
    assert peer.reply(pin(token)) == [("F", b"Salice")]


def test_when_it_stops_nobody_is_let_in_any_more_and_no_thread_is_left(host: Host) -> None:
    waiting = host.peer()
    until(lambda: host.helper.open == 1, "a conversation")
    waiting.close()
    host.helper.stop(20.0)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("twofold-")]
    with pytest.raises(ConnectionRefusedError):
        connect(host.path)


@needs_root
@pytest.mark.statement("P-016")
def test_after_200_conversations_no_descriptor_and_no_thread_is_left(host: Host, token: Token) -> None:
    def one(n: int) -> None:
        match n % 4:
            case 0:
                peer, _ = host.ask(service="login", user="alice")
            case 1:
                peer, _ = host.ask(request="profile-show")
            case 2:
                peer, _ = host.ask(service="login", user="alice", combined="1")
                peer.reply("wrong" + "000000")
            case _:
                peer = host.peer()
                peer.send(b"garbage")
                peer.until_asked()
        peer.close()

    def open_now() -> tuple[int, int]:
        host.until_idle()
        # Hashing has threads that stay, also those of helpers that other tests have ended.
        working = [thread for thread in threading.enumerate() if not thread.name.startswith("argon2")]
        return len(os.listdir("/proc/self/fd")), len(working)

    for n in range(20):
        one(n)
    before = open_now()
    for n in range(200):
        one(n)
    assert open_now() == before
    assert conversations() == []


@needs_root
@pytest.mark.statement("P-024")
def test_a_conversation_has_the_rights_of_the_stores_owner_and_no_other_thread_has(host: Host, daemon: int) -> None:
    os.chown(host.site.config.database, daemon, daemon)
    mine = host.folder / "mine"
    mine.touch(mode=0o600)
    may: list[bool] = []

    def look(tty: str | None) -> int:
        try:
            mine.read_bytes()
            may.append(True)
        except PermissionError:
            may.append(False)
        return 80

    host.columns = look
    peer, _ = host.ask(service="login", user="alice", authtok=PASSWORD)
    assert "p" in kinds(peer.reply("s"))
    assert False in may
    assert mine.read_bytes() == b""


# --- the log ----------------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.statement("P-013")
def test_no_secret_is_in_the_log_not_even_with_debug(
    host: Host, token: Token, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host.site.add_user("bob")
    typed = pin(token)
    peer, _ = host.ask(service="login", user="alice", authtok=PASSWORD)
    peer.reply(typed)
    peer, _ = host.ask(service="login", user="bob", authtok=PASSWORD)
    shown = b"\n".join(payload for _, payload in peer.reply("s")).decode()
    (uri,) = [line for line in shown.splitlines() if line.startswith("otpauth:")]
    peer.reply("987654")
    peer.close()
    host.ask(service="login", user="alice", authtok="wrong" + PASSWORD, rhost="x")
    host.peer().send(frame("H", b"authtok=" + PASSWORD.encode()))
    assert "login success user=alice service=login" in caplog.text
    for secret in (PASSWORD, typed, "987654", uri, uri.partition("secret=")[2][:32], token.key.hex()):
        assert secret not in caplog.text


@needs_root
def test_a_name_stays_one_value_of_one_line(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    evil = "x\nlogin success user=root\x1b[2J\u202e"
    peer, _ = host.ask(service=evil, user=evil)
    for _ in range(3):
        peer.reply("1")
    host.ask(request=evil)
    host.until_idle()
    assert caplog.records
    assert not [record.message for record in caplog.records if set(record.message) & set("\n\x1b\u202e")]


def test_one_account_does_not_fill_the_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        peer = host.peer()
        peer.send(b"garbage")
        assert kinds(peer.until_asked()) == "F"
        peer.close()
    lines = [record.message for record in caplog.records if record.message.startswith("refused uid")]
    assert 1 <= len(lines) < 50


@needs_root
@pytest.mark.parametrize("what", ["hung up", "given up", "the list", "no verdict", "no store"])
def test_what_an_account_does_again_and_again_does_not_fill_the_log(
    folder: Path, daemon: int, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.INFO)
    with Host(folder, Limits(account=50)) as host:
        host.site.add_user("daemon")
        if what == "no store":
            host.site.config.database.rename(host.folder / "away")
        said = {"hung up": b"", "given up": frame("X")}.get(what, hello(request="profile-show"))
        for peer in host.peers(daemon, 50):
            peer.send(said)
            if what in ("the list", "no store"):
                assert kinds(peer.until_asked())[-1] == "F"
            peer.close()
        host.until_idle()
    lines = [record.message for record in caplog.records if record.name == "twofold.pam"]
    assert 1 <= len(lines) < 50


@needs_root
def test_whoever_logs_others_in_is_written_down_each_time(
    folder: Path, daemon: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Host(folder, relays={"daemon": ("su",)}) as host:
        for uid in (None, daemon):
            for n in range(10):
                peer, _ = host.ask(uid, service="su", user=f"nobody{n}")
                for _ in range(3):
                    peer.reply("000000")
                host.until_idle()
                assert f"login denied user=nobody{n} " in caplog.messages[-1]


def test_what_was_left_out_of_the_log_is_counted_for_each_account() -> None:
    lines = Sparing()
    assert lines.due(1, 10.0) == 0
    assert [lines.due(1, 10.0 + n / 10) for n in range(1, 10)] == [None] * 9
    assert lines.due(2, 10.5) == 0
    assert lines.due(1, 11.0) == 9
    assert lines.due(1, 12.5) == 0


def test_peers_of_the_same_helper_do_not_hear_each_other(host: Host) -> None:
    first, second = Peer(connect(host.path)), Peer(connect(host.path))
    first.send(b"garbage")
    assert kinds(first.until_asked()) == "F"
    assert not select.select([second.connection], [], [], 0)[0]
    first.close()
    second.close()
