"""Reading a file in a test, and what its tokens show."""

from pathlib import Path

from store.formats.choosing import choose
from store.formats.reading import BadRow, Contents, Format, Seed, Skipped, Unlock
from tests.vectors import reference

CASES = Path(__file__).parent / "cases"
T = 1767225600  # 2026-01-01T00:00:00Z
KEY = b"12345678901234567890"
HEX = KEY.hex()
BASE32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def read(one: Format, text: str | bytes, unlock: Unlock | None = None) -> Contents:
    return one.read(text.encode() if isinstance(text, str) else text, unlock or Unlock())


def case(name: str, wanted: str) -> Contents:
    """A file of tests/store/formats/cases, in the format its content is taken for, which must be `wanted`."""
    octets = (CASES / name).read_bytes()
    chosen = choose(octets, name)
    assert chosen.name == wanted
    return read(chosen, octets)


def seeds(found: Contents) -> list[Seed]:
    return [item for item in found.items if isinstance(item, Seed)]


def bad_rows(found: Contents) -> list[BadRow]:
    return [item for item in found.items if isinstance(item, BadRow)]


def skipped(found: Contents) -> list[Skipped]:
    return [item for item in found.items if isinstance(item, Skipped)]


def one_seed(found: Contents) -> Seed:
    (seed,) = found.items
    assert isinstance(seed, Seed), seed
    return seed


def one_bad(found: Contents) -> BadRow:
    (row,) = found.items
    assert isinstance(row, BadRow), row
    return row


def shown(seed: Seed, count: int = 2) -> list[str]:
    """The next codes: from the moving factor of a HOTP token, from T of a TOTP token."""
    first = T // seed.period if seed.kind == "totp" else seed.moving_factor
    return [reference.hotp(seed.key, first + n, seed.digits, seed.algorithm) for n in range(count)]
