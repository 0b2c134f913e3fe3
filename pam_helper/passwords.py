"""The one thing the RADIUS server may ask of root's helper: whether a password is that of an account.

Rules: the owner of the store may ask, as who the server runs, and root; nobody else. The answer is a yes or a no, and
nothing else of the account is told. Wrong ones are counted here, whatever the server counts: who has broken into it
learns no more by asking here than by logging in. Accounts of the host's own are nobody's.
"""

from pathlib import Path

from first_factor import Checker
from first_factor.asking import Answer, Question
from first_factor.system import HELD
from pam_helper.owner import owner_of
from validation.decisions import Look
from validation.errors import StoreUnavailable
from validation.model import FirstFactorKind
from validation.requests import FirstFactor


class Passwords:
    """`database` says by its owner who the server is; `checker` counts."""

    def __init__(self, checker: Checker, database: Path) -> None:
        self._checker = checker
        self._database = database

    def is_server(self, uid: int) -> bool:
        """Without a store there is none."""
        try:
            return uid == owner_of(self._database)
        except StoreUnavailable:
            return False

    def may_ask(self, uid: int) -> bool:
        return uid == 0 or self.is_server(uid)

    def answer(self, question: Question) -> Answer:
        try:
            name, password = question.name.decode(), question.password.decode()
        except UnicodeDecodeError:
            return Answer.WRONG
        result = self._checker.check(Look(str(FirstFactorKind.SYSTEM), user=name), password)
        if result.why == HELD:
            return Answer.THROTTLED
        return _ANSWER.get(result.status, Answer.UNAVAILABLE)


_ANSWER = {FirstFactor.PROVED: Answer.PROVED, FirstFactor.WRONG: Answer.WRONG}
