"""What the tests know by themselves of everything that was done: people, what they hold, what is open.

Rules: it is written from what was ordered and what was answered, never from what the store says now, with two
exceptions that are named where they stand: a token that wrong PINs have disabled, and waits. Codes are computed by
`tests/vectors/reference.py`. `checks.py` holds the product's answers against it.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.validation.engine import CONSOLE, DESK, GREETER, LOCKER, PORTAL, SUDO, VPN
from tests.validation.signing_key import SigningKey
from tests.vectors import reference
from validation.model import Purpose, Stage
from validation.settings import DAY, DEFAULTS

TYPED = ("totp", "hotp", "yubico_otp")
REGISTRATIONS = (*TYPED, "webauthn")  # a sheet of recovery codes is none
UNPROVED = (PORTAL, LOCKER, GREETER)  # somebody else checks the password there
PAIRING = (VPN, CONSOLE, DESK, SUDO)  # where an app may be paired
ASKING = (*PAIRING, LOCKER, GREETER)  # where a question can be shown
KEYS = (DESK, SUDO, LOCKER)  # where a security key may be asked for: at the machine, and it is known who sits there
MODHEX = str.maketrans("0123456789abcdef", "cbdefghijklnrtuv")
PUBLIC_ID = "cccccc"


@dataclass
class Device:
    """Something that makes passcodes, in the hand of a person; `floor` is the first value that is still good.

    Of a security key it is the last sign count, and nothing can be typed.
    """

    serial: str
    kind: str
    owner: str
    key: bytes = b""
    self_made: bool = True
    state: str = "active"
    floor: int = 0
    drift: int = 0
    codes: tuple[str, ...] = ()  # recovery codes
    used: set[int] = field(default_factory=set)  # of these codes
    made: dict[str, int] = field(default_factory=dict)  # Yubico OTPs by text
    signing: SigningKey | None = None
    eligible: bool = False  # for backup
    label: str = ""

    def shows(self, now: float, offset: int = 0) -> str:
        """A passcode so many steps, counters or codes from the expected one."""
        match self.kind:
            case "totp":
                return reference.hotp(self.key, max(0, int(now) // 30 + self.drift + offset))
            case "hotp":
                return reference.hotp(self.key, max(0, self.floor + offset))
            case "recovery_code":
                return self.codes[(len(self.used) + offset) % len(self.codes)]
            case "webauthn":
                return "000000"
            case _:
                return self._pressed(max(0, self.floor + offset))

    def _pressed(self, position: int) -> str:
        """A Yubico OTP, as the device makes it."""
        clear = self.key[16:] + (position >> 8).to_bytes(2, "little") + b"\0\0\0" + bytes([position & 255]) + b"\1\2"
        crc = 0xFFFF
        for octet in clear:
            crc ^= octet
            for _ in range(8):
                crc = (crc >> 1) ^ (0x8408 * (crc & 1))
        cipher = Cipher(algorithms.AES(self.key[:16]), modes.ECB()).encryptor()
        block = cipher.update(clear + (crc ^ 0xFFFF).to_bytes(2, "little"))
        text = PUBLIC_ID + block.hex().translate(MODHEX)
        self.made[text] = position
        return text

    def fresh(self, passcode: str, now: float, totp_window: int, look_ahead: int, drift_limit: int) -> list[int]:
        """The values that `passcode` shows (two can be equal), that were never used, and are near enough."""
        match self.kind:
            case "totp":
                expected = int(now) // 30 + max(-drift_limit, min(drift_limit, self.drift))
                near = range(max(self.floor, expected - totp_window, 0), expected + totp_window + 1)
                return [n for n in near if reference.hotp(self.key, n) == passcode]
            case "hotp":
                ahead = range(self.floor, self.floor + look_ahead + 1)
                return [n for n in ahead if reference.hotp(self.key, n) == passcode]
            case "recovery_code":
                return [n for n, code in enumerate(self.codes) if code == passcode and n not in self.used]
            case "webauthn":
                return []
            case _:
                return [n for text, n in self.made.items() if text == passcode and n >= self.floor]

    def use(self, n: int, now: float, drift_limit: int) -> None:
        if self.kind == "recovery_code":
            self.used.add(n)
        else:
            self.floor = n + 1
        if self.kind == "totp":
            self.drift = max(-drift_limit, min(drift_limit, n - int(now) // 30))


@dataclass
class Person:
    name: str
    created_at: float
    locked: bool = False
    disabled: bool = False
    registered: bool = False  # ever
    pairing: str | None = "pairing_window"  # the policy key that says for how long; None: closed
    pairing_since: float = 0.0
    bypass_until: float = 0.0


@dataclass(frozen=True)
class Asked:
    """An open challenge."""

    user: str
    client: str
    ends: float
    stage: Stage
    purpose: Purpose = Purpose.LOGIN
    candidate: Device | None = None
    replaces: str = ""
    ticket: str = ""
    fresh: bool = False  # a second factor was shown in this conversation
    challenge: bytes = b""  # for a security key to sign


@dataclass(frozen=True)
class Opened:
    """A reuse window."""

    at: float
    length: float
    passcode: str


@dataclass(frozen=True)
class Handed:
    """An enrolment ticket."""

    user: str
    ends: float
    by_admin: bool


@dataclass
class Ledger:
    people: dict[str, Person] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    open: dict[str, Asked] = field(default_factory=dict)
    reuse: dict[tuple[str, str, str], Opened] = field(default_factory=dict)
    tickets: dict[str, Handed] = field(default_factory=dict)
    policies: dict[tuple[str, str], str] = field(default_factory=dict)  # by key and client; "" is everybody

    # --- policies

    def policy(self, key: str, client: str = "") -> str:
        general = self.policies.get((key, ""), str(getattr(DEFAULTS, key)))
        return self.policies.get((key, client), general)

    def number(self, key: str, client: str = "") -> int:
        return int(self.policy(key, client))

    def seconds(self, key: str, client: str = "") -> float:
        text = self.policy(key, client)
        units = {"s": 1, "m": 60, "h": 3600, "d": DAY}
        return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)

    # --- people and what they hold

    def of(self, name: str, state: str = "active") -> list[Device]:
        """The registrations of a person."""
        held = (d for d in self.devices.values() if d.owner == name and d.state == state)
        return [d for d in held if d.kind in REGISTRATIONS]

    def keys_of(self, name: str) -> list[Device]:
        return [d for d in self.of(name) if d.kind == "webauthn"]

    def typed_by(self, name: str) -> list[Device]:
        """What makes something that can be typed, recovery codes included."""
        return [d for d in self.all_of(name) if d.state == "active" and d.kind != "webauthn"]

    def all_of(self, name: str) -> list[Device]:
        return [d for d in self.devices.values() if d.owner == name and d.state != "revoked"]

    def owner_of(self, serial: str) -> str:
        return self.devices[serial].owner

    def fresh(self, device: Device, passcode: str, now: float, client: str) -> list[int]:
        width = (self.number(key, client) for key in ("totp_window", "look_ahead", "drift_limit"))
        return device.fresh(passcode, now, *width)

    def revoke(self, device: Device) -> None:
        device.state = "revoked"
        self.end_logins(device.owner)

    def end_logins(self, name: str) -> None:
        """What revoking, disabling, locking and a new password do: nothing that was open before leads anywhere."""
        self.open = {state: asked for state, asked in self.open.items() if asked.user != name}
        self.reuse = {key: opened for key, opened in self.reuse.items() if key[0] != name}
        self.end_tickets(name)

    def end_pairing(self, name: str) -> None:
        kept = self.open.items()
        stay = (Stage.PIN, Stage.KEY)
        self.open = {state: asked for state, asked in kept if asked.user != name or asked.stage in stay}
        self.end_tickets(name)

    def end_tickets(self, name: str) -> None:
        self.tickets = {text: ticket for text, ticket in self.tickets.items() if ticket.user != name}

    def hand_out(self, text: str, handed: Handed) -> None:
        """A ticket, in place of another of its sort."""
        kept = self.tickets.items()
        self.tickets = {t: h for t, h in kept if (h.user, h.by_admin) != (handed.user, handed.by_admin)}
        self.tickets[text] = handed

    # --- may it be?

    def may_pair(self, name: str, client: str, now: float) -> bool:
        """By an open pairing window, without a registration of any kind."""
        person = self.people[name]
        if person.pairing is None or client not in PAIRING:
            return False
        since = person.pairing_since
        if person.pairing == "pairing_window" and not person.registered:
            since = max(since, person.created_at + self.seconds("grace", client))
        is_open = now < since + self.seconds(person.pairing, client)
        return self._may_have_apps(client) and is_open and not self.of(name) and not self.of(name, "disabled")

    def _may_have_apps(self, client: str) -> bool:
        return self.policy("enrolment", client) in ("self", "both")

    def may_add(self, name: str, client: str) -> bool:
        return self._may_have_apps(client) and 1 <= len(self.of(name)) < self.number("max_registrations", client)

    def may_reset(self, name: str, serial: str, client: str) -> bool:
        own = [d for d in self.of(name) if d.serial == serial and d.self_made and d.kind in TYPED]
        return self._may_have_apps(client) and bool(own)

    def may_redeem(self, name: str, text: str, client: str, now: float) -> bool:
        ticket = self.tickets.get(text)
        if ticket is None or ticket.user != name or now >= ticket.ends:
            return False
        if ticket.by_admin:
            return self._may_have_apps(client) and not self.of(name)
        return self.may_pair(name, client, now)

    def may_go_on(self, asked: Asked, now: float) -> bool:
        """A pairing, at any of its steps."""
        match asked.purpose:
            case Purpose.LOGIN:
                return self.may_pair(asked.user, asked.client, now)
            case Purpose.ADD | Purpose.ADD_KEY:
                return asked.fresh and self.may_add(asked.user, asked.client)
            case Purpose.RESET:
                return asked.fresh and self.may_reset(asked.user, asked.replaces, asked.client)
            case Purpose.REDEEM:
                return self.may_redeem(asked.user, asked.ticket, asked.client, now)
            case Purpose.CARE:
                return False

    # --- security keys

    def keys_welcome(self, client: str) -> bool:
        return client in KEYS and self.policy("security_key", client) != "off"

    def key_needed(self, name: str, client: str) -> bool:
        """A PIN does not do here."""
        required = client in KEYS and self.policy("security_key", client) == "required"
        return required and bool(self.keys_of(name))

    def key_due(self, name: str, client: str) -> bool:
        """Whoever logs in here must register a key; a screen is unlocked without."""
        required = client in (DESK, SUDO) and self.policy("security_key", client) == "required"
        return required and not self.keys_of(name)

    def way_past(self, name: str, client: str, now: float) -> set[str]:
        """The rules that let this person in without a PIN now, once we have proved his password."""
        person = self.people[name]
        ways: set[str] = set()
        if client in UNPROVED:
            return ways
        if self.policy("second_factor", client) == "skip":
            ways.add("second-factor-skipped")
        if now < person.bypass_until:
            ways.add("bypass")
        if not person.registered and person.created_at <= now < person.created_at + self.seconds("grace", client):
            ways.add("grace")
        return ways

    def may_reuse(self, name: str, client: str, source: str | None, passcode: str | None, now: float) -> bool:
        opened = self.reuse.get((name, client, source or ""))
        if opened is None or source is None or client in UNPROVED:
            return False
        inside = now < opened.at + min(opened.length, self.seconds("reuse_window", client))
        return inside and passcode in (None, "", opened.passcode)
