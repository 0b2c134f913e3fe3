"""docs/radius/replies.md lists each attribute that can be set, with its number, vendor, type and how many."""

from pathlib import Path

from validation.attributes.kinds import Choice, Number
from validation.attributes.table import TABLE, Attribute

PAGE = Path(__file__).parents[2] / "docs" / "radius" / "replies.md"


def row(attribute: Attribute) -> str:
    kind = attribute.type_name
    if isinstance(attribute.kind, Number):
        kind += f", {attribute.kind.least} to {attribute.kind.most}"
    if isinstance(attribute.kind, Choice):
        kind = ", ".join(f"`{name}`" for name in attribute.kind.numbers)
    several = "one for each tag" if attribute.tagged else "yes" if attribute.many else "no"
    return f"| `{attribute.name}` | {attribute.number} | {attribute.vendor or ''} | {kind} | {several} |"


def test_the_page_lists_what_can_be_set_and_nothing_else() -> None:
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert listed == [row(attribute) for attribute in TABLE]
