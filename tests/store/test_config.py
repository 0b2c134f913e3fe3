"""The configuration file: what it may say, and that each mistake is named with file, line and key."""

import socket
from pathlib import Path

import pytest

from store.config import DEFAULT_PATH, Listen, SystemSection, Upstream, config_path, load, parse, parse_listen, template
from validation.errors import BadInput

FILE = Path("/etc/twofold/twofold.toml")


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        parse(text, FILE)
    return str(caught.value)


def test_an_empty_file_means_the_defaults() -> None:
    config = parse("", FILE)
    assert config.database == Path("/etc/twofold/twofold.db")
    assert config.key.file == Path("/etc/twofold/master.key")
    assert config.listen == (Listen("0.0.0.0", 1812), Listen("::", 1812))
    assert (config.chain, config.issuer, config.status_server) == (socket.gethostname(), "Twofold", True)


def test_what_init_writes_says_the_defaults() -> None:
    written, default = parse(template("web-7"), FILE), parse('[store]\nchain = "web-7"', FILE)
    assert written == default


def test_every_key_is_taken() -> None:
    config = parse(
        """
        [store]
        path = "a.db"
        chain = "north"
        issuer = "Müller & Söhne"
        [key]
        file = "/run/secret/a.key"
        [radius]
        listen = ["192.0.2.1:1645", "[2001:db8::1]:1812"]
        status_server = false
        [first_factor.system]
        service = "login"
        time_limit = 3
        threads = 4
        """,
        FILE,
    )
    assert config.database == Path("/etc/twofold/a.db")
    assert config.key.file == Path("/run/secret/a.key")
    assert config.listen == (Listen("192.0.2.1", 1645), Listen("2001:db8::1", 1812))
    assert (config.chain, config.issuer, config.status_server) == ("north", "Müller & Söhne", False)
    assert config.system_passwords == SystemSection("login", 3.0, 4)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to where the command is run: the server starts in /."""
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "twofold.toml"
    file.write_text('[store]\npath = "../var/t.db"\n')
    file.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/twofold.toml"))
    assert config.database == tmp_path / "etc" / "../var/t.db"
    assert config.key.file == tmp_path / "etc" / "master.key"


# --- Mistakes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = 1", "line 1: colour is not a known key"),
        ("[store]\nissuer = 'x'\npaht = 'a'", "line 3: store.paht is not a known key"),
        ("[store]\n\n# note\n[key]\nfile = 'a'\npath = 'b'", "line 6: key.path is not a known key"),
        ("[radius] # the server\nport = 1812", "line 2: radius.port is not a known key"),
        ("[store]\npath = 'a'\n[pamm]\nx = 1", "line 3: pamm is not a known key"),
        ("store.paht = 'a'", "line 1: store.paht is not a known key"),
        ("[store]\n'paht' = 1", "line 2: store.paht is not a known key"),
        ("[store.deep]\nx = 1", "store.deep is not a known key"),
        ("[store]\npath = 7", "line 2: store.path is not right: expected `str`, got `int`"),
        ("[radius]\nstatus_server = 'yes'", "line 2: radius.status_server is not right: expected `bool`, got `str`"),
        ("[radius]\nlisten = '127.0.0.1'", "line 2: radius.listen is not right: expected `array`, got `str`"),
        ("[radius]\nlisten = [\n  '127.0.0.1', 7]", "line 2: radius.listen[1] is not right: expected `str`, got `int`"),
        ("store = 5", "line 1: store is not right: expected `object`, got `int`"),
        ("[radius]\nlisten = ['localhost:1812']", "line 2: radius.listen: 'localhost:1812' is not ADDRESS:PORT"),
        ("[radius]\nlisten = []", "line 2: radius.listen is empty"),
        ("\n[store]\nissuer = ' '", "line 3: store.issuer must be a printable name"),
        ('[store]\nissuer = "a\\nb"', "line 2: store.issuer must be a printable name"),
        ('[store]\nchain = "a\\nb"', "line 2: store.chain must be a printable name"),
        ('[store]\nchain = "a\\u2028b"', "line 2: store.chain must be a printable name"),
        ("[first_factor.system]\nservise = 'a'", "line 2: first_factor.system.servise is not a known key"),
        ("[first_factor.telepathy]\nservice = 'a'", "line 1: first_factor.telepathy is not a known key"),
        ("[first_factor.system]\n\nservice = '../a'", "line 3: first_factor.system.service is not right"),
        ("[first_factor.system]\nservice = 'a\\n'", "line 2: first_factor.system.service is not right"),
        ("[first_factor.system]\nservice = ''", "line 2: first_factor.system.service is not right"),
        ("[first_factor.system]\ntime_limit = 0", "line 2: first_factor.system.time_limit is not right"),
        ("[first_factor.system]\nthreads = 17", "line 2: first_factor.system.threads is not right"),
        ('[store]\npath = "a\\u0000b"', "line 2: store.path must not hold a zero octet"),
        ('[key]\n\ncommand = ["a", "\\u0000"]', "line 3: key.command[1] must not hold a zero octet"),
        ("[store\npath = 1", "at line 1"),
        ("[store]\npath = 'a'\npath = 'b'", "at line 3"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(text: str, sentence: str) -> None:
    message = refusal(text)
    assert message.startswith(f"{FILE}")
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize(("content", "words"), [(b"\xff", "is not UTF-8; save it as that"), (b"x =", "at line 1")])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "twofold.toml"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(BadInput, match=words) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_file_saved_on_windows_is_read(tmp_path: Path) -> None:
    """With a byte order mark, which nobody sees in an editor, and its line ends."""
    file = tmp_path / "twofold.toml"
    file.write_bytes('\ufeff[store]\r\nchain = "nörth"\r\n'.encode())
    file.chmod(0o600)
    assert load(file).chain == "nörth"


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"twofold\.toml does not exist; create it with: twofold init"):
        load(tmp_path / "twofold.toml")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path)


# --- Which file


def test_the_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_CONFIG", "/from/environment.toml")
    assert config_path("/from/option.toml") == Path("/from/option.toml")
    assert config_path(None) == Path("/from/environment.toml")
    monkeypatch.delenv("TWOFOLD_CONFIG")
    assert config_path(None) == DEFAULT_PATH


# --- Addresses to listen on


@pytest.mark.parametrize(
    ("text", "listen", "shown"),
    [
        ("127.0.0.1:18120", Listen("127.0.0.1", 18120), "127.0.0.1:18120"),
        ("127.0.0.1", Listen("127.0.0.1", 1812), "127.0.0.1:1812"),
        ("[::1]:18120", Listen("::1", 18120), "[::1]:18120"),
        ("[::]", Listen("::", 1812), "[::]:1812"),
        ("[2001:DB8:0::1]:1", Listen("2001:db8::1", 1), "[2001:db8::1]:1"),
        ("0.0.0.0:65535", Listen("0.0.0.0", 65535), "0.0.0.0:65535"),
        ("0.0.0.0:0", Listen("0.0.0.0", 0), "0.0.0.0:0"),
    ],
)
def test_an_address_is_read_and_shown(text: str, listen: Listen, shown: str) -> None:
    assert parse_listen(text, "--listen") == listen
    assert str(listen) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1812",
        "1812",
        "::1:1812",
        "::1",
        "[::1",
        "[127.0.0.1]:1812",
        "[]:1812",
        "localhost:1812",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:1812 ",
        "127.0.0.1:18 12",
        "127.0.0.256:1812",
        "127.1:1812",
        "127.0.0.1:radius",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        BadInput, match=r"^--listen: .* is not ADDRESS:PORT, such as 127\.0\.0\.1:1812 or \[::1\]:1812$"
    ):
        parse_listen(text, "--listen")


def test_names_say_realms_case_and_aliases() -> None:
    names = parse(
        """
        [names]
        realms = ["EXAMPLE"]
        case_insensitive = true
        [names.aliases]
        "Al" = "EXAMPLE\\\\Alice"
        """,
        FILE,
    ).names
    assert (names.realms, names.case_insensitive, dict(names.aliases)) == (("EXAMPLE",), True, {"al": "alice"})


@pytest.mark.parametrize(
    ("aliases", "why"),
    [
        ('al = "-alice"', "names.aliases.al: '-alice' cannot be a user's name"),
        ('"a\u200db" = "alice"', "cannot be a user's name"),
        ('al = "bob"\nbob = "alice"', "names.aliases.al: 'bob' is an alias itself; name the user"),
        ('al = "al"', "names.aliases.al: 'al' is an alias itself; name the user"),
        ("al = 7", "names.aliases"),
    ],
)
def test_an_alias_that_hides_who_logs_in_is_refused(aliases: str, why: str) -> None:
    said = refusal(f"[names.aliases]\n{aliases}\n")
    assert why in said
    assert "twofold.toml, line" in said


# --- RADIUS servers that check passwords

UPSTREAM = '[first_factor.radius]\nsecret_file = "up.secret"\nservers = '


def test_the_servers_that_check_passwords() -> None:
    assert parse("", FILE).upstream is None
    found = parse(f'{UPSTREAM}["192.0.2.1", "[2001:db8::1]:1645"]', FILE).upstream
    servers = (Listen("192.0.2.1", 1812), Listen("2001:db8::1", 1645))
    assert found == Upstream(servers, Path("/etc/twofold/up.secret"))
    chosen = f'{UPSTREAM}["192.0.2.1"]\nreply = ["Class", 11]\nnas_identifier = "here"\nthreads = 4\nretries = 0'
    found = parse(chosen, FILE).upstream
    assert found is not None
    assert (found.reply, found.nas_identifier, found.threads, found.retries) == (("Class", 11), "here", 4, 0)


@pytest.mark.parametrize(
    ("rest", "sentence"),
    [
        ("[]", "line 3: first_factor.radius.servers is not right"),
        ('["nps.example.org"]', "line 3: first_factor.radius.servers: 'nps.example.org' is not ADDRESS:PORT"),
        ('["192.0.2.1:0"]', "line 3: first_factor.radius.servers: no server can be reached at port 0"),
        ('["192.0.2.1", "192.0.2.1:1812"]', "line 3: first_factor.radius.servers: the same server stands there twice"),
        ('["192.0.2.1"]\ntime_limit = 10', "line 4: first_factor.radius.time_limit is not right"),
        ('["192.0.2.1"]\nreply = "all"', "line 4: first_factor.radius.reply is not right"),
        ('["192.0.2.1"]\nsecret = "x"', "line 4: first_factor.radius.secret is not a known key"),
        ('["192.0.2.1"]\nnas_identifier = ""', "line 4: first_factor.radius.nas_identifier is not right"),
        (
            '["192.0.2.1"]\nmessage_authenticator = false',
            "first_factor.radius.message_authenticator is not a known key",
        ),
    ],
)
def test_mistakes_in_it_are_named(rest: str, sentence: str) -> None:
    assert sentence in refusal(UPSTREAM + rest)


# --- metrics and accounting


def test_numbers_and_records_are_off_unless_they_are_wanted() -> None:
    config = parse("", FILE)
    assert (config.metrics, config.accounting, config.accounting_listen, config.log) == (None, None, (), "text")


def test_a_file_of_records_is_relative_and_has_the_usual_port() -> None:
    config = parse('[radius]\naccounting = "books.jsonl"', FILE)
    assert config.accounting == Path("/etc/twofold/books.jsonl")
    assert config.accounting_listen == (Listen("0.0.0.0", 1813), Listen("::", 1813))
    config = parse('[radius]\naccounting = "x"\naccounting_listen = ["127.0.0.1", "[::1]:1646"]', FILE)
    assert config.accounting_listen == (Listen("127.0.0.1", 1813), Listen("::1", 1646))


def test_numbers_for_other_hosts_must_be_wanted() -> None:
    assert parse('[radius]\nmetrics = "[::1]:9812"', FILE).metrics == Listen("::1", 9812)
    assert "line 2: radius.metrics: '0.0.0.0:9812' can be reached from other hosts" in refusal(
        '[radius]\nmetrics = "0.0.0.0:9812"'
    )
    config = parse('[radius]\nmetrics = "0.0.0.0:9812"\nmetrics_for_other_hosts = true', FILE)
    assert config.metrics == Listen("0.0.0.0", 9812)


@pytest.mark.parametrize("wrong", ["127.0.0.1", "localhost:9812", "9812"])
def test_numbers_need_an_address_and_a_port(wrong: str) -> None:
    assert "such as 127.0.0.1:9812" in refusal(f'[radius]\nmetrics = "{wrong}"')


def test_there_are_two_forms_of_a_log() -> None:
    assert parse('[radius]\nlog = "json"', FILE).log == "json"
    assert "line 2: radius.log is not right" in refusal('[radius]\nlog = "xml"')
