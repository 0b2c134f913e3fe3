"""Who may ask what: the whole table, and where a login is believed to come from."""

from itertools import product

import pytest

from pam_helper.hello import Hello
from pam_helper.rights import PROFILE_REQUESTS, REDEEM, Asked, NotAllowed, allowed, numeric
from store.config import PamSection

PAM = PamSection(lockers=("swaylock",), relays={"www-data": ("nginx", "apache2")})
ACCOUNTS = {0: "root", 33: "www-data", 1001: "alice", 1002: "bob"}
ROOT, WWW, ALICE, BOB, NOBODY_HERE = 0, 33, 1001, 1002, 4711
RHOST, TTY, BY_KEY = "192.0.2.7", "/dev/pts/3", "publickey ssh-ed25519 AAAA\n"


def ask(uid: int, user: str = "alice", service: str = "sshd", request: str = "", rhost: str | None = RHOST) -> Asked:
    hello = Hello(
        user=user,
        service=service,
        request=request,
        rhost=rhost,
        tty=TTY,
        ruser="bob",
        ssh_auth_info=BY_KEY,
        authtok="x",
    )
    return allowed(hello, uid, PAM, ACCOUNTS.get)


USERS = ["alice", "bob", "root", "www-data", "nobody-knows", "", "ALICE", "alice ", "4711"]
SERVICES = ["sshd", "sudo", "su-l", "nginx", "apache2", "swaylock", "", "SWAYLOCK", "nginx\n"]

# uid, user, service -> the actor; what is not here is refused
LOGINS = {(WWW, user, service): "www-data" for user in USERS for service in ("nginx", "apache2")} | {
    (ALICE, "alice", "swaylock"): "",
    (BOB, "bob", "swaylock"): "",
    (WWW, "www-data", "swaylock"): "",
}


@pytest.mark.statement("P-019")
@pytest.mark.parametrize("uid", [WWW, ALICE, BOB, NOBODY_HERE])
def test_who_is_not_root_logs_in_only_whom_the_table_says(uid: int) -> None:
    for user, service in product(USERS, SERVICES):
        if (uid, user, service) not in LOGINS:
            with pytest.raises(NotAllowed):
                ask(uid, user, service)
            continue
        asked = ask(uid, user, service)
        assert (asked.user, asked.actor) == (user, LOGINS[uid, user, service])
        assert asked.pin_only


def test_root_logs_anybody_in_through_everything() -> None:
    for user, service in product(USERS, SERVICES):
        asked = ask(ROOT, user, service)
        assert (asked.user, asked.actor, asked.pin_only) == (user, "", False)


@pytest.mark.statement("P-019", "P-023")
def test_only_of_root_is_it_believed_where_from_on_which_terminal_and_with_which_key() -> None:
    root = ask(ROOT)
    assert (root.source, root.hello.tty, root.hello.ssh_auth_info) == (RHOST, TTY, BY_KEY)
    others = [ask(WWW, service="nginx"), ask(ALICE, service="swaylock")]
    others += [ask(uid, request=request) for uid in (ROOT, ALICE) for request in ("profile-show", REDEEM)]
    for asked in others:
        hello = asked.hello
        assert (asked.source, hello.rhost, hello.tty, hello.ruser, hello.ssh_auth_info) == (None,) * 5
        assert asked.pin_only


@pytest.mark.statement("P-019")
@pytest.mark.parametrize("request_", sorted(PROFILE_REQUESTS))
@pytest.mark.parametrize("named", ["alice", "bob", "root", ""])
def test_care_is_for_ones_own_registrations_whoever_is_named(request_: str, named: str) -> None:
    for uid, name in ACCOUNTS.items():
        asked = ask(uid, user=named, request=request_)
        assert (asked.user, asked.actor) == (name, name)


def test_who_has_no_account_has_nothing_to_care_for() -> None:
    for request in PROFILE_REQUESTS:
        with pytest.raises(NotAllowed, match="4711 has no account"):
            ask(NOBODY_HERE, request=request)


def test_a_ticket_is_redeemed_by_anybody_and_names_its_user_itself() -> None:
    assert (ask(ALICE, user="root", request=REDEEM).user, ask(ALICE, request=REDEEM).actor) == ("", "alice")
    assert ask(NOBODY_HERE, request=REDEEM).actor == "uid 4711"


@pytest.mark.parametrize("request_", ["profile", "profile-show ", "PROFILE-SHOW", "login", "profile-", "ticket-issue"])
@pytest.mark.parametrize("uid", [ROOT, ALICE])
def test_a_request_that_is_not_in_the_table_is_refused(uid: int, request_: str) -> None:
    with pytest.raises(NotAllowed, match="not known"):
        ask(uid, request=request_)


def test_with_the_usual_configuration_only_root_logs_anybody_in() -> None:
    for uid, user, service in LOGINS:
        with pytest.raises(NotAllowed):
            allowed(Hello(user=user, service=service), uid, PamSection(), ACCOUNTS.get)


@pytest.mark.statement("P-031")
@pytest.mark.parametrize(
    ("rhost", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:0DB8:0:0::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:0207", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("127.0.0.1", None),
        ("127.8.9.10", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("::1%lo", None),
        ("0.0.0.0", None),
        ("::", None),
        ("::ffff:0.0.0.0", None),
        ("localhost", None),
        ("gateway.example", None),
        ("192.0.2", None),
        ("192.0.2.007", None),
        ("3221225991", None),
        ("0xc0000207", None),
        ("192.0.2.7 ", None),
        ("192.0.2.7:22", None),
        ("[2001:db8::7]", None),
        ("192.0.2.7/32", None),
        ("\u0661.2.3.4", None),
        ("", None),
        (None, None),
    ],
)
def test_a_source_is_an_address_that_is_not_this_host(rhost: str | None, source: str | None) -> None:
    assert numeric(rhost) == source
    assert ask(ROOT, rhost=rhost).source == source
