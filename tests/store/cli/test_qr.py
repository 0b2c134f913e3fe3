"""The QR code of a new token, read by a real scanner."""

import itertools
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from tests.peers import peers
from tests.site import PASSWORD, TWOFOLD, Site
from tests.store import raw
from tests.store.cli.command import Twofold
from tests.store.cli.otp import scanned

SCALE = 4  # pixels a module


@pytest.fixture(autouse=True)
def alice(site: Site) -> None:
    site.add_user("alice", None)


def png(bits: list[list[bool]]) -> bytes:
    """A black and white PNG, as plain as the format allows; True is white."""
    lines = [
        b"\0" + bytes(255 if bit else 0 for bit in line for _ in range(SCALE)) for line in bits for _ in range(SCALE)
    ]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", len(bits[0]) * SCALE, len(bits) * SCALE, 8, 0, 0, 0, 0)
    body = zlib.compress(b"".join(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def seen(text: str) -> list[list[bool]]:
    """The light modules of a text of half blocks on a dark terminal."""
    upper, lower = {"█": (True, True), "▀": (True, False), "▄": (False, True), " ": (False, False)}, []
    width = max(map(len, text.splitlines()))
    for line in text.splitlines():
        halves = [upper[char] for char in line.ljust(width)]
        lower += [[top for top, _ in halves], [bottom for _, bottom in halves]]
    return lower


def decoded(picture: Path) -> str:
    """What a scanner reads. Exactly one code may be in the picture."""
    done = subprocess.run(
        [peers.require("zbarimg"), "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(picture)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"nothing was read from {picture}: {done.stderr}"
    return done.stdout.rstrip("\n")


def on_the_terminal(said: str) -> tuple[str, str]:
    """The picture and the address of what `enroll` printed."""
    lines = said.splitlines()
    drawn = [line for line in lines if set(line) & set("█▀▄")]
    assert all(set(line) <= set("█▀▄ ") for line in drawn)
    (link,) = re.findall(r"^Link  (\S+)$", said, re.MULTILINE)
    return "\n".join(drawn), link


@pytest.mark.peer("zbarimg")
@pytest.mark.parametrize(
    ("user", "options"),
    [
        ("alice", []),
        ("alice", ["--kind", "hotp", "--digits", "8", "--algorithm", "sha512"]),
        ("x" * 100, ["--algorithm", "sha256", "--digits", "8"]),
    ],
)
def test_a_phone_reads_the_terminal(
    twofold: Twofold, site: Site, tmp_path: Path, user: str, options: list[str]
) -> None:
    if user != "alice":
        site.add_user(user, None)
    drawn, link = on_the_terminal(twofold.done("token", "enroll", user, *options).out)
    (tmp_path / "terminal.png").write_bytes(png(seen(drawn)))
    assert decoded(tmp_path / "terminal.png") == link
    assert scanned(link).account == user
    assert max(map(len, drawn.splitlines())) <= 80


@pytest.mark.peer("zbarimg")
def test_the_key_of_a_long_key_is_read_too(twofold: Twofold, tmp_path: Path) -> None:
    """64 octets, as SHA-512 devices have them."""
    drawn, link = on_the_terminal(
        twofold.done("token", "enroll", "alice", "--key-stdin", "--algorithm", "sha512", stdin="GE" * 51 + "A").out
    )
    (tmp_path / "terminal.png").write_bytes(png(seen(drawn)))
    assert decoded(tmp_path / "terminal.png") == link


@pytest.mark.peer("zbarimg")
def test_a_phone_reads_what_redeeming_a_ticket_draws(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """The first PIN then comes from what was scanned, and from nothing else that was shown."""
    site.add_user("bob")
    (ticket,) = re.findall(r"^Ticket  (\S+)$", twofold.done("ticket", "issue", "bob").out, re.MULTILINE)
    command = [*TWOFOLD, "--config", str(site.config_file), "ticket", "redeem"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as redeeming:
        assert redeeming.stdin is not None
        assert redeeming.stdout is not None
        redeeming.stdin.write(f"{ticket}\n{PASSWORD}\n")
        redeeming.stdin.flush()
        said = list(itertools.takewhile(lambda line: "otpauth://" not in line, redeeming.stdout))
        (tmp_path / "terminal.png").write_bytes(png(seen("".join(line for line in said if set(line) & set("█▀▄")))))
        app = scanned(decoded(tmp_path / "terminal.png"))
        rest, _ = redeeming.communicate(app.shows(time.time()) + "\n", timeout=60)
    assert (redeeming.returncode, rest.splitlines()[-1][:5]) == (0, "Done.")
    (row,) = twofold.done("token", "list", "--user", "bob", "--json").json
    assert (app.account, app.kind, row["state"]) == ("bob", row["kind"], "active")


@pytest.mark.peer("zbarimg")
def test_a_phone_reads_the_picture(twofold: Twofold, tmp_path: Path) -> None:
    said = twofold.done("token", "enroll", "alice", "--qr", str(tmp_path / "qr.png")).out
    (link,) = re.findall(r"^Link  (\S+)$", said, re.MULTILINE)
    assert decoded(tmp_path / "qr.png") == link
    assert f"QR    {tmp_path}/qr.png (mode 0600; it holds the key: delete it when it has been scanned)" in said
    assert "█" not in said


def test_a_picture_and_a_document_together(twofold: Twofold, tmp_path: Path) -> None:
    result = twofold.done("token", "enroll", "alice", "--qr", str(tmp_path / "qr.svg"), "--json")
    assert scanned(result.json["uri"]).account == "alice"
    assert (tmp_path / "qr.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("name", ["qr.gif", "qr", "qr.png.txt", ""])
def test_another_format_is_refused(twofold: Twofold, site: Site, tmp_path: Path, name: str) -> None:
    before = raw.contents(site.config.database)
    result = twofold("token", "enroll", "alice", "--qr", str(tmp_path / name) if name else "")
    assert (result.status, result.out) == (2, "")
    assert result.sentence.startswith("twofold: --qr: ")
    assert raw.contents(site.config.database) == before


def test_a_picture_is_never_written_over_or_through_a_link(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    (tmp_path / "there.png").write_text("precious")
    (tmp_path / "link.png").symlink_to(tmp_path / "elsewhere.png")
    before = raw.contents(site.config.database)
    for name, words in (
        ("there.png", "exists already; choose another name"),
        ("link.png", "exists already; choose another name"),
        ("nowhere/qr.png", "cannot be written: No such file or directory"),
    ):
        result = twofold("token", "enroll", "alice", "--qr", str(tmp_path / name))
        assert (result.status, result.out) == (2, "")
        assert words in result.sentence
    assert raw.contents(site.config.database) == before, "a token was made whose key nobody has seen"
    assert (tmp_path / "there.png").read_text() == "precious"
    assert not (tmp_path / "elsewhere.png").exists()


@pytest.mark.parametrize("arguments", [["nobody"], ["alice", "--serial", "a b"], ["alice", "--key-stdin"]])
def test_no_picture_is_left_of_a_token_that_was_refused(twofold: Twofold, tmp_path: Path, arguments: list[str]) -> None:
    assert twofold("token", "enroll", *arguments, "--qr", str(tmp_path / "qr.png"), stdin="GEZA").status in (1, 2)
    assert not (tmp_path / "qr.png").exists()


FULL_DISK = """
import resource
from store.cli import main, token
written = token._save_picture
def save(*arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    written(*arguments)
token._save_picture = save
main.main()
"""


def test_a_picture_that_does_not_fit_the_disk_leaves_no_half(site: Site, tmp_path: Path) -> None:
    """The disk fills up after the token was made: half a key must not stay behind, and the admin is told."""
    command = [sys.executable, "-c", FULL_DISK, "--config", str(site.config_file)]
    arguments = ["token", "enroll", "alice", "--serial", "TF-1", "--qr", str(tmp_path / "qr.png")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"twofold: the QR code could not be written to {tmp_path}/qr.png: File too large. The token exists all the "
        "same; take it back with: twofold token revoke TF-1\n"
    )
    assert not (tmp_path / "qr.png").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_draw_still_shows_the_key(site: Site, encoding: str) -> None:
    """The token has been made by then; an error would leave one that nobody has."""
    done = site.command("token", "enroll", "alice", env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, "")
    (link,) = re.findall(r"^Link  (\S+)$", done.stdout, re.MULTILINE)
    assert scanned(link).account == "alice"
