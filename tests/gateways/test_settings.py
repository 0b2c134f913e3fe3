"""The file of a program on a gateway: what it says, and how each mistake in it is named."""

import os
from pathlib import Path

import pytest

from gateways.settings import Settings, SettingsError, load

GOOD = 'servers = ["192.0.2.1:1812"]\nsecret = "a-secret-of-24-characters"\nnas_identifier = "vpn"\n'


def written(folder: Path, text: str, mode: int = 0o640) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_it_says_whom_to_ask(tmp_path: Path) -> None:
    settings, more = load(written(tmp_path, GOOD + 'timeout = 3\ncolour = "red"\n'), frozenset({"colour", "size"}))
    assert settings == Settings((("192.0.2.1", 1812),), b"a-secret-of-24-characters", "vpn", 3.0)
    assert more == {"colour": "red"}
    assert "a-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("written_as", "meant"),
    [
        ("192.0.2.1", ("192.0.2.1", 1812)),
        ("192.0.2.1:11812", ("192.0.2.1", 11812)),
        ("2001:db8::1", ("2001:db8::1", 1812)),
        ("[2001:db8::1]", ("2001:db8::1", 1812)),
        ("[2001:db8::1]:99", ("2001:db8::1", 99)),
    ],
)
def test_a_server_is_an_address_and_a_port(tmp_path: Path, written_as: str, meant: tuple[str, int]) -> None:
    settings, _ = load(written(tmp_path, GOOD.replace("192.0.2.1:1812", written_as)))
    assert settings.servers == (meant,)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("servers", "not TOML"),
        (GOOD + 'sekret = "x"\n', "'sekret' is not known"),
        (GOOD.replace("servers", "timeout = 5\n#"), "servers is a list"),
        (GOOD.replace('["192.0.2.1:1812"]', "[]"), "servers is a list"),
        (GOOD.replace('["192.0.2.1:1812"]', "[1]"), "servers is a list"),
        (GOOD.replace("192.0.2.1:1812", "radius.example"), "'radius.example' is no address"),
        (GOOD.replace(":1812", ":0"), "no port from 1 to 65535"),
        (GOOD.replace(":1812", ":x"), "no port from 1 to 65535"),
        (GOOD.replace("a-secret-of-24-characters", "short"), "secret is the text"),
        (GOOD.replace('"a-secret-of-24-characters"', "1"), "secret is the text"),
        (GOOD.replace('"vpn"', '""'), "nas_identifier is a name"),
        (GOOD.replace('"vpn"', '"a\\nb"'), "nas_identifier is a name"),
        (GOOD + "timeout = 0\n", "timeout is a number"),
        (GOOD + "timeout = true\n", "timeout is a number"),
        (GOOD + "timeout = nan\n", "timeout is a number"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path)), "says which file"
    assert named in str(caught.value)
    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, GOOD, mode)
    with pytest.raises(SettingsError, match="chmod 640"):
        load(path)


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = written(tmp_path, GOOD, 0o600)
    os.chown(path, 65534, 65534)
    with pytest.raises(SettingsError, match="belongs to user 65534"):
        load(path)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SettingsError, match=str(path)):
            load(path)
