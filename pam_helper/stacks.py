"""PAM stacks as libpam reads them, and whether one lets somebody in past our module.

Rules: a stack is walked as `_pam_dispatch` walks it (pam.conf(5)): controls, jumps, includes and substacks. Every
module is tried with every result that its control tells apart. So what is found is a way in that is there, whichever
of the many ways to write it was used: a `sufficient` above us, a jump across us, or a control that forgives us.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

MODULE = "pam_twofold"
DIRECTORIES = ("etc/pam.d", "usr/lib/pam.d", "usr/etc/pam.d")  # the first that has a file wins
_DEEPEST = 32  # includes inside includes, as libpam allows

# Nobody is let in by these: they prepare, delay, note or look at circumstances.
_CHECK_NOBODY = frozenset(
    {
        *("access", "cap", "debug", "echo", "ecryptfs", "env", "exec", "faildelay", "faillock", "ftp", "gnome_keyring"),
        *("group", "issue", "keyinit", "kwallet", "kwallet5", "lastlog", "limits", "listfile", "localuser", "loginuid"),
        *("mail", "mkhomedir", "motd", "mount", "namespace", "nologin", "permit", "rootok", "securetty", "selinux"),
        *("shells", "succeed_if", "systemd", "tally2", "time", "umask", "usertype", "warn", "wheel"),
    }
)
_NEVER_SUCCEED = frozenset({"deny", "rootok"})  # root needs no way in
_OUR_FAILURES = ("auth_err", "authinfo_unavail", "conv_err", "service_err", "buf_err", "module_unknown")

_CONTROLS = {
    "required": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "bad"},
    "requisite": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "die"},
    "sufficient": {"success": "done", "new_authtok_reqd": "done", "default": "ignore"},
    "optional": {"success": "ok", "new_authtok_reqd": "ok", "default": "ignore"},
}

# As the module reads them. Seconds: 1 to 300. What a socket may be called: sun_path has 108 octets, one of them a NUL.
_OPTION = re.compile(r"combined|debug|socket=/.{0,106}|timeout=0*([1-9]|[1-9][0-9]|[12][0-9][0-9]|300)")
_ESCAPED = re.compile(r"\\\]")

_TYPES = frozenset({"auth", "account", "session", "password"})
_ACTIONS = frozenset({"ok", "done", "bad", "die", "ignore", "reset"})
_RESULTS = frozenset(  # pam.conf(5)
    {
        *("success", "open_err", "symbol_err", "service_err", "system_err", "buf_err", "perm_denied", "auth_err"),
        *("cred_insufficient", "authinfo_unavail", "user_unknown", "maxtries", "new_authtok_reqd", "acct_expired"),
        *("session_err", "cred_unavail", "cred_expired", "cred_err", "no_module_data", "conv_err", "authtok_err"),
        *("authtok_recover_err", "authtok_recovery_err", "authtok_lock_busy", "authtok_disable_aging", "try_again"),
        *("ignore", "abort", "authtok_expired", "module_unknown", "bad_item", "conv_again", "incomplete", "default"),
    }
)


class BrokenStack(Exception):
    """libpam refuses such a stack, and with it every login. The text says file, line and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of type `auth`. A substack leaves a line of its own, at the level above its lines."""

    file: str
    line: int
    control: str
    actions: dict[str, str] = field(hash=False)
    module: str = ""
    arguments: tuple[str, ...] = ()
    level: int = 0

    @property
    def name(self) -> str:
        """`unix` for /lib/security/pam_unix.so."""
        return self.module.rpartition("/")[2].removesuffix(".so").removeprefix("pam_")

    @property
    def ours(self) -> bool:
        return self.name == MODULE.removeprefix("pam_")

    @property
    def combined(self) -> bool:
        return self.ours and "combined" in self.arguments

    @property
    def socket(self) -> str:
        """Where our module is told to ask; "" if it knows by itself."""
        told = [word.removeprefix("socket=") for word in self.words if word.startswith("socket=")]
        return told[-1] if self.ours and told else ""

    @property
    def not_understood(self) -> list[str]:
        """For any of these our module refuses every login."""
        return [word for word in self.words if self.ours and not _OPTION.fullmatch(word)]

    @property
    def words(self) -> list[str]:
        """The arguments as the module gets them: brackets hold one together that has blanks."""
        return [_ESCAPED.sub("]", word[1:-1]) if word.startswith("[") else word for word in self.arguments]

    def __str__(self) -> str:
        return f'"auth {self.control} {self.module}" ({self.file}, line {self.line})'


class Stacks:
    """The stacks below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.included: set[str] = set()  # files that others include, so no services

    def services(self) -> list[str]:
        folders = [folder for place in DIRECTORIES if (folder := self._root / place).is_dir()]
        names = sorted({path.name for folder in folders for path in folder.iterdir() if path.is_file()})
        return [name for name in names if "~" not in name and not name.startswith(".") and ".dpkg-" not in name]

    def has(self, service: str) -> bool:
        return self._find(service) is not None

    def auth(self, service: str) -> list[Rule]:
        """The lines of type auth, includes followed; those of `other` where there are none. Raises BrokenStack."""
        rules = list(self._read(service, 0, 0)) if self.has(service) else []
        return rules or (list(self._read("other", 0, 0)) if self.has("other") else [])

    def _find(self, name: str) -> Path | None:
        if name.startswith("/"):
            places = [self._root / name.lstrip("/")]
        else:
            places = [self._root / folder / name for folder in DIRECTORIES]
        return next((place for place in places if place.is_file()), None)

    def _read(self, name: str, level: int, depth: int) -> Iterator[Rule]:
        path = self._find(name)
        if path is None or depth > _DEEPEST:
            raise BrokenStack(f"{name} is not there" if path is None else f"{name} includes itself")
        shown = "/" + str(path.relative_to(self._root))
        # As octets: a carriage return is none of the ends of a line that libpam knows.
        for number, words in _lines(path.read_bytes().decode(errors="replace"), shown):
            where = f"{shown}, line {number}"
            kind = words[0].removeprefix("-").lower()
            if kind == "@include" and len(words) > 1:
                yield from self._included(words[1], level, depth, where)
            elif kind == "auth":
                yield from self._rule(words, Rule(shown, number, "", {}, level=level), depth, where)
            elif kind not in _TYPES:
                raise BrokenStack(f"{where}: the type {words[0]!r} is not known")

    def _rule(self, words: list[str], begun: Rule, depth: int, where: str) -> Iterator[Rule]:
        """A line of type auth, and what it takes in."""
        if len(words) < 3:
            raise BrokenStack(f"{where}: no module is named")
        if words[2].endswith("\r"):
            raise BrokenStack(f"{where}: it ends in a carriage return")
        control, module, arguments = words[1], words[2], tuple(words[3:])
        if control.lower() not in ("include", "substack"):
            yield replace(begun, control=control, actions=_actions(control, where), module=module, arguments=arguments)
            return
        level = begun.level
        if control.lower() == "substack":
            yield replace(begun, control="substack", actions={"default": "ignore"}, module=module)
            level += 1
        yield from self._included(module, level, depth, where)

    def _included(self, name: str, level: int, depth: int, where: str) -> Iterator[Rule]:
        self.included.add(name.rpartition("/")[2])
        try:
            yield from self._read(name, level, depth + 1)
        except BrokenStack as error:
            raise BrokenStack(str(error) if "line" in str(error) else f"{where}: {error}") from None


_BLANKS = " \t"
_WORD = re.compile(r"\[(?:\\.|[^\\\]])*\]|[^ \t]+")  # brackets hold a word together


def _lines(text: str, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line. A backslash at the end goes on with the next that holds anything but a comment;
    a comment ends the line, whatever stands before it. A file may not end in the middle of a line."""
    kept, begun = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        bare, comment, _ = line.partition("#")
        bare = bare.strip(_BLANKS)
        if not bare:
            continue
        begun = begun or number
        if bare.endswith("\\") and not comment:
            kept += bare[:-1] + " "
            continue
        yield begun, _WORD.findall(kept + bare)
        kept, begun = "", 0
    if begun:
        raise BrokenStack(f"{shown}, line {begun}: the line goes on behind the end of the file")


def _actions(control: str, where: str) -> dict[str, str]:
    if control.lower() in _CONTROLS:
        return _CONTROLS[control.lower()]
    if not (control.startswith("[") and control.endswith("]")):
        raise BrokenStack(f"{where}: the control {control!r} is not known")
    actions: dict[str, str] = {}
    for piece in re.sub(r"\s*=\s*", "=", control[1:-1]).split():
        result, _, action = piece.partition("=")
        if result not in _RESULTS or not (action in _ACTIONS or (action.isdecimal() and int(action) > 0)):
            raise BrokenStack(f"{where}: {piece!r} is not known")
        if result == "default":
            actions.setdefault(result, action)  # a second one finds nothing left to say
        else:
            actions[result] = action
    return actions


# --- walking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk is, and what it knows: as libpam's `impression`, and what we and the others have said."""

    at: int = 0
    impression: str = "none"  # none, good, bad
    ours: str = "not-met"  # not-met, passed, failed
    password: bool = False  # somebody but us has proved who it is


@dataclass(frozen=True, slots=True)
class Step:
    """What one line said, and what its control makes of that."""

    rule: Rule
    result: str
    action: str


@dataclass(frozen=True, slots=True)
class Move:
    step: Step
    at: int
    to: int


def way_in(rules: list[Rule], wanted: Callable[[Place], bool]) -> list[Move] | None:
    """A walk that ends in success and is `wanted`; None if there is none."""
    begin = Place()
    came: dict[Place, tuple[Place, Step] | None] = {begin: None}
    open_ = [begin]
    while open_:
        place = open_.pop()
        if place.at >= len(rules):
            if place.impression == "good" and wanted(place):
                return _moves(place, came)
            continue
        for step in _possible(rules[place.at]):
            reached = after(rules, place, step)
            if reached not in came:
                came[reached] = place, step
                open_.append(reached)
    return None


def _moves(place: Place, came: dict[Place, tuple[Place, Step] | None]) -> list[Move]:
    moves: list[Move] = []
    while (before := came[place]) is not None:
        moves.insert(0, Move(before[1], before[0].at, place.at))
        place = before[0]
    return moves


def _possible(rule: Rule) -> Iterator[Step]:
    if rule.control == "substack":
        yield Step(rule, "ignore", "ignore")
        return
    results = {"auth_err", "success", *(rule.actions.keys() - {"default", "new_authtok_reqd", "ignore"})}
    if rule.ours or rule.name in _CHECK_NOBODY:  # what checks passwords says yes or no
        results.add("ignore")
    if rule.ours:
        results |= set(_OUR_FAILURES)
    if rule.name in _NEVER_SUCCEED:
        results = {"auth_err"}
    if rule.name == "permit":
        results = {"success"}
    for result in sorted(results):
        yield Step(rule, result, rule.actions.get(result, rule.actions.get("default", "bad")))


def after(rules: list[Rule], place: Place, step: Step) -> Place:
    rule = step.rule
    impression, at = place.impression, place.at + 1
    match step.action:
        case "ok" | "done":
            if impression == "none" and step.result == "success":
                impression = "good"
            if step.action == "done" and impression == "good":
                at = _end_of(rules, place.at)
        case "bad" | "die":
            impression = "bad"
            if step.action == "die":
                at = _end_of(rules, place.at)
        case "reset":
            impression = "none"
        case jump if jump.isdigit():
            landed = _jumped(rules, place.at, int(jump))
            impression, at = ("bad", at) if landed is None else (impression, landed)
        case _:  # ignore
            pass
    ours, password = place.ours, place.password
    if rule.ours:
        ours = "passed" if step.result in ("success", "ignore") else "failed"
        password = password or (rule.combined and step.result == "success")
    elif step.result == "success" and rule.name not in _CHECK_NOBODY:
        password = True
    return Place(at, impression, ours, password)


def _end_of(rules: list[Rule], at: int) -> int:
    """`done` and `die` end the substack they stand in, and the stack where it is none."""
    level = rules[at].level
    at += 1
    while at < len(rules) and rules[at].level >= level:
        at += 1
    return at


def _jumped(rules: list[Rule], at: int, count: int) -> int | None:
    """Across so many lines of the same level; a substack is one. None if there are fewer."""
    level = rules[at].level
    at += 1
    while count and at < len(rules) and rules[at].level >= level:
        at += 1
        while at < len(rules) and rules[at].level > level:
            at += 1
        count -= 1
    return None if count else at


def way_past_us(rules: list[Rule]) -> Rule | None:
    """The line that lets somebody in though we were not asked, or have refused."""
    moves = way_in(rules, lambda place: place.ours != "passed")
    if moves is None:
        return None
    forgiven = [move.step.rule for move in moves if move.step.rule.ours]
    across = [move.step.rule for move in moves if any(rule.ours for rule in rules[move.at + 1 : move.to])]
    return (forgiven or across)[-1]


def pin_is_enough(rules: list[Rule]) -> bool:
    """Whether a PIN alone lets in: nothing in the stack checks a password."""
    return way_in(rules, lambda place: place.ours == "passed" and not place.password) is not None
