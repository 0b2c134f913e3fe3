"""What each admin command does, refuses, warns of and writes down."""

import inspect
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.builders import NOW, RFC_KEY, client, hotp_token, moment, rejected, snapshot, totp_token, user
from tests.validation.engine import Engine
from validation import administer, requests
from validation.changes import (
    AddSignedSource,
    Audit,
    Change,
    ClearKnownSources,
    DeleteClient,
    DeleteUser,
    EndLoginsOf,
    ForgetGuesses,
    InsertClient,
    InsertToken,
    InsertUser,
    MarkRegistered,
    ReplaceClient,
    ReplaceUser,
    SetPairing,
    SetThrottle,
    SetTokenState,
)
from validation.decisions import Done, Reason
from validation.errors import BadInput, Damaged, Refused
from validation.messages import MessageKey
from validation.model import (
    Encoding,
    Factor,
    FirstFactorKind,
    MessageAuthenticatorRule,
    Mode,
    Origin,
    Pairing,
    RevokeReason,
    Snapshot,
    Throttle,
    TokenState,
    User,
)
from validation.requests import (
    AddClient,
    AddUser,
    ChangeUserState,
    Command,
    EnrollToken,
    RememberSigner,
    RemoveClient,
    RemoveUser,
    RevokeToken,
    RevokeUserTokens,
    SetClient,
    SetUser,
    UserAct,
    Wanted,
)

BY = "root@host"
NETWORK = ip_network("198.51.100.0/24")
SECRET = b"s" * 24
NOBODY = Snapshot()
TOKEN = totp_token()
SECOND = hotp_token()


def run(seen: Snapshot, command: Command) -> tuple[Done, list[Change], Audit]:
    """What is told, what is changed, and the one audit row, which comes last."""
    done, changes = administer.run(seen, command, moment())
    *rest, audit = changes
    assert isinstance(audit, Audit)
    assert not [change for change in rest if isinstance(change, Audit)]
    assert (audit.at, audit.decision, audit.actor) == (NOW, "done", "root@host")
    return done, rest, audit


def refusal(seen: Snapshot, command: Command, kind: type[Exception] = Refused) -> str:
    with pytest.raises(kind) as caught:
        administer.run(seen, command, moment())
    return str(caught.value)


def every_command() -> set[type[Command]]:
    """The commands requests.py defines, without those that are only the beginning of others."""
    found = {c for c in vars(requests).values() if inspect.isclass(c) and issubclass(c, Command)}
    return {c for c in found if not any(c in other.__mro__[1:] for other in found)}


def test_every_command_there_is_can_be_carried_out() -> None:
    assert every_command() == set(administer._HANDLERS)


def test_a_command_without_wanted_rows_is_a_defect() -> None:
    with pytest.raises(TypeError, match="Command does not say what it needs to see"):
        _ = Command(actor=BY).wanted


# --- users


# Of a password set at NOW: greater than any that an earlier user of the same name can have had.
NEW = int(NOW * 1000)


def test_adding_a_user() -> None:
    command = AddUser(actor=BY, name="bob", groups=("staff", "vpn"), password_hash="hash")
    done, changes, audit = run(NOBODY, command)
    assert command.wanted == Wanted(user="bob")
    assert done == Done()
    expected = User(
        id=0,
        name="bob",
        created_at=NOW,
        first_factor=FirstFactorKind.LOCAL,  # a password given here is checked here
        groups=("staff", "vpn"),
        password_hash="hash",
        password_version=NEW,
        pairing=Pairing.NEW,
        pairing_since=NOW,
    )
    assert changes == [InsertUser(expected)]
    assert (audit.event, audit.user, audit.detail) == ("user-add", "bob", {})


def test_a_user_without_a_password_has_version_0() -> None:
    _, (change,), _ = run(NOBODY, AddUser(actor=BY, name="bob"))
    assert isinstance(change, InsertUser)
    assert (change.user.password_hash, change.user.password_version) == (None, 0)


def test_adding_a_user_is_refused_for_a_known_name_or_a_bad_one() -> None:
    assert refusal(snapshot(), AddUser(actor=BY, name="alice")) == (
        "user 'alice' exists already; change it with: twofold user set alice"
    )
    assert refusal(NOBODY, AddUser(actor=BY, name=" "), BadInput).startswith("user name: ")
    assert refusal(NOBODY, AddUser(actor=BY, name="bob", groups=("ok", "-x")), BadInput).startswith("group name: ")


def test_setting_a_user_changes_what_is_named() -> None:
    before = user(groups=("old",), password_hash="hash")
    _, changes, audit = run(snapshot(user=before), SetUser(actor=BY, name="alice", groups=("new",)))
    assert changes == [ReplaceUser(replace(before, groups=("new",)))]
    assert (audit.event, audit.user, audit.detail) == ("user-set", "alice", {"changed": "groups"})


def test_a_new_password_gets_the_next_version_and_closes_challenges() -> None:
    before = user(first_factor=FirstFactorKind.LOCAL)
    _, changes, audit = run(snapshot(user=before), SetUser(actor=BY, name="alice", password_hash="new"))
    assert changes == [ReplaceUser(replace(before, password_hash="new", password_version=NEW)), EndLoginsOf(1)]
    assert audit.detail == {"changed": "password"}


def test_another_first_factor_closes_challenges() -> None:
    command = SetUser(actor=BY, name="alice", first_factor=FirstFactorKind.LOCAL, groups=())
    _, changes, audit = run(snapshot(), command)
    assert changes == [
        ReplaceUser(user(first_factor=FirstFactorKind.LOCAL, password_version=NEW)),
        EndLoginsOf(1),
    ]
    assert audit.detail == {"changed": "first-factor groups"}


def test_a_user_may_be_checked_where_policy_says_again() -> None:
    before = user(first_factor=FirstFactorKind.SYSTEM)
    _, changes, audit = run(snapshot(user=before), SetUser(actor=BY, name="alice", by_policy=True))
    assert changes == [ReplaceUser(replace(before, first_factor=None, password_version=NEW)), EndLoginsOf(1)]
    assert audit.detail == {"changed": "first-factor"}


def test_whoever_has_his_password_elsewhere_has_a_version_from_the_beginning() -> None:
    """Else a check of an earlier user of that name, whose password was elsewhere too, would count."""
    _, (change,), _ = run(NOBODY, AddUser(actor=BY, name="bob", first_factor=FirstFactorKind.SYSTEM))
    assert isinstance(change, InsertUser)
    assert (change.user.first_factor, change.user.password_version) == (FirstFactorKind.SYSTEM, NEW)


@pytest.mark.parametrize("before", FirstFactorKind)
@pytest.mark.parametrize("after", FirstFactorKind)
def test_a_password_that_moves_gets_a_new_version(before: FirstFactorKind, after: FirstFactorKind) -> None:
    """So a check at the old place that is on its way proves nothing at the new one."""
    seen = user(first_factor=before, password_hash="hash", password_version=3)
    _, changes, _ = run(snapshot(user=seen), SetUser(actor=BY, name="alice", first_factor=after))
    version = 3 if before is after else NEW
    assert changes[0] == ReplaceUser(replace(seen, first_factor=after, password_version=version))


def test_a_password_that_nobody_would_look_at_is_refused() -> None:
    add = AddUser(actor=BY, name="bob", first_factor=FirstFactorKind.SYSTEM, password_hash="hash")
    move = SetUser(actor=BY, name="alice", first_factor=FirstFactorKind.SYSTEM, password_hash="hash")
    stay = SetUser(actor=BY, name="alice", password_hash="hash")
    elsewhere = snapshot(user=user(first_factor=FirstFactorKind.SYSTEM))
    found = [refusal(NOBODY, add, BadInput), refusal(snapshot(), move, BadInput), refusal(elsewhere, stay, BadInput)]
    assert found == ["a password given here would never be looked at: first factor system is kept elsewhere"] * 3
    back = replace(stay, first_factor=FirstFactorKind.LOCAL)
    _, changes, _ = run(elsewhere, back)
    here = user(first_factor=FirstFactorKind.LOCAL, password_hash="hash", password_version=NEW + 1)
    assert changes[0] == ReplaceUser(here)


def test_setting_nothing_or_a_bad_group_is_refused() -> None:
    assert (
        refusal(snapshot(), SetUser(actor=BY, name="alice"), BadInput) == "nothing to change: name at least one option"
    )
    assert refusal(snapshot(), SetUser(actor=BY, name="alice", groups=("",)), BadInput).startswith("group name: ")


@pytest.mark.parametrize(
    ("act", "before", "changes"),
    [
        (UserAct.LOCK, user(), [ReplaceUser(user(locked=True)), EndLoginsOf(1)]),
        (UserAct.DISABLE, user(), [ReplaceUser(user(disabled=True)), EndLoginsOf(1)]),
        (UserAct.ENABLE, user(disabled=True, locked=True), [ReplaceUser(user(locked=True))]),
        (
            UserAct.UNLOCK,
            user(disabled=True, locked=True),
            [
                ReplaceUser(user(disabled=True)),
                SetThrottle(1, Factor.PASSWORD, Throttle()),
                SetThrottle(1, Factor.PASSCODE, Throttle()),
                ForgetGuesses(1),
                ClearKnownSources(1),
            ],
        ),
    ],
)
def test_locking_and_disabling_are_two_things(act: UserAct, before: User, changes: list[Change]) -> None:
    _, made, audit = run(snapshot(user=before), ChangeUserState(actor=BY, name="alice", act=act))
    assert made == changes
    assert (audit.event, audit.user) == (f"user-{act}", "alice")


def test_removing_a_user_revokes_his_tokens_first() -> None:
    """So the fingerprints of their keys stay, and no key comes back under another name."""
    disabled = replace(SECOND, state=TokenState.DISABLED)
    done, changes, audit = run(snapshot(tokens=(TOKEN, disabled)), RemoveUser(actor=BY, name="alice"))
    assert done.serials == ("TF-TOTP", "TF-HOTP")
    assert changes == [
        EndLoginsOf(1),
        SetTokenState(10, TokenState.REVOKED, RevokeReason.OTHER, NOW),
        SetTokenState(11, TokenState.REVOKED, RevokeReason.OTHER, NOW),
        DeleteUser(1),
    ]
    assert (audit.event, audit.user, audit.detail) == ("user-remove", "alice", {"serials": "TF-TOTP TF-HOTP"})


@pytest.mark.parametrize(
    "command",
    [
        SetUser(actor=BY, name="bob", groups=()),
        *(ChangeUserState(actor=BY, name="bob", act=act) for act in UserAct),
        RemoveUser(actor=BY, name="bob"),
        EnrollToken(actor=BY, user="bob"),
        RevokeUserTokens(actor=BY, user="bob"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_an_unknown_user_is_refused(command: Command) -> None:
    assert refusal(NOBODY, command) == "there is no user 'bob'; twofold user list shows all"


# --- tokens


def test_enrolling_makes_a_totp_token_with_a_fresh_key_and_serial() -> None:
    command = EnrollToken(actor=BY, user="alice", label="Pixel")
    done, changes, audit = run(snapshot(tokens=()), command)
    dice = moment()
    assert (done.serials, done.key) == ((dice.new_serial,), dice.new_key)
    made = totp_token(id=0, serial=dice.new_serial, key=dice.new_key, label="Pixel", created_at=NOW)
    assert changes == [InsertToken(made), MarkRegistered(1, NOW)]
    assert (audit.event, audit.user, audit.serial, audit.detail) == (
        "token-enroll",
        "alice",
        dice.new_serial,
        {"kind": "totp"},
    )


def test_enrolling_takes_every_setting() -> None:
    command = EnrollToken(
        actor=BY,
        user="alice",
        kind="hotp",
        digits=8,
        algorithm="sha256",
        serial="UBHO1",
        key=RFC_KEY,
        moving_factor=7,
        origin=Origin.ADMIN,
    )
    assert command.wanted == Wanted(user="alice", serial="UBHO1", key=RFC_KEY)
    done, (change, _), _ = run(snapshot(), command)
    assert isinstance(change, InsertToken)
    made = hotp_token(id=0, serial="UBHO1", digits=8, algorithm="sha256", moving_factor=7, created_at=NOW)
    assert change.token == replace(made, origin=Origin.ADMIN)
    assert done.key == RFC_KEY


@pytest.mark.statement("O-002", "O-051")
@pytest.mark.parametrize(
    ("octets", "unforced", "forced"),
    [(13, False, False), (14, False, True), (15, False, True), (16, True, True), (20, True, True)],
)
def test_a_key_below_128_bits_must_be_forced_and_below_112_is_never_taken(
    octets: int, unforced: bool, forced: bool
) -> None:
    for force, good in [(False, unforced), (True, forced)]:
        command = EnrollToken(actor=BY, user="alice", key=b"k" * octets, allow_short_key=force)
        if good:
            assert run(snapshot(), command)[0].key == b"k" * octets
        else:
            assert refusal(snapshot(), command, BadInput).startswith(f"key: {octets * 8} bits")


@pytest.mark.statement("O-022")
@pytest.mark.parametrize(
    ("period", "good"), [(30, True), (60, True), (120, True), (121, False), (9, False), (0, False)]
)
def test_a_step_of_more_than_two_minutes_is_refused(period: int, good: bool) -> None:
    command = EnrollToken(actor=BY, user="alice", period=period)
    if good:
        (change, *_) = run(snapshot(), command)[1]
        assert isinstance(change, InsertToken)
        assert change.token.period == period
    else:
        assert refusal(snapshot(), command, BadInput).startswith(f"period: {period} s is not possible")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "yubico"}, "kind: yubico is not known; choose one of totp, hotp, yubico_otp, recovery_code"),
        ({"digits": 5}, "digits: 5 is not possible"),
        ({"digits": 9}, "digits: 9 is not possible"),
        ({"algorithm": "md5"}, "algorithm: md5 is not known"),
        ({"kind": "hotp", "period": 500}, "period: 500 s is not possible"),
        ({"kind": "hotp", "moving_factor": -1}, "counter: -1 is outside"),
        ({"kind": "hotp", "moving_factor": 2**63 - 1}, "counter: 9223372036854775807 is outside"),
        ({"moving_factor": -1}, "counter: -1 is outside"),
        ({"serial": "a b"}, "serial: "),
        ({"serial": "-1"}, "serial: "),
        ({"label": "x" * 65}, "label: "),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(fields: dict[str, Any], complaint: str) -> None:
    assert refusal(snapshot(), EnrollToken(actor=BY, user="alice", **fields), BadInput).startswith(complaint)


def test_a_serial_or_a_key_that_is_known_is_refused() -> None:
    command = EnrollToken(actor=BY, user="alice", serial="TF-TOTP", key=RFC_KEY)
    assert refusal(snapshot(token=TOKEN), command) == "serial TF-TOTP exists already; twofold token show TF-TOTP"
    text = refusal(snapshot(key_known_as="OLD"), command)
    assert text.startswith("this key is already known, as OLD; a key belongs to one token")
    assert RFC_KEY.decode() not in text


def test_revoking_a_token_closes_its_owners_challenges() -> None:
    command = RevokeToken(actor=BY, serial="TF-TOTP", reason=RevokeReason.LOST)
    assert command.wanted == Wanted(serial="TF-TOTP")
    done, changes = administer.run(snapshot(token=TOKEN, token_owner="alice"), command, moment())
    audit = changes[1]
    assert changes == (
        SetTokenState(10, TokenState.REVOKED, RevokeReason.LOST, NOW),
        audit,
        SetPairing(1, Pairing.REOPENED, NOW),
        EndLoginsOf(1),
    )
    assert isinstance(audit, Audit)
    assert (audit.event, audit.user, audit.serial, audit.actor, audit.detail) == (
        "token-revoke",
        "alice",
        "TF-TOTP",
        "root@host",
        {"why": "lost"},
    )
    nothing_left = "alice has no registration left: the next login pairs an app, or hands out a ticket for that."
    assert done == Done(warnings=(nothing_left,), serials=("TF-TOTP",))


@pytest.mark.parametrize(
    ("others", "what_is_left"),
    [
        ((), "alice has no registration left"),
        ((replace(SECOND, state=TokenState.DISABLED),), "alice has no registration left"),
        ((SECOND,), "alice can still log in with TF-HOTP."),
    ],
)
def test_revoking_tells_with_what_the_user_can_still_log_in(others: Any, what_is_left: str) -> None:
    seen = snapshot(tokens=(TOKEN, *others), token=TOKEN, token_owner="alice")
    done, _ = administer.run(seen, RevokeToken(actor=BY, serial="TF-TOTP"), moment())
    assert done.warnings[0].startswith(what_is_left)


def test_a_disabled_token_can_be_revoked() -> None:
    disabled = replace(TOKEN, state=TokenState.DISABLED)
    _, changes = administer.run(snapshot(token=disabled), RevokeToken(actor=BY, serial="TF-TOTP"), moment())
    assert changes[0] == SetTokenState(10, TokenState.REVOKED, RevokeReason.OTHER, NOW)


def test_revoking_an_unknown_or_a_revoked_token_is_refused() -> None:
    command = RevokeToken(actor=BY, serial="TF-TOTP")
    assert refusal(NOBODY, command) == "there is no token 'TF-TOTP'; twofold token list shows all"
    revoked = replace(TOKEN, state=TokenState.REVOKED)
    assert refusal(snapshot(token=revoked), command) == "token TF-TOTP is revoked already"


def test_revoking_a_users_only_token_or_all_of_them() -> None:
    one, both = snapshot(), snapshot(tokens=(TOKEN, SECOND))
    done, _ = administer.run(one, RevokeUserTokens(actor=BY, user="alice"), moment())
    assert done.serials == ("TF-TOTP",)
    done, changes = administer.run(both, RevokeUserTokens(actor=BY, user="alice", every=True), moment())
    assert done.serials == ("TF-TOTP", "TF-HOTP")
    assert [type(change) for change in changes] == [SetTokenState, Audit, SetTokenState, Audit, EndLoginsOf]


def test_which_of_several_tokens_is_meant_must_be_said() -> None:
    both = snapshot(tokens=(TOKEN, SECOND))
    assert refusal(both, RevokeUserTokens(actor=BY, user="alice")) == (
        "alice has 2 tokens (TF-TOTP, TF-HOTP); name one serial, or give --all"
    )
    assert refusal(snapshot(tokens=()), RevokeUserTokens(actor=BY, user="alice", every=True)) == (
        "alice has no token to revoke"
    )


# --- clients


def add_client(**fields: Any) -> AddClient:
    return AddClient(actor=BY, **{"name": "nas", "network": NETWORK, "secret": SECRET, **fields})


def test_adding_a_client() -> None:
    command = add_client(mode=Mode.APPEND, status_server=False)
    assert command.wanted == Wanted(client="nas", all_clients=True)
    done, changes, audit = run(NOBODY, command)
    assert done == Done()
    expected = client(name="nas", network=NETWORK, mode=Mode.APPEND, status_server=False, version=0)
    assert changes == [InsertClient(expected)]
    assert (audit.event, audit.client, audit.detail) == ("client-add", "nas", {"network": "198.51.100.0/24"})


@pytest.mark.statement("R-023")
def test_no_client_gets_an_empty_secret() -> None:
    assert refusal(NOBODY, add_client(secret=b""), BadInput) == "secret: must not be empty (RFC 2865 section 3)"
    assert "empty" in refusal(snapshot(), SetClient(actor=BY, name="vpn", secret=b""), BadInput)


def test_a_short_secret_and_a_missing_signature_are_warned_about() -> None:
    off = MessageAuthenticatorRule.OFF
    done, _, _ = run(NOBODY, add_client(secret=b"x" * 23, message_authenticator=off))
    short, unsigned = done.warnings
    assert short.startswith("the secret has 23 characters; 24 or more are advised")
    assert "CVE-2024-3596" in unsigned
    assert "198.51.100.0/24" in unsigned
    done, _, _ = run(snapshot(), SetClient(actor=BY, name="vpn", message_authenticator=off))
    assert ["CVE-2024-3596" in warning for warning in done.warnings] == [True]
    done, _, _ = run(NOBODY, add_client(message_authenticator=off, encoding=Encoding.LATIN_1))
    assert "latin-1" in done.warnings[-1]


def test_adding_a_client_is_refused_for_a_known_name_a_bad_one_or_a_taken_network() -> None:
    assert refusal(snapshot(), add_client(name="vpn")) == (
        "client 'vpn' exists already; change it with: twofold client set vpn"
    )
    assert refusal(NOBODY, add_client(name="a\nb"), BadInput).startswith("client name: ")
    others = snapshot(client=None, clients=(client(name="other", network=NETWORK),))
    assert refusal(others, add_client()) == (
        "198.51.100.0/24 belongs to client 'other' already; an address names one client"
    )


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"network": NETWORK}, "network"),
        ({"secret": b"t" * 24}, "secret"),
        ({"mode": Mode.PASSCODE_ONLY}, "mode"),
        ({"message_authenticator": MessageAuthenticatorRule.AUTO}, "message-authenticator"),
        ({"status_server": False}, "status-server"),
        ({"mode": Mode.APPEND, "status_server": False}, "mode status-server"),
    ],
)
def test_setting_a_client_changes_what_is_named(fields: dict[str, Any], changed: str) -> None:
    """Its version stays: the store finds by it the client that was seen, and gives the next."""
    _, changes, audit = run(snapshot(clients=(client(),)), SetClient(actor=BY, name="vpn", **fields))
    assert changes == [ReplaceClient(replace(client(), **fields))]
    assert (audit.event, audit.client, audit.detail) == ("client-set", "vpn", {"changed": changed})


def test_setting_nothing_or_a_taken_network_is_refused() -> None:
    assert "nothing to change" in refusal(snapshot(), SetClient(actor=BY, name="vpn"), BadInput)
    others = snapshot(clients=(client(), client(name="other", network=NETWORK)))
    assert "belongs to client 'other'" in refusal(others, SetClient(actor=BY, name="vpn", network=NETWORK))


def test_removing_a_client() -> None:
    _, changes, audit = run(snapshot(), RemoveClient(actor=BY, name="vpn"))
    assert changes == [DeleteClient("vpn")]
    assert (audit.event, audit.client) == ("client-remove", "vpn")


def test_an_address_that_signed_once_is_remembered_once() -> None:
    command = RememberSigner(actor=BY, name="vpn", address="192.0.2.10")
    _, changes, audit = run(snapshot(), command)
    assert changes == [AddSignedSource("vpn", "192.0.2.10")]
    assert (audit.event, audit.client, audit.source) == ("client-signed", "vpn", "192.0.2.10")
    known = snapshot(client=client(signed_sources=frozenset({"192.0.2.10"})))
    assert administer.run(known, command, moment()) == (Done(), ())


@pytest.mark.parametrize(
    "command",
    [
        SetClient(actor=BY, name="nas", mode=Mode.APPEND),
        RemoveClient(actor=BY, name="nas"),
        RememberSigner(actor=BY, name="nas", address="192.0.2.1"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_an_unknown_client_is_refused(command: Command) -> None:
    assert refusal(NOBODY, command) == "there is no client 'nas'; twofold client list shows all"


# --- damage, and secrets


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        (AddUser(actor=BY, name="bob"), False),
        (SetUser(actor=BY, name="alice", groups=()), False),
        (EnrollToken(actor=BY, user="alice"), False),
        (add_client(), False),
        *((ChangeUserState(actor=BY, name="alice", act=act), True) for act in UserAct),
        (RemoveUser(actor=BY, name="alice"), True),
        (RevokeToken(actor=BY, serial="TF-TOTP"), True),
        (RevokeUserTokens(actor=BY, user="alice"), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Command) else str(value),
)
def test_a_damaged_row_stops_what_needs_it_and_not_what_takes_rights_away(command: Command, allowed: bool) -> None:
    seen = snapshot(damage=Damaged("the row is damaged"), token=TOKEN)
    if allowed:
        assert administer.run(seen, command, moment())[1]
    else:
        assert refusal(seen, command, Damaged) == "the row is damaged"


def test_a_user_whose_own_row_is_damaged_is_not_called_unknown() -> None:
    command = ChangeUserState(actor=BY, name="alice", act=UserAct.LOCK)
    assert refusal(Snapshot(damage=Damaged("user alice: a bad row")), command, Damaged) == "user alice: a bad row"


def test_no_secret_reaches_trail_or_warnings() -> None:
    secret = b"SECRET-SECRET-SECRET"
    outcomes = [
        administer.run(NOBODY, AddUser(actor=BY, name="bob", password_hash=secret.decode()), moment()),
        administer.run(snapshot(), SetUser(actor=BY, name="alice", password_hash=secret.decode()), moment()),
        administer.run(snapshot(), EnrollToken(actor=BY, user="alice", key=secret), moment()),
        administer.run(NOBODY, add_client(secret=secret), moment()),
        administer.run(snapshot(), SetClient(actor=BY, name="vpn", secret=secret), moment()),
    ]
    for done, changes in outcomes:
        assert secret.decode() not in repr((done, changes))
        assert secret.decode() not in repr([c.detail for c in changes if isinstance(c, Audit)])


# --- through the gate


def test_a_command_that_is_refused_changes_nothing_and_leaves_no_row(engine: Engine, serial: str) -> None:
    rows = len(engine.trail)
    with pytest.raises(Refused):
        engine.gate.administer(AddUser(actor=BY, name="alice"))
    with pytest.raises(BadInput):
        engine.gate.administer(EnrollToken(actor=BY, user="alice", digits=5))
    assert len(engine.trail) == rows
    assert engine.store.journal[-2:] == ["begin", "rollback"]


def test_a_revoked_key_is_refused_under_any_serial_for_anybody_and_for_ever(engine: Engine, serial: str) -> None:
    key = engine.token(serial).key
    engine.add_user("bob")
    engine.revoke(serial)
    attempts = [
        EnrollToken(actor=BY, user=name, key=key, serial=new, kind=kind, digits=digits)
        for name, new, kind, digits in [
            ("alice", None, "totp", 6),
            ("alice", serial, "totp", 6),
            ("bob", "NEW", "totp", 6),
            ("bob", "NEW", "hotp", 8),
        ]
    ]
    for command in attempts:
        with pytest.raises(Refused, match="already"):
            engine.gate.administer(command)
    engine.gate.administer(RemoveUser(actor=BY, name="alice"))
    engine.add_user("alice")
    for command in attempts:
        with pytest.raises(Refused, match="this key is already known"):
            engine.gate.administer(command)
    assert engine.log_in("alice", "123456") == rejected(Reason.NO_TOKEN, message=MessageKey.ELSEWHERE)


def test_revoking_one_token_closes_a_challenge_that_another_could_answer(engine: Engine, serial: str) -> None:
    other = engine.enroll("alice", "hotp")
    state = engine.challenge("alice")
    right, others = engine.pin(serial), engine.pin(other)
    engine.revoke(serial)
    for typed in (right, others):
        assert engine.answer("alice", state, typed) == rejected(Reason.STATE_UNKNOWN)
    assert engine.log_in("alice", right) == rejected(Reason.PASSCODE_WRONG, failures=1)
