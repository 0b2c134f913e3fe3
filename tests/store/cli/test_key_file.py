"""`--key-file`: raw octets, hexadecimal or Base64, a last newline ignored."""

import base64
import errno
import os
import pwd
from pathlib import Path

import pytest

from store.cli.files import key_in, why_not
from validation.errors import BadInput

KEY = bytes(range(200, 232))
ENC_KEY = bytes(range(96))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "written",
    [KEY, KEY.hex().encode(), KEY.hex().upper().encode(), base64.b64encode(KEY), base64.urlsafe_b64encode(KEY)],
    ids=["raw", "hex", "capitals", "base64", "fernet"],
)
def test_every_way_to_write_a_key(tmp_path: Path, written: bytes, end: bytes) -> None:
    (tmp_path / "key").write_bytes(written + end)
    assert key_in(tmp_path / "key") == KEY


@pytest.mark.parametrize("octets", [ENC_KEY, ENC_KEY[:-1] + b"\n", KEY[:15] + b"\n", KEY[:31] + b"\n"])
def test_raw_octets_of_a_usual_length_stay_as_they_are(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "key").write_bytes(octets)
    assert key_in(tmp_path / "key") == octets


@pytest.mark.parametrize("octets", [b"", b"\n"], ids=["empty", "newline"])
def test_what_is_no_key(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "key").write_bytes(octets)
    with pytest.raises(BadInput, match=r"--key-file .*: "):
        key_in(tmp_path / "key")


def test_who_is_not_let_at_a_file_is_named() -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert why_not(PermissionError(errno.EACCES, "Permission denied")) == f"Permission denied for the account {me}"
    assert why_not(FileNotFoundError(errno.ENOENT, "No such file or directory")) == "No such file or directory"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file or directory"):
        key_in(tmp_path / "none")
