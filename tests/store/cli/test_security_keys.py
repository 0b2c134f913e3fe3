"""What the commands tell of security keys, and do with them; no credential is in any of it."""

import pytest

from tests.desk import Desk
from tests.site import Site
from tests.store.cli.command import Twofold
from tests.validation.signing_key import SigningKey
from validation.decisions import Accept, Reason, Reject

ELSEWHERE = ("refuse", "security-key-works-elsewhere")


@pytest.fixture
def key(site: Site) -> tuple[SigningKey, str]:
    """Alice's, and all she has."""
    site.add_user("alice")
    site.add_client()
    return Desk(site).registered()


def explained(twofold: Twofold, *options: str) -> tuple[str, str]:
    document = twofold.done("policy", "explain", "--user", "alice", *options, "--json").json
    return document["next_step"], document["reason"]


def test_list_and_show_know_a_key_by_its_name_and_count(
    twofold: Twofold, site: Site, key: tuple[SigningKey, str]
) -> None:
    signing, serial = key
    assert isinstance(Desk(site).answered(Desk(site).touched(signing, count=41)), Accept)
    (row,) = twofold.done("token", "list", "--user", "alice", "--json").json
    told = (row["serial"], row["kind"], row["label"], row["origin"], row["state"])
    assert told == (serial, "webauthn", "blue", "self", "active")
    shown = twofold.done("token", "show", serial, "--json").json
    found = {name: shown[name] for name in ("kind", "algorithm", "sign_count", "digits", "period", "user")}
    assert found == {
        "kind": "webauthn",
        "algorithm": "es256",
        "sign_count": 41,
        "digits": None,
        "period": None,
        "user": "alice",
    }
    assert "blue" in twofold.done("token", "list").out
    assert "webauthn" in twofold.done("token", "show", serial).out


def test_show_says_that_a_key_alone_works_at_consoles(
    twofold: Twofold, site: Site, key: tuple[SigningKey, str]
) -> None:
    alone = "A security key is all there is: it is asked for at consoles. Over a network a recovery code alone lets in."
    assert alone in twofold.done("user", "show", "alice").out
    site.enroll("alice")
    said = twofold.done("user", "show", "alice").out
    assert alone not in said
    assert "The next login asks for password and PIN." in said
    tokens = twofold.done("token", "list", "--user", "alice", "--json").json
    assert sorted(token["kind"] for token in tokens) == ["totp", "webauthn"]


def test_explain_knows_the_machine_itself(twofold: Twofold, site: Site, key: tuple[SigningKey, str]) -> None:
    for options in ([], ["--client", "vpn"], ["--service", "sshd"]):
        assert explained(twofold, *options) == ELSEWHERE
    assert explained(twofold, "--local") == ("touch", "password-right")
    assert explained(twofold, "--local", "--service", "login") == ("touch", "password-right")
    twofold.done("policy", "set", "security_key", "off", "--service", "su")
    assert explained(twofold, "--local", "--service", "su") == ELSEWHERE
    site.enroll("alice")
    assert explained(twofold, "--local") == ("touch-or-ask", "password-right")
    assert explained(twofold, "--client", "vpn") == ("ask", "password-right")
    said = twofold.done("policy", "explain", "--user", "alice", "--local").out
    assert "asks for a password, then a touch on a security key or a PIN" in said
    assert key[1] in said


def test_explain_knows_who_registers_a_key_first(twofold: Twofold, site: Site) -> None:
    site.add_user("alice")
    twofold.done("policy", "set", "security_key", "required")
    assert explained(twofold, "--local") == ("register-key", "onboarding")
    assert explained(twofold) == ("onboard", "onboarding")


@pytest.mark.parametrize("options", [["--client", "vpn"], ["--from", "192.0.2.1"]])
def test_nobody_sits_at_the_machine_and_comes_over_a_network(
    twofold: Twofold, key: tuple[SigningKey, str], options: list[str]
) -> None:
    result = twofold("policy", "explain", "--user", "alice", "--local", *options)
    assert (result.status, "--local excludes" in result.sentence) == (2, True)


def test_a_revoked_key_lets_nobody_in(twofold: Twofold, site: Site, key: tuple[SigningKey, str]) -> None:
    signing, serial = key
    answer = Desk(site).touched(signing)
    twofold.done("token", "revoke", serial, "--reason", "lost")
    assert twofold.done("token", "show", serial, "--json").json["state"] == "revoked"
    outcome = Desk(site).answered(answer)
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.STATE_UNKNOWN
    assert explained(twofold, "--local") == ("onboard", "onboarding")


@pytest.mark.statement("W-022")
def test_no_command_shows_a_credential(twofold: Twofold, site: Site, key: tuple[SigningKey, str]) -> None:
    signing, serial = key
    assert isinstance(Desk(site).answered(Desk(site).touched(signing)), Accept)
    said = ""
    for command in (
        *(["token", "list"], ["token", "show", serial], ["user", "show", "alice"], ["audit", "list"]),
        ["policy", "explain", "--user", "alice", "--local"],
    ):
        for more in ([], ["--json"]):
            result = twofold.done(*command, *more)
            said += result.out + result.err
    assert serial in said
    for octets in (signing.id, signing.handle or b"?", signing.public[-32:]):
        assert octets.hex() not in said.lower()
