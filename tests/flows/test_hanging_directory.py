"""A directory that takes questions and answers none keeps nobody out whose password is checked elsewhere."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.first_factor.directory import BIND, Directory
from tests.flows.crowd import numbered, send_all
from tests.site import PASSWORD, SECRET, Site, eventually
from tests.wire import CHALLENGE
from validation.model import FirstFactorKind
from validation.requests import AddUser


@pytest.fixture
def directory() -> Iterator[Directory]:
    with closing(Directory(bind=lambda question: None)) as hanging:
        yield hanging


def test_logins_with_local_passwords_go_on(site: Site, directory: Directory) -> None:
    """With as many checks on their way as the configuration can allow, and as many waiting for them."""
    section = f'[first_factor.ldap]\nservers = ["{directory.url}"]\nbase = "dc=example"\nunencrypted = true\n'
    with site.config_file.open("a") as config:
        config.write(f"{section}time_limit = 60\nthreads = 16\n")
    site.add_client()
    site.gate.administer(AddUser(actor="test", name="there", first_factor=FirstFactorKind.LDAP))
    site.add_user("here")
    site.enroll("here")
    with site.server() as server, server.nas() as crowd, server.nas() as nas:
        send_all(crowd, numbered(SECRET, [("there", "x")] * 60))
        eventually(lambda: [question.tag for question in directory.heard].count(BIND) == 16, what="16 checks that hang")
        assert [nas.login("here", PASSWORD).code for _ in range(3)] == [CHALLENGE] * 3
        server.kill()
