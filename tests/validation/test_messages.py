"""Texts that people read: complete in both languages, filled without evaluating, safe to print."""

import re
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.errors import BadInput
from validation.messages import (
    DEFAULTS,
    PLACEHOLDERS,
    MessageKey,
    check_text,
    default_text,
    fill,
    printable,
    tries_text,
    without_controls,
)

# --- the texts


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_language_has_every_text_with_the_same_placeholders() -> None:
    assert set(DEFAULTS) == {"en", "de"}
    for texts in DEFAULTS.values():
        assert set(texts) == set(MessageKey)
        assert all(text.strip() for text in texts.values())
        for key, text in texts.items():
            assert placeholders(text) == PLACEHOLDERS.get(key, frozenset()), key


def test_texts_differ_between_languages_and_hold_nothing_unprintable() -> None:
    for key in MessageKey:
        texts = {language: DEFAULTS[language][key] for language in DEFAULTS}
        assert len(set(texts.values())) == len(texts)
        lines = [line for text in texts.values() for line in text.split("\n")]
        assert all(line and line.isprintable() and without_controls(line) == line for line in lines)
        for text in texts.values():
            check_text(key, text)


@pytest.mark.parametrize(
    ("language", "tries", "ending"),
    [
        ("en", 1, "1 try left"),
        ("en", 2, "2 tries left"),
        ("de", 1, "Noch 1 Versuch"),
        ("de", 3, "Noch 3 Versuche"),
        ("xx", 2, "2 tries left"),
    ],
)
def test_the_tries_left_are_told_in_words(language: str, tries: int, ending: str) -> None:
    assert tries_text(tries, language) == ending
    text = fill(default_text(MessageKey.ASK_PIN_AGAIN, language), {"tries": tries_text(tries, language)})
    assert text.endswith(f". {ending}: ")
    assert "{" not in text


def test_a_language_nobody_wrote_is_english() -> None:
    for key in MessageKey:
        assert default_text(key, "xx") == default_text(key, "en")


# --- an admin's texts


@pytest.mark.parametrize("text", ["", "{tries}", "Nein. {tries}!\nNochmal: ", "Ещё раз. {tries}", "{tries}{tries}"])
def test_a_text_with_its_placeholder_is_possible_and_an_empty_one_takes_it_away(text: str) -> None:
    check_text(MessageKey.ASK_PIN_AGAIN, text)


@pytest.mark.parametrize(
    "text", ["Again: ", "{ tries}", "{tries", "{0}", "a\tb{tries}", "\x1b[2J{tries}", "{tries}\u202e"]
)
def test_a_text_that_says_less_than_it_must_or_steers_a_terminal_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"^ask-pin-again: ") as refusal:
        check_text(MessageKey.ASK_PIN_AGAIN, text)
    assert str(refusal.value).isprintable()


def test_every_placeholder_of_a_text_must_be_there() -> None:
    """Else nobody could enter the key, or redeem the ticket. The address may go: the key beside it is enough."""
    for key, names in PLACEHOLDERS.items():
        whole = "x " + " ".join(f"{{{name}}}" for name in names)
        check_text(key, whole)
        for name in names - ({"uri"} if key is MessageKey.KEY else set()):
            with pytest.raises(BadInput, match=re.escape(f"must hold {{{name}}}")):
                check_text(key, whole.replace(f"{{{name}}}", ""))


def test_a_key_may_be_shown_without_its_address() -> None:
    """For gateways that break it."""
    check_text(MessageKey.KEY, "Type {key}")
    with pytest.raises(BadInput, match=re.escape("must hold {uri}")):
        check_text(MessageKey.KEY_ON_SCREEN, "{qr} {key}")


@pytest.mark.parametrize(
    ("key", "text", "known"),
    [
        (MessageKey.REFUSED, "No, {user}.", "none"),
        (MessageKey.GRACE, "{days} days, {hours} hours", "{days}"),
        (MessageKey.KEY, "{key} {ticket}", "{key}, {uri}"),
    ],
)
def test_a_placeholder_that_nothing_fills_is_refused(key: MessageKey, text: str, known: str) -> None:
    with pytest.raises(BadInput, match=re.escape(f"as it stands; placeholders of this text: {known}") + "$"):
        check_text(key, text)


@pytest.mark.parametrize("text", ["Press {S}: ", "a { b } c", "{}", "{1}", "See http://host/{?x}"])
def test_braces_that_are_no_placeholder_are_a_text_like_others(text: str) -> None:
    check_text(MessageKey.WELCOME, text)


def test_a_text_is_measured_in_octets() -> None:
    check_text(MessageKey.HARDWARE_ONLY, "ж" * 2000)
    for key, most in ((MessageKey.HARDWARE_ONLY, 4000), (MessageKey.WELCOME, 3900), (MessageKey.KEY, 1500)):
        for text in ("ж" * (most // 2) + "{uri}{key}", "x" * (most + 1)):
            with pytest.raises(BadInput, match=f"octets; at most {most} fit"):
                check_text(key, text)


# --- fill


def test_fill_replaces_what_it_knows_and_leaves_the_rest() -> None:
    assert fill("{a} and {b}, {a}; {unknown} {", {"a": "x", "b": 2}) == "x and 2, x; {unknown} {"


@pytest.mark.parametrize(
    "template",
    [
        *(
            "{a.__class__}",
            "{a[0]}",
            "{a!r}",
            "{a:>99999999}",
            "{0}",
            "{}",
            "{{a}}",
            "}{",
            "{a",
            "a}",
            "%s",
            "$a",
            "{ a}",
        ),
        *("{a.__init__.__globals__}", "{a!r:{a}}", "{"),
    ],
)
def test_fill_evaluates_nothing(template: str) -> None:
    """Format strings reach into objects; here only an exact `{name}` is one."""
    expected = template.replace("{a}", "value")
    assert fill(template, {"a": "value"}) == expected


def test_what_is_filled_in_is_not_filled_again() -> None:
    assert fill("{a}{b}", {"a": "{b}", "b": "{a}"}) == "{b}{a}"


@given(st.text(), st.dictionaries(st.text("abc", min_size=1), st.text() | st.integers()))
def test_a_template_without_known_names_comes_back_as_it_was(template: str, values: dict[str, str | int]) -> None:
    unknown = {f"?{name}": value for name, value in values.items()}
    if not any(f"{{{name}}}" in template for name in unknown):
        assert fill(template, unknown) == template


# --- printable

NASTY = {
    "CR": ("a\rb", r"a\x0db"),
    "LF": ("a\nb", r"a\x0ab"),
    "CRLF and a forged line": ("a\r\nlogin accepted user=root", r"a\x0d\x0alogin accepted user=root"),
    "NUL": ("a\0b", r"a\x00b"),
    "ESC": ("\x1b[2J", r"\x1b[2J"),
    "C1 CSI": ("\x9b2J", r"\x9b2J"),
    "NEL": ("a\x85b", r"a\x85b"),
    "DEL": ("a\x7fb", r"a\x7fb"),
    "line separator": ("a\u2028b", r"a\u2028b"),
    "paragraph separator": ("a\u2029b", r"a\u2029b"),
    "bidi override": ("\u202etxt.exe", r"\u202etxt.exe"),
    "bidi isolate": ("\u2066a\u2069", r"\u2066a\u2069"),
    "zero width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "soft hyphen": ("a\xadb", r"a\xadb"),
    "tag": ("\U000e0041", r"\U000e0041"),
    "private": ("\ue000", r"\ue000"),
    "unassigned": ("\u0378", r"\u0378"),
    "lone surrogate": ("\udc80", r"\udc80"),
    "backslash": (r"\x0a", r"\\x0a"),
    "plain": ("Zoë 李 📱 {x} %s", "Zoë 李 📱 {x} %s"),
}


@pytest.mark.statement("C-032")
@pytest.mark.parametrize("name", NASTY)
def test_what_could_steer_a_terminal_or_forge_a_line_is_spelled_out(name: str) -> None:
    text, shown = NASTY[name]
    assert printable(text) == shown


def read_back(shown: str) -> str:
    def char(found: re.Match[str]) -> str:
        return "\\" if found[0] == r"\\" else chr(int(found[0][2:], 16))

    return re.sub(r"\\\\|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}", char, shown)


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)


@pytest.mark.statement("C-032")
@given(ANY_TEXT)
def test_what_is_printed_is_one_line_and_can_be_read_back(text: str) -> None:
    shown = printable(text, limit=100_000)
    assert len((shown + "|").splitlines()) == 1
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert read_back(shown) == text


@pytest.mark.statement("C-032")
@pytest.mark.parametrize("char", ["x", "\0", "\\", "\U000e0041", "é"])
def test_64_kilobytes_are_cut_and_the_cut_is_marked(char: str) -> None:
    shown = printable(char * 65_536)
    assert len(shown) <= 257
    assert shown.endswith("…")
    # No escape is cut in two.
    assert read_back(shown[:-1]) == char * ((len(shown) - 1) // len(printable(char)))


@pytest.mark.statement("C-032")
@given(ANY_TEXT, st.integers(0, 300))
def test_only_what_is_longer_than_the_limit_is_cut(text: str, limit: int) -> None:
    whole = printable(text, limit=100_000)
    shown = printable(text, limit)
    if len(whole) <= limit:
        assert shown == whole
    else:
        assert len(shown) <= limit + 1
        assert shown[-1] == "…"
        assert whole.startswith(shown[:-1])


# --- for a person's screen


def test_line_ends_become_blanks_and_other_controls_vanish() -> None:
    assert without_controls("a\r\nb\nc\td\x1b[31me\0f\u2028g\x85h\udc80i") == "a b c d[31mefghi"


@given(ANY_TEXT)
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    shown = without_controls(text)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert without_controls(shown) == shown


@given(st.text(max_size=40) | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300))
def test_what_is_plain_is_shown_as_it_is_and_nothing_else(text: str) -> None:
    """Most texts are handed back without a look at each character."""
    plain = len(text) <= 256 and all(" " <= char <= "~" and char != "\\" for char in text)
    assert (printable(text) == text) >= plain
    if not plain and text.isascii():
        assert printable(text) != text
