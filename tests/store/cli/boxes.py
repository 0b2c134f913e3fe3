"""Files of tokens for the tests of the command, and a clock that stands at the moment their codes are for.

The codes stand in cases/files/VECTORS.md; they were computed by another program.
"""

from pathlib import Path

from store import opening
from store.notices import NoNotices
from tests.flows.worker import FixedMoments
from tests.site import Site
from tests.store.formats.files import CASES
from validation.decisions import Accept, Reject
from validation.gate import Gate
from validation.model import Mode
from validation.requests import Channel, LoginRequest

T = 1_767_225_600  # 2026-01-01T00:00:00Z
FEITIAN = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made for order 4711 -->
<KeyContainer Version="1.0" xmlns ="urn:ietf:params:xml:ns:keyprov:pskc">
{packages}
</KeyContainer>
"""
PACKAGE = """<KeyPackage>
 <DeviceInfo><Manufacturer>FeiTian Technology Co.,Ltd</Manufacturer><SerialNo>{serial}</SerialNo>{dates}</DeviceInfo>
 <Key Id="{serial}" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:{kind}">
  <AlgorithmParameters><ResponseFormat Encoding="DECIMAL" Length="6"/></AlgorithmParameters>
  <Data><Secret><PlainValue>{key}</PlainValue></Secret>{data}</Data>
 </Key>
</KeyPackage>"""
STEP = "<TimeInterval><PlainValue>60</PlainValue></TimeInterval>"
COUNTER = "<Counter><PlainValue>0</PlainValue></Counter>"
OVER = "<StartDate>2012-01-01T00:00:00Z</StartDate><ExpiryDate>2022-01-01T00:00:00Z</ExpiryDate>"


def feitian(folder: Path) -> Path:
    """Three tokens as that maker writes them (case I01): 60 s, a counter, and one that ran out in 2022."""
    packages = [
        PACKAGE.format(serial=serial, kind=kind, key=key, data=data, dates=dates)
        for serial, kind, key, data, dates in (
            ("2600215700001", "totp", "H0Z5cQ8vby3aPd7Q8IvPHWMZFgU=", STEP, ""),
            ("1000117800002", "hotp", "KUJL2YGsa5CNu424inKgHPP+kio=", COUNTER, ""),
            ("2600215700003", "totp", "GmICRSM/GxWNJQ+b2OjYmInJygk=", STEP, OVER),
        )
    ]
    return write(folder, "feitian.xml", FEITIAN.format(packages="\n".join(packages)))


def case(name: str) -> str:
    """The path of a case, as an argument."""
    return str(CASES / name)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class Desk:
    """Users and logins by PIN alone at one moment, T unless it is set."""

    def __init__(self, site: Site) -> None:
        self.moments = FixedMoments(T)
        self._gate = Gate(site.database, self.moments, opening.LoggedFaults(), NoNotices())
        site.add_client("vpn", mode=Mode.PASSCODE_ONLY)

    def lets_in(self, user: str, passcode: str) -> bool:
        (client,) = self._gate.clients()
        channel = Channel.for_mode(Mode.PASSCODE_ONLY)
        (outcome,) = self._gate.login([LoginRequest(user, channel, "vpn", client.version, passcode=passcode)])
        assert isinstance(outcome, Accept | Reject), outcome
        return isinstance(outcome, Accept)
