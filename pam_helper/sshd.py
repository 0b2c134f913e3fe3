"""What sshd is told to do, and whether it lets somebody in without asking PAM.

Rules: `sshd -T` is believed before the file, since it knows defaults and includes. It does not know which Match block
will apply, so each block of the file is judged on top of it. The first value of a keyword wins, as in
sshd_config(5).
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from validation.findings import Finding, advice, serious

_CONFIG = "etc/ssh/sshd_config"
_PROGRAMS = ("/usr/sbin/sshd", "/usr/bin/sshd")
_DEFAULTS = {
    "usepam": "no",
    "kbdinteractiveauthentication": "yes",
    "passwordauthentication": "yes",
    "pubkeyauthentication": "yes",
    "hostbasedauthentication": "no",
    "gssapiauthentication": "no",
    "kerberosauthentication": "no",
    "authenticationmethods": "any",
    "logingracetime": "120",
}
_ALIASES = {"challengeresponseauthentication": "kbdinteractiveauthentication", "skeyauthentication": "ignored"}
# Methods that ask no PAM module, and what switches them on.
_WITHOUT_PAM = {
    "publickey": "pubkeyauthentication",
    "hostbased": "hostbasedauthentication",
    "gssapi-with-mic": "gssapiauthentication",
}
_ENABLED_BY = _WITHOUT_PAM | {
    "password": "passwordauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
}
_SHOWN = {
    "pubkeyauthentication": "PubkeyAuthentication",
    "hostbasedauthentication": "HostbasedAuthentication",
    "gssapiauthentication": "GSSAPIAuthentication",
}
_FILE = "/etc/ssh/sshd_config"
_RELOAD = "then check with sshd -t and reload: systemctl reload ssh (sshd on Red Hat)"
_SAFE_METHODS = "AuthenticationMethods publickey,keyboard-interactive"


@dataclass(frozen=True, slots=True)
class Block:
    """The keywords of the whole file, or of one Match block."""

    condition: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def on(self, key: str) -> bool:
        return self.values[key].lower() in ("yes", "true")


def program() -> Path | None:
    """The sshd of this host."""
    return next((path for path in map(Path, _PROGRAMS) if path.is_file()), None)


def settings(root: Path, asked: Path | None = None) -> list[Block]:
    """What holds for everybody, then what each Match block makes of it. Empty where there is no sshd.

    `asked` is the sshd that is to say what holds.
    """
    config = root / _CONFIG
    known = _from_program(asked) if asked is not None else None
    if known is None and not config.is_file():
        return []
    blocks = list(_from_file(config, root)) if config.is_file() else [Block()]
    everybody = _DEFAULTS | dict(blocks[0].values) | (known or {})
    return [Block("", everybody), *(Block(one.condition, everybody | dict(one.values)) for one in blocks[1:])]


def _from_program(asked: Path) -> dict[str, str] | None:
    try:
        done = subprocess.run([asked, "-T"], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:  # not root, or no host key
        return None
    pairs = (line.partition(" ") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs if key in _DEFAULTS}


def _from_file(config: Path, root: Path) -> Iterator[Block]:
    found: dict[str, dict[str, str]] = {"": {}}
    for condition, key, value in _keywords(config, root, "", 0):
        found.setdefault(condition, {}).setdefault(_ALIASES.get(key, key), value)
    for condition, values in found.items():
        yield Block(condition, {key: value for key, value in values.items() if key in _DEFAULTS})


_LINE = re.compile(r"^\s*(?P<key>[A-Za-z0-9]+)(?:\s*=\s*|\s+)(?P<value>.*?)\s*$")
_WORD = re.compile(r'"(?P<quoted>[^"]*)"|(?P<comment>#.*)|(?P<bare>[^\s"]+)')


def _words(value: str) -> Iterator[str]:
    """Quotes hold a word together; a # that begins one begins a comment."""
    for found in _WORD.finditer(value):
        if found["comment"] is not None:
            return
        yield found["bare"] if found["bare"] is not None else found["quoted"]


def _keywords(file: Path, root: Path, condition: str, depth: int) -> Iterator[tuple[str, str, str]]:
    """(Match condition, keyword, value). A Match ends with its file."""
    for line in file.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        key, words = match["key"].lower(), list(_words(match["value"]))
        if key == "match":  # also of all: what stands there goes before what holds for everybody
            condition = " ".join(words)
        elif key == "include" and depth < 16:
            for pattern in words:
                inside = pattern.lstrip("/") if pattern.startswith("/") else f"etc/ssh/{pattern}"
                for path in sorted(path for path in root.glob(inside) if path.is_file()):
                    yield from _keywords(path, root, condition, depth + 1)
        else:
            yield condition, key, " ".join(words)


# --- judging ----------------------------------------------------------------------------------------------------


def judge(blocks: list[Block], combined: bool, pairing: float) -> Iterator[Finding]:
    """`combined`: the stack takes password and PIN in one field. `pairing`: seconds a first registration may take."""
    everybody = blocks[0]
    if not everybody.on("usepam"):
        yield serious("sshd", "UsePAM no: sshd asks no PAM module, so nobody for a PIN.", _set("UsePAM yes"))
        return
    said = set()
    for block in blocks:
        for text, remedy in _ways_around(block, combined):
            if text in said:
                continue
            said |= {text} if block is everybody else set()
            where = f"Match {block.condition}: " if block.condition else ""
            yield serious("sshd", where + text, remedy)
    seconds = _seconds(everybody.values["logingracetime"])
    if 0 < seconds < pairing:
        text = f"LoginGraceTime {seconds:g}: sshd hangs up on a first login, which may take {pairing:g} seconds."
        yield advice("sshd", text, _set(f"LoginGraceTime {pairing:g}"))


def _ways_around(block: Block, combined: bool) -> Iterator[tuple[str, str]]:
    methods = block.values["authenticationmethods"]
    if methods.lower() == "any":
        for method, switch in _WITHOUT_PAM.items():
            if block.on(switch):
                yield (
                    f"{_SHOWN[switch]} yes: {method} alone lets in, without a PIN.",
                    _set(_SAFE_METHODS if method == "publickey" else f"{_SHOWN[switch]} no"),
                )
        password = True
    else:
        for one in methods.split():
            names = methods_of(one)
            asks = "keyboard-interactive" in names or (combined and "password" in names)
            if not asks and "password" not in names and all(block.on(_ENABLED_BY.get(n, "usepam")) for n in names):
                yield f"AuthenticationMethods {one} lets in without a PIN.", _set(_SAFE_METHODS)
        password = any("password" in methods_of(one) for one in methods.split())
    yield from _dialogue(block, combined, password)


def methods_of(way: str) -> set[str]:
    """Of one list of AuthenticationMethods, without devices: `keyboard-interactive:pam` is keyboard-interactive."""
    return {method.partition(":")[0] for method in way.split(",")}


def _dialogue(block: Block, combined: bool, password: bool) -> Iterator[tuple[str, str]]:
    """Whether a PIN can be asked for at all."""
    one_field = block.on("passwordauthentication") and password
    if one_field and block.on("kerberosauthentication"):
        yield (
            "KerberosAuthentication yes: its password lets in without a PIN.",
            _set("KerberosAuthentication no"),
        )
    if one_field and not combined:
        yield (
            "PasswordAuthentication yes: logins with one field cannot be asked for a PIN.",
            _set("PasswordAuthentication no"),
        )
    if not block.on("kbdinteractiveauthentication") and not (one_field and combined):
        yield (
            "KbdInteractiveAuthentication no: sshd can ask nobody for a PIN.",
            _set("KbdInteractiveAuthentication yes"),
        )


def _set(line: str) -> str:
    return f'Set "{line}" in {_FILE}, {_RELOAD}'


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _seconds(text: str) -> float:
    """A time of sshd_config(5): 120, 2m, 1h30m."""
    return float(sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw]?)", text.lower())))
