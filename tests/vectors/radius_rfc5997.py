"""RFC 5997 section 6: Status-Server exchanges as octets, every request with a Message-Authenticator."""

from typing import NamedTuple

SECRET = b"xyzzy5461"


class Exchange(NamedTuple):
    section: str
    request: bytes
    reply: bytes


SECTION_6 = [
    Exchange(
        "6.1, authentication port",
        bytes.fromhex("0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3"),
        bytes.fromhex("02da0014ef0d552a4bf2d693ec2b6fe8b5411d66"),
    ),
    Exchange(
        "6.2, accounting port",
        bytes.fromhex("0cb30026925f6b66dd5fed571fcb1db7ad3882605012e8d6eabda910875cd91fdade26367858"),
        # Printed with code 02; its authenticator is right for code 05, Accounting-Response, which the text asks for.
        bytes.fromhex("05b300140f6f92145f107e2f504e860a4860669c"),
    ),
    Exchange(
        "6.3, with an attribute",
        bytes.fromhex("0c47002cbf58de56ae408ad3b70c8513f9b03fbe0406c00002105012852d6fec61e7ed74b8e32dac2f2a5fb2"),
        bytes.fromhex(
            "0247003446f43e62fd0354424cbbebfd6d214e06122052414449555320536572766572207570203220646179732c2031383a3430"
        ),
    ),
]
