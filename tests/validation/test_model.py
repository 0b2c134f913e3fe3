"""The dice of a decision, and that no value shows its secrets."""

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest

import validation
from store.opening import SystemMoments
from tests.builders import moment
from validation.errors import Damaged
from validation.model import MOMENT_RANDOM_OCTETS, Moment

# --- C-031: repr


def all_dataclasses() -> list[type[Any]]:
    """Every dataclass that validation defines, found by importing all of it."""
    names = [name for _, name, _ in pkgutil.walk_packages(validation.__path__, "validation.")]
    modules = [importlib.import_module(name) for name in names]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    }
    return sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


# Texts that may be shown, by field name. A new text must be named here or hidden with repr=False; octets never may.
PUBLIC_TEXTS = {
    *("actor", "address", "algorithm", "client", "decision", "detail", "event", "face", "first_factor", "groups"),
    *("key_known_as", "kind", "label", "name", "reason", "request_id", "serial", "serials", "signed_sources", "source"),
    *("own", "remedy", "token_owner", "topic", "unsupported", "user", "values", "warnings"),
    *("group", "help", "issuer", "language", "notice", "public_id", "realms", "refused", "replaces", "service"),
    *("aaguids", "key_name", "origin", "rp_id", "rp_name", "security_keys", "sign_count", "user_name", "where"),
    *("user_verification", "file", "owners", "place", "serials", "tokens", "users"),
    *("attribute", "facts", "kinds", "nas", "refusal", "replies", "type_name", "why"),
    *("enrolment", "origins", "onboarding_over_radius", "second_factor", "security_key", "show_key", "value"),
    *("began", "chain"),
}
# There `key` is a reason and a source, or the name of a policy or text.
PUBLIC_KEYS = {"AuditFlood", "DeleteRule", "Rule", "SetRule", "SetText", "Text", "UnsetRule"}
# What these show people is no secret; a challenge's texts may hold a key or a ticket.
PUBLIC_WORDS = {"Accept", "Finding", "Registered", "Reject", "RowResult", "SetText", "Text"}


class Canaries:
    """Builds a value of a dataclass with a text of its own in every field of text or octets, and remembers where."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[str, str, bool]] = {}  # text -> class, field, octets?

    def build(self, cls: type[Any]) -> Any:
        hints = typing.get_type_hints(cls)
        values = {f.name: self._value(hints[f.name], cls.__name__, f.name) for f in dataclasses.fields(cls)}
        return cls(**values)

    def _value(self, hint: Any, owner: str, name: str) -> Any:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            # The most telling alternative: never None.
            return self._value(next(a for a in arguments if a is not type(None)), owner, name)
        if origin is tuple:
            return (self._value(arguments[0], owner, name),)
        if origin is frozenset:
            return frozenset({self._value(arguments[0], owner, name)})
        if origin is dict:
            return {self._value(arguments[0], owner, name): self._value(arguments[1], owner, name)}
        return self._single(hint, owner, name)

    def _single(self, hint: Any, owner: str, name: str) -> Any:
        if hint is bytes:
            length = MOMENT_RANDOM_OCTETS if owner == "Moment" else 20
            return self._text(owner, name, octets=True).encode().ljust(length, b".")
        if hint is str:
            return self._text(owner, name, octets=False)
        if dataclasses.is_dataclass(hint):
            return self.build(typing.cast("type[Any]", hint))
        if inspect.isclass(hint) and issubclass(hint, enum.Enum):
            return next(iter(hint))
        plain: dict[Any, Any] = {bool: True, int: 1, float: 1.0, IPv4Network: IPv4Network("192.0.2.0/24")}
        return plain.get(hint) if hint in plain else Damaged("a row")

    def _text(self, owner: str, name: str, octets: bool) -> str:
        text = f"canary{len(self.texts)}x"
        self.texts[text] = (owner, name, octets)
        return text


def shown_secrets(cls: type[Any]) -> Iterator[str]:
    canaries = Canaries()
    shown = repr(canaries.build(cls))
    for text, (owner, name, octets) in canaries.texts.items():
        public = not octets and (
            name in PUBLIC_TEXTS
            or (name == "key" and owner in PUBLIC_KEYS)
            or (name in ("text", "texts") and owner in PUBLIC_WORDS)
        )
        if text in shown and not public:
            yield f"{owner}.{name}"


@pytest.mark.statement("C-031")
@pytest.mark.parametrize("cls", all_dataclasses(), ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_no_repr_shows_a_secret(cls: type[Any]) -> None:
    """Nested values included: what holds a token shows no key either."""
    assert list(shown_secrets(cls)) == []


def test_a_planted_secret_is_found() -> None:
    @dataclasses.dataclass(frozen=True)
    class Inner:
        key: bytes
        serial: str

    @dataclasses.dataclass(frozen=True)
    class Outer:
        inner: Inner | None
        passcodes: tuple[str, ...]
        hidden: str = dataclasses.field(repr=False)

    assert list(shown_secrets(Outer)) == ["Inner.key", "Outer.passcodes"]


def test_the_search_finds_what_holds_secrets() -> None:
    names = {cls.__name__ for cls in all_dataclasses()}
    assert {"User", "Token", "Client", "PendingChallenge", "Moment", "Challenge", "Done", "Look", "Split"} <= names
    assert {"Ticket", "ReuseWindow", "Provisioning", "InsertTicket", "OpenReuse", "ResyncToken"} <= names
    assert {"LoginRequest", "LookRequest", "Wanted", "EnrollToken", "Rehash", "CloseChallenge", "AddClient"} <= names


# --- the dice


@pytest.mark.statement("O-002")
def test_a_new_key_has_160_bits() -> None:
    assert len(moment().new_key) * 8 == 160


@pytest.mark.statement("R-090", "R-091")
def test_a_state_is_128_bits_as_32_hex_characters() -> None:
    """Printable, because some clients cut a State at a zero octet; well below the 253 octets of an attribute."""
    state = moment().new_state
    assert bytes.fromhex(state) == moment().random[:16]
    assert (len(state.encode()), state) == (32, state.lower())


@pytest.mark.statement("R-091", "O-056")
def test_every_bit_of_a_state_comes_from_the_dice_and_from_no_other_secret() -> None:
    """Turning one random bit changes exactly one secret (or nothing: spare bits)."""
    base = moment()
    for bit in range(MOMENT_RANDOM_OCTETS * 8):
        octets = bytearray(base.random)
        octets[bit // 8] ^= 1 << bit % 8
        turned = Moment(base.now, bytes(octets))
        before, after = all_dice(base), all_dice(turned)
        changed = {name for name in before if after[name] != before[name]}
        octet = bit // 8
        name = next((name for end, name in ENDS.items() if octet < end), None)
        spare = name is None or (name in ("serial", "ticket") and bit % 8 >= 5)
        assert changed == (set() if spare else {name}), bit


ENDS = {16: "state", 36: "key", 42: "serial", 68: "ticket", 84: "salt", 184: "codes"}  # octets of the dice


def all_dice(dice: Moment) -> dict[str, object]:
    return {
        "state": dice.new_state,
        "key": dice.new_key,
        "serial": dice.new_serial,
        "ticket": dice.new_ticket,
        "salt": dice.new_salt,
        "codes": dice.new_recovery_codes(10),
    }


@pytest.mark.statement("R-091")
def test_of_100_000_states_no_two_share_64_bits_at_the_front() -> None:
    """The product's own dice. By chance alone two would share them once in 3.7 billion runs."""
    dice = SystemMoments()
    assert len({dice.moment().new_state[:16] for _ in range(100_000)}) == 100_000


def test_too_few_random_octets_are_refused() -> None:
    for octets in (0, MOMENT_RANDOM_OCTETS - 1, MOMENT_RANDOM_OCTETS + 1):
        with pytest.raises(ValueError, match="exactly 192 random octets"):
            Moment(0.0, b"x" * octets)


def test_a_serial_is_easy_to_type_back() -> None:
    serials = {moment(seed=n).new_serial for n in range(1000)}
    assert len(serials) == 1000
    assert set("".join(serials)) <= set("TF-23456789ABCDEFGHJKLMNPQRSTUVWXYZ")
    assert {len(serial) for serial in serials} == {9}
