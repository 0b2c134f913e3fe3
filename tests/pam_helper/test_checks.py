"""`twofold doctor` on a host's PAM: what lets somebody in past us is found, and what is right is left in peace."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_helper import sshd
from store.config import parse
from tests.pam_helper.machine import ASKED, ELF_ARM, NOT_ASKED, SECURITY, SSHD, Host, host
from tests.site import Site
from validation.requests import SetRule
from validation.settings import Scope


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        yield made


def only(found: list[tuple[str, str, str]]) -> tuple[str, str, str]:
    (one,) = found
    return one


def test_a_host_that_is_right_has_nothing_to_mend(here: Host) -> None:
    assert here.wrong() == []
    topics = [finding.topic for finding in here.findings()]
    assert topics == ["pam module", "pam login", "pam sshd", "pam su", "pam sudo", "pam helper", "sshd"]


def test_a_host_without_pam_has_nothing_to_mend(here: Host) -> None:
    here.remove(f"{SECURITY}/pam_twofold.so")
    for service in ("sshd", "sudo", "su", "login"):
        here.write(f"etc/pam.d/{service}", NOT_ASKED)
    here.write("etc/ssh/sshd_config", "PasswordAuthentication yes\n")
    assert [finding.text for finding in here.findings()] == ["not used on this host: no module, and no stack names it"]


# --- stacks


def test_a_sufficient_above_us_is_named_with_its_line(here: Host) -> None:
    here.write("etc/pam.d/sudo", "auth sufficient pam_unix.so\nauth required pam_twofold.so\n")
    severity, topic, text = only(here.wrong())
    assert (severity, topic) == ("!!", "pam sudo")
    assert text.startswith('"auth sufficient pam_unix.so" (/etc/pam.d/sudo, line 1)')


def test_a_jump_in_an_included_file_is_named_with_that_file(here: Host) -> None:
    here.write("etc/pam.d/common-auth", "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n")
    here.write("etc/pam.d/su", ASKED + "auth required pam_permit.so\n")
    found = {topic: text for _, topic, text in here.wrong()}
    assert "(/etc/pam.d/common-auth, line 1)" in found["pam su"]


def test_a_control_that_forgives_us_is_found(here: Host) -> None:
    here.write("etc/pam.d/login", "@include common-auth\nauth optional pam_twofold.so\n")
    severity, topic, text = only(here.wrong())
    assert (severity, topic) == ("!!", "pam login")
    assert "forgives" in text


def test_sshd_without_us_is_serious_and_the_others_may_be_so_on_purpose(here: Host) -> None:
    for service in ("sshd", "su"):
        here.write(f"etc/pam.d/{service}", NOT_ASKED)
    assert [(severity, topic) for severity, topic, _ in here.wrong()] == [("!!", "pam sshd"), ("!", "pam su")]


def test_us_inside_common_auth_counts_for_every_service(here: Host) -> None:
    here.write("etc/pam.d/common-auth", "auth requisite pam_unix.so\nauth required pam_twofold.so\n")
    for service in ("sshd", "sudo", "su", "login"):
        here.write(f"etc/pam.d/{service}", NOT_ASKED)
    assert here.wrong() == []


def test_a_broken_stack_does_not_hide_the_others(here: Host) -> None:
    here.write("etc/pam.d/su", "@include nowhere\n")
    here.write("etc/pam.d/sudo", "auth sufficient pam_unix.so\nauth required pam_twofold.so\n")
    assert [(severity, topic) for severity, topic, _ in here.wrong()] == [("!!", "pam su"), ("!!", "pam sudo")]


def test_a_stack_that_cannot_be_read_does_not_hide_the_others(here: Host) -> None:
    here.write("etc/pam.d/su", "auth include /proc/self/mem\n")  # which refuses to be read, to root too
    (here.root / "proc/self").mkdir(parents=True)
    (here.root / "proc/self/mem").symlink_to("/proc/self/mem")
    here.write("etc/pam.d/sudo", "auth sufficient pam_unix.so\nauth required pam_twofold.so\n")
    found = {topic: text for _, topic, text in here.wrong()}
    assert "cannot be read" in found["pam su"]
    assert "lets in past pam_twofold.so" in found["pam sudo"]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("nullok", "nullok"),
        ("combined use_first_pass debug", "use_first_pass"),
        ("timeout=0", "timeout=0"),
        ("timeout=301 debug", "timeout=301"),
        ("timeout=5s", "timeout=5s"),
        ("socket=pam.sock", "socket=pam.sock"),
        ("[socket=/run/two fold/pam.sock] Debug", "Debug"),
    ],
)
def test_an_option_for_which_the_module_refuses_everybody_is_named(here: Host, line: str, word: str) -> None:
    here.write("etc/pam.d/su", f"@include common-auth\nauth required pam_twofold.so {line}\n")
    severity, _, text = only([one for one in here.wrong() if one[1] == "pam su" and word in one[2]])
    assert severity == "!!"
    assert f"has {word!r}, which is no option" in text
    assert "(/etc/pam.d/su, line 2)" in text


def test_the_options_of_the_module_are_fine(here: Host) -> None:
    line = "auth required pam_twofold.so timeout=0300 combined debug [socket=/run/twofold/pam.sock]"
    here.write("etc/pam.d/su", f"{line}  # nullok\nauth required pam_unix.so use_first_pass nullok\n")
    assert here.wrong() == []


def test_a_pin_alone_is_enough_only_behind_a_key(here: Host) -> None:
    here.write("etc/pam.d/sshd", "auth required pam_twofold.so\n")
    assert [topic for _, topic, _ in here.wrong()] == ["pam sshd"]
    methods = "PubkeyAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive\n"
    here.write("etc/ssh/sshd_config", f"LoginGraceTime 0\n{methods}{SSHD}")
    assert here.wrong() == []
    here.write("etc/ssh/sshd_config", f"LoginGraceTime 0\n{methods}{SSHD}Match User bob\nAuthenticationMethods any\n")
    assert "pam sshd" in [topic for _, topic, _ in here.wrong()]
    here.write("etc/ssh/sshd_config", f"{SSHD}AuthenticationMethods keyboard-interactive:pam\nLoginGraceTime 0\n")
    assert [topic for _, topic, _ in here.wrong()] == ["pam sshd"], "by whatever device it asks"


def test_copies_that_editors_leave_are_no_services(here: Host) -> None:
    for name in ("sudo.dpkg-old", "sudo~", ".sudo.swp"):
        here.write(f"etc/pam.d/{name}", "auth optional pam_twofold.so\n")
    assert here.wrong() == []


def test_the_service_that_checks_passwords_must_be_there(here: Host) -> None:
    here.remove("etc/pam.d/twofold-first-factor")
    assert only(here.wrong())[:2] == ("!", "pam passwords")


# --- module and sockets


def test_a_module_that_is_missing_keeps_everybody_out(here: Host) -> None:
    here.remove(f"{SECURITY}/pam_twofold.so")
    severity, topic, text = only(here.wrong())
    assert (severity, topic) == ("!!", "pam module")
    assert "sshd" in text


def test_each_architecture_needs_its_module(here: Host) -> None:
    here.write("usr/lib/i386-linux-gnu/security/pam_unix.so", ELF_ARM)
    assert "/usr/lib/i386-linux-gnu/security/pam_twofold.so is missing" in only(here.wrong())[2]
    here.write("usr/lib/i386-linux-gnu/security/pam_twofold.so", ELF_ARM)
    assert here.wrong() == []


def test_a_module_of_another_architecture_is_found(here: Host) -> None:
    here.write(f"{SECURITY}/pam_twofold.so", ELF_ARM)
    assert "not of the architecture" in only(here.wrong())[2]


def test_a_module_that_others_can_change_is_found(here: Host) -> None:
    (here.root / SECURITY / "pam_twofold.so").chmod(0o664)
    assert "can be changed by others" in only(here.wrong())[2]


@pytest.mark.parametrize(("place", "mode"), [("priv/pam.sock", 0o660), ("pam.sock", 0o600)])
def test_a_socket_of_another_mode_is_found(here: Host, place: str, mode: int) -> None:
    os.chmod(here.root / "run/twofold" / place, mode)
    severity, topic, text = only(here.wrong())
    assert (severity, topic) == ("!!", "pam helper")
    assert f"/run/twofold/{place} has mode {mode:04o}" in text


def test_a_directory_that_others_can_write_is_found(here: Host) -> None:
    os.chmod(here.root / "run/twofold", 0o777)
    assert "can put another socket into /run/twofold" in only(here.wrong())[2]


def test_a_helper_that_does_not_run_is_found(here: Host) -> None:
    here.stop()
    assert [text for _, _, text in here.wrong()] == [
        "nobody answers at /run/twofold/priv/pam.sock.",
        "nobody answers at /run/twofold/pam.sock.",
    ]
    here.remove("run/twofold/pam.sock")
    assert "there is no socket /run/twofold/pam.sock" in here.wrong()[-1][2]


def test_a_line_that_asks_where_nobody_answers_is_found(here: Host) -> None:
    here.write("etc/pam.d/su", "@include common-auth\nauth required pam_twofold.so socket=/run/twofold/pam.sok\n")
    severity, topic, text = only(here.wrong())
    assert (severity, topic) == ("!!", "pam helper")
    assert text == "nobody answers at /run/twofold/pam.sok, where su asks: it refuses every login."


def test_a_helper_at_other_sockets_than_the_module_asks_is_found(here: Host) -> None:
    for name, mode in (("root", 0o600), ("all", 0o666)):
        here.listen(f"srv/{name}.sock", mode)
        here.remove(f"run/twofold/{'priv/' if name == 'root' else ''}pam.sock")
    sockets = '[pam]\nroot_socket = "/srv/root.sock"\nsocket = "/srv/all.sock"\nlockers = ["vlock"]\n'
    config = parse(sockets, Path("twofold.toml"))
    here.write("etc/pam.d/vlock", ASKED)
    found = [text for severity, topic, text in here.wrong(config) if (severity, topic) == ("!!", "pam helper")]
    assert len(found) == len(("login", "sshd", "su", "sudo", "vlock"))
    assert found[-1].startswith("nobody answers at /run/twofold/pam.sock, where vlock asks")
    for service in ("login", "sshd", "su", "sudo", "vlock"):
        place = "/srv/all.sock" if service == "vlock" else "/srv/root.sock"
        here.write(f"etc/pam.d/{service}", ASKED.rstrip("\n") + f" socket={place}\n")
    assert not [one for one in here.wrong(config) if one[1] == "pam helper"]


def test_what_is_no_socket_is_found(here: Host) -> None:
    here.remove("run/twofold/pam.sock")
    here.write("run/twofold/pam.sock", "")
    assert only(here.wrong())[2] == "/run/twofold/pam.sock is no socket."


# --- sshd and login


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("UsePAM no", "UsePAM no"),
        ("KbdInteractiveAuthentication no", "KbdInteractiveAuthentication no"),
        ("ChallengeResponseAuthentication no", "KbdInteractiveAuthentication no"),
        ("PasswordAuthentication yes", "PasswordAuthentication yes"),
        ("PubkeyAuthentication yes", "publickey alone lets in"),
        ("HostbasedAuthentication yes", "hostbased alone lets in"),
        ("GSSAPIAuthentication = yes", "gssapi-with-mic alone lets in"),
        (
            'PubkeyAuthentication yes\nAuthenticationMethods publickey "publickey,keyboard-interactive"',
            "AuthenticationMethods publickey lets in",
        ),
        ("Match User git\n  PubkeyAuthentication yes", "Match User git: PubkeyAuthentication yes"),
    ],
)
def test_what_sshd_does_without_us_is_found(here: Host, lines: str, said: str) -> None:
    """The first value of a keyword wins, so `lines` stand above what is right."""
    match = lines.startswith("Match")
    here.write(
        "etc/ssh/sshd_config",
        f"LoginGraceTime 600\n{SSHD}{lines}\n" if match else f"LoginGraceTime 600\n{lines}\n{SSHD}",
    )
    severity, topic, text = only(here.wrong())
    assert (severity, topic) == ("!!", "sshd")
    assert said in text


@pytest.mark.parametrize(
    "lines",
    [
        "PubkeyAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive",
        "PubkeyAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive:pam",
        "PubkeyAuthentication yes\nPasswordAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive",
        "AuthenticationMethods keyboard-interactive",
    ],
)
def test_methods_that_end_at_the_dialogue_are_fine(here: Host, lines: str) -> None:
    here.write("etc/ssh/sshd_config", f"LoginGraceTime 10m\n{lines}\n{SSHD}")
    assert here.wrong() == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("Match User bob\nPasswordAuthentication yes\t# for now\n", "Match User bob: PasswordAuthentication yes"),
        ("Match User bob\nPasswordAuthentication\t=\tyes\n", "Match User bob: PasswordAuthentication yes"),
        ('Match User bob\nPasswordAuthentication "yes" # for now\n', "Match User bob: PasswordAuthentication yes"),
        ("Match all\nPasswordAuthentication yes\n", "Match all: PasswordAuthentication yes"),
        ("Match User bob\nX11Forwarding no\nMatch all\nPubkeyAuthentication yes\n", "Match all: PubkeyAuthentication"),
        ('Include "/etc/ssh/our own/*.conf"\n', "Match User eve: PasswordAuthentication yes"),
        ("Include nowhere/*.conf /etc/ssh/plain.conf\n", "Match User tom: PasswordAuthentication yes"),
    ],
)
def test_a_way_in_is_found_however_it_is_written(here: Host, lines: str, said: str) -> None:
    here.write("etc/ssh/our own/50-eve.conf", "Match User eve\nPasswordAuthentication yes\n")
    here.write("etc/ssh/plain.conf", "Match User tom\nPasswordAuthentication yes\n")
    here.write("etc/ssh/sshd_config", SSHD + "LoginGraceTime 600\n" + lines)
    severity, topic, text = only(here.wrong())
    assert (severity, topic) == ("!!", "sshd")
    assert text.startswith(said)


def test_a_folder_among_the_files_of_sshd_is_passed_over(here: Host) -> None:
    here.write("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*\n" + SSHD + "LoginGraceTime 600\n")
    here.write("etc/ssh/sshd_config.d/old/kept", "PasswordAuthentication yes\n")
    assert here.wrong() == []


def test_included_files_count_and_the_first_value_wins(here: Host) -> None:
    here.write("etc/ssh/sshd_config.d/10-first.conf", "PasswordAuthentication yes\nMatch User x\nUsePAM no\n")
    here.write("etc/ssh/sshd_config", f"Include /etc/ssh/sshd_config.d/*.conf\nLoginGraceTime 0\n{SSHD}")
    assert "PasswordAuthentication yes" in only(here.wrong())[2]


def test_one_field_is_enough_where_password_and_pin_are_combined(here: Host) -> None:
    here.write("etc/pam.d/sshd", "auth requisite pam_twofold.so combined\nauth required pam_unix.so use_first_pass\n")
    here.write(
        "etc/ssh/sshd_config",
        f"LoginGraceTime 600\nPasswordAuthentication yes\nKbdInteractiveAuthentication no\n{SSHD}",
    )
    assert here.wrong() == []


def test_a_default_of_sshd_counts_like_a_line(here: Host) -> None:
    here.write("etc/ssh/sshd_config", "UsePAM yes\nPubkeyAuthentication no\nLoginGraceTime 0\n")
    assert "PasswordAuthentication yes" in only(here.wrong())[2]


def test_times_shorter_than_a_first_login_may_take(here: Host) -> None:
    here.write("etc/ssh/sshd_config", f"LoginGraceTime 2m\n{SSHD}")
    here.write("etc/login.defs", "#LOGIN_TIMEOUT 600\nLOGIN_TIMEOUT 60\n")
    assert [(severity, topic) for severity, topic, _ in here.wrong()] == [("!", "sshd"), ("!", "login")]


def test_how_long_a_first_login_may_take_says_policy(here: Host, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("site") / "site")
    here.write("etc/ssh/sshd_config", f"LoginGraceTime 120\n{SSHD}")
    rule = SetRule(actor="test", key="onboarding_lifetime", value="2m", scope=Scope(service="sshd"))
    site.gate.administer(rule)
    try:
        assert here.wrong(site.config) == []
        assert here.wrong()[0][:2] == ("!", "sshd")
    finally:
        site.database.close()


@pytest.mark.parametrize(("status", "believed"), [(0, "no"), (1, "yes")])
def test_sshd_itself_is_believed_before_its_file_if_it_answers(here: Host, status: int, believed: str) -> None:
    here.write("etc/ssh/sshd_config", "PasswordAuthentication yes\nMatch User bob\nPubkeyAuthentication no\n")
    here.write("sshd", f"#!/bin/sh\necho usepam yes\necho passwordauthentication no\nexit {status}\n")
    (here.root / "sshd").chmod(0o755)
    everybody, bob = sshd.settings(here.root, here.root / "sshd")
    assert everybody.values["passwordauthentication"] == bob.values["passwordauthentication"] == believed
    assert (bob.condition, bob.values["pubkeyauthentication"]) == ("User bob", "no")


# --- security keys


@pytest.mark.parametrize(
    ("ttys", "serious"),
    [
        ('["/dev/tty[0-9]*", ":[0-9]*"]', False),
        ("[]", False),
        ('["/dev/pts/*"]', True),
        ('["/dev/*"]', True),
        ('["*"]', True),
        ('["/dev/tty1", "/dev/pts/[0-9]"]', True),
    ],
)
def test_a_pattern_that_fits_terminals_of_ssh_is_serious(here: Host, tmp_path: Path, ttys: str, serious: bool) -> None:
    """A key on somebody's desk would be asked for by whoever comes over the network."""
    config = parse(f"[security_key]\nttys = {ttys}\n", tmp_path / "twofold.toml")
    found = [(severity, topic) for severity, topic, _ in here.wrong(config) if topic == "security keys"]
    assert found == ([("!!", "security keys")] if serious else [])
