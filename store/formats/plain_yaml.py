"""A YAML list of mappings, as PyYAML's `safe_dump` writes it; that much of YAML and no more.

Rules: an item begins with `- ` at the left edge, its fields are indented by two, the fields of a mapping inside it by
four. Every value is text: `true` and `null` are not told from words (`null` is empty). Lists inside an item are left
out. No tags, anchors or aliases: nothing in a file can make this do more than read it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FIELD = re.compile(r"(?P<indent> *)(?P<name>[^\s:'\"][^:]*|'[^']*'|\"[^\"]*\"):(?: +(?P<value>.*))?")
_EMPTY = frozenset({"null", "~", "{}", "[]"})


@dataclass(slots=True)
class Item:
    line: int
    facts: dict[str, str] = field(default_factory=dict, repr=False)
    inner: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)


def items(lines: Iterator[tuple[int, str]]) -> Iterator[Item]:
    """One for each `- ` at the left edge."""
    item: Item | None = None
    opened = ""  # the field whose mapping the deeper lines belong to
    for number, line in lines:
        if line.startswith("- "):
            if item:
                yield item
            item, opened, line = Item(number), "", "  " + line[2:]
        if item and (found := _FIELD.fullmatch(line)):
            name, value = _scalar(found["name"]), _scalar(found["value"] or "")
            if len(found["indent"]) == 2:
                item.facts[name], opened = value, name
            elif len(found["indent"]) == 4 and opened:
                item.inner.setdefault(opened, {})[name] = value
    if item:
        yield item


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    return "" if text in _EMPTY else text
