"""docs/radius/troubleshooting.md explains every word that the RADIUS server logs: reasons of decisions and of drops,
why a request is no login, and what its other lines begin with. It explains no drop that there is not.

Rule: the words are read from the source, never copied.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT, last_name, trees
from tests.docs.pages import text_of
from validation.decisions import Reason

PAGE = "radius/troubleshooting.md"
SERVER = [
    *trees(ROOT / "radius_server"),
    *(each for each in trees(ROOT / "radius_client") if each[0].endswith("wire.py")),
]
# Of our own client, which has no page of its own: what it says of replies.
OF_REPLIES = {"response-authenticator-wrong", "identifier-of-another", "code-unexpected"}


def named(text: str) -> set[str]:
    """Everything between backticks, outside blocks."""
    return set(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)))


def beginnings(names: set[str]) -> set[str]:
    """Their first words."""
    return {name.split()[0] for name in names}


def first_strings(tree: ast.AST, *functions: str) -> Iterator[str]:
    """What stands first in calls of `functions`, as far as it is text; `…` is what is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and last_name(node.func) in functions and node.args:
            yield from filled(node.args[0])


def filled(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
        case _:
            pass


def in_server(*functions: str) -> set[str]:
    return {text for _, tree in SERVER for text in first_strings(tree, *functions)}


def drops() -> set[str]:
    """Words of `drop` lines."""
    found = in_server("Malformed") - OF_REPLIES
    for _, tree in SERVER:
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="drop" | "_drop"), args=[_, ast.Constant(value=str(word)), *_]):
                    found.add(word)
                case ast.FunctionDef(name="refusal" | "_not_now"):
                    found |= {word for word in returned(node) if word}
                case _:
                    pass
    return found


def returned(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            constants = (part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant))
            yield from (value for value in constants if isinstance(value, str))


def counted_alone() -> set[str]:
    """`drops.counters["…"] += 1`: packets that were dropped without a drop line."""
    return {
        str(node.target.slice.value)
        for _, tree in SERVER
        for node in ast.walk(tree)
        if isinstance(node, ast.AugAssign)
        and isinstance(node.target, ast.Subscript)
        and isinstance(node.target.slice, ast.Constant)
    }


def rows(heading: str) -> set[str]:
    """What stands between backticks in the first column of the first table below a heading."""
    table = text_of(PAGE, heading).split("\n\n| ", 1)[1].split("\n\n")[0]
    return {name for line in table.splitlines() for name in named(line.strip("| ").split(" | ")[0])}


def test_every_drop_is_explained_and_no_other() -> None:
    words = drops() | {"duplicate-in-work", "duplicate-full"}
    assert {"unknown-client", "overload", "too-late", "send-failed", "status-server-off", "lone-octet"} <= words
    assert rows("Drops") == words


def test_what_is_counted_without_a_drop_line_is_named() -> None:
    assert {"store-unavailable", "internal-error"} <= counted_alone()
    assert counted_alone() <= named(text_of(PAGE, "Drops"))


def test_every_reason_of_a_decision_is_explained() -> None:
    words = {word.removeprefix("challenge … reason=") for word in named(text_of(PAGE))}
    assert [str(reason) for reason in Reason if reason not in words] == []


def test_every_line_of_the_server_is_explained() -> None:
    lines = in_server("line", "Line") - {"drop"}
    assert {"listening", "store-back", "gate-ended", "nas-not-named", "reload-refused"} <= lines
    assert lines - beginnings(named(text_of(PAGE))) == set()


def test_every_phrase_about_a_request_that_is_no_login_is_explained() -> None:
    phrases = in_server("Unsupported", "BadPassword")
    assert "an empty password" in phrases
    explained = [re.escape(name).replace("…", ".*") for name in named(text_of(PAGE, "Rejects"))]
    # What is filled in at the beginning, and what no client has.
    phrases = {phrase.replace("… is not", "User-Name is not") for phrase in phrases} - {"no shared secret"}
    for phrase in phrases:
        assert any(re.match(pattern, phrase.replace("…, only", "CHAP, only")) for pattern in explained), phrase


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('raise Malformed("lone-octet")', ["lone-octet"]),
        ('log.error(line("store-back", error=x))', ["store-back"]),
        ('raise Unsupported(f"{what} is not UTF-8")', ["… is not UTF-8"]),
        ("raise Malformed(error.reason)", []),
    ],
)
def test_words_are_found_in_the_source(code: str, found: list[str]) -> None:
    assert list(first_strings(ast.parse(code), "Malformed", "line", "Unsupported")) == found
