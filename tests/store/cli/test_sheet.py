"""`twofold token enroll --sheet`: a page that a scanner reads, in the administrator's words, for one pair of eyes."""

import os
import re
import stat
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.site import Site
from tests.store.cli.command import Twofold
from tests.store.cli.otp import scanned
from tests.store.cli.test_qr import decoded, png

HOSTILE = '<script>alert(1)</script> & "it\'s"'
_STROKE = re.compile(r"([Mmhvz])\s*(-?\d*\.?\d*)[ ,]?(-?\d*\.?\d*)")
_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def alice(site: Site) -> None:
    site.add_user("alice", None)


def made(twofold: Twofold, path: Path, *options: str) -> dict[str, str]:
    document: dict[str, str] = twofold.done("token", "enroll", "alice", "--json", "--sheet", str(path), *options).json
    return document


def modules(page: str) -> list[list[bool]]:
    """The light modules of the code: segno draws runs of dark ones as strokes of one unit, row by row."""
    found = re.search(r'viewBox="0 0 (\d+) \d+" class="segno"><path([^>]*)/>', page)
    assert found is not None, page[:2000]
    side = int(found[1])
    light = [[True] * side for _ in range(side)]
    strokes = re.search(r' d="([^"]*)"', found[2])
    assert strokes is not None
    x, y = 0.0, 0.0
    for word, first, second in _STROKE.findall(strokes[1]):
        if word == "M":
            x, y = float(first), float(second)
        elif word == "m":
            x, y = x + float(first), y + float(second)
        elif word == "h":
            for at in range(int(x), int(x + float(first))):
                light[int(y)][at] = False
            x += float(first)
    return light


@pytest.mark.peer("zbarimg")
@pytest.mark.parametrize("suffix", [".html", ".svg"])
@pytest.mark.parametrize("kind", ["totp", "hotp"])
def test_a_scanner_reads_the_code_of_the_sheet(twofold: Twofold, tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"sheet{suffix}"
    document = made(twofold, path, "--kind", kind)
    picture = tmp_path / "code.png"
    picture.write_bytes(png(modules(path.read_text())))
    assert decoded(picture) == document["uri"]
    app = scanned(decoded(picture))
    twofold.done("token", "test", document["serial"], app.shows(time.time()))


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_key_instructions_and_warning_stand_on_it(twofold: Twofold, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sheet{suffix}"
    key = made(twofold, path)["key"]
    text = re.sub(r"\s+", " ", words(path))
    assert key in text.replace(" ", "")
    assert "Install an authenticator app" in text
    assert "Whoever sees this sheet can copy your second factor" in text
    assert "Twofold: alice" in text


def words(path: Path) -> str:
    """All that a reader sees. The page is whole XML, so a text that broke out of its place would be an element."""
    markup = path.read_text().replace("<!DOCTYPE html>", "").replace('<meta charset="utf-8">', "")
    return " ".join(ElementTree.fromstring(markup).itertext())


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_it_speaks_the_words_of_the_administrator_and_runs_none(twofold: Twofold, tmp_path: Path, suffix: str) -> None:
    twofold.done("message", "set", "sheet", f"Ask Eve on floor 3. {HOSTILE}")
    twofold.done("message", "set", "sheet-warning", f"Burn it. {HOSTILE}")
    path = tmp_path / f"sheet{suffix}"
    made(twofold, path)
    page, text = path.read_text(), re.sub(r"\s+", " ", words(path))
    assert f"Ask Eve on floor 3. {HOSTILE}" in text
    assert f"Burn it. {HOSTILE}" in text
    assert "Install an authenticator app" not in text
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", ""), "nothing is fetched"


def test_it_speaks_the_language_that_policy_says(twofold: Twofold, tmp_path: Path) -> None:
    twofold.done("policy", "set", "language", "de")
    made(twofold, tmp_path / "sheet.html")
    assert 'lang="de"' in (tmp_path / "sheet.html").read_text()
    assert "Installieren Sie eine Authenticator-App" in words(tmp_path / "sheet.html")


def test_nobody_else_may_read_it_whatever_the_umask(twofold: Twofold, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        said = twofold.done("token", "enroll", "alice", "--sheet", str(tmp_path / "sheet.html")).out
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "sheet.html").stat().st_mode) == 0o600
    assert "sheet.html (mode 0600; it holds the key: delete it when it has been printed)" in said


@pytest.mark.parametrize("name", ["there.html", "link.svg", "none/sheet.html", "sheet.pdf", "sheet", "sheet.HTML"])
def test_where_it_cannot_be_written_no_token_is_made(twofold: Twofold, tmp_path: Path, name: str) -> None:
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "link.svg").symlink_to(tmp_path / "elsewhere")
    result = twofold("token", "enroll", "alice", "--sheet", str(tmp_path / name))
    assert (result.status, result.out) == (2, "")
    assert "--sheet" in result.sentence
    assert (tmp_path / "there.html").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "site") == ["link.svg", "there.html"]
    assert twofold.done("token", "list", "--json").json == []


def test_it_goes_again_if_no_token_was_made(twofold: Twofold, tmp_path: Path) -> None:
    twofold.done("token", "enroll", "alice", "--serial", "TF-1", "--json")
    assert twofold("token", "enroll", "alice", "--serial", "TF-1", "--sheet", str(tmp_path / "s.svg")).status == 1
    assert twofold("token", "enroll", "nobody", "--sheet", str(tmp_path / "s.svg")).status == 1
    assert not (tmp_path / "s.svg").exists()


def test_a_full_disk_leaves_no_half_sheet_and_says_what_is_left(twofold: Twofold, tmp_path: Path) -> None:
    """/dev/full would not be new, so the size of a file is limited: no sheet fits into 1 KiB."""
    import resource
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    twofold.done("token", "list")
    try:
        from store.cli.sheet import Sheet

        real = Sheet.render

        def late(sheet: Sheet, suffix: str) -> bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
            return real(sheet, suffix)

        Sheet.render = late  # type: ignore[method-assign, assignment]
        result = twofold("token", "enroll", "alice", "--serial", "TF-9", "--sheet", str(tmp_path / "s.html"))
    finally:
        Sheet.render = real  # type: ignore[method-assign]
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert result.status == 1
    assert "The token exists all the same; take it back with: twofold token revoke TF-9" in result.sentence
    assert not (tmp_path / "s.html").exists()
