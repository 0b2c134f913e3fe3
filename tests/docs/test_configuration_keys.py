"""Every key of the configuration stands in a document, with the default it has, and no document names another.

Rule: the sections are those of `store.config`; what they are is read from blocks of TOML with a section in them, and
from tables of keys.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from store import config
from store.ldap_section import LdapSection
from tests.architecture.source import ROOT
from tests.docs.pages import text_of

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "store": config.StoreSection,
    "key": config.KeySection,
    "radius": config.RadiusSection,
    "notify": config.NotifySection,
    "names": config.NamesSection,
    "pam": config.PamSection,
    "first_factor.system": config.SystemSection,
    "first_factor.ldap": LdapSection,
    "first_factor.radius": config.UpstreamSection,
    "security_key": config.SecurityKeySection,
}
# Whose keys stand in a table on a page of their own; other tests hold those against the source.
TABLES = {"first_factor.ldap": "first-factor/ldap.md", "first_factor.radius": "first-factor/radius.md"}
# Shown as an example where the default is another.
EXAMPLES = {("store", "chain"), ("key", "file")}


def blocks() -> Iterator[tuple[str, dict[str, Any]]]:
    """Blocks of the server's configuration: where they stand, and what is in them."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "contrib").rglob("*.md")]:
        for name, block in re.findall(r"^```toml ?([^\n]*)\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL):
            if re.search(r"^\[", block, re.MULTILINE):
                yield f"{path.relative_to(ROOT)} {name}", tomllib.loads(block)


def keys_in(section: str, document: dict[str, Any]) -> dict[str, Any]:
    for name in section.split("."):
        document = document.get(name, {})
    return document


def in_blocks(section: str) -> set[str]:
    return {key for _, document in blocks() for key in keys_in(section, document)}


def in_words(section: str) -> set[str]:
    """Keys that are named in the prose of operations.md, or in a block without its section; or in their own table."""
    page = text_of(TABLES.get(section, "operations.md"))
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`(\w+)`", prose)) | set(re.findall(r"^(\w+) = ", page, re.MULTILINE))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_in_a_document(section: str) -> None:
    keys = set(SECTIONS[section].__struct_fields__)
    assert keys - in_blocks(section) - in_words(section) == set()


def test_every_section_is_looked_at() -> None:
    there = {value for name, value in vars(config).items() if name.endswith("Section")}
    assert there - set(SECTIONS.values()) == {config.FirstFactorSection}


def test_every_block_of_a_document_is_read_by_the_program() -> None:
    found = list(blocks())
    assert len(found) > 10
    known = {name.partition(".")[0] for name in SECTIONS}
    for where, document in found:
        assert set(document) <= known, where
        for section, kind in SECTIONS.items():
            assert set(keys_in(section, document)) <= set(kind.__struct_fields__), (where, section)


def test_the_overview_shows_the_defaults() -> None:
    (block,) = re.findall(
        r"^```toml\n(\[store\]\n.*?)^```$", text_of("operations.md", "Configuration"), re.M | re.DOTALL
    )
    overview = tomllib.loads(block)
    compared = 0
    for section, kind in SECTIONS.items():
        for key, shown in keys_in(section, overview).items():
            default = getattr(kind(), key)
            if (section, key) not in EXAMPLES:
                assert shown == (list(default) if isinstance(default, tuple) else default), (section, key)
                compared += 1
    assert compared > 15
