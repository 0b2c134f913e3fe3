"""What must hold of every round, whatever failed in it. A pure function over a history.

Rules: each rule is a function that yields what breaks it. A request that heard nothing is judged by its rows alone:
it may have been accepted or not. What a lost answer costs a person is no rule here; what nobody may get is.

`reused` stays out: no policy of these rounds lets anybody in again without a PIN of his own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from tests.chaos.history import Act, Heard, History, Outcome, Request, Row

LOOK_AHEAD = 10  # counters, as the policy says
_COUNTED = ("passcode-wrong", "passcode-used", "passcode-layout")
_ROW_OF = {
    Outcome.ACCEPT: ("accept",),
    Outcome.REJECT: ("reject", "again"),  # the helper asks again, which refuses the PIN
    Outcome.CHALLENGE: ("challenge", "again"),
}


@dataclass(frozen=True)
class Broken:
    rule: str
    user: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule} ({self.user}): {self.what}"


class _Seen:
    """A history, looked up in the ways that the rules need."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.requests = {request.number: request for request in history.requests}
        self.kinds = {token.serial: token.kind for token in history.tokens}

    @cached_property
    def rows(self) -> list[Row]:
        """Of logins, in the order of their commits."""
        return [row for row in self.everything if row.event == "login"]

    @cached_property
    def everything(self) -> list[Row]:
        return sorted(self.history.rows, key=lambda row: row.order)

    @cached_property
    def rows_of(self) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = defaultdict(list)
        for row in self.rows:
            if row.number is not None:
                found[row.number].append(row)
        return found

    @cached_property
    def disturbed(self) -> set[str]:
        """Users for whom an answer may not hold any more: an admin has acted, or a wait was running."""
        waited = {row.user for row in self.rows if row.reason == "waiting-after-failures"}
        return waited | {act.user for act in self.history.acts}

    @cached_property
    def accepted(self) -> list[tuple[Row, Request]]:
        return [
            (row, self.requests[row.number])
            for row in self.rows
            if row.decision == "accept" and row.number in self.requests
        ]


def check(history: History) -> list[Broken]:
    """Everything that is broken; empty: every rule held."""
    seen = _Seen(history)
    return [Broken(name, user, what) for name, rule in RULES.items() for user, what in rule(seen)]


_Found = Iterator[tuple[str, str]]  # user, and what is wrong


# --- each PIN lets in once


def _once_on_the_wire(seen: _Seen) -> _Found:
    heard: dict[tuple[str, int], list[Request]] = defaultdict(list)
    for request in seen.history.requests:
        if not request.has_heard(Outcome.ACCEPT):
            continue
        if request.pin.position is None:
            yield request.user, f"request {request.number} heard an Accept without a PIN of his"
        else:
            heard[request.pin.serial, request.pin.position].append(request)
    for (serial, position), requests in heard.items():
        if len(requests) > 1:
            which = ", ".join(str(request.number) for request in requests)
            yield requests[0].user, f"the PIN {serial}@{position} was accepted for the requests {which}"


def _once_in_the_trail(seen: _Seen) -> _Found:
    rows: dict[tuple[str, int | None], list[Row]] = defaultdict(list)
    for row, request in seen.accepted:
        rows[request.pin.serial, request.pin.position].append(row)
    for (serial, position), same in rows.items():
        if len(same) > 1:
            yield same[0].user, f"{len(same)} rows accept the PIN {serial}@{position}"


# --- who was shut out stays out


def _shut_out(seen: _Seen) -> _Found:
    for request in seen.history.requests:
        rows = [row for row in seen.rows_of[request.number] if row.decision == "accept"]
        heard = [heard.at for heard in request.heard if heard.outcome is Outcome.ACCEPT]
        if not (rows or heard):
            continue
        until = max(heard) if heard else float("inf")
        for act in seen.history.acts:
            if _bars(act, request) and not _may_be_open(seen, act, until):
                yield request.user, f"request {request.number} was accepted; {act.bar} had returned before it was made"


def _bars(act: Act, request: Request) -> bool:
    concerned = act.user == request.user and act.serial in ("", request.pin.serial)
    return act.shuts and act.done and concerned and act.ret < request.inv


def _may_be_open(seen: _Seen, shut: Act, until: float) -> bool:
    """Somebody has opened this bar again, or tried to, before the Accept was heard."""
    place = (shut.bar, shut.user, shut.serial)
    return any(
        not act.shuts and (act.bar, act.user, act.serial) == place and shut.inv < act.inv < until
        for act in seen.history.acts
    )


# --- the trail is whole and true


def _recorded(seen: _Seen) -> _Found:
    for request in seen.history.requests:
        written = {row.decision for row in seen.rows_of[request.number]}
        for outcome in {heard.outcome for heard in request.heard}:
            if not written.intersection(_ROW_OF[outcome]):
                yield request.user, f"request {request.number} heard {outcome}, and no row says so"


def _rows_are_true(seen: _Seen) -> _Found:
    for row in seen.rows:
        lie = _lie(row, seen.requests.get(row.number) if row.number is not None else None)
        if lie:
            yield row.user, f"row {row.chain}#{row.seq} {row.decision} {row.reason}: {lie}"


def _lie(row: Row, request: Request | None) -> str:
    """What of a row is not true; empty: nothing."""
    if request is None:
        return f"the request it names ({row.number}) was never made"
    if row.user != request.user:
        return f"request {request.number} was one of {request.user}"
    if row.client != request.client:
        return f"request {request.number} came through {request.client}, not {row.client}"
    if row.chain not in {sent.host for sent in request.sent}:
        return f"request {request.number} was never sent to {row.chain}"
    if row.decision == "accept" and (row.serial, row.reason) != (request.pin.serial, "passcode-right"):
        return f"request {request.number} brought a PIN of {request.pin.serial or 'nobody'}, not of {row.serial}"
    if row.decision == "accept" and request.pin.position is None:
        return f"request {request.number} brought no PIN of his"
    return ""


def _no_more_rows_than_packets(seen: _Seen) -> _Found:
    for request in seen.history.requests:
        for chain in {row.chain for row in seen.rows_of[request.number]}:
            rows = sum(row.chain == chain for row in seen.rows_of[request.number])
            packets = sum(sent.host == chain for sent in request.sent)
            if rows > packets:
                yield request.user, f"request {request.number}: {rows} rows of {chain}, which got it {packets} times"


def _refusals_are_right(seen: _Seen) -> _Found:
    """A PIN is called used after it, or a later one, was accepted, and wrong where it could not have been right."""
    greatest: dict[str, int] = {token.serial: token.began - 1 for token in seen.history.tokens}
    for row in seen.rows:
        request = seen.requests.get(row.number) if row.number is not None else None
        if request is None or request.pin.position is None or seen.kinds.get(request.pin.serial) == "recovery_code":
            continue
        serial, position = request.pin.serial, request.pin.position
        ahead = position - greatest[serial]
        if row.decision == "accept":
            greatest[serial] = max(greatest[serial], position)
        elif row.reason == "passcode-used" and ahead > 0:
            yield row.user, f"row {row.chain}#{row.seq} calls {serial}@{position} used, which was not accepted before"
        elif row.reason == "passcode-wrong" and seen.kinds[serial] == "hotp" and -LOOK_AHEAD <= ahead <= LOOK_AHEAD:
            yield row.user, f"row {row.chain}#{row.seq} calls {serial}@{position} wrong, which it was not"


def _chain_verifies(seen: _Seen) -> _Found:
    yield from (("", problem) for problem in seen.history.problems)


# --- counters are exact


def _counters(seen: _Seen) -> _Found:
    for token in seen.history.tokens:
        accepted = [r.pin.position for _, r in seen.accepted if r.pin.serial == token.serial]
        positions = [position for position in accepted if position is not None]
        if token.kind == "recovery_code":
            expected = token.began | sum(1 << position for position in set(positions))
        else:
            expected = max([token.began, *(position + 1 for position in positions)])
            if positions != sorted(set(positions)):
                yield token.user, f"token {token.serial}: accepted in the order {positions}"
        if token.moving_factor != expected:
            yield (
                token.user,
                f"token {token.serial} stands at {token.moving_factor}; the trail makes it {expected}",
            )


def _failures(seen: _Seen) -> _Found:
    for user, stored in seen.history.failures.items():
        count = 0
        for row in (row for row in seen.everything if row.user == user):
            if row.decision == "accept" or row.event == "user-unlock":
                count = 0
            elif row.event == "login" and row.reason in (*_COUNTED, "passcode-repeated"):
                count += row.reason in _COUNTED
                if row.failures != count:
                    yield (
                        user,
                        f"row {row.chain}#{row.seq} says failure {row.failures}; the rows before make it {count}",
                    )
                    count = row.failures
        if stored != count:
            yield user, f"{stored} wrong PINs stand against him; the trail makes it {count}"


# --- what is answered


def _state_once(seen: _Seen) -> _Found:
    used: dict[str, list[Row]] = defaultdict(list)
    answered: dict[str, list[Request]] = defaultdict(list)
    for request in (request for request in seen.history.requests if request.state):
        rows = seen.rows_of[request.number]
        used[request.state] += [row for row in rows if row.decision in ("accept", "again")]
        if request.has_heard(Outcome.ACCEPT, Outcome.CHALLENGE):
            answered[request.state].append(request)
    for state in used:
        if len(used[state]) > 1 or len(answered[state]) > 1:
            numbers = sorted({row.number or 0 for row in used[state]} | {r.number for r in answered[state]})
            yield seen.requests[numbers[0]].user, f"State {state[:6]}… did its work for the requests {numbers}"


def _state_given_once(seen: _Seen) -> _Found:
    given: dict[str, set[int]] = defaultdict(set)
    for request in seen.history.requests:
        for state in {heard.state for heard in request.heard if heard.state}:
            given[state].add(request.number)
    for state, numbers in given.items():
        if len(numbers) > 1:
            yield seen.requests[min(numbers)].user, f"State {state[:6]}… was given to the requests {sorted(numbers)}"


def _same_answer(seen: _Seen) -> _Found:
    """To copies of one packet: by one process always; by all servers, where they share what they answered and nothing
    has ended his logins. Else an Accept may be followed by a refusal: its PIN is used."""
    for request in seen.history.requests:
        by_run: dict[tuple[str, int], set[bytes]] = defaultdict(set)
        for heard in request.heard:
            by_run[heard.host, heard.run].add(heard.octets)
        for (host, run), answers in by_run.items():
            if len(answers) > 1:
                yield request.user, f"request {request.number} was answered in {len(answers)} ways by {host}.{run}"
        shared = seen.history.one_answer and request.user not in seen.disturbed
        if shared and len({_said(heard) for heard in request.heard}) > 1:
            yield request.user, f"request {request.number} was answered differently by servers that share their answers"


def _said(heard: Heard) -> tuple[str, str]:
    return heard.outcome, heard.state


def _heals(seen: _Seen) -> _Found:
    yield from (("", f"{door} let nobody in though nothing was broken any more") for door in seen.history.silent)


RULES: dict[str, Callable[[_Seen], _Found]] = {
    "a PIN was accepted twice": _once_on_the_wire,
    "a PIN was accepted twice in the trail": _once_in_the_trail,
    "somebody who was shut out was let in": _shut_out,
    "an answer is missing in the trail": _recorded,
    "a row lies": _rows_are_true,
    "a request was decided more often than it was sent": _no_more_rows_than_packets,
    "a refusal is wrong": _refusals_are_right,
    "the trail does not verify": _chain_verifies,
    "a counter is wrong": _counters,
    "failures are counted wrongly": _failures,
    "a State was used twice": _state_once,
    "a State was given twice": _state_given_once,
    "copies were answered differently": _same_answer,
    "it does not heal": _heals,
}
