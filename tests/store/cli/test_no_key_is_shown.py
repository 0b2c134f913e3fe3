"""No command writes a key anywhere but into an encrypted file and the sealed columns: all that was written is searched.

Every sample, good and bad, goes through every command that reads files, with debug logging on; then through report,
list, show, test and export. A key is searched for as octets, in hexadecimal, Base32 and Base64, whole and in part.
"""

import base64
import io
import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.formats import pskc_writer
from store.formats.reading import Seed
from tests.site import Site
from tests.store import raw
from tests.store.cli.boxes import case, feitian, write
from tests.store.cli.command import Twofold
from tests.store.formats.files import CASES

KEY = bytes(range(100, 132))  # what files are encrypted with
SEED = b"\xa7seed of the tests \xee\x01"
HEX, BASE32 = SEED.hex(), base64.b32encode(SEED).decode().rstrip("=")
ODD = HEX[:-1]
CODES = ("73910462", "11830375")
PASSWORD = "Schlüssel-zum-Koffer"
BAD = {
    "odd.csv": f"serial,seed,type,digits\nS1,{ODD},hotp,6\nS2,{HEX}zz,hotp,6\n",
    "swapped.csv": f"serial,seed,type,digits\n{HEX},S1,hotp,6\n",
    "fields.csv": f"serial,seed,type,digits\nS1,{HEX},{HEX},6\nS2,{HEX},hotp,{HEX}\nS3,{HEX},totp,6,{HEX}\n",
    "quote.csv": f'serial,seed,type,digits\nS1,"{HEX},hotp,6\n',
    "twice.csv": f"S1,{HEX},hotp,6\nS2,{HEX},hotp,6\n",
    "digits.csv": f"S1,{HEX},hotp,9\n",
    "entra.csv": "upn,serial number,secret key,time interval,manufacturer,model\n"
    f"a,S1,{HEX},30,C,H\nb,{BASE32},S2,30,C,H\n",
    "apps.txt": f"otpauth://totp/a?secret={BASE32}1&digits=6\notpauth://totp/b?secret={BASE32}&digits={HEX}\n",
    "users.oath": f"HOTP alice - {ODD}\nHOTP/T30/{HEX} bob - {HEX}\nHOTP {HEX}\n",
    ".google_authenticator": f'{BASE32}1\n" TOTP_AUTH\n{CODES[0]}\n{BASE32}\n',
    "pi.yaml": f"- serial: S1\n  type: hotp\n  otpkey: {ODD}\n",
    "pi.json": f'[{{"serial": "S1", "type": "hotp", "otpkey": "{HEX}zz"}}]',
    "alpine.xml": f"<Tokens><Token serial='S1'><Seed>{HEX}</Seed></Token>",
    "users.csv": f"name,password_hash\nalice,{HEX}\n",
    "pairs.csv": f"S1,{HEX}\n",
    "pairs2.csv": f"G1,{HEX}\n",
}
BROKEN = (
    '<KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc"><KeyPackage><DeviceInfo><SerialNo>P1'
    '</SerialNo></DeviceInfo><Key Id="P1" Algorithm="{algorithm}"><Data>'
    "<Secret><PlainValue>{secret}</PlainValue></Secret><Counter><PlainValue>{counter}</PlainValue></Counter></Data></Key></KeyPackage></KeyContainer>"
)
BASE64 = base64.b64encode(SEED).decode()
HOTP = "urn:ietf:params:xml:ns:keyprov:pskc:hotp"
BAD |= {
    "secret.xml": BROKEN.format(algorithm=HOTP, secret=BASE64 + "!", counter=0),
    "counter.xml": BROKEN.format(algorithm=HOTP, secret=BASE64, counter=BASE64),
    "algorithm.xml": BROKEN.format(algorithm="none", secret=BASE64, counter=0),
    "cut.xml": BROKEN.format(algorithm=HOTP, secret=BASE64, counter=0)[:-60],
}
GOOD = {
    "good.csv": f"serial,seed,type,digits\nG1,{HEX},hotp,6\n",
    "good.google": f'{base64.b32encode(SEED[::-1]).decode()}\n" TOTP_AUTH\n" DISALLOW_REUSE\n{CODES[0]}\n{CODES[1]}\n',
}


def spellings(key: bytes) -> set[bytes]:
    """Ways to write a key, and pieces long enough to be no accident."""
    hexadecimal, base_32 = key.hex().encode(), base64.b32encode(key).rstrip(b"=")
    whole = {hexadecimal, base_32, base_32.lower(), base64.b64encode(key).rstrip(b"="), key}
    whole |= {hexadecimal.upper(), base64.urlsafe_b64encode(key).rstrip(b"="), repr(key)[2:-1].encode()}
    return {piece for text in whole for piece in (text, text[:14], text[-14:])}


def keys_in_cases() -> Iterator[bytes]:
    """Every run of hexadecimal or Base32 in the sample files that is as long as a key."""
    for file in CASES.iterdir():
        for found in re.findall(rb"\b[0-9a-fA-F]{32,64}\b", file.read_bytes()):
            yield bytes.fromhex(found.decode())
        for found in re.findall(rb"\b[A-Za-z2-7]{32}\b", file.read_bytes()):
            yield base64.b32decode(found.upper())


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that any logger says at any level."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.statement("O-106", "O-103")
def test_all_that_was_written_holds_no_key(
    twofold: Twofold, site: Site, tmp_path: Path, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("alice", "alice@example.org", "bob@example.org"):
        site.add_user(name, None)
    key_file, password = str(write(tmp_path, "key", KEY.hex())), PASSWORD + "\n"
    wrong = str(write(tmp_path, "wrong", KEY[::-1].hex()))
    seeds = [Seed("", "hotp", SEED[1:] + b"p", serial="P9", user="alice", recovery_codes=CODES)]
    files = [write(tmp_path, name, text) for name, text in (GOOD | BAD).items()]
    files += [write(tmp_path, "locked.pskc", pskc_writer.with_key(seeds, KEY)), feitian(tmp_path)]
    files += sorted(CASES.iterdir())
    written = io.StringIO()
    out = str(tmp_path / "out.pskc")

    def run(*arguments: str, stdin: str = "") -> None:
        result = twofold(*arguments, stdin=stdin)
        assert "Traceback" not in result.err, result
        written.write(result.out + result.err)

    for file, more in itertools.product(
        files, (["--dry-run"], ["--skip-bad"], ["--json"], ["--user", "alice", "--json"])
    ):
        run("token", "import", str(file), *more, "--key-file", wrong)
        run("token", "import", str(file), *more, "--key-file", key_file)
    for file in files:
        run("token", "import", str(file), "--password-stdin", stdin=password)
        run("user", "import", str(file), "--json")
        run("token", "assign", "--from", str(file))
        run("token", "import", str(file), "--key-file", str(file))
    run("token", "import", case("I02-pbe.pskc"), "--password-stdin", stdin=Path(case("I02-password.txt")).read_text())
    for arguments in (["list"], ["list", "--json"], ["report"], ["report", "--csv"], ["report", "--json"]):
        run("token", *arguments)
    serials = [row["serial"] for row in twofold.done("token", "list", "--json").json]
    assert len(serials) > 15
    for serial in serials:
        run("token", "show", serial)
        run("token", "test", serial, "000000")
    run("token", "export", out, "--all", "--key-file", key_file)
    run("token", "export", out, "--all", "--key-file", key_file)
    run("token", "export", str(tmp_path / "second"), "--all", "--password-stdin", stdin=password)
    for arguments in (["list"], ["list", "--json"], ["verify"]):
        run("audit", *arguments)
    said = capfd.readouterr()
    told = (written.getvalue() + log.getvalue() + said.out + said.err).encode()
    store = raw.octets(site.config.database)
    exported = Path(out).read_bytes() + (tmp_path / "second").read_bytes()
    searched = {SEED, SEED[::-1], SEED[1:] + b"p", KEY, *keys_in_cases()}
    assert len(searched) > 15
    for place, octets in (("output or log", told), ("store", store), ("export", exported)):
        found = [text for key in searched for text in spellings(key) if text in octets]
        assert found == [], place
    for secret in (*CODES, PASSWORD):
        assert secret.encode() not in told + store + exported


def test_the_search_finds_what_it_is_for() -> None:
    for text in (HEX, HEX.upper()[:16], BASE32, BASE64, f"x{SEED!r}x", BASE32.lower()[-20:]):
        assert [piece for piece in spellings(SEED) if piece in text.encode()], text
