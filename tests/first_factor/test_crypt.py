"""crypt(3) hashes: those of libcrypt, openssl and mkpasswd are checked; what is dear, damaged or old is refused."""

import ctypes
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from first_factor import crypt
from first_factor.local import LocalPasswords, check_hash
from tests.peers import peers
from validation.decisions import Look
from validation.errors import BadInput
from validation.requests import FirstFactor, FirstFactorResult

PASSWORD = "geheim"
METHODS = ("$5$", "$6$", "$y$")
# From the text that defines SHA-crypt (Ulrich Drepper, public domain).
DREPPER = {
    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
    "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
}
HIS = "Hello world!"


class Libcrypt:
    """The host's own, called here again so that a mistake of ours is not made twice."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcrypt.so.1")
        self._library.crypt_gensalt_rn.restype = self._library.crypt_rn.restype = ctypes.c_char_p

    def make(self, password: str, method: str, cost: int = 0) -> str:
        return self.hash(password.encode(), self.salt(method, cost))

    def salt(self, method: str, cost: int = 0) -> bytes:
        room = ctypes.create_string_buffer(192)
        made = self._library.crypt_gensalt_rn(method.encode(), ctypes.c_ulong(cost), None, 0, room, 192)
        assert isinstance(made, bytes)
        return made

    def hash(self, password: bytes, setting: bytes) -> str:
        data = ctypes.create_string_buffer(32_768)
        made = self._library.crypt_rn(password, setting, data, 32_768)
        assert isinstance(made, bytes)
        return made.decode()


@cache
def libcrypt() -> Libcrypt:
    return Libcrypt()


@cache
def stored(password: str, method: str) -> str:
    return libcrypt().make(password, method)


@cache
def passwords() -> LocalPasswords:
    return LocalPasswords(2)


def check(stored_hash: str, typed: str) -> FirstFactor:
    return passwords().check(Look("local", stored_hash, 7), typed).status


@pytest.fixture
def fresh() -> Iterator[None]:
    """What was found out about libcrypt is forgotten, before and after."""
    for _ in range(2):
        crypt._crypt_r.cache_clear()
        crypt._knows.cache_clear()
        if _ == 0:
            yield


# --- checking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_password_and_nothing_else(method: str) -> None:
    made = stored(PASSWORD, method)
    check_hash(made)
    assert check(made, PASSWORD) is FirstFactor.PROVED
    for other in ("Geheim", "geheim ", " geheim", "geheim\n", "gehei", "geheimx", "", "gehe\u0131m", "geheim\udcff"):
        assert check(made, other) is FirstFactor.WRONG, other


@pytest.mark.parametrize("made", sorted(DREPPER))
def test_the_vectors_of_its_author(made: str) -> None:
    check_hash(made)
    assert check(made, HIS) is FirstFactor.PROVED
    assert check(made, HIS + "!") is FirstFactor.WRONG


@pytest.mark.peer("openssl", "mkpasswd")
@pytest.mark.parametrize(
    "command",
    [
        ("openssl", "passwd", "-6", "-stdin"),
        ("openssl", "passwd", "-5", "-stdin"),
        ("mkpasswd", "--stdin", "--method=sha512crypt"),
        ("mkpasswd", "--stdin", "--method=sha512crypt", "--rounds=65536"),
        ("mkpasswd", "--stdin", "--method=sha256crypt", "--rounds=1000"),
        ("mkpasswd", "--stdin", "--method=yescrypt"),
        ("mkpasswd", "--stdin", "--method=yescrypt", "--rounds=1"),
        ("mkpasswd", "--stdin", "--method=yescrypt", "--rounds=7"),
    ],
    ids=" ".join,
)
def test_hashes_of_other_programs(command: tuple[str, ...]) -> None:
    program = peers.require(command[0])
    done = subprocess.run([program, *command[1:]], input="Käse 42\n", capture_output=True, text=True, check=True)
    made = done.stdout.strip()
    check_hash(made)
    assert check(made, "Käse 42") is FirstFactor.PROVED
    assert check(made, "Käse 43") is FirstFactor.WRONG


@pytest.mark.parametrize("method", METHODS)
def test_a_right_password_is_hashed_anew_with_argon2id(method: str) -> None:
    result = passwords().check(Look("local", stored(PASSWORD, method), 7), PASSWORD)
    assert (result.status, result.password_version) == (FirstFactor.PROVED, 7)
    assert result.rehash is not None
    assert argon2.extract_parameters(result.rehash).type is argon2.Type.ID
    again = passwords().check(Look("local", result.rehash, 8), PASSWORD)
    assert again == FirstFactorResult(FirstFactor.PROVED, 8)
    wrong = passwords().check(Look("local", stored(PASSWORD, method), 7), "wrong")
    assert wrong == FirstFactorResult(FirstFactor.WRONG, 7)


@pytest.mark.parametrize("method", METHODS)
def test_a_password_of_another_character_set_counts_octet_for_octet(method: str) -> None:
    """As the other host had it; what is typed comes with each octet that is no UTF-8 kept (surrogateescape)."""
    made = libcrypt().hash("Käse".encode("latin-1"), libcrypt().salt(method))
    typed = "Käse".encode("latin-1").decode("utf-8", "surrogateescape")
    result = passwords().check(Look("local", made, 7), typed)
    assert result.status is FirstFactor.PROVED
    assert result.rehash is not None
    assert check(result.rehash, typed) is FirstFactor.PROVED
    assert check(made, "Käse") is FirstFactor.WRONG
    assert check(made, "K\ud800se") is FirstFactor.WRONG


@pytest.mark.statement("R-053", "R-054")
@pytest.mark.parametrize("method", METHODS)
def test_a_password_with_a_nul_never_matches(method: str) -> None:
    """For C it would end there, and be the password."""
    assert check(stored(PASSWORD, method), PASSWORD + "\0") is FirstFactor.WRONG
    assert check(stored(PASSWORD, method), PASSWORD + "\0more") is FirstFactor.WRONG
    assert check(stored(PASSWORD + "x", method), PASSWORD + "\0") is FirstFactor.WRONG, "nor what stands in its place"
    assert check(stored("x", method), "\0") is FirstFactor.WRONG


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_password_never_matches_not_even_its_own_hash(method: str) -> None:
    made = libcrypt().hash(b"", libcrypt().salt(method))
    assert check(made, "") is FirstFactor.WRONG


@pytest.mark.statement("O-058")
@pytest.mark.parametrize("method", METHODS)
def test_the_whole_password_counts_and_one_that_is_too_long_is_wrong(method: str) -> None:
    longest = "".join(chr(ord("a") + n % 26) for n in range(511))
    made = stored(longest, method)
    assert check(made, longest) is FirstFactor.PROVED
    for other in (longest[:-1], longest + "x", longest * 10, longest[:255] + "#" + longest[256:]):
        assert check(made, other) is FirstFactor.WRONG


def test_checks_at_the_same_time_do_not_mix() -> None:
    asked = [(stored(whose, method), whose, typed) for whose in "ab" for typed in "ab" for method in METHODS] * 20
    local = LocalPasswords(8)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda one: local.check(Look("local", one[0], 1), one[2]).status, asked))
    expected = [FirstFactor.PROVED if whose == typed else FirstFactor.WRONG for _, whose, typed in asked]
    assert found == expected


# --- what may be imported ---------------------------------------------------------------------------------------

SHA = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
SUM = SHA.rpartition("$")[2]
SALT = "AlEI819k/2VXwCTNKw1LG1"
YES = f"$y$j9T${SALT}$x2g69FYzDAGp40yQ7jH5rMFgl5ihrlaN8xGEke33B00"
YSUM = YES.rpartition("$")[2]
NOT_FOR_US = {
    "an empty text": "",
    "a password": "geheim",
    "MD5": "$1$abcdefgh$G//4keteveJp0qb8z2DxG/",
    "DES": "ab01FAX.bQRSU",
    "bcrypt": "$2b$12$abcdefghijklmnopqrstuuGVl5QFRnBF0hzV.oEnTHrFd0UzBMHDa",
    "scrypt": f"$7$CU..../....{SALT}$x2g69FYzDAGp40yQ7jH5rMFgl5ihrlaN8xGEke33B00",
    "gost": YES.replace("$y$", "$gy$"),
    "a locked account": "!" + SHA,
    "no password": "*",
    "a setting alone": "$6$saltstring$",
    "cut short": SHA[:-1],
    "too long": SHA + "a",
    "a line break": SHA + "\n",
    "a NUL": SHA + "\0",
    "a letter of no such hash": SHA[:-1] + "=",
    "a letter that is no ASCII": SHA[:-1] + "ä",
    "no salt": f"$6$${SUM}",
    "a long salt": f"$6${'a' * 17}${SUM}",
    "a setting in the salt": f"$6$a:b${SUM}",
    "too few rounds": f"$6$rounds=999$saltstring${SUM}",
    "too many rounds": f"$6$rounds=656001$saltstring${SUM}",
    "rounds without an end": f"$6$rounds=999999999999$saltstring${SUM}",
    "rounds with a zero before": f"$6$rounds=05000$saltstring${SUM}",
    "rounds that are none": f"$6$rounds=$saltstring${SUM}",
    "rounds of another alphabet": f"$6$rounds=\u0665\u0660\u0660\u0660$saltstring${SUM}",
    "512 MiB": YES.replace("$j9T$", "$jET$"),
    "four exbibytes": YES.replace("$j9T$", "$jjj$"),
    "a cost that libcrypt refuses": YES.replace("$j9T$", "$j.T$"),
    "another flavour": YES.replace("$j9T$", "$/9T$"),
    "a cost of two letters": YES.replace("$j9T$", "$j9z.$"),
    "more parameters": YES.replace("$j9T$", "$j9T..$"),
    "yescrypt without salt": f"$y$j9T$${YSUM}",
    "a salt of half an octet": f"$y$j9T${SALT[:-1]}${YSUM}",
    "a salt with odd bits": f"$y$j9T${SALT[:-1]}z${YSUM}",
    "yescrypt cut short": YES[:-1],
}


@pytest.mark.parametrize("text", NOT_FOR_US.values(), ids=NOT_FOR_US)
def test_what_a_login_cannot_or_should_not_be_checked_against_is_refused_unseen(text: str) -> None:
    with pytest.raises(BadInput, match=r"must be an argon2id hash .* or one of crypt\(3\)") as caught:
        check_hash(text)
    assert len(text) < 10 or text[5:] not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "cost"), [("$6$", 656_000), ("$5$", 1000), ("$y$", 1), ("$y$", 2), ("$y$", 3), ("$y$", 9)]
)
def test_whatever_libcrypt_salts_within_the_bounds_is_taken(method: str, cost: int) -> None:
    digits = {"$5$": 43, "$6$": 86, "$y$": 43}[method]
    check_hash(f"{libcrypt().salt(method, cost).decode()}${'a' * digits}")


@given(st.text(st.sampled_from("$5.6yj9T/a="), max_size=140))
def test_of_any_text_only_what_libcrypt_takes_is_taken(text: str) -> None:
    for beginning in ("", "$6$", "$y$j75$"):
        if crypt.is_usable(beginning + text):
            assert crypt.matches(beginning + text, b"x") is not None


@pytest.mark.parametrize("method", METHODS)
def test_every_salt_of_libcrypt_is_taken(method: str) -> None:
    for _ in range(50):
        check_hash(libcrypt().make("x", method, 1 if method == "$y$" else 1000))


# --- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_stored_hash_that_is_damaged_is_no_answer(method: str, caplog: pytest.LogCaptureFixture) -> None:
    made = stored(PASSWORD, method)
    damaged = made.replace("$j9T$", "$j9T.$") if method == "$y$" else made.replace(method, f"{method}rounds=1$")
    assert check(damaged, PASSWORD) is FirstFactor.UNAVAILABLE
    assert check(f"{method}ä", PASSWORD) is FirstFactor.UNAVAILABLE
    assert "a stored password hash is damaged" in caplog.text
    assert made[10:] not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures("fresh")
def test_without_libcrypt_nothing_is_imported_and_nobody_is_right_or_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(crypt, "LIBRARY", "libcrypt-that-is-not-there.so.1")
    with pytest.raises(BadInput, match=r"is not on this host; on Debian: apt install libcrypt1"):
        check_hash(SHA)
    assert [check(SHA, typed) for typed in (HIS, "wrong")] == [FirstFactor.UNAVAILABLE] * 2
    assert "libcrypt-that-is-not-there.so.1 is not on this host" in caplog.text
    assert check(stored_argon2(), PASSWORD) is FirstFactor.PROVED, "others are let in"


@pytest.mark.usefixtures("fresh")
def test_a_libcrypt_that_does_not_know_the_method_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older than yescrypt: it returns NULL, or a text that begins with an asterisk."""
    for answer in (None, b"*0", b"*1"):
        crypt._knows.cache_clear()
        monkeypatch.setattr(crypt, "_crypt_r", lambda answer=answer: lambda password, setting, data: answer)
        with pytest.raises(BadInput, match=r"does not know \$y\$; a newer libxcrypt does"):
            check_hash(YES)
        assert crypt.matches(YES, b"geheim") is None


def test_a_text_with_an_asterisk_matches_nothing() -> None:
    """crypt_r says `*0` of what it cannot do; a stored `*0` would be the same text."""
    assert crypt._crypt(b"x", b"*0") is None
    assert check("*0", PASSWORD) is FirstFactor.UNAVAILABLE


def stored_argon2() -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
