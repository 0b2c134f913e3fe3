"""The site twofold-pin with a directory, changed as the README says: FreeRADIUS binds, Twofold hears the PIN alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.docs.pages import steps, text_of
from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.front import CONTRIB, Front, settings
from tests.peers.freeradius_front.test_pap import ODD, radclient_text, signed
from tests.peers.road import Person
from tests.peers.world import Running
from tests.site import eventually

pytestmark = pytest.mark.peer("slapd", "slapadd", "rlm_ldap.so", *fronts.PROGRAMS)

SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile /run/world/ldap/pid
database mdb
maxsize 67108864
suffix "dc=example,dc=org"
directory /run/world/ldap/db
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""
TOP = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n"
PERSON = "\ndn: uid={0},dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: {0}\ncn: {0}\nsn: x\nuserPassword: {1}\n"


@dataclass
class Directory:
    front: Front
    slapd: Running


def as_the_page_says(front: Front) -> None:
    """The commands about the directory; apt does nothing, and slapd here has no TLS."""
    for step in steps(text_of("../contrib/freeradius/README.md", "Own passwords in a directory")):
        front.world.run("sh", "-e", "-c", f"apt() {{ :; }}\n{step.command}")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    with fronts.front(tmp_path_factory.mktemp("ldap"), "--preset", "freeradius", "--mode", "passcode-only") as made:
        people = [made.newcomer(), made.newcomer(password=ODD)]
        world = made.world
        world.run("mkdir", "-p", "/run/world/ldap/db")
        world.write("/run/world/ldap/slapd.conf", SLAPD)
        world.write("/run/world/ldap/tree", TOP + "".join(PERSON.format(one.name, one.password) for one in people))
        world.run("slapadd", "-f", "/run/world/ldap/slapd.conf", "-l", "/run/world/ldap/tree")
        slapd = world.start("slapd", "-d", "0", "-f", "/run/world/ldap/slapd.conf", "-h", "ldap://127.0.0.1/")
        eventually(lambda: world.run("test", "-e", "/run/world/ldap/pid", check=False).returncode == 0, what="slapd")
        made.install("pin")
        as_the_page_says(made)
        made.write_settings(settings())
        made.start()
        yield Directory(made, slapd)


@pytest.mark.parametrize("number", [0, 1], ids=["plain", "odd"])
def test_password_and_pin_in_one_field_and_in_two_steps(directory: Directory, number: int) -> None:
    front, person = directory.front, directory.front.people[number]
    password = radclient_text(person.password)
    assert front.ask(person.name, f"{password}x{person.pin()}").code == "Access-Reject"
    assert front.reasons(person.name) == [], "a wrong password costs no PIN"
    accepted = front.ask(person.name, password + person.last_pin)
    assert (accepted.code, signed(accepted)) == ("Access-Accept", True), accepted.output
    asked = front.ask(person.name, password)
    assert (asked.code, asked.text) == ("Access-Challenge", "PIN: ")
    assert front.ask(person.name, person.pin(), f"State = {asked.state}").code == "Access-Accept"
    assert front.reasons(person.name) == ["passcode-right", "passcode-right"]


@pytest.mark.parametrize("name", ["nobody", "user1*", "*", "user1)(uid=user2"])
def test_a_name_that_is_nobodys_is_refused(directory: Directory, name: str) -> None:
    """Neither does a sign of the directory's own language find anybody."""
    person: Person = directory.front.people[0]
    for typed in (person.password, person.password + "123456"):
        refused = directory.front.ask(name, typed)
        assert (refused.code, signed(refused)) == ("Access-Reject", True)
    assert directory.front.reasons(name) == []


def test_without_the_directory_nobody_gets_in(directory: Directory) -> None:
    """Last in this file: the directory is stopped."""
    person = directory.front.people[0]
    before = len(directory.front.reasons(person.name))
    directory.slapd.stop()
    for typed in (person.password, person.password + person.pin()):
        refused = directory.front.ask(person.name, typed)
        assert (refused.code, signed(refused)) == ("Access-Reject", True)
    assert len(directory.front.reasons(person.name)) == before


def test_the_site_is_as_the_page_expects_it() -> None:
    site = (CONTRIB / "raddb" / "sites-available" / "twofold-pin").read_text()
    for line in ("            files\n", "            pap\n", "            pap.authenticate {\n"):
        assert site.count(line) == 1
