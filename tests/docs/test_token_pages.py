"""docs/tokens.md is followed to the letter, and then people log in with what `oathtool` shows.

Stood in for: a folder for `/run`, and `chown`, since there is no user twofold. A PIN in a command of the page is what
the token would show now.
"""

import csv
import hashlib
import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store.formats.choosing import FORMATS
from tests.docs.gateway import Gateway, gateway_of
from tests.docs.pages import Host, files, same, steps, text_of
from tests.flows.crowd import wrong_pins
from tests.peers.oathtool import oathtool
from tests.site import Site, pin

PAGE = "tokens.md"
BOX = range(80010001, 80010501)

pytestmark = [pytest.mark.timeout(300), pytest.mark.peer("oathtool")]


def key_of(serial: str) -> bytes:
    return hashlib.sha1(serial.encode()).digest()


def shows(serial: str, at: float, later: int = 0) -> str:
    """What a token of the box shows so many minutes later."""
    (pin,) = oathtool(key_of(serial), "--totp", "--time-step-size=60", "--now", f"@{int(at) + 60 * later}")
    return pin


@dataclass(frozen=True)
class Pins:
    """Puts PINs into the commands of the page: for `test` what is shown now, for `resync` two of a clock that was five
    minutes slow when the page was opened."""

    opened: float

    def __call__(self, command: str) -> str:
        found = re.fullmatch(r"twofold token (test|resync) (\d+) .*", command)
        if found is None:
            return command
        verb, serial = found.groups()
        pins = [shows(serial, time.time())] if verb == "test" else [shows(serial, self.opened, n) for n in (-5, -4)]
        return " ".join(["twofold token", verb, serial, *pins])


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def gateway(host: Host) -> Iterator[Gateway]:
    with gateway_of(host) as gateway:
        yield gateway


def deliver(host: Host) -> None:
    """The box arrives: its seed file is where the page says."""
    folder = host.inside("/run/tokens")
    folder.mkdir()
    host.here = folder
    rows = (f"{serial},{key_of(str(serial)).hex()},totp,6,60\n" for serial in BOX)
    (folder / "box.csv").write_text("".join(rows))


@pytest.mark.statement("O-105", "O-103", "O-106")
def test_a_box_of_500_from_the_file_to_logins(host: Host, gateway: Gateway) -> None:
    deliver(host)
    opened = time.time()
    said = host.follow(text_of(PAGE), Pins(opened))
    assert not [file for file in host.inside("/run/tokens").iterdir() if file.suffix in (".html", ".pskc", ".txt")]
    # carol has alice's first token now, whose clock is five minutes slow; bob's first was revoked.
    used, fresh = shows("80010001", opened, -4), shows("80010001", opened, -3)
    assert not gateway.lets_in("carol", used), "used by the resynchronisation"
    assert gateway.lets_in("carol", fresh)
    assert not gateway.lets_in("carol", fresh)
    assert not gateway.lets_in("bob", shows("80010002", time.time()))
    assert gateway.lets_in("bob", shows("80010003", time.time()))
    assert gateway.lets_in("dave", shows("80010005", time.time())), "assigned from a list"
    assert not gateway.lets_in("alice", shows("80010006", time.time())), "a token of nobody"
    assert not [key for key in map(key_of, map(str, BOX)) if key.hex() in "".join(said)]


def test_what_is_shown_in_short_is_what_the_page_does() -> None:
    (short,) = re.findall(r"^## In short\n\n```\n(.*?)^```", text_of(PAGE), re.MULTILINE | re.DOTALL)
    typed = {step.command for step in steps(text_of(PAGE))}
    assert {re.sub(r"\s+#.*", "", line) for line in short.splitlines()} <= typed


# --- the table of formats


def test_every_format_stands_in_the_table_and_no_other() -> None:
    named = re.findall(r"^\| `(\w[\w-]*)` \|", text_of(PAGE, "Formats"), re.MULTILINE)
    assert sorted(named) == sorted(one.name for one in FORMATS)


# --- the table of messages

GOOD = "5ce8d1a0f4b74c1d9e3a2b6f8c7d0e1f23456789"
OTHER = "6ce8d1a0f4b74c1d9e3a2b6f8c7d0e1f23456789"
PSKC_PASSWORD = b"right"


def row(serial: str = "9001", seed: str = GOOD, kind: str = "totp", user: str = "") -> str:
    return f"serial,seed,type,user\n{serial},{seed},{kind},{user}\n"


# What brings each message about: the beginning of the message, the file (None: there is none), and options.
TROUBLE: dict[str, tuple[str | bytes | None, tuple[str, ...]]] = {
    "cannot be read: No such": (None, ()),
    "is a directory": ("./", ()),
    "is no regular file": ("/dev/null", ()),
    "the file is empty": ("", ()),
    "the file is a PDF": (b"%PDF-1.7", ()),
    "the file is a ZIP": (b"PK\x03\x04", ()),
    "the file is a text": ("Dear customer,\nhere are your tokens\n", ()),
    "the file holds no token": ("serial,seed\n", ()),
    "--format": (row(), ("--format", "nonsense")),
    "the file is encrypted": ("password.pskc", ()),
    "the password is wrong": ("password.pskc", ("--password-stdin",)),
    "the key is wrong": ("key.pskc", ("--key-file", "wrong.key")),
    "seed: an odd number": (row(seed=GOOD[1:]), ()),
    "seed: character": (row(seed=f"{GOOD[:8]}x{GOOD[9:]}") + f"9002,{GOOD},totp,\n9003,{OTHER},totp,\n", ()),
    "serial: a spreadsheet": (row(serial="1.23457E+09"), ()),
    "serial: a date": (row(serial="2013-12-31"), ()),
    "type": (row(kind="6"), ()),
    "key: ": (row(seed=GOOD[:28]), ()),
    "serial … stands twice": (row() + f"9001,{OTHER},totp,\n", ()),
    "the same key stands twice": (row() + f"9002,{GOOD},totp,\n", ()),
    "serial … is here already, and": (row(serial="here"), ()),
    "serial … is here already, revoked": (row(serial="gone"), ()),
    "its key is here already": (row(seed="11" * 20), ()),
    "user … is not known": (row(user="nobody"), ()),
    "user … would have": (row(user="full"), ()),
}
NOT_FOR_ROOT = "cannot be read: Permission denied for the account twofold"


def messages() -> list[str]:
    table = re.findall(r"^\| `(.+?)` \|", text_of(PAGE, "What can go wrong"), re.MULTILINE)
    return [message for message in table if message != NOT_FOR_ROOT]


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A store with a token, a revoked one, and a user who has as many as he may."""
    site = Site(tmp_path_factory.mktemp("trouble"))
    kept = "".join(f"{serial},{serial[0].encode().hex() * 20},totp\n" for serial in ("x1", "y2"))
    site.add_user("full")
    site.command("policy", "set", "max_registrations", "1")
    site.enroll("full")
    (site.folder / "kept.csv").write_text(f"here,{'11' * 20},totp\ngone,{'22' * 20},totp\n{kept}")
    (site.folder / "right.key").write_text("33" * 16)
    (site.folder / "wrong.key").write_text("44" * 16)
    for command, stdin in (
        (("import", "kept.csv"), b""),
        (("revoke", "gone"), b""),
        (("export", "password.pskc", "x1", "--password-stdin"), PSKC_PASSWORD),
        (("export", "key.pskc", "y2", "--key-file", "right.key"), b""),
    ):
        said = site.command("token", *(named(site, word) for word in command), stdin=stdin)
        assert said.returncode == 0, said.stderr
    return site


def named(site: Site, word: str) -> str:
    return str(site.folder / word) if word.endswith((".csv", ".pskc", ".key")) else word


@pytest.mark.parametrize("message", messages())
def test_every_message_of_the_table_is_one_that_people_meet(trouble: Site, message: str) -> None:
    found = [case for begins, case in TROUBLE.items() if message.startswith(begins)]
    assert len(found) == 1, message
    content, options = found[0]
    file = trouble.folder / "trouble.csv"
    file.unlink(missing_ok=True)
    if isinstance(content, str) and content.endswith((".pskc", "/", "/null")):
        file = trouble.folder / content
    elif content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    typed = [str(file), *(named(trouble, option) for option in options)]
    done = trouble.command("token", "import", *typed, "--dry-run", stdin=b"mistyped")
    assert done.returncode in (1, 2)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "line " in line or "twofold: " in line]
    assert any(same((f"…{message}",), [line]) or same((f"…{message}…",), [line]) for line in said), (message, said)


def test_no_case_is_left_over() -> None:
    cases = [begins for message in messages() for begins in TROUBLE if message.startswith(begins)]
    assert sorted(cases) == sorted(TROUBLE)


# --- what the page and the decisions promise


@pytest.mark.statement("C-035")
def test_a_report_for_a_spreadsheet_runs_nothing(trouble: Site) -> None:
    file = trouble.folder / "formulas.csv"
    labels = ["=cmd()", "+1", "-1+1", "@SUM(A1)"]
    rows = [f"F{n},{hashlib.sha1(label.encode()).hexdigest()},totp,{label}\n" for n, label in enumerate(labels)]
    file.write_text("serial,seed,type,label\n" + "".join(rows))
    assert trouble.command("token", "import", str(file)).returncode == 0
    report = csv.DictReader(io.StringIO(trouble.command("token", "report", "--csv").stdout))
    assert [row["label"] for row in report if row["serial"].startswith("F")] == [f"'{label}" for label in labels]


def test_keys_leave_in_files_for_their_owner_alone(trouble: Site) -> None:
    trouble.add_user("reader")
    for name, command in {
        "out.pskc": ("token", "export", "{}", "x1", "--key-file", str(trouble.folder / "right.key")),
        "sheet.html": ("token", "enroll", "reader", "--sheet", "{}"),
    }.items():
        file = trouble.folder / name
        typed = [word.format(file) for word in command]
        assert trouble.command(*typed).returncode == 0
        assert file.stat().st_mode & 0o777 == 0o600
        kept = file.read_bytes()
        assert trouble.command(*typed).returncode == 2, "never over a file that is there"
        assert file.read_bytes() == kept
    assert b"78" * 19 not in (trouble.folder / "out.pskc").read_bytes().lower()


def test_a_test_uses_nothing_up_and_wrong_ones_make_its_owner_wait(trouble: Site) -> None:
    trouble.add_user("tested")
    token = trouble.enroll("tested")
    before = trouble.token_row(token.serial)
    for _ in range(3):
        assert "right. It was not used up." in trouble.command("token", "test", token.serial, pin(token)).stdout
    assert trouble.token_row(token.serial) == before
    wrong = wrong_pins(token, 6)
    said = [trouble.command("token", "test", token.serial, wrong[n]) for n in range(6)]
    assert all(done.returncode == 1 for done in said)
    assert "tested is waiting after failures" in said[-1].stderr


# --- the follower itself


def test_a_page_that_shows_something_else_is_found(host: Host) -> None:
    page = (
        "```text x.txt\none\n```\n```console\n# cat x.txt\n> echo two\none\n…\n```\n```console refused\n# false\n```\n"
    )
    assert files(page) == {"x.txt": "one\n"}
    assert host.follow(page) == ["one\ntwo\n", ""]
    with pytest.raises(AssertionError):
        host.follow(page.replace("one\n…", "another\n…"))
    with pytest.raises(AssertionError):
        host.follow(page.replace(" refused", ""))
    assert not same(("a", "…", "c"), ["a", "b"])
    assert same(("a  b", "…", "c"), ["a b", "x", "y", "c"])
