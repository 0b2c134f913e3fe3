"""docs/several-servers.md is followed to the letter: a PostgreSQL with TLS, two hosts, and then the move of a store.

Stood in for: the database's name and the folder /etc. Its roles' passwords are set without `\\password`, which asks.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import Host, text_of
from tests.peers.authority import Authority
from tests.postgres import Postgres, postgres
from tests.site import pin
from tests.wire import ACCEPT, CHALLENGE, REJECT, access_request
from validation.model import Mode
from validation.requests import EnrollToken, Wanted

PAGE = "several-servers.md"
NAME = "db.example.org"

pytestmark = pytest.mark.peer("postgres", "psql")


@dataclass
class Place:
    """The database of the page."""

    server: Postgres
    port: int
    authority: Path

    def here(self, text: str) -> str:
        """With the page's database in place of its name."""
        return text.replace(f"{NAME}/", f"localhost:{self.port}/").replace(f"{NAME}:", "localhost:")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("database")
    authority = Authority(folder, "ca")
    with postgres(listen="127.0.0.1") as server:
        port = server.use_tls(*authority.sign("server", "localhost"))
        (statements,) = re.findall(r"```sql\n(.*?)```", text_of(PAGE, "The database"), re.DOTALL)
        for statement in statements.strip().splitlines():
            server.sql(statement)
        for role in ("twofold", "twofold_owner"):
            server.sql(f"ALTER ROLE {role} PASSWORD '{role} knows'")
        yield Place(server, port, authority.file)


def host(folder: Path, place: Place, chain: str) -> Host:
    """After `make install`: with a key and a store of its own. Its files for the database are those of the page."""
    made = Host(folder)
    etc = made.inside("/etc/twofold")
    etc.mkdir()
    shutil.copy(place.authority, etc / "db-ca.pem")
    (line,) = re.findall(r"^db\.example\.org:.*$", text_of(PAGE, "The first server"), re.MULTILINE)
    for name, role in (("db.pass", "twofold"), ("owner.pass", "twofold_owner")):
        said = line.replace(":twofold:the password of twofold", f":{role}:{role} knows")
        (etc / name).write_text(place.here(said) + "\n")
        (etc / name).chmod(0o600)
    made.type(f"sed -i 's/^chain = .*/chain = \"{chain}\"/' {made.config_file}")
    return made


def use_server(made: Host, place: Place) -> None:
    """`[store]` names the database instead of the file."""
    (line,) = re.findall(r"^url = .*$", text_of(PAGE, "The first server"), re.MULTILINE)
    line = place.here(line).replace("/etc/", f"{made.folder}/etc/")
    text = re.sub(r"^path = .*\n", "", made.config_file.read_text(), flags=re.MULTILINE)
    made.config_file.write_text(text.replace("[store]", f"[store]\n{line}"))


@pytest.mark.timeout(240)
def test_two_hosts_one_after_the_other_and_a_login_at_both(tmp_path: Path, place: Place) -> None:
    first = host(tmp_path / "one", place, "vpn-radius-1")
    use_server(first, place)
    first.follow(place.here(text_of(PAGE, "The first server")))
    second = host(tmp_path / "two", place, "vpn-radius-2")
    use_server(second, place)
    refused, agreed = text_of(PAGE, "The second server").split("With the copy there is nothing to do")
    second.follow(place.here(refused))
    shutil.copy(first.key_file, second.key_file)
    second.follow(place.here(agreed))
    for title in ("A new version", "Is it whole?"):
        first.follow(place.here(text_of(PAGE, title)))
    check_a_login(first, second)
    first.database.close()


def check_a_login(first: Host, second: Host) -> None:
    """The gateway of the page with a challenge begun at one and ended at the other."""
    (network,) = [client.network for client in first.gate.clients()]
    assert str(network) == "127.0.0.1/32"
    (client,) = first.gate.clients()
    assert client.mode is Mode.CHALLENGE
    first.type("printf %s geheim | twofold user set alice --password-stdin")
    key = bytes(range(20))
    first.gate.administer(EnrollToken(actor="test", user="alice", kind="hotp", key=key, serial="KNOWN"))
    (token,) = [t for t in first.database.look([_alice()])[0].tokens if t.serial == "KNOWN"]
    listen = ("--listen", "127.0.0.1:0")
    with (
        first.server(*listen) as one,
        second.server(*listen) as two,
        one.nas(client.secret) as here,
        two.nas(client.secret) as there,
    ):
        asked = here.login("alice", "geheim")
        assert asked.code == CHALLENGE
        assert there.ask(access_request(client.secret, "alice", pin(token), state=asked.state)).code == ACCEPT
        assert here.login("alice", "other").code == REJECT


def _alice() -> Wanted:
    return Wanted(user="alice")


def test_a_store_moves_in(tmp_path: Path, place: Place) -> None:
    place.server.sql("DROP DATABASE twofold WITH (FORCE)")
    (create,) = re.findall(r"^CREATE DATABASE .*$", text_of(PAGE, "The database"), re.MULTILINE)
    place.server.sql(create)
    old = host(tmp_path / "old", place, "vpn-radius-1")
    old.type("twofold user add alice")
    (there := old.inside("/var/lib/twofold")).mkdir(parents=True)
    shutil.copy(old.config.database, there / "twofold.db")
    old.follow(place.here(text_of(PAGE, "Move a store here")))
    use_server(old, place)
    assert "alice" in old.type("twofold user list")
