"""The pages about gateways in docs/radius: each says whether it was tried, stands in the index, and what it tells an
admin to type is taken by `twofold`.

Rule: the pages are read, never copied. What is typed at a gateway itself cannot be checked here.
"""

import re
import shlex
from pathlib import Path

import pytest

from store.cli.presets import PRESETS
from tests.docs.pages import Host, steps
from validation.attributes import canonical
from validation.requests import AddUser

FOLDER = Path(__file__).parents[2] / "docs" / "radius"
NOT_GATEWAYS = {"README.md", "clients.md", "measured.md", "replies.md", "test-client.md", "troubleshooting.md"}
PAGES = sorted(path.name for path in FOLDER.glob("*.md") if path.name not in NOT_GATEWAYS)
FOLLOWED = {"freeradius.md", "radclient.md", "pam_radius.md"}  # by tests of their own
HEADINGS = {
    "On the Twofold server",
    "Time-outs and tries",
    "What the person sees",
    "Reply attributes",
    "What does not work",
}


def text_of(name: str) -> str:
    return (FOLDER / name).read_text()


def replies_of(text: str) -> list[str]:
    """`NAME=VALUE` wherever a page tells one to set it: in commands, and in the list of useful attributes."""
    (useful,) = re.findall(r"^## Reply attributes$(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"'([A-Z][\w-]+=[^']+)'", text) + re.findall(r"`([A-Z][\w-]+=[^`]+)`", useful)


def test_the_index_lists_every_page_once() -> None:
    listed = re.findall(r"^\| \[[^]]+\]\((\w+\.md)\) \|", text_of("README.md"), re.MULTILINE)
    assert sorted(listed) == PAGES


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_index_says_what_the_presets_set() -> None:
    lines = [cells(line) for line in text_of("README.md").splitlines() if line.startswith("| [")]
    presets = {line[1].strip("`"): line for line in lines if line[1]}
    assert presets.keys() == PRESETS.keys()
    for name, preset in PRESETS.items():
        _, _, mode, rule, _, tried = presets[name]
        assert f"`{preset.mode}`" in mode, name
        assert f"`{preset.rule}`" in rule, name
        page = next(line[0] for line in lines if line[1] == f"`{name}`")
        (file,) = re.findall(r"\((\S+)\)", page)
        assert (tried == "tried") is ("not tried." not in text_of(file).split("\n\n")[1]), name


@pytest.mark.parametrize("page", [page for page in PAGES if page not in FOLLOWED])
def test_a_page_says_whether_it_was_tried_and_has_every_part(page: str) -> None:
    text = text_of(page)
    said = " ".join(text.split("\n\n")[1].split())
    assert re.search(r"documents, not tried\.$|Not tried with Twofold\.$|^Tried: .*`tests/peers/\w+/\w+\.py`", said), (
        said
    )
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert not HEADINGS - set(headings), headings
    assert headings[-1] == "Documents"


@pytest.mark.parametrize("page", [page for page in PAGES if page not in FOLLOWED])
def test_every_reply_attribute_of_a_page_can_be_set(page: str) -> None:
    found = replies_of(text_of(page))
    assert found
    for pair in found:
        name, _, value = pair.partition("=")
        assert canonical(name, value), pair


@pytest.mark.parametrize("page", [page for page in PAGES if page not in FOLLOWED])
def test_what_the_page_types_is_taken(page: str, tmp_path: Path) -> None:
    host = Host(tmp_path / "host")
    host.gate.administer(AddUser(actor="test", name="alice", groups=("vpn", "staff", "netadmin")))
    typed = steps(text_of(page))
    assert shlex.split(typed[0].command)[:3] == ["twofold", "client", "add"]
    for step in typed:
        host.type(step.command)


def test_what_the_page_about_clients_types_is_taken(tmp_path: Path) -> None:
    host = Host(tmp_path / "host")
    host.gate.administer(AddUser(actor="test", name="alice", groups=("admins",)))
    typed = steps(text_of("clients.md"))
    assert len(typed) > 15
    for step in typed:
        host.type(step.command)
