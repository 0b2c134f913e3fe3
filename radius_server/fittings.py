"""What the server holds open for a configuration: its doors, the file of records, the door of the metrics.

Rule: prepared whole or not at all. A reload binds what is new before it gives up what is old, and keeps what stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from radius_server.listening import Door, Role
from radius_server.metrics import MetricsDoor
from radius_server.record_file import RecordFile
from store.config import Listen


class Wanted(Protocol):
    """What a configuration asks for."""

    @property
    def listen(self) -> tuple[Listen, ...]: ...
    @property
    def accounting(self) -> Path | None: ...
    @property
    def accounting_listen(self) -> tuple[Listen, ...]: ...
    @property
    def metrics(self) -> Listen | None: ...


@dataclass(frozen=True, slots=True)
class Fittings:
    doors: tuple[Door, ...]
    records: RecordFile | None
    metrics: MetricsDoor | None

    @classmethod
    def prepare(
        cls, wanted: Wanted, text: Callable[[], str], old: "Fittings | None" = None, retired: Sequence[Door] = ()
    ) -> "Fittings":
        """Raises BadInput, and then nothing is open that was not before. `retired`: old doors that are open still."""
        there = [*(old.doors if old is not None else ()), *retired]
        doors: list[Door] = []
        records: RecordFile | None = None
        try:
            for role, listens in ((Role.AUTHENTICATION, wanted.listen), (Role.ACCOUNTING, wanted.accounting_listen)):
                for listen in listens:
                    doors.append(_door(listen, role, there, doors))
            records = RecordFile(wanted.accounting) if wanted.accounting is not None else None
            return cls(tuple(doors), records, _metrics(wanted.metrics, text, old))
        except BaseException:
            for door in doors:
                if door not in there:
                    door.close()
            if records is not None:
                records.close()
            raise

    def close(self) -> None:
        """All but the file, which belongs to the stage that writes it."""
        for door in self.doors:
            door.close()
        if self.metrics is not None:
            self.metrics.close()


def _door(listen: Listen, role: Role, there: Sequence[Door], taken: Sequence[Door]) -> Door:
    """The door that is there already, if it is not `taken`, or a new one."""
    for door in there:
        if (door.listen, door.role) == (listen, role) and door not in taken:
            return door
    # Another address at the same port: one of them may be the address of all. The same one would share its datagrams.
    beside = [door for door in there if door.listen.port == listen.port and door.listen.address != listen.address]
    return Door(listen, role, beside)


def _metrics(listen: Listen | None, text: Callable[[], str], old: Fittings | None) -> MetricsDoor | None:
    if listen is None:
        return None
    if old is not None and old.metrics is not None and old.metrics.listen == listen:
        return old.metrics
    return MetricsDoor(listen, text)
