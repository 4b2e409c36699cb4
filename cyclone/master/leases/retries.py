"""What is tried again: failures by the policy of their job, and everything that has to wait for its time. PURE.

Owns the waiting. The fence has decided before that an outcome counts; whoever reports it says whether the exception is
one that the job wants tried again.
"""

import heapq
import math

from cyclone.master.events import AttemptsEnded, TasksReturned
from cyclone.master.leases.sessions import Session
from cyclone.master.turn import Turn
from cyclone.protocol.messages import Job, ResultBatch
from cyclone.results import row_columns, wants_retry

# However often a task has failed, it does not wait longer.
RETRY_DELAY_MAX_S = 3600.0


class Retries:
    """See the module."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._state = turn.state

    @property
    def deadline(self) -> float:
        """When the first of those that wait is due."""
        return self._state.delays[0][0] if self._state.delays else math.inf

    def wanted(self, job_id: int, batch: ResultBatch, row: int) -> bool:
        """Whether a failure is to be tried again."""
        job = self._state.jobs[job_id]
        left = job.retries - self._state.failures.get(batch.first + row, 0)
        return left > 0 and wants_retry(batch.body, row)

    def again(self, session: Session, batch: ResultBatch, task_id: int, job_id: int) -> None:
        """The attempt is over; the next one follows after a while."""
        row = task_id - batch.first
        body = row_columns(batch.body, row)
        self._turn.emit(AttemptsEnded(task_id, 1, batch.epoch, batch.attempt, batch.statuses[row], session.name, body))
        delay_s = retry_delay_s(self._state.jobs[job_id], task_id, self._state.failures[task_id])
        for span, start, stop in self._state.index.overlapping(task_id, task_id + 1):
            self._turn.give_back(self._state.carve(span, start, stop), delay_s=delay_s)

    def due(self) -> None:
        """Let those wait like all others whose time has come."""
        state = self._state
        while state.delays and state.delays[0][0] <= self._turn.now:
            _, first, end = heapq.heappop(state.delays)
            for span, start, stop in state.index.overlapping(first, end):
                # A part of those that were delayed together may have got a later time of its own.
                if span.holder == state.sessions.delayed.session_id and span.until <= self._turn.now:
                    self._turn.let(TasksReturned(state.carve(span, start, stop)))


def retry_delay_s(job: Job, task_id: int, failures: int) -> float:
    """Twice as long after each failure, within a bound, and spread over the upper half of that.

    The spread keeps many tasks that failed together from coming back together. It depends on the task alone, because a
    brain knows no chance: Knuth's multiplicative hash gives neighbours very different fractions.
    """
    delay_s = min(job.retry_delay_s * 2.0 ** min(failures - 1, 32), RETRY_DELAY_MAX_S)
    fraction = (task_id * 2654435761 + failures * 40503) % (1 << 32) / (1 << 32)
    return delay_s * (0.5 + fraction / 2)
