"""The helper: a thread for each conversation, bounded, so that slow or silent peers starve nobody.

Rules: root's peers, each relay and all others have places of their own, and one account at most a few of them; who
gets none is hung up on. Those who log other people in (root, relays) find one as long as anybody is asked something:
whoever has most questions open loses his oldest, so nobody keeps all others out by starting `su` some hundred times and
answering none. The RADIUS server, known by its uid, has places of its own, too, so that no crowd keeps its questions
out. A hello must come at once, an answer of a human within minutes, everything else within seconds.
Whatever goes wrong ends in a refusal: the module takes nothing for success but a whole final frame.
"""

import logging
import pwd
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from first_factor import asking
from first_factor.asking import Answer, BadQuestion
from pam_helper import hello as greeting
from pam_helper import sockets
from pam_helper.accepting import Guest, Waiters
from pam_helper.care import care
from pam_helper.dialogue import Desk, login, may_touch
from pam_helper.frames import BadFrame, Type
from pam_helper.hello import Hello
from pam_helper.line import Gone, Line
from pam_helper.owner import rights_of_owner
from pam_helper.passwords import Passwords
from pam_helper.questions import Questions
from pam_helper.rights import Asked, NotAllowed, allowed
from pam_helper.seats import Sessions, is_local
from pam_helper.steps import End, Prompt, Step, Talk, Verdict, Waiting
from pam_helper.waiting import Tasks
from store.config import PamSection, SecurityKeySection
from validation.errors import StoreUnavailable
from validation.messages import printable

_log = logging.getLogger("twofold.pam")

STEPS_MOST = 2000  # of one conversation
_FIRST = frozenset({Type.HELLO, Type.PASSWORD})
_LINES_EVERY = 1.0  # seconds between two log lines about one account: of complaints, and of what it may do


@dataclass(frozen=True, slots=True)
class Limits:
    """How many conversations at once, and how many seconds for what."""

    root: int = 256
    others: int = 64  # all of them together, but for
    relay: int = 32  # each
    server: int = 64
    account: int = 4
    hello: float = 2.0
    sent: float = 10.0
    answer: float = 300.0


USUAL = Limits()


class Helper:
    """Serves until `stop` is called."""

    def __init__(
        self,
        desk: Desk,
        pam: PamSection,
        keys: SecurityKeySection,
        database: Path,
        listeners: list[socket.socket],
        sessions: Sessions,
        passwords: Passwords,
        limits: Limits = USUAL,
    ) -> None:
        self._desk = desk
        self._passwords = passwords
        self._pam = pam
        self._keys = keys
        self._sessions = sessions
        self._database = database
        self._waiters = [Waiters(listener, self._let_in) for listener in listeners]
        self._limits = limits
        self._relays = frozenset(uid for name in pam.relays if (uid := _uid(name)) is not None)
        self._complaints, self._news = Sparing(), Sparing()
        self._questions = Questions()
        self._tasks = Tasks()
        self._places = Counter[int]()  # by uid
        self._server = 0  # its uid, when it has come; root, until then
        self._guard = threading.Lock()

    def start(self) -> None:
        for each in self._waiters:
            each.start()

    def lives(self, within: float) -> bool:
        """Whether somebody who comes would be let in; each part of the answer is waited for so many seconds at most."""
        if not self._guard.acquire(timeout=within):
            return False
        self._guard.release()
        return all(each.somebody_waits(within) for each in self._waiters)

    def stop(self, within: float) -> None:
        """No new conversations; those that are open may end by themselves for so many seconds."""
        self._tasks.stop()
        for each in self._waiters:
            each.stop()
        until = time.monotonic() + within
        for each in self._waiters:
            each.join(until)

    @property
    def open(self) -> int:
        """How many conversations there are now."""
        with self._guard:
            return self._places.total()

    # --- places -------------------------------------------------------------------------------------------------

    def _let_in(self, connection: socket.socket) -> Guest | None:
        peer = sockets.peer_of(connection)
        if not self._take_place(peer.uid) and not self._make_place(peer):
            self._complain(peer, "hung up on", "too many conversations")
            connection.close()
            return None
        return Guest(partial(self._served, connection, peer), partial(self._turn_away, connection, peer))

    def _turn_away(self, connection: socket.socket, peer: sockets.Peer, why: str) -> None:
        self._give_place_back(peer.uid)
        self._complain(peer, "hung up on", why)
        connection.close()

    def _take_place(self, uid: int) -> bool:
        is_server = uid != 0 and self._passwords.is_server(uid)
        with self._guard:
            if is_server:
                self._server = uid
            apart = {0, self._server} | self._relays
            others = sum(count for of, count in self._places.items() if of not in apart)
            if self._places[uid] >= self._most(uid) or (uid not in apart and others >= self._limits.others):
                return False
            self._places[uid] += 1
            return True

    def _make_place(self, peer: sockets.Peer) -> bool:
        """Where one is worth more than a question that nobody answers. Its thread has yet to end, so for a moment there
        is one more than there should be."""
        if not self._logs_others_in(peer.uid):
            return False
        user = self._questions.end_one(peer.uid)
        if user is None:
            return False
        with self._guard:
            self._places[peer.uid] += 1
        self._complain(peer, "made room for", f"no place was left; ended the oldest question of user={user}")
        return True

    def _logs_others_in(self, uid: int) -> bool:
        return uid == 0 or uid in self._relays

    def _most(self, uid: int) -> int:
        if uid == 0:
            return self._limits.root
        if uid == self._server:
            return self._limits.server
        return self._limits.relay if uid in self._relays else self._limits.account

    def _give_place_back(self, uid: int) -> None:
        with self._guard:
            self._places[uid] -= 1
            self._places += Counter[int]()  # forgets those that are at 0

    def _served(self, connection: socket.socket, peer: sockets.Peer) -> None:
        try:
            with connection:
                self._serve(Line(connection, self._limits.sent, self._limits.answer), peer)
        except Exception as error:
            _log.error("conversation of uid %d failed: %s", peer.uid, type(error).__name__)
            _log.debug("where it failed", exc_info=error)
        finally:
            self._give_place_back(peer.uid)

    def _complain(self, peer: sockets.Peer, what: str, why: str) -> None:
        unsaid = self._complaints.due(peer.uid, time.monotonic())
        if unsaid is not None:
            _log.warning("%s uid %d pid %d: %s%s", what, peer.uid, peer.pid, printable(why), _more(unsaid))

    def _tell(self, peer: sockets.Peer, level: int, what: str) -> None:
        """What became of a conversation, safe to print. Logins of others are all told; what somebody begins for himself
        costs him nothing, and the trail has what counts."""
        unsaid = 0 if self._logs_others_in(peer.uid) else self._news.due(peer.uid, time.monotonic())
        if unsaid is not None:
            _log.log(level, "%s%s", what, _more(unsaid))

    # --- one conversation ---------------------------------------------------------------------------------------

    def _serve(self, line: Line, peer: sockets.Peer) -> None:
        user = ""
        try:
            first = line.take_one(_FIRST, self._limits.hello)
            if first.type is Type.PASSWORD:
                self._answer_server(line, peer, first.payload)
                return
            hello = greeting.parse(first.payload)
            user = hello.user
            asked = self._allowed(hello, peer)
            with rights_of_owner(self._database):
                end = self._talk(line, asked, peer)
        except (NotAllowed, BadFrame) as error:
            self._complain(peer, "refused", str(error))
            end = End(Verdict.DENIED)
        except StoreUnavailable as error:
            self._tell(peer, logging.ERROR, f"no answer for user={printable(user)}: {printable(str(error))}")
            end = End(Verdict.UNAVAILABLE)
        except Gone as error:
            self._tell(peer, logging.INFO, f"conversation about user={printable(user)} ended: {error}")
            return
        try:
            line.finish(end, user)
        except Gone as error:
            self._tell(peer, logging.INFO, f"the verdict about user={printable(user)} was not taken: {error}")

    def _answer_server(self, line: Line, peer: sockets.Peer, payload: bytes) -> None:
        """Raises BadFrame, or Gone."""
        try:
            question = asking.parse(payload)
        except BadQuestion as error:
            raise BadFrame(str(error)) from None
        if self._passwords.may_ask(peer.uid):
            answer = self._passwords.answer(question)
            if answer is Answer.THROTTLED:
                whose = question.name.decode("utf-8", "replace")
                self._complain(peer, "held back", f"no password of user={whose} is checked now, after wrong ones")
        else:
            self._complain(peer, "refused", "only the owner of the store may ask about passwords")
            answer = Answer.NOT_ALLOWED
        line.answer(answer.encode(question.name))

    def _allowed(self, hello: Hello, peer: sockets.Peer) -> Asked:
        """Raises NotAllowed."""
        asked = allowed(hello, peer.uid, self._pam, _account)
        relay = bool(asked.actor) and not asked.own
        touches = may_touch(asked) and is_local(hello, peer, relay, self._keys, self._sessions)
        return replace(asked, local=touches)

    def _talk(self, line: Line, asked: Asked, peer: sockets.Peer) -> End:
        talk: Talk = care(asked, self._desk) if asked.hello.request else login(asked, self._desk)
        try:
            step = next(talk)
            for _ in range(STEPS_MOST):
                if isinstance(step, End):
                    self._log_end(asked, step, peer)
                    return step
                step = talk.send(self._answer(line, step, peer.uid, asked.user))
        finally:
            talk.close()
        raise BadFrame("the conversation has no end")

    def _answer(self, line: Line, step: Step, uid: int, user: str) -> str | None:
        if not isinstance(step, Prompt | Waiting):
            return line.show(step)
        with self._questions.open(uid, user, line):
            return self._tasks.wait(step.task, line) if isinstance(step, Waiting) else line.show(step)

    def _log_end(self, asked: Asked, end: End, peer: sockets.Peer) -> None:
        what = asked.hello.request or "login"
        by = f" by={printable(asked.actor)}" if asked.actor else ""
        door = f" service={printable(asked.hello.service)}" if asked.hello.service else ""
        source = f" from={asked.source}" if asked.source else ""
        why = f" reason={printable(end.reason)}" if end.reason else ""
        whom = f"{what} {end.verdict.name.lower()} user={printable(asked.user)}"
        self._tell(peer, logging.INFO, f"{whom}{door}{source}{by}{why}")


class Sparing:
    """Which lines about an account go into the log: one a second, so that nobody fills it."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}
        self._unsaid = Counter[int]()
        self._guard = threading.Lock()

    def due(self, uid: int, now: float) -> int | None:
        """None: not now. Else how many about this account were left out before it."""
        with self._guard:
            if now < self._last.get(uid, -_LINES_EVERY) + _LINES_EVERY:
                self._unsaid[uid] += 1
                return None
            self._last[uid] = now
            return self._unsaid.pop(uid, 0)


def _more(unsaid: int) -> str:
    return f" ({unsaid} more before)" if unsaid else ""


def hold(seconds: float) -> Callable[[], None]:
    """Begin a span of time; the call waits for its end."""
    until = time.monotonic() + seconds

    def wait() -> None:
        time.sleep(max(0.0, until - time.monotonic()))

    return wait


def _account(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
