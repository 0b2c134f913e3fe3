"""What every login gets, as a table written by hand. Nothing here is computed by the product.

who       new: added just now · old: added 40 days ago · seen: new, has logged in with a PIN from home
          nobody: does not exist · locked, disabled: by an admin · waiting, blocked: after 5 wrong PINs, passwords
          spent: has used up his guesses · opened: old, `user pairing --open` · closed: new, `user pairing --close`
          bypass: new, `user bypass` runs · late: new, his bypass has ended
          away@vpn: like seen, but by the client vpn · revoked, unlocked, renewed: like seen, then a second token
          was revoked, he was locked and unlocked, got a new password · yesterday: like seen, a day ago
tokens    none · totp · hotp · two: hotp and totp · sheet: recovery codes only · totp+sheet · hardware: a hotp token
          that an admin brought · lost, stolen, gone: an app, revoked now with reason lost, compromise, other
          longago: an app, revoked 4 days ago with reason lost · one: of two tokens, the totp token revoked
          off: an app, disabled by an admin · worn: an app, disabled by wrong PINs
policy    of this user alone, see `POLICIES`
door      vpn: challenge · ssh: password and PIN in one field · portal: passcode-only · console
from      address: home 10.20.1.1, away 203.0.113.9, - not known
first     the first factor: PROVED, WRONG, UNAVAILABLE, NOT_CHECKED
typed     -: no PIN · pin, pin2: the next PIN of the first, second token · wrong · used: the PIN of `seen`
          code: a recovery code · s, n: pages of onboarding · first: the first PIN of the app being paired
          `s/first`: one answer after the other
decision  of the last step: accept, challenge, again (asked anew), reject
next      what `policy explain` says before: let-in, ask, onboard, ticket, refuse
"""

from dataclasses import dataclass

TABLE = """
# who     tokens     policy        door    from first        typed       decision  reason                   next

# --- a registered user, no special policy
  new       totp       -             vpn     -    PROVED       -           challenge password-right           ask
  new       totp       -             vpn     -    PROVED       pin         accept    passcode-right           ask
  new       totp       -             vpn     -    PROVED       wrong       again     passcode-wrong           ask
  new       totp       one-try       vpn     -    PROVED       wrong       reject    passcode-wrong           ask
  new       hotp       -             vpn     -    PROVED       wrong/wrong again     passcode-repeated        ask
  new       hotp       -             vpn     -    PROVED       wrong/pin   accept    passcode-right           ask
  seen      totp       -             vpn     -    PROVED       used        again     passcode-used            ask
  seen      totp       -             vpn     home PROVED       -           challenge password-right           ask
  seen      totp       -             vpn     -    PROVED       pin         accept    passcode-right           ask
  new       totp       -             vpn     -    WRONG        -           reject    password-wrong           ask
  new       totp       -             vpn     -    UNAVAILABLE  -           reject    first-factor-unavailable ask
  new       totp       -             vpn     -    NOT_CHECKED  -           reject    password-not-checked     ask
  new       totp       -             ssh     -    PROVED       -           reject    passcode-missing         ask
  new       totp       -             ssh     -    PROVED       pin         accept    passcode-right           ask
  new       totp       -             ssh     -    PROVED       wrong       reject    passcode-wrong           ask
  seen      hotp       -             ssh     -    PROVED       used        reject    passcode-used            ask
  new       totp       -             ssh     -    WRONG        pin         reject    password-wrong           ask
  new       totp       -             ssh     -    UNAVAILABLE  pin         reject    first-factor-unavailable ask
  new       totp       -             ssh     -    NOT_CHECKED  pin         reject    password-not-checked     ask
  new       totp       -             portal  -    NOT_CHECKED  -           reject    passcode-missing         ask
  new       totp       -             portal  -    NOT_CHECKED  pin         accept    passcode-right           ask
  new       totp       -             portal  -    NOT_CHECKED  wrong       reject    passcode-wrong           ask
  seen      hotp       -             portal  -    NOT_CHECKED  used        reject    passcode-used            ask
  new       totp       -             console -    PROVED       -           challenge password-right           ask
  new       totp       -             console -    PROVED       pin         accept    passcode-right           ask
  new       totp       -             console -    WRONG        -           reject    password-wrong           ask
  new       totp       -             console -    PROVED       wrong       again     passcode-wrong           ask
  new       totp+sheet -             console -    PROVED       code        accept    passcode-right           ask
  new       two        -             vpn     -    PROVED       pin         accept    passcode-right           ask
  new       two        -             ssh     -    PROVED       pin2        accept    passcode-right           ask
  new       hardware   -             vpn     -    PROVED       pin         accept    passcode-right           ask
  new       totp+sheet -             vpn     -    PROVED       code        accept    passcode-right           ask
  new       totp+sheet -             vpn     -    PROVED       pin         accept    passcode-right           ask

# --- something stands against the user
  nobody    none       -             vpn     -    WRONG        -           reject    user-unknown             refuse
  nobody    none       -             ssh     -    WRONG        wrong       reject    user-unknown             refuse
  nobody    none       -             portal  -    NOT_CHECKED  wrong       reject    user-unknown             refuse
  locked    totp       -             vpn     -    PROVED       -           reject    user-locked              refuse
  locked    totp       -             vpn     -    WRONG        -           reject    user-locked              refuse
  locked    totp       -             ssh     -    PROVED       pin         reject    user-locked              refuse
  locked    totp       -             portal  -    NOT_CHECKED  pin         reject    user-locked              refuse
  locked    totp       skip          vpn     -    PROVED       -           reject    user-locked              refuse
  disabled  totp       -             vpn     -    PROVED       -           reject    user-disabled            refuse
  disabled  totp       -             portal  -    NOT_CHECKED  pin         reject    user-disabled            refuse
  disabled  none       grace         vpn     -    PROVED       -           reject    user-disabled            refuse
  waiting   totp       -             vpn     -    PROVED       -           reject    waiting-after-failures   refuse
  waiting   totp       -             ssh     -    PROVED       pin         reject    waiting-after-failures   refuse
  waiting   totp       -             portal  -    NOT_CHECKED  pin         reject    waiting-after-failures   refuse
  blocked   totp       skip          vpn     -    PROVED       -           reject    waiting-after-failures   refuse
  blocked   totp       -             vpn     -    PROVED       -           reject    waiting-after-failures   refuse
  blocked   totp       -             portal  -    NOT_CHECKED  pin         reject    waiting-after-failures   refuse
  spent     totp       budget-10     vpn     -    PROVED       -           reject    waiting-after-failures   refuse
  spent     totp       budget-10     ssh     -    PROVED       pin         reject    waiting-after-failures   refuse
  spent     totp       budget-10     portal  -    NOT_CHECKED  pin         reject    waiting-after-failures   refuse

# --- skip
  new       totp       skip          vpn     -    PROVED       -           accept    second-factor-skipped    let-in
  new       totp       skip          vpn     -    WRONG        -           reject    password-wrong           let-in
  new       totp       skip          vpn     -    UNAVAILABLE  -           reject    first-factor-unavailable let-in
  new       totp       skip          vpn     -    NOT_CHECKED  -           reject    password-not-checked     let-in
  new       totp       skip          ssh     -    PROVED       -           accept    second-factor-skipped    let-in
  new       totp       skip          ssh     -    WRONG        -           reject    password-wrong           let-in
  new       totp       skip          ssh     -    UNAVAILABLE  -           reject    first-factor-unavailable let-in
  new       totp       skip          ssh     -    NOT_CHECKED  -           reject    password-not-checked     let-in
  new       totp       skip          portal  -    PROVED       -           reject    passcode-missing         ask
  new       totp       skip          portal  -    WRONG        -           reject    passcode-missing         ask
  new       totp       skip          portal  -    UNAVAILABLE  -           reject    passcode-missing         ask
  new       totp       skip          portal  -    NOT_CHECKED  -           reject    passcode-missing         ask
  new       totp       skip          portal  -    NOT_CHECKED  wrong       reject    passcode-wrong           ask
  new       totp       skip          console -    PROVED       -           accept    second-factor-skipped    let-in
  new       totp       skip          console -    WRONG        -           reject    password-wrong           let-in
  new       totp       skip          console -    UNAVAILABLE  -           reject    first-factor-unavailable let-in
  new       totp       skip          console -    NOT_CHECKED  -           reject    password-not-checked     let-in
  new       none       skip          vpn     -    PROVED       -           accept    second-factor-skipped    let-in
  new       none       skip+hardware vpn     -    PROVED       -           accept    second-factor-skipped    let-in
  new       totp       skip-at-home  vpn     home PROVED       -           accept    second-factor-skipped    let-in
  new       totp       skip-at-home  vpn     home WRONG        -           reject    password-wrong           let-in
  new       totp       skip-at-home  vpn     away PROVED       -           challenge password-right           ask
  new       totp       skip-at-home  vpn     -    PROVED       -           challenge password-right           ask
  new       totp       skip+not-vpn  vpn     -    PROVED       -           challenge password-right           ask
  new       totp       skip+not-vpn  ssh     -    PROVED       -           accept    second-factor-skipped    let-in

# --- grace
  new       none       grace         vpn     -    PROVED       -           accept    grace                    let-in
  new       none       grace         vpn     -    WRONG        -           reject    password-wrong           let-in
  new       none       grace         vpn     -    UNAVAILABLE  -           reject    first-factor-unavailable let-in
  new       none       grace         vpn     -    NOT_CHECKED  -           reject    password-not-checked     let-in
  new       none       grace         ssh     -    PROVED       -           accept    grace                    let-in
  new       none       grace         ssh     -    WRONG        -           reject    password-wrong           let-in
  new       none       grace         ssh     -    UNAVAILABLE  -           reject    first-factor-unavailable let-in
  new       none       grace         ssh     -    NOT_CHECKED  -           reject    password-not-checked     let-in
  new       none       grace         portal  -    PROVED       -           reject    no-token                 refuse
  new       none       grace         portal  -    WRONG        -           reject    no-token                 refuse
  new       none       grace         portal  -    UNAVAILABLE  -           reject    no-token                 refuse
  new       none       grace         portal  -    NOT_CHECKED  -           reject    no-token                 refuse
  new       none       grace         portal  -    NOT_CHECKED  wrong       reject    no-token                 refuse
  new       none       grace         console -    PROVED       -           accept    grace                    let-in
  new       none       grace         console -    WRONG        -           reject    password-wrong           let-in
  new       none       grace         console -    UNAVAILABLE  -           reject    first-factor-unavailable let-in
  new       none       grace         console -    NOT_CHECKED  -           reject    password-not-checked     let-in
  new       sheet      grace         vpn     -    PROVED       -           accept    grace                    let-in
  old       none       grace         vpn     -    PROVED       -           reject    pairing-closed           refuse
  new       totp       grace         vpn     -    PROVED       -           challenge password-right           ask
  new       lost       grace         vpn     -    PROVED       -           challenge onboarding               ticket
  new       gone       grace         ssh     -    PROVED       -           reject    no-token                 refuse

# --- reuse
  seen      hotp       reuse         vpn     home PROVED       -           accept    reused                   let-in
  seen      hotp       reuse         vpn     home WRONG        -           reject    password-wrong           let-in
  seen      hotp       reuse         vpn     home UNAVAILABLE  -           reject    first-factor-unavailable let-in
  seen      hotp       reuse         vpn     home NOT_CHECKED  -           reject    password-not-checked     let-in
  seen      hotp       reuse         ssh     home PROVED       -           accept    reused                   let-in
  seen      hotp       reuse         ssh     home WRONG        -           reject    password-wrong           let-in
  seen      hotp       reuse         ssh     home UNAVAILABLE  -           reject    first-factor-unavailable let-in
  seen      hotp       reuse         ssh     home NOT_CHECKED  -           reject    password-not-checked     let-in
  seen      hotp       reuse         ssh     home PROVED       used        accept    reused                   let-in
  seen      hotp       reuse         ssh     home PROVED       pin         accept    passcode-right           let-in
  seen      hotp       reuse         ssh     home PROVED       wrong       reject    passcode-wrong           let-in
  seen      hotp       reuse         ssh     home WRONG        used        reject    password-wrong           let-in
  seen      hotp       reuse         portal  home PROVED       -           reject    passcode-missing         ask
  seen      hotp       reuse         portal  home WRONG        -           reject    passcode-missing         ask
  seen      hotp       reuse         portal  home UNAVAILABLE  -           reject    passcode-missing         ask
  seen      hotp       reuse         portal  home NOT_CHECKED  -           reject    passcode-missing         ask
  seen      hotp       reuse         portal  home NOT_CHECKED  used        reject    passcode-used            ask
  seen      hotp       reuse         console home PROVED       -           accept    reused                   let-in
  seen      hotp       reuse         console home WRONG        -           reject    password-wrong           let-in
  seen      hotp       reuse         console home UNAVAILABLE  -           reject    first-factor-unavailable let-in
  seen      hotp       reuse         console home NOT_CHECKED  -           reject    password-not-checked     let-in
  seen      hotp       reuse         vpn     away PROVED       -           challenge password-right           ask
  seen      hotp       reuse         vpn     away PROVED       used        again     passcode-used            ask
  seen      hotp       reuse         vpn     -    PROVED       -           challenge password-right           ask
  away@vpn  hotp       reuse         ssh     home PROVED       used        reject    passcode-used            ask
  revoked   two        reuse         vpn     home PROVED       -           challenge password-right           ask
  unlocked  hotp       reuse         vpn     home PROVED       -           challenge password-right           ask
  renewed   hotp       reuse         vpn     home PROVED       -           challenge password-right           ask
  yesterday hotp       reuse         vpn     home PROVED       -           challenge password-right           ask

# --- bypass: a forgotten phone
  bypass    totp       -             vpn     -    PROVED       -           accept    bypass                   let-in
  bypass    totp       -             vpn     -    WRONG        -           reject    password-wrong           let-in
  bypass    totp       -             vpn     -    UNAVAILABLE  -           reject    first-factor-unavailable let-in
  bypass    totp       -             vpn     -    NOT_CHECKED  -           reject    password-not-checked     let-in
  bypass    totp       -             ssh     -    PROVED       -           accept    bypass                   let-in
  bypass    totp       -             portal  -    NOT_CHECKED  -           reject    passcode-missing         ask
  bypass    totp       -             portal  -    NOT_CHECKED  pin         accept    passcode-right           ask
  bypass    none       -             console -    PROVED       -           accept    bypass                   let-in
  late      totp       -             vpn     -    PROVED       -           challenge password-right           ask

# --- nobody has a token yet: enrolment
  new       none       -             vpn     -    PROVED       -           challenge onboarding               ticket
  new       none       -             vpn     -    WRONG        -           reject    password-wrong           ticket
  new       none       -             vpn     -    UNAVAILABLE  -           reject    first-factor-unavailable ticket
  new       none       -             ssh     -    PROVED       -           reject    no-token                 refuse
  new       none       -             portal  -    NOT_CHECKED  wrong       reject    no-token                 refuse
  new       none       -             console -    PROVED       -           challenge onboarding               onboard
  new       none       -             console -    PROVED       s           challenge onboarding               onboard
  new       none       -             console -    PROVED       n/s/first   accept    registered               onboard
  new       none       -             console -    WRONG        -           reject    password-wrong           onboard
  new       none       key           vpn     -    PROVED       -           challenge onboarding               onboard
  new       none       key           vpn     -    PROVED       n           challenge onboarding               onboard
  new       none       key           vpn     -    PROVED       s/first     accept    registered               onboard
  new       none       key           vpn     -    PROVED       s/wrong     again     first-pin-wrong          onboard
  new       none       key+one-try   vpn     -    PROVED       s/wrong     reject    first-pin-wrong          onboard
  new       none       key           vpn     -    WRONG        -           reject    password-wrong           onboard
  new       none       key           vpn     -    NOT_CHECKED  -           reject    password-not-checked     onboard
  new       none       no-radius     vpn     -    PROVED       -           reject    no-token                 refuse
  new       none       no-radius     console -    PROVED       -           challenge onboarding               onboard
  new       none       apps          vpn     -    PROVED       -           challenge onboarding               ticket
  new       none       hardware      vpn     -    PROVED       -           reject    hardware-only            refuse
  new       none       hardware      vpn     -    WRONG        -           reject    password-wrong           refuse
  new       none       hardware      ssh     -    PROVED       -           reject    hardware-only            refuse
  new       none       hardware+key  vpn     -    PROVED       -           reject    hardware-only            refuse
  new       none       hardware      console -    PROVED       -           reject    hardware-only            refuse
  new       none       nothing       vpn     -    PROVED       -           reject    no-token                 refuse
  new       none       nothing       console -    PROVED       -           reject    no-token                 refuse
  new       sheet      -             vpn     -    PROVED       -           challenge onboarding               ticket
  new       totp       hardware      vpn     -    PROVED       pin         accept    passcode-right           ask
  new       hardware   hardware      vpn     -    PROVED       pin         accept    passcode-right           ask
  new       totp       nothing       vpn     -    PROVED       pin         accept    passcode-right           ask

# --- is pairing open?
  old       none       -             vpn     -    PROVED       -           reject    pairing-closed           refuse
  old       none       -             console -    PROVED       -           reject    pairing-closed           refuse
  old       none       long-pairing  vpn     -    PROVED       -           challenge onboarding               ticket
  opened    none       -             vpn     -    PROVED       -           challenge onboarding               ticket
  closed    none       -             vpn     -    PROVED       -           reject    pairing-closed           refuse
  closed    none       key           console -    PROVED       -           reject    pairing-closed           refuse
  old       totp       -             vpn     -    PROVED       pin         accept    passcode-right           ask

# --- after a revocation
  new       lost       -             vpn     -    PROVED       -           challenge onboarding               ticket
  old       lost       -             vpn     -    PROVED       -           challenge onboarding               ticket
  old       lost       -             portal  -    NOT_CHECKED  pin         reject    no-token                 refuse
  old       lost       hardware      vpn     -    PROVED       -           reject    hardware-only            refuse
  old       longago    -             vpn     -    PROVED       -           reject    pairing-closed           refuse
  old       longago    long-reopen   vpn     -    PROVED       -           challenge onboarding               ticket
  new       stolen     -             vpn     -    PROVED       -           reject    pairing-closed           refuse
  new       stolen     key           console -    PROVED       -           reject    pairing-closed           refuse
  opened    stolen     key           vpn     -    PROVED       -           challenge onboarding               onboard
  new       gone       -             vpn     -    PROVED       -           challenge onboarding               ticket
  old       gone       -             vpn     -    PROVED       -           reject    pairing-closed           refuse
  new       one        -             vpn     -    PROVED       -           challenge password-right           ask
  new       one        -             vpn     -    PROVED       pin         accept    passcode-right           ask
  new       one        -             vpn     -    PROVED       pin2        again     passcode-wrong           ask
  new       off        -             vpn     -    PROVED       -           reject    no-token                 refuse
  new       off        key           console -    PROVED       -           reject    no-token                 refuse
  new       off        -             portal  -    NOT_CHECKED  pin         reject    no-token                 refuse
  new       worn       worn-at-3     vpn     -    PROVED       -           reject    no-token                 refuse
"""

# Rules for the user's own group: key, value, and beside the group a client or a network.
POLICIES: dict[str, tuple[str, str, str]] = {
    "skip": ("second_factor", "skip", ""),
    "skip-at-home": ("second_factor", "skip", "10.20.0.0/16"),
    "not-vpn": ("second_factor", "required", "vpn"),
    "grace": ("grace", "14d", ""),
    "reuse": ("reuse_window", "8h", ""),
    "apps": ("enrolment", "self", ""),
    "hardware": ("enrolment", "hardware-only", ""),
    "nothing": ("enrolment", "off", ""),
    "key": ("onboarding_over_radius", "key", ""),
    "no-radius": ("onboarding_over_radius", "off", ""),
    "long-pairing": ("pairing_window", "60d", ""),
    "long-reopen": ("pairing_reopen", "5d", ""),
    "one-try": ("tries", "1", ""),
    "budget-10": ("guess_budget", "10", ""),
    "worn-at-3": ("disable_at", "3", ""),
}

ADDRESSES = {"home": "10.20.1.1", "away": "203.0.113.9", "-": None}

# What stands in one field cannot be told apart where a reuse window is open: password and wrong PIN look like a longer
# password, and are recorded as a wrong one. The engine alone can be asked this.
ENGINE_ALONE = {("seen", "reuse", "ssh", "wrong")}


@dataclass(frozen=True)
class Row:
    number: int
    who: str
    tokens: str
    policy: str
    door: str
    source: str
    first: str
    typed: str
    decision: str
    reason: str
    next: str

    @property
    def id(self) -> str:
        return f"{self.number:03}-" + "-".join([self.who, self.tokens, self.policy, self.door, self.first, self.typed])

    @property
    def policies(self) -> list[str]:
        return [] if self.policy == "-" else self.policy.split("+")

    @property
    def answers(self) -> list[str]:
        return [] if self.typed == "-" else self.typed.split("/")

    @property
    def one_field(self) -> bool:
        """The PIN comes with the first request, or not at all."""
        return self.door in ("ssh", "portal")

    @property
    def over_radius(self) -> bool:
        """A RADIUS client can bring it about: the server checks each password itself, a field is never empty, and in
        one field there is no way to leave a PIN out that is asked for."""
        if (self.who, self.policy, self.door, self.typed) in ENGINE_ALONE:
            return False
        match self.door:
            case "vpn":
                return self.first != "NOT_CHECKED"
            case "ssh":
                return self.first != "NOT_CHECKED" and self.reason != "passcode-missing"
            case "portal":
                return self.first == "NOT_CHECKED" and self.typed != "-"
            case _:
                return False


def _rows() -> list[Row]:
    lines = [line.split() for line in TABLE.splitlines() if line.strip() and not line.startswith("#")]
    return [Row(number, *words) for number, words in enumerate(lines, 1)]


ROWS = _rows()
