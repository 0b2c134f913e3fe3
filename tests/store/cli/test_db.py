"""`twofold db status`: what an administrator asks first, in words."""

from tests.site import Site
from tests.store.cli.command import Twofold


def test_one_is_said_as_one(twofold: Twofold, site: Site) -> None:
    assert "rows      0 users, 0 tokens, 0 clients, 1 audit row\n" in twofold.done("db", "status").out
    site.add_user("alice")
    site.add_client()
    said = twofold.done("db", "status").out
    assert "rows      1 user, 0 tokens, 1 client, 3 audit rows\n" in said
    assert "host      test: 3 audit rows, the newest of " in said
