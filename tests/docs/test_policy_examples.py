"""docs/policy.md says what is true: its lines run as they stand, and it names every key with its default.

Rule: the page is read, never copied. An example is an indented or fenced line of `twofold policy set`, `policy unset`
or `message set`; the one line that explains the form (`KEY [options]`) is not.
"""

import re
import shlex
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from tests.site import Site
from tests.store.cli.command import Twofold
from validation.settings import DEFAULTS, KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
FORM = "twofold policy unset KEY [options]"
SCOPE = ("group", "client", "service", "nas", "from")


def code_lines(page: str) -> list[str]:
    """Indented by four blanks, or between fences."""
    lines, fenced = [], False
    for line in page.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.strip())
    return lines


def examples(page: str) -> list[list[str]]:
    """The words of each example, in the order of the page."""
    named = re.compile(r"twofold (policy (un)?set|message set) ")
    return [shlex.split(line) for line in code_lines(page) if named.match(line) and not line.startswith(FORM)]


def stated_defaults(page: str) -> dict[str, str]:
    """**`KEY`** (default `VALUE`…, wherever a line breaks."""
    return dict(re.findall(r"\*\*`(\w+)`\*\*\s+\(default\s+`([^`]+)`", page))


def understood(words: list[str]) -> dict[str, Any]:
    """An example as `show --json` has it: what is set, and for whom."""
    parser = ArgumentParser()
    parser.add_argument("named", nargs="+")
    for option in (*SCOPE, "lang"):
        parser.add_argument(f"--{option}")
    return vars(parser.parse_args(words[3:]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """What the page assumes: clients `vpn1` and `wlan`, and a user `alice`."""
    site = Site(tmp_path_factory.mktemp("page"))
    site.add_client("vpn1", "192.0.2.1/32")
    site.add_client("wlan", "192.0.2.2/32")
    site.add_user("alice")
    return site


def test_every_example_runs_as_it_stands_and_can_be_seen(site: Site) -> None:
    twofold, verbs = Twofold(site), set()
    for words in examples(PAGE):
        if (verb := " ".join(words[1:3])) in verbs:
            twofold.done(*words[1:])
        else:  # the first of each as a process of its own, and not all: they are many
            done = site.command(*words[1:])
            assert done.returncode == 0, (words, done.stderr)
        verbs.add(verb)
        check_visible(twofold, words)


def check_visible(twofold: Twofold, words: list[str]) -> None:
    _, noun, verb, *_ = words
    asked = understood(words)
    if noun == "message":
        shown = twofold.done("message", "show", "--json").json["set"]
        name, text = asked["named"]
        wanted = {"name": name, "text": text, "language": asked["lang"]}
        scope: tuple[str, ...] = SCOPE[:3]  # a text is not for a network
    else:
        shown = twofold.done("policy", "show", "--json").json
        wanted, scope = dict(zip(("key", "value"), asked["named"], strict=False)), SCOPE
    wanted |= {name: asked[name] for name in scope}
    seen = [row for row in shown if wanted.items() <= row.items()]
    assert len(seen) == (1 if verb == "set" else 0), (words, shown)


def test_every_key_has_an_example() -> None:
    assert {words[3] for words in examples(PAGE) if words[1:3] == ["policy", "set"]} == set(KEYS)


def test_an_example_of_every_verb_is_there() -> None:
    assert {" ".join(words[1:3]) for words in examples(PAGE)} == {"policy set", "policy unset", "message set"}


def test_every_key_is_stated_with_the_default_it_has() -> None:
    stated = stated_defaults(PAGE)
    assert set(stated) == set(KEYS)
    assert {key: KEYS[key].read(text) for key, text in stated.items()} == {key: getattr(DEFAULTS, key) for key in KEYS}


def test_lines_and_defaults_are_found_wherever_they_stand() -> None:
    page = (
        "**`tries`** (default\n`3`): how\n\n    twofold policy set tries 5\n\n```\ntwofold message set apps 'a b'\n```"
    )
    assert examples(page) == [["twofold", "policy", "set", "tries", "5"], ["twofold", "message", "set", "apps", "a b"]]
    assert stated_defaults(page) == {"tries": "3"}
    assert examples(f"```\n{FORM}   with the same options\n```\n") == []
