"""The jobs that the master has announced to a controller, as far as they matter here. PURE.

Owns what of a job bears on handing out its rows. A master announces a job once in a session, so what is forgotten here
because there are too many is missed when rows of it come again: the agent then greets anew, and is told again.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from cyclone.controller.pipe import job_bytes
from cyclone.controller.work import Piece
from cyclone.protocol import states
from cyclone.protocol.limits import BATCH_BYTES_TARGET
from cyclone.protocol.messages import Job

JOBS_MAX = 4096
BYTES_MAX = 256 << 20
# What shows that nothing of the work itself was done: what comes next may need the same that was missing.
_NOT_BEGUN = (states.SETUP_FAILED, states.REFUSED)


class _Odd(NamedTuple):
    """What is not as with the jobs of a generator: rows go to a worker by themselves, or announcing takes bytes."""

    alone: bool
    size: int


class JobBook:
    """Jobs by number."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        # Of plain jobs nothing is here, so that their rows cost no look at anything.
        self._odd: dict[int, _Odd] = {}
        self._bytes = 0
        self._kept = 0

    def __getitem__(self, job_id: int) -> Job:
        return self._jobs[job_id]

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def learn(self, jobs: Iterable[Job]) -> None:
        """The master announces these."""
        for job in jobs:
            self._forget(job.job_id)
            self._jobs[job.job_id] = job
            size = job_bytes(job)
            alone = job.cpus > 1 or any(job.waits)
            if size or alone:
                self._odd[job.job_id] = _Odd(alone, size)
                self._bytes += size

    def tidy(self, needed: Callable[[], set[int]]) -> None:
        """Where they have become too many, forget those of which no row is here."""
        # Twice what had to be kept the last time: who looks through all of them must find enough to make it worth it.
        if len(self._jobs) <= max(JOBS_MAX, 2 * self._kept) and self._bytes <= BYTES_MAX:
            return
        kept = needed()
        self._kept = len(kept)
        for job_id in [job_id for job_id in self._jobs if job_id not in kept]:
            self._forget(job_id)

    def clear(self) -> None:
        """They were another master's."""
        self._jobs.clear()
        self._odd.clear()
        self._bytes = self._kept = 0

    def rows_together(self, piece: Piece, rows: int) -> int:
        """How many rows off the front of a piece may go to a worker at once, up to so many: 1 where each goes alone."""
        if not self._odd:
            return rows
        size = together = 0
        for job_id, count in piece.runs:
            odd = self._odd.get(job_id)
            if odd is not None:
                size += odd.size
                if together and (odd.alone or size > BATCH_BYTES_TARGET):
                    break
                if odd.alone:
                    return 1
            together += count
            if together >= rows:
                return rows
        return together

    def goes_alone(self, job_id: int) -> bool:
        """Whether rows of this job go to a worker one by one, and nothing is held behind them."""
        odd = self._odd.get(job_id) if self._odd else None
        return odd is not None and odd.alone

    def wait_s(self, job_id: int, status: int) -> float:
        """How long a slot rests after a task of this job that ended so."""
        after_success_s, after_setup_error_s, after_run_error_s = self._jobs[job_id].waits
        if status == states.COMPLETED:
            return after_success_s
        return after_setup_error_s if status in _NOT_BEGUN else after_run_error_s

    def _forget(self, job_id: int) -> None:
        self._jobs.pop(job_id, None)
        odd = self._odd.pop(job_id, None)
        if odd is not None:
            self._bytes -= odd.size
