"""W-022: no octets of a security key reach a log, a text, the trail or an error, whatever happens."""

import base64
import logging

import pytest

from tests.desk import Desk
from tests.site import Site
from tests.validation.signing_key import SigningKey
from validation.decisions import Accept, AskNewKey, Challenge, Reject
from validation.model import Purpose


def spellings(octets: bytes) -> list[str]:
    plain = base64.b64encode(octets).decode().rstrip("=")
    return [octets.hex(), octets.hex().upper(), plain, base64.urlsafe_b64encode(octets).decode().rstrip("=")]


def known_to(key: SigningKey) -> list[bytes]:
    assert key.handle is not None
    return [key.id, key.handle, key.public[-32:]]


@pytest.mark.statement("W-022")
def test_no_credential_is_in_a_log_a_text_or_the_trail(
    site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Registered, touched, forged, registered once more (which the store refuses, with a traceback), and damaged."""
    caplog.set_level(logging.DEBUG)
    site.add_user("alice")
    site.add_user("bob")
    key, serial = Desk(site).registered()
    outcomes = [Desk(site).answered(Desk(site).touched(key))]
    outcomes += [Desk(site).answered(Desk(site).touched(key, **said)) for said in LIES]
    asked = Desk(site, user="bob").asked(purpose=Purpose.ADD_KEY, key_name="stolen")
    assert isinstance(asked, Challenge)
    assert isinstance(asked.wants, AskNewKey)
    handle = key.handle
    made = key.make(asked.wants)
    outcomes.append(Desk(site, user="bob").decided(state=asked.state, key_name="stolen", new_credential=made))
    assert isinstance(outcomes[0], Accept)
    assert all(isinstance(outcome, Reject) for outcome in outcomes[1:])
    command = site.command("audit", "list", "--json")
    shown = capfd.readouterr()
    printed = [caplog.text, shown.out, shown.err, command.stdout, command.stderr, repr(site.audit()), repr(outcomes)]
    printed += [repr(made), repr(asked), repr(site.token_row(serial))]
    everything = "\n".join(printed)
    assert serial in everything
    assert "known_keys.fingerprint" in caplog.text, "what the store has refused is told, with a traceback"
    found = [one for octets in [*known_to(key), handle or b"?"] for one in spellings(octets) if one in everything]
    assert found == []
    assert not [octets for octets in known_to(key) if repr(octets)[2:-1] in everything]


LIES: list[dict[str, object]] = [
    {"signature": b"x" * 70},
    {"handle": b"h" * 16},
    {"origin": "pam://evil"},
    {"after": b"\0"},
    {"count": 0},
]
