"""`twofold token import`: what is imported works at once, what is refused changes nothing, and either is said."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from store.formats import pskc_writer
from store.formats.reading import Seed
from tests.site import TWOFOLD, Site
from tests.store import raw
from tests.store.cli.boxes import Desk, T, case, feitian, write
from tests.store.cli.command import Result, Twofold

HEX = "3132333435363738393031323334353637383930"
ROW = f"BOX-1,{HEX},hotp,6\n"
OTHER = "BOX-2,eb591df6296c80308f86ee68e246755c2a0bd2a9,totp,8,30\n"


@pytest.fixture
def desk(site: Site) -> Desk:
    return Desk(site)


def tokens(twofold: Twofold) -> list[str]:
    return [row["serial"] for row in twofold.done("token", "list", "--json").json]


def untouched(site: Site, result: Result, status: int) -> None:
    """Refused, in words, with nothing changed and no traceback."""
    assert result.status == status, result
    assert "Traceback" not in result.out + result.err
    assert raw.rows(site.config.database, "SELECT count(*) FROM tokens") == [(0,)]
    assert [row["event"] for row in site.audit()] == ["store-create"]


# --- the cases: codes of VECTORS.md are accepted in logins, once

ACCEPTED = [
    ("I07a-yubikey-aes.pskc", "19999903", ["ccccccrcvvuuguredkrurhjfbtnrvhhrrvddvlcncvnr"]),
    ("I08-yubico-traditional.csv", "cccccccccccc-slot-1", ["793078", "799475"]),
    ("I08-yubico-traditional.csv", "slot-2", ["78178488", "32021072"]),
    ("I09-yubico-format.csv", "508326", ["679761", "395337"]),
    ("I09-yubico-format.csv", "1382042", ["673019", "755042"]),
    ("I10-oath-defaults.csv", "Token001", ["579632", "101429"]),
    ("I10-oath-defaults.csv", "Token002", ["22506643", "70623692"]),
    ("I10-oath-defaults.csv", "Token003", ["252984", "929683"]),
    ("I10-oath-defaults.csv", "Token004", ["374060", "262092"]),
    ("I12-entra-bom.csv", "0001234567", ["498150", "163023"]),
    ("I12-entra-bom.csv", "0001234568", ["171086", "416440"]),
    ("I16-crlf-blank-comment.csv", "000123", ["905314", "848476"]),
    ("I16-crlf-blank-comment.csv", "000124", ["290271", "846154"]),
    ("I19-hotp-counter.csv", "HC1", ["718353", "326873"]),
    ("I19-hotp-counter.csv", "HC2", ["68628009", "59753183"]),
    ("feitian", "2600215700001", ["389661", "078826"]),
    ("feitian", "1000117800002", ["670344", "566229"]),
]


@pytest.mark.statement("O-092", "O-105")
@pytest.mark.parametrize(
    ("name", "serial", "codes"), ACCEPTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_codes_of_the_cases_are_accepted_once_each(
    twofold: Twofold, site: Site, desk: Desk, tmp_path: Path, name: str, serial: str, codes: list[str]
) -> None:
    file = str(feitian(tmp_path)) if name == "feitian" else case(name)
    site.add_user("carol", None)
    twofold.done("token", "import", file, "--no-users")
    twofold.done("token", "assign", serial, "carol")
    period = site.token_row(serial)["period"]
    assert isinstance(period, int)
    for n, code in enumerate(codes):
        desk.moments.now = T + n * period
        assert desk.lets_in("carol", code), code
        assert not desk.lets_in("carol", code), "each only once"


def test_i19_what_came_before_the_counter_is_refused(twofold: Twofold, site: Site, desk: Desk) -> None:
    site.add_user("carol", None)
    twofold.done("token", "import", case("I19-hotp-counter.csv"), "--user", "carol")
    assert {site.token_row(serial)["moving_factor"] for serial in ("HC1", "HC2")} == {1234, 60}
    twofold.done("token", "revoke", "HC1")
    assert desk.lets_in("carol", "59753183")
    assert not desk.lets_in("carol", "68628009")


@pytest.mark.statement("O-104")
def test_i01_the_expired_one_is_imported_with_a_warning_and_lets_nobody_in(
    twofold: Twofold, site: Site, desk: Desk, tmp_path: Path
) -> None:
    site.add_user("carol", None)
    result = twofold.done("token", "import", str(feitian(tmp_path)), "--user", "carol")
    assert "2600215700003): its time is over, so nobody can log in with it" in result.out
    assert [site.token_row(s)["period"] for s in ("2600215700001", "2600215700003")] == [60, 60]
    twofold.done("token", "revoke", "2600215700001")
    twofold.done("token", "revoke", "1000117800002")
    assert not desk.lets_in("carol", "696616")


def test_o04_an_assumed_time_step_is_said_and_can_be_given(twofold: Twofold, site: Site) -> None:
    said = twofold.done("token", "import", case("I10-oath-defaults.csv"), "--dry-run").out
    assert "line 2: the file does not say, so: a time step of 30 s" in said
    twofold.done("token", "import", case("I10-oath-defaults.csv"), "--period", "60")
    assert [site.token_row(s)["period"] for s in ("Token002", "Token004", "Token001")] == [60, 60, 30]
    shown = twofold.done("token", "show", "Token004").out
    assert "period         60" in shown


def test_i02_a_password_with_a_line_end_opens_it_and_no_other(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    password = Path(case("I02-password.txt")).read_bytes()
    assert password.endswith(b"\n")
    untouched(site, twofold("token", "import", case("I02-pbe.pskc")), 2)
    wrong = twofold("token", "import", case("I02-pbe.pskc"), "--password-stdin", stdin="qwerty")
    untouched(site, wrong, 2)
    assert "password" in wrong.sentence
    assert "qwerty" not in wrong.err
    twofold.done("token", "import", case("I02-pbe.pskc"), "--password-stdin", stdin=password)
    assert tokens(twofold) == ["ZZ8000000101", "ZZ8000000102"]


def test_i02_its_codes(twofold: Twofold, site: Site, desk: Desk) -> None:
    site.add_user("carol", None)
    password = Path(case("I02-password.txt")).read_bytes()
    twofold.done("token", "import", case("I02-pbe.pskc"), "--password-stdin", stdin=password)
    twofold.done("token", "assign", "ZZ8000000101", "ZZ8000000102", "--user", "carol")
    assert desk.lets_in("carol", "38670697")
    assert desk.lets_in("carol", "919955")
    assert desk.lets_in("carol", "083453")


@pytest.mark.statement("O-106")
def test_i14_the_bad_row_is_named_without_its_key(twofold: Twofold, site: Site) -> None:
    site.add_user("bob@example.org", None)
    result = twofold("token", "import", case("I14-hex-in-base32-column.csv"), "--no-users")
    assert result.status == 1
    assert "line 2: secret key:" in result.out
    assert "looks like hex" in result.out
    assert "Nothing was imported. With --skip-bad the 1 would be; without it none." in result.out
    assert "504f866d" not in result.out.lower()
    assert tokens(twofold) == []
    taken = twofold.done("token", "import", case("I14-hex-in-base32-column.csv"), "--no-users", "--skip-bad")
    assert "line 2: secret key:" in taken.out
    assert tokens(twofold) == ["1000002"]


def test_i08_no_row_vanishes(twofold: Twofold) -> None:
    result = twofold.done("token", "import", case("I08-yubico-traditional.csv"))
    assert "imported    3" in result.out
    assert "skipped     1      line 5: a static password" in result.out
    assert "line 4: serial slot-2 was made, since the file gives none" in result.out


# --- what is no token file


@pytest.mark.statement("O-102", "O-103")
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\r\n", "empty"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\x03\x04abc", "a ZIP archive or an Excel workbook"),
        (b'{"tokens": []}', "JSON of some other program"),
        (b"<html><body>404</body></html>", "a web page"),
        (b"\x00\x01\x02\x03", "no text"),
        (b"hello, world\n", "none of the known formats"),
    ],
)
def test_what_is_no_token_file_is_said_to_be_what_it_is(
    twofold: Twofold, site: Site, tmp_path: Path, content: bytes, why: str
) -> None:
    result = twofold("token", "import", str(write(tmp_path, "box.csv", content)))
    untouched(site, result, 2)
    assert result.out == ""
    assert f"{tmp_path}/box.csv: the file is" in result.sentence
    assert why in result.sentence


@pytest.mark.statement("O-102", "O-103")
@pytest.mark.parametrize("name", ["I05-not-pskc.xml", "I07b-yubikey-aes-truncated.pskc", "I21-xml-bomb.xml"])
def test_files_of_the_cases_that_must_be_refused(twofold: Twofold, site: Site, name: str) -> None:
    result = twofold("token", "import", case(name))
    untouched(site, result, 2)
    assert name in result.sentence
    explained = {"I05": "web page", "I07": "the file is incomplete", "I21": "DTD"}[name[:3]]
    assert explained in result.sentence


def test_i05_a_pskc_file_may_be_called_anything(twofold: Twofold, tmp_path: Path) -> None:
    feitian(tmp_path).rename(tmp_path / "box.csv")
    twofold.done("token", "import", str(tmp_path / "box.csv"))
    assert len(tokens(twofold)) == 3


def test_what_may_never_end_is_not_read(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """A pipe that nobody writes into, a device, a directory, and a file that is not there."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, why in (
        (str(tmp_path / "pipe"), "is no regular file"),
        ("/dev/zero", "is no regular file"),
        (str(tmp_path / "link"), "is no regular file"),
        (str(tmp_path), "is a directory"),
        (str(tmp_path / "none"), "cannot be read: No such file or directory"),
    ):
        for command in (["token", "import"], ["user", "import"], ["token", "assign", "--from"]):
            result = twofold(*command, name)
            untouched(site, result, 2)
            assert name in result.sentence
            assert why in result.sentence


def test_a_link_to_a_file_is_followed(twofold: Twofold, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path, "box.csv", ROW))
    twofold.done("token", "import", str(tmp_path / "link"))
    assert tokens(twofold) == ["BOX-1"]


def test_a_text_of_65_mib_is_refused(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = write(tmp_path, "box.csv", ROW)
    with file.open("ab") as opened:
        opened.truncate(65 << 20)  # zero octets
    untouched(site, twofold("token", "import", str(file)), 2)
    file.write_bytes((ROW + "# " + "x" * 62 + "\n").encode() + (b"#" * 63 + b"\n") * (1 << 20) + b"#" * (1 << 20))
    result = twofold("token", "import", str(file))
    untouched(site, result, 2)
    assert "more than 64 MiB; split it" in result.sentence


def test_more_than_any_format_takes_is_not_read_to_its_end(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    with write(tmp_path, "box.xml", b"<KeyContainer>").open("ab") as opened:
        opened.truncate(300 << 20)
    result = twofold("token", "import", str(tmp_path / "box.xml"))
    untouched(site, result, 2)
    assert "more than 256 MiB; split it" in result.sentence


def test_pskc_of_65_mib_is_taken(twofold: Twofold, tmp_path: Path) -> None:
    """It takes a thousand octets for a key, so it may be larger than a text."""
    text = feitian(tmp_path).read_bytes().replace(b"</KeyContainer>", (b" " * 1023 + b"\n") * (65 << 10))
    file = write(tmp_path, "box.xml", text + b"</KeyContainer>")
    assert "ready       3" in twofold.done("token", "import", str(file), "--dry-run").out


# --- all or nothing; what is there


def test_a_rehearsal_says_the_same_and_changes_nothing(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = str(write(tmp_path, "box.csv", ROW + OTHER))
    before = raw.contents(site.config.database)
    rehearsed = twofold.done("token", "import", file, "--dry-run", "--json").json
    assert raw.contents(site.config.database) == before
    assert "ready       2" in twofold.done("token", "import", file, "--dry-run").out
    done = twofold.done("token", "import", file, "--json").json
    assert (rehearsed.pop("imported"), done.pop("imported")) == (False, True)
    assert rehearsed == done
    assert done["ready"] == 2


def test_again_all_is_unchanged_and_that_is_no_error(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = str(write(tmp_path, "box.csv", ROW + OTHER))
    twofold.done("token", "import", file)
    before = raw.contents(site.config.database)
    again = twofold.done("token", "import", file)
    assert "unchanged   2   (same key and serial already here)" in again.out
    assert raw.contents(site.config.database) == before


@pytest.mark.statement("O-103")
def test_nothing_is_ever_overwritten(twofold: Twofold, tmp_path: Path, site: Site) -> None:
    twofold.done("token", "import", str(write(tmp_path, "box.csv", ROW)))
    before = raw.contents(site.config.database)
    for changed, why in (
        (ROW.replace("3930,", "3931,"), "serial BOX-1 is here already, and is another token; nothing is overwritten"),
        (ROW.replace("hotp", "totp"), "serial BOX-1 is here already, and is another token"),
        (ROW.replace(",6", ",8"), "serial BOX-1 is here already, and is another token"),
        (ROW.replace("BOX-1", "BOX-9"), "its key is here already, as BOX-1; a key belongs to one token"),
        (OTHER + OTHER.replace("BOX-2", "BOX-3"), "the same key stands twice in the file, first at line 1"),
        (OTHER + OTHER.replace("eb", "ec"), "serial BOX-2 stands twice in the file, first at line 1"),
    ):
        result = twofold("token", "import", str(write(tmp_path, "other.csv", changed)))
        assert result.status == 1
        assert why in result.out
        assert raw.contents(site.config.database) == before


@pytest.mark.statement("O-103")
def test_one_bad_row_keeps_all_out_unless_it_is_to_be_skipped(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = str(write(tmp_path, "box.csv", ROW + "BOX-9,1j12,hotp,6\n" + OTHER))
    result = twofold("token", "import", file, "--json")
    untouched(site, result, 1)
    assert (result.json["imported"], result.json["ready"], result.json["refused"]) == (False, 2, 1)
    assert [row["fate"] for row in result.json["rows"]] == ["ready", "refused", "ready"]
    skipped = twofold.done("token", "import", file, "--skip-bad", "--json").json
    assert (skipped["imported"], skipped["ready"], skipped["refused"]) == (True, 2, 1)
    assert tokens(twofold) == ["BOX-1", "BOX-2"]
    assert twofold("token", "import", file, "--skip-bad").status == 1, "nothing more could be imported"


def test_bad_rows_alone_are_refused_even_if_they_may_be_skipped(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = str(write(tmp_path, "box.csv", "serial,seed,type,digits\nBOX-9,1j12,hotp,6\n"))
    result = twofold("token", "import", file, "--skip-bad")
    untouched(site, result, 1)
    assert "Nothing was imported, and nothing could be." in result.out


def test_of_many_refused_rows_the_first_are_listed(twofold: Twofold, tmp_path: Path) -> None:
    rows = "serial,seed,type,digits\n" + "".join(f"B{n},1j12,hotp,6\n" for n in range(60))
    file = str(write(tmp_path, "box.csv", rows))
    text = twofold("token", "import", file).out
    assert text.count("1j12") == 0
    assert "line 51:" in text
    assert "line 52:" not in text
    assert "and 10 more; --json lists all" in text
    assert len(twofold("token", "import", file, "--json").json["rows"]) == 60


# --- how it comes from Windows


@pytest.mark.statement("C-035")
@pytest.mark.parametrize(
    "mangled",
    [
        b"\xef\xbb\xbf" + ROW.encode(),
        ROW.replace("\n", "\r\n").encode(),
        ROW.replace("\n", "\r").encode(),
        ROW.replace(",", ";").encode(),
        ROW.replace(",", "\t").encode(),
        ROW.replace(",", " , ").encode(),
        ROW.strip().encode() + b"\r\n\r\n\x1a",
        b"# order 4711\n\n" + ROW.encode() + b"   \n",
        b"serial,seed,type,digits\n" + ROW.encode(),
        b"sep=;\r\n" + ROW.replace(",", ";").encode(),
        ROW.encode("utf-16"),
        ROW.replace(HEX, HEX.upper()).encode(),
    ],
    ids=["bom", "crlf", "cr", "semicolon", "tab", "blanks", "ctrl-z", "comment", "header", "sep", "utf-16", "upper"],
)
def test_what_windows_makes_of_a_file_is_the_same_file(
    twofold: Twofold, site: Site, tmp_path: Path, mangled: bytes
) -> None:
    twofold.done("token", "import", str(write(tmp_path, "plain.csv", ROW)))
    again = twofold.done("token", "import", str(write(tmp_path, "box.csv", mangled)))
    assert "unchanged   1" in again.out


def test_a_serial_that_excel_took_for_a_number_is_explained(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    result = twofold("token", "import", str(write(tmp_path, "box.csv", ROW.replace("BOX-1", "2.60022E+12"))))
    untouched(site, result, 1)
    assert "serial" in result.out


# --- options


def test_whose_they_are(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """What the file says, else --user, or nobody; an unknown user is named with what to do."""
    entra = case("I12-entra-bom.csv")
    unknown = twofold("token", "import", entra)
    untouched(site, unknown, 1)
    assert "user alice@example.org is not known; twofold user add alice@example.org" in unknown.out
    for name in ("alice@example.org", "bob@example.org", "carol"):
        site.add_user(name, None)
    twofold.done("token", "import", entra, "--user", "carol")
    assert [site.token_row(s)["user"] for s in ("0001234567", "0001234568")] == ["alice@example.org", "bob@example.org"]
    twofold.done("token", "import", str(write(tmp_path, "box.csv", ROW)), "--user", "carol")
    assert site.token_row("BOX-1")["user"] == "carol"
    twofold.done("token", "import", str(write(tmp_path, "other.csv", OTHER)))
    assert site.token_row("BOX-2")["user"] is None
    both = twofold("token", "import", entra, "--user", "carol", "--no-users")
    assert (both.status, both.sentence) == (2, "Error: --user and --no-users exclude each other")


def test_no_users_leaves_them_in_the_drawer(twofold: Twofold, site: Site) -> None:
    site.add_user("alice@example.org", None)
    twofold.done("token", "import", case("I12-entra-bom.csv"), "--no-users")
    assert [site.token_row(s)["user"] for s in ("0001234567", "0001234568")] == [None, None]
    assert [r["serial"] for r in twofold.done("token", "list", "--unassigned", "--json").json] == [
        "0001234567",
        "0001234568",
    ]


@pytest.mark.parametrize(
    ("options", "box", "app"), [((), "admin", "self"), (("--origin", "self"), "self", "self"),
                                (("--origin", "admin"), "admin", "admin")],
)  # fmt: skip
def test_who_brought_them(
    twofold: Twofold, site: Site, tmp_path: Path, options: tuple[str, ...], box: str, app: str
) -> None:
    uri = "otpauth://totp/Shop:alice?secret=5NMR35RJNSADBD4G5ZUOERTVLQVAXUVJ&issuer=Shop\n"
    twofold.done("token", "import", str(write(tmp_path, "box.csv", ROW)), *options)
    twofold.done("token", "import", str(write(tmp_path, "apps.txt", uri)), "--no-users", *options)
    origins = {row["origin"] for row in twofold.done("token", "list", "--json").json if row["serial"] != "BOX-1"}
    assert (site.token_row("BOX-1")["origin"], origins) == (box, {app})


def test_the_format_may_be_named(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = str(write(tmp_path, "box.csv", ROW))
    assert "oath-csv" in twofold.done("token", "import", file, "--format", "oath-csv", "--dry-run").out
    assert "oath-csv" in twofold.done("token", "import", file, "--format", "auto", "--dry-run").out
    untouched(site, twofold("token", "import", file, "--format", "pskc"), 2)
    unknown = twofold("token", "import", file, "--format", "docx")
    untouched(site, unknown, 2)
    assert "there is no such format; pskc, safenet, linotp" in unknown.sentence


def test_a_short_key_is_taken_only_when_asked_for(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    file = str(write(tmp_path, "box.csv", f"BOX-1,{HEX[:30]},hotp,6\n"))
    result = twofold("token", "import", file)
    untouched(site, result, 1)
    assert "120 bits; at least 128 are asked for (RFC 4226). --allow-short-key takes it" in result.out
    twofold.done("token", "import", file, "--allow-short-key")


KEY = bytes(range(200, 232))
SPELLINGS = {
    "hex": KEY.hex().encode(),
    "hex and a line end": KEY.hex().upper().encode() + b"\r\n",
    "base64": b"yMnKy8zNzs/Q0dLT1NXW19jZ2tvc3d7f4OHi4+Tl5uc=\n",
    "url-safe base64": b"yMnKy8zNzs_Q0dLT1NXW19jZ2tvc3d7f4OHi4-Tl5uc=",
    "raw": KEY,
    "raw and a line end": KEY + b"\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_key_file_holds_the_key_in_any_spelling(twofold: Twofold, tmp_path: Path, spelling: str) -> None:
    seed = Seed("", "hotp", HEX.encode(), serial="BOX-1")
    file = str(write(tmp_path, "box.pskc", pskc_writer.with_key([seed], KEY)))
    key = str(write(tmp_path, "key", SPELLINGS[spelling]))
    twofold.done("token", "import", file, "--key-file", key)
    assert tokens(twofold) == ["BOX-1"]


@pytest.mark.parametrize("content", [b"", b"\n", KEY.hex()[:-1].encode(), KEY[:-1], b"0" * 64, KEY * 40])
def test_a_wrong_key_file_is_refused_without_its_content(
    twofold: Twofold, site: Site, tmp_path: Path, content: bytes
) -> None:
    file = str(write(tmp_path, "box.pskc", pskc_writer.with_key([Seed("", "hotp", b"k" * 20, serial="B")], KEY)))
    result = twofold("token", "import", file, "--key-file", str(write(tmp_path, "key", content)))
    untouched(site, result, 2)
    assert KEY.hex()[:16] not in result.err
    untouched(site, twofold("token", "import", file, "--key-file", str(tmp_path / "none")), 2)


# --- serials that were made


def test_serials_that_were_made_stay_the_same(twofold: Twofold, tmp_path: Path) -> None:
    rows = "".join(f"OATH-HOTP,11.12.25 18:55,2,,,{n:040x},,,0,0,0,6,0,0,0,0,0,0\n" for n in range(2**150, 2**150 + 3))
    file = str(write(tmp_path, "log.csv", "# Traditional Format:\n" + rows))
    twofold.done("token", "import", file)
    made = tokens(twofold)
    assert made == ["slot-2", "slot-2-2", "slot-2-3"]
    assert "unchanged   3" in twofold.done("token", "import", file).out
    assert tokens(twofold) == made


def google(number: int) -> str:
    return f'{"ABCDEFGH"[number] * 32}\n" TOTP_AUTH\n" DISALLOW_REUSE\n12345678\n8765432{number}\n'


def test_files_of_one_name_are_told_apart_by_their_users(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """Every home has a .google_authenticator."""
    for number, name in enumerate(("alice", "bob")):
        site.add_user(name, None)
        (tmp_path / name).mkdir()
        file = write(tmp_path / name, ".google_authenticator", google(number))
        twofold.done("token", "import", str(file), "--user", name)
    assert {s: site.token_row(s)["user"] for s in tokens(twofold) if not s.endswith("-codes")} == {
        "alice-google_authenticator": "alice",
        "bob-google_authenticator": "bob",
    }


def test_scratch_codes_work_once_and_those_used_before_do_not(
    twofold: Twofold, site: Site, desk: Desk, tmp_path: Path
) -> None:
    site.add_user("alice", None)
    file = write(tmp_path, ".google_authenticator", google(0))
    said = twofold.done("token", "import", str(file), "--user", "alice").out
    assert "2 recovery codes come along, as alice-google_authenticator-codes; of 8 digits each, they are weak" in said
    assert desk.lets_in("alice", "12345678")
    assert not desk.lets_in("alice", "12345678")
    twofold.done("token", "import", str(file), "--user", "alice")
    assert not desk.lets_in("alice", "12345678"), "a second import brings nothing back"
    assert desk.lets_in("alice", "87654320")
    assert "weak: codes of 8 digits, imported" in twofold.done("token", "show", "alice-google_authenticator-codes").out


def test_scratch_codes_of_nobodys_token_are_said_to_stay_behind(twofold: Twofold, tmp_path: Path) -> None:
    said = twofold.done("token", "import", str(write(tmp_path, ".google_authenticator", google(0)))).out
    assert "2 recovery codes not carried over: the token is nobody's" in said
    assert tokens(twofold) == ["google_authenticator"]


# --- assign, unassign


@pytest.fixture
def box(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        site.add_user(name, None)
    twofold.done("token", "import", str(write(tmp_path, "box.csv", ROW + OTHER)))


@pytest.mark.parametrize("way", [("BOX-1", "alice"), ("BOX-1", "--user", "alice")])
def test_a_token_is_given_and_taken_back(twofold: Twofold, site: Site, box: None, way: tuple[str, ...]) -> None:
    twofold.done("token", "assign", *way)
    assert site.token_row("BOX-1")["user"] == "alice"
    again = twofold("token", "assign", "BOX-1", "bob")
    assert again.status == 1
    assert "has an owner; twofold token unassign BOX-1" in again.sentence
    twofold.done("token", "unassign", "BOX-1")
    assert site.token_row("BOX-1")["user"] is None


@pytest.mark.parametrize(
    "arguments", [(), ("BOX-1",), ("BOX-1", "BOX-2", "alice"), ("--user", "alice"), ("BOX-1", "--from", "x.csv")]
)
def test_what_is_missing_is_asked_for(twofold: Twofold, site: Site, box: None, arguments: tuple[str, ...]) -> None:
    result = twofold("token", "assign", *arguments)
    assert (result.status, result.out) == (2, "")
    assert site.token_row("BOX-1")["user"] is None


@pytest.mark.parametrize("header", ["", "Serial,User\n", "# who gets what\n\nserial;user\r\n"])
def test_a_list_hands_out_a_box(twofold: Twofold, site: Site, box: None, tmp_path: Path, header: str) -> None:
    comma = ";" if ";" in header else ","
    pairs = f"{header}BOX-1{comma}alice\nBOX-2{comma}bob\n"
    result = twofold.done("token", "assign", "--from", str(write(tmp_path, "pairs.csv", pairs)))
    assert "assigned    2" in result.out
    assert [site.token_row(s)["user"] for s in ("BOX-1", "BOX-2")] == ["alice", "bob"]
    assert "unchanged   2" in twofold.done("token", "assign", "--file", "-", stdin=pairs).out


def test_serials_alone_go_to_one_user(twofold: Twofold, site: Site, box: None) -> None:
    twofold.done("token", "assign", "--from", "-", "--user", "alice", stdin="BOX-1\nBOX-2\n")
    assert [site.token_row(s)["user"] for s in ("BOX-1", "BOX-2")] == ["alice", "alice"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("NONE,alice", "line 2: there is no token 'NONE'"),
        ("BOX-2,nobody", "line 2: there is no user 'nobody'"),
        ("BOX-1,bob", "line 2: token BOX-1 stands twice in the list, first at line 1"),
    ],
)
def test_one_bad_line_keeps_all_in_the_drawer(
    twofold: Twofold, site: Site, box: None, tmp_path: Path, line: str, why: str
) -> None:
    result = twofold("token", "assign", "--from", str(write(tmp_path, "pairs.csv", f"BOX-1,alice\n{line}\n")))
    assert result.status == 1
    assert why in result.out
    assert "Nothing was assigned." in result.out
    assert site.token_row("BOX-1")["user"] is None


@pytest.mark.parametrize("text", ["", "BOX-1\n", "BOX-1,alice,x\n", ",alice\n", "BOX-1,\n"])
def test_a_list_of_another_form_is_refused(twofold: Twofold, site: Site, box: None, text: str) -> None:
    assert twofold("token", "assign", "--from", "-", stdin=text).status == 2
    assert site.token_row("BOX-1")["user"] is None


def test_a_list_counts_what_each_user_gets(twofold: Twofold, site: Site, box: None) -> None:
    twofold.done("policy", "set", "max_registrations", "1")
    result = twofold("token", "assign", "--from", "-", stdin="BOX-1,alice\nBOX-2,alice\n")
    assert result.status == 1
    assert "line 2: alice would have more than 1 registrations" in result.out


# --- a bar


def test_a_bar_is_shown_on_a_terminal_and_changes_nothing_of_what_is_printed(site: Site, tmp_path: Path) -> None:
    rows = "".join(f"B{n},{os.urandom(20).hex()},hotp,6\n" for n in range(1200))
    file = write(tmp_path, "box.csv", rows)
    main, other = os.openpty()
    command = [*TWOFOLD, "--config", str(site.config_file), "token", "import", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=other, stdin=subprocess.DEVNULL, check=True)
    os.close(other)
    seen = os.read(main, 65536)
    os.close(main)
    assert b"Sealing" in seen
    again = site.command("token", "import", str(file))
    assert again.stderr == ""
    assert b"imported    1200" in done.stdout
    assert json.loads(site.command("token", "import", str(file), "--json").stdout)["unchanged"] == 1200


def test_the_store_keeps_its_mode(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    twofold.done("token", "import", str(write(tmp_path, "box.csv", ROW)))
    assert stat.S_IMODE(site.config.database.stat().st_mode) == 0o600
