"""`twofold token test`, `report`, `export`: nothing is used up, nothing runs in a spreadsheet, and no key leaves before
that was written down."""

import csv
import io
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pskc import PSKC

from store.formats.choosing import choose
from store.formats.reading import Seed, Unlock
from tests.site import TWOFOLD, Site
from tests.store.cli.boxes import Desk, case, feitian, write
from tests.store.cli.command import Twofold
from validation.model import Factor

RFC_HEX = "3132333435363738393031323334353637383930"
RFC_KEY = bytes.fromhex(RFC_HEX)
KEY = bytes(range(32))


@pytest.fixture
def desk(site: Site) -> Desk:
    return Desk(site)


@pytest.fixture
def case0001(twofold: Twofold, site: Site, desk: Desk, tmp_path: Path) -> str:
    """The token that all cases begin with, at counter 30 (case O06)."""
    site.add_user("alice", None)
    row = f"serial,seed,type,digits,counter\nCASE0001,{RFC_HEX},hotp,6,30\n"
    twofold.done("token", "import", str(write(tmp_path, "box.csv", row)), "--user", "alice")
    return "CASE0001"


# --- test


def test_o21_a_test_uses_nothing_up_and_says_so(twofold: Twofold, site: Site, desk: Desk, case0001: str) -> None:
    before = site.token_row(case0001)
    for _ in range(3):
        assert twofold.done("token", "test", case0001, "026920").out == "CASE0001: right. It was not used up.\n"
    assert site.token_row(case0001) == before
    assert desk.lets_in("alice", "026920")
    used = twofold("token", "test", case0001, "026920")
    assert (used.status, used.out) == (1, "CASE0001: this PIN was used before.\n")


def test_o06_a_zero_in_front_counts(twofold: Twofold, desk: Desk, case0001: str) -> None:
    assert twofold("token", "test", case0001, "26920").status == 1
    assert not desk.lets_in("alice", "26920")
    twofold.done("token", "test", case0001, "026920")
    twofold.done("token", "test", case0001, "026 920")
    twofold.done("token", "test", case0001, stdin="026920\n")
    assert desk.lets_in("alice", "026920")


def test_o09_a_password_before_or_behind_is_no_part_of_the_pin(twofold: Twofold, desk: Desk, case0001: str) -> None:
    """A PIN typed alone is the passcode alone, in a test as in a login."""
    for typed in ("geheim026920", "026920geheim", "1234026920", "0269201234"):
        twofold.done("user", "unlock", "alice")
        assert twofold("token", "test", case0001, typed).status == 1
        assert not desk.lets_in("alice", typed)
    twofold.done("user", "unlock", "alice")
    twofold.done("token", "test", case0001, "026920")


@pytest.mark.statement("O-045")
def test_a_wrong_one_counts_like_a_wrong_pin_of_its_owner(twofold: Twofold, site: Site, case0001: str) -> None:
    for number in range(5):
        result = twofold("token", "test", case0001, f"99999{number}")
        assert (result.status, result.out) == (1, "CASE0001: this is no PIN that the token shows near now.\n")
    assert site.failures("alice") == {Factor.PASSCODE: 5}
    held = twofold("token", "test", case0001, "026920")
    assert held.status == 1
    assert "alice is waiting after failures; twofold user unlock alice" in held.sentence
    twofold.done("user", "unlock", "alice")
    twofold.done("token", "test", case0001, "026920")


def test_a_token_of_nobody_is_disabled_by_too_many(twofold: Twofold, site: Site, desk: Desk, tmp_path: Path) -> None:
    twofold.done("policy", "set", "disable_at", "10")
    twofold.done("token", "import", str(write(tmp_path, "box.csv", f"BOX-1,{RFC_HEX},hotp,6\n")))
    for number in range(10):
        twofold("token", "test", "BOX-1", f"99999{number}")
    assert site.token_row("BOX-1")["state"] == "disabled"
    assert twofold("token", "test", "BOX-1", "755224").status == 1


def test_what_cannot_be_tested_is_refused(twofold: Twofold, case0001: str) -> None:
    assert "there is no token 'NONE'" in twofold("token", "test", "NONE", "123456").sentence
    twofold.done("token", "disable", case0001)
    assert "twofold token enable CASE0001" in twofold("token", "test", case0001, "026920").sentence
    twofold.done("token", "revoke", case0001)
    assert twofold("token", "test", case0001, "026920").status == 1


def test_the_passcode_is_in_no_audit_row(twofold: Twofold, site: Site, case0001: str) -> None:
    twofold.done("token", "test", case0001, "026920")
    assert site.audit()[-1]["event"] == "token-test"
    assert "026920" not in repr(site.audit())


# --- list, show, report


def test_drift_beginning_and_end_are_shown_where_they_are_set(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    assert "drift" not in twofold.done("token", "list").out
    twofold.done("token", "import", str(feitian(tmp_path)))
    table = twofold.done("token", "list").out.splitlines()
    assert "expires" in table[0]
    assert "drift" not in table[0]
    assert [line for line in table if "2022-01-01" in line and "2600215700003" in line]
    shown = twofold.done("token", "show", "2600215700003").out
    assert "starts at      2012-01-01T00:00:00+00:00" in shown
    assert "expires at     2022-01-01T00:00:00+00:00" in shown
    site.add_user("bob", None)
    twofold.done("token", "import", str(write(tmp_path, ".google_authenticator", DRIFTING)), "--user", "bob")
    assert "drift" in twofold.done("token", "list").out.splitlines()[0]
    assert twofold.done("token", "list", "--user", "bob").out.splitlines()[1].endswith(" -4")
    assert "drift          -4" in twofold.done("token", "show", "bob-google_authenticator").out


DRIFTING = f'{"A" * 32}\n" TOTP_AUTH\n" DISALLOW_REUSE\n" TIME_SKEW -4\n'


def test_the_report_names_what_needs_somebody(twofold: Twofold, site: Site, desk: Desk, tmp_path: Path) -> None:
    assert twofold.done("token", "report", "--json").json == []
    site.add_user("bob", None)
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 90 * 86_400))
    text = feitian(tmp_path).read_text().replace("2022-01-01T00:00:00Z", soon).replace("2012-", "2013-")
    text = text.replace(
        "<SerialNo>1000117800002</SerialNo>", f"<SerialNo>HOTP</SerialNo><StartDate>{later}</StartDate>"
    )
    twofold.done("token", "import", str(write(tmp_path, "box.xml", text)))
    twofold.done("token", "import", str(write(tmp_path, ".google_authenticator", DRIFTING)), "--user", "bob")
    twofold.done("token", "disable", "2600215700001")
    found = {row["serial"]: row["attention"] for row in twofold.done("token", "report", "--json").json}
    assert found == {
        "2600215700001": ["unassigned", "disabled"],
        "HOTP": ["unassigned", "not yet"],
        "2600215700003": ["unassigned", "expiring"],
        "bob-google_authenticator": ["never used", "drifting"],
    }
    table = twofold.done("token", "report").out
    assert "unassigned, expiring" in table
    twofold.done("token", "revoke", "HOTP")
    assert "HOTP" not in twofold.done("token", "report").out
    both = twofold("token", "report", "--csv", "--json")
    assert (both.status, both.sentence) == (2, "Error: --csv and --json exclude each other")


@pytest.mark.statement("C-035")
@pytest.mark.parametrize(
    "label",
    ["=cmd()", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", '=HYPERLINK("http://x","y")', "  =1+1", "\uff1d1", "=a,b"],
)
def test_no_cell_of_the_report_runs_in_a_spreadsheet(twofold: Twofold, site: Site, label: str) -> None:
    site.add_user("alice", None)
    twofold.done("token", "enroll", "alice", "--label", label, "--serial", "=9+1", "--json")
    text = twofold.done("token", "report", "--csv").out
    header, row = csv.reader(io.StringIO(text, newline=""))
    cells = dict(zip(header, row, strict=True))
    assert (cells["label"], cells["serial"]) == (f"'{label}", "'=9+1")
    assert cells["drift"] == "0"
    assert not [cell for cell in row if cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))]
    assert text.count("\r\n") == 2
    assert text.count("\n") == 2


def test_a_negative_drift_stays_a_number_and_no_row_still_has_a_header(
    twofold: Twofold, site: Site, tmp_path: Path
) -> None:
    assert twofold.done("token", "report", "--csv").out.startswith("serial,user,kind,state,origin,label,drift,")
    site.add_user("bob", None)
    twofold.done("token", "import", str(write(tmp_path, ".google_authenticator", DRIFTING)), "--user", "bob")
    (row,) = csv.DictReader(io.StringIO(twofold.done("token", "report", "--csv").out))
    assert row["drift"] == "-4"


# --- export


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    return str(write(tmp_path, "key", KEY.hex()))


def opened(file: Path, unlock: Unlock) -> dict[str, Seed]:
    found = choose(file.read_bytes(), file.name).read(file.read_bytes(), unlock)
    return {item.serial: item for item in found.items if isinstance(item, Seed)}


def with_key(file: Path) -> dict[str, Seed]:
    return opened(file, Unlock(key=lambda: KEY))


@pytest.mark.statement("C-030")
def test_what_is_exported_is_encrypted_private_and_whole(
    twofold: Twofold, site: Site, case0001: str, key_file: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.pskc"
    umask = os.umask(0)
    try:
        said = twofold.done("token", "export", str(out), case0001, "--key-file", key_file).out
    finally:
        os.umask(umask)
    assert said == f"1 token in {out} (mode 0600). Keep it until it was read, then delete it.\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    seed = with_key(out)[case0001]
    assert (seed.key, seed.moving_factor, seed.user, seed.origin) == (RFC_KEY, 30, "alice", "admin")
    assert RFC_KEY not in out.read_bytes()
    other = PSKC(str(out))
    other.encryption.key = KEY
    assert [key.secret for key in other.keys] == [RFC_KEY]
    assert site.audit()[-1]["event"] == "token-export"


def test_with_a_password(twofold: Twofold, case0001: str, tmp_path: Path) -> None:
    out = tmp_path / "out.pskc"
    twofold.done("token", "export", str(out), "--all", "--password-stdin", stdin="Käse\n")
    assert opened(out, Unlock(password=lambda: "Käse"))[case0001].key == RFC_KEY


def test_all_is_all_but_what_is_revoked_or_cannot_leave(
    twofold: Twofold, site: Site, case0001: str, key_file: str, tmp_path: Path
) -> None:
    twofold.done("token", "import", case("I10-oath-defaults.csv"))
    twofold.done("token", "revoke", "Token003")
    twofold.done("token", "disable", "Token001")
    twofold.done("recovery", "issue", "alice")
    twofold.done("token", "export", str(tmp_path / "out"), "--all", "--key-file", key_file)
    found = with_key(tmp_path / "out")
    assert {serial: seed.disabled for serial, seed in found.items()} == {
        case0001: False,
        "Token001": True,
        "Token002": False,
        "Token004": False,
    }


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("out",), 2),
        (("out", "CASE0001", "--all"), 2),
        (("out", "CASE0001"), 2),
        (("out", "CASE0001", "--password-stdin", "--key-file", "key"), 2),
        (("out", "CASE0001", "--password-stdin"), 2),  # an empty one
        (("out", "NONE", "--key-file", "key"), 1),
        (("out", "CASE0001", "--key-file", "none"), 2),
        (("out", "CASE0001", "--key-file", "bad"), 2),
        (("there", "CASE0001", "--key-file", "key"), 2),
        (("link", "CASE0001", "--key-file", "key"), 2),
        (("none/out", "CASE0001", "--key-file", "key"), 2),
    ],
)
def test_a_refusal_leaves_no_file_and_touches_none(
    twofold: Twofold, case0001: str, tmp_path: Path, arguments: tuple[str, ...], status: int
) -> None:
    write(tmp_path, "key", KEY.hex())
    write(tmp_path, "bad", "abcd")
    write(tmp_path, "there", "mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    files = {"out", "key", "none", "bad", "there", "link", "none/out"}
    result = twofold("token", "export", *(str(tmp_path / a) if a in files else a for a in arguments))
    assert (result.status, result.out) == (status, ""), result
    assert "Traceback" not in result.err
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_to_export_is_refused(twofold: Twofold, key_file: str, tmp_path: Path) -> None:
    result = twofold("token", "export", str(tmp_path / "out"), "--all", "--key-file", key_file)
    assert (result.status, result.sentence) == (1, "twofold: there is no token whose key could leave")
    assert not (tmp_path / "out").exists()


def test_no_key_leaves_before_it_was_written_down(
    twofold: Twofold, site: Site, case0001: str, key_file: str, tmp_path: Path
) -> None:
    """A store that cannot be written gives no keys: its file is replaced by one nobody may write into."""
    site.database.close()
    with site.database.connections.writing():  # somebody else is writing, for longer than anybody waits
        blocked = site.command("token", "export", str(tmp_path / "out"), case0001, "--key-file", key_file)
    assert (blocked.returncode, blocked.stdout) == (3, "")
    assert not (tmp_path / "out").exists()
    assert "token-export" not in [row["event"] for row in site.audit()]


def test_on_a_full_disk_no_half_of_it_stays(
    twofold: Twofold, site: Site, case0001: str, key_file: str, tmp_path: Path
) -> None:
    """The limit on the size of a file stands in for a full disk; the audit row was written before."""
    twofold.done("token", "import", case("I10-oath-defaults.csv"))
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from store import opening; gate_on = opening.gate_on\n"
        "def late(*a):\n"
        "    gate = gate_on(*a); administer = gate.administer\n"
        "    def limit(command):\n"
        "        done = administer(command); resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)); return done\n"
        "    gate.administer = limit; return gate\n"
        "opening.gate_on = late\n"
        "from store.cli.main import main; main()"
    )
    command = [sys.executable, "-c", limited, "--config", str(site.config_file), "token", "export"]
    done = subprocess.run(
        [*command, str(tmp_path / "out"), "--all", "--key-file", key_file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done
    assert "cannot be written: File too large" in done.stderr
    assert not (tmp_path / "out").exists()
    assert site.audit()[-1]["event"] == "token-export"


def test_many_are_written_without_holding_all_of_them(site: Site, key_file: str, tmp_path: Path) -> None:
    """Of 5,000 tokens a tree alone would take some 70 MiB."""
    rows = "".join(f"B{n},{os.urandom(20).hex()},hotp,6\n" for n in range(5000))
    assert site.command("token", "import", str(write(tmp_path, "box.csv", rows))).returncode == 0
    arguments = ["token", "export", str(tmp_path / "out"), "--all", "--key-file", key_file]
    peak = peak_mib([*TWOFOLD, "--config", str(site.config_file), *arguments])
    assert peak < 110
    assert len(with_key(tmp_path / "out")) == 5000


def peak_mib(command: list[str]) -> float:
    """The most memory that a program had, from the kernel."""
    measured = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", measured, *command], stdout=subprocess.PIPE, check=True)
    return int(done.stdout) / 1024


# --- there and back


@pytest.mark.statement("O-105")
def test_i20_moved_to_another_store_all_work_and_no_used_code_does(
    twofold: Twofold, site: Site, desk: Desk, key_file: str, tmp_path: Path
) -> None:
    site.add_user("carol", None)
    twofold.done("policy", "set", "max_registrations", "20")
    for file in (str(feitian(tmp_path)), case("I10-oath-defaults.csv"), case("I19-hotp-counter.csv")):
        twofold.done("token", "import", file, "--user", "carol")
    used = ["389661", "670344", "579632", "22506643", "374060", "718353"]
    assert [desk.lets_in("carol", code) for code in used] == [True] * 6
    twofold.done("token", "export", str(tmp_path / "out"), "--all", "--key-file", key_file)
    new = Site(tmp_path / "new")
    new.add_user("carol", None)
    there, other = Twofold(new), Desk(new)
    there.done("policy", "set", "max_registrations", "20")
    there.done("token", "import", str(tmp_path / "out"), "--key-file", key_file)
    assert [other.lets_in("carol", code) for code in used[:4]] == [False] * 4
    there.done("user", "unlock", "carol")
    other.moments.now += 60
    for code in ("078826", "566229", "101429", "262092", "326873"):
        assert other.lets_in("carol", code), code
    new.database.close()
