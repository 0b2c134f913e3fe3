"""The accounting stage: a batch of records is written, synced, and only then answered.

Rules: no Accounting-Response leaves before its record is on the disk; where it cannot be written there is none, and
the client sends it again (RFC 2866 2). Status-Server at this port is answered if records can be written.
"""

import threading
import time

from radius_server.accounting import record, response
from radius_server.batches import Batches
from radius_server.jobs import Job, Post
from radius_server.log import line, log
from radius_server.record_file import RecordFile
from radius_server.replying import Replies
from radius_server.work import Lane
from validation.errors import BadInput


class Recording:
    def __init__(self, file: RecordFile | None, replies: Replies, post: Post) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._replies = replies
        self._post = post
        self._works = True
        self._records: Batches[Job] = Batches("twofold-accounting", self._store)

    def submit(self, job: Job) -> None:
        self._records.submit(job, job.place)

    def _store(self, jobs: list[Job]) -> None:
        records = [job for job in jobs if job.lane is Lane.ACCOUNTING]
        try:
            self._write(records)
        except Exception as error:  # whatever it is: no record, no reply
            self._post(self._not_stored, jobs, error)
        else:
            self._post(self._stored, jobs)

    def _write(self, jobs: list[Job]) -> None:
        lines = b"".join(record(job.packet, job.client, job.source, time.time()) for job in jobs)
        with self._guard:
            if self._file is None:
                raise BadInput("accounting is off")
            if lines:
                self._file.append(lines)
            elif not self._file.has_room():
                raise BadInput(f"there is no room for {self._file.path}")

    def move(self, file: RecordFile | None) -> None:
        """From the next batch on into `file`, which may be the same one opened anew. May wait for a disk."""
        with self._guard:
            old, self._file = self._file, file
        if old is None:
            return
        try:
            old.close()
        except OSError as error:  # what is answered was synced before
            log.error(line("accounting-not-closed", file=old.path, error=error.strerror))

    # --- in the event loop --------------------------------------------------------------------------------------

    def _stored(self, jobs: list[Job]) -> None:
        if not self._works:
            log.warning(line("accounting-back"))
        self._works = True
        for job in jobs:
            if job.lane is Lane.ACCOUNTING:
                self._replies.counts.record(job.client.name)
            self._replies.reply(job, response(job.packet, job.entry.secret))

    def _not_stored(self, jobs: list[Job], error: Exception) -> None:
        if self._works:
            log.error(
                line(
                    "accounting-failed", error=_what(error), effect="records are not answered until they can be stored"
                )
            )
        self._works = False
        for job in jobs:
            self._replies.drops.counters["accounting-failed"] += 1
            self._replies.forget(job)

    @property
    def waiting(self) -> dict[str, int]:
        return {"accounting": len(self._records)}

    def close(self, within: float | None) -> None:
        self._records.close(drop=within is not None, within=within)
        self.move(None)


def _what(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, BadInput) else type(error).__name__
