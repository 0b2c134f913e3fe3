"""A login as a conversation: what is shown and asked, in which order, until there is a verdict.

Rules: nothing is decided here. The password is checked once, the gate decides every step, and what it answers is
shown. Until the password was proved by us everybody meets the same questions: who is unknown, locked, or has typed a
wrong password is asked for PINs like anybody else, and refused at the end. Of one field for both that holds for whoever
types both: a password alone is asked for its PIN if it is right. PAM_IGNORE stands for one thing: the gate
let somebody in without a PIN, and the rest of the stack must judge the password as it would without us.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from first_factor import Checker
from pam_helper.hello import without_surrogates
from pam_helper.key_dialogue import Keys, Told, registered, touched
from pam_helper.rights import Asked
from pam_helper.steps import Asking, End, SetAuthtok, Show, Talk, Verdict, lines, picture, question
from validation.decisions import Accept, AskKey, AskKeyName, AskNewKey, Challenge, Decision, Reason, Reject
from validation.errors import StoreUnavailable
from validation.gate import Gate, Outcome
from validation.messages import QR_LINE, MessageKey, default_text, fill, tries_text
from validation.model import Mode
from validation.names import Spelling
from validation.requests import (
    NOT_CHECKED,
    Channel,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    LookRequest,
    typed_alone,
)
from validation.settings import EMPTY, Book, Whom

SSHD = "sshd"
PACE = 0.05  # seconds from an answer that lets nobody in to what follows, at least: time tells nothing of the reason


@dataclass(frozen=True, slots=True)
class Desk:
    """What a conversation needs."""

    gate: Gate
    checker: Checker
    names: Spelling
    host: str
    issuer: str
    columns: Callable[[str | None], int]  # how wide the terminal called so is
    hold: Callable[[float], Callable[[], None]]  # begins a span of seconds; the call waits for its end
    keys: Keys

    def book(self) -> Book:
        """The texts; the defaults while the store cannot be read."""
        try:
            return self.gate.policies()
        except StoreUnavailable:
            return EMPTY

    def text(self, key: MessageKey, whom: Whom, **values: str | int) -> str:
        """As a stranger reads it: `whom` knows no groups."""
        return text_in(self.book(), key, whom, **values)

    def decide(self, request: LoginRequest) -> Outcome:
        (outcome,) = self.gate.login([request])
        return outcome


def text_in(book: Book, key: MessageKey, whom: Whom, /, **values: str | int) -> str:
    language = book.settings(whom).language
    text = book.text(key, language, whom) or default_text(key, language)
    if isinstance(tries := values.get("tries"), int):
        values["tries"] = tries_text(tries, language)
    return fill(text, values)


# --- a login ----------------------------------------------------------------------------------------------------


def login(asked: Asked, desk: Desk) -> Talk:
    """Everything from the hello to the verdict."""
    if asked.hello.combined:
        yield from _combined(asked, desk)
        return
    if not proves_password(asked) and not (asked.own and asked.local):
        yield from _by_pin_alone(asked, desk)
        return
    request = _first_step(asked, desk)
    outcome = desk.decide(request)
    if isinstance(outcome, Reject) and request.first_factor.status is not FirstFactor.PROVED:
        yield from _as_if(asked, desk, outcome)
        return
    decision = yield from conversation(request, outcome, desk, asked.hello.tty)
    yield from _verdict(decision, desk, asked, by_key=proved_by_ssh_key(asked))


def _by_pin_alone(asked: Asked, desk: Desk) -> Talk:
    """Where nothing but a PIN can come of it, everybody is asked for one at once, and its answer is the first step of
    the login: one transaction, not two. Not of who may have a key that he can touch instead."""
    try:
        book = desk.gate.policies()
    except StoreUnavailable as error:  # whoever is asked hopes for an answer
        yield End(Verdict.UNAVAILABLE, reason=str(error))
        return
    typed = yield from question(text_in(book, MessageKey.ASK_PIN, stranger(asked)))
    request = _first_step(asked, desk)
    held = desk.hold(PACE)
    outcome = desk.decide(replace(request, passcode=typed_alone(without_surrogates(typed)), asked=True))
    if isinstance(outcome, Reject):
        yield from _as_if_again(asked, desk, outcome, held)
        return
    if not isinstance(outcome, Accept):
        held()
    decision, left = yield from _conversation(request, outcome, desk, asked.hello.tty)
    if isinstance(decision, Reject) and left and decision.reason not in _NOTICES | _WORDS:
        # It has run out, or a wait has begun: invented names meet neither, and are asked on.
        yield from _as_if_again(asked, desk, decision, held, left)
        return
    yield from _verdict(decision, desk, asked)


def _first_step(asked: Asked, desk: Desk) -> LoginRequest:
    """Who it is, and what is known of his password."""
    hello = asked.hello
    name, way = spelled(asked, desk), f"{hello.service}@{desk.host}"
    result = NOT_CHECKED
    if proved_by_ssh_key(asked):
        result = FirstFactorResult(FirstFactor.PROVED)
    elif hello.authtok is not None and proves_password(asked):
        look_request = LookRequest(name, way, Mode.CHALLENGE, hello.authtok, asked.source, service=hello.service)
        (look,) = desk.gate.look([look_request])
        result = desk.checker.check(look, hello.authtok)
    return LoginRequest(
        user=name,
        channel=Channel.console(proves_password(asked), asked.pin_only, asked.local, asked.own),
        client=way,
        client_version=0,
        first_factor=result,
        source=asked.source,
        service=hello.service or None,
        actor=asked.actor,
        where=where(asked, desk),
    )


def where(asked: Asked, desk: Desk) -> str:
    """The login as whoever sits there sees it."""
    tty = (asked.hello.tty or "").removeprefix("/dev/")
    return f"{asked.hello.service}{' on ' if tty else ''}{tty}, host {desk.host}"


def spelled(asked: Asked, desk: Desk) -> str:
    """The canonical spelling. What cannot be a name is nobody, and refused like nobody."""
    return desk.names.canonical(asked.user) or without_surrogates(asked.user)


def stranger(asked: Asked) -> Whom:
    return Whom(service=asked.hello.service or None, source=asked.source)


def may_touch(asked: Asked) -> bool:
    """A security key may be asked for, if he sits here: the kernel says who types, or his password is to be proved."""
    return asked.own or asked.hello.combined or proves_password(asked)


def proves_password(asked: Asked) -> bool:
    """It is known by then, or checked here; else the stack has checked it, or will."""
    heard = asked.hello.authtok is not None and (not asked.pin_only or bool(asked.actor))
    return heard or proved_by_ssh_key(asked)


def proved_by_ssh_key(asked: Asked) -> bool:
    """sshd, which runs as root, says in the PAM environment which methods were passed."""
    hello = asked.hello
    if asked.pin_only or hello.service != SSHD:
        return False
    return any(line.startswith("publickey ") for line in (hello.ssh_auth_info or "").split("\n"))


def conversation(
    request: LoginRequest, outcome: Outcome, desk: Desk, tty: str | None
) -> Asking[Decision | StoreUnavailable]:
    """Show and ask what the gate says, until it asks no more."""
    decision, _ = yield from _conversation(request, outcome, desk, tty)
    return decision


def _conversation(
    request: LoginRequest, outcome: Outcome, desk: Desk, tty: str | None
) -> Asking[tuple[Decision | StoreUnavailable, int]]:
    """Beside what it came to, how many more questions there could have been."""
    left = 0
    while isinstance(outcome, Challenge):
        left = outcome.tries_left - 1
        answer = replace(request, first_factor=NOT_CHECKED, passcode=None, state=outcome.state)
        match outcome.wants:
            case AskKey():
                answer = yield from _by_key(answer, outcome, outcome.wants, desk)
            case AskNewKey():
                made = yield from registered(outcome.wants, outcome.texts[-1], desk.keys, _told(request, desk))
                answer = replace(answer, new_credential=made)
            case AskKeyName():
                name = yield from question(outcome.texts[-1], hidden=False)
                answer = request = replace(answer, key_name=without_surrogates(name).strip())
            case None:
                answer = yield from _by_typing(answer, outcome, desk, tty)
        held = desk.hold(PACE)
        outcome = desk.decide(answer)
        if not isinstance(outcome, Accept):
            held()
    return outcome, left


def _by_typing(answer: LoginRequest, asked: Challenge, desk: Desk, tty: str | None) -> Asking[LoginRequest]:
    yield from _shown(asked, desk.columns(tty))
    typed = yield from question(asked.texts[-1], hidden=asked.reason not in _TYPED_IN_THE_OPEN)
    return replace(answer, passcode=typed_alone(without_surrogates(typed)))


def _by_key(answer: LoginRequest, asked: Challenge, wants: AskKey, desk: Desk) -> Asking[LoginRequest]:
    told = _told(answer, desk)
    plug_in = told(MessageKey.KEY_PLUG_IN, where=answer.where)
    did = yield from touched(wants, asked.texts[-1], plug_in, desk.keys, told)
    return replace(answer, passcode=did.typed or None, assertion=did.assertion)


def _told(request: LoginRequest, desk: Desk) -> Told:
    return Told(lambda key, values: desk.text(key, request.whom(), **values))


# Where nothing typed is worth hiding: pages to turn, and the PIN of an app that is not registered yet.
_TYPED_IN_THE_OPEN = frozenset({Reason.ONBOARDING, Reason.FIRST_PIN_WRONG})


def _shown(challenge: Challenge, columns: int) -> Iterator[Show]:
    """One message for each line: ssh shows the whole at once, and some programs cut long ones."""
    for text in challenge.texts[:-1]:
        before, found, after = text.partition(QR_LINE)
        if before or not found:
            yield from lines(before)
        if found and challenge.provisioning is not None:
            yield from picture(challenge.provisioning.uri, columns)
        if after:
            yield from lines(after)


# --- verdicts ---------------------------------------------------------------------------------------------------

# Let in without a PIN: the stack goes on as if we were not there. Over an ssh key there is nothing else to judge.
_LET_IN_AS_IS = frozenset({Reason.SKIPPED, Reason.BYPASS, Reason.GRACE, Reason.REUSED})
# A refusal that tells its user something he can act upon; ssh shows it with a question alone.
_NOTICES = frozenset({Reason.HARDWARE_ONLY, Reason.NO_TOKEN, Reason.PAIRING_CLOSED, Reason.KEY_ELSEWHERE})
# The same at a console, where it is seen at once.
_WORDS = frozenset(
    {
        *(Reason.KEY_WRONG, Reason.KEY_UNVERIFIED, Reason.KEY_BACKUP, Reason.KEY_COUNTER, Reason.KEY_KNOWN),
        *(Reason.KEY_MISSING, Reason.KEY_NOT_ALLOWED),
    }
)


def _verdict(outcome: Outcome, desk: Desk, asked: Asked, by_key: bool = False) -> Talk:
    match outcome:
        case Accept():
            for text in outcome.texts:
                yield from lines(text)
            ignored = outcome.reason in _LET_IN_AS_IS and not by_key
            yield End(Verdict.IGNORE if ignored else Verdict.SUCCESS, reason=outcome.reason)
        case Reject(reason=Reason.FIRST_FACTOR_UNAVAILABLE):
            yield End(Verdict.UNAVAILABLE, reason=outcome.reason)
        case StoreUnavailable():
            yield End(Verdict.UNAVAILABLE, reason=str(outcome))
        case Reject():
            if outcome.reason in _NOTICES | _WORDS:
                yield from lines(outcome.text, error=True)
            if outcome.reason in _NOTICES:
                yield from question(desk.text(MessageKey.CLOSE, stranger(asked)), hidden=False)
            yield End(Verdict.DENIED, outcome.delay, outcome.reason)
        case Challenge():
            yield End(Verdict.UNAVAILABLE)


def _as_if(asked: Asked, desk: Desk, refused: Reject) -> Talk:
    """The questions that somebody with a token meets who types wrong PINs."""
    if refused.reason is Reason.FIRST_FACTOR_UNAVAILABLE:
        yield End(Verdict.UNAVAILABLE, reason=refused.reason)
        return
    yield from question(desk.text(MessageKey.ASK_PIN, stranger(asked)))
    yield from _as_if_again(asked, desk, refused, desk.hold(PACE))


def _as_if_again(
    asked: Asked, desk: Desk, refused: Reject, held: Callable[[], None], questions: int | None = None
) -> Talk:
    """After an answer whose time is over when `held` returns; what is to be read is read before that. None: as many as
    after the first one."""
    book, whom = desk.book(), stranger(asked)
    if questions is None:
        questions = book.settings(whom).tries - 1
    for left in range(questions, 0, -1):
        text = text_in(book, MessageKey.ASK_PIN_AGAIN, whom, tries=left)
        held()
        yield from question(text)
        held = desk.hold(PACE)
    held()
    yield End(Verdict.DENIED, refused.delay, refused.reason)


# --- password and PIN in one field ------------------------------------------------------------------------------


def _combined(asked: Asked, desk: Desk) -> Talk:
    """Both are checked here; then the password alone goes to the modules that follow."""
    hello = asked.hello
    typed = hello.authtok
    if typed is None:
        typed = yield from question(desk.text(MessageKey.PASSWORD_AND_PIN, stranger(asked)))
    look_request = LookRequest(
        spelled(asked, desk), f"{hello.service}@{desk.host}", Mode.APPEND, typed, asked.source, service=hello.service
    )
    (look,) = desk.gate.look([look_request])
    password = look.split.password if look.split is not None else ""
    request = replace(
        _first_step(replace(asked, hello=replace(hello, authtok=None)), desk),
        channel=Channel.console(pin_only=asked.pin_only, local=asked.local, own=asked.own),
        first_factor=desk.checker.check(look, password),
        passcode=(without_surrogates(look.split.passcode) or None) if look.split is not None else None,
    )
    outcome = yield from conversation(request, desk.decide(request), desk, hello.tty)
    if isinstance(outcome, Accept):
        yield SetAuthtok(password)
    yield from _verdict(outcome, desk, asked)
