"""docs/migrate is followed to the letter, and then people log in with what `oathtool` shows of the keys they had.

A code that was used before the move is refused where the old product records it. Stood in for: folders for `/run`,
`/home` and `/etc`; `chown`, since there is no user twofold; and what the other product exports, made here with what its
page says of it. `google-authenticator`, `sqlite3` and `awk` are real. A PIN in a command of a page is what the token
would show now.
"""

import base64
import json
import re
import secrets
import sqlite3
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.docs.gateway import Gateway, gateway_of
from tests.docs.pages import DOCS, Host, files, text_of
from tests.peers import peers
from tests.peers.oathtool import oathtool

PAGES = sorted(page.name for page in (DOCS / "migrate").glob("*.md") if page.name != "README.md")

pytestmark = [pytest.mark.timeout(300), pytest.mark.peer("oathtool")]


@dataclass(frozen=True)
class Device:
    """What somebody had before the move, and has after it. A TOTP device was last used when it was made."""

    serial: str
    key: bytes = field(default_factory=lambda: secrets.token_bytes(20))
    counter: int | None = None  # the next one; None: TOTP
    used: int = field(default_factory=lambda: int(time.time()) // 30)
    drift: int = 0  # steps that its clock is off

    def at(self, moving_factor: int) -> str:
        if self.counter is not None:
            (pin,) = oathtool(self.key, "--hotp", f"--counter={moving_factor}")
        else:
            (pin,) = oathtool(self.key, "--totp", "--now", f"@{30 * moving_factor}")
        return pin

    @property
    def used_pin(self) -> str:
        return self.at(self.used if self.counter is None else self.counter - 1)

    def fresh(self) -> str:
        return self.at(
            max(int(time.time()) // 30 + self.drift, self.used + 1) if self.counter is None else self.counter
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def follow(host: Host, page: str, *devices: Device) -> None:
    """What was typed shows no key."""
    known = {device.serial: device for device in devices}

    def with_pin(command: str) -> str:
        found = re.fullmatch(r"twofold token test (\S+) \d+", command)
        return f"twofold token test {found[1]} {known[found[1]].fresh()}" if found else command

    said = "".join(host.follow(text_of(f"migrate/{page}"), with_pin))
    for device in devices:
        assert device.key.hex() not in said.lower()
        assert base64.b32encode(device.key).decode().rstrip("=") not in said


def check_logins(gateway: Gateway, host: Host, users: dict[str, Device], recorded: bool = True) -> None:
    """Each is let in, once, by what his device shows; not by what was used before, where that was recorded."""
    for user, device in users.items():
        if recorded:
            assert host.token_row(device.serial)["moving_factor"] == (device.counter or device.used + 1)
            assert not gateway.lets_in(user, device.used_pin), f"{user} used it before the move"
        check_login(gateway, user, device.fresh())


def check_login(gateway: Gateway, user: str, pin: str) -> None:
    assert gateway.lets_in(user, pin), user
    assert not gateway.lets_in(user, pin), f"{user}'s PIN works once"


# --- google-authenticator


def google_file(host: Host, user: str, *options: str) -> tuple[Path, bytes]:
    """As the real program makes it, and its key."""
    home = host.inside(f"/home/{user}")
    home.mkdir()
    file = home / ".google_authenticator"
    command = [
        peers.require("google-authenticator"),
        "-C",
        "-f",
        "-q",
        "-r",
        "3",
        "-R",
        "30",
        *options,
        "-s",
        str(file),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    text = file.read_text().split("\n", 1)[0]
    file.chmod(0o600)
    return file, base64.b32decode(text + "=" * (-len(text) % 8))


@pytest.mark.peer("google-authenticator")
def test_google_authenticator(host: Host) -> None:
    host.stand_in("hostname", "echo web1")
    file, key = google_file(host, "alice", "-t", "-d", "-w", "3")
    alice = Device("alice-web1", key)
    used = file.read_text().replace('" DISALLOW_REUSE', f'" DISALLOW_REUSE {alice.used}')
    file.write_text(used)  # as the module leaves it after a login
    file, key = google_file(host, "bob", "-c", "-W")
    bob = Device("bob-web1", key, counter=7)
    file.write_text(file.read_text().replace('" HOTP_COUNTER 1', '" HOTP_COUNTER 7'))
    scratch = file.read_text().splitlines()[-1]
    follow(host, "google-authenticator.md", alice, bob)
    with gateway_of(host) as gateway:
        check_login(gateway, "bob", scratch)
        check_logins(gateway, host, {"alice": alice, "bob": bob})


# --- users.oath


def test_pam_oath(host: Host) -> None:
    lines = files(text_of("migrate/pam_oath.md"))["users.oath"].splitlines()
    alice = Device("alice", bytes.fromhex(lines[0].split()[3]))
    bob = Device("bob", bytes.fromhex(lines[1].split()[3]), counter=42)
    local = time.strftime("%Y-%m-%dT%H:%M:%SL", time.gmtime(30 * alice.used + 5 * 3600 + 7))  # of another zone
    lines[0] += f" 0 {alice.used_pin} {local}"
    host.inside("/etc/users.oath").write_text("\n".join(lines) + "\n")
    follow(host, "pam_oath.md", alice, bob)
    with gateway_of(host) as gateway:
        check_logins(gateway, host, {"alice": alice, "bob": bob})


# --- privacyIDEA


def pi_token(device: Device, owner: str = "", **facts: object) -> dict[str, object]:
    totp = device.counter is None
    known: dict[str, object] = {
        "type": "totp" if totp else "hotp",
        "serial": device.serial,
        "otpkey": device.key.hex(),
        "otplen": 6,
        "count": device.used + 1 if totp else device.counter,
        "active": True,
        "revoked": False,
        "description": "",
        "info_list": {"hashlib": "sha1"} | ({"timeStep": "30"} if totp else {}),
    }
    return known | ({"user": {"login": owner, "realm": "realm1", "uid": "7"}} if owner else {}) | facts


def test_privacyidea(host: Host) -> None:
    alice = Device("TOTP0001", used=int(time.time()) // 30 - 2, drift=-2)
    bob, nobodys = Device("OATH0002", counter=12), Device("TOTP0003")
    slow = {"hashlib": "sha1", "timeStep": "30", "timeShift": "-60"}
    tokens = [
        pi_token(alice, "alice", description="red", info_list=slow),
        pi_token(bob, "bob"),
        pi_token(nobodys, active=False),
        {"type": "sms", "serial": "PISM0004", "otpkey": None},
    ]
    key = Fernet.generate_key()
    (host.here / "key.txt").write_bytes(key + b"\n")
    (host.here / "tokens.pi").write_bytes(Fernet(key).encrypt(json.dumps(tokens, indent=2).encode()))
    follow(host, "privacyidea.md", alice, bob, nobodys)
    assert host.token_row("TOTP0001")["drift"] == -2
    with gateway_of(host) as gateway:
        check_logins(gateway, host, {"alice": alice, "bob": bob})


# --- LinOTP

LINOTP = ("TokenSerialnumber", "TokenType", "TokenInfo", "Userid", "OtpLen", "KeyEnc", "KeyIV", "Isactive", "Count")


def linotp_row(device: Device, enc_key: bytes, kind: str, info: object, count: int) -> tuple[object, ...]:
    """A key is sealed as hexadecimal, padded as PKCS#7 says, under the third key of encKey."""
    start, text = secrets.token_bytes(16), device.key.hex().encode()
    padded = text + bytes([16 - len(text) % 16]) * (16 - len(text) % 16)
    encryptor = Cipher(algorithms.AES(enc_key[64:]), modes.CBC(start)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    return device.serial, kind, json.dumps(info, indent=2), "id-7", 6, sealed.hex(), start.hex(), 1, count


@pytest.mark.peer("sqlite3")
def test_linotp(host: Host) -> None:
    alice, bob = Device("OATH0001", counter=5), Device("TOTP0002")
    enc_key = secrets.token_bytes(96)
    (host.here / "encKey").write_bytes(enc_key)
    rows = [
        (*linotp_row(alice, enc_key, "HMAC", {}, 5), ""),
        (*linotp_row(bob, enc_key, "totp", {"hashlib": "sha1", "timeStep": "30"}, bob.used + 1), "the red one"),
        (*linotp_row(Device("LSSM0003"), enc_key, "sms", {}, 0), ""),
    ]
    columns = ", ".join(f"LinOtp{name}" for name in (*LINOTP, "TokenDesc"))
    database = sqlite3.connect(host.here / "linotp.db")
    database.execute(f"create table Token ({columns})")
    database.executemany(f"insert into Token values ({', '.join('?' * 10)})", rows)
    database.commit()
    database.close()
    follow(host, "linotp.md", alice, bob)
    with gateway_of(host) as gateway:
        check_logins(gateway, host, {"alice": alice, "bob": bob})


# --- multiOTP and FreeRADIUS: keys that the page shows


def unpadded(text: str) -> bytes:
    return base64.b32decode(text + "=" * (-len(text) % 8))


@pytest.mark.peer("awk")
def test_multiotp(host: Host) -> None:
    links = files(text_of("migrate/multiotp.md"))["links.txt"]
    first, second = (unpadded(key) for key in re.findall(r"secret=(\w+)", links))
    alice, bob = Device("multiotp-alice", first), Device("multiotp-bob", second, counter=42)
    follow(host, "multiotp.md", alice, bob)
    with gateway_of(host) as gateway:
        check_logins(gateway, host, {"bob": bob})


@pytest.mark.peer("awk")
def test_freeradius(host: Host) -> None:
    users = files(text_of("migrate/freeradius-rlm_totp.md"))["authorize"]
    first, second = (unpadded(key) for key in re.findall(r"TOTP-Secret := [\"'](\w+)", users))
    alice, bob = Device("vpn-alice", first), Device("vpn-bob", second)
    follow(host, "freeradius-rlm_totp.md", alice, bob)
    with gateway_of(host) as gateway:
        check_logins(gateway, host, {"alice": alice, "bob": bob}, recorded=False)


# --- the pages themselves


def test_every_page_is_followed_and_linked() -> None:
    followed = set(re.findall(r'follow\(host, "([\w-]+\.md)"', Path(__file__).read_text()))
    assert followed == set(PAGES)
    assert set(re.findall(r"\(([\w-]+\.md)\)", text_of("migrate/README.md"))) == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_the_same_things(page: str) -> None:
    headings = re.findall(r"^## (.*)$", text_of(f"migrate/{page}"), re.MULTILINE)
    assert headings == ["What moves", "Export", "Import", "Check", "Switch", "Back"]
