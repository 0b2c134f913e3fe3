"""What users do with their own registrations: `twofold profile`, and redeeming a ticket.

Rules: who it is says the kernel. Whatever changes or shows something asks for a fresh PIN first, or, where there is no
registration yet, for the password. The gate decides as for a login; what an admin's command does to tokens is done
here by the same commands, with the user as actor.
"""

import time
from dataclasses import replace

from pam_helper.dialogue import Desk, conversation, spelled
from pam_helper.hello import without_surrogates
from pam_helper.rights import REDEEM, Asked
from pam_helper.steps import End, Show, Talk, Verdict, lines, picture, question
from validation.decisions import Accept, Reject
from validation.errors import BadInput, Refused, StoreUnavailable, TwofoldError
from validation.explaining import Outlook, Registration
from validation.messages import MessageKey
from validation.model import Mode, Origin, Purpose, RevokeReason
from validation.policy import Step as NextStep
from validation.requests import Channel, Command, LoginRequest, LookRequest, RevokeToken, ShowKey
from validation.settings import Whom
from validation.tokens.uri import grouped
from validation.tokens.webauthn import Webauthn

_SERVICE = "twofold-profile"
KEY = Webauthn.name
_WHOM = Whom(service=_SERVICE)


def care(asked: Asked, desk: Desk) -> Talk:
    """From the hello to the verdict. What is refused is said in words."""
    try:
        yield from (_redeem(asked, desk) if asked.hello.request == REDEEM else _profile(asked, desk))
    except StoreUnavailable:
        yield Show("The store cannot be reached now. Nothing was changed.", error=True)
        yield End(Verdict.UNAVAILABLE)
    except TwofoldError as error:
        yield from lines(str(error), error=True)
        yield End(Verdict.DENIED)


def _profile(asked: Asked, desk: Desk) -> Talk:
    name = spelled(asked, desk)
    ahead = desk.gate.outlook(name)
    if ahead is None:
        raise Refused(f"{name} is not registered here; ask your administrator")
    match asked.hello.request:
        case "profile-show":
            yield from _listed(name, ahead)
        case "profile-add":
            yield from _add(asked, desk, name, ahead)
        case "profile-reset":
            serial = _chosen(ahead, asked.hello.serial)
            yield from _pair(_request(asked, desk, name, Purpose.RESET, serial), desk, asked)
        case "profile-revoke":
            yield from _revoke(asked, desk, name, ahead)
        case "profile-device-add":
            yield from _add(asked, desk, name, ahead, Purpose.ADD_KEY)
        case "profile-device-test":
            yield from _test(asked, desk, name, ahead)
        case _:
            yield from _show_key(asked, desk, name, ahead)


# --- showing ----------------------------------------------------------------------------------------------------


def _listed(name: str, ahead: Outlook) -> Talk:
    count = len(ahead.registrations)
    yield Show(f"{name}, {count} registration{'' if count == 1 else 's'}")
    for one in ahead.registrations:
        yield Show(f"  {_line(one)}")
    yield Show(f"Next login: {_next(ahead)}.")
    yield End(Verdict.SUCCESS)


def _next(ahead: Outlook) -> str:
    kinds = {one.kind == KEY for one in ahead.registrations}
    if ahead.then.step is not NextStep.ASK or True not in kinds:
        return _NEXT.get(ahead.then.step.name, "refused")
    return "password, then PIN or security key" if False in kinds else "password, then security key, on a console alone"


_NEXT = {
    "ASK": "password, then PIN",
    "LET_IN": "password, no PIN",
    "ONBOARD": "password, then an app is paired",
    "TICKET": "password, then an app is paired",
}


def _line(one: Registration) -> str:
    brought = "yours" if one.origin is Origin.SELF else "from your administrator"
    label = f"{one.label}  " if one.label else ""
    made, used = _date(one.created_at), _date(one.last_used_at)
    if one.kind == KEY:
        return f"{one.serial}  security key  {label}{brought}, added {made}, last used {used}, on consoles only"
    return f"{one.serial}  {one.kind}  {label}{brought}, paired {made}, last used {used}"


def _date(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(at)) if at is not None else "never"


# --- adding and making anew -------------------------------------------------------------------------------------


def _add(asked: Asked, desk: Desk, name: str, ahead: Outlook, purpose: Purpose = Purpose.ADD) -> Talk:
    """Another authenticator or, with ADD_KEY, a security key. That this is no place for a key is said before anything
    is asked."""
    if purpose is Purpose.ADD_KEY:
        _must_be_local(asked, desk)
    request = replace(_request(asked, desk, name, purpose), key_name=asked.hello.name.strip())
    if not ahead.serials:  # the very first one: the password is all there is to ask for
        password = yield from question(desk.text(MessageKey.PASSWORD, _WHOM))
        (look,) = desk.gate.look([LookRequest(name, request.client, Mode.CHALLENGE, password, service=_SERVICE)])
        result = desk.checker.check(look, password)
        request = replace(request, channel=Channel.console(local=asked.local, own=True), first_factor=result)
    yield from _pair(request, desk, asked)


def _pair(request: LoginRequest, desk: Desk, asked: Asked) -> Talk:
    outcome = yield from conversation(request, desk.decide(request), desk, asked.hello.tty)
    if isinstance(outcome, Accept):
        for text in outcome.texts:
            yield from lines(text)
        yield End(Verdict.SUCCESS)
        return
    yield from _refused(outcome)


def _chosen(ahead: Outlook, serial: str) -> str:
    """The registration that is meant; without a name, the only one that is the user's own."""
    own = [one.serial for one in ahead.registrations if one.origin is Origin.SELF]
    if serial:
        named = (one.serial for one in ahead.registrations if one.label and one.label.casefold() == serial.casefold())
        return serial if serial in ahead.serials else next(named, serial)
    if len(own) != 1:
        raise Refused(f"name one of your registrations: {', '.join(own) or 'you have none of your own'}")
    return own[0]


# --- revoking, and showing a key again --------------------------------------------------------------------------


def _revoke(asked: Asked, desk: Desk, name: str, ahead: Outlook) -> Talk:
    serial = _chosen(ahead, asked.hello.serial)
    command = RevokeToken(actor=name, serial=serial, reason=_reason(asked.hello.reason), own=name)
    if serial not in ahead.serials:  # somebody else's, nobody's, or one that is out of use until an admin acts
        raise Refused(f"you have no registration {serial!r}; twofold profile lists them")
    if any(one.serial == serial and one.origin is Origin.ADMIN for one in ahead.registrations):
        desk.gate.administer(command)  # refuses, in the administrator's words
    yield from _with_fresh_pin(asked, desk, name, command)


def _reason(text: str) -> RevokeReason:
    try:
        return RevokeReason(text or RevokeReason.OTHER)
    except ValueError:
        raise BadInput(f"reason: choose one of {', '.join(RevokeReason)}") from None


def _test(asked: Asked, desk: Desk, name: str, ahead: Outlook) -> Talk:
    """As at a login, and nobody is let in anywhere."""
    _must_be_local(asked, desk)
    if not any(one.kind == KEY for one in ahead.registrations):
        raise Refused("you have no security key; twofold profile device add registers one")
    request = _request(asked, desk, name, Purpose.CARE)
    outcome = yield from conversation(request, desk.decide(request), desk, asked.hello.tty)
    if not isinstance(outcome, Accept):
        yield from _refused(outcome)
    elif outcome.kind == KEY:
        label = next((one.label for one in ahead.registrations if one.serial == outcome.serial), "")
        yield Show(f"The security key {label or outcome.serial} works.")
        yield End(Verdict.SUCCESS)
    else:
        yield Show("No security key was touched, so none was tested.", error=True)
        yield End(Verdict.DENIED)


def _must_be_local(asked: Asked, desk: Desk) -> None:
    if not asked.local:
        raise Refused(desk.text(MessageKey.KEY_NOT_HERE, _WHOM))


def _show_key(asked: Asked, desk: Desk, name: str, ahead: Outlook) -> Talk:
    serial = _chosen(ahead, asked.hello.serial)
    yield from _with_fresh_pin(asked, desk, name, ShowKey(actor=name, serial=serial, own=name, issuer=desk.issuer))


def _with_fresh_pin(asked: Asked, desk: Desk, name: str, command: Command) -> Talk:
    request = _request(asked, desk, name, Purpose.CARE)
    outcome = yield from conversation(request, desk.decide(request), desk, asked.hello.tty)
    if not isinstance(outcome, Accept):
        yield from _refused(outcome)
        return
    done = desk.gate.administer(command)
    for uri in done.shown_once:
        yield from picture(uri, desk.columns(asked.hello.tty))
    if done.key is not None:
        yield Show(f"Key  {grouped(done.key)}")
        yield Show("If you change phones, delete the account in the old app.")
    else:
        yield Show(f"Revoked: {', '.join(done.serials)}.")
    for sentence in done.warnings:
        yield from lines(sentence)
    yield End(Verdict.SUCCESS)


# --- tickets ----------------------------------------------------------------------------------------------------


def _redeem(asked: Asked, desk: Desk) -> Talk:
    """The ticket names the user; it works only together with his password."""
    ticket = without_surrogates((yield from question("Ticket: ", hidden=False)))
    password = yield from question(desk.text(MessageKey.PASSWORD, _WHOM))
    look_request = LookRequest("", f"{_SERVICE}@{desk.host}", Mode.CHALLENGE, password, service=_SERVICE, ticket=ticket)
    (look,) = desk.gate.look([look_request])
    request = replace(
        _request(asked, desk, "", Purpose.REDEEM),
        channel=Channel.console(),
        first_factor=desk.checker.check(look, password),
        ticket=ticket,
    )
    yield from _pair(request, desk, asked)


# --- shared -----------------------------------------------------------------------------------------------------


def _request(asked: Asked, desk: Desk, name: str, purpose: Purpose, replaces: str = "") -> LoginRequest:
    """The session proves who it is; a PIN is asked for on top."""
    return LoginRequest(
        user=name,
        channel=Channel.console(proves_password=False, local=asked.local, own=asked.own),
        client=f"{_SERVICE}@{desk.host}",
        client_version=0,
        service=_SERVICE,
        purpose=purpose,
        replaces=replaces,
        actor=asked.actor,
        where=f"twofold profile, host {desk.host}",
    )


def _refused(outcome: object) -> Talk:
    if isinstance(outcome, Reject):
        yield from lines(outcome.text, error=True)
        yield End(Verdict.DENIED, outcome.delay)
    else:
        yield Show("The store cannot be reached now. Nothing was changed.", error=True)
        yield End(Verdict.UNAVAILABLE)
