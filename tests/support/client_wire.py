"""One job of a client on a wire of the test's own: rows that are there, what is sent, what is answered."""

from collections.abc import Callable
from typing import Any

from cyclone.client.job_stream import JobStream
from cyclone.protocol import job_messages as codes
from cyclone.protocol.job_messages import (
    AnyFromClient,
    JobBlock,
    JobResults,
    Submitted,
)
from cyclone.protocol.job_spec import JobSpec

SPEC = JobSpec(task_class="m:C")
NOW = 100.0


class Rows:
    """Tasks that are there; what becomes of them is noted."""

    def __init__(self, count: int, closed: bool = True) -> None:
        self.rows = [b"%d" % number for number in range(count)]
        self.closed = closed
        self.delivered = 0
        self.refusal: tuple[int, Exception] | None = None
        self.error: Exception | None = None

    def take(self, index: int, count_max: int, bytes_max: int) -> list[bytes]:
        taken, self.rows = self.rows[:count_max], self.rows[count_max:]
        return taken

    def exhausted(self) -> bool:
        return self.closed and not self.rows

    def deliver(self, block: JobBlock) -> int:
        self.delivered += len(block.statuses)
        return len(block.statuses)

    def refused(self, count: int, error: Exception) -> None:
        self.refusal = (count, error)
        self.close()

    def lost(self, error: Exception) -> None:
        self.error = error
        self.close()

    def close(self) -> None:
        self.closed, self.rows = True, []

    def forked(self, error: Exception) -> None:
        raise AssertionError


class Wire:
    """A job, and what it has sent. ``open`` is False where nothing can be sent."""

    def __init__(self, count: int = 1, closed: bool = True) -> None:
        self.rows = Rows(count, closed)
        self.job = JobStream(SPEC, self.rows)
        self.open = True
        self.sent: list[AnyFromClient] = []
        self.number = 0

    def advance(self, now: float = NOW) -> list[Any]:
        """What is sent in a turn."""
        self.sent = []
        self.job.advance(now, self._send)
        return self.sent

    def _send(self, job: JobStream, make: Callable[[int], AnyFromClient], number: int = 0, /) -> int:
        if not self.open:
            return 0
        if not number:
            self.number += 1
            number = self.number
        self.sent.append(make(number))
        return number

    def answer(self, count: int, code: str = "", sealed: bool = False, request: int = 0, room: int = 9) -> None:
        """The master has so many; to the last request unless another is named."""
        job_id = 0 if code in (codes.QUOTA, codes.NOT_ALLOWED) else 5
        answer = Submitted(request or self.number, job_id, count, sealed, room, number=3, code=code)
        self.job.on_submitted(answer, NOW)

    def results(self, after: int, position: int, count: int, finished: bool = False, lost: int = 0) -> None:
        """So many results in a message."""
        blocks = [JobBlock(0, 1, 1, bytes(count), None, b"body", "c1")] if count else []
        self.job.on_results(JobResults(1, 5, after, position, blocks, finished, lost), NOW)


def kinds(sent: list[Any]) -> list[str]:
    return [type(request).__name__ for request in sent]
