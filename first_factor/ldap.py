"""Passwords that a directory checks (LDAP): search for the user's entry, then bind as that entry.

Rules: exactly one entry must fit, or nobody is asked about. Proved is a bind that succeeds and to which the password
policy has no objection; wrong is `invalidCredentials`, an objection, and a user who is not there. Everything else is a
directory that does not answer. Nothing is asked for a user who may not log in, nor with a password that is empty, holds
a NUL or is too long: an empty one would be a bind that proves nothing (RFC 4513 5.1.2).

A right password that must be changed first (`changeAfterReset`) is wrong, because nobody can change it here: as with
PAM_NEW_AUTHTOK_REQD, people would go on with a password that somebody else has set. Over PAM, too: the host's account
step need not know the directory.

A server that fails is left aside for a while and the next one is asked, all within one deadline. What hangs on the
user and not on the server (two entries, an account that the server is unwilling to look at) leaves no server aside:
nobody shall be able to push one aside by typing a name. Nor to fill the log by that, or while no server answers.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from first_factor import ppolicy
from first_factor.bounded import Bounded, NoAnswer
from first_factor.directory import (
    SUCCESS,
    BindAnswer,
    Directory,
    DirectoryFailed,
    Entry,
    TooMany,
    connected,
    escaped,
)
from first_factor.dn import name_below, parts
from first_factor.lookups import Lookups
from first_factor.seldom import Seldom
from first_factor.turns import Turns
from store.ldap_section import GroupsSection, Ldap, LdapServer
from store.sealing import read_private
from validation.decisions import Look
from validation.errors import BadInput, TwofoldError
from validation.messages import printable
from validation.policy import check_name
from validation.requests import FirstFactor, FirstFactorResult

_log = logging.getLogger("twofold.first_factor")

LONGEST = 4096  # octets; each server would have to be trusted with more
_OVERTIME = 1.0  # seconds for a check to end by itself
_UNCHECKED = "the directory cannot check a password: %s"
_INAPPROPRIATE, _INVALID = 48, 49  # RFC 4511 A.1: the entry has no password; or it is another one
_SERVERS_TROUBLE = frozenset({51, 52})  # busy, unavailable


@dataclass(frozen=True, slots=True)
class _Answer:
    status: FirstFactor
    why: str = ""
    groups: tuple[str, ...] = ()


class _Undecided(Exception):
    """No answer for this user, whichever server is asked. The text is for the log."""


class LdapPasswords:
    def __init__(self, settings: Ldap) -> None:
        """Raises BadInput."""
        self._settings = settings
        self._groups = Groups(settings.groups) if settings.groups is not None else None
        self._turns: Turns[LdapServer] = Turns(settings.servers)
        self._lookups = Lookups()
        self._bounded = Bounded(settings.threads, settings.time_limit + _OVERTIME)
        self._no_answer, self._undecided = Seldom(_log), Seldom(_log)

    def check(self, look: Look, password: str) -> FirstFactorResult:
        answer = self._answer(look.user, _octets(password))
        return FirstFactorResult(answer.status, look.password_version, why=answer.why, groups=answer.groups)

    def _answer(self, user: str, password: bytes) -> _Answer:
        if not user or not password:
            return _Answer(FirstFactor.WRONG)
        until = time.monotonic() + self._settings.time_limit
        try:
            return self._bounded.run(lambda: self._ask_in_turn(user, password, until))
        except _Undecided as error:
            self._undecided.error(_UNCHECKED, error)
        except (NoAnswer, TwofoldError) as error:
            self._no_answer.error(_UNCHECKED, error)
        except Exception as error:
            self._no_answer.error(_UNCHECKED, type(error).__name__)
            _log.debug("where it happened", exc_info=error)
        return _Answer(FirstFactor.UNAVAILABLE)

    def _ask_in_turn(self, user: str, password: bytes, until: float) -> _Answer:
        """The first server that answers. Each gets its share of the time that is left."""
        secret = bind_password(self._settings)
        order = self._turns.order()
        for number, server in enumerate(order):
            now = time.monotonic()
            try:
                answer = self._ask(server, secret, user, password, now + (until - now) / (len(order) - number))
            except DirectoryFailed as error:
                self._left_aside(server, error)
                continue
            except _Undecided:
                self._well(server)
                raise
            self._well(server)
            return answer
        raise NoAnswer("no server answers; twofold doctor tells more")

    def _left_aside(self, server: LdapServer, error: DirectoryFailed) -> None:
        say = _log.warning if self._turns.failed(server) else _log.debug
        say("directory %s is left aside: %s", server, error)

    def _well(self, server: LdapServer) -> None:
        if self._turns.answered(server):
            _log.info("directory %s answers again", server)

    def _ask(self, server: LdapServer, secret: bytes, user: str, password: bytes, until: float) -> _Answer:
        with connected(server, self._settings.ca_file, until, self._lookups) as directory:
            log_in(directory, self._settings, secret)
            entry = self._entry(directory, user)
            if entry is None:
                return _Answer(FirstFactor.WRONG, "not-in-directory")
            groups = self._groups.of(directory, user, entry) if self._groups is not None else ()
            answer = meaning(directory.bind(entry.dn, password))
        return _Answer(answer.status, answer.why, groups if answer.status is FirstFactor.PROVED else ())

    def _entry(self, directory: Directory, user: str) -> Entry | None:
        """Two are asked for, to see that there is but one."""
        wanted = self._groups.wanted if self._groups is not None else ()
        question = self._settings.filter.replace("{user}", escaped(user))
        with _too_many("filter finds more than one entry for one name; make it stricter"):
            found = directory.search(self._settings.base, question, wanted, most=2)
        if len(found.entries) > 1:
            raise _Undecided("filter finds more than one entry for one name; make it stricter")
        if not found.entries and found.elsewhere:
            raise _Undecided("there is no such user below base, and the server refers to others; name another base")
        if found.entries and not found.entries[0].dn:
            raise DirectoryFailed("an entry without a name")
        return found.entries[0] if found.entries else None


@contextmanager
def _too_many(text: str) -> Iterator[None]:
    try:
        yield
    except TooMany:
        raise _Undecided(text) from None


def _octets(password: str) -> bytes:
    """Empty for what can be nobody's password."""
    try:
        octets = password.encode()
    except UnicodeEncodeError:  # half a character; the error would show it
        return b""
    return octets if b"\0" not in octets and len(octets) <= LONGEST else b""


# --- the service account ----------------------------------------------------------------------------------------


def bind_password(settings: Ldap) -> bytes:
    """Read anew each time, so that it can be changed without a restart. Raises TwofoldError."""
    if not settings.bind_dn:
        return b""
    path = settings.bind_password_file
    try:
        secret = read_private(path, "bind_password_file").removesuffix(b"\n").removesuffix(b"\r")
    except FileNotFoundError:
        raise BadInput(f"bind_password_file {path} does not exist; write the password of bind_dn into it") from None
    if not secret:
        raise BadInput(f"bind_password_file {path} is empty; write the password of bind_dn into it")
    return secret


def log_in(directory: Directory, settings: Ldap, secret: bytes) -> None:
    """As the service account. Raises DirectoryFailed."""
    answer = directory.bind(settings.bind_dn, secret) if settings.bind_dn else directory.bind_as_nobody()
    if answer.code == SUCCESS:
        return
    said = _told(answer)
    if not settings.bind_dn:
        raise DirectoryFailed(f"it lets nobody search without a name ({said}); set bind_dn and bind_password_file")
    why = "look at bind_dn and bind_password_file" if answer.code == _INVALID else "look at its log"
    raise DirectoryFailed(f"the service account {printable(settings.bind_dn)} may not log in ({said}); {why}")


def _told(answer: BindAnswer) -> str:
    return f"result {answer.code}, {answer.name}{': ' if answer.message else ''}{answer.message}"


# --- what a bind means ------------------------------------------------------------------------------------------


def meaning(answer: BindAnswer) -> _Answer:
    """Raises DirectoryFailed for trouble of the server, _Undecided for what the server says of this user alone."""
    try:
        policy = ppolicy.read_control(answer.policy)
    except ValueError:
        raise DirectoryFailed("its word on the password policy cannot be read") from None
    if policy.objection:
        if answer.code == SUCCESS:
            _log.info("a right password is not taken (%s): it cannot be changed here", policy.objection)
        return _Answer(FirstFactor.WRONG, policy.objection)
    if answer.code == SUCCESS:
        if policy.grace_left is not None:
            _log.info("a password has expired and is good for %d more logins", policy.grace_left)
        return _Answer(FirstFactor.PROVED)
    if answer.code in (_INVALID, _INAPPROPRIATE):
        return _Answer(FirstFactor.WRONG, ppolicy.active_directory(answer.message))
    if answer.code in _SERVERS_TROUBLE:
        raise DirectoryFailed(_told(answer))
    raise _Undecided(f"the server says neither yes nor no ({_told(answer)})")


# --- groups -----------------------------------------------------------------------------------------------------


class Groups:
    """Which groups of the directory a user is in, as they are called here."""

    def __init__(self, section: GroupsSection) -> None:
        """Raises BadInput."""
        self._section = section
        self._names = {there.casefold(): here for there, here in section.names.items()}
        try:
            self._base = parts(section.base)
        except ValueError as error:
            raise BadInput(f"first_factor.ldap.groups.base: {section.base!r} is no DN (RFC 4514): {error}") from None

    @property
    def wanted(self) -> tuple[str, ...]:
        """Attributes of the user's entry."""
        return ("memberOf",) if self._section.member_of else ()

    def of(self, directory: Directory, user: str, entry: Entry) -> tuple[str, ...]:
        """Asked before the user's own bind, by the service account: what a user may read of himself is his affair."""
        found = {*self._member_of(entry), *self._searched(directory, user, entry.dn)}
        return tuple(sorted({here for there in found for here in self._called_here(there)}))

    def _member_of(self, entry: Entry) -> Iterator[str]:
        """Its DN begins with a group's name. Only groups below `base` count: elsewhere others may make some."""
        if any(name.startswith("memberof;") for name in entry.attributes):
            raise _Undecided("the server gives memberOf in pieces; search for groups instead (groups.filter)")
        for octets in entry.attributes.get("memberof", ()):
            name = name_below(octets.decode("utf-8", "surrogateescape"), self._base, self._section.name)
            if name is not None:
                yield name

    def _searched(self, directory: Directory, user: str, dn: str) -> Iterator[str]:
        if not self._section.filter:
            return
        # Both are put in at once, so that a name which reads like a place to fill stays what it is.
        values = {"{user}": escaped(user), "{dn}": escaped(dn)}
        question = re.sub(r"\{user\}|\{dn\}", lambda place: values[place[0]], self._section.filter)
        with _too_many("a user is in more groups than the server gives out; raise its size limit"):
            found = directory.search(self._section.base, question, (self._section.name,))
        for each in found.entries:
            for octets in each.attributes.get(self._section.name.lower(), ()):
                yield octets.decode("utf-8", "surrogateescape")

    def _called_here(self, there: str) -> Iterator[str]:
        here = self._names.get(there.casefold()) if self._names else there
        if here is None:
            return
        try:
            check_name("group", here)
        except BadInput as error:
            _log.debug("a group of the directory is passed over: %s", error)
            return
        yield here
