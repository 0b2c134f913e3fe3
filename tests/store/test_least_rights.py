"""The role that servers log in with: it can do everything a login and a command need, and cannot undo what was done.

PostgreSQL speaks over TCP here, with TLS, as to a server on another machine.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import opening
from tests.peers.authority import Authority
from tests.postgres import Postgres, postgres
from tests.site import Site, pin
from tests.trails import age, write
from validation.decisions import Accept
from validation.errors import StoreUnavailable
from validation.model import Mode
from validation.requests import Channel, LoginRequest, RevokeToken

pytestmark = pytest.mark.peer("postgres", "psql", "openssl")


@dataclass(frozen=True)
class Secured:
    """A server that takes passwords over TLS alone, and a site on it whose role owns nothing."""

    server: Postgres
    site: Site
    database: str
    owner_url: str
    authority: Path
    port: int


def url(role: str, database: str, port: int, folder: Path, ca: Path) -> str:
    return (
        f"postgresql://{role}@localhost:{port}/{database}"
        f"?sslmode=verify-full&sslrootcert={ca}&passfile={folder / 'passwords'}"
    )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder, "ca")
    certificate, key = authority.sign("server", "localhost")
    with postgres(listen="127.0.0.1") as server:
        port = server.use_tls(certificate, key)
        database = server.database().partition("?")[0].rpartition("/")[2]
        server.sql("CREATE ROLE owner LOGIN PASSWORD 'owns'")
        server.sql("CREATE ROLE twofold LOGIN PASSWORD 'serves'")
        server.sql(f"ALTER DATABASE {database} OWNER TO owner")
        passwords = folder / "passwords"
        passwords.write_text("*:*:*:owner:owns\n*:*:*:twofold:serves\n")
        passwords.chmod(0o600)
        owner_url = url("owner", database, port, folder, authority.file)
        config = f'[store]\nurl = "{url("twofold", database, port, folder, authority.file)}"\nchain = "test"\n'
        site = Site(folder / "site", config + '[radius]\nlisten = ["127.0.0.1:0"]\n', owner_url=owner_url)
        site.add_client(mode=Mode.PASSCODE_ONLY)
        site.add_user("alice", password=None)
        yield Secured(server, site, database, owner_url, authority.file, port)
        site.database.close()


def as_server(secured: Secured, statement: str) -> "subprocess.CompletedProcess[str]":
    """What somebody can do who has the password of the servers' role."""
    address = secured.site.config.url
    return subprocess.run(["psql", address, "-X", "-c", statement], capture_output=True, text=True, timeout=60)


def test_a_login_and_the_commands_around_it_need_no_more_than_the_role_may(secured: Secured) -> None:
    site = secured.site
    token = site.enroll("alice", kind="hotp")
    (client,) = site.gate.clients()
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    asked = LoginRequest("alice", channel, "vpn", client.version, passcode=pin(token))
    (outcome,) = site.gate.login([asked])
    assert isinstance(outcome, Accept)
    site.gate.administer(RevokeToken(actor="test", serial=token.serial))
    for command in (("db", "check"), ("db", "guard"), ("audit", "verify"), ("user", "remove", "alice")):
        done = site.command(*command)
        assert done.returncode == 0, done.stderr
    site.add_user("alice", password=None)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit",
        "UPDATE audit SET decision = 'accept'",
        "TRUNCATE audit",
        "INSERT INTO audit_starts VALUES ('test', 1, '', '', '')",
        "UPDATE audit_starts SET seq = 1",
        "DELETE FROM audit_starts",
        "DROP TABLE audit",
        "DELETE FROM known_keys",
        "UPDATE known_keys SET serial = ''",
        "ALTER TABLE tokens DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "CREATE TABLE more ()",
        "UPDATE alembic_version SET version_num = '0001'",
    ],
)
def test_the_role_cannot_undo_what_was_written_down(secured: Secured, statement: str) -> None:
    done = as_server(secured, statement)
    assert done.returncode != 0
    assert "permission denied" in done.stderr or "must be owner" in done.stderr, done.stderr


def test_the_trail_is_pruned_by_who_owns_the_tables(secured: Secured) -> None:
    site = secured.site
    write(site, 30)
    age(site, 500, secured.owner_url)
    write(site, 2)
    prune = ("audit", "prune", "--older-than", "400d")
    shown = site.command(*prune)
    assert (shown.returncode, "would go. Nothing was changed" in shown.stdout) == (0, True), shown.stderr
    refused = site.command(*prune, "--yes")
    assert refused.returncode == 3
    assert "permission denied for table audit" in refused.stderr
    assert refused.stderr.rstrip().endswith("Tables are made and changed by who owns them: --as URL")
    done = site.command(*prune, "--yes", "--as", secured.owner_url)
    assert done.returncode == 0, done.stderr
    verified = site.command("audit", "verify")
    assert verified.stdout.splitlines()[1].startswith("pruned  test 1 to "), verified.stdout + verified.stderr


def test_the_servers_role_makes_no_tables_and_is_told_who_does(secured: Secured) -> None:
    empty = secured.server.database().partition("?")[0].rpartition("/")[2]
    config = secured.site.config_file
    there = config.read_text()
    config.write_text(there.replace(f"/{secured.database}?", f"/{empty}?"))
    try:
        done = secured.site.command("init")
    finally:
        config.write_text(there)
    assert done.returncode == 3
    assert "permission denied for schema public" in done.stderr
    assert done.stderr.rstrip().endswith("Tables are made and changed by who owns them: --as URL")


def test_another_certificate_than_the_one_that_was_asked_for_is_refused(secured: Secured, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other").file
    config = secured.site.config_file
    there = config.read_text()
    config.write_text(there.replace(str(secured.authority), str(other)))
    try:
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            opening.open_store(secured.site.config)
    finally:
        config.write_text(there)


def test_without_tls_nothing_is_said_to_a_server_that_wants_it(secured: Secured) -> None:
    config = secured.site.config_file
    there = config.read_text()
    config.write_text(there.replace("sslmode=verify-full", "sslmode=disable"))
    try:
        with pytest.raises(StoreUnavailable, match="no encryption"):
            opening.open_store(secured.site.config)
    finally:
        config.write_text(there)


def test_status_tells_where_the_store_is_without_its_secrets(secured: Secured) -> None:
    done = secured.site.command("db", "status")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"store     postgresql://twofold@localhost:{secured.port}/{secured.database} (Post")
    assert "passwords" not in done.stdout
