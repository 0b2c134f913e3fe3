"""C-007: a standby that was behind takes over under running servers, and no PIN works that the lost one accepted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import opening
from store.notices import NoNotices
from tests.flows.worker import FixedMoments
from tests.postgres import Stores
from tests.site import Site, pin
from tests.vectors import yubico
from tests.wire import ACCEPT, REJECT
from validation.decisions import Accept
from validation.gate import Gate, Outcome
from validation.model import Mode, Token
from validation.requests import Channel, EnrollToken, IssueRecovery, LoginRequest, ResyncToken, typed_alone

KEY, CODES = yubico.CHAIN

pytestmark = pytest.mark.peer("postgres", "psql")


@dataclass
class People:
    """One for each kind of token: what was accepted after the copy was made."""

    site: Site
    app: Token
    button: Token
    used: dict[str, str]


@pytest.fixture
def people(stores: Stores, tmp_path: Path) -> Iterator[People]:
    site = stores.site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    for name in ("app", "button", "key", "paper", "loser"):
        site.add_user(name, password=None)
    app, button = site.enroll("app"), site.enroll("button", kind="hotp")
    octets = bytes.fromhex(KEY.aes + KEY.private_id)
    site.gate.administer(
        EnrollToken(actor="test", user="key", kind="yubico_otp", key=octets, public_id=KEY.public_id, serial="YK")
    )
    site.enroll("paper", kind="hotp")
    code = site.gate.administer(IssueRecovery(actor="test", name="paper")).shown_once[0]
    loser = site.enroll("loser", kind="hotp")
    used = {"app": pin(app), "button": pin(button), "key": CODES[2].text, "paper": code, "loser": pin(loser)}
    yield People(site, app, button, used)
    site.database.close()


@pytest.fixture
def fall_back(stores: Stores, people: People) -> Callable[[], None]:
    """The database as it is now takes the place of the one that the servers use: its last commits are lost."""
    people.site.database.close()
    name = people.site.config.url.partition("?")[0].rpartition("/")[2]
    behind = stores.server.database(name).partition("?")[0].rpartition("/")[2]

    def take_over() -> None:
        stores.server.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # servers would be back at once
        stores.server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        stores.server.sql(f"ALTER DATABASE {name} RENAME TO {name}_lost")
        stores.server.sql(f"ALTER DATABASE {behind} RENAME TO {name}")

    return take_over


@pytest.mark.statement("C-007")
def test_what_the_lost_database_accepted_is_refused_after_the_guard_and_the_next_ones_work(
    people: People, fall_back: Callable[[], None]
) -> None:
    site = people.site
    (client,) = site.gate.clients()
    with site.server() as server, server.nas(client.secret) as nas:
        assert [nas.login(user, typed).code for user, typed in people.used.items()] == [ACCEPT] * 5
        fall_back()
        assert nas.login("loser", people.used.pop("loser")).code == ACCEPT, "this is why the guard is needed"
        done = site.command("db", "guard")
        assert (done.returncode, done.stdout) == (0, "no PIN works that may have been used before now\n"), done.stderr
        assert "twofold token resync" in done.stderr
        assert "needs resync" in site.command("token", "report").stdout
        assert [nas.login(user, typed).code for user, typed in people.used.items()] == [REJECT] * 4
        button, key = people.button, CODES
        for serial, first, second in (
            (button.serial, pin(button, 1), pin(button, 2)),
            ("YK", key[3].text, key[4].text),
        ):
            site.gate.administer(ResyncToken(actor="test", serial=serial, first=first, second=second))
        assert nas.login("button", pin(button, 3)).code == ACCEPT
    later = time.time() + 13 * 30
    assert isinstance(at(site, later, "app", pin(people.app, now=later)), Accept)
    assert site.command("audit", "verify").returncode == 0
    assert [row["actor"] for row in site.audit() if row["event"] == "guard"] != []


def at(site: Site, now: float, user: str, typed: str) -> Outcome:
    gate = Gate(site.database, FixedMoments(now), opening.LoggedFaults(), NoNotices())
    (client,) = gate.clients()
    channel = Channel.for_mode(client.mode)
    (outcome,) = gate.login([LoginRequest(user, channel, client.name, client.version, passcode=typed_alone(typed))])
    return outcome
