"""What `twofold doctor` asks of the directory: does each server answer, prove who it is, and let us search.

Rule: nobody's password is tried but that of the service account.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from first_factor.whose import has, whose
from store.config import Config
from store.ldap_section import Ldap, LdapServer
from validation.errors import TwofoldError
from validation.findings import Finding, advice, fine, serious
from validation.messages import printable
from validation.model import FirstFactorKind

_TOPIC = "directory"
_PAGE = "docs/first-factor/ldap.md"


def checks(config: Config | None, root: Path = Path("/")) -> Iterator[Finding]:
    if config is None:
        return
    if config.ldap is not None:
        yield from _judged(config.ldap)
    elif who := whose(config, FirstFactorKind.LDAP):
        text = f"{who} {has(who)} a password of the directory, and [first_factor.ldap] is missing: they cannot log in."
        yield serious(_TOPIC, text, f"Name the directory in {config.file}; {_PAGE} tells how")


def _judged(settings: Ldap) -> Iterator[Finding]:
    from first_factor.ldap import Groups, bind_password  # ldap3 takes its time to load

    try:
        secret = bind_password(settings)
        if settings.groups is not None:
            Groups(settings.groups)
    except TwofoldError as error:
        yield serious(_TOPIC, f"{error}.", "No password is checked by the directory before that is mended")
        return
    troubles = {server: _trouble(server, settings, secret) for server in settings.servers}
    # One that is down is a matter for its owner; that none is left keeps people out.
    report = serious if all(troubles.values()) else advice
    for server, trouble in troubles.items():
        if trouble:
            yield report(_TOPIC, f"{server}: {trouble}.", f"{_PAGE} tells what each of these means")
        else:
            yield fine(_TOPIC, f"{server} answers ({server.protection}), and {printable(settings.base)} is there")


def _trouble(server: LdapServer, settings: Ldap, secret: bytes) -> str:
    from first_factor.directory import DirectoryFailed, connected
    from first_factor.ldap import log_in
    from first_factor.lookups import Lookups

    try:
        until = time.monotonic() + settings.time_limit
        with connected(server, settings.ca_file, until, Lookups()) as directory:
            log_in(directory, settings, secret)
            bases = [settings.base, *([settings.groups.base] if settings.groups is not None else [])]
            for base in bases:
                if not directory.search(base, "(objectClass=*)", (), most=1, below=False).entries:
                    return f"the service account may not see {printable(base)}"
            directory.search(settings.base, settings.filter.replace("{user}", "twofold-doctor"), (), most=2)
    except DirectoryFailed as error:
        return str(error)
    return ""
