"""The policy keys: values and their borders, which rule wins for whom, and which of two values is the stricter."""

import itertools
from dataclasses import fields, replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validation.engine import Engine
from validation.errors import BadInput, Refused
from validation.explaining import lint
from validation.requests import SetRule, UnsetRule
from validation.settings import (
    DAY,
    DEFAULTS,
    KEYS,
    Book,
    Rule,
    Scope,
    Settings,
    Text,
    Whom,
    check_rule,
    duration_text,
)

EVERYBODY = Scope()
TEN = ip_network("10.0.0.0/8")
BY = "root@host"


def book(*rules: tuple[str, str, Scope]) -> Book:
    return Book(1, tuple(Rule(n, *rule) for n, rule in enumerate(rules, 1)))


def tries(whom: Whom, *rules: tuple[str, Scope]) -> int:
    """`tries` for `whom`, in whatever order the rules came."""
    found = {
        book(*(("tries", *rule) for rule in order)).settings(whom).tries for order in itertools.permutations(rules)
    }
    (one,) = found
    return one


# --- values

BORDERS: dict[str, tuple[list[str], list[str]]] = {
    "first_factor": (["local", "system", "ldap", "radius"], ["", "Local", "pam"]),
    "second_factor": (["required", "skip"], ["", "Required", "none"]),
    "enrolment": (["off", "hardware-only", "self", "both"], ["", "on", "hardware"]),
    "onboarding_over_radius": (["off", "ticket", "key"], ["", "on"]),
    "security_key": (["off", "required", "allowed"], ["", "on"]),
    "user_verification": (["required", "off"], ["", "on", "preferred"]),
    "sign_count": (["refuse", "warn"], ["", "off"]),
    "pairing_window": (["0", "14d", "3650d"], ["3651d", "-1d"]),
    "pairing_reopen": (["0s", "365d"], ["366d"]),
    "grace": (["0", "365d"], ["366d"]),
    "reuse_window": (["0", "8h", "24h", "1d", "86400"], ["86401", "2d"]),
    "max_registrations": (["1", "50"], ["0", "51"]),
    "totp_window": (["0", "10"], ["11", "-1"]),
    "look_ahead": (["0", "100"], ["101"]),
    "drift_limit": (["0", "100"], ["101"]),
    "tries": (["1", "10"], ["0", "11"]),
    "challenge_lifetime": (["10", "10s", "10m"], ["9", "601", "11m"]),
    "onboarding_lifetime": (["1m", "1h"], ["59s", "3601"]),
    "lock_from": (["1", "100"], ["0", "101"]),
    "lock_base": (["1s", "1h"], ["0", "3601s"]),
    "lock_max": (["1s", "1d"], ["0", "25h"]),
    "source_lock_from": (["0", "1", "10000"], ["10001", "-1"]),
    "guess_budget": (["10", "100000"], ["9", "100001"]),
    "disable_at": (["3", "100"], ["2", "101"]),
    "show_key": (["off", "on"], ["", "yes"]),
    "reject_delay": (["0", "10s"], ["11s", "-1"]),
    "language": (["en", "de"], ["fr", "EN", ""]),
}
NO_NUMBERS = [
    "",
    " ",
    "1 ",
    "+1",
    "1.5",
    "1e1",
    "0x1",
    "\u0661",
    "\u00b2",
    "1" * 10,
    "1" * 5000,
    "s",
    "1w",
    "1 d",
    "d1",
]


def test_every_key_has_a_default_and_every_default_is_a_key() -> None:
    assert set(KEYS) == {field.name for field in fields(Settings)} == set(BORDERS)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_takes_the_values_inside_its_borders_and_no_other(key: str) -> None:
    good, bad = BORDERS[key]
    for value in good:
        assert check_rule(key, value, EVERYBODY) == value
        assert book((key, value, EVERYBODY)).settings(Whom()) == replace(DEFAULTS, **{key: KEYS[key].read(value)})
    numbers = [] if isinstance(getattr(DEFAULTS, key), str) else NO_NUMBERS
    for value in [*bad, *numbers]:
        with pytest.raises(BadInput, match=f"^{key}: ") as refusal:
            check_rule(key, value, EVERYBODY)
        assert str(refusal.value).isprintable()


@pytest.mark.parametrize("key", KEYS)
def test_the_default_of_a_key_is_one_of_its_values(key: str) -> None:
    default = getattr(DEFAULTS, key)
    assert KEYS[key].read(duration_text(default) if isinstance(default, float) else str(default)) == default


@pytest.mark.statement("O-040")
def test_no_policy_lets_a_token_have_more_than_a_hundred_wrong_pins_in_a_row() -> None:
    with pytest.raises(BadInput, match="disable_at"):
        check_rule("disable_at", "101", EVERYBODY)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("8h", 28_800), ("14d", 14 * DAY), ("0", 0), ("0d", 0), ("007s", 7)],
)
def test_durations(text: str, seconds: float) -> None:
    assert KEYS["pairing_window"].read(text) == seconds


@given(st.integers(0, 3650 * 86_400))
def test_a_duration_is_shown_as_it_may_be_typed(seconds: int) -> None:
    assert KEYS["pairing_window"].read(duration_text(float(seconds))) == seconds


def test_an_unknown_key_is_refused() -> None:
    for key in ("tires", "Tries", "", "tries "):
        with pytest.raises(BadInput, match="is not a policy key"):
            check_rule(key, "1", EVERYBODY)


def test_a_login_comes_through_one_door() -> None:
    with pytest.raises(BadInput, match="--client and --service exclude each other"):
        check_rule("tries", "1", Scope(client="vpn", service="sshd"))


def test_what_strangers_can_observe_does_not_depend_on_a_group() -> None:
    """Else the delay of a refusal would tell whose name was typed."""
    for scope in (Scope(group="staff"), Scope(group="staff", client="vpn")):
        with pytest.raises(BadInput, match="strangers"):
            check_rule("reject_delay", "2s", scope)
    check_rule("reject_delay", "2s", Scope(client="vpn"))


# --- whom a rule is for

FULL = Whom(frozenset({"staff", "admins"}), "vpn", None, "10.1.2.3")


@pytest.mark.parametrize(
    ("scope", "fits"),
    [
        (EVERYBODY, True),
        (Scope(group="staff"), True),
        (Scope(group="Staff"), False),
        (Scope(group="guests"), False),
        (Scope(client="vpn"), True),
        (Scope(client="wlan"), False),
        (Scope(service="vpn"), False),
        (Scope(network=TEN), True),
        (Scope(network=ip_network("10.1.2.3/32")), True),
        (Scope(network=ip_network("10.1.2.4/32")), False),
        (Scope(network=ip_network("::/0")), False),
        (Scope("staff", "vpn", None, TEN), True),
        (Scope("staff", "wlan", None, TEN), False),
        (Scope("guests", "vpn", None, TEN), False),
        (Scope("staff", "vpn", None, ip_network("11.0.0.0/8")), False),
    ],
    ids=str,
)
def test_everything_a_scope_names_must_fit(scope: Scope, fits: bool) -> None:
    assert scope.fits(FULL) is fits


@pytest.mark.parametrize(
    "source", [None, "", "console", "10.1.2.3 ", "10.1.2", "10.1.2.3:80", "fe80::1%eth0x", "\u0661"]
)
@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.0/8"])
def test_a_rule_with_a_source_never_applies_where_none_is_known(source: str | None, network: str) -> None:
    """Not even one for all addresses there are."""
    skip = book(("second_factor", "skip", Scope(network=ip_network(network))))
    if source != "fe80::1%eth0x":  # a zone is a way to write a known address
        assert skip.settings(replace(FULL, source=source)).second_factor == "required"


# --- which rule wins


def test_the_order_is_group_with_door_then_door_then_group_then_everybody() -> None:
    """Each step of the ladder wins over all below it, also where its value is the laxer one."""
    ladder = [
        ("1", EVERYBODY),
        ("2", Scope(network=TEN)),
        ("3", Scope(group="staff")),
        ("4", Scope(group="staff", network=TEN)),
        ("5", Scope(client="vpn")),
        ("6", Scope(client="vpn", network=TEN)),
        ("7", Scope(client="vpn", network=ip_network("10.1.0.0/16"))),
        ("8", Scope(group="staff", client="vpn")),
        ("9", Scope(group="staff", client="vpn", network=TEN)),
    ]
    for top in range(1, len(ladder) + 1):
        assert book(*(("tries", *rule) for rule in ladder[:top])).settings(FULL).tries == top
        assert book(*(("tries", *rule) for rule in reversed(ladder[:top]))).settings(FULL).tries == top


def test_a_service_counts_as_much_as_a_client() -> None:
    at_sshd = Whom(frozenset({"staff"}), None, "sshd")
    assert tries(at_sshd, ("9", Scope(service="sshd")), ("1", Scope(group="staff"))) == 9
    assert tries(at_sshd, ("9", Scope("staff", None, "sshd")), ("1", Scope(service="sshd"))) == 9


def test_each_key_is_looked_up_by_itself() -> None:
    found = book(("tries", "9", EVERYBODY), ("lock_from", "7", Scope(group="staff"))).settings(FULL)
    assert found == replace(DEFAULTS, tries=9, lock_from=7)


STRICTER: dict[str, list[str]] = {
    "second_factor": ["required", "skip"],
    "enrolment": ["off", "hardware-only", "self", "both"],
    "onboarding_over_radius": ["off", "ticket", "key"],
    "security_key": ["off", "required", "allowed"],
    "user_verification": ["required", "off"],
    "sign_count": ["refuse", "warn"],
    "show_key": ["off", "on"],
    "lock_base": ["10m", "1m", "1s"],
    "lock_max": ["1d", "1h", "1s"],
    "lock_from": ["1", "5", "100"],
    "disable_at": ["3", "50", "100"],
    "guess_budget": ["10", "900", "2000"],
    "totp_window": ["0", "1", "2"],
    "look_ahead": ["0", "10", "20"],
    "drift_limit": ["0", "10", "20"],
    "tries": ["1", "3", "5"],
    "max_registrations": ["1", "5", "9"],
    "grace": ["0", "1d", "14d"],
    "reuse_window": ["0", "1h", "8h"],
    "pairing_window": ["0", "14d", "30d"],
    "pairing_reopen": ["0", "3d", "9d"],
    "challenge_lifetime": ["10s", "2m", "10m"],
    "onboarding_lifetime": ["1m", "10m", "1h"],
}


@pytest.mark.parametrize("key", [k for k in KEYS if KEYS[k].by_group and k not in ("language", "first_factor")])
def test_among_a_users_groups_the_stricter_value_wins(key: str) -> None:
    """Whatever the names of the groups, the order of the rules, and the doors they are for."""
    for (strict, lax), client in itertools.product(itertools.combinations(STRICTER[key], 2), [None, "vpn"]):
        for one, other in itertools.permutations([strict, lax]):
            rules = (key, one, Scope("staff", client)), (key, other, Scope("admins", client))
            assert getattr(book(*rules).settings(FULL), key) == KEYS[key].read(strict), (one, other)


def test_of_the_rules_of_one_group_for_several_networks_the_narrowest_wins() -> None:
    near = ip_network("10.1.0.0/16")
    rules = ("1", Scope("staff", None, None, TEN)), ("9", Scope("staff", None, None, near)), ("2", Scope("staff"))
    assert tries(FULL, *rules) == 9
    assert tries(replace(FULL, source="10.2.0.1"), *rules) == 1
    assert tries(replace(FULL, source=None), *rules) == 2


def test_a_network_in_a_rule_of_one_group_does_not_soften_the_rule_of_another() -> None:
    """Staff need no PIN in the office, admins always need one; who is both is an admin there too."""
    rules = book(
        ("second_factor", "skip", Scope("staff", None, None, TEN)), ("second_factor", "required", Scope("admins"))
    )
    assert rules.settings(FULL).second_factor == "required"
    assert rules.settings(replace(FULL, groups=frozenset({"staff"}))).second_factor == "skip"
    assert rules.settings(replace(FULL, groups=frozenset({"admins"}))).second_factor == "required"


def test_explaining_names_the_rule_that_decides_and_settings_follow_it() -> None:
    rules = book(("tries", "9", EVERYBODY), ("tries", "5", Scope(client="vpn")), ("grace", "1d", Scope(group="guests")))
    explained = rules.explain(FULL)
    assert explained["tries"] == (5, rules.rules[1])
    assert explained["grace"] == (0.0, None)
    assert {key: value for key, (value, _) in explained.items()} == {
        field.name: getattr(rules.settings(FULL), field.name) for field in fields(Settings)
    }


_SCOPES = st.builds(
    Scope,
    st.sampled_from([None, "staff", "admins", "guests"]),
    st.sampled_from([None, "vpn", "wlan"]),
    st.none(),
    st.sampled_from([None, TEN, ip_network("10.1.0.0/16")]),
)


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), _SCOPES), max_size=6, unique_by=lambda rule: rule[1]))
def test_the_order_in_which_rules_were_set_does_not_matter(rules: list[tuple[str, Scope]]) -> None:
    forward = book(*(("tries", *rule) for rule in rules)).settings(FULL)
    assert book(*(("tries", *rule) for rule in reversed(rules))).settings(FULL) == forward


# --- texts


def test_the_text_for_whom_it_fits_best_in_his_language() -> None:
    texts = (
        Text("welcome", "", "everybody"),
        Text("welcome", "de", "alle"),
        Text("welcome", "", "staff", Scope(group="staff")),
        Text("welcome", "de", "vpn", Scope(client="vpn")),
        Text("apps", "en", "apps"),
    )
    words = Book(1, (), texts)
    stranger, colleague = Whom(), Whom(frozenset({"staff"}))
    assert [words.text("welcome", lang, stranger) for lang in ("en", "de", "fr")] == ["everybody", "alle", "everybody"]
    assert [words.text("welcome", lang, colleague) for lang in ("en", "de")] == ["staff", "staff"]
    assert [words.text("welcome", lang, replace(FULL)) for lang in ("en", "de")] == ["staff", "vpn"]
    assert [words.text("apps", lang, stranger) for lang in ("en", "de")] == ["apps", None]


# --- as commands


def rules_of(engine: Engine) -> list[tuple[str, str, Scope]]:
    return [(rule.key, rule.value, rule.scope) for rule in engine.gate.policies().rules]


def test_a_rule_is_set_replaced_and_taken_away(engine: Engine) -> None:
    staff = Scope(group="staff")
    engine.set_policy("tries", "4", staff)
    engine.set_policy("tries", "5", staff)
    engine.set_policy("tries", "6")
    assert rules_of(engine) == [("tries", "5", staff), ("tries", "6", EVERYBODY)]
    engine.gate.administer(UnsetRule(actor=BY, key="tries", scope=staff))
    assert rules_of(engine) == [("tries", "6", EVERYBODY)]
    with pytest.raises(Refused, match="tries is not set for group staff; twofold policy show lists what is"):
        engine.gate.administer(UnsetRule(actor=BY, key="tries", scope=staff))
    row = engine.trail[-1]
    assert (row.event, row.actor, row.detail) == ("policy-unset", BY, {"key": "tries", "scope": "group staff"})


@pytest.mark.parametrize(
    ("scope", "complaint"),
    [
        (Scope(client="nowhere"), "there is no client 'nowhere'"),
        (Scope(group=" "), "group name: "),
        (Scope(service="-x"), "service name: "),
    ],
    ids=str,
)
def test_a_rule_for_nobody_is_refused_and_leaves_nothing(engine: Engine, scope: Scope, complaint: str) -> None:
    rows = len(engine.trail)
    with pytest.raises((Refused, BadInput), match=complaint):
        engine.set_policy("tries", "1", scope)
    assert (rules_of(engine), len(engine.trail)) == ([], rows)


def test_letting_everybody_past_the_second_factor_is_warned_of(engine: Engine) -> None:
    def warnings(key: str, value: str, scope: Scope) -> tuple[str, ...]:
        return engine.gate.administer(SetRule(actor=BY, key=key, value=value, scope=scope)).warnings

    assert "nobody is asked for a PIN" in warnings("second_factor", "skip", EVERYBODY)[0]
    assert warnings("second_factor", "skip", Scope(network=TEN)) == ()
    assert warnings("second_factor", "required", EVERYBODY) == ()
    assert "Reply-Message is not encrypted" in warnings("onboarding_over_radius", "key", Scope(client="vpn"))[0]


LINT: list[tuple[tuple[str, str, Scope], str]] = [
    (("second_factor", "skip", EVERYBODY), "nobody is asked for a PIN"),
    (("tries", "1", Scope(group="nobody")), "unreachable, no user is in group nobody"),
    (("tries", "1", Scope(client="gone")), "unreachable, there is no client gone"),
    (("second_factor", "skip", Scope(network=ip_network("0.0.0.0/0"))), "--from 0.0.0.0/0 is everywhere"),
    (("second_factor", "skip", Scope(network=ip_network("::/0"))), "--from ::/0 is everywhere"),
    (("tries", "3", EVERYBODY), "tries 3 is the default; it changes nothing"),
]


@pytest.mark.parametrize(("rule", "finding"), LINT, ids=lambda value: str(value)[:40])
def test_lint_finds_it(rule: Any, finding: str) -> None:
    findings = list(lint(book(rule), frozenset({"staff"}), frozenset({"vpn"})))
    assert [finding in line and line.startswith("policy 1: ") for line in findings] == [True]


def test_lint_is_silent_about_sensible_rules() -> None:
    sensible = book(
        ("second_factor", "skip", Scope("staff", "vpn", None, TEN)),
        ("enrolment", "hardware-only", Scope(group="staff")),
        ("tries", "4", EVERYBODY),
    )
    assert list(lint(sensible, frozenset({"staff"}), frozenset({"vpn"}))) == []
