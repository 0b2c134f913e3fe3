"""Local passwords: the whole password counts, every octet of it, and nothing but it."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from first_factor.local import LocalPasswords, hash_password
from tests.site import Site
from validation.decisions import Look
from validation.errors import BadInput
from validation.requests import FirstFactor, Wanted


@cache
def stored(password: str) -> Look:
    return Look("local", hash_password(password), 1)


@cache
def passwords() -> LocalPasswords:
    return LocalPasswords()


def check(password: str, typed: str) -> FirstFactor:
    return passwords().check(stored(password), typed).status


LONG = "".join(chr(ord("a") + n % 26) for n in range(300))


@pytest.mark.statement("O-058")
@pytest.mark.parametrize("place", [1, 8, 72, 73, 128, 129, 253, 256, 257, 300])
def test_every_character_of_a_long_password_counts(place: int) -> None:
    """bcrypt ends at 72 octets, other programs at 128 or 256."""
    other = LONG[: place - 1] + "#" + LONG[place:]
    assert len(other) == len(LONG)
    assert [check(LONG, other), check(other, LONG)] == [FirstFactor.WRONG] * 2
    assert [check(LONG, LONG), check(other, other)] == [FirstFactor.PROVED] * 2


@pytest.mark.statement("O-058")
@pytest.mark.parametrize("length", [72, 128, 256, 299])
def test_the_beginning_of_a_password_is_not_the_password(length: int) -> None:
    assert check(LONG, LONG[:length]) is FirstFactor.WRONG
    assert check(LONG[:length], LONG) is FirstFactor.WRONG


@pytest.mark.statement("O-058")
@pytest.mark.parametrize("place", [73, 129, 257])
def test_a_long_password_is_set_whole_by_the_command(tmp_path: Path, place: int) -> None:
    site = Site(tmp_path / "site")
    assert site.command("user", "add", "alice", "--password-stdin", stdin=LONG).returncode == 0
    (seen,) = site.database.look([Wanted(user="alice")])
    assert seen.user is not None
    look = Look("local", seen.user.password_hash, seen.user.password_version)
    other = LONG[: place - 1] + "#" + LONG[place:]
    assert [passwords().check(look, typed).status for typed in (LONG, other)] == [
        FirstFactor.PROVED,
        FirstFactor.WRONG,
    ]


@pytest.mark.parametrize("other", ["Geheim", "geheim ", " geheim", "geheim\n", "geheim\0", "gehe\u0131m", ""])
def test_nothing_is_stripped_folded_or_cut(other: str) -> None:
    assert check("geheim", other) is FirstFactor.WRONG


def test_composed_and_decomposed_letters_are_two_passwords() -> None:
    """Octet for octet, as the other back ends will check it; docs/conformance.md says why (O-059)."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert [check(composed, composed), check(decomposed, decomposed)] == [FirstFactor.PROVED] * 2
    assert [check(composed, decomposed), check(decomposed, composed)] == [FirstFactor.WRONG] * 2


def test_an_empty_password_is_none() -> None:
    with pytest.raises(BadInput):
        hash_password("")
    assert passwords().check(Look("local", None, -1), "").status is FirstFactor.WRONG


def test_a_password_that_is_no_utf_8_is_wrong_and_no_error() -> None:
    passwords = LocalPasswords()
    look = Look("local", hash_password("geheim"), 7)
    for typed in ("geheim\udcff", "\udcff", "\udc80" * 200):
        assert passwords.check(look, typed).status is FirstFactor.WRONG


def test_the_threads_that_hash_stand_back_and_no_other_does() -> None:
    """A flood of logins that are decided without a password would else take the server's own thread its turn."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    one = LocalPasswords(1)
    one.check(Look("local", None, 1), "geheim")
    (hashing,) = one._hashing._threads
    assert os.getpriority(os.PRIO_PROCESS, hashing.native_id or 0) == min(19, before + 5)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_passwords_are_checked_where_a_thread_may_not_stand_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(increment: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", forbidden)
    assert LocalPasswords(1).check(stored("geheim"), "geheim").status is FirstFactor.PROVED


COSTS = "$argon2id$v=19$m=19456,t=2,p=1$"


@pytest.mark.statement("V-011")
@pytest.mark.parametrize(
    "stored",
    [
        "x" * 10_000,
        "$argon2id$" + "x" * 10_000,
        f"{COSTS}{'A' * 5000}${'A' * 5000}",
        "$6$" + "x" * 10_000,
        "$y$" * 3000,
    ],
    ids=lambda stored: stored[:10],
)
def test_a_stored_hash_of_10_kilobytes_proves_nothing_and_harms_nobody(stored: str) -> None:
    """Not even where it is what hashing the password gives, with something behind it (CVE-2014-2015)."""
    for tampered in (stored, hash_password("geheim") + stored):
        assert passwords().check(Look("local", tampered, 1), "geheim").status is not FirstFactor.PROVED
    assert check("geheim", "geheim") is FirstFactor.PROVED


@pytest.mark.statement("V-038")
def test_a_password_of_64_kilobytes_is_looked_at_like_any_other_also_of_nobody() -> None:
    """libpam's own module hung at one, for users who exist (CVE-2015-3238)."""
    long = "x" * 65_536
    assert check("geheim", long) is FirstFactor.WRONG
    assert passwords().check(Look("local", None, -1), long).status is FirstFactor.WRONG


_HASH_AND_LOOK = """
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from first_factor.local import LocalPasswords
from validation.decisions import Look

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

passwords = LocalPasswords(8)
before = resident()
with ThreadPoolExecutor(8) as many:
    list(many.map(lambda number: passwords.check(Look("local", None, 1), "geheim"), range(24)))
print(resident() - before)
"""


def test_what_hashes_took_is_given_back() -> None:
    """The C library would keep 19 MiB for each thread, and for some more than once."""
    done = subprocess.run([sys.executable, "-c", _HASH_AND_LOOK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10 * 1024


def test_without_memory_there_is_no_answer_and_nobody_is_told_that_a_hash_is_damaged() -> None:
    program = """
import logging, resource
from argon2 import PasswordHasher
from first_factor.local import LocalPasswords
from validation.decisions import Look

logging.basicConfig()
large = PasswordHasher(time_cost=1, memory_cost=200 * 1024, parallelism=1)  # as a hash from elsewhere may be
passwords, look = LocalPasswords(at_once=1), Look("local", large.hash("geheim"), 1)
passwords.check(look, "geheim")
(used,) = [int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize")]
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20), most))
print(passwords.check(look, "geheim").status.name)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(passwords.check(look, "geheim").status.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["UNAVAILABLE", "PROVED"]
    assert "cannot be checked: Memory allocation error" in done.stderr
    assert "damaged" not in done.stderr
