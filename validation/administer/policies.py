"""Policies and texts."""

from validation.administer.rows import Outcome, audit_row
from validation.changes import DeleteRule, InsertRule, InsertText
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.messages import DEFAULTS, MessageKey, check_text
from validation.model import Moment, Snapshot
from validation.policy import check_name
from validation.requests import SetRule, SetText, UnsetRule
from validation.settings import Rule, Scope, Text, check_rule


def set_rule(snapshot: Snapshot, command: SetRule, moment: Moment) -> Outcome:
    _check_scope(snapshot, command.scope)
    rule = Rule(0, command.key, check_rule(command.key, command.value, command.scope), command.scope)
    audit = audit_row(command, moment, "policy-set", key=rule.key, value=rule.value, scope=str(rule.scope))
    warnings: tuple[str, ...] = ()
    if rule.key == "second_factor" and rule.value == "skip" and rule.scope == Scope():
        warnings = ("now nobody is asked for a PIN; name a --group, --client or --from to limit this",)
    if rule.key == "onboarding_over_radius" and rule.value == "key":
        warnings = ("Reply-Message is not encrypted: whoever can read the packets can copy the keys of new users",)
    return Done(warnings=warnings), (InsertRule(rule), audit)


def unset_rule(snapshot: Snapshot, command: UnsetRule, moment: Moment) -> Outcome:
    if not any(rule.key == command.key and rule.scope == command.scope for rule in snapshot.book.rules):
        raise Refused(f"{command.key} is not set for {command.scope}; twofold policy show lists what is")
    audit = audit_row(command, moment, "policy-unset", key=command.key, scope=str(command.scope))
    return Done(), (DeleteRule(command.key, command.scope), audit)


def set_text(snapshot: Snapshot, command: SetText, moment: Moment) -> Outcome:
    _check_scope(snapshot, command.scope)
    if command.key not in set(MessageKey):
        raise BadInput(f"{command.key!r} is not a text; choose one of {', '.join(MessageKey)}")
    if command.language not in ("", *DEFAULTS):
        raise BadInput(f"--lang: {command.language!r} is not known; choose one of {', '.join(DEFAULTS)}")
    check_text(MessageKey(command.key), command.text)
    text = Text(command.key, command.language, command.text, command.scope)
    audit = audit_row(command, moment, "message-set", key=text.key, language=text.language, scope=str(text.scope))
    return Done(), (InsertText(text), audit)


def _check_scope(snapshot: Snapshot, scope: Scope) -> None:
    if scope.client is not None and snapshot.client is None:
        raise Refused(f"there is no client {scope.client!r}; twofold client list shows all")
    for what, name in (("group", scope.group), ("service", scope.service)):
        if name is not None:
            check_name(what, name)
