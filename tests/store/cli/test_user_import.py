"""`twofold user import`: all users of a list, or none, with the same care as for tokens."""

from pathlib import Path

import pytest

from first_factor.local import LocalPasswords, hash_password
from tests.site import Site, hashed
from tests.store import raw
from tests.store.cli.boxes import write
from tests.store.cli.command import Result, Twofold
from validation.model import Mode
from validation.requests import FirstFactor, LookRequest

HASH = hashed("geheim")


def imported(twofold: Twofold, folder: Path, text: str | bytes, *options: str) -> Result:
    return twofold("user", "import", str(write(folder, "users.csv", text)), *options)


def users(twofold: Twofold) -> dict[str, tuple[str | None, list[str]]]:
    rows = twofold.done("user", "list", "--json").json
    return {row["name"]: (row["first_factor"], row["groups"]) for row in rows}


def test_only_the_name_is_mandatory(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    result = imported(twofold, tmp_path, "name\nalice\nbob\n")
    assert (result.status, result.out) == (0, "  added       2\n")
    assert users(twofold) == {"alice": (None, []), "bob": (None, [])}
    rows = [(row["event"], row["user"]) for row in site.audit()][1:]
    assert rows == [("user-add", "alice"), ("user-add", "bob")]


def test_all_columns_in_any_order(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    text = f'Groups,name,PASSWORD_HASH,first_factor\n"staff;vpn",alice,"{HASH}",\nstaff,bob,,system\n,carol,,local\n'
    assert imported(twofold, tmp_path, text).status == 0
    assert users(twofold) == {
        "alice": ("local", ["staff", "vpn"]),
        "bob": ("system", ["staff"]),
        "carol": ("local", []),
    }
    (kept,) = raw.rows(site.config.database, "SELECT password_hash FROM users WHERE name = 'alice'")
    assert kept == (HASH,)
    assert HASH not in twofold.done("user", "show", "alice").out


@pytest.mark.parametrize("groups", ["staff vpn", "staff;vpn", "staff,vpn", " staff ; vpn ;", "staff vpn staff"])
def test_groups_may_be_written_in_several_ways(twofold: Twofold, tmp_path: Path, groups: str) -> None:
    assert imported(twofold, tmp_path, f'name,groups\nalice,"{groups}"\n').status == 0
    assert users(twofold) == {"alice": (None, ["staff", "vpn"])}


@pytest.mark.statement("C-035")
@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfname,groups\r\nalice,staff\r\n\r\n\x1a",
        b"# from HR\nname;groups\nalice;staff\n",
        b"sep=;\r\nname;groups\r\nalice;staff\r\n",
        "name\tgroups\nalice\tstaff\n".encode("utf-16"),
    ],
)
def test_a_file_from_windows(twofold: Twofold, tmp_path: Path, text: bytes) -> None:
    assert imported(twofold, tmp_path, text).status == 0
    assert users(twofold) == {"alice": (None, ["staff"])}


def test_a_rehearsal_changes_nothing(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    before = raw.contents(site.config.database)
    result = imported(twofold, tmp_path, "name\nalice\n", "--dry-run")
    assert (result.status, result.out) == (0, "  ready       1\nNobody was added.\n")
    assert imported(twofold, tmp_path, "name\nalice\n", "--dry-run", "--json").json == {
        "added": False,
        "rows": [{"place": "line 2", "name": "alice", "fate": "ready", "text": ""}],
    }
    assert raw.contents(site.config.database) == before


def test_again_all_are_unchanged(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    text = "name,groups\nalice,staff\nbob,\n"
    imported(twofold, tmp_path, text)
    before = raw.contents(site.config.database)
    result = imported(twofold, tmp_path, text)
    assert (result.status, "unchanged   2" in result.out) == (0, True)
    assert raw.contents(site.config.database) == before


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alice,staff", "line 3: user alice stands twice in the file, first at line 2"),
        ("here,other", "line 3: user here is here already, otherwise; twofold user set here changes him"),
        ("x" * 300 + ",", "line 3: user name: 300 octets are too long"),
        ("a\x1b[2Jb,", "line 3: user"),
        (",staff", "line 3: user"),
    ],
)
def test_one_bad_row_keeps_all_out(twofold: Twofold, site: Site, tmp_path: Path, line: str, why: str) -> None:
    site.add_user("here", None)
    result = imported(twofold, tmp_path, f"name,groups\nalice,staff\n{line}\nbob,\n")
    assert result.status == 1
    assert why in result.out
    assert "Nobody was added." in result.out
    assert "\x1b" not in result.out
    assert set(users(twofold)) == {"here"}


def test_a_row_that_ends_before_its_name_is_a_bad_row(twofold: Twofold, tmp_path: Path) -> None:
    result = imported(twofold, tmp_path, "groups,name\nstaff,bob\nstaff\n")
    assert (result.status, users(twofold)) == (1, {})
    assert "line 3: user name: must not be empty" in result.out


def test_another_name_of_a_user_is_refused_as_user_add_does(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    with site.config_file.open("a") as file:
        file.write('[names.aliases]\n"a.liddell" = "alice"\n')
    result = imported(twofold, tmp_path, "name\nbob\na.liddell\n")
    assert (result.status, users(twofold)) == (2, {})
    assert "line 3: 'a.liddell' is another name of 'alice': names.aliases" in result.sentence


DEAR = HASH.replace("m=19456", "m=4194304")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1 must be a header with the column name"),
        ("alice\nbob\n", "line 1 must be a header with the column name"),
        ("name,name\nalice,x\n", "line 1 must be a header"),
        ("name,password\nalice,geheim\n", "line 1: column 'password' is not known"),
        ("name,first_factor\nalice,ldaps\n", "line 2: first_factor: choose one of local, system"),
        ("name\nmüller½\n", "line 2: user name: RFC 8265 does not allow it"),
        ("name\nalice,staff\n", "line 2: more fields than the header has; put groups into quotes"),
        ("name,password_hash\nalice,geheim\n", "line 2: password_hash: must be an argon2id hash"),
        ("name,password_hash\nalice,$1$abc$def\n", "line 2: password_hash: must be an argon2id hash"),
        pytest.param(
            f'name,password_hash\nalice,"{DEAR}"\n',
            "line 2: password_hash: must be an argon2id hash of a usual cost",
            id="a hash of great cost",
        ),
        # Named, because the processes of one run must agree on the names, and the hash has a random salt.
        pytest.param(
            f'name,password_hash\nalice,"{HASH[:60]}"\n',
            "line 2: password_hash: must be an argon2id hash",
            id="a hash cut short",
        ),
    ],
)
def test_a_file_of_another_form_is_refused_whole(
    twofold: Twofold, site: Site, tmp_path: Path, text: str, why: str
) -> None:
    result = imported(twofold, tmp_path, text)
    assert (result.status, result.out) == (2, "")
    assert f"{tmp_path}/users.csv: {why}" in result.sentence
    assert "geheim" not in result.err
    assert HASH[30:60] not in result.err
    assert users(twofold) == {}


SHA = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"


def test_hashes_of_a_shadow_file_are_taken_and_none_is_shown(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """`awk -F: '{ print $1 ":" $2 }' /etc/shadow` under a header, but for accounts that are locked."""
    result = imported(twofold, tmp_path, f"name,password_hash\nalice,{SHA}\nbob,\n", "--json")
    assert result.json["added"] is True
    assert SHA not in result.out
    (kept,) = raw.rows(site.config.database, "SELECT password_hash FROM users WHERE name = 'alice'")
    assert kept == (SHA,)
    locked = imported(twofold, tmp_path, f"name,password_hash\ncarol,!{SHA}\n")
    assert locked.status == 2
    assert "line 2: password_hash: must be an argon2id hash" in locked.sentence
    assert SHA[5:] not in locked.err


@pytest.mark.parametrize(
    "dear", [SHA.replace("$6$", "$6$rounds=999999999$"), "$y$jFT$AlEI819k/2VXwCTNKw1LG1$" + "a" * 43]
)
def test_a_hash_that_would_take_a_login_down_is_refused(twofold: Twofold, tmp_path: Path, dear: str) -> None:
    result = imported(twofold, tmp_path, f"name,password_hash\nalice,{dear}\n")
    assert result.status == 2
    assert "up to rounds=656000" in result.sentence
    assert users(twofold) == {}


def test_a_password_hash_goes_with_a_local_first_factor_alone(twofold: Twofold, tmp_path: Path) -> None:
    result = imported(twofold, tmp_path, f'name,first_factor,password_hash\nalice,system,"{HASH}"\n')
    assert result.status == 1
    assert HASH not in result.out
    assert users(twofold) == {}


def test_an_imported_hash_lets_its_owner_in(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """Whether the store has it is not enough: the password check must take it."""
    other = hash_password("Käse")
    imported(twofold, tmp_path, f'name,password_hash\nalice,"{other}"\n')
    site.add_client("vpn", mode=Mode.CHALLENGE)
    (look,) = site.gate.look([LookRequest("alice", "vpn", Mode.CHALLENGE)])
    assert LocalPasswords(1).check(look, "Käse").status is FirstFactor.PROVED
