"""One login at an OpenVPN server: what was typed goes to Twofold, its answer becomes what OpenVPN's client understands.

OpenVPN's management-notes, "Challenge/Response Protocol": a question is a refusal whose text is
`CRV1:flags:state:name:text` (name in Base64); the client then comes again with `CRV1::state::answer` as the password.
The state is RADIUS's State in hexadecimal, so nothing is kept here and the answer may reach another server.

Rules: State, not a name in the question, ties the two together: Twofold checks that it is this user's. A static
challenge (`SCRV1:…`) goes to Twofold as it is, whose mode `openvpn` takes it apart. A client drops a message that holds
a control character, and OpenVPN cuts a long one in the middle of a character: so texts are made of printable characters
and cut here.
"""

import base64
import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateways.asking import ask
from gateways.openvpn import UNCHECKED, complain
from gateways.settings import Settings, SettingsError, load
from radius_client.client import CannotAsk, NoReply, Reply
from radius_client.wire import MAX_VALUE, Attribute, Code

PATIENCE = 50.0  # seconds for all servers together: OpenVPN's hand-window is 60 from the beginning of the handshake
LONGEST_TEXT = 1011  # octets: OpenVPN's PUSH_BUNDLE_SIZE of 1024 without "AUTH_FAILED," and a NUL
CHALLENGE = "CRV1:"
FULL = MAX_VALUE - 4  # octets; a Reply-Message that is longer has no room for another character
SPECIAL = (CHALLENGE, "TEMP", "SESSION")  # what a client takes for more than a text, if it stands first

NAS_PORT_TYPE, VIRTUAL = 61, 5  # RFC 2865 5.41
ECHO = (1).to_bytes(4, "big")  # of Prompt, RFC 2869 5.10

_ANSWER = re.compile(r"CRV1::((?:[0-9a-f]{2}){1,253})::(.*)")


def login(settings_file: str, user: str, password: str, environment: Mapping[str, str]) -> tuple[bool, str]:
    """Whether this user is let in, and what he is told if not."""
    try:
        settings = settings_in(Path(settings_file))
        typed, state = taken_apart(password)
        reply = ask(settings, user, typed, state, said_of_the_login(environment))
    except CannotAsk as error:
        return False, plain(f"The login was refused: {error}.")
    except (SettingsError, NoReply) as error:
        complain(str(error))
        return False, UNCHECKED
    if reply.code is Code.ACCESS_ACCEPT:
        return True, ""
    return False, refusal(reply) if reply.code is not Code.ACCESS_CHALLENGE else question(reply, user)


def settings_in(path: Path) -> Settings:
    """Raises SettingsError, also if OpenVPN would give up before all servers were asked."""
    settings, _ = load(path)
    if len(settings.servers) * settings.timeout > PATIENCE:
        most = PATIENCE / len(settings.servers)
        raise SettingsError(f"{path}: OpenVPN does not wait that long: set timeout = {most:g} or less")
    return settings


def taken_apart(password: str) -> tuple[str, bytes | None]:
    """What goes into User-Password, and the State of the question that it answers. Raises CannotAsk."""
    if not password.startswith("CRV1::"):
        return password, None
    found = _ANSWER.fullmatch(password)
    if found is None:
        raise CannotAsk("the answer to a question came without the question")
    return found[2], bytes.fromhex(found[1])


def said_of_the_login(environment: Mapping[str, str]) -> Iterator[tuple[int, bytes]]:
    """Attributes for Twofold's policies and log: where the person comes from."""
    yield NAS_PORT_TYPE, VIRTUAL.to_bytes(4, "big")
    if address := source(environment):
        yield Attribute.CALLING_STATION_ID, address.encode()


def source(environment: Mapping[str, str]) -> str:
    """The person's address; none if it is not certain. A client that changed to the other family has left both."""
    found = [environment[name] for name in ("untrusted_ip", "untrusted_ip6") if name in environment]
    try:
        return str(ipaddress.ip_address(found[0].partition("%")[0])) if len(found) == 1 else ""
    except ValueError:
        return ""


def refusal(reply: Reply) -> str:
    """May be empty: then the client shows its own."""
    text = plain(text_of(reply))
    return cut(f"- {text}" if text.startswith(SPECIAL) else text, LONGEST_TEXT)


def question(reply: Reply, user: str) -> str:
    """What is shown and asked. The answer is echoed only where Twofold says so (Prompt)."""
    if reply.state is None:
        complain("a challenge without State cannot be answered: the login is refused")
        return UNCHECKED
    flags = "R,E" if ECHO in reply.values(Attribute.PROMPT) else "R"
    name = base64.b64encode(user.encode()).decode()
    head = f"{CHALLENGE}{flags}:{reply.state.hex()}:{name}:"
    return head + cut(plain(text_of(reply)) or "PIN", LONGEST_TEXT - len(head))


def text_of(reply: Reply) -> str:
    """Twofold begins a Reply-Message for each line, and goes on in another where one is full."""
    pieces = reply.values(Attribute.REPLY_MESSAGE)
    return b"".join(one if len(one) > FULL else one + b" " for one in pieces).decode("utf-8", "replace")


def plain(text: str) -> str:
    """In one line of printable characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def cut(text: str, octets: int) -> str:
    """At most so long, and no character halved."""
    return text.encode()[:octets].decode("utf-8", "ignore")
