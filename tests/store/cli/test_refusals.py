"""Every refusal: its exit status, one sentence that says what is wrong, and nothing half-written."""

from collections.abc import Iterator

import pytest

from tests.site import SECRET, Site
from tests.store import raw
from tests.store.cli.command import Twofold

KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """No test here changes anything, which each of them proves; so one site serves all."""
    site = Site(tmp_path_factory.mktemp("refusals"))
    site.add_user("alice")
    site.enroll("alice", serial="TF-1")
    site.enroll("alice", serial="TF-2")
    site.add_client("vpn", "192.0.2.1/32")
    site.add_client("mail", "192.0.2.2/32")
    yield site
    site.database.close()


@pytest.fixture
def site(filled: Site) -> Site:
    return filled


NO_USER = "there is no user 'nobody'; twofold user list shows all"
NO_TOKEN = "there is no token 'TF-9'; twofold token list shows all"
NO_CLIENT = "there is no client 'nobody'; twofold client list shows all"

UNKNOWN = {
    ("user", "set", "nobody", "--group", "x"): NO_USER,
    ("user", "show", "nobody"): NO_USER,
    ("user", "show", "nobody", "--json"): NO_USER,
    ("user", "lock", "nobody"): NO_USER,
    ("user", "unlock", "nobody"): NO_USER,
    ("user", "disable", "nobody"): NO_USER,
    ("user", "enable", "nobody"): NO_USER,
    ("user", "remove", "nobody"): NO_USER,
    ("user", "show", "Alice"): "there is no user 'Alice'; twofold user list shows all",
    ("user", "show", ""): "there is no user ''; twofold user list shows all",
    ("token", "enroll", "nobody"): NO_USER,
    ("token", "list", "--user", "nobody"): NO_USER,
    ("token", "show", "TF-9"): NO_TOKEN,
    ("token", "revoke", "TF-9"): NO_TOKEN,
    ("token", "revoke", "--user", "nobody"): NO_USER,
    ("client", "set", "nobody", "--mode", "append"): NO_CLIENT,
    ("client", "show", "nobody"): NO_CLIENT,
    ("client", "remove", "nobody"): NO_CLIENT,
}

NOT_ALLOWED = {
    ("user", "add", "alice"): "user 'alice' exists already; change it with: twofold user set alice",
    ("token", "enroll", "alice", "--serial", "TF-1"): "serial TF-1 exists already; twofold token show TF-1",
    ("token", "revoke", "--user", "alice"): "alice has 2 tokens (TF-1, TF-2); name one serial, or give --all",
    ("client", "add", "vpn", "192.0.2.9", "--generate-secret"): "client 'vpn' exists already; change it with: "
    "twofold client set vpn",
    ("client", "add", "two", "192.0.2.1", "--generate-secret"): "192.0.2.1/32 belongs to client 'vpn' already; "
    "an address names one client",
    ("client", "set", "mail", "--address", "192.0.2.1"): "192.0.2.1/32 belongs to client 'vpn' already; "
    "an address names one client",
}

BAD_VALUES = {
    ("user", "add", ""): "user name: must not be empty, nor begin or end with a blank",
    ("user", "add", " "): "user name: must not be empty, nor begin or end with a blank",
    ("user", "add", "bob "): "user name: must not be empty, nor begin or end with a blank",
    ("user", "add", "--", "-bob"): "user name: must not begin with '-', which looks like an option",
    ("user", "add", "a\nb"): "user name: control, invisible and unassigned characters are not allowed",
    ("user", "add", "a\x1b[31mb"): "user name: control, invisible and unassigned characters are not allowed",
    ("user", "add", "a\u202eb"): "user name: control, invisible and unassigned characters are not allowed",
    ("user", "add", "a\u200bb"): "user name: control, invisible and unassigned characters are not allowed",
    ("user", "add", "a\u2028b"): "user name: control, invisible and unassigned characters are not allowed",
    ("user", "add", "a\ue000b"): "user name: control, invisible and unassigned characters are not allowed",
    ("user", "add", "x" * 254): "user name: 254 octets are too long; at most 253",
    ("user", "add", "ü" * 127): "user name: 254 octets are too long; at most 253",
    ("user", "add", "x" * 65_536): "user name: 65536 octets are too long; at most 253",
    ("user", "add", "bob", "--group", ""): "group name: must not be empty, nor begin or end with a blank",
    (
        "user",
        "add",
        "bob",
        "--group",
        "a\tb",
    ): "group name: control, invisible and unassigned characters are not allowed",
    ("user", "set", "alice"): "nothing to change: name at least one option",
    ("user", "set", "alice", "--group", " x"): "group name: must not be empty, nor begin or end with a blank",
    ("token", "enroll", "alice", "--serial", ""): "serial: use 1 to 64 printable ASCII characters without blanks",
    ("token", "enroll", "alice", "--serial", "a b"): "serial: use 1 to 64 printable ASCII characters without blanks",
    ("token", "enroll", "alice", "--serial", "ü"): "serial: use 1 to 64 printable ASCII characters without blanks",
    ("token", "enroll", "alice", "--serial", "x" * 65): "serial: use 1 to 64 printable ASCII characters without blanks",
    ("token", "enroll", "alice", "--serial=-x"): "serial: must not begin with '-', which looks like an option",
    ("token", "enroll", "alice", "--label", "x" * 65): "label: at most 64 characters, none of them invisible",
    ("token", "enroll", "alice", "--label", "a\u202eb"): "label: at most 64 characters, none of them invisible",
    ("token", "enroll", "alice", "--period", "121"): "period: 121 s is not possible; choose 10 to 120, 30 is usual",
    ("client", "add", "", "192.0.2.9", "--generate-secret"): "client name: must not be empty, nor begin or end with a "
    "blank",
    ("client", "add", "a\nb", "192.0.2.9", "--generate-secret"): "client name: control, invisible and unassigned "
    "characters are not allowed",
    ("client", "set", "vpn"): "nothing to change: name at least one option",
}


def check_refusal(
    twofold: Twofold, site: Site, arguments: tuple[str, ...], stdin: str, status: int, sentence: str
) -> None:
    before = raw.contents(site.config.database), sorted(path.name for path in site.folder.iterdir())
    result = twofold(*arguments, stdin=stdin)
    assert (result.status, result.out, result.sentence) == (status, "", f"twofold: {sentence}")
    assert (raw.contents(site.config.database), sorted(path.name for path in site.folder.iterdir())) == before


@pytest.mark.parametrize("arguments", UNKNOWN, ids=lambda a: " ".join(a)[:60])
def test_what_is_not_there_is_named(twofold: Twofold, site: Site, arguments: tuple[str, ...]) -> None:
    check_refusal(twofold, site, arguments, "", 1, UNKNOWN[arguments])


@pytest.mark.parametrize("arguments", NOT_ALLOWED, ids=lambda a: " ".join(a)[:60])
def test_what_is_not_allowed_says_what_to_do(twofold: Twofold, site: Site, arguments: tuple[str, ...]) -> None:
    check_refusal(twofold, site, arguments, "", 1, NOT_ALLOWED[arguments])


@pytest.mark.parametrize("arguments", BAD_VALUES, ids=lambda a: ascii(" ".join(a))[:60])
def test_a_bad_value_is_refused_with_its_field(twofold: Twofold, site: Site, arguments: tuple[str, ...]) -> None:
    check_refusal(twofold, site, arguments, "", 2, BAD_VALUES[arguments])


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "sentence"),
    [
        (("user", "add", "bob", "--password-stdin"), "", 2, "password: must not be empty"),
        (("user", "set", "alice", "--password-stdin"), "\n", 2, "password: must not be empty"),
        (("user", "set", "nobody", "--password-stdin"), "x", 1, NO_USER),
        (("user", "add", "alice", "--password-stdin"), "x", 1, NOT_ALLOWED["user", "add", "alice"]),
        (("token", "enroll", "nobody", "--key-stdin"), KEY, 1, NO_USER),
        (("token", "enroll", "alice", "--key-stdin"), "", 2, "key: empty; Base32 (A-Z and 2-7) is expected"),
        (("client", "set", "vpn", "--secret-stdin"), "", 2, "secret: must not be empty (RFC 2865 section 3)"),
        (("client", "set", "nobody", "--secret-stdin"), SECRET.decode(), 1, NO_CLIENT),
    ],
)
def test_a_secret_does_not_save_a_command_that_is_refused(
    twofold: Twofold, site: Site, arguments: tuple[str, ...], stdin: str, status: int, sentence: str
) -> None:
    check_refusal(twofold, site, arguments, stdin, status, sentence)
