"""What `twofold doctor` asks of PAM on this host: stacks, module, sockets, sshd.

Rules: everything is looked at below `root`, and nothing is changed. A host whose stacks do not name us, and that has
no module of ours, is fine: it may serve RADIUS alone.
"""

import fnmatch
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pam_helper import sshd, stacks
from pam_helper.owner import rights_of_owner
from pam_helper.stacks import BrokenStack, Rule, Stacks
from store.config import Config, PamSection, SecurityKeySection, SystemSection
from store.opening import open_store
from validation.errors import TwofoldError
from validation.findings import Finding, advice, fine, serious
from validation.settings import Settings, Whom

_MODULE = f"{stacks.MODULE}.so"
_SECURITY = ("usr/lib/*/security", "usr/lib64/security", "usr/lib/security")
_SECURITY_OLD = ("lib/*/security", "lib64/security", "lib/security")  # where /lib is not a link to /usr/lib
_PAGES = {"sshd": "ssh", "sudo": "sudo", "sudo-i": "sudo", "su": "su", "su-l": "su", "login": "console"}
_START = "systemctl enable --now twofold-pam.socket twofold-pam.service"


def checks(config: Config | None, root: Path = Path("/")) -> Iterator[Finding]:
    known = Stacks(root)
    folders = _folders(root)
    installed = [folder for folder in folders if (folder / _MODULE).exists()]
    auth, broken = _read(known)
    yield from broken
    users = {
        service: rules
        for service, rules in auth.items()
        if any(rule.ours for rule in rules) and (service not in known.included or service in _PAGES)
    }
    if not users and not installed:
        yield fine("pam", "not used on this host: no module, and no stack names it")
        return
    yield from _modules(folders, installed, users, root)
    ssh = sshd.settings(root, sshd.program() if root == Path("/") else None)
    yield from _stacks(auth, users, ssh)
    yield from _one_factor(users, ssh)
    yield from _options(users)
    yield from _passwords(config, known)
    yield from _sockets(config.pam if config is not None else PamSection(), users, root)
    yield from _times(config, users, ssh, root)
    yield from _desks(config)


def _read(known: Stacks) -> tuple[dict[str, list[Rule]], list[Finding]]:
    auth: dict[str, list[Rule]] = {}
    broken: list[Finding] = []
    for service in known.services():
        try:
            auth[service] = known.auth(service)
        except BrokenStack as error:
            remedy = f"libpam refuses it. Mend /etc/pam.d/{service}"
            broken.append(serious(f"pam {service}", f"the stack is broken: {error}", remedy))
        except OSError as error:
            broken.append(serious(f"pam {service}", f"the stack cannot be read: {error}", "Run twofold doctor as root"))
    return auth, broken


# --- stacks -----------------------------------------------------------------------------------------------------


def _stacks(auth: dict[str, list[Rule]], users: dict[str, list[Rule]], ssh: list[sshd.Block]) -> Iterator[Finding]:
    for service, rules in users.items():
        yield _judged(service, rules)
    for service in _PAGES:
        if service in auth and service not in users:
            yield _not_asked(service, bool(ssh))


def _judged(service: str, rules: list[Rule]) -> Finding:
    topic = f"pam {service}"
    culprit = stacks.way_past_us(rules)
    if culprit is None:
        return fine(topic, "nobody gets in past the second factor")
    if culprit.ours:
        text = f"{culprit} forgives: who is refused by Twofold gets in all the same."
        return serious(topic, text, f'Write "auth required {_MODULE}". {_page(service)}')
    text = f"{culprit} lets in past {_MODULE}: {service} skips the second factor."
    return serious(topic, text, f"Put {_MODULE} where every login passes it. {_page(service)}")


def _not_asked(service: str, has_sshd: bool) -> Finding:
    text = f"{_MODULE} does not stand in /etc/pam.d/{service}: {service} asks for no second factor."
    if service == "sshd" and has_sshd:
        return serious(f"pam {service}", text, f"Add it. {_page(service)}")
    return advice(f"pam {service}", text, f"Add it, or keep it so on purpose (docs/pam/lockout.md). {_page(service)}")


def _one_factor(users: dict[str, list[Rule]], ssh: list[sshd.Block]) -> Iterator[Finding]:
    """A PIN in place of the password is one factor too few, but for sshd with a key before it."""
    for service, rules in users.items():
        if not stacks.pin_is_enough(rules) or stacks.way_past_us(rules) is not None:
            continue
        if service == "sshd" and ssh and _key_comes_first(ssh):
            continue
        text = f"the PIN alone lets in: nothing in the stack of {service} checks a password."
        remedy = f'Have the password checked first, for example "@include common-auth" above us. {_page(service)}'
        yield serious(f"pam {service}", text, remedy)


def _options(users: dict[str, list[Rule]]) -> Iterator[Finding]:
    for service, rules in users.items():
        for rule in rules:
            for word in rule.not_understood:
                text = f"{rule} has {word!r}, which is no option of {_MODULE}: it refuses every login."
                remedy = "Take it out. Options are combined, debug, timeout=SECONDS (1 to 300), socket=PATH (absolute)"
                yield serious(f"pam {service}", text, remedy)


def _passwords(config: Config | None, known: Stacks) -> Iterator[Finding]:
    """libpam would take `other` for a service that is not there, so the helper does not even ask."""
    service = (config.system_passwords if config is not None else SystemSection()).service
    if not known.has(service):
        text = f"/etc/pam.d/{service} is missing: users with --first-factor system cannot log in."
        yield advice("pam passwords", text, f"Copy contrib/pam/twofold-first-factor to /etc/pam.d/{service}")


def _key_comes_first(ssh: list[sshd.Block]) -> bool:
    """In every way that leads to the dialogue."""
    ways = [sshd.methods_of(one) for block in ssh for one in block.values["authenticationmethods"].split()]
    return all("publickey" in way for way in ways if not {"any", "keyboard-interactive", "password"}.isdisjoint(way))


def _page(service: str) -> str:
    return f"See docs/pam/{_PAGES.get(service, 'README')}.md"


def _desks(config: Config | None) -> Iterator[Finding]:
    """Who comes over a network is at a pseudo terminal, and would make the key on somebody's desk blink."""
    keys = config.security_key if config is not None else SecurityKeySection()
    for pattern in keys.ttys:
        if any(fnmatch.fnmatchcase(f"/dev/pts/{number}", pattern) for number in (0, 1, 10)):
            text = f"security_key.ttys has {pattern!r}, which is any terminal: a key is asked for inside ssh, too."
            yield serious("security keys", text, 'Name the consoles alone: ttys = ["/dev/tty[0-9]*"]')


# --- the module -------------------------------------------------------------------------------------------------


def _folders(root: Path) -> list[Path]:
    """Where libpam looks: wherever pam_unix.so is, once for each architecture."""
    found = {path.resolve() for pattern in (*_SECURITY, *_SECURITY_OLD) for path in root.glob(pattern)}
    return sorted(path for path in found if (path / "pam_unix.so").exists())


def _modules(folders: list[Path], installed: list[Path], users: dict[str, list[Rule]], root: Path) -> Iterator[Finding]:
    for folder in folders:
        module = folder / _MODULE
        shown = f"/{module.relative_to(root.resolve())}"
        if folder in installed:
            yield _module(module, shown, folder / "pam_unix.so", root)
        elif users:
            text = f"{shown} is missing: {', '.join(users)} cannot load it, and refuse every login."
            yield serious("pam module", text, "Run as root, in the source: make install")


def _module(module: Path, shown: str, neighbour: Path, root: Path) -> Finding:
    status = module.stat()
    if status.st_uid != root.stat().st_uid or status.st_mode & 0o022:
        text = f"{shown} can be changed by others than root (mode {stat.S_IMODE(status.st_mode):04o})."
        return serious("pam module", text, f"chown root:root {shown}; chmod 644 {shown}")
    if _architecture(module) != _architecture(neighbour):
        text = f"{shown} is not of the architecture of pam_unix.so beside it: it cannot be loaded."
        return serious("pam module", text, "Build it on this host: make clean; make install")
    return fine("pam module", shown)


def _architecture(file: Path) -> bytes:
    """Class, byte order and machine of an ELF file (elf(5)); nothing for what is none."""
    with file.open("rb") as opened:
        head = opened.read(20)
    return head[4:6] + head[18:20] if head[:4] == b"\x7fELF" else b""


# --- sockets ----------------------------------------------------------------------------------------------------


def _sockets(pam: PamSection, users: dict[str, list[Rule]], root: Path) -> Iterator[Finding]:
    wanted = ((pam.root_socket, 0o600, 0o700), (pam.socket, 0o666, 0o755))
    found = [finding for place, mode, around in wanted for finding in _socket(place, mode, around, bool(users), root)]
    found += _elsewhere(pam, users, root)
    yield from found or [fine("pam helper", f"answers at {pam.root_socket} and {pam.socket}")]


def _elsewhere(pam: PamSection, users: dict[str, list[Rule]], root: Path) -> Iterator[Finding]:
    """The module does not read the configuration: it asks where its line says, or at the usual two."""
    as_user, usual = {*pam.lockers, *(one for ones in pam.relays.values() for one in ones)}, PamSection()
    for service, rules in users.items():
        itself, ours = (usual.socket, pam.socket) if service in as_user else (usual.root_socket, pam.root_socket)
        places = {rule.socket or itself for rule in rules if rule.ours} - {pam.root_socket, pam.socket}
        for place in sorted(places):
            if not _answers(root / place.lstrip("/")):
                text = f"nobody answers at {place}, where {service} asks: it refuses every login."
                yield serious("pam helper", text, f"Write socket={ours} behind {_MODULE} in /etc/pam.d/{service}")


def _socket(place: str, mode: int, around: int, used: bool, root: Path) -> Iterator[Finding]:
    path = root / place.lstrip("/")
    report = serious if used else advice
    try:
        status, folder = os.lstat(path), os.stat(path.parent)
    except FileNotFoundError:
        yield report("pam helper", f"there is no socket {place}: the helper does not run.", _START)
        return
    except OSError as error:
        yield report("pam helper", f"{place} cannot be looked at: {error.strerror}.", "Run twofold doctor as root")
        return
    if not stat.S_ISSOCK(status.st_mode):
        yield report("pam helper", f"{place} is no socket.", f"Remove it, then: {_START}")
        return
    owner = root.stat().st_uid
    if stat.S_IMODE(status.st_mode) != mode or status.st_uid != owner:
        text = f"{place} has mode {stat.S_IMODE(status.st_mode):04o}, not {mode:04o}, or is not root's."
        yield serious("pam helper", text, f"chown root:root {place}; chmod {mode:o} {place}")
    if folder.st_mode & 0o022 or folder.st_uid != owner:
        where = os.path.dirname(place)
        text = f"others than root can put another socket into {where}."
        yield serious("pam helper", text, f"chown root:root {where}; chmod {around:o} {where}")
    if not _answers(path):
        yield report("pam helper", f"nobody answers at {place}.", f"journalctl -u twofold-pam tells why. {_START}")


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as trying:
        trying.settimeout(2)
        try:
            trying.connect(str(path))
        except OSError:
            return False
    return True


# --- sshd and times ---------------------------------------------------------------------------------------------


def _times(config: Config | None, users: dict[str, list[Rule]], ssh: list[sshd.Block], root: Path) -> Iterator[Finding]:
    if "sshd" in users and ssh:
        combined = any(rule.combined for rule in users["sshd"])
        found = list(sshd.judge(ssh, combined, _settings(config, "sshd").onboarding_lifetime))
        yield from found or [fine("sshd", "every login is asked for a PIN")]
    limit = _login_timeout(root)
    pairing = _settings(config, "login").onboarding_lifetime
    if "login" in users and 0 < limit < pairing:
        text = f"LOGIN_TIMEOUT {limit}: login ends a first login, which may take {pairing:g} seconds."
        yield advice("login", text, f'Set "LOGIN_TIMEOUT {pairing:g}" in /etc/login.defs')


def _settings(config: Config | None, service: str) -> Settings:
    """What applies to a login through `service`; the defaults while the store cannot be read."""
    if config is None:
        return Settings()
    try:
        with rights_of_owner(config.owners_file), closing(open_store(config)) as store:
            return store.book().settings(Whom(service=service))
    except TwofoldError:
        return Settings()


def _login_timeout(root: Path) -> int:
    """Seconds; 60 where nothing is said, as in shadow's login.defs(5)."""
    try:
        text = (root / "etc/login.defs").read_text(errors="replace")
    except OSError:
        return 0
    found = re.findall(r"^\s*LOGIN_TIMEOUT\s+(\d+)", text, re.MULTILINE)
    return int(found[-1]) if found else 60
