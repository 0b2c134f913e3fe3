"""The policy keys: what can be set, for whom, and which setting wins.

Rules: every key has a default, a way to read a value, and a direction that is stricter. The order is: group with
client or service, then client or service, then group, then everybody; inside one of these, a rule bound to source
addresses goes before one that is not, the longer prefix first. Where a user's several groups disagree, the stricter
value wins, whatever addresses their rules are bound to. A rule that names a source never applies to a login whose
source is not known. A rule may also name what a RADIUS client says of itself (`nas`): that makes it a rule for a
client, but the client's secret is never chosen by it. Where a password is checked depends on the person first: there,
a group goes before a client or service.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, reduce
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, TypeAlias

from validation.errors import BadInput

Network: TypeAlias = IPv4Network | IPv6Network

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What applies to one login. Times in seconds."""

    first_factor: str = "local"
    second_factor: str = "required"
    enrolment: str = "both"
    onboarding_over_radius: str = "ticket"
    security_key: str = "allowed"
    user_verification: str = "off"
    sign_count: str = "refuse"
    pairing_window: float = 14 * DAY
    pairing_reopen: float = 3 * DAY
    grace: float = 0.0
    reuse_window: float = 0.0
    max_registrations: int = 5
    totp_window: int = 1
    look_ahead: int = 10
    drift_limit: int = 10
    tries: int = 3
    challenge_lifetime: float = 120.0
    onboarding_lifetime: float = 600.0
    lock_from: int = 5
    lock_base: float = 30.0
    lock_max: float = HOUR
    source_lock_from: int = 50
    guess_budget: int = 900
    disable_at: int = 100
    show_key: str = "off"
    reject_delay: float = 1.0
    language: str = "en"


DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Key:
    """One policy key: how its value is read, which of two values is stricter, and one line of help."""

    read: Callable[[str], Any]
    stricter: Callable[[Any, Any], Any]
    help: str
    by_group: bool = True  # False: what strangers can observe must not depend on whose name they type
    group_first: bool = False  # a rule for a group goes before one for a client or service


def _choice(*values: str) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
    """One of `values`, which stand from strict to lax."""

    def read(text: str) -> str:
        if text not in values:
            raise BadInput(f"{text!r} is not possible; choose one of {', '.join(values)}")
        return text

    return read, lambda a, b: min(a, b, key=values.index)


def _whole(least: int, most: int, strict: Callable[[int, int], int] = min) -> tuple[Any, Any]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise BadInput(f"{text!r} is not possible; a whole number from {least} to {most} is")
        return int(text)

    return read, strict


_UNITS = {"s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}


def _duration(least: float, most: float, strict: Callable[[float, float], float] = min) -> tuple[Any, Any]:
    def read(text: str) -> float:
        number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1.0)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise BadInput(f"{text!r} is no duration; write 90s, 15m, 8h or 14d")
        seconds = int(number) * unit
        if not least <= seconds <= most:
            raise BadInput(f"{text!r} is not possible; {duration_text(least)} to {duration_text(most)} is")
        return seconds

    return read, strict


def read_duration(what: str, text: str) -> float:
    """`90s`, `15m`, `8h` or `14d` in seconds. Raises BadInput that begins with `what`."""
    try:
        return float(_duration(0, 3650 * DAY)[0](text))
    except BadInput as error:
        raise BadInput(f"{what}: {error}") from None


def duration_text(seconds: float) -> str:
    """`90s`, `15m`, `8h` or `14d`, whichever says it exactly."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds // _UNITS[unit])}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


KEYS: dict[str, Key] = {
    "first_factor": Key(
        *_choice("local", "system", "ldap", "radius"),
        "where passwords are checked of users who have no place of their own; a group goes before a client",
        group_first=True,
    ),
    "second_factor": Key(
        *_choice("required", "skip"), "skip lets in on the password alone; name a network with --from"
    ),
    "enrolment": Key(
        *_choice("off", "hardware-only", "self", "both"),
        "self: apps only; hardware-only: imported tokens only; both; off: nothing new",
    ),
    "onboarding_over_radius": Key(
        *_choice("off", "ticket", "key"), "what a first login over RADIUS gets; key sends the secret in clear"
    ),
    "security_key": Key(*_choice("off", "required", "allowed"), "security keys on local consoles"),
    "user_verification": Key(*_choice("required", "off"), "whether a security key must ask for its own PIN too"),
    "sign_count": Key(
        *_choice("refuse", "warn"), "what happens when a security key's counter goes back, as that of a copy does"
    ),
    "pairing_window": Key(*_duration(0, 3650 * DAY), "how long a new account may pair an app at login"),
    "pairing_reopen": Key(*_duration(0, 365 * DAY), "how long pairing is open again after a revocation"),
    "grace": Key(*_duration(0, 365 * DAY), "how long a new account is let in on the password, with a reminder"),
    "reuse_window": Key(*_duration(0, DAY), "how long the same client and source need no new PIN"),
    "max_registrations": Key(*_whole(1, 50), "registrations a user may have"),
    "totp_window": Key(*_whole(0, 10), "time steps to either side in which a PIN is accepted"),
    "look_ahead": Key(*_whole(0, 100), "HOTP counters beyond the next that are accepted"),
    "drift_limit": Key(*_whole(0, 100), "time steps a token's clock may be off"),
    "tries": Key(*_whole(1, 10), "PINs that may be tried in one login"),
    "challenge_lifetime": Key(*_duration(10, 600), "how long a question for the PIN stays open"),
    "onboarding_lifetime": Key(*_duration(60, 3600), "how long a first registration may take"),
    "lock_from": Key(*_whole(1, 100), "consecutive failures from which waits begin"),
    "lock_base": Key(*_duration(1, HOUR, max), "the first wait"),
    "lock_max": Key(*_duration(1, DAY, max), "the longest wait"),
    "source_lock_from": Key(
        *_whole(0, 10_000, lambda a, b: min(a, b, key=lambda n: n or 10_001)),
        "wrong passwords from one address from which it is held; 0 for no limit",
        by_group=False,
    ),
    "guess_budget": Key(*_whole(10, 100_000), "codes that may be compared for wrong PINs in 30 days"),
    "disable_at": Key(*_whole(3, 100), "consecutive wrong PINs that disable a token"),
    "show_key": Key(*_choice("off", "on"), "whether users may see the key of their app again"),
    "reject_delay": Key(*_duration(0, 10, max), "how long a refusal over RADIUS is held back", by_group=False),
    "language": Key(*_choice("en", "de"), "the language of texts"),
}


# What a RADIUS client says of itself, and rules may be bound to.
NAS_ATTRIBUTES = ("NAS-Identifier", "NAS-IP-Address", "Called-Station-Id")


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a rule or a text is: everything that is not None must fit."""

    group: str | None = None
    client: str | None = None
    service: str | None = None
    network: Network | None = None
    nas: str | None = None  # `NAS-Identifier=vpn-1`; without a value after the sign: the attribute is missing

    def fits(self, whom: "Whom") -> bool:
        return (
            (self.group is None or self.group in whom.groups)
            and (self.client is None or self.client == whom.client)
            and (self.service is None or self.service == whom.service)
            and (self.network is None or whom.inside(self.network))
            and (self.nas is None or self.nas in whom.nas)
        )

    def rank(self, group_first: bool = False) -> tuple[int, bool, int]:
        """The more specific, the greater."""
        door = self.client is not None or self.service is not None or self.nas is not None
        group = self.group is not None
        tier = door + 2 * group if group_first else 2 * door + group
        return tier, self.nas is not None, -1 if self.network is None else self.network.prefixlen

    def __str__(self) -> str:
        parts = [
            ("group", self.group),
            ("client", self.client),
            ("service", self.service),
            ("nas", self.nas),
            ("from", self.network),
        ]
        return ", ".join(f"{word} {value}" for word, value in parts if value is not None) or "everybody"


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose login it is: what scopes are held against."""

    groups: frozenset[str] = frozenset()
    client: str | None = None
    service: str | None = None
    source: str | None = None
    nas: frozenset[str] = frozenset()  # of each of NAS_ATTRIBUTES `name=value`, `name=` where it is missing

    def inside(self, network: Network) -> bool:
        if self.source is None:
            return False
        try:
            return ip_address(self.source) in network
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Rule:
    """One `twofold policy set`."""

    id: int
    key: str
    value: str
    scope: Scope = field(default_factory=Scope)

    def __str__(self) -> str:
        return f"policy {self.id}: {self.scope}"


@dataclass(frozen=True, slots=True)
class Text:
    """One `twofold message set`."""

    key: str
    language: str
    text: str
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, slots=True)
class Reply:
    """One RADIUS attribute for every Access-Accept of a group, of a client, of both or of everybody, with its values
    as they are typed."""

    attribute: str
    values: tuple[str, ...]
    scope: Scope = field(default_factory=Scope)  # group and client alone


@dataclass(frozen=True)
class Book:
    """All rules, texts and reply attributes of a store, as of one `generation`; made once, shared by many decisions."""

    generation: int = 0
    rules: tuple[Rule, ...] = ()
    texts: tuple[Text, ...] = ()
    replies: tuple[Reply, ...] = ()
    _cache: dict[Whom, Settings] = field(default_factory=dict, repr=False, compare=False)

    def settings(self, whom: Whom) -> Settings:
        """What applies to `whom`."""
        if whom.nas:  # anybody can write one: only those that rules name may fill the cache
            whom = replace(whom, nas=whom.nas & self._named)
        found = self._cache.get(whom)
        if found is None:
            values = {name: value for name, (value, _) in self.explain(whom).items()}
            found = Settings(**values)
            if len(self._cache) < _CACHE_MOST:
                self._cache[whom] = found
        return found

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(rule.scope.nas for rule in self.rules if rule.scope.nas is not None)

    def explain(self, whom: Whom) -> dict[str, tuple[Any, Rule | None]]:
        """Each key's value for `whom`, and the rule that gives it; None for the default."""
        found: dict[str, tuple[Any, Rule | None]] = {f.name: (f.default, None) for f in fields(Settings)}
        fitting: dict[str, list[Rule]] = {}
        for rule in self.rules:
            if rule.scope.fits(whom):
                fitting.setdefault(rule.key, []).append(rule)
        for key, rules in fitting.items():
            rule = _strictest(key, _best_of_each_group(rules, KEYS[key].group_first))
            found[key] = KEYS[key].read(rule.value), rule
        return found

    def text(self, key: str, language: str, whom: Whom) -> str | None:
        """The admin's text for `whom`, in `language` if there is one; None for the default."""
        fitting = [t for t in self.texts if t.key == key and t.scope.fits(whom) and t.language in (language, "")]
        best = max(fitting, key=lambda t: (t.scope.rank(), t.language == language), default=None)
        return best.text if best is not None else None


_CACHE_MOST = 4096
EMPTY = Book()


def _best_of_each_group(rules: Iterable[Rule], group_first: bool) -> list[Rule]:
    """Of the most specific rules, each group's with the narrowest network. Networks count inside one group: a rule
    for one group in the office must not soften what another group of the same user asks for everywhere."""
    best: dict[str | None, Rule] = {}
    for rule in sorted(rules, key=lambda rule: rule.scope.rank(group_first), reverse=True):
        best.setdefault(rule.scope.group, rule)
    most = max(rule.scope.rank(group_first)[0] for rule in best.values())
    return [rule for rule in best.values() if rule.scope.rank(group_first)[0] == most]


def _strictest(key: str, rules: Iterable[Rule]) -> Rule:
    def stricter(one: Rule, other: Rule) -> Rule:
        value, another = KEYS[key].read(one.value), KEYS[key].read(other.value)
        return one if KEYS[key].stricter(value, another) == value else other

    return reduce(stricter, rules)


def check_rule(key: str, value: str, scope: Scope) -> str:
    """The value as it will be stored. Raises BadInput that names the key."""
    if key not in KEYS:
        raise BadInput(f"{key!r} is not a policy key; twofold policy show --all lists them")
    if scope.client is not None and scope.service is not None:
        raise BadInput("--client and --service exclude each other: a login comes through one door")
    if scope.nas is not None and scope.service is not None:
        raise BadInput("--nas and --service exclude each other: a PAM service is no RADIUS client")
    if scope.group is not None and not KEYS[key].by_group:
        raise BadInput(f"{key} cannot depend on a group: strangers could tell whose name they typed")
    try:
        KEYS[key].read(value)
    except BadInput as error:
        raise BadInput(f"{key}: {error}") from None
    return value
