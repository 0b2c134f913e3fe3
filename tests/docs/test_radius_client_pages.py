"""docs/first-factor/radius.md and docs/radius/test-client.md are followed to the letter, with a real FreeRADIUS.

Stood in for: addresses of other hosts and the port 1812, which are free ports of loopback, and `chown`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.config import UpstreamSection
from tests.docs.pages import DOCS, Host, files, text_of
from tests.peers.freeradius import FreeRadius, free_port, running
from tests.site import PASSWORD, ServerProcess, pin

UPSTREAM = "first-factor/radius.md"
TEST_CLIENT = "radius/test-client.md"

pytestmark = pytest.mark.timeout(300)


def section_of(page: str) -> str:
    (found,) = re.findall(r"^```toml twofold.toml\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    return str(found)


def without_files(text: str) -> str:
    """The commands alone: the files of this page belong to another host or to the test."""
    return re.sub(r"^```(?:text|toml) .*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@contextmanager
def freeradius_of_the_page(folder: Path, port: int, secret: str) -> Iterator[FreeRadius]:
    parts = {name: text.replace("192.0.2.10", "127.0.0.1").replace("SECRET", secret) for name, text in files_of_page()}
    configuration = f"""
{parts["clients.conf"]}
modules {{
files {{ filename = {folder}/users }}
pap {{ normalise = no }}
always ok {{ rcode = ok }}
}}
server default {{
listen {{
type = auth
ipaddr = 127.0.0.1
port = {port}
}}
{parts["authorize"]}
authenticate {{
Auth-Type PAP {{ pap }}
}}
{parts["post-auth"]}
}}
"""
    with running(folder, port, configuration, {"users": parts["users"]}) as server:
        yield server


def files_of_page() -> list[tuple[str, str]]:
    found = files(text_of(UPSTREAM))
    assert set(found) == {"twofold.toml", "clients.conf", "authorize", "post-auth", "users"}
    return list(found.items())


@contextmanager
def serving(host: Host, more: str = "") -> Iterator[ServerProcess]:
    port = free_port()
    text = host.config_file.read_text()
    listen = f'listen = ["127.0.0.1:{port}"]'
    host.config_file.write_text(re.sub(r"^listen = .*$", listen, text, flags=re.MULTILINE) + more)
    with host.server() as server:
        yield server


def here(host: Host, server: ServerProcess, text: str) -> str:
    """The page, where this server's port stands for 1812."""
    return text.replace("127.0.0.1:1812", f"127.0.0.1:{server.address[1]}")


@pytest.mark.peer("freeradius")
def test_freeradius_checks_the_passwords(tmp_path: Path) -> None:
    host = Host(tmp_path / "host")
    (host.folder / "etc" / "twofold").mkdir()
    settings = text_of(UPSTREAM, "Settings here")
    host.follow(without_files(settings))
    secret = (host.folder / "etc" / "twofold" / "upstream.secret").read_text().strip()
    port = free_port()
    section = section_of(UPSTREAM).replace("192.0.2.20:1812", f"127.0.0.1:{port}")
    section = section.replace("192.0.2.21:1812", f"127.0.0.1:{free_port()}").replace("/etc/", f"{host.folder}/etc/")
    with freeradius_of_the_page(tmp_path / "freeradius", port, secret), serving(host, f"\n{section}") as server:
        said = host.follow(here(host, server, text_of(UPSTREAM, "Try it")))
        assert "does not answer" not in server.log
        assert "is ignored" not in server.log
    assert len(said) == 5
    assert secret not in "".join(said) + server.log


def test_the_settings_in_the_table_are_those_there_are() -> None:
    listed = re.findall(r"^\| `(\w+)` \|(.*?) \|", text_of(UPSTREAM, "Settings here"), re.MULTILINE)
    assert [name for name, _ in listed] == list(UpstreamSection.__struct_fields__)
    defaults = dict(zip(UpstreamSection.__struct_fields__[-6:], UpstreamSection.__struct_defaults__, strict=True))
    assert {name: default.strip(' `"') for name, default in listed if default} == {
        name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in defaults.items()
    }


def test_the_test_client(tmp_path: Path) -> None:
    host = Host(tmp_path / "host")
    host.add_user("alice", "correct horse")
    token = host.enroll("alice")
    with serving(host) as server:
        page = here(host, server, text_of(TEST_CLIENT)).replace("127.0.0.1:9", f"127.0.0.1:{free_port()}")
        said = host.follow(page, lambda command: command.replace("000000 PIN", f"none {pin(token)}"))
    assert len(said) == 6
    assert PASSWORD not in "".join(said)


def test_the_pages_are_listed() -> None:
    assert "(radius.md)" in (DOCS / "first-factor/README.md").read_text()
