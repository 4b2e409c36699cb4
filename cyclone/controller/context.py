"""What a worker tells a task about itself: ``WorkerContext`` is the ``TaskContext`` of a running task.

Owns what belongs to one task alone: its scratch folder, its records, what it prints. The worker owes ``begin`` for each
batch, ``enter`` and ``time_limit_s`` for each job in it, and ``clean`` behind a row where ``left`` is set.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cyclone.controller import pipe
from cyclone.controller.printing import Printing
from cyclone.plugins import load_allowed
from cyclone.protocol.limits import RECORDS_BYTES_MAX
from cyclone.protocol.messages import Job
from cyclone.task_context import TaskContext


class Terminated(BaseException):
    """SIGTERM arrived: raised wherever the main thread is, so that a task's ``finally`` blocks run within the grace."""


class WorkerContext(TaskContext):
    """The running task as seen from inside, derived from the batch when asked: a task pays only for what it uses."""

    def __init__(
        self, words: memoryview, scratch: Path, node: str, task_modules: Sequence[str], output: tuple[bytes, int]
    ) -> None:
        super().__init__()
        self.printing = Printing(words, *output, self._has_printed)
        self.node = node
        self._words, self._times = words, pipe.seconds_view(words)
        self.worker_dir = self._scratch_root = scratch
        self._task_modules = task_modules
        self.scratch_made: Path | None = None
        # Whether the task has left something that is to be looked at when it has ended.
        self.left = False
        self._records_bytes = 0
        self._base = self._first = 1
        self._time_limits: dict[int, float] = {}

    def begin(self, batch: pipe.Execute) -> None:
        """What follows are rows of this batch."""
        self.slot = batch.slot
        self._base, self._first, self.attempt = batch.base, batch.first, batch.attempt
        self._time_limits = {batch.first + row: limit_s for row, limit_s in batch.time_limits}

    def enter(self, job: Job) -> None:
        """They are of this job, which was submitted, or for the first time not: a submitted one has a namespace."""
        # The generator's tasks are one job for people, whatever number those of a class have.
        self.job_id = job.job_id if job.namespace else 0
        self.job_name, self.namespace, self.cpus = job.name, job.namespace, job.cpus
        self.by_value = job.by_value

    @property
    def task_id(self) -> int:
        """The id of the row that is executing."""
        return self._first + self._words[pipe.EXECUTING_SEQ] - self._base

    def time_left_s(self) -> float | None:
        """Seconds until the time limit, None without one."""
        limit_s = self._time_limits.get(self.task_id, self.time_limit_s) if self._time_limits else self.time_limit_s
        if not limit_s:
            return None
        if self._words[pipe.EXECUTING] == pipe.PREPARING:
            return limit_s
        return max(0.0, self._times[pipe.STARTED_S] + limit_s - time.monotonic())

    def printed(self, stream: int, data: bytes) -> None:
        """It is the task's own output; whoever has closed that does not want it."""
        with contextlib.suppress(OSError):
            self.printing.pass_on(stream, data)

    def _has_printed(self) -> None:
        self.left = True

    def load(self, path: str) -> Callable[..., Any]:
        """What ``[processing] task_modules`` allows."""
        return load_allowed(path, self._task_modules)

    def scratch_dir(self) -> Path:
        """A folder of the task's own in the run's folder."""
        if self.scratch_made is None:
            self.left = True
            self.scratch_made = self._scratch_root / f"task-{self.task_id}-{self.attempt}"
            self.scratch_made.mkdir(mode=0o700)
        return self.scratch_made

    def record(self, name: str, packed: bytes) -> None:
        """See ``BaseTask.record``."""
        size = self._records_bytes + len(packed) + len(name.encode())
        if size > RECORDS_BYTES_MAX:
            raise ValueError(
                f"the record {name!r} is one too many: all of a task take {RECORDS_BYTES_MAX} bytes at most"
            )
        self.left = True
        self._records_bytes = size
        self.records.append((name, packed))

    def clean(self) -> list[tuple[str, bytes]]:
        """The task ended: its folder goes, and what it has printed without an end of line comes. Its records."""
        self.printing.flush()
        self.left = False
        if self.scratch_made is not None:
            shutil.rmtree(self.scratch_made, ignore_errors=True)
            self.scratch_made = None
        records, self.records = self.records, []
        self._records_bytes = 0
        return records
