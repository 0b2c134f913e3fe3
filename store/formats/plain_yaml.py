"""A YAML list of mappings, as PyYAML's `safe_dump` writes it; that much of YAML and no more.

Rules: an item begins with `- ` at the left edge, its fields are indented by two, the fields of a mapping inside it by
four. Every value is text: `true` and `null` are not told from words (`null` is empty). A long value goes on in deeper
lines. Lists inside an item are left out. No tags, anchors or aliases: nothing in a file can make this do more than
read it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FIELD = re.compile(r"(?P<indent> *)(?P<name>[^\s:'\"][^:]*|'[^']*'|\"[^\"]*\"):(?: +(?P<value>.*))?")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U00([0-9A-Fa-f]{6})|(.))")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"}
_LAST_CODE_POINT = 0x10FFFF
_EMPTY = frozenset({"null", "~", "{}", "[]"})
_OUTER, _INNER = 2, 4  # indents


@dataclass(slots=True)
class Item:
    line: int
    facts: dict[str, str] = field(default_factory=dict, repr=False)
    inner: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class _Field:
    indent: int
    name: str
    value: str


def items(lines: Iterator[tuple[int, str]]) -> Iterator[Item]:
    """One for each `- ` at the left edge."""
    first, found = 0, list[_Field]()
    for number, line in lines:
        if line.startswith("- "):
            if first:
                yield _item(first, found)
            first, found, line = number, [], "  " + line[2:]
        if first and line:
            _add(found, line)
    if first:
        yield _item(first, found)


def _add(found: list[_Field], line: str) -> None:
    indent = len(line) - len(line.lstrip(" "))
    if found and found[-1].value and indent > found[-1].indent:
        value = found[-1].value
        # Inside quotation marks a backslash at the end of a line means that nothing stands between the two.
        joined = value.startswith('"') and value.endswith("\\")
        found[-1].value = (value[:-1] if joined else value + " ") + line.strip()
    elif match := _FIELD.fullmatch(line):
        found.append(_Field(indent, _scalar(match["name"]), (match["value"] or "").strip()))


def _item(line: int, found: list[_Field]) -> Item:
    item, opened = Item(line), ""
    for each in found:
        if each.indent == _OUTER:
            item.facts[each.name], opened = _scalar(each.value), each.name
        elif each.indent == _INNER and opened:
            item.inner.setdefault(opened, {})[each.name] = _scalar(each.value)
    return item


def _scalar(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPE.sub(_unescaped, text[1:-1])
    return "" if text in _EMPTY else text


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code:
        return chr(min(int(code, 16), _LAST_CODE_POINT))
    return _ESCAPED.get(found[4], found[4])
