"""Hand-delivered files are input from outside: nothing in them may reach a file, or cost more than the file itself."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.formats.pskc import Pskc, document
from store.formats.reading import BadRow
from tests.store.formats.pskc_files import (
    HEAD,
    SECRET,
    aes_cbc,
    b64,
    container,
    derived_key,
    encrypted,
    items,
    key,
    mac_method,
    mac_of,
    never_asked,
    only_bad,
    only_seed,
    package,
    read,
    sealed,
)
from validation.errors import BadInput

BOMB = (Path(__file__).parent / "cases" / "I21-xml-bomb.xml").read_bytes()


def _with_dtd(inside: str) -> bytes:
    body = container(package(key(), serial="&x;")).decode().partition("\n")[2]
    return f'<?xml version="1.0"?>\n<!DOCTYPE KeyContainer {inside}>\n{body}'.encode()


@pytest.mark.statement("O-102")
@pytest.mark.parametrize(
    "octets",
    [
        BOMB,
        BOMB.decode().encode("utf-16"),
        _with_dtd('[<!ENTITY x SYSTEM "file:///etc/shadow">]'),
        _with_dtd('[<!ENTITY % x SYSTEM "http://192.0.2.1/x.dtd"> %x;]'),
        _with_dtd('SYSTEM "http://192.0.2.1/x.dtd"'),
        _with_dtd('[<!ENTITY x "1">]'),
        _with_dtd('[<!ATTLIST Key Algorithm CDATA "urn:ietf:params:xml:ns:keyprov:pskc:hotp">]'),
        _with_dtd(""),
    ],
)
def test_a_dtd_is_refused_whatever_it_says(octets: bytes) -> None:
    with pytest.raises(BadInput, match="the file holds a DTD"):
        read(octets)


@pytest.mark.statement("O-102")
def test_an_entity_nobody_declared_is_refused() -> None:
    with pytest.raises(BadInput, match="undefined entity"):
        read(container(package(key(), serial="&x;")))


@pytest.mark.statement("O-102")
def test_xinclude_is_refused() -> None:
    include = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/shadow" parse="text"/>'
    with pytest.raises(BadInput, match="XInclude"):
        read(container(package(key(), info=include)))


@pytest.mark.statement("O-102")
@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ("<a>" * 40 + "</a>" * 40, "too deep"),
        (f'<a b="{"x" * 70_000}"/>', "attributes as long as"),
        (f"<!--{'x' * 70_000}-->", "a comment as long as"),
    ],
)
def test_what_no_token_file_has_is_refused(inside: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(container(package(key(), info=inside)))


@pytest.mark.statement("O-102")
def test_the_number_of_elements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound itself takes a file of 60 MiB; what is tested is that it is looked at."""
    monkeypatch.setattr(document, "MOST_ELEMENTS", 100)
    with pytest.raises(BadInput, match="too many elements"):
        read(container(*[package(key())] * 20))


@pytest.mark.statement("O-102")
def test_the_size_of_the_file_is_bounded() -> None:
    with pytest.raises(BadInput, match="more than 256 MiB"):
        read(container(package(key())) + b" " * document.MOST_OCTETS)


@pytest.mark.statement("O-102")
@pytest.mark.parametrize("iterations", [2**31, 10_000_001, 2**63, -1, 0])
def test_a_password_is_hashed_only_so_often_and_is_not_even_asked_for(iterations: int) -> None:
    octets = container(package(key(sealed())), head=derived_key(bytes(8), iterations) + mac_method(aes_cbc(b"k")))
    with pytest.raises(BadInput, match="IterationCount"):
        Pskc().read(octets, never_asked())


@pytest.mark.statement("O-102")
@pytest.mark.parametrize(
    ("head", "says"),
    [
        (derived_key(b"", 1000), "Salt or IterationCount is missing"),
        (derived_key(bytes(7), 1000), "Salt: 7 octets"),
        (derived_key(bytes(1025), 1000), "Salt: 1025 octets"),
        (derived_key(bytes(8), 1000, 2**31), "KeyLength"),
        (derived_key(bytes(8), 1000, -16), "KeyLength"),
        (derived_key(bytes(8), "many"), "IterationCount: no whole number"),
        (derived_key(bytes(8), "9" * 10_000), "IterationCount: no whole number"),
        (derived_key(bytes(8), 1000, prf='<PRF Algorithm="http://x#hmac-md5"/>'), "PRF"),
        (derived_key(bytes(8), 1000).replace("#pbkdf2", "#scrypt"), "KeyDerivationMethod"),
    ],
)
def test_a_derivation_out_of_bounds_is_refused_before_a_password_is_asked_for(head: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Pskc().read(container(package(key(sealed())), head=head + mac_method(aes_cbc(b"k"))), never_asked())


def test_a_head_after_the_first_key_is_refused() -> None:
    """Else what encrypts the first key and what encrypts the second could be two things."""
    with pytest.raises(BadInput, match="stands after the first key"):
        read(container(package(key()), HEAD, package(key(sealed()))))
    with pytest.raises(BadInput, match="stands there twice"):
        read(container(package(key(sealed())), head=HEAD + HEAD))


@pytest.mark.statement("O-102")
@pytest.mark.parametrize(
    "broken",
    [
        lambda: key(f"<Secret><PlainValue>{'A' * 20_000}</PlainValue></Secret>"),
        lambda: key(data=f"<Counter><PlainValue>{'9' * 5_000}</PlainValue></Counter>"),
        lambda: key(policy=f"<NumberOfTransactions>{'9' * 5_000}</NumberOfTransactions>"),
        lambda: key(response=f'<ResponseFormat Length="{"9" * 5_000}"/>'),
    ],
)
def test_a_value_far_too_long_is_one_bad_row(broken: Callable[[], str]) -> None:
    first, second = items(container(package(broken()), package(key(), serial="2")))
    assert isinstance(first, BadRow)
    assert len(first.text) < 200
    assert not isinstance(second, BadRow)


def test_a_number_encrypted_is_bounded_like_one_in_the_clear() -> None:
    counter = aes_cbc(b"9" * 200)
    held = key(sealed(), data=encrypted(counter, mac_of(counter), name="Counter"))
    assert only_bad(container(package(held), head=HEAD)).field == "Counter"


def test_elements_of_a_stranger_are_not_taken_for_ours() -> None:
    foreign = f'<x:Secret xmlns:x="urn:x"><PlainValue>{b64(bytes(20))}</PlainValue></x:Secret>'
    assert only_seed(container(package(key(data=foreign)))).key == SECRET


def test_the_file_never_reaches_the_parser_of_python_pskc(monkeypatch: pytest.MonkeyPatch) -> None:
    """It parses with lxml where that is installed, and lxml reads DTDs."""

    def parse(*_: object) -> None:
        raise AssertionError("python-pskc was given the file")

    monkeypatch.setattr("pskc.xml.parse", parse)
    monkeypatch.setattr("pskc.parser.parse", parse)
    assert only_seed(container(package(key(sealed())), head=HEAD)).key == SECRET


def test_knowing_the_format_loads_no_library() -> None:
    """A command that reads no PSKC file should not wait for what only PSKC needs."""
    loaded = "import sys, store.formats.pskc, store.formats.pskc_writer; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert "store.formats.pskc" in names
    assert not {"pskc", "cryptography", "dateutil", "lxml", "defusedxml"} & set(names)
