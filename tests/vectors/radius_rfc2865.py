"""RFC 2865 section 7: whole exchanges as octets. 7.1 PAP, 7.2 CHAP, 7.3 a challenge and a refusal.

The response of 7.3 is printed with a slip: its State of 8 octets says length 10 hex where 10 decimal is right (the
challenge before it has 0a), so that it runs past the packet. `AS_PRINTED` keeps it.
"""

from typing import NamedTuple

SECRET = b"xyzzy5461"


class Exchange(NamedTuple):
    section: str
    request: bytes
    reply: bytes
    password: bytes | None  # None: CHAP


SECTION_7 = [
    Exchange(
        "7.1",
        bytes.fromhex(
            "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a8"
            "0110050600000003"
        ),
        bytes.fromhex("0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103"),
        b"arctangent",
    ),
    Exchange(
        "7.2",
        bytes.fromhex(
            "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f707379031316e97557c316185895f293ff634407727504"
            "06c0a80110050600000014060600000002070600000001"
        ),
        bytes.fromhex(
            "0201003815efbc7dab26cfa3dc34d9c03c8601a40606000000020706000000010806fffffffe0a06000000020d060000"
            "00010c06000005dc"
        ),
        None,
    ),
    Exchange(
        "7.3, the password",
        bytes.fromhex(
            "01020039f3a47a1f6a6d76710b947ab93041a03901076d6f707379021233657573778289b570885e15084825c50406c0"
            "a80110050600000007"
        ),
        bytes.fromhex(
            "0b02004e36f3c8764ae8c71157403c0c71ff9c4512304368616c6c656e67652033323736393433302e2020456e746572"
            "20726573706f6e73652061742070726f6d70742e180a3332373639343330"
        ),
        b"challenge",
    ),
    Exchange(
        "7.3, the response",
        bytes.fromhex(
            "01030043b122556d428a13d0d6253807c457ecf001076d6f7073790212692c1f205fc081b919b95195f561a5810406c0"
            "a80110050600000007180a3332373639343330"
        ),
        bytes.fromhex("03030014a42f4fca45916c4e09c8340f9e746aa0"),
        b"99101462",
    ),
]

AS_PRINTED = SECTION_7[-1].request.replace(b"\x18\x0a", b"\x18\x10")
