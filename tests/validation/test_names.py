"""User names: RFC 8265 for every spelling, realms only where they are configured, and one user for all of them."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from precis_i18n import get_profile

from validation.names import EXACT, MAX_OCTETS, Spelling

SITE = Spelling(realms=("EXAMPLE", "example.org"))
ANY_CASE = Spelling(realms=("EXAMPLE", "example.org"), case_insensitive=True)


# --- RFC 8265


@pytest.mark.statement("C-051")
@pytest.mark.parametrize(
    "name",
    # RFC 8265 table 1, examples 1 to 8 where they are usernames of one part
    ["juliet@example.com", "fussball", "fußball", "π", "Σ", "\u03c3", "ς", "Juliet"],
)
def test_names_of_the_rfc_are_kept_as_they_are(name: str) -> None:
    assert EXACT.canonical(name) == name


@pytest.mark.statement("C-051")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("henry\u2163", "ROMAN NUMERAL FOUR has a compatibility form (RFC 8265 example 11)"),
        ("\u265a", "BLACK CHESS KING is a symbol (example 12)"),
        ("\ufb01n", "the ligature fi has a compatibility form"),
        ("al\u200bice", "ZERO WIDTH SPACE"),
        ("al\u200dice", "ZERO WIDTH JOINER without its context"),
        ("al\u202eice", "RIGHT-TO-LEFT OVERRIDE"),
        ("alice\u0378", "unassigned"),
        ("\ue000", "private use"),
        ("\ufdd0", "a noncharacter"),
        ("al\udc80ice", "a lone surrogate"),
        ("\u05d0a", "directions are mixed (RFC 5893)"),
        ("a\u05d0", "directions are mixed"),
        ("1\u05d0", "a name from right to left begins with a digit"),
        ("al\u00a0ice", "NO-BREAK SPACE"),
        ("al\u3000ice", "IDEOGRAPHIC SPACE"),
        ("a\tb", "a control"),
        ("a\nb", "a control"),
        ("a\rb", "a control"),
        ("a\0b", "a control"),
        ("\x1b[2J", "a control"),
        (" alice", "a blank in front"),
        ("alice ", "a blank behind"),
        ("al  ice", "two blanks"),
        (" ", "blanks alone"),
        ("-alice", "looks like an option"),
        ("--config=x", "looks like an option"),
        ("\uff0dalice", "a wide dash, which is folded to one"),
        ("x" * 254, "too long"),
        ("\u00fc" * 127, "254 octets"),
        ("x" * 10_000_000, "ten million characters"),
    ],
    ids=lambda value: ascii(value)[:40],
)
@pytest.mark.parametrize("spelling", [EXACT, SITE, ANY_CASE], ids=["exact", "site", "any case"])
def test_what_the_rule_forbids_is_nobodys_name(name: str, why: str, spelling: Spelling) -> None:
    assert spelling.canonical(name) is None, why


@pytest.mark.statement("C-051", "C-050")
@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("\u212bsa", "\u00c5sa"),  # ANGSTROM SIGN
        ("A\u030asa", "\u00c5sa"),
        ("\uff41\uff4c\uff49\uff43\uff45", "alice"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\uff8a\uff9f", "\u30d1"),  # half width katakana with its mark
    ],
    ids=ascii,
)
def test_widths_and_compositions_of_one_name_are_one_name(typed: str, stored: str) -> None:
    assert EXACT.canonical(typed) == EXACT.canonical(stored) == stored


@pytest.mark.statement("C-054", "C-056")
@pytest.mark.parametrize(
    "name",
    [
        "root",
        "0",
        "1000",
        "*",
        "a*",
        "..",
        "../../etc/passwd",
        "a/b",
        "'",
        "';DROP",
        "(uid=*)",
        "$(id)",
        "a;b",
        "%s",
        "{0}",
        "x" * 253,
        "\u674e",
        "\u05d0\u05d1",
        "a b",
        "DOMAIN\\bob",
        "bob@other",
        "@",
        "a@b@c",
        "NULL",
        "\\",
    ],
    ids=ascii,
)
def test_odd_names_are_themselves_and_nothing_else(name: str) -> None:
    """They are compared octet by octet later; nothing in them is a path, a pattern or a statement."""
    assert EXACT.canonical(name) == name


# --- case


@pytest.mark.statement("C-052")
def test_case_counts_unless_the_site_says_otherwise() -> None:
    assert [EXACT.canonical(name) for name in ("Alice", "ALICE", "alice")] == ["Alice", "ALICE", "alice"]
    assert {ANY_CASE.canonical(name) for name in ("Alice", "ALICE", "alice", "\uff21lice")} == {"alice"}


@pytest.mark.statement("C-052")
@pytest.mark.parametrize(
    ("one", "other"),
    [("I", "\u0131"), ("\u0130", "I"), ("stra\u00dfe", "strasse"), ("\u03c2", "\u03c3"), ("\u212a", "\u0138")],
    ids=ascii,
)
def test_letters_that_only_some_languages_take_for_one_stay_two(one: str, other: str) -> None:
    assert ANY_CASE.canonical(one) != ANY_CASE.canonical(other)


@pytest.mark.statement("C-052")
def test_no_locale_plays_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for locale in ("tr_TR.UTF-8", "C"):
        monkeypatch.setenv("LC_ALL", locale)
        assert (ANY_CASE.canonical("TITI"), ANY_CASE.canonical("\u00dc")) == ("titi", "\u00fc")


# --- realms


@pytest.mark.statement("C-053")
@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("alice", "alice"),
        ("EXAMPLE\\alice", "alice"),
        ("example\\alice", "alice"),
        ("EXAMPLE/alice", "alice"),
        ("alice@EXAMPLE", "alice"),
        ("alice@example.org", "alice"),
        ("alice@Example.ORG", "alice"),
        ("OTHER\\alice", "OTHER\\alice"),
        ("alice@other.org", "alice@other.org"),
        ("alice@example.org.evil", "alice@example.org.evil"),
        ("a@b@example.org", "a@b"),
        ("alice@example.org@other", "alice@example.org@other"),
        ("@example.org", "@example.org"),
        ("alice@", "alice@"),
        ("EXAMPLE\\", "EXAMPLE\\"),
        ("\\alice", "\\alice"),
        ("/alice", "/alice"),
        ("EXAMPLE\\a@other", "a@other"),
        ("example.org", "example.org"),
    ],
)
def test_only_configured_realms_are_taken_off(typed: str, stored: str) -> None:
    assert SITE.canonical(typed) == stored
    assert EXACT.canonical(typed) == typed, "none is configured"


@pytest.mark.statement("C-053")
def test_what_is_left_after_a_realm_must_be_a_name() -> None:
    for typed in ("EXAMPLE\\-x", "EXAMPLE\\ x", "EXAMPLE\\a\0b", "-x@example.org", " @example.org"):
        assert SITE.canonical(typed) is None


@pytest.mark.statement("C-051")
def test_the_longest_name_may_be_typed_with_every_letter_in_its_pieces() -> None:
    """Its octets are counted when it is folded: 84 letters of three octets, each typed as three characters."""
    letter = "\u1ea5"  # a with circumflex and acute
    typed = "EXAMPLE\\" + unicodedata.normalize("NFD", letter) * 84
    assert SITE.canonical(typed) == letter * 84
    assert SITE.canonical(typed + letter) is None


@pytest.mark.statement("C-050")
@pytest.mark.parametrize("spelling", [SITE, ANY_CASE])
def test_every_way_of_writing_a_name_leads_to_one_user(spelling: Spelling) -> None:
    ways = ["zo\u00eb", "zoe\u0308", "EXAMPLE\\zo\u00eb", "zo\u00eb@example.org", "example/zoe\u0308", "\uff5ao\u00eb"]
    assert {spelling.canonical(way) for way in ways} == {"zo\u00eb"}


# --- whatever is typed

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=40) | st.text(
    "aA\\/@-. \u0301\uff21\u05d0"
)


@pytest.mark.statement("C-050", "C-054", "C-055")
@given(ANY_TEXT)
def test_a_stored_name_is_its_own_spelling_and_safe_to_look_at(typed: str) -> None:
    """So two accounts cannot have names that lead to one another."""
    for spelling in (EXACT, Spelling(case_insensitive=True)):
        stored = spelling.canonical(typed)
        if stored is not None:
            assert spelling.canonical(stored) == stored
            assert unicodedata.is_normalized("NFC", stored)
            assert 0 < len(stored.encode()) <= MAX_OCTETS
            assert stored.isprintable()
            assert stored == stored.strip()
            assert not stored.startswith("-")


@given(ANY_TEXT)
def test_nothing_that_is_typed_raises(typed: Any) -> None:
    for spelling in (EXACT, SITE, ANY_CASE):
        canonical = spelling.canonical(typed)
        assert canonical is None or spelling.canonical(canonical) == canonical, "spelling it twice changes nothing"


# --- aliases


def test_an_alias_leads_to_its_user_however_it_is_written() -> None:
    spelling = Spelling(realms=("EXAMPLE",), case_insensitive=True, aliases={"al": "alice"})
    assert {spelling.canonical(typed) for typed in ("al", "AL", "EXAMPLE\\Al", "alice", "al@example")} == {"alice"}
    assert all(spelling.is_alias(typed) for typed in ("Al", "al@EXAMPLE"))
    assert not any(spelling.is_alias(typed) for typed in ("alice", "alan", ""))


# --- What is short cut


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x7F), max_size=40))
def test_ascii_names_are_what_the_profiles_make_of_them(name: str) -> None:
    """They are not asked for most names; here they are."""
    for profile, spelling in (
        ("UsernameCasePreserved", EXACT),
        ("UsernameCaseMapped", Spelling(case_insensitive=True)),
    ):
        try:
            made: str | None = " ".join(get_profile(profile).enforce(part) for part in name.split(" "))
        except UnicodeError:
            made = None
        expected = made if made and not made.startswith("-") else None
        assert spelling.canonical(name) == expected
