"""C-055: of many who add one user under several spellings at once, one does."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.postgres import on_both
from tests.site import Site

ROUNDS = 3
NAMES = '[names]\nrealms = ["EXAMPLE"]\ncase_insensitive = true\n'
SPELLINGS = ("user{}", "USER{}", "EXAMPLE\\User{}", "uSer{}@example", "\uff55ser{}", "user{}")


@pytest.mark.statement("C-055")
@on_both
def test_one_user_is_added_once_however_he_is_spelled_and_by_how_many_at_once(site: Site) -> None:
    with site.config_file.open("a") as file:
        file.write(NAMES)
    for number in range(ROUNDS):
        with ThreadPoolExecutor(len(SPELLINGS)) as many:
            names = [spelling.format(number) for spelling in SPELLINGS]
            done = list(many.map(lambda name: site.command("user", "add", name), names))
        assert sorted(one.returncode for one in done) == [0, *[1] * (len(SPELLINGS) - 1)], done
        assert all("exists" in one.stderr or "already" in one.stderr for one in done if one.returncode)
    shown = json.loads(site.command("user", "list", "--json").stdout)
    assert [row["name"] for row in shown] == [f"user{number}" for number in range(ROUNDS)]
