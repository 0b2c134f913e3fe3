"""What a directory's answers mean, who is asked next, and what never leaves. A real slapd: tests/peers/ldap."""

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from first_factor import Checker, checker
from first_factor.directory import escaped
from first_factor.ldap import LONGEST, LdapPasswords
from store.config import Config, parse
from tests.first_factor.directory import (
    ALICE,
    BOUND,
    DONE,
    EXTENDED,
    SEARCH,
    Answer,
    Directory,
    Last,
    Question,
    Slowly,
    split,
    tlv,
)
from validation.decisions import Look
from validation.requests import FirstFactor, FirstFactorResult

SECRET = "s3cret-of-a-user"
BASE = "ou=people,dc=example,dc=org"
PROVED, WRONG, UNAVAILABLE = FirstFactor.PROVED, FirstFactor.WRONG, FirstFactor.UNAVAILABLE

Made = Callable[..., Directory]


@pytest.fixture
def made() -> Iterator[Made]:
    """Makes directories, and closes them."""
    with ExitStack() as stack:

        def make(**answers: Answer) -> Directory:
            directory = Directory(**answers)
            stack.callback(directory.close)
            return directory

        yield make


def configured(*urls: str, more: str = "", time_limit: float = 10.0, unencrypted: bool = True) -> Config:
    servers = ", ".join(f'"{url}"' for url in urls)
    text = f'[first_factor.ldap]\nservers = [{servers}]\nbase = "{BASE}"\ntime_limit = {time_limit}\n'
    return parse(f"{text}unencrypted = {str(unencrypted).lower()}\n{more}", Path("/etc/twofold/twofold.toml"))


def passwords(*directories: Directory, **options: Any) -> LdapPasswords:
    config = configured(*(directory.url for directory in directories), **options)
    assert config.ldap is not None
    return LdapPasswords(config.ldap)


def look(user: str = "alice", version: int = 5) -> Look:
    return Look("ldap", None, version, user=user)


def result(*directories: Directory, user: str = "alice", password: str = SECRET, **options: Any) -> FirstFactorResult:
    return passwords(*directories, **options).check(look(user), password)


def of_user(answer: Answer) -> Answer:
    """The service account may log in; its user gets `answer`."""
    return lambda question: answer(question) if question.name else question.bound()


# --- What an answer means ----------------------------------------------------------------------------------------


def test_a_bind_that_succeeds_proves_and_says_what_the_look_said(made: Made) -> None:
    directory = made()
    assert result(directory) == FirstFactorResult(PROVED, 5)
    assert directory.binds == [(b"", b""), (ALICE.encode(), SECRET.encode())]


@pytest.mark.parametrize("code", range(1, 124))
def test_only_invalid_credentials_are_a_wrong_password(made: Made, code: int) -> None:
    """RFC 4511 A.1, and numbers that nobody has heard of."""
    found = result(made(bind=of_user(lambda question: question.bound(code))))
    assert found.status is (WRONG if code in (48, 49) else UNAVAILABLE)


@pytest.mark.parametrize(
    ("code", "error", "status", "why"),
    [
        (49, 0, WRONG, "expired"),
        (49, 1, WRONG, "locked"),
        (0, 2, WRONG, "must-change"),
        (0, 0, WRONG, "expired"),
        (0, 1, WRONG, "locked"),
        (0, 8, WRONG, "password-policy"),
        (0, 77, WRONG, "password-policy"),
        (53, 1, WRONG, "locked"),
        (19, 1, WRONG, "locked"),
        (49, None, WRONG, ""),
        (0, None, PROVED, ""),
    ],
)
def test_what_the_password_policy_objects_to_is_wrong_also_after_a_success(
    made: Made, code: int, error: int | None, status: FirstFactor, why: str
) -> None:
    policy = tlv(0x30, *([tlv(0x81, bytes([error]))] if error is not None else []))
    found = result(made(bind=of_user(lambda question: question.bound(code, policy=policy))))
    assert (found.status, found.why) == (status, why)


@pytest.mark.parametrize(
    "policy", [b"", b"\x30", b"\x30\x03\x81\x01", b"\x30\x02\x81\x00", b"\x04\x00", b"\x30\x00\x00"]
)
@pytest.mark.parametrize("code", [0, 49])
def test_a_policy_that_cannot_be_read_is_no_answer(made: Made, policy: bytes, code: int) -> None:
    assert result(made(bind=of_user(lambda question: question.bound(code, policy=policy)))).status is UNAVAILABLE


@pytest.mark.parametrize(
    ("data", "why"),
    [
        *[("52e", ""), ("525", ""), ("775", "locked"), ("532", "expired"), ("773", "must-change")],
        *[("701", "account-expired"), ("533", "disabled"), ("530", "not-at-this-time"), ("531", "not-from-here")],
    ],
)
def test_active_directory_says_why_in_its_message(made: Made, data: str, why: str) -> None:
    message = f"80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data {data}, v4563\0".encode()
    found = result(made(bind=of_user(lambda question: question.bound(49, message))))
    assert (found.status, found.why) == (WRONG, why)


def test_a_user_who_is_not_there_is_wrong_and_nobody_binds(made: Made) -> None:
    directory = made(search=lambda question: question.done())
    assert result(directory) == FirstFactorResult(WRONG, 5, why="not-in-directory")
    assert directory.binds == [(b"", b"")]


def test_two_entries_for_one_name_are_no_answer_and_nobody_binds(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the server stops after the first and says that there are more."""
    two = made(search=lambda question: question.entry() + question.entry(f"uid=alice,ou=x,{BASE}") + question.done())
    more = made(search=lambda question: question.entry() + question.done(4))
    for directory in (two, more):
        assert result(directory).status is UNAVAILABLE
        assert directory.binds == [(b"", b"")]
    assert caplog.text.count("filter finds more than one entry for one name") == 2


@pytest.mark.parametrize("code", [*range(1, 4), *range(5, 124)])
def test_a_search_that_fails_is_no_answer(made: Made, code: int) -> None:
    directory = made(search=lambda question: question.done(code))
    assert result(directory).status is UNAVAILABLE
    assert directory.binds == [(b"", b"")]


def test_referrals_are_not_followed(made: Made) -> None:
    """Neither with the name that is searched nor with a password."""
    other = made()
    url = f"{other.url}/{BASE}".encode()
    referral = tlv(0xA3, tlv(4, url))
    searched = made(search=lambda question: question.done(10, b"", referral))
    bound = made(bind=of_user(lambda question: question.answer(BOUND, 10, b"", referral)))
    nowhere = made(search=lambda question: question.reference(url) + question.done())
    assert [result(directory).status for directory in (searched, bound, nowhere)] == [UNAVAILABLE] * 3
    assert other.heard == []


def test_one_entry_counts_beside_references_to_elsewhere(made: Made) -> None:
    """Active Directory sends some with every search from the top."""
    directory = made(search=lambda question: question.reference() + question.entry() + question.done())
    assert result(directory).status is PROVED


def test_a_service_account_that_may_not_log_in_is_no_answer_and_says_what_to_do(
    made: Made, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert result(made(bind=lambda question: question.bound(48, b"anonymous bind disallowed"))).status is UNAVAILABLE
    assert "set bind_dn and bind_password_file" in caplog.text
    named = 'bind_dn = "cn=twofold"\nbind_password_file = "{}"'.format(secret_file(tmp_path, "x" * 9))
    directory = made(bind=lambda question: question.bound(49))
    assert result(directory, more=named).status is UNAVAILABLE
    assert "the service account cn=twofold may not log in (result 49, invalidCredentials)" in caplog.text
    assert "look at bind_dn and bind_password_file" in caplog.text
    assert directory.binds == [(b"cn=twofold", b"x" * 9)]
    assert "x" * 9 not in caplog.text


# --- What never leaves -------------------------------------------------------------------------------------------


@pytest.mark.statement("R-053", "R-054", "V-037")
@pytest.mark.parametrize("password", ["", "\0", SECRET + "\0", "half a character \ud800", "é" * (LONGEST // 2) + "x"])
def test_what_cannot_be_a_password_is_wrong_and_nobody_is_asked(made: Made, password: str) -> None:
    directory = made()
    assert result(directory, password=password).status is WRONG
    assert directory.heard == []


def test_nothing_is_asked_for_a_user_who_may_not_log_in(made: Made) -> None:
    directory = made()
    assert result(directory, user="").status is WRONG
    assert directory.heard == []


def test_a_password_goes_as_the_octets_that_were_typed(made: Made) -> None:
    """Not prepared (RFC 4013): composed and decomposed letters are two passwords everywhere."""
    directory = made()
    typed = ["u\u0308ber", "\u00fcber", "\u00a0blank ", "\u2168", "é" * (LONGEST // 2)]
    for password in typed:
        assert result(directory, password=password).status is PROVED
    assert [password for name, password in directory.binds if name] == [each.encode() for each in typed]


@pytest.mark.statement("C-054")
@pytest.mark.parametrize(
    "name",
    ["*", "a*", ")(uid=*", "alice)(|(uid=*", "\\2a", "\\", "al\0ice", "{user}", "{dn}", "Zoë", "\ud800", "a b", "#x"],
)
def test_a_name_stays_one_value_of_the_filter(made: Made, name: str) -> None:
    """The server decodes exactly what was typed, in one equality match (RFC 4511 4.5.1.7)."""
    directory = made()
    assert result(directory, user=name).status is PROVED
    (search,) = [question for question in directory.heard if question.tag == SEARCH]
    typed = name.encode("utf-8", "surrogatepass")
    assert tlv(0xA3, tlv(4, b"uid"), tlv(4, typed)) in search.content


@given(st.text())
def test_an_escaped_value_has_no_character_that_means_something(text: str) -> None:
    found = escaped(text)
    assert not set(found) & set("()*\0&|!=~<>")
    octets = re.sub(rb"\\(..)", lambda piece: bytes.fromhex(piece[1].decode()), found.encode())
    assert octets == text.encode("utf-8", "surrogatepass")


@pytest.mark.statement("P-013")
def test_no_log_line_shows_a_password_or_a_name(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[Answer] = [
        lambda question: question.bound(),
        lambda question: question.bound(0, policy=b"\x30\x03\x81\x01\x02"),
        lambda question: question.bound(53, b"unwilling"),
        lambda question: b"\x30\x84\xff\xff\xff\xff" + b"x" * 40,
        lambda question: Last(),
    ]
    for answer in answers:
        checked = passwords(made(bind=of_user(answer)), time_limit=0.5)
        found = checked.check(look("somebody-here"), SECRET)
        assert SECRET not in caplog.text + repr(checked) + repr(found)
    assert "somebody-here" not in caplog.text
    assert len(caplog.records) >= 4


# --- Servers on a bad day ----------------------------------------------------------------------------------------

GARBAGE: dict[str, Answer] = {
    "hangs up": lambda question: Last(),
    "no BER": lambda question: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": lambda question: bytes(64),
    "another message": lambda question: tlv(0x30, tlv(2, b"\x7f\xff\xff"), tlv(BOUND, tlv(10, b"\0"), tlv(4), tlv(4))),
    "no result": lambda question: tlv(0x30, question.id, tlv(BOUND)),
    "another kind": lambda question: question.answer(0x78),
    "a search's end": lambda question: question.answer(DONE),
    "cut off": lambda question: question.bound()[:-3] + b"\xff\xff\xff",
    "goes away": lambda question: tlv(
        0x30, tlv(2, b"\0"), tlv(0x78, tlv(10, b"\x34"), tlv(4), tlv(4), tlv(0x8A, b"1.3.6.1.4.1.1466.20036"))
    ),
    "deep": lambda question: b"".join(bytes([0x30, 0x84]) + (6 * n).to_bytes(4) for n in range(5000, 0, -1)),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("step", ["service", "search", "user"])
def test_garbage_is_no_answer(made: Made, answer: Answer, step: str) -> None:
    match step:
        case "service":
            directory = made(bind=answer)
        case "search" if answer is GARBAGE["a search's end"]:
            directory = made(search=lambda question: question.bound())
        case "search":
            directory = made(search=answer)
        case _:
            directory = made(bind=of_user(answer))
    assert result(directory, time_limit=0.5).status is UNAVAILABLE


@given(octets=st.binary(min_size=1, max_size=80))
def test_whatever_octets_come_nothing_is_proved(octets: bytes) -> None:
    with closing(Directory(bind=of_user(lambda question: Last(octets)))) as directory:
        assert result(directory, time_limit=5).status is UNAVAILABLE


def test_a_server_that_says_nothing_is_no_answer(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    assert result(made(bind=lambda question: None), time_limit=0.2).status is UNAVAILABLE
    assert "is left aside" in caplog.text


def test_a_server_that_dribbles_or_floods_is_cut_off(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """Each octet in time, and all of them too late; or too many. No call is left hanging for either."""
    slow = made(bind=lambda question: Slowly(question.bound(0, b"x" * 100)))
    assert result(slow, time_limit=0.2).status is UNAVAILABLE
    flood = made(search=lambda question: question.entry(cn=[b"x" * 300_000] * 8) + question.done())
    assert result(flood).status is UNAVAILABLE
    assert "more than 1048576 octets of answers" in caplog.text
    assert caplog.text.count("is left aside") == 2
    assert "calls hang" not in caplog.text


def test_the_next_server_is_asked_and_the_first_left_aside(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """Its timeout is paid by the first login alone."""
    silent, well = made(bind=lambda question: None), made()
    both = passwords(silent, well, time_limit=1.0)
    assert both.check(look(), SECRET).status is PROVED
    asked = len(silent.heard)
    assert asked == 1
    assert [both.check(look(), SECRET).status for _ in range(5)] == [PROVED] * 5
    assert len(silent.heard) == asked
    assert caplog.text.count("is left aside") == 1


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Says nothing until the event is set, and then that every name is here. With one of two name servers down the
    system takes five seconds for each look-up."""
    lookup, answers = socket.getaddrinfo, threading.Event()

    def slow(host: str, *others: Any, **more: Any) -> Any:
        if host.endswith(".example.org"):
            answers.wait(60)
            host = "127.0.0.1"
        return lookup(host, *others, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield answers
    answers.set()


def named(directory: Directory, *others: Directory) -> LdapPasswords:
    """The first has a name, the others are addresses."""
    config = configured(directory.url, *(other.url for other in others), time_limit=4.0)
    assert config.ldap is not None
    first, *rest = config.ldap.servers
    return LdapPasswords(replace(config.ldap, servers=(replace(first, host="ldap.example.org"), *rest)))


def test_a_name_that_is_not_found_in_time_costs_its_server_no_more_than_its_share(
    made: Made, name_server: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = made(), made()
    checked = named(first, second)
    assert [checked.check(look(), SECRET).status for _ in range(3)] == [PROVED] * 3
    assert (first.heard, caplog.text.count("left aside")) == ([], 1)
    assert "do the name servers answer?" in caplog.text


def test_a_name_that_was_found_once_is_enough_while_name_servers_are_silent(
    made: Made, name_server: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    checked = named(made())
    name_server.set()
    assert checked.check(look(), SECRET).status is PROVED
    name_server.clear()
    assert [checked.check(look(), SECRET).status for _ in range(3)] == [PROVED] * 3
    assert "left aside" not in caplog.text


@pytest.mark.parametrize("code", [51, 52])
def test_a_server_that_is_busy_is_passed_over(made: Made, code: int) -> None:
    busy, well = made(bind=of_user(lambda question: question.bound(code))), made()
    assert result(busy, well).status is PROVED


def test_a_password_that_one_server_calls_wrong_is_shown_to_no_other(made: Made) -> None:
    first, second = made(bind=of_user(lambda question: question.bound(49))), made()
    assert result(first, second).status is WRONG
    assert second.heard == []


@pytest.mark.parametrize("code", [53, 10, 1])
def test_no_server_is_left_aside_for_what_hangs_on_a_user(
    made: Made, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = made(bind=of_user(lambda question: question.bound(code))), made()
    both = passwords(first, second)
    assert [both.check(look(), SECRET).status for _ in range(2)] == [UNAVAILABLE] * 2
    assert second.heard == []
    assert "left aside" not in caplog.text


def test_logins_that_cannot_be_checked_do_not_fill_the_log(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """What is said of one name keeps nobody from reading that no server answers."""
    trouble = [53]
    checked = passwords(made(bind=of_user(lambda question: question.bound(trouble[-1]))))
    assert [checked.check(look(), SECRET).status for _ in range(20)] == [UNAVAILABLE] * 20
    trouble.append(52)
    assert [checked.check(look(), SECRET).status for _ in range(20)] == [UNAVAILABLE] * 20
    assert [re.sub(r".*: ", "", text) for text in caplog.messages if "cannot check a password" in text] == [
        "the server says neither yes nor no (result 53, unwillingToPerform)",
        "no server answers; twofold doctor tells more",
    ]


def test_a_server_that_comes_back_is_used_at_once_where_there_is_no_other(made: Made) -> None:
    trouble = [True]
    checked = passwords(made(bind=lambda question: question.bound(52 if trouble else 0)))
    assert checked.check(look(), SECRET).status is UNAVAILABLE
    trouble.clear()
    assert checked.check(look(), SECRET).status is PROVED


def test_nothing_but_start_tls_is_said_before_tls(made: Made) -> None:
    """A server, or somebody on the way, that does without TLS hears no name and no password."""

    def injected(question: Question) -> bytes:
        following = int.from_bytes(split(question.id)[1]) + 1
        return question.answer(0x78) + Question(tlv(2, following.to_bytes(4)), 0, b"").bound()

    answers: list[Answer] = [
        lambda question: question.answer(0x78, 2, b"no"),
        lambda question: question.answer(0x78),
        injected,
    ]
    for answer in answers:
        directory = made(extended=answer)
        assert result(directory, unencrypted=False, time_limit=0.5).status is UNAVAILABLE
        assert [question.tag for question in directory.heard][:1] == [EXTENDED]
        assert directory.binds == []


# --- Groups ------------------------------------------------------------------------------------------------------

GROUPS = '[first_factor.ldap.groups]\nbase = "ou=groups,dc=example,dc=org"\n'


def in_groups(*names: bytes, member_of: tuple[bytes, ...] = ()) -> Answer:
    def answer(question: Question) -> bytes:
        if b"ou=people" in question.content[:40]:
            return question.entry(memberOf=list(member_of)) + question.done()
        return (
            b"".join(question.entry(f"cn=x{n},ou=groups", cn=[name]) for n, name in enumerate(names)) + question.done()
        )

    return answer


def test_groups_are_searched_by_name_and_dn(made: Made) -> None:
    directory = made(search=in_groups(b"vpn", b"Staff of the north", "Zoë".encode()))
    assert result(directory, more=GROUPS).groups == ("Staff of the north", "Zoë", "vpn")
    question = directory.heard[2].content
    assert all(tlv(4, each) in question for each in (b"member", ALICE.encode(), b"memberUid", b"alice"))


def test_a_name_that_reads_like_a_place_to_fill_stays_a_name(made: Made) -> None:
    directory = made(search=in_groups(b"vpn"))
    assert result(directory, user="{dn}", more=GROUPS).status is PROVED
    assert tlv(4, b"{dn}") in directory.heard[2].content


def test_only_listed_groups_count_under_their_names_here(made: Made) -> None:
    directory = made(search=in_groups(b"VPN Users", b"admins"))
    assert result(directory, more=GROUPS + 'names = {"vpn users" = "vpn"}').groups == ("vpn",)


def test_a_name_that_can_be_no_group_here_is_passed_over(made: Made) -> None:
    bad = [b"", b" x", b"-x", b"a\nb", b"\xff\xfe", b"x" * 400]
    assert result(made(search=in_groups(b"vpn", *bad)), more=GROUPS).groups == ("vpn",)


def test_member_of_counts_below_the_base_alone(made: Made) -> None:
    there = (
        b"CN=vpn,OU=Groups,dc=example,dc=org",
        b"cn=admins,ou=mine,dc=example,dc=org",
        b"cn=root\\,ou\\=groups\\,dc\\=example\\,dc\\=org,ou=mine,dc=example,dc=org",
        b"ou=deep,cn=x,ou=groups,dc=example,dc=org",
        b"cn=a\\, b,ou=sub,ou=groups,dc=example,dc=org",
        b"no dn",
    )
    directory = made(search=in_groups(member_of=there))
    assert result(directory, more=GROUPS + 'member_of = true\nfilter = ""').groups == ("a, b", "vpn")


def test_a_wrong_password_brings_no_groups(made: Made) -> None:
    directory = made(bind=of_user(lambda question: question.bound(49)), search=in_groups(b"vpn"))
    assert result(directory, more=GROUPS) == FirstFactorResult(WRONG, 5)


def test_groups_that_do_not_come_whole_are_no_answer(made: Made) -> None:
    """One that is missing may be the one with the stricter policy."""

    def cut(question: Question) -> bytes | None:
        return (
            in_groups(b"vpn")(question)
            if b"ou=people" in question.content[:40]
            else question.entry(cn=[b"vpn"]) + question.done(4)
        )

    def ranged(question: Question) -> bytes:
        pieces: dict[str, list[bytes]] = {"memberOf;range=0-1": [b"cn=vpn"]}
        return question.entry(ALICE, **pieces) + question.done()

    assert result(made(search=cut), more=GROUPS).status is UNAVAILABLE
    assert result(made(search=ranged), more=GROUPS + "member_of = true").status is UNAVAILABLE


def test_a_slip_keeps_out_those_of_the_directory_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The log says it at the start; whose password is checked elsewhere goes on."""
    config = configured("ldap://127.0.0.1:1", more='[first_factor.ldap.groups]\nbase = "groups"\n')
    made = checker(config)
    assert "first_factor.ldap.groups.base: 'groups' is no DN" in caplog.text
    assert made.check(Look("ldap", user="alice"), "x").status is UNAVAILABLE
    assert made.check(Look("local", user="alice"), "x").status is WRONG


# --- Our own files -----------------------------------------------------------------------------------------------


def secret_file(folder: Path, content: str, mode: int = 0o600) -> Path:
    file = folder / "ldap.password"
    file.write_text(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("x", 0o644, "has mode 0644, so others can get at it"),
        ("x", 0o660, "has mode 0660"),
        ("", 0o600, "is empty; write the password of bind_dn into it"),
        ("\n", 0o600, "is empty"),
        (None, 0, "does not exist; write the password of bind_dn into it"),
    ],
)
def test_a_password_file_that_is_not_right_is_no_answer(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None, mode: int, words: str
) -> None:
    file = secret_file(tmp_path, content or "", mode)
    if content is None:
        file.unlink()
    directory = made()
    named = f'bind_dn = "cn=twofold"\nbind_password_file = "{file}"'
    assert result(directory, more=named).status is UNAVAILABLE
    assert words in caplog.text
    assert str(file) in caplog.text
    assert directory.heard == []


def test_a_link_is_no_password_file(made: Made, tmp_path: Path) -> None:
    """The helper is root: who owns the folder could have it send any file of the host."""
    (tmp_path / "link").symlink_to(secret_file(tmp_path, "x"))
    directory = made()
    named = f'bind_dn = "cn=twofold"\nbind_password_file = "{tmp_path / "link"}"'
    assert result(directory, more=named).status is UNAVAILABLE
    assert directory.heard == []


def test_the_password_file_is_read_anew_for_each_question(made: Made, tmp_path: Path) -> None:
    directory = made()
    file = secret_file(tmp_path, "first\n")
    checked = passwords(directory, more=f'bind_dn = "cn=twofold"\nbind_password_file = "{file}"')
    assert checked.check(look(), SECRET).status is PROVED
    secret_file(tmp_path, "second")
    assert checked.check(look(), SECRET).status is PROVED
    assert [password for name, password in directory.binds if name == b"cn=twofold"] == [b"first", b"second"]


def test_without_a_directory_there_is_no_answer_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    without: Checker = checker(parse("", Path("/etc/twofold/twofold.toml")))
    assert [without.check(look(), SECRET).status for _ in range(3)] == [UNAVAILABLE] * 3
    assert [record.message for record in caplog.records] == [
        "passwords cannot be checked: [first_factor.ldap] is missing in /etc/twofold/twofold.toml"
    ]


def test_each_user_is_checked_where_his_password_is(made: Made) -> None:
    directory = made()
    both: Checker = checker(configured(directory.url))
    assert both.check(Look("local", None, 1, user="alice"), SECRET).status is WRONG
    assert directory.heard == []
    assert both.check(look(), SECRET).status is PROVED
