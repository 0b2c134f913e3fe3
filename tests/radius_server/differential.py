"""The same packets, from a seed, for our codec and for pyrad's: what they take apart, verify and write is the same.

    python -m tests.radius_server.differential [--packets N] [--seed S]

Requests of every kind and code, good ones and spoiled ones, are taken apart by both; signatures, passwords, replies and
Accounting-Responses are compared octet by octet, and so are requests of our own client. Where pyrad is known to be
wrong, `DEFECTS` says why, and ours is held against the RFC instead. Prints what was compared; exit status 1 if the two
differ anywhere else.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from pyrad.packet import AcctPacket, AuthPacket, PacketError

from radius_client.client import answer
from radius_client.wire import hidden, request, sub_attributes
from radius_server import accounting
from radius_server.attributes import ALLOWED_IN_REPLY, Code
from radius_server.clients import Signature
from radius_server.conversation import read
from radius_server.packet import (
    BadPassword,
    Malformed,
    Packet,
    ReplyTooLong,
    encode_reply,
    parse,
    signed,
    unhide,
    written_here,
)
from tests.builders import client
from tests.radius_server.mutating import Mutator
from tests.site import SECRET
from tests.wire import (
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    STATE,
    USER_NAME,
    USER_PASSWORD,
    Reply,
    Request,
    access_request,
    accounting_request,
    hide,
    packet,
    status_server,
)
from validation.model import Mode

# What pyrad does otherwise, and why it is not right.
DEFECTS = {
    "attribute past the end": "is cut off; RFC 2865 5: the packet is dropped",
    "packet past 4096": "is taken up to 8192 octets; RFC 2865 3: 4096 at most",
    "second Message-Authenticator": "is not looked at; RFC 3579 3.3: 0 or 1",
    "empty User-Password": "is an empty password; RFC 2865 5.2: 16 octets at least",
    "password past 128": "is taken; RFC 2865 5.2: 128 octets at most",
    "password that is no UTF-8": "loses those octets, and so is another one",
    "empty attribute": "is sent; RFC 2865 5: it is left out",
    "empty Proxy-State": "is copied into the reply, and missed there; RFC 2865 5: it is left out",
    "reply past 4096": "is written; RFC 2865 3: 4096 at most",
}
LONGEST, LONGEST_OF_PYRAD = 4096, 8192
# Their Message-Authenticator is computed with zeroes for the Request Authenticator (RFC 2866, RFC 5176 3.5).
ZEROED = (4, 5, 40, 43)
KINDS_OF_REPLIES = (Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE)
MODES = list(Mode)


@dataclass
class Result:
    """What a run came to. `wrong` is empty if all is well."""

    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)  # of packets
    agreed: Counter[str] = field(default_factory=Counter)  # comparisons
    defects: Counter[str] = field(default_factory=Counter)  # of DEFECTS, how often met
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.kinds.total()} packets in {self.seconds:.0f} s: {_listed(self.kinds)}"]
        parts += [f"{self.agreed.total()} times the same: {_listed(self.agreed)}"]
        parts += [f"{self.defects.total()} times a defect of pyrad, and ours right: {_listed(self.defects)}"]
        return "\n".join([*parts, f"{len(self.wrong)} differences", *self.wrong[:20]])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def run(packets: int, seed: int) -> Result:
    dice = random.Random(seed)
    result, began = Result(), time.monotonic()
    cases = _cases(dice)
    for _ in range(packets):
        kind, data, secret = next(cases)
        result.kinds[kind] += 1
        try:
            Comparison(dice, result, data, secret).all()
        except Exception as error:
            result.wrong.append(f"{type(error).__name__}: {error}: {kind} {data.hex()}")
    result.seconds = time.monotonic() - began
    return result


# --- what is compared ---------------------------------------------------------------------------------------------


class Comparison:
    """Of one datagram."""

    def __init__(self, dice: random.Random, result: Result, data: bytes, secret: bytes) -> None:
        self._dice = dice
        self._result = result
        self._data = data
        self._secret = secret

    def all(self) -> None:
        theirs = self._taken_by_pyrad()
        try:
            ours: Packet | None = parse(self._data)
        except Malformed:
            ours = None
        if theirs is not None and (forbidden := forbidden_by_rfc(self._data)):
            self._defect(forbidden, ours is None)
        elif ours is None or theirs is None:
            self._same("refused", ours, theirs)
        else:
            self._taken(ours, theirs)

    def _taken(self, ours: Packet, theirs: AuthPacket) -> None:
        self._attributes(ours, theirs)
        self._signature(ours, theirs)
        if ours.code == Code.ACCOUNTING_REQUEST:
            self._accounting(ours, theirs)
            return
        self._passwords(ours, theirs)
        if ours.code in (Code.ACCESS_REQUEST, Code.STATUS_SERVER):
            self._entry(ours, theirs)
            self._proxy_states(ours, theirs)
            self._reply(ours, theirs)
            self._request(ours)

    def _taken_by_pyrad(self) -> AuthPacket | AcctPacket | None:
        kind = AcctPacket if self._data[:1] == b"\x04" else AuthPacket
        try:
            return kind(packet=self._data, secret=self._secret)
        except PacketError:
            return None

    def _same(self, what: str, ours: object, theirs: object) -> None:
        if ours == theirs:
            self._result.agreed[what] += 1
        else:
            self._differ(what, f"ours {ours!r}, pyrad's {theirs!r}")

    def _differ(self, what: str, why: str) -> None:
        self._result.wrong.append(f"{what}: {why}: {self._data.hex()}")

    def _defect(self, name: str, right: bool) -> None:
        """`right`: ours is, by the RFC."""
        if right:
            self._result.defects[name] += 1
        else:
            self._differ(name, DEFECTS[name])

    def _attributes(self, ours: Packet, theirs: AuthPacket) -> None:
        self._same(
            "header",
            (ours.code, ours.identifier, ours.authenticator),
            (theirs.code, theirs.id, theirs.authenticator),
        )
        found: dict[int, list[bytes]] = {}
        for kind, at, value in ours.attributes:
            assert ours.data[at : at + len(value)] == value
            found.setdefault(kind, []).append(value)
        self._same("attributes", found, dict(theirs.items()))
        for kind in range(256):
            assert ours.values(kind) == [value for value in found.get(kind, []) if value]
            assert ours.has_any(frozenset({kind})) == bool(ours.values(kind))
        for value in ours.values(26):
            split = theirs._PktSplitSubAttributes(value, 4) if len(value) >= 4 else None
            self._same("sub-attributes", list(sub_attributes(value[4:])), split or [])

    def _signature(self, ours: Packet, theirs: AuthPacket) -> None:
        looked_at = ours
        if ours.code in ZEROED:
            looked_at = replace(ours, data=ours.data[:4] + bytes(16) + ours.data[20:])
        verified = theirs.verify_message_authenticator() if theirs.message_authenticator else None
        right: bool | None
        try:
            right = signed(looked_at, self._secret) or None
        except Malformed:
            right = False
        if len([kind for kind, _, _ in ours.attributes if kind == MESSAGE_AUTHENTICATOR]) > 1:
            self._defect("second Message-Authenticator", right is False)
        else:
            self._same("signature", right, verified)

    def _passwords(self, ours: Packet, theirs: AuthPacket) -> None:
        for kind, _, value in ours.attributes:
            if kind == USER_PASSWORD:
                self._password(value, ours.authenticator, theirs)

    def _password(self, value: bytes, authenticator: bytes, theirs: AuthPacket) -> None:
        try:
            text: str | None = theirs.PwDecrypt(value)
        except PacketError:
            text = None
        try:
            clear: bytes | None = unhide(value, self._secret, authenticator)
        except BadPassword:
            clear = None
        if text is not None and not 16 <= len(value) <= 128:
            self._defect("password past 128" if value else "empty User-Password", clear is None)
        elif clear is not None and text != (told := clear.decode("utf-8", "replace")) and "\ufffd" in told:
            self._defect("password that is no UTF-8", hidden_again(clear, value, self._secret, authenticator))
        else:
            self._same("password", clear, text if text is None else text.encode())

    def _entry(self, ours: Packet, theirs: AuthPacket) -> None:
        """What a request says, as the server reads it for clients of every mode. Its rules about what to refuse are
        not pyrad's."""
        mode = self._dice.choice(MODES)
        entry = read(ours, client(secret=self._secret, mode=mode), Signature(True, (self._secret,)))
        if entry.unsupported or mode is Mode.OPENVPN:
            return
        typed = [theirs.PwDecrypt(value) for value in theirs.get(USER_PASSWORD, [])]
        said = [value.decode("utf-8", "backslashreplace") for value in theirs.get(STATE, []) if value]
        names = [value.decode() for value in theirs.get(USER_NAME, []) if value]
        self._same("entry", ([entry.named], entry.typed, entry.state), (names, *(typed or [""]), *(said or [None])))

    def _proxy_states(self, ours: Packet, theirs: AuthPacket) -> None:
        copied, right = theirs.CreateReply().get(PROXY_STATE, []), ours.values(PROXY_STATE)
        if b"" in copied:
            self._defect("empty Proxy-State", right == [value for value in copied if value])
        else:
            self._same("Proxy-States", right, copied)

    def _reply(self, ours: Packet, theirs: AuthPacket) -> None:
        code = self._dice.choice(KINDS_OF_REPLIES)
        attributes = list(_reply_attributes(self._dice, code, room_beside(ours)))
        written = self._written(ours, code, attributes)
        other = self._written_by_pyrad(theirs, code, attributes)
        if other is not None and not all(value for _, value in attributes):
            self._defect("empty attribute", written is None)
        elif other is not None and len(other) > LONGEST:
            self._defect("reply past 4096", written is None)
        else:
            self._same("reply", written, other)
            if written is not None:
                self._verified(ours, theirs, written)

    def _written(self, ours: Packet, code: Code, attributes: list[tuple[int, bytes]]) -> bytes | None:
        """By the way that the server takes; that we write ourselves comes to the same for every attribute."""
        try:
            written = encode_reply(ours, self._secret, code, attributes)
        except (ReplyTooLong, ValueError):
            return None
        by_type = _by_type([*attributes, *((PROXY_STATE, value) for value in ours.values(PROXY_STATE))])
        self._same("reply of ours", written_here(ours, self._secret, code, by_type), written)
        return written

    def _written_by_pyrad(self, theirs: AuthPacket, code: Code, attributes: list[tuple[int, bytes]]) -> bytes | None:
        states = [(PROXY_STATE, value) for value in theirs.get(PROXY_STATE, []) if value]
        reply = AuthPacket(int(code), theirs.id, self._secret, theirs.authenticator, message_authenticator=True)
        for kind, values in _by_type([*attributes, *states]).items():
            reply[kind] = values
        try:
            return bytes(reply.ReplyPacket())
        except ValueError:
            return None

    def _verified(self, ours: Packet, theirs: AuthPacket, written: bytes) -> None:
        """By pyrad, by our client, and by what the tests know of the RFCs; once more with something changed."""
        Reply(written).check(Request(ours.data, self._secret))
        if b"" in theirs.get(PROXY_STATE, []):  # a defect, see `_proxy_states`
            theirs[PROXY_STATE] = ours.values(PROXY_STATE)
        changed = bytearray(written)
        changed[self._dice.randrange(len(changed))] ^= 1 << self._dice.randrange(8)
        for data in (written, bytes(changed)):
            self._same("verified", self._answers(ours, data), self._answers_pyrad(theirs, data))

    def _answers(self, ours: Packet, data: bytes) -> bool:
        try:
            answer(data, Code.ACCESS_REQUEST, ours.identifier, ours.authenticator, self._secret)
        except Malformed:
            return False
        return True

    def _answers_pyrad(self, theirs: AuthPacket, data: bytes) -> bool:
        try:
            return bool(theirs.VerifyReply(AuthPacket(packet=data, secret=self._secret), data, enforce_ma=True))
        except PacketError:
            return False

    def _accounting(self, ours: Packet, theirs: AcctPacket) -> None:
        try:
            accounting.signature_of(ours, client(secret=self._secret), 0.0)
            reason = ""
        except Malformed as error:
            reason = error.reason
        self._same("Request Authenticator", reason != "request-authenticator-wrong", theirs.VerifyAcctRequest())
        states = ours.values(PROXY_STATE)
        if b"" not in theirs.get(PROXY_STATE, []):
            written = accounting.response(ours, self._secret)
            self._same("Accounting-Response", written, bytes(theirs.CreateReply().ReplyPacket()))
        else:
            assert Reply(accounting.response(ours, self._secret)).values(PROXY_STATE) == states

    def _request(self, ours: Packet) -> None:
        """As our own client writes one."""
        dice = self._dice
        password, authenticator = dice.randbytes(dice.randint(0, 128)), dice.randbytes(16)
        asked = AuthPacket(int(Code.ACCESS_REQUEST), ours.identifier, self._secret, authenticator)
        asked.add_message_authenticator()
        concealed = asked.PwCrypt(password)
        self._same("hidden password", hidden(password, self._secret, authenticator), concealed)
        attributes = [(USER_NAME, b"alice"), (USER_PASSWORD, concealed), *_values(dice, (32, 31, 30, 26), 3)]
        by_type = _by_type(attributes)
        for kind, values in by_type.items():
            asked[kind] = values
        grouped = [(kind, value) for kind, values in by_type.items() for value in values]
        written = request(Code.ACCESS_REQUEST, ours.identifier, authenticator, grouped, self._secret)
        self._same("request", written, bytes(asked.RequestPacket()))


def _by_type(attributes: Iterable[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for kind, value in attributes:
        found.setdefault(kind, []).append(value)
    return found


def forbidden_by_rfc(data: bytes) -> str:
    """Which defect taking this packet would be, if it is none for another reason; empty: it may be taken."""
    length = int.from_bytes(data[2:4], "big")
    if length > LONGEST:
        return "packet past 4096"
    at = 20
    while at + 2 <= length and data[at + 1] >= 2:
        at += data[at + 1]
    return "attribute past the end" if at > length else ""


def room_beside(asked: Packet) -> int:
    """Octets for attributes in a reply, beside its header, its Message-Authenticator and the request's Proxy-States."""
    return LONGEST - 20 - 18 - sum(2 + len(value) for value in asked.values(PROXY_STATE))


def hidden_again(clear: bytes, value: bytes, secret: bytes, authenticator: bytes) -> bool:
    """The password with its padding, hidden once more, is what came."""
    return hide(clear.ljust(len(value), b"\0"), secret, authenticator) == value


# --- packets ------------------------------------------------------------------------------------------------------


def _cases(dice: random.Random) -> Iterator[tuple[str, bytes, bytes]]:
    """Kind, datagram and secret, for ever."""
    mutator = Mutator(dice)
    while True:
        kind = dice.choices([*SHARES], [*SHARES.values()])[0]
        match kind:
            case "login":
                yield kind, _login(dice), SECRET
            case "login of another secret":
                yield kind, _login(dice), dice.randbytes(dice.randint(1, 80))
            case "status":
                extra = _values(dice, range(256), 4)
                found = status_server(
                    SECRET, extra=extra, identifier=dice.randrange(256), authenticator=dice.randbytes(16)
                )
                yield kind, found.data, SECRET
            case "accounting":
                extra = [*_values(dice, range(256), 6), *_values(dice, (PROXY_STATE,), 2)]
                yield kind, accounting_request(SECRET, extra, identifier=dice.randrange(256)).data, SECRET
            case "of every length":
                yield kind, _long(dice), SECRET
            case "wrong authenticator":
                yield kind, _with_wrong_authenticator(dice), SECRET
            case _:
                yield kind, mutator.spoiled(re_sign=kind == "spoiled and signed"), SECRET


SHARES = {  # in a hundred
    "login": 34,
    "login of another secret": 4,
    "status": 5,
    "accounting": 9,
    "of every length": 5,
    "wrong authenticator": 5,
    "spoiled": 19,
    "spoiled and signed": 19,
}


def _login(dice: random.Random) -> bytes:
    """With and without signature, State, Proxy-States, vendor attributes; passwords of 0 to 128 octets."""
    text = "".join(dice.choices("abc 019äß€😀", k=dice.randint(0, 32)))
    password = text.encode() if dice.random() < 0.7 else dice.randbytes(dice.randint(0, 128))
    extra = [*_values(dice, (4, 5, 6, 26, 30, 31, 32, 61), 4), *_values(dice, (PROXY_STATE, PROXY_STATE, 18), 3)]
    dice.shuffle(extra)
    if dice.random() < 0.05:  # the first one is computed over this one, and right
        extra.append((MESSAGE_AUTHENTICATOR, dice.randbytes(16)))
    return access_request(
        SECRET,
        dice.choice(["alice", "jürgen", "a" * 253]),
        password,
        state=dice.randbytes(16).hex().encode() if dice.random() < 0.3 else None,
        extra=extra,
        identifier=dice.randrange(256),
        authenticator=dice.randbytes(16),
        message_authenticator=dice.choice(["first", "last", "none"]),
    ).data


def _values(dice: random.Random, kinds: Iterable[int], most: int) -> list[tuple[int, bytes]]:
    """At most so many attributes; most are short, some as long as can be, few empty."""
    chosen = [kind for kind in dice.choices(list(kinds), k=dice.randint(0, most)) if kind != MESSAGE_AUTHENTICATOR]
    lengths = dice.choices([dice.randint(1, 40), dice.randint(1, 253), 253, 0], [80, 15, 3, 2], k=len(chosen))
    return [(kind, _value(dice, kind, length)) for kind, length in zip(chosen, lengths, strict=True)]


def _value(dice: random.Random, kind: int, length: int) -> bytes:
    if kind != 26 or length < 7:
        return dice.randbytes(length)
    inner = dice.randbytes(length - 6)
    said = len(inner) + 2 if dice.random() < 0.8 else dice.randrange(256)
    return dice.choice([9, 311, 14988]).to_bytes(4, "big") + bytes([dice.randrange(256), said]) + inner


def _long(dice: random.Random) -> bytes:
    """A packet of any length from 20 to 9000 octets, padding behind it or octets missing."""
    wanted = dice.choice([dice.randint(20, 300), dice.randint(20, 4096), 4096, 4097, dice.randint(4097, 9000)])
    attributes: list[tuple[int, bytes]] = []
    left = wanted - 20
    while left >= 2:
        length = min(dice.randint(2, 255), left if left <= 255 else left - 2)
        attributes.append((dice.choice([1, 18, 24, 26, PROXY_STATE, 79]), dice.randbytes(length - 2)))
        left -= length
    data = packet(dice.choice([1, 1, 12, 2, 11]), dice.randrange(256), dice.randbytes(16), attributes)
    return dice.choice([data, data, data + dice.randbytes(dice.randint(1, 300)), data[: dice.randint(0, len(data))]])


def _with_wrong_authenticator(dice: random.Random) -> bytes:
    start = accounting_request(SECRET, [(40, b"\0\0\0\1")], identifier=dice.randrange(256))
    data = bytearray(_login(dice) if dice.random() < 0.7 else start.data)
    data[4 + dice.randrange(16)] ^= 1 << dice.randrange(8)
    return bytes(data)


def _reply_attributes(dice: random.Random, code: Code, room: int) -> Iterator[tuple[int, bytes]]:
    """What may stand there; now and then an empty value, one that is too long, or as much as there is `room` for and a
    few octets more or less."""
    allowed = sorted(ALLOWED_IN_REPLY[code])
    plain = [kind for kind in (18, 24, 76, 79, 1) if kind in allowed]
    kinds = plain if dice.random() < 0.6 else allowed
    length = dice.choices([dice.randint(1, 60), dice.randint(1, 253), 253, 0, 254], [70, 22, 6, 1, 1])[0]
    if dice.random() < 0.95:
        for _ in range(dice.choice([0, 1, 1, 2, 3, 5])):
            kind = int(dice.choice(kinds))
            yield kind, _value(dice, kind, length)
        return
    left = room + dice.randint(-5, 5)
    while left >= 3:
        taken = left if left <= 255 else min(255, left - 3)
        yield int(dice.choice(kinds)), dice.randbytes(taken - 2)
        left -= taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.packets} packets", flush=True)
    result = run(chosen.packets, chosen.seed)
    print(result)
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
