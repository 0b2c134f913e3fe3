"""`twofold-freeradius FILE`: FreeRADIUS runs it to have one EAP-GTC login checked.

FreeRADIUS cannot proxy what EAP-GTC carries, so this program asks in its place (contrib/freeradius). With `status`
after FILE it asks each server whether it is there.

Rules: name, password and what the gateway said come in hexadecimal, in the environment, because FreeRADIUS's own
quoting loses backslashes; anything else there is not looked at. FreeRADIUS reads the exit status as a verdict of its
own: 0 lets in, and so do 3 and others. So there are three: 0 after an Access-Accept alone, 1 for refused, 2 for
everything that went wrong. Reply attributes go back as numbers and hexadecimal alone, so that no text can be taken for
another attribute or be expanded; what is encrypted with our secret, or belongs to our conversation, ends here. What
went wrong is said in the system's log.
"""

import os
import re
import sys
import syslog
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from gateways.asking import ask
from gateways.settings import Settings, SettingsError, checked, protected_text
from radius_client.client import CannotAsk, NoReply, RadiusClient, Reply
from radius_client.wire import MAX_VALUE, Code

LET_IN, REFUSED, FAILED = 0, 1, 2
LONGEST_OUTPUT = 4000  # characters; FreeRADIUS 3.2 reads 4095 and cuts the rest off, in the middle of an attribute

USER_NAME, USER_PASSWORD, NAS_IDENTIFIER = "TMP_STRING_0", "TMP_STRING_1", "TMP_STRING_2"
# What the gateway said of the login, for Twofold's policies and log: RFC 2865 5.4, 5.30, 5.31, 5.41; RFC 2869 5.17.
PASSED_ON = {"TMP_STRING_3": 4, "TMP_STRING_4": 31, "TMP_STRING_5": 30, "TMP_STRING_6": 61, "TMP_STRING_7": 87}

# What an Access-Accept may tell the gateway (RFC 2865 5.44 and later tables), and nothing of which is encrypted.
HANDED_BACK = frozenset(
    {*range(6, 17), 18, 19, 20, 22, 23, 25, 26, 27, 28, 29, *range(34, 40), 62}  # RFC 2865
    | {*range(64, 68), 71, 72, 78, 81, 82, 83, 85, 88, 90, 91}  # RFC 2868 without Tunnel-Password, RFC 2869
    | {57, 58, 92, *range(96, 101), 123}  # RFC 4675, RFC 4849, RFC 3162, RFC 4818
)
VENDOR_SPECIFIC, MICROSOFT = 26, 311  # Microsoft's hold the keys that FreeRADIUS makes itself (RFC 2548 2.4)

# A value that both FreeRADIUS and we read alike: neither has an escape in it.
_LINE = re.compile(r'twofold_([a-z0-9_]+) = "([^"\\$%]*)" *(?:#.*)?')
_EXAMPLE = "put-the-secret-of-twofold-here"


def settings_in(path: Path) -> Settings:
    """Whom to ask, out of the file that FreeRADIUS reads, too. Raises SettingsError."""
    values: dict[str, str] = {}
    for number, line in enumerate(protected_text(path).splitlines(), 1):
        if line.lstrip().startswith("twofold_"):
            found = _LINE.fullmatch(line.rstrip())
            if found is None or found[1] in values:
                raise SettingsError(f'{path}, line {number}: write twofold_NAME = "VALUE" once, without \\ " $ %')
            values[found[1]] = found[2]
    if values.get("secret") == _EXAMPLE:
        raise SettingsError(f"{path}: twofold_secret is still that of the example; put in what `client add` has shown")
    return checked(path, _as_settings(path, values))


def _as_settings(path: Path, values: Mapping[str, str]) -> dict[str, object]:
    try:
        count, seconds = int(values["servers"]), float(values["timeout"])
        addresses = [values[f"server_{number}"] for number in range(1, count + 1)]
        port, secret = values["port"], values["secret"]
    except KeyError as error:
        raise SettingsError(f"{path}: twofold_{error.args[0]} is missing") from None
    except ValueError:
        raise SettingsError(f"{path}: twofold_servers and twofold_timeout are numbers") from None
    servers = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in addresses]
    return {"servers": servers, "secret": secret, "nas_identifier": "freeradius", "timeout": seconds}


def login(settings: Settings, environment: Mapping[str, str]) -> Reply:
    """Ask whether this login is right. Raises CannotAsk, and NoReply."""
    user = _octets(environment, USER_NAME).decode("utf-8", "surrogateescape")  # what is no text is refused
    password = _octets(environment, USER_PASSWORD).decode("utf-8", "surrogateescape")
    said = _value(environment, NAS_IDENTIFIER).decode("utf-8", "replace") or settings.nas_identifier
    more = [(kind, value) for name, kind in PASSED_ON.items() if (value := _value(environment, name))]
    return ask(replace(settings, nas_identifier=said), user, password, attributes=more)


def _value(environment: Mapping[str, str], name: str) -> bytes:
    """What may be missing, and is left out if RADIUS cannot carry it."""
    value = _octets(environment, name) if name in environment else b""
    return value if len(value) <= MAX_VALUE else b""


def _octets(environment: Mapping[str, str], name: str) -> bytes:
    """FreeRADIUS writes the value in quotes."""
    found = re.fullmatch(r'"((?:[0-9a-f]{2})*)"', environment.get(name, ""))
    if found is None:
        raise CannotAsk(f"{name} is not in hexadecimal: the policies of contrib/freeradius are not in place")
    return bytes.fromhex(found[1])


def pairs(attributes: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    """Lines for `output_pairs` of rlm_exec. Attr-N is FreeRADIUS's own name for any attribute."""
    for kind, value in attributes:
        if kind in HANDED_BACK and value and not (kind == VENDOR_SPECIFIC and value[:4] == MICROSOFT.to_bytes(4)):
            yield f"Attr-{kind} += 0x{value.hex()}"


def main() -> NoReturn:
    """Ends with the exit status: whoever packs this program into one file drops what main returns."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    match arguments:
        case [file]:
            return _verdict(Path(file))
        case [file, "status"]:
            return _status(Path(file))
        case _:
            print("usage: twofold-freeradius FILE [status]", file=sys.stderr)
            return FAILED


def _verdict(path: Path) -> int:
    try:
        reply = login(settings_in(path), os.environ)
    except (SettingsError, CannotAsk, NoReply) as error:
        return _complain(str(error), FAILED)
    if reply.code is Code.ACCESS_CHALLENGE:
        return _complain("Twofold asks for a PIN; over EAP it follows the password, in the same field", REFUSED)
    if reply.code is not Code.ACCESS_ACCEPT:
        return REFUSED
    output = "\n".join(pairs(reply.attributes))
    if len(output) > LONGEST_OUTPUT:
        return _complain("Twofold's reply has more attributes than FreeRADIUS reads from a program", FAILED)
    print(output, flush=True)
    return LET_IN


def _status(path: Path) -> int:
    """Says of each server whether it answers a Status-Server, and what is wrong with the file."""
    try:
        settings = settings_in(path)
    except SettingsError as error:
        print(error)
        return FAILED
    clients = [RadiusClient(server, settings.secret, settings.nas_identifier) for server in settings.servers]
    return REFUSED if [client for client in clients if not _answers(client, settings.timeout)] else LET_IN


def _answers(client: RadiusClient, within: float) -> bool:
    try:
        client.status(within)
    except NoReply as error:
        print(f"{client}: {error}")
        return False
    print(f"{client} answers")
    return True


def _complain(text: str, verdict: int) -> int:
    syslog.openlog("twofold-freeradius", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_WARNING, text)
    return verdict


if __name__ == "__main__":
    main()
