"""The hello: pairs that are known, once each, of our version; everything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_helper import hello as greeting
from pam_helper.frames import BadFrame
from pam_helper.hello import PAM_SILENT, Hello, parse


def octets(*pairs: bytes) -> bytes:
    return b"".join(pair + b"\0" for pair in (b"version=1", *pairs))


def test_every_item_of_pam_arrives() -> None:
    hello = parse(
        octets(
            b"service=su-l",
            b"user=alice",
            b"rhost=192.0.2.7",
            b"tty=/dev/pts/3",
            b"ruser=bob",
            b"combined=1",
            b"ssh_auth_info=publickey ssh-ed25519 AAAA\n",
            b"authtok=a=b",
            b"flags=32768",
        )
    )
    assert hello == Hello(
        user="alice",
        service="su-l",
        rhost="192.0.2.7",
        tty="/dev/pts/3",
        ruser="bob",
        silent=True,
        combined=True,
        ssh_auth_info="publickey ssh-ed25519 AAAA\n",
        authtok="a=b",
    )


def test_what_is_not_said_is_not_there() -> None:
    hello = parse(octets(b"user=alice"))
    assert hello == Hello(user="alice")
    assert (hello.authtok, hello.rhost, hello.request, hello.combined, hello.silent) == (None, None, "", False, False)


def test_an_empty_password_is_one() -> None:
    assert parse(octets(b"authtok=")).authtok == ""


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"version=1",
        octets(b"user=alice")[:-1],
        b"user=alice\0",
        b"version=\0user=alice\0",
        b"version=2\0user=alice\0",
        b"version=10\0user=alice\0",
        octets(b"version=1"),
        octets(b"user=alice", b"user=root"),
        octets(b"user=alice", b"unknown=1"),
        octets(b"USER=alice"),
        octets(b"user"),
        octets(b""),
        octets(b"=alice"),
        octets(b"user=alice", b"pin_only=0"),
        octets(b"user=alice", b"actor=root"),
        octets(b"user=alice", b"silent=1"),
    ],
)
@pytest.mark.statement("P-020")
def test_what_is_not_wholly_understood_is_refused(payload: bytes) -> None:
    with pytest.raises(BadFrame):
        parse(payload)


@pytest.mark.parametrize("flags", [b"", b"-1", b"0x8000", b"1e3", b" 1", "²".encode(), b"9" * 11, b"\xff"])
def test_flags_that_are_no_number_are_refused(flags: bytes) -> None:
    with pytest.raises(BadFrame, match="flags"):
        parse(octets(b"flags=" + flags))


@pytest.mark.parametrize(("flags", "silent"), [(0, False), (PAM_SILENT, True), (PAM_SILENT | 1, True), (0x7FFF, False)])
def test_only_the_bit_of_pam_silent_is_looked_at(flags: int, silent: bool) -> None:
    assert parse(octets(b"flags=%d" % flags)).silent is silent


@pytest.mark.parametrize("combined", [b"0", b"", b"true", b"11"])
def test_combined_is_1_or_not(combined: bytes) -> None:
    assert parse(octets(b"combined=" + combined)).combined is False


def test_what_is_no_utf_8_becomes_no_other_user_and_comes_back_as_it_was() -> None:
    """The verdict names the user in the octets that he was named with."""
    hello = parse(octets(b"user=al\xffice", b"authtok=\xfe", b"service=\xffd", b"serial=\xff"))
    assert hello.user.encode("utf-8", "surrogateescape") == b"al\xffice"
    assert hello.authtok == "\udcfe"
    assert (hello.service, hello.serial) == ("\ufffdd", "\ufffd")


@given(st.binary(max_size=200))
def test_any_octets_are_a_hello_or_refused(payload: bytes) -> None:
    try:
        hello = parse(payload)
    except BadFrame:
        return
    assert payload.startswith(b"version=1") or b"\0version=1\0" in payload
    assert isinstance(hello, Hello)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(words, words, words, words, words)
def test_what_our_commands_write_is_read_again(user: str, service: str, request: str, serial: str, reason: str) -> None:
    hello = Hello(user=user, service=service, request=request, serial=serial, reason=reason)
    assert parse(greeting.encode(hello)) == hello


@pytest.mark.statement("P-013")
def test_a_hello_does_not_show_the_password() -> None:
    assert "geheim" not in repr(Hello(user="alice", authtok="geheim"))
