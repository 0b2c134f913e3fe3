"""A device that says what it likes inside an EAP-TTLS tunnel, which no supplicant lets one do (RFC 5281).

`python tunnel.py CA SECRET`, in the world of FreeRADIUS; the attributes inside and outside come on standard input, as
two lists in JSON. Printed: the code of the last RADIUS packet. Written from the RFCs, with nothing of the product.
"""

import json
import socket
import ssl
import sys

from tests.wire import STATE, Attributes, Reply, access_request

SERVER = ("127.0.0.1", 1812)
EAP_MESSAGE, TTLS, IDENTITY = 79, 21, 1
RESPONSE, START, MORE, LENGTH = 2, 0x20, 0x40, 0x80


def avp(code: int, value: bytes) -> bytes:
    """RFC 5281 10.1, with the M bit."""
    return code.to_bytes(4) + b"\x40" + (8 + len(value)).to_bytes(3) + value + bytes(-len(value) % 4)


class Device:
    def __init__(self, secret: bytes, outside: Attributes) -> None:
        self._secret = secret
        self._outside = list(outside)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.settimeout(30)
        self._reply: Reply | None = None

    def send(self, kind: int, data: bytes) -> Reply:
        """One EAP-Response, in as many EAP-Messages as it needs."""
        before = self._reply
        number = b"".join(before.values(EAP_MESSAGE))[1] if before else 0
        eap = bytes([RESPONSE, number]) + (5 + len(data)).to_bytes(2) + bytes([kind]) + data
        parts = [(EAP_MESSAGE, eap[at : at + 253]) for at in range(0, len(eap), 253)]
        state = [(STATE, before.state)] if before else []
        request = access_request(self._secret, "anonymous", None, extra=[*self._outside, *parts, *state])
        self._sock.sendto(request.data, SERVER)
        self._reply = Reply(self._sock.recv(4096))
        assert self._reply.identifier == request.data[1]
        return self._reply

    def receive(self, reply: Reply) -> bytes:
        """The TLS octets of a request, all fragments of it."""
        data = b""
        while reply.code == 11:
            eap = b"".join(reply.values(EAP_MESSAGE))
            flags, rest = eap[5], eap[6:]
            data += rest[4:] if flags & LENGTH else rest
            if not flags & MORE:
                break
            reply = self.send(TTLS, b"\0")
        return data


def log_in(ca: str, secret: bytes, inside: Attributes, outside: Attributes) -> int:
    device = Device(secret, outside)
    context = ssl.create_default_context(cafile=ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(heard, said, server_hostname="radius.example.org")
    reply = device.send(IDENTITY, b"anonymous")
    assert b"".join(reply.values(EAP_MESSAGE))[4:6] == bytes([TTLS, START])
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            heard.write(device.receive(device.send(TTLS, b"\0" + said.read())))
    tls.write(b"".join(avp(kind, value) for kind, value in inside))
    return device.send(TTLS, b"\0" + said.read()).code


def main() -> None:
    lists = json.load(sys.stdin)
    inside, outside = ([(kind, bytes.fromhex(value)) for kind, value in each] for each in lists)
    print(log_in(sys.argv[1], sys.argv[2].encode(), inside, outside))


if __name__ == "__main__":
    main()
