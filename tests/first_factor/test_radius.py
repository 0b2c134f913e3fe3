"""Passwords that another RADIUS server knows: what its answers mean, and who is never asked about."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from first_factor import Checker, checker
from first_factor.local import hash_password
from store.config import parse
from tests.first_factor.upstream import (
    SECRET,
    Upstream,
    accept,
    challenge,
    reject,
    reply,
    silence,
    unhidden,
    upstream,
)
from validation.decisions import Look
from validation.requests import FirstFactor, FirstFactorResult

LOOK = Look("radius", None, 7, user="alice")
Pairs = tuple[tuple[int, bytes], ...]
PROVED, WRONG, UNAVAILABLE = FirstFactor.PROVED, FirstFactor.WRONG, FirstFactor.UNAVAILABLE


def result(status: FirstFactor, why: str = "", replies: Pairs = ()) -> FirstFactorResult:
    return FirstFactorResult(status, 7, why=why, kind="radius", replies=replies)


@dataclass
class Site:
    """A configuration in a folder, with a file for the secret."""

    folder: Path

    def __post_init__(self) -> None:
        self.secret = self.folder / "upstream.secret"
        self.secret.touch(0o600)
        self.secret.write_bytes(SECRET + b"\n")

    def checker(self, *servers: Upstream, more: str = "time_limit = 0.5\nretries = 0") -> Checker:
        named = ", ".join(f'"127.0.0.1:{server.address[1]}"' for server in servers) or '"127.0.0.1:9"'
        section = f'[first_factor.radius]\nservers = [{named}]\nsecret_file = "upstream.secret"\n{more}'
        return checker(parse(section, self.folder / "twofold.toml"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    ("answers", "status", "why"),
    [
        (accept, PROVED, ""),
        (reject, WRONG, ""),
        (challenge, UNAVAILABLE, "challenge"),
        (silence, UNAVAILABLE, "no-answer"),
        (lambda request: [reply(request, signature="none")], UNAVAILABLE, "no-answer"),
        (lambda request: [reply(request, 3, signature="wrong")], UNAVAILABLE, "no-answer"),
        (lambda request: [reply(request, secret=b"another")], UNAVAILABLE, "no-answer"),
    ],
    ids=["accept", "reject", "challenge", "silence", "unsigned", "badly signed", "another secret"],
)
def test_what_the_answers_mean(
    site: Site, answers: Callable[[bytes], list[bytes]], status: FirstFactor, why: str
) -> None:
    with upstream(answers) as server:
        assert site.checker(server).check(LOOK, "geheim") == result(status, why=why)
        assert server.users == ["alice"]


def test_a_challenge_says_what_to_do(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with upstream(challenge) as server:
        site.checker(server).check(LOOK, "geheim")
    assert "wants a second factor itself, which cannot be passed on. Have it check the password alone" in caplog.text
    assert "geheim" not in caplog.text


def test_silence_of_all_is_said(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with upstream(silence) as server:
        site.checker(server).check(LOOK, "geheim")
    assert "no RADIUS server says whether a password is right" in caplog.text
    assert "geheim" not in caplog.text


@pytest.mark.statement("R-055", "R-053", "R-054")
@pytest.mark.parametrize("password", ["", "\0", "geheim\0", "x" * 129, "\u00e4" * 65, "x" * 100_000, "half \ud800"])
def test_what_radius_cannot_carry_is_wrong_and_nobody_is_asked(site: Site, password: str) -> None:
    with upstream(accept) as server:
        assert site.checker(server).check(LOOK, password).status is WRONG
        assert server.requests == []


def test_a_password_too_long_says_so(site: Site) -> None:
    assert site.checker().check(LOOK, "x" * 129).why == "cannot-be-asked"


def test_who_may_not_log_in_causes_no_traffic(site: Site) -> None:
    """An upstream that locks accounts must not lock one because of us."""
    with upstream(accept) as server:
        look = Look("radius", None, 7, user="")
        assert site.checker(server).check(look, "geheim") == result(WRONG)
        assert server.requests == []


def test_the_password_goes_out_as_utf_8_and_whole(site: Site) -> None:
    with upstream(accept) as server:
        site.checker(server).check(LOOK, "pässwörd ")
        assert unhidden(server.requests[0]).rstrip(b"\0") == "pässwörd ".encode()


REPLIES = [(18, b"Welcome"), (25, b"class"), (11, b"staff"), (33, b"proxy"), (26, b"\0\0\x01\x37\x11\x05abc")]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("", ()),
        ('reply = "drop"', ()),
        ('reply = "keep"', ((25, b"class"), (11, b"staff"))),
        ('reply = ["Class", 27]', ((25, b"class"),)),
    ],
)
def test_attributes_go_on_as_configured(site: Site, rule: str, kept: Pairs) -> None:
    with upstream(lambda request: [reply(request, 2, REPLIES)]) as server:
        assert site.checker(server, more=rule).check(LOOK, "geheim") == result(PROVED, replies=kept)


def test_a_reject_brings_no_attributes(site: Site) -> None:
    with upstream(lambda request: [reply(request, 3, REPLIES)]) as server:
        assert site.checker(server, more='reply = "keep"').check(LOOK, "x") == result(WRONG)


def test_the_second_server_answers_for_a_silent_first(site: Site) -> None:
    with upstream(silence) as first, upstream(accept) as second:
        found = site.checker(first, second, more="timeout = 0.5\nretries = 0")
        assert [found.check(LOOK, "geheim").status for _ in range(2)] == [PROVED] * 2
        assert (len(first.users), len(second.users)) == (1, 2)


def test_silence_holds_up_only_so_many_and_not_for_long(site: Site) -> None:
    """Two may be on their way and two wait; whoever comes then has no answer at once, and it ends by itself."""
    with upstream(silence) as server:
        found = site.checker(server, more="time_limit = 0.5\nretries = 0\nthreads = 2")
        results: list[FirstFactor] = []
        threads = [threading.Thread(target=lambda: results.append(found.check(LOOK, "x").status)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert results == [UNAVAILABLE] * 12
        assert len(server.users) <= 4
        server.answers = accept
        assert found.check(LOOK, "geheim").status is PROVED


# --- configuration


def test_without_the_section_there_is_no_answer_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    found = checker(parse("", Path("/etc/twofold/twofold.toml")))
    results = [found.check(LOOK, "geheim") for _ in range(3)]
    assert results == [result(UNAVAILABLE)] * 3
    assert caplog.text.count("[first_factor.radius] is missing in /etc/twofold/twofold.toml") == 1


def refusal(site: Site, caplog: pytest.LogCaptureFixture, more: str = "") -> str:
    """What the log says of a section that cannot be used; nobody's password is right then, and local ones go on."""
    with upstream(accept) as server:
        found = site.checker(server, more=more)
        assert found.check(LOOK, "geheim") == result(UNAVAILABLE)
        assert found.check(Look("local", hash_password("geheim"), 7, user="bob"), "geheim").status is PROVED
        assert server.requests == []
    return caplog.messages[0]


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o666])
def test_a_secret_that_others_can_read_is_refused(site: Site, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    site.secret.chmod(mode)
    assert "others can get at it; run: chmod 600" in refusal(site, caplog)


def test_a_secret_that_is_a_link_is_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.secret.rename(site.folder / "elsewhere")
    site.secret.symlink_to(site.folder / "elsewhere")
    assert "upstream.secret cannot be opened" in refusal(site, caplog)


def test_an_empty_secret_is_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.secret.write_bytes(b"\n")
    assert "upstream.secret is empty; write the shared secret into it" in refusal(site, caplog)


def test_a_secret_that_is_not_there_is_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.secret.unlink()
    assert "upstream.secret does not exist; write the shared secret into it" in refusal(site, caplog)


def test_a_short_secret_is_warned_about_and_not_shown(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.secret.write_bytes(b"tooshort")
    site.checker()
    assert "has 8 octets; 16 or more are advised" in caplog.text
    assert "tooshort" not in caplog.text


def test_a_reply_attribute_that_never_goes_on_is_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    assert "first_factor.radius.reply: State cannot be set" in refusal(site, caplog, 'reply = ["State"]')
