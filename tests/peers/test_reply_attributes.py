"""Our table of reply attributes against FreeRADIUS: its dictionaries have the same names, numbers and types, and
`radclient` reads out of a reply what was put in.
"""

import re
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from radius_server.attributes import Code
from radius_server.packet import encode_reply, parse
from tests.peers import peers
from validation.attributes import read
from validation.attributes.kinds import Choice
from validation.attributes.table import TABLE, Attribute

SECRET = b"a secret for radclient alone"

# How Debian's dictionaries spell our types. Class is `octets` there; we take a text for it as well.
TYPES = {
    "text": {"string"},
    "octets": {"octets"},
    "integer": {"integer"},
    "name or number": {"integer"},
    "IPv4 address": {"ipaddr"},
    "IPv4 netmask": {"ipaddr"},
    "IPv6 address": {"ipv6addr"},
    "IPv6 prefix": {"ipv6prefix"},
}


@dataclass
class Dictionary:
    """What Debian's dictionaries say: by vendor number and name."""

    attributes: dict[tuple[int, str], tuple[int, str, str]] = field(default_factory=dict)
    values: dict[str, dict[str, int]] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        vendors, vendor = {"": 0}, ""
        for line in path.read_text(errors="replace").splitlines():
            words = line.partition("#")[0].split()
            match words:
                case ["VENDOR", name, number, *_]:
                    vendors[name] = int(number)
                case ["BEGIN-VENDOR", name, *_]:
                    vendor = name
                case ["END-VENDOR", *_]:
                    vendor = ""
                case ["ATTRIBUTE", name, number, kind, *flags] if number.isdigit():
                    self.attributes[vendors[vendor], name] = (int(number), kind.lower(), ",".join(flags))
                case ["VALUE", attribute, name, number] if number.isdigit():
                    self.values.setdefault(attribute, {})[name] = int(number)


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    folder = Path(peers.require("dictionary.rfc2865")).parent
    found = Dictionary()
    wanted = re.compile(r"dictionary\.(rfc\d+|cisco|cisco\.asa|microsoft|juniper|citrix|fortinet|mikrotik|paloalto)")
    for path in sorted(folder.iterdir()):
        if wanted.fullmatch(path.name):
            found.read(path)
    return found


@pytest.mark.peer("dictionary.rfc2865")
@pytest.mark.parametrize("attribute", TABLE, ids=[attribute.name for attribute in TABLE])
def test_freeradius_knows_it_by_the_same_name_number_and_type(attribute: Attribute, dictionary: Dictionary) -> None:
    number, kind, flags = dictionary.attributes[attribute.vendor, attribute.name]
    assert number == attribute.number
    assert kind in TYPES[attribute.type_name]
    assert ("has_tag" in flags) == attribute.tagged
    assert "encrypt" not in flags


@pytest.mark.peer("dictionary.rfc2865")
@pytest.mark.parametrize(
    "attribute", [a for a in TABLE if isinstance(a.kind, Choice)], ids=lambda attribute: attribute.name
)
def test_freeradius_has_the_same_names_of_numbers(attribute: Attribute, dictionary: Dictionary) -> None:
    assert isinstance(attribute.kind, Choice)
    theirs = dictionary.values[attribute.name]
    assert {name: theirs.get(name) for name in attribute.kind.numbers} == dict(attribute.kind.numbers)


# --- what radclient reads

SENT = [
    # name, value as set, value as radclient prints it
    ("Service-Type", "7", "NAS-Prompt-User"),
    ("Framed-IP-Address", "10.10.1.44", "10.10.1.44"),
    ("Framed-IP-Netmask", "255.255.255.255", "255.255.255.255"),
    ("Filter-Id", "staff", '"staff"'),
    ("Filter-Id", "äöü", '"äöü"'),
    ("Framed-MTU", "1400", "1400"),
    ("Framed-Route", "192.168.1.0/24 192.168.1.1 1", '"192.168.1.0/24 192.168.1.1 1"'),
    ("Class", "OU=Staff;", "0x4f553d53746166663b"),
    ("Class", "0x00ff", "0x00ff"),
    ("Session-Timeout", "28800", "28800"),
    ("Termination-Action", "1", "RADIUS-Request"),
    ("Tunnel-Type", "13", "VLAN"),
    ("Tunnel-Type:1", "L2TP", "L2TP"),
    ("Tunnel-Medium-Type:1", "6", "IEEE-802"),
    ("Tunnel-Private-Group-Id", "20", '"20"'),
    ("Tunnel-Private-Group-Id:31", "30", '"30"'),
    ("Tunnel-Preference:2", "16777215", "16777215"),
    ("Framed-IPv6-Prefix", "2001:db8:1::/48", "2001:db8:1::/48"),
    ("Framed-IPv6-Prefix", "2001:db8:1:8000::/49", "2001:db8:1:8000::/49"),
    ("Delegated-IPv6-Prefix", "::/0", "::/0"),
    ("Framed-IPv6-Address", "2001:db8::44", "2001:db8::44"),
    ("Cisco-AVPair", "shell:priv-lvl=15", '"shell:priv-lvl=15"'),
    ("Cisco-AVPair", "x" * 247, '"' + "x" * 247 + '"'),
    ("MS-Primary-DNS-Server", "192.0.2.53", "192.0.2.53"),
    ("ASA-Group-Policy", "Staff", '"Staff"'),
    ("ASA-IPsec-Split-Tunneling-Policy", "1", "Split-Tunneling"),
    ("Citrix-User-Groups", "vpn", '"vpn"'),
    ("Juniper-Local-User-Name", "ops", '"ops"'),
    ("Fortinet-Group-Name", "vpn", '"vpn"'),
    ("Mikrotik-Rate-Limit", "10M/10M", '"10M/10M"'),
    ("Mikrotik-Recv-Limit", "4294967295", "4294967295"),
    ("PaloAlto-User-Group", "vpn", '"vpn"'),
]


def read_by_radclient(attributes: list[tuple[int, bytes]]) -> list[str]:
    """The attributes of an Access-Accept as `radclient` prints them, in one exchange on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        command = [peers.require("radclient"), "-x", "-r", "1", "-t", "20", f"127.0.0.1:{server.getsockname()[1]}"]
        with subprocess.Popen(
            [*command, "auth", SECRET.decode()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdin is not None
            client.stdin.write("User-Name = alice\nUser-Password = x\n")
            client.stdin.close()
            client.stdin = None
            request, address = server.recvfrom(4096)
            server.sendto(encode_reply(parse(request), SECRET, Code.ACCESS_ACCEPT, attributes), address)
            output, _ = client.communicate(timeout=30)
    assert client.returncode == 0, output
    return [line.strip() for line in output.partition("Received Access-Accept")[2].splitlines()[1:]]


@pytest.mark.peer("radclient")
def test_radclient_reads_what_was_set() -> None:
    printed = read_by_radclient([read(name, text) for name, text, _ in SENT])
    expected = [f"{name} = {value}" for name, _, value in SENT]
    untagged = [line.replace(":0 = ", " = ") for line in printed if not line.startswith("Message-Authenticator")]
    assert sorted(untagged) == sorted(expected)
