"""README.md shows what a new user sees: its commands are typed in its order, and what they print is compared. The
replies that radclient shows are as long as what stands in them, here and in docs/radius/radclient.md.

Not compared: QR codes, what is asked for on a terminal, and what is drawn by lot (serials, keys, tickets, times).
"""

import re
import shlex
from pathlib import Path

import pytest

from store.migrations import HEAD
from tests.docs.pages import Host, text_of
from tests.docs.test_commands import documents
from tests.site import pin
from tests.wire import ACCEPT, CHALLENGE, MESSAGE_AUTHENTICATOR, REPLY_MESSAGE, STATE, Reply, access_request
from validation.requests import Wanted

PAGE = "../README.md"
ASKED_ON_A_TERMINAL = ("Password for alice:", "Password for carol:", "Ticket: TICKET", "Password:")
PROMPT = 76
NUMBERS = {
    "Message-Authenticator": MESSAGE_AUTHENTICATOR,
    "Reply-Message": REPLY_MESSAGE,
    "State": STATE,
    "Prompt": PROMPT,
}
DRAWN = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+"), "TIME"),
    (re.compile(r"TF-[A-Z2-9]{6}"), "SERIAL"),
    (re.compile(r"\b[0-9a-f]{40,64}\b"), "HEX"),
    (re.compile(r"secret=[A-Z2-7]+"), "secret=KEY"),
    (re.compile(r"\b[A-Z2-7]{4}( [A-Z2-7]{4}){7}\b"), "KEY"),
    (re.compile(r"\b[A-Z0-9]{5}(-[A-Z0-9]{5}){4}-[A-Z0-9]\b"), "TICKET"),
    (re.compile(r"actor=[^=]+?(?= \w+=|$)"), "actor=SOMEBODY"),
    (re.compile(r"^head \S+"), "head HOST"),
)


def shown(command: str) -> list[str]:
    """What the page shows of a command."""
    found = re.findall(rf"^\$ {re.escape(command)}\n((?:(?!\$ |```).*\n)*)", text_of(PAGE), re.MULTILINE)
    assert len(found) == 1, command
    return plain(found[0])


def plain(text: str, folder: Path = Path("/home/alice/twofold")) -> list[str]:
    lines = [" ".join(line.split()) for line in text.replace(str(folder), "FOLDER").splitlines()]
    for pattern, word in DRAWN:
        lines = [pattern.sub(word, line) for line in lines]
    return [line for line in lines if line and not re.search("[█▀…]", line) and line not in ASKED_ON_A_TERMINAL]


def check_typed(host: Host, command: str, stdin: str = "") -> str:
    said = host.type(f"printf %s {shlex.quote(stdin)} | {command}")
    assert plain(said, host.folder) == shown(command)
    return said


def test_the_road_from_zero_to_a_login(tmp_path: Path) -> None:
    host = Host(tmp_path / "host")
    (tmp_path / "new").mkdir()
    first = host.type(f"twofold --config {tmp_path}/new/twofold.toml init")
    assert plain(first, tmp_path / "new") == shown("twofold init")
    check_typed(host, "twofold user add alice --password-stdin", "correct horse")
    check_typed(host, "twofold token enroll alice")
    check_typed(host, "twofold client add this-host 127.0.0.1 --generate-secret")
    (client,) = host.gate.clients()
    (token,) = host.database.look([Wanted(user="alice")])[0].tokens
    with host.server("--listen", "127.0.0.1:0") as server, server.nas(client.secret) as nas:
        asked = nas.login("alice", "correct horse")
        check_same(asked, "Access-Challenge", "PIN from your authenticator app")
        accepted = nas.ask(access_request(client.secret, "alice", pin(token), state=asked.state))
        check_same(accepted, "Access-Accept", "")
        check_typed(host, "twofold audit list")
        check_typed(host, "twofold audit verify")
        check_typed(host, "twofold user add carol --password-stdin", "battery staple")
        ticket = nas.login("carol", "battery staple")
        check_same(ticket, "Access-Challenge", "enrolment ticket")
    check_redeemed(host, ticket)
    host.database.close()


def check_redeemed(host: Host, reply: Reply) -> None:
    """As far as to the question for a PIN, which is that of the key that is shown."""
    (ticket,) = re.findall(r"good for 10 minutes: (\S{31})", reply.text)
    said = host.type(f"printf '%s\\n' {ticket} 'battery staple' | twofold ticket redeem", fails=True)
    *pages, _, done = shown("twofold ticket redeem")
    assert plain(said)[: len(pages)] == pages
    assert done.startswith("Done.")


def test_the_schema_that_is_shown_is_this_versions() -> None:
    shown = {path: re.findall(r"schema\W+(?:none -> )?(\d{4})", path.read_text()) for path in documents()}
    found = {path.name: numbers for path, numbers in shown.items() if numbers}
    assert {"README.md"} <= found.keys()
    assert {number for numbers in found.values() for number in numbers} == {HEAD}, found


# --- replies


def replies(page: str) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Code, length and attributes, as radclient writes them."""
    found = re.findall(r"^Received (\S+) Id .* length (\d+)\n((?:\t.*\n)+)", text_of(page), re.MULTILINE)
    return [(code, int(n), re.findall(r"^\t(\S+) = (.*)$", lines, re.MULTILINE)) for code, n, lines in found]


def octets(name: str, value: str) -> int:
    if name == "Prompt":
        return 6
    if value.startswith("0x"):
        return 2 + len(value) // 2 - 1
    return 2 + len(value[1:-1].replace('\\"', '"').encode())


def check_same(reply: Reply, code: str, text: str) -> None:
    """The first reply of the page with this code and text has the attributes of `reply`, in their order."""
    named = next(a for c, _, a in replies(PAGE) if c == code and (not text or any(text in v for _, v in a)))
    assert reply.code == {"Access-Accept": ACCEPT, "Access-Challenge": CHALLENGE}[code]
    assert [NUMBERS[name] for name, _ in named] == [kind for kind, _ in reply.attributes]


@pytest.mark.parametrize("page", [PAGE, "radius/radclient.md"])
def test_a_reply_is_as_long_as_what_stands_in_it(page: str) -> None:
    found = replies(page)
    assert len(found) >= 3
    for code, length, attributes in found:
        assert 20 + sum(octets(name, value) for name, value in attributes) == length, (code, attributes)
        assert ("Prompt" in dict(attributes)) is (code == "Access-Challenge"), attributes
