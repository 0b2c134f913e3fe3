"""One conversation with one directory server (RFC 4511): connect, bind, search. ldap3 speaks; this file holds it.

Rules: no octet of a question leaves before TLS with a certificate that was checked, for the name in the configuration,
unless the server is this host. Every step ends at one deadline, and only so many octets are taken in all, so that a
server that dribbles or floods costs no more than one that is silent. Referrals are not followed: they would carry a
password to a server that nobody named. An answer is believed only if it is of the kind that was asked for; whatever
else comes, and whatever ldap3 makes of it, is `DirectoryFailed`. A password goes as the octets that were typed.
"""

import math
import socket
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from first_factor.lookups import Lookups
from store.ldap_section import LdapServer, Protection
from validation.messages import printable

with warnings.catch_warnings():  # ldap3 2.9.1 imports two names that pyasn1 0.6 means to give up
    warnings.filterwarnings("ignore", "(tagMap|typeMap) is deprecated", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import LDAPCommunicationError, LDAPInvalidFilterError

PASSWORD_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"  # draft-behera-ldap-password-policy-10 6.1
_START_TLS = "1.3.6.1.4.1.1466.20037"  # RFC 4511 4.14.1
_OCTETS_MOST = 1024 * 1024

SUCCESS, SIZE_LIMIT = 0, 4  # RFC 4511 A.1


class DirectoryFailed(Exception):
    """This server gave no answer that counts. The text says why, and holds nothing that a user typed."""


class TooMany(DirectoryFailed):
    """More entries than the server gives out, or than were wanted."""


@dataclass(frozen=True, slots=True)
class Entry:
    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]  # by name in small letters


@dataclass(frozen=True, slots=True)
class Found:
    """`elsewhere`: the server says that other servers may know more (RFC 4511 4.5.3)."""

    entries: tuple[Entry, ...]
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class BindAnswer:
    code: int
    name: str  # of the code
    message: str = ""  # the server's own words
    policy: bytes | None = None  # value of the password policy control


class Line:
    """The socket as ldap3 sees it: every step ends at the deadline, and only so many octets come in."""

    def __init__(self, raw: socket.socket, until: float) -> None:
        self._raw = raw
        self._until = until
        self._taken = 0
        if raw.family != socket.AF_UNIX:  # questions are short and wait for their answers: 50 ms became 10 (measured)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def over_tls(self, context: ssl.SSLContext, name: str) -> None:
        self._in_time()
        self._raw = context.wrap_socket(self._raw, server_hostname=name)

    def recv(self, size: int) -> bytes:
        self._in_time()
        octets = self._raw.recv(size)
        self._taken += len(octets)
        if self._taken > _OCTETS_MOST:
            raise OSError(f"more than {_OCTETS_MOST} octets of answers")
        return octets

    def sendall(self, octets: bytes) -> None:
        self._in_time()
        self._raw.sendall(octets)

    def shutdown(self, how: int) -> None:
        self._raw.shutdown(how)

    def close(self) -> None:
        self._raw.close()

    def _in_time(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._raw.settimeout(left)


class Directory:
    """A connection that is open, and protected as the configuration says."""

    def __init__(self, connection: Any, until: float) -> None:
        self._connection = connection  # ldap3.Connection
        self._until = until

    def bind(self, dn: str, password: bytes) -> BindAnswer:
        """What the server says to this name and password. Neither may be empty: a server would take that for a bind
        that proves nothing, and call it a success (RFC 4513 5.1.2)."""
        if not dn or not password:
            raise DirectoryFailed("a bind without a name or a password proves nothing")
        self._connection.user, self._connection.password = dn, password
        self._connection.authentication = ldap3.SIMPLE
        return self._bind()

    def bind_as_nobody(self) -> BindAnswer:
        self._connection.authentication = ldap3.ANONYMOUS
        self._connection.user = self._connection.password = None
        return self._bind()

    def _bind(self) -> BindAnswer:
        with _failures():
            self._connection.bind(read_server_info=False, controls=[(PASSWORD_POLICY, False, None)])
            result = _of_type(self._connection.result, "bindResponse")
            policy = (result.get("controls") or {}).get(PASSWORD_POLICY, {}).get("value")
            return BindAnswer(result["result"], result["description"], printable(result["message"]), policy)

    def search(self, base: str, question: str, attributes: tuple[str, ...], most: int = 0, below: bool = True) -> Found:
        """Entries that fit, at or below `base`; at most `most` of them (0: as many as there are). Raises TooMany."""
        with _failures():
            self._connection.search(
                base,
                question,
                ldap3.SUBTREE if below else ldap3.BASE,
                ldap3.DEREF_NEVER,
                list(attributes) or None,
                size_limit=most,
                time_limit=max(1, math.ceil(self._until - time.monotonic())),
            )
            result = _of_type(self._connection.result, "searchResDone")
            if result["result"] == SIZE_LIMIT:
                raise TooMany("the server gives out no more entries (result 4, sizeLimitExceeded)")
            if result["result"] != SUCCESS:
                raise DirectoryFailed(f"the search in {printable(base)} failed: {told(result)}")
            found = self._connection.response
            entries = tuple(_entry(each) for each in found if each["type"] == "searchResEntry")
            return Found(entries, any(each["type"] == "searchResRef" for each in found))

    def start_tls(self) -> None:
        with _failures():
            self._connection.extended(_START_TLS)
            result = _of_type(self._connection.result, "extendedResp")
        if result["result"] != SUCCESS:
            raise DirectoryFailed(f"the server refuses StartTLS: {told(result)}")

    def over_tls(self, name: str, ca_file: Path | None) -> None:
        with _failures():
            self._connection.socket.over_tls(_trust(ca_file), name)

    def close(self) -> None:
        line = self._connection.socket
        with suppress(DirectoryFailed), _failures():
            self._connection.unbind()
        if line is not None:
            line.close()


@contextmanager
def connected(server: LdapServer, ca_file: Path | None, until: float, lookups: Lookups) -> Iterator[Directory]:
    """A connection for this block, closed at its end. Raises DirectoryFailed."""
    with closing(Directory(_opened(server, until, lookups), until)) as directory:
        if server.protection is Protection.START_TLS:
            directory.start_tls()
        if server.protection is not Protection.THIS_HOST:
            directory.over_tls(server.host, ca_file)
        yield directory


def _opened(server: LdapServer, until: float, lookups: Lookups) -> Any:
    """To the first of its addresses that takes the connection; none may use up the time of the others."""
    with _failures():
        addresses = _addresses(server, until, lookups)
        for number, address in enumerate(addresses):
            share = (until - time.monotonic()) / (len(addresses) - number)
            if share <= 0:
                break
            try:
                return _connection(address, server.port, share, until)
            except Exception:
                if number + 1 == len(addresses):
                    raise
    raise DirectoryFailed("no answer in time")


def _addresses(server: LdapServer, until: float, lookups: Lookups) -> list[str]:
    if not server.port:
        return [f"ldapi://{server.host.replace('%', '%25')}"]
    return lookups.addresses(server.host, until)


def _connection(address: str, port: int, share: float, until: float) -> Any:
    host = ldap3.Server(address, port or None, get_info=ldap3.NONE, connect_timeout=share)
    connection: Any = ldap3.Connection(
        host, auto_referrals=False, auto_range=False, check_names=False, auto_escape=False, raise_exceptions=False
    )
    try:
        connection.open(read_server_info=False)
    except Exception:
        if connection.socket is not None:
            connection.socket.close()
        raise
    connection.socket = Line(connection.socket, until)
    return connection


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Read for each connection, so that authorities can be changed without a restart. The default context asks for a
    certificate and looks at the name (RFC 4513 3.1.3); that is said again, because all depends on it."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise DirectoryFailed(f"ca_file {ca_file} cannot be used: {error}") from None
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


Result: TypeAlias = dict[str, Any]


def _of_type(result: Result | None, kind: str) -> Result:
    if not isinstance(result, dict) or result.get("type") != kind:
        raise DirectoryFailed("the server answers something else than it was asked")
    return result


def told(result: Result) -> str:
    """A result as a person can look it up: its number, its name, the server's own words."""
    words = f": {printable(result['message'])}" if result["message"] else ""
    return f"result {result['result']}, {result['description']}{words}"


def _entry(found: Result) -> Entry:
    attributes = {str(name).lower(): tuple(values or ()) for name, values in found["raw_attributes"].items()}
    return Entry(str(found["dn"]), attributes)


@contextmanager
def _failures() -> Iterator[None]:
    """ldap3 raises what its parsers stumble over, so there is no list of what garbage can cause."""
    try:
        yield
    except DirectoryFailed:
        raise
    except LDAPInvalidFilterError:
        raise DirectoryFailed("the filter in the configuration is no filter (RFC 4515)") from None
    except Exception as error:
        raise DirectoryFailed(_said(error)) from None


def _said(error: Exception) -> str:
    """What a person can do something with. Other texts may quote what was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, OSError | LDAPCommunicationError):
        return printable(str(error))
    return f"its answer cannot be read ({type(error).__name__})"


def escaped(text: str) -> str:
    """As a value in a filter (RFC 4515 3): each octet but letters and digits as `\\xx`, so that none is special."""
    return "".join(
        chr(octet) if octet < 128 and chr(octet).isalnum() else f"\\{octet:02x}"
        for octet in text.encode("utf-8", "surrogatepass")
    )
