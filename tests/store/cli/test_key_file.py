"""`--key-file`: raw octets, hexadecimal or Base64, a last newline ignored."""

import base64
from pathlib import Path

import pytest

from store.cli.key_file import read_key
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
    assert read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("octets", [ENC_KEY, ENC_KEY[:-1] + b"\n", KEY[:15] + b"\n", KEY[:31] + b"\n"])
def test_raw_octets_of_a_usual_length_stay_as_they_are(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "key").write_bytes(octets)
    assert read_key(tmp_path / "key") == octets


def test_spaces_between_hexadecimal_digits(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY.hex(" ", 4))
    assert read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("octets", [b"", b"\n", b"x" * 5000], ids=["empty", "newline", "long"])
def test_what_is_no_key(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "key").write_bytes(octets)
    with pytest.raises(BadInput, match=r"--key-file .*: "):
        read_key(tmp_path / "key")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file or directory"):
        read_key(tmp_path / "none")


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(BadInput, match="more than"):
        read_key(Path("/dev/zero"))
