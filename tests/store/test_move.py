"""Tokens of any kind and state go from one store into another, and are the same there (O-105)."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store.cli.token_care import _seed
from store.formats import pskc_writer
from store.formats.choosing import choose
from store.formats.reading import Contents, Unlock
from store.importing import boxful
from tests.site import Site
from validation.model import Origin, Token, TokenState
from validation.names import Spelling
from validation.requests import AddUser, ExportTokens, ImportTokens, NewToken, SetRule, Wanted
from validation.settings import Scope
from validation.tokens.kind import MAX_COUNTER

KEY = bytes(range(32))
USERS = ("", "alice", "käthe", "bob@example.org", "o'neil, x")
LATEST = 4_000_000_000


def label() -> st.SearchStrategy[str]:
    return st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=64)


@st.composite
def tokens(draw: st.DrawFn, number: int) -> NewToken:
    kind = draw(st.sampled_from(["totp", "hotp", "yubico_otp"]))
    yubico, totp = kind == "yubico_otp", kind == "totp"
    octets = (16 + 6, 16 + 6) if yubico else (16, 64)
    starts = draw(st.none() | st.integers(0, LATEST).map(float))
    token = Token(
        id=0,
        serial=f"S{number}-{draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))}",
        user_id=None,
        kind=kind,
        key=number.to_bytes(2, "big") + draw(st.binary(min_size=octets[0] - 2, max_size=octets[1] - 2)),
        origin=draw(st.sampled_from(Origin)),
        state=draw(st.sampled_from([TokenState.ACTIVE, TokenState.DISABLED])),
        label=draw(label()),
        digits=6 if yubico else draw(st.sampled_from([6, 7, 8])),
        period=draw(st.sampled_from([30, 60, 15, 120])) if totp else 30,
        algorithm="sha1" if yubico else draw(st.sampled_from(["sha1", "sha256", "sha512"])),
        moving_factor=draw(st.integers(0, (1 << 22) if yubico else LATEST // 120 if totp else MAX_COUNTER - 1)),
        drift=draw(st.integers(-10, 10)) if totp else 0,
        public_id=draw(st.sampled_from(["", "ccccccrcvvuu"])) if yubico else "",
        look_ahead=draw(st.none() | st.integers(0, 100)) if kind == "hotp" else None,
        starts_at=starts,
        expires_at=draw(st.none() | st.integers(0, LATEST).map(float)),
    )
    return NewToken(f"line {number}", token, draw(st.sampled_from(USERS)))


boxes = st.integers(1, 6).flatmap(lambda many: st.tuples(*(tokens(number) for number in range(many))))


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two stores with keys of their own and the same users; each example works on copies."""
    return made(tmp_path_factory.mktemp("one")), made(tmp_path_factory.mktemp("other"))


def made(folder: Path) -> Path:
    site = Site(folder / "site")
    for name in USERS[1:]:
        site.gate.administer(AddUser(actor="x", name=name))
    site.gate.administer(SetRule(actor="x", key="max_registrations", value="20", scope=Scope()))
    site.database.close()
    return site.folder


@contextmanager
def copies(houses: tuple[Path, Path]) -> Iterator[list[Site]]:
    with tempfile.TemporaryDirectory() as name:
        sites = [Site(Path(shutil.copytree(house, Path(name) / str(n)))) for n, house in enumerate(houses)]
        yield sites
        for site in sites:
            site.database.close()


def held(site: Site, serials: tuple[str, ...]) -> dict[str, tuple[Token, str]]:
    """All that there is of each token, but for its ids and the time it came."""
    (seen,) = site.database.look([Wanted(serials=serials)])
    names = {user.id: user.name for user in seen.holdings.users.values()}
    return {
        serial: (replace(token, id=0, user_id=None, created_at=0.0), names[token.user_id] if token.user_id else "")
        for serial, token in seen.holdings.tokens.items()
    }


def brought(site: Site, box: tuple[NewToken, ...]) -> tuple[str, ...]:
    done = site.gate.administer(ImportTokens(actor="x", tokens=box, file="box"))
    assert not done.refused, done
    return tuple(row.serial for row in done.rows)


def read_back(octets: bytes) -> Contents:
    return choose(octets, "out").read(octets, Unlock(key=lambda: KEY))


@pytest.mark.statement("O-105")
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(box=boxes)
@example(box=(NewToken("line 0", Token(0, "S0", None, "hotp", b"k" * 20, label="C:\\keys", origin=Origin.ADMIN)),))
def test_import_export_import_is_equal(houses: tuple[Path, Path], box: tuple[NewToken, ...]) -> None:
    with copies(houses) as (first, second):
        serials = brought(first, box)
        here = held(first, serials)
        assert {serial: owner for serial, (_, owner) in here.items()} == {n.token.serial: n.user for n in box}
        done = first.gate.administer(ExportTokens(actor="x", serials=serials))
        seeds = [_seed(token, owner) for token, owner in zip(done.tokens, done.owners, strict=True)]
        moved = boxful(read_back(pskc_writer.with_key(seeds, KEY)), "out", Spelling())
        assert not moved.bad
        brought(second, moved.tokens)
        assert held(second, serials) == here
        again = second.gate.administer(ImportTokens(actor="x", tokens=moved.tokens, file="box"))
        assert {str(row.fate) for row in again.rows} == {"unchanged"}
