"""Tasks on their way into a job: blocks with offsets, and what becomes of an answer.

Owns how tasks are gathered into blocks that fit a message and how much of them a master has taken. Knows no socket and
no clock.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from cyclone.client.checking import too_large
from cyclone.errors import (
    BadRequest,
    MasterBusy,
    NoSuchJob,
    NoSuchNamespace,
    NotAllowed,
    QuotaExceeded,
    SubmitRefused,
)
from cyclone.protocol import job_messages as codes
from cyclone.protocol.job_messages import SUBMIT_REFUSALS, Submitted
from cyclone.protocol.job_spec import RowOptions, TaskBlock
from cyclone.protocol.limits import BATCH_BYTES_TARGET, TASKS_PER_BATCH_MAX, VALUE_BYTES_MAX

_PAUSE_MIN_S, _PAUSE_MAX_S = 0.01, 0.5
_KINDS = {
    codes.QUOTA: QuotaExceeded,
    codes.BUSY: MasterBusy,
    codes.NO_JOB: NoSuchJob,
    codes.NO_NAMESPACE: NoSuchNamespace,
}


class Row(NamedTuple):
    """A task with options of its own: the msgpack array of its properties, the moment (Unix time) before which it does
    not start, its time limit in seconds; None for what the job says.
    """

    args: bytes
    not_before: float | None = None
    time_limit_s: float | None = None


def pause_s(answer: Submitted, before_s: float) -> float:
    """How long to wait before a master is sent more; longer each time while it stays busy."""
    if not answer.code and answer.room:
        return 0.0
    return min(max(_PAUSE_MIN_S, 2 * before_s), _PAUSE_MAX_S)


def check(answer: Submitted, end: int) -> None:
    """Raise what an answer amounts to, unless it is fine or the rest may be taken soon: SubmitRefused and what derives
    from it, NotAllowed. ``end``: how many tasks the job shall have.
    """
    waits = answer.code == codes.BUSY and answer.job_id
    has_all = answer.code == codes.SEALED and answer.count >= end
    if answer.code and not waits and not has_all:
        raise refusal(answer.code, answer.text)


def refusal(code: str, text: str) -> SubmitRefused | NotAllowed:
    """The exception for a refusal."""
    text = text or SUBMIT_REFUSALS.get(code, code)
    return NotAllowed(text) if code == codes.NOT_ALLOWED else _KINDS.get(code, SubmitRefused)(code, text)


class Blocks:
    """An iterable of tasks, taken apart into blocks. What the master has not taken is kept and given again.

    A None among them ends the block that has begun: so that what comes slowly need not wait until a block is full.
    ``offset`` is the index of the first task that is not taken; ``exhausted``: the iterable has ended.
    """

    def __init__(self, tasks: Iterable[bytes | Row | None], offset: int = 0) -> None:
        self._tasks = iter(tasks)
        self.offset = offset
        self.exhausted = False
        self._rows: list[bytes] = []
        self._options: list[RowOptions] = []
        # What did not fit the block any more.
        self._over: list[bytes | Row] = []
        self._skip = 0

    @property
    def end(self) -> int:
        """How many tasks the job has when all that was pulled is taken."""
        return self.offset + len(self._rows) + len(self._over)

    @property
    def waiting(self) -> int:
        """How many were pulled and are not taken."""
        return len(self._rows) + len(self._over)

    def take(self) -> TaskBlock | None:
        """The next block, or the rest of the last one; None where there is no task left."""
        if not self._rows:
            self._pull()
        return TaskBlock(self.offset, self._rows, self._options) if self._rows else None

    def taken(self, count: int) -> None:
        """The job has so many tasks."""
        accepted = max(0, count - self.offset)
        self._skip += max(0, accepted - len(self._rows))
        self._rows = self._rows[accepted:]
        self._options = [
            (row - accepted, not_before, limit_s) for row, not_before, limit_s in self._options if row >= accepted
        ]
        self.offset += accepted

    def _pull(self) -> None:
        source = itertools.chain(self._over, self._tasks)
        rows: list[bytes] = []
        self._over, self._options, size = [], [], 0
        for task in source:
            if task is None:
                if rows:
                    break
                continue
            if self._skip:
                # A job of before, that has more than was sent now: the same tasks were submitted once already.
                self._skip -= 1
                continue
            packed = task if isinstance(task, bytes) else self._args(task, self.offset + len(rows))
            size += len(packed)
            if len(packed) > VALUE_BYTES_MAX:
                raise too_large(f"the arguments of task {self.offset + len(rows)}", len(packed))
            if rows and size > BATCH_BYTES_TARGET:
                self._over = [task]
                break
            if isinstance(task, Row) and (task.not_before is not None or task.time_limit_s is not None):
                self._options.append((len(rows), task.not_before, task.time_limit_s))
            rows.append(packed)
            if len(rows) == TASKS_PER_BATCH_MAX:
                break
        else:
            self.exhausted = True
        self._rows = rows

    def _args(self, task: object, index: int) -> bytes:
        packed = task.args if isinstance(task, Row) else task
        if not isinstance(packed, bytes):
            kind = type(packed).__name__
            raise BadRequest(f"task {index}: expected bytes, a msgpack array of its properties, not {kind}")
        return packed
