"""The helper: a thread for each conversation, bounded, so that slow or silent peers starve nobody.

Rules: root's peers and all others have places of their own, and one account at most a few of them; who gets none is
hung up on. A hello must come at once, an answer of a human within minutes, everything else within seconds. Whatever
goes wrong ends in a refusal: the module takes nothing for success but a whole final frame.
"""

import logging
import os
import pwd
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pam_helper import hello as greeting
from pam_helper import sockets
from pam_helper.care import care
from pam_helper.dialogue import Desk, End, Prompt, SetAuthtok, Show, Step, Talk, Verdict, login
from pam_helper.frames import TO_HELPER, BadFrame, Frame, Parser, Type
from pam_helper.owner import rights_of_owner
from pam_helper.rights import Asked, NotAllowed, allowed
from store.config import PamSection
from validation.errors import StoreUnavailable
from validation.messages import printable

_log = logging.getLogger("twofold.pam")

ROOT_PLACES, OTHER_PLACES, PLACES_PER_ACCOUNT = 256, 64, 4
HELLO_WITHIN, SENT_WITHIN, ANSWER_WITHIN = 2.0, 10.0, 300.0  # seconds
STEPS_MOST = 2000  # of one conversation
_CHUNK = 65_536


class Gone(Exception):
    """The peer hung up, took too long, or gave up."""


class Helper:
    """Serves until `stop` is called."""

    def __init__(self, desk: Desk, pam: PamSection, database: Path, listeners: list[socket.socket]) -> None:
        self._desk = desk
        self._pam = pam
        self._database = database
        self._listeners = listeners
        self._places = Counter[int]()  # by uid
        self._guard = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), name="twofold-accept", daemon=True).start()

    def stop(self, within: float) -> None:
        """No new conversations; those that are open may end by themselves for so many seconds."""
        self._stopping.set()
        for listener in self._listeners:
            listener.close()
        until = time.monotonic() + within
        while self._places.total() and time.monotonic() < until:
            self._stopping.wait(0)
            time.sleep(0.02)

    # --- places -------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                if not self._stopping.is_set():
                    time.sleep(0.05)  # out of descriptors: those in use will come back
                continue
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        peer = sockets.peer_of(connection)
        if not self._take_place(peer.uid):
            _log.warning("hung up on uid %d: too many conversations", peer.uid)
            connection.close()
            return
        threading.Thread(target=self._served, args=(connection, peer), name="twofold-pam", daemon=True).start()

    def _take_place(self, uid: int) -> bool:
        with self._guard:
            others = sum(count for of, count in self._places.items() if of != 0)
            full = self._places[0] >= ROOT_PLACES if uid == 0 else others >= OTHER_PLACES
            if full or (uid != 0 and self._places[uid] >= PLACES_PER_ACCOUNT):
                return False
            self._places[uid] += 1
            return True

    def _served(self, connection: socket.socket, peer: sockets.Peer) -> None:
        try:
            with connection, rights_of_owner(self._database):
                self._serve(Line(connection), peer)
        except Exception as error:
            _log.error("conversation of uid %d failed: %s", peer.uid, type(error).__name__)
            _log.debug("where it failed", exc_info=error)
        finally:
            with self._guard:
                self._places[peer.uid] -= 1
                self._places += Counter[int]()  # forgets those that are at 0

    # --- one conversation ---------------------------------------------------------------------------------------

    def _serve(self, line: "Line", peer: sockets.Peer) -> None:
        user = ""
        try:
            hello = greeting.parse(line.take(Type.HELLO, HELLO_WITHIN))
            user = hello.user
            asked = allowed(hello, peer.uid, self._pam, _account)
            end = self._talk(line, asked)
        except (NotAllowed, BadFrame) as error:
            _log.warning("refused uid %d pid %d: %s", peer.uid, peer.pid, printable(str(error)))
            end = End(Verdict.DENIED)
        except StoreUnavailable as error:
            _log.error("no answer for user=%s: %s", printable(user), printable(str(error)))
            end = End(Verdict.UNAVAILABLE)
        except Gone as error:
            _log.info("conversation about user=%s ended: %s", printable(user), error)
            return
        line.finish(end, user)

    def _talk(self, line: "Line", asked: Asked) -> End:
        talk: Talk = care(asked, self._desk) if asked.hello.request else login(asked, self._desk)
        try:
            step = next(talk)
            for _ in range(STEPS_MOST):
                if isinstance(step, End):
                    self._log_end(asked, step)
                    return step
                answer = line.show(step)
                step = talk.send(answer) if answer is not None else next(talk)
        finally:
            talk.close()
        raise BadFrame("the conversation has no end")

    def _log_end(self, asked: Asked, end: End) -> None:
        what = asked.hello.request or "login"
        by = f" by={printable(asked.actor)}" if asked.actor else ""
        door = f" service={printable(asked.hello.service)}" if asked.hello.service else ""
        source = f" from={asked.source}" if asked.source else ""
        why = f" reason={printable(end.reason)}" if end.reason else ""
        _log.info("%s %s user=%s%s%s%s%s", what, end.verdict.name.lower(), printable(asked.user), door, source, by, why)


class Line:
    """Frames over one connection, each with a time limit of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._parser = Parser(TO_HELPER)

    def take(self, wanted: Type, within: float) -> bytes:
        """The payload of the next frame. Raises Gone, or BadFrame if it is another one than `wanted`."""
        until = time.monotonic() + within
        while (frame := self._parser.take()) is None:
            self._parser.feed(self._received(until))
        if frame.type is Type.FAILED:
            raise Gone("it was given up")
        if frame.type is not wanted:
            raise BadFrame(f"frame {frame.type.name} is not expected here")
        return frame.payload

    def _received(self, until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise Gone("nothing came in time")
        self._connection.settimeout(left)
        try:
            octets = self._connection.recv(_CHUNK)
        except TimeoutError:
            raise Gone("nothing came in time") from None
        except OSError as error:
            raise Gone(error.strerror or "the connection broke") from None
        if not octets:
            raise Gone("the other end hung up")
        return octets

    def show(self, step: Step) -> str | None:
        """Show it; the answer, where one is asked for."""
        match step:
            case Show():
                self._send(Type.ERROR if step.error else Type.INFO, step.text)
            case SetAuthtok():
                self._send(Type.AUTHTOK, step.text)
            case Prompt():
                self._send(Type.PROMPT_HIDDEN if step.hidden else Type.PROMPT, step.text)
                return self.take(Type.REPLY, ANSWER_WITHIN).decode("utf-8", "surrogateescape")
            case End():
                raise BadFrame("an end is no step")
        return None

    def finish(self, end: End, user: str) -> None:
        try:
            if end.verdict is Verdict.DENIED and end.delay:
                self._send_octets(Type.FAIL_DELAY, int(end.delay * 1_000_000).to_bytes(4, "big"))
            self._send_octets(Type.FINAL, end.verdict.value + user.encode("utf-8", "surrogateescape"))
        except Gone as error:
            _log.info("the verdict about user=%s was not taken: %s", printable(user), error)

    def _send(self, kind: Type, text: str) -> None:
        self._send_octets(kind, text.encode("utf-8", "surrogateescape"))

    def _send_octets(self, kind: Type, payload: bytes) -> None:
        self._connection.settimeout(SENT_WITHIN)
        try:
            self._connection.sendall(Frame(kind, payload).encode())
        except OSError as error:
            raise Gone(error.strerror or "the connection broke") from None


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


def running_as_root() -> bool:
    return os.geteuid() == 0
